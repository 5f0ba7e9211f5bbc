"""For the DSO and aggregators: demand response, from the request to the payment."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from controller import demand_limits
from controller.access import Identity, Role, require_area
from controller.baseline import Place, Wanted, baselines, usual
from controller.consent import Scope
from controller.deliverable import most_deliverable_w
from controller.demand_response import Delivery, DemandEvent, DemandOffer, EventState, state
from controller.microgrid import Member, Microgrid
from controller.refusals import Refusal, conflict, not_found, not_now, out_of_range
from controller.services.core import Core, once, open_signed, require_microgrid
from controller.services.edge import Context, caller_of
from controller.services.paging import read_page
from controller.store import consents, demand, registry
from controller.wire import fields
from controller.wire.demand import event_message, offer_message, read_event, read_offer
from gridpact.v1 import demand_response_pb2 as pb
from gridpact.v1 import demand_response_pb2_grpc

OPEN_TO_OFFERS = {EventState.REQUESTED, EventState.OFFERED, EventState.ACCEPTED}
OFFERS = 1000
"""As many an event may have."""


class DemandResponseServicer(demand_response_pb2_grpc.DemandResponseServiceServicer):
    """Implements gridpact.v1.DemandResponseService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def CreateEvent(self, request: pb.CreateEventRequest, context: Context) -> pb.CreateEventResponse:
        """Freeze the baseline, then ask."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def ask(connection: Connection) -> tuple[Microgrid, DemandEvent, Wanted]:
            microgrid = require_microgrid(connection, caller, id_, request.parent)
            open_signed(
                connection,
                request.event,
                microgrid=id_,
                purpose="ENVELOPE",
                holder=caller.id,
                type_name="gridpact.v1.DemandEvent",
                field="event",
            )
            event = read_event(
                request.event,
                microgrid=id_,
                mtu_seconds=microgrid.mtu_seconds,
                holder=caller.id,
                now=self._core.clock.now(),
            )
            members = _under(connection, microgrid, event.target)
            return (
                microgrid,
                event,
                Wanted(members=members, start=event.start, end=event.end, direction=event.direction),
            )

        def read(connection: Connection) -> dict[Place, int] | None:
            try:
                microgrid, _, wanted = ask(connection)
            except Refusal:
                return None  # said below, to those who have not been answered before
            return usual(connection, microgrid, wanted, self._core.clock.now())

        read_before = await self._core.database.read_async(read)

        def effect(connection: Connection) -> pb.CreateEventResponse:
            microgrid, event, wanted = ask(connection)
            if demand.event(connection, id_, event.id) is not None:
                raise conflict("ALREADY_EXISTS", f"{request.parent}/events/{event.id}: exists already")
            past = usual(connection, microgrid, wanted, self._core.clock.now()) if read_before is None else read_before
            found = baselines(connection, microgrid, wanted, past)
            if isinstance(found, int):
                raise not_now(
                    "NO_BASELINE", f"event.interval: nothing is planned yet for the MTU that starts at {found} s"
                )
            event = replace(event, baseline=found.paid, planned=found.planned)
            demand.add_event(connection, id_, event)
            return pb.CreateEventResponse(event=self._message(connection, caller, id_, event))

        return await once(self._core, caller, "CreateEvent", request, pb.CreateEventResponse, effect)

    async def GetEvent(self, request: pb.GetEventRequest, context: Context) -> pb.GetEventResponse:
        """One event."""
        caller = caller_of(context)
        id_, event_id = fields.resource("name", request.name, "microgrids", "events")
        require_area(caller, id_, request.name)

        def read(connection: Connection) -> pb.GetEventResponse:
            event = _event(connection, id_, event_id, request.name)
            return pb.GetEventResponse(event=self._message(connection, caller, id_, event))

        return await self._core.database.read_async(read)

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        """All events in order of their ids."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (str,))

        def read(connection: Connection) -> pb.ListEventsResponse:
            require_microgrid(connection, caller, id_, request.parent)
            after = "" if page.after is None else str(page.after[0])
            found, token = page.cut(
                demand.events_after(connection, id_, after, page.size + 1), lambda event: (event.id,)
            )
            return pb.ListEventsResponse(
                events=[self._message(connection, caller, id_, event) for event in found], next_page_token=token
            )

        return await self._core.database.read_async(read)

    async def CancelEvent(self, request: pb.CancelEventRequest, context: Context) -> pb.CancelEventResponse:
        """Take an event back that has not begun."""
        caller = caller_of(context)
        id_, event_id = fields.resource("name", request.name, "microgrids", "events")
        require_area(caller, id_, request.name)

        def effect(connection: Connection) -> pb.CancelEventResponse:
            event = _event(connection, id_, event_id, request.name)
            if event.holder != caller.id:
                raise not_found(request.name)
            self._require(connection, id_, event, OPEN_TO_OFFERS)
            demand.cancel_event(connection, id_, event_id)
            return pb.CancelEventResponse(event=self._message(connection, caller, id_, replace(event, cancelled=True)))

        answer = await once(self._core, caller, "CancelEvent", request, pb.CancelEventResponse, effect)
        await self._follow()
        return answer

    async def SubmitOffer(self, request: pb.SubmitOfferRequest, context: Context) -> pb.SubmitOfferResponse:
        """Offer what the caller's members can give."""
        caller = caller_of(context)
        id_, event_id = fields.resource("parent", request.parent, "microgrids", "events")
        require_area(caller, id_, request.parent)

        def effect(connection: Connection) -> pb.SubmitOfferResponse:
            microgrid = require_microgrid(connection, caller, id_, request.parent)
            event = _event(connection, id_, event_id, request.parent)
            open_signed(
                connection,
                request.offer,
                microgrid=id_,
                purpose="OFFER",
                holder=caller.id,
                type_name="gridpact.v1.DemandOffer",
                field="offer",
            )
            now = self._core.clock.now()
            offer = read_offer(request.offer, event, microgrid=id_, aggregator=caller.id, now=now)
            mandated = consents.allowed_members(connection, id_, caller, Scope.DISPATCH, now)
            for member in offer.members:
                if member not in mandated or member not in event.baseline:
                    raise not_found(f"{microgrid.name}/members/{member}")
            self._require(connection, id_, event, OPEN_TO_OFFERS)
            if now >= event.offer_deadline:
                raise not_now("TOO_LATE", f"{request.parent}: offers were taken until {event.offer_deadline} s")
            known = demand.offers(connection, id_, event_id)
            if any(other.id == offer.id for other in known):
                raise conflict("ALREADY_EXISTS", f"{request.parent}/offers/{offer.id}: exists already")
            if len(known) >= OFFERS:
                raise not_now("TOO_MANY_OFFERS", f"{request.parent}: has {OFFERS} offers already")
            found = most_deliverable_w(connection, microgrid, event, offer.members, offer.power_w, now)
            if found is not None:
                wanted = f"at most {found[1]} W: what its members can give in the MTU that starts at {found[0]} s"
                raise out_of_range("offer.power_w", got=f"{offer.power_w} W", wanted=wanted)
            demand.add_offer(connection, id_, offer)
            return pb.SubmitOfferResponse(offer=self._offer(connection, caller, microgrid, event, offer))

        return await once(self._core, caller, "SubmitOffer", request, pb.SubmitOfferResponse, effect)

    async def ListOffers(self, request: pb.ListOffersRequest, context: Context) -> pb.ListOffersResponse:
        """The offers that the caller may see, in order of their ids."""
        caller = caller_of(context)
        id_, event_id = fields.resource("parent", request.parent, "microgrids", "events")
        page = read_page(caller, request, request.page_size, request.page_token, (str,))

        def read(connection: Connection) -> pb.ListOffersResponse:
            microgrid = require_microgrid(connection, caller, id_, request.parent)
            event = _event(connection, id_, event_id, request.parent)
            after = "" if page.after is None else str(page.after[0])
            offers = [
                offer
                for offer in demand.offers(connection, id_, event_id)
                if offer.id > after and (caller.role is not Role.AGGREGATOR or offer.aggregator == caller.id)
            ]
            found, token = page.cut(offers, lambda offer: (offer.id,))
            deliveries = demand.deliveries(connection, id_, event_id)
            return pb.ListOffersResponse(
                offers=[self._offer(connection, caller, microgrid, event, offer, deliveries) for offer in found],
                next_page_token=token,
            )

        return await self._core.database.read_async(read)

    async def AcceptOffer(self, request: pb.AcceptOfferRequest, context: Context) -> pb.AcceptOfferResponse:
        """Bind an aggregator, whole or in part."""
        caller = caller_of(context)
        id_, event_id, offer_id = fields.resource("name", request.name, "microgrids", "events", "offers")
        require_area(caller, id_, request.name)

        def effect(connection: Connection) -> pb.AcceptOfferResponse:
            microgrid = require_microgrid(connection, caller, id_, request.name)
            event = _event(connection, id_, event_id, request.name)
            offers = {offer.id: offer for offer in demand.offers(connection, id_, event_id)}
            offer = offers.get(offer_id)
            if offer is None or event.holder != caller.id:
                raise not_found(request.name)
            self._require(connection, id_, event, OPEN_TO_OFFERS)
            if offer.accepted_w:
                raise not_now("ALREADY_ACCEPTED", f"{request.name}: {offer.accepted_w} W of it are accepted already")
            power_w = fields.number("power_w", request.power_w, upper=offer.power_w) or offer.power_w
            left = event.power_w - sum(other.accepted_w for other in offers.values())
            if power_w > left:
                raise out_of_range("power_w", got=f"{power_w} W", wanted=f"at most the {left} W that are still wanted")
            _require_free(connection, id_, event, offer)
            self._require_mandates(connection, id_, offer)
            # Since the offer stores were emptied, or the same members were taken for an event before this one.
            now = self._core.clock.now()
            found = most_deliverable_w(connection, microgrid, event, offer.members, power_w, now)
            if found is not None:
                raise not_now(
                    "NOT_DELIVERABLE",
                    f"{request.name}: its members can give {found[1]} W any more in the MTU at {found[0]} s",
                )
            demand.accept_offer(connection, id_, event_id, offer_id, power_w)
            accepted = replace(offer, accepted_w=power_w)
            return pb.AcceptOfferResponse(offer=self._offer(connection, caller, microgrid, event, accepted))

        answer = await once(self._core, caller, "AcceptOffer", request, pb.AcceptOfferResponse, effect)
        await self._follow()
        return answer

    async def _follow(self) -> None:
        await demand_limits.follow(self._core.database, self._core.limits.book, self._core.clock.now())

    def _require_mandates(self, connection: Connection, microgrid: str, offer: DemandOffer) -> None:
        """Refuse an offer of members who have taken their mandate back since."""
        aggregator = Identity(grid=microgrid, role=Role.AGGREGATOR, id=offer.aggregator)
        now = self._core.clock.now()
        for member in offer.members:
            if not consents.allows(connection, microgrid, member, caller=aggregator, scope=Scope.DISPATCH, now=now):
                raise not_now(
                    "MANDATE_REVOKED", f"members/{member}: no longer lets {offer.aggregator} plan its devices"
                )

    def _offer(
        self,
        connection: Connection,
        caller: Identity,
        microgrid: Microgrid,
        event: DemandEvent,
        offer: DemandOffer,
        deliveries: Sequence[Delivery] = (),
    ) -> pb.DemandOfferRecord:
        """An offer; what its members plan and meter only for who may read that of all of them."""
        now = self._core.clock.now()
        metered = caller.role is Role.AUDITOR or all(
            consents.allows(connection, microgrid.id, member, caller=caller, scope=Scope.METER_DATA, now=now)
            for member in offer.members
        )
        return offer_message(event, offer, deliveries, mtu_seconds=microgrid.mtu_seconds, metered=metered)

    def _state(self, connection: Connection, microgrid: str, event: DemandEvent) -> tuple[EventState, int]:
        offers = demand.offers(connection, microgrid, event.id)
        grid = registry.microgrid(connection, microgrid)
        last = demand.settled_until(connection, microgrid, event.id)
        stands = state(
            event,
            offers=len(offers),
            accepted=sum(offer.accepted_w > 0 for offer in offers),
            verified=grid is not None and last is not None and last + grid.mtu_seconds == event.end,
            now=self._core.clock.now(),
        )
        return stands, sum(offer.accepted_w for offer in offers)

    def _require(self, connection: Connection, microgrid: str, event: DemandEvent, wanted: set[EventState]) -> None:
        stands, _ = self._state(connection, microgrid, event)
        if stands not in wanted:
            names = ", ".join(sorted(one.value for one in wanted))
            raise not_now("WRONG_STATE", f"microgrids/{microgrid}/events/{event.id}: is {stands.value}, wanted {names}")

    def _message(
        self, connection: Connection, caller: Identity, microgrid: str, event: DemandEvent
    ) -> pb.DemandEventRecord:
        stands, accepted_w = self._state(connection, microgrid, event)
        shown = caller.role is not Role.AGGREGATOR
        if shown and caller.role is Role.DSO and len(event.baseline) == 1:
            (member,) = event.baseline
            now = self._core.clock.now()
            shown = consents.allows(connection, microgrid, member, caller=caller, scope=Scope.METER_DATA, now=now)
        return event_message(event, stands, accepted_w=accepted_w, baseline=shown)


def _event(connection: Connection, microgrid: str, id_: str, name: str) -> DemandEvent:
    event = demand.event(connection, microgrid, id_)
    if event is None:
        raise not_found(name)
    return event


def _under(connection: Connection, microgrid: Microgrid, target: str) -> list[Member]:
    """The members whose power a target sums."""
    members = registry.members(connection, microgrid.id)
    found = [
        member
        for member in members
        if target
        in {microgrid.name, f"{microgrid.name}/sections/{member.section}", f"{microgrid.name}/members/{member.id}"}
    ]
    if not found:
        raise not_found(target)
    return found


def _require_free(connection: Connection, microgrid: str, event: DemandEvent, offer: DemandOffer) -> None:
    """Refuse what would pay a member twice for the same energy."""
    for other in demand.events_between(connection, microgrid, event.start, event.end):
        for taken in demand.offers(connection, microgrid, other.id):
            both = sorted(set(taken.members) & set(offer.members))
            if taken.accepted_w and both:
                raise not_now(
                    "MEMBER_TAKEN",
                    f"microgrids/{microgrid}/events/{event.id}/offers/{offer.id}: {both[0]} gives for "
                    f"{other.id}/{taken.id} in that time already",
                )
