"""For the DSO, and those concerned: trades that the network cannot bear."""

from math import floor

from sqlalchemy import Connection

from controller.access import Identity, Role, require_area
from controller.consent import Scope
from controller.microgrid import Member
from controller.refusals import conflict, not_found
from controller.services.core import Core, once, open_signed, require_microgrid
from controller.services.edge import Context, caller_of
from controller.services.mandates import visible_members
from controller.services.paging import read_page
from controller.store import registry, vetoes
from controller.veto import Veto, VetoRecord, VetoState
from controller.wire import fields
from controller.wire.veto import read_veto, veto_message
from gridpact.v1 import dso_pb2 as pb


class VetoMethods:
    """The methods of gridpact.v1.DsoService about vetoes."""

    _core: Core

    async def CreateVeto(self, request: pb.CreateVetoRequest, context: Context) -> pb.CreateVetoResponse:
        """Forbid trades in windows whose gate is open."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def effect(connection: Connection) -> pb.CreateVetoResponse:
            microgrid = require_microgrid(connection, caller, id_, request.parent)
            now = self._core.clock.now()
            payload = open_signed(
                connection,
                request.veto,
                microgrid=id_,
                purpose="ENVELOPE",
                holder=caller.id,
                type_name="gridpact.v1.Veto",
                field="veto",
            )
            veto = read_veto(payload, microgrid=id_, mtu_seconds=microgrid.mtu_seconds, now=now)
            _require_target(registry.members(connection, id_), veto, microgrid.name)
            if vetoes.find(connection, id_, veto.id) is not None:
                raise conflict("ALREADY_EXISTS", f"{request.parent}/vetoes/{veto.id}: exists already")
            record = VetoRecord(
                veto=veto,
                state=VetoState.ACTIVE,
                created=floor(now),
                holder=caller.id,
                payload=payload,
                signature=request.veto.signature,
                key_id=request.veto.key_id,
            )
            vetoes.add(connection, id_, record)
            return pb.CreateVetoResponse(veto=veto_message(record, signed=True))

        return await once(self._core, caller, "CreateVeto", request, pb.CreateVetoResponse, effect)

    async def CancelVeto(self, request: pb.CancelVetoRequest, context: Context) -> pb.CancelVetoResponse:
        """Let a veto count no longer for windows whose gate is open."""
        caller = caller_of(context)
        id_, veto = fields.resource("name", request.name, "microgrids", "vetoes")
        require_area(caller, id_, request.name)

        def effect(connection: Connection) -> pb.CancelVetoResponse:
            record = vetoes.find(connection, id_, veto)
            if record is None or record.holder != caller.id:
                raise not_found(request.name)
            vetoes.cancel(connection, id_, veto)
            kept = vetoes.find(connection, id_, veto)
            return pb.CancelVetoResponse(veto=veto_message(kept or record, signed=True))

        return await once(self._core, caller, "CancelVeto", request, pb.CancelVetoResponse, effect)

    async def ListVetoes(self, request: pb.ListVetoesRequest, context: Context) -> pb.ListVetoesResponse:
        """The vetoes that concern the caller, in order of their ids."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (str,))

        def read(connection: Connection) -> pb.ListVetoesResponse:
            require_microgrid(connection, caller, id_, request.parent)
            told = self._told(connection, caller, id_)
            found = vetoes.after(connection, id_, "" if page.after is None else str(page.after[0]))
            if told is not None:
                found = [record for record in found if any(record.veto.concerns(member) for member in told)]
            shown, token = page.cut(found, lambda record: (record.veto.id,))
            return pb.ListVetoesResponse(
                vetoes=[veto_message(record, signed=told is None) for record in shown], next_page_token=token
            )

        return await self._core.database.read_async(read)

    def _told(self, connection: Connection, caller: Identity, microgrid: str) -> list[Member] | None:
        """On whose behalf the caller asks; None for everybody."""
        if caller.role is Role.DSO:
            return None
        known = visible_members(connection, caller, microgrid, Scope.TRADES, self._core.clock.now())
        if known is None:
            return None
        return [member for member in registry.members(connection, microgrid) if member.id in known]


def _require_target(members: list[Member], veto: Veto, microgrid: str) -> None:
    """Refuse a veto over what is not there."""
    ids, sections = {member.id for member in members}, {member.section for member in members}
    for member in (veto.member, veto.seller, veto.buyer):
        if member is not None and member not in ids:
            raise not_found(f"{microgrid}/members/{member}")
    if veto.section is not None and veto.section not in sections:
        raise not_found(f"{microgrid}/sections/{veto.section}")
