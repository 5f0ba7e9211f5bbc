"""For the operator: the community and its members."""

from math import ceil, floor

from sqlalchemy import Connection

from controller.access import identity, require_area
from controller.denials import subject
from controller.microgrid import targets_of
from controller.refusals import conflict, invalid, not_found, out_of_range
from controller.services.book_calls import registered
from controller.services.core import Core, once, require_microgrid
from controller.services.edge import Context, caller_of
from controller.services.operator_calendar import CalendarMethods
from controller.services.operator_members import MemberMethods
from controller.services.paging import read_page
from controller.services.status import status_of
from controller.store import denied, registry
from controller.wire import community, fields
from gridpact.v1 import operator_pb2 as pb
from gridpact.v1 import operator_pb2_grpc

PUBLIC_KEY_BYTES = 32


class OperatorServicer(CalendarMethods, MemberMethods, operator_pb2_grpc.OperatorServiceServicer):
    """Implements gridpact.v1.OperatorService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def CreateMicrogrid(self, request: pb.CreateMicrogridRequest, context: Context) -> pb.CreateMicrogridResponse:
        """Keep a microgrid and open its windows."""
        caller = caller_of(context)
        microgrid = community.read_microgrid(request.microgrid)
        require_area(caller, microgrid.id, request.microgrid.name)

        def effect(connection: Connection) -> pb.CreateMicrogridResponse:
            now = self._core.clock.now()
            if microgrid.rolling and microgrid.start < now - microgrid.window_minutes * 60:
                raise out_of_range(
                    "microgrid.horizon.start_time",
                    got=f"{microgrid.start} s",
                    wanted=f"at least {ceil(now) - microgrid.window_minutes * 60} s: no window before now",
                )
            if registry.microgrid(connection, microgrid.id) is not None:
                raise conflict("ALREADY_EXISTS", f"{microgrid.name}: exists already")
            registry.add_microgrid(connection, microgrid, now=now)
            return pb.CreateMicrogridResponse(microgrid=community.microgrid_message(microgrid))

        return await once(self._core, caller, "CreateMicrogrid", request, pb.CreateMicrogridResponse, effect)

    async def GetMicrogrid(self, request: pb.GetMicrogridRequest, context: Context) -> pb.GetMicrogridResponse:
        """The microgrid's calendar and tariff; from memory, so that it is there while the database is not."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("name", request.name)
        found = registered(self._core, caller, id_, request.name)
        return pb.GetMicrogridResponse(microgrid=community.microgrid_message(found.microgrid))

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
        if request.meters and request.purpose != pb.KEY_PURPOSE_READING:
            raise invalid(
                "meters", got=f"{len(request.meters)} of a key for {purpose}", wanted="none: READING keys have"
            )
        fields.once_each("meters", request.meters)

        def effect(connection: Connection) -> pb.RegisterKeyResponse:
            require_microgrid(connection, caller, id_, request.parent)
            if registry.key(connection, id_, key_id) is not None:
                raise conflict("ALREADY_EXISTS", f"key {key_id!r}: registered already")
            targets = targets_of(f"microgrids/{id_}", registry.members(connection, id_))
            for meter in request.meters:
                if meter not in targets:
                    raise not_found(meter)
            registry.add_key(
                connection,
                id_,
                key_id,
                purpose=purpose,
                holder=holder,
                public_key=request.public_key,
                meters=request.meters,
            )
            return pb.RegisterKeyResponse(key_id=key_id)

        return await once(self._core, caller, "RegisterKey", request, pb.RegisterKeyResponse, effect)

    async def DenyIdentity(self, request: pb.DenyIdentityRequest, context: Context) -> pb.DenyIdentityResponse:
        """Shut somebody out, from the next call on."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        name = _denied_subject(request.subject)
        if name == str(caller):
            raise invalid("subject", got=name, wanted="another identity than your own")
        denial = denied.Denial(
            subject=name, reason=fields.words("reason", request.reason), created=floor(self._core.clock.now())
        )

        def effect(connection: Connection) -> pb.DenyIdentityResponse:
            require_microgrid(connection, caller, id_, request.parent)
            whose = identity(name)
            if whose is not None:
                require_area(caller, whose.grid, name)
            denied.deny(connection, id_, denial)
            return pb.DenyIdentityResponse(denial=_denial_message(denial))

        follow = self._core.following.denied
        return await once(self._core, caller, "DenyIdentity", request, pb.DenyIdentityResponse, effect, follow=follow)

    async def AllowIdentity(self, request: pb.AllowIdentityRequest, context: Context) -> pb.AllowIdentityResponse:
        """Let somebody in again."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        name = _denied_subject(request.subject)

        def effect(connection: Connection) -> pb.AllowIdentityResponse:
            require_microgrid(connection, caller, id_, request.parent)
            if not denied.allow(connection, id_, name):
                raise not_found(name)
            return pb.AllowIdentityResponse()

        follow = self._core.following.denied
        return await once(self._core, caller, "AllowIdentity", request, pb.AllowIdentityResponse, effect, follow=follow)

    async def ListDenials(self, request: pb.ListDenialsRequest, context: Context) -> pb.ListDenialsResponse:
        """Who is shut out, in order of the subjects."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (str,))

        def read(connection: Connection) -> pb.ListDenialsResponse:
            require_microgrid(connection, caller, id_, request.parent)
            found, token = page.of(denied.denials(connection, id_), lambda one: (one.subject,))
            return pb.ListDenialsResponse(denials=[_denial_message(one) for one in found], next_page_token=token)

        return await self._core.database.read_async(read)

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        """What the service is doing, and one microgrid."""
        return await status_of(self._core, caller_of(context), request.name)


def _denied_subject(text: str) -> str:
    name = subject(text)
    if name is None:
        raise invalid("subject", got=text, wanted="spiffe://GRID/ROLE/ID, or serial: and hexadecimal digits")
    return name


def _denial_message(denial: denied.Denial) -> pb.Denial:
    return pb.Denial(subject=denial.subject, reason=denial.reason, create_time=fields.timestamp(denial.created))
