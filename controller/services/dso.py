"""For the DSO: envelopes, and the load it has to expect."""

import json
from math import floor

from sqlalchemy import Connection

from controller.access import require_area
from controller.microgrid import EnvelopeRecord, EnvelopeState, Microgrid
from controller.refusals import conflict, not_found
from controller.services.core import Core, once, open_signed, page_of, require_microgrid
from controller.services.edge import Context, caller_of
from controller.store import market, registry
from controller.wire import fields
from controller.wire.market import envelope_message, read_envelope
from gridpact.v1 import dso_pb2 as pb
from gridpact.v1 import dso_pb2_grpc


class DsoServicer(dso_pb2_grpc.DsoServiceServicer):
    """Implements gridpact.v1.DsoService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def CreateEnvelope(self, request: pb.CreateEnvelopeRequest, context: Context) -> pb.CreateEnvelopeResponse:
        """Bind the windows whose gate is still open."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def effect(connection: Connection) -> pb.CreateEnvelopeResponse:
            microgrid = require_microgrid(connection, caller, id_, request.parent)
            payload = open_signed(
                connection,
                request.envelope,
                microgrid=id_,
                purpose="ENVELOPE",
                holder=caller.id,
                type_name="gridpact.v1.Envelope",
                field="envelope",
            )
            envelope, target, periods, reason = read_envelope(payload, microgrid=id_, mtu_seconds=microgrid.mtu_seconds)
            _require_target(connection, microgrid, target)
            if any(known.id == envelope for known in registry.envelopes(connection, id_)):
                raise conflict("ALREADY_EXISTS", f"{request.parent}/envelopes/{envelope}: exists already")
            record = EnvelopeRecord(
                id=envelope,
                target=target,
                periods=periods,
                reason=reason,
                state=EnvelopeState.ACTIVE,
                created=floor(self._core.clock.now()),
                payload=payload,
                signature=request.envelope.signature,
                key_id=request.envelope.key_id,
            )
            registry.add_envelope(connection, id_, record)
            return pb.CreateEnvelopeResponse(envelope=envelope_message(record))

        return await once(self._core, caller, "CreateEnvelope", request, pb.CreateEnvelopeResponse, effect)

    async def GetEnvelope(self, request: pb.GetEnvelopeRequest, context: Context) -> pb.GetEnvelopeResponse:
        """One envelope."""
        caller = caller_of(context)
        id_, envelope = fields.resource("name", request.name, "microgrids", "envelopes")
        require_area(caller, id_, request.name)
        record = await self._core.database.run_async(_find, id_, envelope, request.name)
        return pb.GetEnvelopeResponse(envelope=envelope_message(record))

    async def ListEnvelopes(self, request: pb.ListEnvelopesRequest, context: Context) -> pb.ListEnvelopesResponse:
        """All envelopes in order of their ids."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def read(connection: Connection) -> pb.ListEnvelopesResponse:
            require_microgrid(connection, caller, id_, request.parent)
            page, token = page_of(registry.envelopes(connection, id_), request.page_size, request.page_token)
            return pb.ListEnvelopesResponse(envelopes=[envelope_message(r) for r in page], next_page_token=token)

        return await self._core.database.run_async(read)

    async def CancelEnvelope(self, request: pb.CancelEnvelopeRequest, context: Context) -> pb.CancelEnvelopeResponse:
        """Let an envelope count no longer for windows whose gate is still open."""
        caller = caller_of(context)
        id_, envelope = fields.resource("name", request.name, "microgrids", "envelopes")
        require_area(caller, id_, request.name)

        def effect(connection: Connection) -> pb.CancelEnvelopeResponse:
            _find(connection, id_, envelope, request.name)
            registry.cancel_envelope(connection, id_, envelope)
            return pb.CancelEnvelopeResponse(envelope=envelope_message(_find(connection, id_, envelope, request.name)))

        return await once(self._core, caller, "CancelEnvelope", request, pb.CancelEnvelopeResponse, effect)

    async def GetPlannedLoad(self, request: pb.GetPlannedLoadRequest, context: Context) -> pb.GetPlannedLoadResponse:
        """The connection point's net load in the newest plan that acts."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def read(connection: Connection) -> pb.GetPlannedLoadResponse:
            require_microgrid(connection, caller, id_, request.parent)
            planned = [row for row in market.windows(connection, id_) if row.plan]
            if not planned:
                return pb.GetPlannedLoadResponse()
            plan = json.loads(planned[-1].plan or "")
            return pb.GetPlannedLoadResponse(
                window=planned[-1].name, start_time=fields.timestamp(plan["start"]), net_power_w=plan["net_w"]
            )

        return await self._core.database.run_async(read)


def _find(connection: Connection, microgrid: str, envelope: str, name: str) -> EnvelopeRecord:
    for record in registry.envelopes(connection, microgrid):
        if record.id == envelope:
            return record
    raise not_found(name)


def _require_target(connection: Connection, microgrid: Microgrid, target: str) -> None:
    """Refuse a target that is not the microgrid, one of its sections or one of its members."""
    members = registry.members(connection, microgrid.id)
    targets = {microgrid.name}
    targets |= {f"{microgrid.name}/sections/{member.section}" for member in members}
    targets |= {f"{microgrid.name}/members/{member.id}" for member in members}
    if target not in targets:
        raise not_found(target)
