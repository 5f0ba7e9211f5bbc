"""For participants: what they want of a device instead of the plan, at once, with what it is expected to cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from controller.access import Identity
from controller.flexibility import Programme
from controller.freezing import states_at
from controller.microgrid import PAST_S, Device, DeviceState, Microgrid, WindowState
from controller.outlook import NEVER, outlook_of
from controller.overrides import Forbidden, Foreseen, Wish, cost_of, decide, interruption
from controller.programmes import finished, progress
from controller.projecting import blank
from controller.refusals import Code, Refusal, invalid, not_found, not_now
from controller.services.core import Core, once, require_member
from controller.services.edge import Context, caller_of
from controller.services.paging import read_page
from controller.store import market, overrides, registry
from controller.wire import fields
from controller.wire.override import override_message, override_name, read_mode
from controller.wishes import Cost, Mode, Override, OverrideState, Step
from gridpact.v1 import participant_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Whose device an override is about, and how it stands now."""

    microgrid: Microgrid
    device: Device
    own: Sequence[Device]
    state: DeviceState
    states: dict[str, DeviceState]
    now: int


class OverrideMethods:
    """The methods of gridpact.v1.ParticipantService about overrides."""

    _core: Core

    async def SetOverride(self, request: pb.SetOverrideRequest, context: Context) -> pb.SetOverrideResponse:
        """Let a device do what its owner wants; the limits stay above it."""
        caller = caller_of(context)
        fields.request_id(request.request_id)
        id_, _, device = fields.device_id("device", request.device)

        def effect(connection: Connection) -> pb.SetOverrideResponse:
            place = self._place(connection, caller, request.device)
            mode, steps, cost = _decided(connection, place, request)
            if request.validate_only:
                shown = Override(device=place.device.id, number=1, mode=mode, made=place.now, steps=steps, cost=cost)
                message = override_message(id_, shown, now=place.now)
                message.ClearField("name")
                return pb.SetOverrideResponse(override=message)
            kept = overrides.add(connection, id_, place.device.id, mode=mode, made=place.now, steps=steps, cost=cost)
            return pb.SetOverrideResponse(override=override_message(id_, kept, now=place.now))

        if request.validate_only:
            return await self._core.database.read_async(effect)
        return await once(
            self._core,
            caller,
            "SetOverride",
            request,
            pb.SetOverrideResponse,
            effect,
            follow=lambda connection: self._core.following.device(connection, id_, device),
        )

    async def ClearOverride(self, request: pb.ClearOverrideRequest, context: Context) -> pb.ClearOverrideResponse:
        """Let the plan decide again."""
        caller = caller_of(context)
        id_, device, number = override_name(request.name)

        def effect(connection: Connection) -> pb.ClearOverrideResponse:
            place = self._place(connection, caller, fields.device_name(id_, device), missing=request.name)
            known = {one.number: one for one in overrides.of_device(connection, id_, device)}
            if number not in known:
                raise not_found(request.name)
            if (state := known[number].state(place.now)) is not OverrideState.ACTIVE:
                raise not_now("NOT_ACTIVE", f"{request.name}: got one that is {state.value}, wanted ACTIVE")
            if known[number].mode is Mode.RUN_NOW:
                until = place.now + place.microgrid.mtu_seconds
                mtu = place.microgrid.mtu_seconds
                stopped = interruption(place.device.flexibility, place.state, now=place.now, until=until, mtu_s=mtu)
                if stopped is not None:
                    raise _forbidden(request.name, stopped)
            overrides.clear(connection, id_, device, number, place.now)
            kept = next(one for one in overrides.of_device(connection, id_, device) if one.number == number)
            return pb.ClearOverrideResponse(override=override_message(id_, kept, now=place.now))

        return await once(
            self._core,
            caller,
            "ClearOverride",
            request,
            pb.ClearOverrideResponse,
            effect,
            follow=lambda connection: self._core.following.device(connection, id_, device),
        )

    async def ListOverrides(self, request: pb.ListOverridesRequest, context: Context) -> pb.ListOverridesResponse:
        """All overrides that there ever were of one of the caller's devices, oldest first."""
        caller = caller_of(context)
        id_, member, device = fields.device_id("parent", request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (int,))

        def read(connection: Connection) -> pb.ListOverridesResponse:
            require_member(connection, caller, id_, member, request.parent)
            found = overrides.of_device(connection, id_, device)
            if not found and all(known.id != device for known in registry.devices(connection, id_)):
                raise not_found(request.parent)
            shown, token = page.of(found, lambda one: (one.number,))
            now = self._core.clock.now()
            return pb.ListOverridesResponse(
                overrides=[override_message(id_, one, now=now) for one in shown], next_page_token=token
            )

        return await self._core.database.read_async(read)

    def _place(self, connection: Connection, caller: Identity, name: str, *, missing: str = "") -> _Place:
        """The caller's device and how it stands; NOT_FOUND where it is another's, or none."""
        id_, member, own = fields.device_id("device", name)
        microgrid = require_member(connection, caller, id_, member, missing or name)
        devices = [device for device in registry.devices(connection, id_) if device.member == member]
        device = next((device for device in devices if device.id == own), None)
        if device is None:
            raise not_found(missing or name)
        now = int(self._core.clock.now())
        states = states_at(connection, microgrid, now)
        return _Place(
            microgrid=microgrid,
            device=device,
            own=devices,
            state=states.get(own) or blank(own, now),
            states=states,
            now=now,
        )


def _decided(
    connection: Connection, place: _Place, request: pb.SetOverrideRequest
) -> tuple[Mode, tuple[Step, ...], Cost]:
    """What the device does under the request, and what that costs."""
    mode = read_mode("mode", request.mode)
    until = None
    if request.HasField("expire_time"):
        until = fields.future("expire_time", request.expire_time, now=place.now)
        fields.number("expire_time", until, lower=place.now, upper=place.now + fields.MAX_DURATION_S)
    programme = isinstance(place.device.flexibility, Programme)
    if mode is Mode.PAUSE and until is None:
        raise invalid("expire_time", got="none", wanted="until when to pause")
    if until is not None and (mode is Mode.NOT_TODAY or (mode is Mode.RUN_NOW and programme)):
        ends = "at midnight" if mode is Mode.NOT_TODAY else "with the cycle"
        raise invalid("expire_time", got=str(until), wanted=f"none: it ends {ends}")
    mtu = place.microgrid.mtu_seconds
    wish = Wish(
        mode=mode,
        now=place.now,
        until=until,
        midnight=_next_midnight(place.microgrid.time_zone, place.now),
        mtu_s=mtu,
        waits_for=_waits_for(place),
    )
    steps = decide(place.device.flexibility, place.state, wish)
    if isinstance(steps, Forbidden):
        raise _forbidden(request.device, steps)
    plan = _foreseen(connection, place, max(step.end for step in steps))
    return mode, steps, cost_of(mode, steps, plan, now=place.now, mtu_s=mtu)


def _forbidden(name: str, found: Forbidden) -> Refusal:
    """The device's own rules do not allow it; says when they do."""
    metadata = {} if found.possible_at is None else {"possible_at_unix_s": str(found.possible_at)}
    return Refusal(
        code=Code.FAILED_PRECONDITION,
        reason="OVERRIDE_FORBIDDEN",
        message=f"{name}: {found.reason}",
        metadata=metadata,
    )


def _waits_for(place: _Place) -> str | None:
    """The device after whose cycle this one runs, where that has not ended."""
    programme = place.device.flexibility
    if not isinstance(programme, Programme) or programme.follows is None:
        return None
    before = next((device for device in place.own if device.id == programme.follows), None)
    if before is None or not isinstance(before.flexibility, Programme):
        return None
    known = progress(before.flexibility, place.states.get(before.id), place.microgrid.mtu_seconds)
    return None if known is not None and finished(before.flexibility, known) else before.id


def _next_midnight(time_zone: str, now: int) -> int:
    """When the next day of a time zone begins."""
    zone = ZoneInfo(time_zone)
    day = datetime.fromtimestamp(now, zone).date() + timedelta(days=1)
    return int(datetime.combine(day, time(), zone).timestamp())


def _foreseen(connection: Connection, place: _Place, end: int) -> list[Foreseen]:
    """What the plan has for the device and its member, from the present MTU to the end of plan and override."""
    microgrid, mtu, member = place.microgrid, place.microgrid.mtu_seconds, place.device.member
    outlook = outlook_of(connection, microgrid, member, place.now)
    planned = {point.setpoint.mtu_start: point for point in outlook.devices[place.device.id]}
    powers: dict[int, int] = {}
    for points in outlook.devices.values():
        for point in points:
            start = point.setpoint.mtu_start
            powers[start] = powers.get(start, 0) + point.power_w
    rows = market.outlines(connection, microgrid.id, start=place.now - PAST_S, end=NEVER)
    load = _load_w(connection, rows, member, mtu)
    closed = [row for row in rows if row.state != WindowState.OPEN.value and row.end > place.now]
    last = max([end, *(start + mtu for start in planned)])
    first = place.now - place.now % mtu
    return [
        Foreseen(
            start=start,
            power_w=planned[start].power_w if start in planned else 0,
            net_w=powers.get(start, 0) + load.get(start, 0),
            decided=any(row.start <= start < row.end for row in closed),
            prices=prices,
        )
        for start in microgrid.mtus(first, last)
        if (prices := next((period for period in microgrid.tariff if period.start <= start < period.end), None))
    ]


def _load_w(connection: Connection, rows: Sequence[market.WindowOutline], member: str, mtu: int) -> dict[int, int]:
    """The load that the member's newest order foresees, by the MTU's start."""
    order = market.newest_orders(connection, [row.name for row in rows]).get(member)
    if order is None:
        return {}
    begin = next(row.start for row in rows if row.name == order.window)
    return {begin + k * mtu: load for k, load in enumerate(pb.Order.FromString(order.payload).load_w)}
