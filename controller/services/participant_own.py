"""For participants: what is known of them, what their devices are to do, and what they owe."""

from typing import Any

from sqlalchemy import Connection, Row

from contracts.runs import reversed_index
from controller.access import Identity, Role, require_area
from controller.consent import Scope
from controller.invoices import Invoice, OwnLine, days_of, lines_of
from controller.microgrid import ENDLESS, PAST_S, Microgrid
from controller.outlook import outlook_of
from controller.refusals import not_found
from controller.services.core import Core, require_member, require_microgrid
from controller.services.edge import Context, caller_of
from controller.services.paging import read_page
from controller.store import consents, evidence, market, registry, reputations
from controller.wire import fields, invoice
from controller.wire.community import member_message
from controller.wire.schedule import setpoint_message
from gridpact.v1 import participant_pb2 as pb


class OwnMethods:
    """The methods of gridpact.v1.ParticipantService about the member itself."""

    _core: Core

    async def GetMember(self, request: pb.GetMemberRequest, context: Context) -> pb.GetMemberResponse:
        """The caller as the operator registered it."""
        caller = caller_of(context)
        id_, member = fields.resource("name", request.name, "microgrids", "members")

        def read(connection: Connection) -> pb.GetMemberResponse:
            require_member(connection, caller, id_, member, request.name)
            own = next(known for known in registry.members(connection, id_) if known.id == member)
            return pb.GetMemberResponse(member=member_message(id_, own))

        return await self._core.database.read_async(read)

    async def GetSchedule(self, request: pb.GetScheduleRequest, context: Context) -> pb.GetScheduleResponse:
        """What a member's devices are to do from now on."""
        caller = caller_of(context)
        id_, member = fields.resource("parent", request.parent, "microgrids", "members")

        def read(connection: Connection) -> pb.GetScheduleResponse:
            require_area(caller, id_, request.parent)
            microgrid = require_microgrid(connection, caller, id_, request.parent)
            now = self._core.clock.now()
            known = {one.id for one in registry.members(connection, id_)}
            allowed = consents.allows(connection, id_, member, caller=caller, scope=Scope.DISPATCH, now=now)
            if member not in known or not allowed:
                raise not_found(request.parent)
            found = outlook_of(connection, microgrid, member, now)
            mtu = microgrid.mtu_seconds
            return pb.GetScheduleResponse(
                devices=[
                    pb.DeviceOutlook(
                        device=fields.device_name(id_, device),
                        points=[
                            pb.OutlookPoint(
                                setpoint=setpoint_message(point.setpoint, mtu),
                                power_w=point.power_w,
                                decided=point.decided,
                            )
                            for point in points
                        ],
                    )
                    for device, points in found.devices.items()
                ],
                positions=[
                    pb.PositionPoint(interval=fields.interval_message(start, start + mtu), net_wh=net)
                    for start, net in found.positions.items()
                ],
            )

        return await self._core.database.read_async(read)

    async def ListReputations(self, request: pb.ListReputationsRequest, context: Context) -> pb.ListReputationsResponse:
        """The scores of the caller and of those with whom it may trade."""
        caller = caller_of(context)
        id_, member = fields.resource("parent", request.parent, "microgrids", "members")

        def read(connection: Connection) -> pb.ListReputationsResponse:
            require_member(connection, caller, id_, member, request.parent)
            now = int(self._core.clock.now())
            known = {one.id for one in registry.members(connection, id_)}
            shown = {member, *(_partners(connection, id_, member, now) & known)}
            return pb.ListReputationsResponse(
                reputations=[
                    pb.Reputation(member=f"microgrids/{id_}/members/{one}", score_ppm=score)
                    for one, score in reputations.scores_at(connection, id_, shown, now + 1).items()
                ]
            )

        return await self._core.database.read_async(read)

    async def GetInvoice(self, request: pb.GetInvoiceRequest, context: Context) -> pb.GetInvoiceResponse:
        """What a member owes and is owed for some days."""
        caller = caller_of(context)
        id_, member = fields.resource("parent", request.parent, "microgrids", "members")
        first, last = invoice.read_days(request)

        def read(connection: Connection) -> pb.GetInvoiceResponse:
            microgrid = _require_billed(connection, caller, id_, member, request.parent)
            start, end = days_of(first, last, microgrid.time_zone)
            now = int(self._core.clock.now())
            rows = evidence.postings_between(connection, id_, member, start=start, end=end)
            trades = market.trades_of(connection, id_, member, start, end)
            lines = lines_of(microgrid, member, map(_own_line, rows), trades, by_mtu=request.by_mtu)
            found = Invoice(
                member=request.parent,
                currency=microgrid.currency,
                time_zone=microgrid.time_zone,
                start=start,
                end=end,
                lines=lines,
                total_micro=sum(line.amount_micro for line in lines),
                unsettled=evidence.unsettled(connection, id_, start=start, end=min(end, now + 1)),
                created=now,
            )
            return pb.GetInvoiceResponse(invoice=invoice.invoice_message(found))

        return await self._core.database.read_async(read)

    async def ListOwnPostings(self, request: pb.ListOwnPostingsRequest, context: Context) -> pb.ListOwnPostingsResponse:
        """The caller's own lines of the ledger, and their sum."""
        caller = caller_of(context)
        id_, member = fields.resource("parent", request.parent, "microgrids", "members")
        page = read_page(caller, request, request.page_size, request.page_token, (int, int))

        def read(connection: Connection) -> pb.ListOwnPostingsResponse:
            _require_billed(connection, caller, id_, member, request.parent)
            has_interval = request.HasField("interval")
            start, end = fields.interval("interval", request.interval) if has_interval else fields.EPOCH_RANGE
            after = (0, -1) if page.after is None else (int(page.after[0]), int(page.after[1]))
            rows = evidence.postings_page(
                connection, id_, member, start=start, end=end, after=after, count=page.size + 1
            )
            found, token = page.cut(rows, lambda row: (row.start, row.ix))
            return pb.ListOwnPostingsResponse(
                postings=[
                    pb.OwnPosting(
                        name=f"{row.window}/postings/{row.ix}",
                        interval=fields.interval_message(row.start, row.end),
                        kind=row.kind,
                        reference=row.reference,
                        amount_micro=row.amount_micro,
                        run=row.run,
                        reverses=""
                        if (back := reversed_index(row.reference)) is None
                        else f"{row.window}/postings/{back}",
                    )
                    for row in found
                ],
                next_page_token=token,
                total_micro=evidence.postings_total(connection, id_, member, start=start, end=end),
            )

        return await self._core.database.read_async(read)


def _require_billed(connection: Connection, caller: Identity, id_: str, member: str, name: str) -> Microgrid:
    """The microgrid, where the caller is or was this member, or operates it; else the NOT_FOUND of what is missing."""
    if caller.role is not Role.OPERATOR:
        return require_member(connection, caller, id_, member, name, or_left=True)
    require_area(caller, id_, name)
    microgrid = require_microgrid(connection, caller, id_, name)
    if member not in registry.member_ids(connection, id_):
        raise not_found(name)
    return microgrid


def _own_line(row: Row[Any]) -> OwnLine:
    return OwnLine(
        window=row.window,
        index=row.ix,
        start=row.start,
        end=row.end,
        kind=row.kind,
        reference=row.reference,
        amount_micro=row.amount_micro,
        run=row.run,
    )


def _partners(connection: Connection, microgrid: str, member: str, now: int) -> set[str]:
    """Whom a member's newest order names and who names it."""
    rows = market.outlines(connection, microgrid, start=now - PAST_S, end=ENDLESS)
    orders = market.newest_orders(connection, [row.name for row in rows])
    named = {
        holder: {partner.member.rpartition("/")[2] for partner in pb.Order.FromString(order.payload).partners}
        for holder, order in orders.items()
    }
    return {other for other in named.get(member, ()) if member in named.get(other, ())}


def _reversed(window: str, reference: str) -> str:
    """The name of the line that a line with this reference takes back; empty where it takes back none."""
    index = reversed_index(reference)
    return "" if index is None else f"{window}/postings/{index}"
