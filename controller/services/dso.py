"""For the DSO: envelopes, which work while the database is stopped, and the load it has to expect."""

import json
from collections.abc import AsyncIterator, Callable
from math import floor

from sqlalchemy import Connection

from controller import relaxing
from controller.access import require_area
from controller.limits.book import Answered
from controller.limits.directory import Registered
from controller.limits.values import Default, Envelope, Standing
from controller.microgrid import ENDLESS
from controller.refusals import conflict, not_found, out_of_range
from controller.services.book_calls import once_in_book, open_signed_by_dso, registered
from controller.services.core import Core, require_microgrid
from controller.services.dso_groups import GroupMethods
from controller.services.dso_vetoes import VetoMethods
from controller.services.edge import Context, caller_of
from controller.services.paging import read_page
from controller.services.supervising import supervise
from controller.store import adjustments, market
from controller.wire import fields
from controller.wire.limits import envelope_message, read_default, read_envelope, signed_message
from controller.wire.relaxation import relaxation_messages
from gridpact.v1 import dso_pb2 as pb
from gridpact.v1 import dso_pb2_grpc, types_pb2


class DsoServicer(GroupMethods, VetoMethods, dso_pb2_grpc.DsoServiceServicer):
    """Implements gridpact.v1.DsoService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def CreateEnvelope(self, request: pb.CreateEnvelopeRequest, context: Context) -> pb.CreateEnvelopeResponse:
        """Let an envelope count from now on, for running windows too."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        known = registered(self._core, caller, id_, request.parent)
        book = self._core.limits.book

        async def effect(answered: Callable[[pb.CreateEnvelopeResponse], Answered]) -> pb.CreateEnvelopeResponse:
            open_signed_by_dso(
                known, request.envelope, holder=caller.id, type_name="gridpact.v1.Envelope", field="envelope"
            )
            envelope = read_envelope(
                request.envelope,
                microgrid=id_,
                mtu_seconds=known.microgrid.mtu_seconds,
                holder=caller.id,
                now=floor(self._core.clock.now()),
            )
            _require_target(known, envelope.target)
            if book.envelope(id_, envelope.id) is not None:
                raise conflict("ALREADY_EXISTS", f"{envelope.name}: exists already")
            self._require_newer(id_, "envelope.counter", envelope)
            response = pb.CreateEnvelopeResponse(envelope=envelope_message(envelope, *book.foresee(envelope)))
            if not request.validate_only:
                await book.add(envelope, answered(response))
            return response

        return await once_in_book(self._core, caller, "CreateEnvelope", request, pb.CreateEnvelopeResponse, effect)

    async def GetEnvelope(self, request: pb.GetEnvelopeRequest, context: Context) -> pb.GetEnvelopeResponse:
        """One envelope."""
        caller = caller_of(context)
        id_, envelope = fields.resource("name", request.name, "microgrids", "envelopes")
        require_area(caller, id_, request.name)
        return pb.GetEnvelopeResponse(envelope=self._message(self._find(id_, envelope, request.name)))

    async def ListEnvelopes(self, request: pb.ListEnvelopesRequest, context: Context) -> pb.ListEnvelopesResponse:
        """All envelopes in order of their ids."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (str,))
        registered(self._core, caller, id_, request.parent)
        found, token = page.of(self._core.limits.book.envelopes(id_), lambda envelope: (envelope.id,))
        return pb.ListEnvelopesResponse(envelopes=[self._message(e) for e in found], next_page_token=token)

    async def CancelEnvelope(self, request: pb.CancelEnvelopeRequest, context: Context) -> pb.CancelEnvelopeResponse:
        """Let an envelope count no longer; one's own alone."""
        caller = caller_of(context)
        id_, envelope_id = fields.resource("name", request.name, "microgrids", "envelopes")
        require_area(caller, id_, request.name)

        async def effect(answered: Callable[[pb.CancelEnvelopeResponse], Answered]) -> pb.CancelEnvelopeResponse:
            envelope = self._find(id_, envelope_id, request.name)
            if envelope.source.holder != caller.id:
                raise not_found(request.name)
            message = envelope_message(envelope, Standing.CANCELLED, ())
            response = pb.CancelEnvelopeResponse(envelope=message)
            await self._core.limits.book.cancel(id_, envelope_id, answered(response))
            return response

        return await once_in_book(self._core, caller, "CancelEnvelope", request, pb.CancelEnvelopeResponse, effect)

    async def SetDefaultEnvelope(
        self, request: pb.SetDefaultEnvelopeRequest, context: Context
    ) -> pb.SetDefaultEnvelopeResponse:
        """Replace what holds on a target where no envelope does."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        known = registered(self._core, caller, id_, request.parent)

        async def effect(
            answered: Callable[[pb.SetDefaultEnvelopeResponse], Answered],
        ) -> pb.SetDefaultEnvelopeResponse:
            field = "default_envelope"
            type_name = "gridpact.v1.DefaultEnvelope"
            payload = open_signed_by_dso(
                known, request.default_envelope, holder=caller.id, type_name=type_name, field=field
            )
            default = read_default(request.default_envelope, microgrid=id_, holder=caller.id)
            _require_target(known, default.target)
            self._require_newer(id_, f"{field}.counter", default)
            response = pb.SetDefaultEnvelopeResponse(default_envelope=pb.DefaultEnvelope.FromString(payload))
            await self._core.limits.book.set_default(default, answered(response))
            return response

        return await once_in_book(
            self._core, caller, "SetDefaultEnvelope", request, pb.SetDefaultEnvelopeResponse, effect
        )

    async def ListDefaultEnvelopes(
        self, request: pb.ListDefaultEnvelopesRequest, context: Context
    ) -> pb.ListDefaultEnvelopesResponse:
        """All defaults as they were signed."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        registered(self._core, caller, id_, request.parent)
        signed: list[types_pb2.Signed] = [signed_message(d.signed) for d in self._core.limits.book.defaults(id_)]
        return pb.ListDefaultEnvelopesResponse(default_envelopes=signed)

    async def Supervise(
        self, request_iterator: AsyncIterator[pb.SuperviseRequest], context: Context
    ) -> AsyncIterator[pb.SuperviseResponse]:
        """Answer heartbeats, and tell whenever what holds changes."""
        async for response in supervise(self._core, caller_of(context), request_iterator):
            yield response

    async def GetPlannedLoad(self, request: pb.GetPlannedLoadRequest, context: Context) -> pb.GetPlannedLoadResponse:
        """The connection point's net load in the newest plan that acts."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def read(connection: Connection) -> pb.GetPlannedLoadResponse:
            require_microgrid(connection, caller, id_, request.parent)
            planned = market.last_plan(connection, id_, before=ENDLESS)
            if planned is None:
                return pb.GetPlannedLoadResponse()
            plan = json.loads(planned.plan)
            return pb.GetPlannedLoadResponse(
                window=planned.window, start_time=fields.timestamp(plan["start"]), net_power_w=plan["net_w"]
            )

        return await self._core.database.read_async(read)

    async def ListRelaxations(self, request: pb.ListRelaxationsRequest, context: Context) -> pb.ListRelaxationsResponse:
        """The windows in which limits could not be kept, in order of time."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        within = fields.interval("interval", request.interval) if request.HasField("interval") else None
        page = read_page(caller, request, request.page_size, request.page_token, (int,))

        def read(connection: Connection) -> pb.ListRelaxationsResponse:
            require_microgrid(connection, caller, id_, request.parent)
            after = None if page.after is None else int(page.after[0])
            wanted = market.WindowFilter(after=after, within=within, relaxed=True, limit=page.size + 1, whole=False)
            shown, token = page.cut(market.decided_windows(connection, id_, wanted), lambda row: (row.start,))
            windows = [pb.RelaxedWindow(window=row.name, relaxations=_gave(connection, row)) for row in shown]
            return pb.ListRelaxationsResponse(windows=windows, next_page_token=token)

        return await self._core.database.read_async(read)

    def _find(self, microgrid: str, envelope: str, name: str) -> Envelope:
        found = self._core.limits.book.envelope(microgrid, envelope)
        if found is None:
            raise not_found(name)
        return found

    def _message(self, envelope: Envelope) -> pb.EnvelopeRecord:
        return envelope_message(envelope, *self._core.limits.book.standing(envelope))

    def _require_newer(self, microgrid: str, field: str, limit: Envelope | Default) -> None:
        """Refuse what a key signed before something that is known already: it may be a replay."""
        newest = self._core.limits.book.counter(microgrid, limit.signed.key_id)
        if newest and limit.counter <= newest:
            raise out_of_range(field, got=str(limit.counter), wanted=f"more than {newest}, which the key has signed")


def _gave(connection: Connection, row: market.WindowRow) -> list[types_pb2.LimitRelaxation]:
    """Limits that nobody could keep in a window's clearing, and then in its adjustments."""
    texts = (row.relaxed, *(one.relaxed for one in adjustments.outlines(connection, row.name)))
    return [message for text in texts for message in relaxation_messages(relaxing.from_json(text))]


def _require_target(known: Registered, target: str) -> None:
    """Refuse a target that is not the microgrid, its transformer, one of its sections or one of its members."""
    if target not in known.targets():
        raise not_found(target)
