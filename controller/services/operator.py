"""For the operator: the community and its members."""

from sqlalchemy import Connection

from controller.access import require_area
from controller.microgrid import Member
from controller.refusals import conflict, invalid
from controller.services.core import Core, once, page_of, require_microgrid
from controller.services.dispatch import clearing_message
from controller.services.edge import Context, caller_of
from controller.store import market, registry
from controller.wire import community, fields
from gridpact.v1 import operator_pb2 as pb
from gridpact.v1 import operator_pb2_grpc

PUBLIC_KEY_BYTES = 32


class OperatorServicer(operator_pb2_grpc.OperatorServiceServicer):
    """Implements gridpact.v1.OperatorService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def CreateMicrogrid(self, request: pb.CreateMicrogridRequest, context: Context) -> pb.CreateMicrogridResponse:
        """Keep a microgrid and open its windows."""
        caller = caller_of(context)
        microgrid = community.read_microgrid(request.microgrid)
        require_area(caller, microgrid.id, request.microgrid.name)

        def effect(connection: Connection) -> pb.CreateMicrogridResponse:
            if registry.microgrid(connection, microgrid.id) is not None:
                raise conflict("ALREADY_EXISTS", f"{microgrid.name}: exists already")
            registry.add_microgrid(connection, microgrid)
            return pb.CreateMicrogridResponse(microgrid=community.microgrid_message(microgrid))

        return await once(self._core, caller, "CreateMicrogrid", request, pb.CreateMicrogridResponse, effect)

    async def GetMicrogrid(self, request: pb.GetMicrogridRequest, context: Context) -> pb.GetMicrogridResponse:
        """The microgrid's calendar and tariff."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("name", request.name)
        found = await self._core.database.run_async(require_microgrid, caller, id_, request.name)
        return pb.GetMicrogridResponse(microgrid=community.microgrid_message(found))

    async def CreateMember(self, request: pb.CreateMemberRequest, context: Context) -> pb.CreateMemberResponse:
        """Keep a member."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        member = Member(
            id=community.member_id("member.name", request.member.name, id_),
            section=fields.identifier("member.section", request.member.section),
        )

        def effect(connection: Connection) -> pb.CreateMemberResponse:
            require_microgrid(connection, caller, id_, request.parent)
            if any(known.id == member.id for known in registry.members(connection, id_)):
                raise conflict("ALREADY_EXISTS", f"{request.member.name}: exists already")
            registry.add_member(connection, id_, member)
            return pb.CreateMemberResponse(member=request.member)

        return await once(self._core, caller, "CreateMember", request, pb.CreateMemberResponse, effect)

    async def ListMembers(self, request: pb.ListMembersRequest, context: Context) -> pb.ListMembersResponse:
        """All members in order of their ids."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def read(connection: Connection) -> pb.ListMembersResponse:
            require_microgrid(connection, caller, id_, request.parent)
            page, token = page_of(registry.members(connection, id_), request.page_size, request.page_token)
            return pb.ListMembersResponse(
                members=[pb.Member(name=f"{request.parent}/members/{m.id}", section=m.section) for m in page],
                next_page_token=token,
            )

        return await self._core.database.run_async(read)

    async def RegisterKey(self, request: pb.RegisterKeyRequest, context: Context) -> pb.RegisterKeyResponse:
        """Let a holder's signatures count."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        key_id = fields.identifier("key_id", request.key_id)
        if request.purpose == pb.KEY_PURPOSE_UNSPECIFIED or request.purpose not in pb.KeyPurpose.values():
            raise invalid("purpose", got=str(request.purpose), wanted="a KeyPurpose")
        if len(request.public_key) != PUBLIC_KEY_BYTES:
            raise invalid("public_key", got=f"{len(request.public_key)} bytes", wanted=f"{PUBLIC_KEY_BYTES}")
        holder = fields.identifier("holder", request.holder)
        purpose = pb.KeyPurpose.Name(request.purpose).removeprefix("KEY_PURPOSE_")

        def effect(connection: Connection) -> pb.RegisterKeyResponse:
            require_microgrid(connection, caller, id_, request.parent)
            if registry.key(connection, id_, key_id) is not None:
                raise conflict("ALREADY_EXISTS", f"key {key_id!r}: registered already")
            registry.add_key(connection, id_, key_id, purpose=purpose, holder=holder, public_key=request.public_key)
            return pb.RegisterKeyResponse(key_id=key_id)

        return await once(self._core, caller, "RegisterKey", request, pb.RegisterKeyResponse, effect)

    async def ListWindows(self, request: pb.ListWindowsRequest, context: Context) -> pb.ListWindowsResponse:
        """All windows in order of time, with their states."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def read(connection: Connection) -> pb.ListWindowsResponse:
            require_microgrid(connection, caller, id_, request.parent)
            page, token = page_of(market.windows(connection, id_), request.page_size, request.page_token)
            return pb.ListWindowsResponse(
                windows=[clearing_message(connection, row) for row in page], next_page_token=token
            )

        return await self._core.database.run_async(read)
