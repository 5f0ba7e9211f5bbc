"""For the operator: who is a member, and how its connection is rated."""

from dataclasses import replace
from math import floor

from sqlalchemy import Connection

from controller.microgrid import Member
from controller.refusals import conflict, not_found
from controller.services.core import Core, once, require_microgrid
from controller.services.edge import Context, caller_of
from controller.services.masks import read_mask
from controller.services.paging import read_page
from controller.store import registry
from controller.wire import community, fields
from gridpact.v1 import operator_pb2 as pb

CHANGES = ("section", "connection_w", "feed_in_w")


class MemberMethods:
    """The methods of gridpact.v1.OperatorService about members."""

    _core: Core

    async def CreateMember(self, request: pb.CreateMemberRequest, context: Context) -> pb.CreateMemberResponse:
        """Keep a member."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        member = community.read_member(request.member, id_)

        def effect(connection: Connection) -> pb.CreateMemberResponse:
            require_microgrid(connection, caller, id_, request.parent)
            if member.id in registry.member_ids(connection, id_):
                raise conflict("ALREADY_EXISTS", f"{request.member.name}: exists already, or has left")
            registry.add_member(connection, id_, member)
            return pb.CreateMemberResponse(member=request.member)

        return await once(self._core, caller, "CreateMember", request, pb.CreateMemberResponse, effect)

    async def UpdateMember(self, request: pb.UpdateMemberRequest, context: Context) -> pb.UpdateMemberResponse:
        """Change what the mask names."""
        caller = caller_of(context)
        id_, member_id = fields.resource("member.name", request.member.name, "microgrids", "members")
        paths = read_mask(request.update_mask, CHANGES)
        message = request.member

        def effect(connection: Connection) -> pb.UpdateMemberResponse:
            require_microgrid(connection, caller, id_, message.name)
            member = _member(connection, id_, member_id, message.name)
            if "section" in paths:
                member = replace(member, section=fields.identifier("member.section", message.section))
            if "connection_w" in paths:
                rating = community.rating("member.connection_w", message, "connection_w")
                member = replace(member, connection_w=rating)
            if "feed_in_w" in paths:
                member = replace(member, feed_in_w=community.rating("member.feed_in_w", message, "feed_in_w"))
            registry.put_member(connection, id_, member)
            return pb.UpdateMemberResponse(member=community.member_message(id_, member))

        return await once(self._core, caller, "UpdateMember", request, pb.UpdateMemberResponse, effect)

    async def DeleteMember(self, request: pb.DeleteMemberRequest, context: Context) -> pb.DeleteMemberResponse:
        """Let a member go: its devices are told nothing more, and no window that is frozen from now on has it."""
        caller = caller_of(context)
        id_, member_id = fields.resource("name", request.name, "microgrids", "members")

        def effect(connection: Connection) -> pb.DeleteMemberResponse:
            require_microgrid(connection, caller, id_, request.name)
            _member(connection, id_, member_id, request.name)
            registry.let_go(connection, id_, member_id, instant=floor(self._core.clock.now()))
            return pb.DeleteMemberResponse()

        return await once(
            self._core,
            caller,
            "DeleteMember",
            request,
            pb.DeleteMemberResponse,
            effect,
            follow=lambda connection: self._core.following.member(connection, id_, member_id),
        )

    async def ListMembers(self, request: pb.ListMembersRequest, context: Context) -> pb.ListMembersResponse:
        """All members in order of their ids."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (str,))

        def read(connection: Connection) -> pb.ListMembersResponse:
            require_microgrid(connection, caller, id_, request.parent)
            found, token = page.of(registry.members(connection, id_), lambda member: (member.id,))
            return pb.ListMembersResponse(
                members=[community.member_message(id_, member) for member in found], next_page_token=token
            )

        return await self._core.database.read_async(read)


def _member(connection: Connection, microgrid: str, id_: str, name: str) -> Member:
    for member in registry.members(connection, microgrid):
        if member.id == id_:
            return member
    raise not_found(name)
