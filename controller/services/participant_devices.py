"""For participants: their devices, and what each can do."""

from collections.abc import Sequence

from sqlalchemy import Connection

from controller.flexibility import Programme
from controller.microgrid import Device
from controller.refusals import changed, invalid, not_found, not_now
from controller.services.core import Core, once, require_member
from controller.services.edge import Context, caller_of
from controller.services.paging import read_page
from controller.store import drivers, overrides, registry
from controller.wire import fields
from controller.wire.flexibility import read_device
from controller.wire.flexibility_mask import merged
from controller.wire.flexibility_message import flexibility_message
from controller.wire.schedule import device_message, etag
from gridpact.v1 import participant_pb2 as pb

DEVICES = 64
"""As many a member may have."""


class DeviceMethods:
    """The methods of gridpact.v1.ParticipantService about devices."""

    _core: Core

    async def UpdateFlexibility(
        self, request: pb.UpdateFlexibilityRequest, context: Context
    ) -> pb.UpdateFlexibilityResponse:
        """Keep what one of the caller's devices can do, or change what is named of it."""
        caller = caller_of(context)
        name = request.flexibility.device
        id_, member, own = fields.device_id("flexibility.device", name)

        def effect(connection: Connection) -> pb.UpdateFlexibilityResponse:
            microgrid = require_member(connection, caller, id_, member, name)
            devices = [d for d in registry.devices(connection, id_) if d.member == member]
            known = next((d for d in devices if d.id == own), None)
            _check_etag(request.etag, known, name)
            message = request.flexibility
            if request.HasField("update_mask"):
                if known is None:
                    raise not_found(name)
                message = merged(flexibility_message(id_, known), message, request.update_mask.paths)
            _, device = read_device(message, mtu_seconds=microgrid.mtu_seconds)
            others = [d for d in devices if d.id != device.id]
            if len(others) >= DEVICES:
                raise not_now("TOO_MANY_DEVICES", f"{name}: more than {DEVICES} of a member")
            _check_chain(device, others)
            if known is not None and type(known.flexibility) is not type(device.flexibility):
                # What was wanted of it was wanted of something else.
                overrides.clear_standing(connection, id_, own, int(self._core.clock.now()))
            registry.put_device(connection, id_, device)
            if request.HasField("gateway"):
                gateway = fields.identifier("gateway", request.gateway) if request.gateway else None
                drivers.set_gateway(connection, id_, device.id, gateway)
            return pb.UpdateFlexibilityResponse(flexibility=message, etag=etag(device))

        return await once(
            self._core,
            caller,
            "UpdateFlexibility",
            request,
            pb.UpdateFlexibilityResponse,
            effect,
            follow=lambda connection: self._core.following.device(connection, id_, own),
        )

    async def GetDevice(self, request: pb.GetDeviceRequest, context: Context) -> pb.GetDeviceResponse:
        """One of the caller's devices."""
        caller = caller_of(context)
        id_, member, own = fields.device_id("name", request.name)

        def read(connection: Connection) -> pb.GetDeviceResponse:
            require_member(connection, caller, id_, member, request.name)
            device = next((d for d in registry.devices(connection, id_) if d.id == own), None)
            if device is None:
                raise not_found(request.name)
            return pb.GetDeviceResponse(device=device_message(id_, device))

        return await self._core.database.read_async(read)

    async def ListDevices(self, request: pb.ListDevicesRequest, context: Context) -> pb.ListDevicesResponse:
        """The caller's devices in order of their names."""
        caller = caller_of(context)
        id_, member = fields.resource("parent", request.parent, "microgrids", "members")
        page = read_page(caller, request, request.page_size, request.page_token, (str,))

        def read(connection: Connection) -> pb.ListDevicesResponse:
            require_member(connection, caller, id_, member, request.parent)
            own = [device for device in registry.devices(connection, id_) if device.member == member]
            found, token = page.of(own, lambda device: (device.id,))
            return pb.ListDevicesResponse(
                devices=[device_message(id_, device) for device in found], next_page_token=token
            )

        return await self._core.database.read_async(read)

    async def DeleteDevice(self, request: pb.DeleteDeviceRequest, context: Context) -> pb.DeleteDeviceResponse:
        """Forget one of the caller's devices; it goes to its failsafe."""
        caller = caller_of(context)
        id_, member, own = fields.device_id("name", request.name)

        def effect(connection: Connection) -> pb.DeleteDeviceResponse:
            require_member(connection, caller, id_, member, request.name)
            known = next((d for d in registry.devices(connection, id_) if d.id == own), None)
            if known is None:
                raise not_found(request.name)
            _check_etag(request.etag, known, request.name)
            overrides.clear_standing(connection, id_, own, int(self._core.clock.now()))
            registry.remove_device(connection, id_, own)
            return pb.DeleteDeviceResponse()

        return await once(
            self._core,
            caller,
            "DeleteDevice",
            request,
            pb.DeleteDeviceResponse,
            effect,
            follow=lambda connection: self._core.following.device(connection, id_, own),
        )


def _check_etag(wanted: str, known: Device | None, name: str) -> None:
    """Refuses a change to something else than what the caller knows."""
    if not wanted:
        return
    if known is None:
        raise not_found(name)
    if wanted != etag(known):
        raise changed(f"{name}: got etag {wanted[:64]!r}, wanted {etag(known)!r}: it has changed since")


def _check_chain(device: Device, others: Sequence[Device]) -> None:
    """Refuses a programme that follows none of its member's, or one that has a follower already, or a ring."""
    if not isinstance(device.flexibility, Programme) or device.flexibility.follows is None:
        return
    field, before = "flexibility.power_profile.follows", device.flexibility.follows
    programmes = {d.id: d.flexibility for d in others if isinstance(d.flexibility, Programme)}
    if before not in programmes:
        raise invalid(field, got=before, wanted="a programme of the same member that is registered")
    if rivals := sorted(id_ for id_, other in programmes.items() if other.follows == before):
        raise invalid(field, got=f"{before}, which {rivals[0]} follows already", wanted="one that nobody follows")
    reached: str | None = before
    while reached in programmes:
        reached = programmes[reached].follows
        if reached == device.id:
            raise invalid(field, got=f"{before}, which follows {device.id} itself", wanted="no ring")
