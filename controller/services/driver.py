"""For drivers: one stream for each device, heartbeats answered by leased setpoints."""

from collections.abc import AsyncIterator
from math import floor

from sqlalchemy import Connection

from controller.access import Identity
from controller.hub import LeasedCommand
from controller.microgrid import DeviceSetpoint, DeviceState, Microgrid, SetpointKind
from controller.refusals import invalid, not_found, out_of_range
from controller.services.core import FUTURE_S, Core, require_microgrid
from controller.services.edge import Context, caller_of
from controller.store import registry
from controller.wire import fields
from controller.wire.flexibility import milli_c
from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import driver_pb2_grpc, types_pb2


class DriverServicer(driver_pb2_grpc.DriverServiceServicer):
    """Implements gridpact.v1.DriverService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def Connect(
        self, request_iterator: AsyncIterator[pb.ConnectRequest], context: Context
    ) -> AsyncIterator[pb.ConnectResponse]:
        """Serve one device until its driver leaves."""
        caller = caller_of(context)
        microgrid: Microgrid | None = None
        device = ""
        counter = 0
        async for request in request_iterator:
            match request.WhichOneof("message"):
                case "descriptor" if microgrid is None:
                    device, microgrid = await self._core.database.run_async(
                        _named_device, caller, request.descriptor.device
                    )
                    welcome = pb.Welcome(
                        epoch=self._core.hub.epoch,
                        controller_time=fields.timestamp(floor(self._core.clock.now())),
                    )
                    yield pb.ConnectResponse(welcome=welcome)
                case "heartbeat" if microgrid is not None:
                    if request.heartbeat.counter <= counter:
                        raise invalid(
                            "heartbeat.counter",
                            got=str(request.heartbeat.counter),
                            wanted=f"more than {counter}",
                        )
                    counter = request.heartbeat.counter
                    yield self._answer(microgrid, device, counter)
                case "telemetry" if microgrid is not None:
                    self._core.hub.observe(microgrid.id, _read_state(device, request.telemetry, self._core.clock.now()))
                case "report" if microgrid is not None:
                    self._core.hub.report(microgrid.id, device, _read_report(request.report))
                case kind:
                    raise invalid(
                        "message",
                        got=str(kind),
                        wanted="a descriptor first, then heartbeats, telemetry, reports",
                    )

    def _answer(self, microgrid: Microgrid, device: str, counter: int) -> pb.ConnectResponse:
        command = self._core.hub.command(
            microgrid.id, device, now=self._core.clock.now(), mtu_seconds=microgrid.mtu_seconds
        )
        if command is None:
            return pb.ConnectResponse(idle=pb.Idle(heartbeat_counter=counter))
        return pb.ConnectResponse(command=_command_message(command, counter, microgrid.mtu_seconds))


def _named_device(connection: Connection, caller: Identity, name: str) -> tuple[str, Microgrid]:
    """The device and its microgrid, when the caller is the driver named after it."""
    id_, _, device = fields.device_id("descriptor.device", name)
    microgrid = require_microgrid(connection, caller, id_, name)
    if caller.id != device or all(known.id != device for known in registry.devices(connection, id_)):
        raise not_found(name)
    return device, microgrid


def _command_message(command: LeasedCommand, counter: int, mtu_seconds: int) -> pb.Command:
    message = pb.Command(
        command_id=command.id,
        window=command.window,
        lease=types_pb2.Lease(epoch=command.epoch, sequence=command.sequence, heartbeat_counter=counter),
        setpoints=[_setpoint_message(setpoint, mtu_seconds) for setpoint in command.setpoints],
    )
    message.lease.ttl.seconds = command.ttl_s
    return message


def _setpoint_message(setpoint: DeviceSetpoint, mtu_seconds: int) -> pb.Setpoint:
    interval = fields.interval_message(setpoint.mtu_start, setpoint.mtu_start + mtu_seconds)
    match setpoint.kind:
        case SetpointKind.RELAY:
            return pb.Setpoint(interval=interval, relay_closed=bool(setpoint.value))
        case SetpointKind.POWER:
            return pb.Setpoint(interval=interval, power_w=setpoint.value)
        case SetpointKind.PRODUCTION_LIMIT:
            return pb.Setpoint(interval=interval, production_limit_w=setpoint.value)


def _read_state(device: str, message: pb.Telemetry, now: float) -> DeviceState:
    instant = fields.instant("telemetry.measure_time", message.measure_time)
    if instant > now + FUTURE_S:  # kept, it would hide what is measured until then
        raise out_of_range("telemetry.measure_time", got=str(instant), wanted=f"at most {now + FUTURE_S:.0f}")
    return DeviceState(
        device=device,
        instant=instant,
        power_w=fields.number("telemetry.power_w", message.power_w, lower=-fields.MAX_W, upper=fields.MAX_W),
        closed_s=fields.number("telemetry.closed_duration", message.closed_duration.seconds, upper=10**10),
        stored_wh=fields.number("telemetry.stored_wh", message.stored_wh, upper=fields.MAX_WH)
        if message.HasField("stored_wh")
        else None,
        closed=message.relay_closed if message.HasField("relay_closed") else None,
        held_s=fields.number("telemetry.state_duration", message.state_duration.seconds, upper=10**10)
        if message.HasField("state_duration")
        else None,
        starts_today=fields.number("telemetry.starts_today", message.starts_today, upper=10**6)
        if message.HasField("starts_today")
        else None,
        temperature_milli_c=milli_c("telemetry.temperature_milli_c", message.temperature_milli_c)
        if message.HasField("temperature_milli_c")
        else None,
    )


def _read_report(message: pb.CommandReport) -> dict[str, object]:
    if message.state == pb.COMMAND_STATE_UNSPECIFIED or message.state not in pb.CommandState.values():
        raise invalid("report.state", got=str(message.state), wanted="a CommandState")
    return {
        "command_id": message.command_id[:200],
        "state": pb.CommandState.Name(message.state).removeprefix("COMMAND_STATE_"),
        "reason": message.reason[:500],
        "instant": fields.instant("report.observe_time", message.observe_time),
    }
