"""Messages of drivers' streams to values and back."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import floor

from google.protobuf.duration_pb2 import Duration

from controller.commands import CommandState
from controller.composing import Stretch, Target
from controller.fleet import Declared
from controller.hub import LeasedCommand
from controller.microgrid import DeviceState, SetpointKind
from controller.refusals import invalid, out_of_range
from controller.wire import fields
from controller.wire.flexibility import milli_c
from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import types_pb2

FUTURE_S = 120
"""How far a driver's clock may be ahead of ours."""
MAX_COMMAND_ID = 200
MAX_REASON = 500
MAX_PASSED = 10
DAY_S = 86_400
SETPOINTS_KEPT = 4096
"""Setpoints whose messages are remembered: many devices are told the same, and each again with every lease."""


_STATES: Mapping[int, CommandState] = {
    number: CommandState(name.removeprefix("COMMAND_STATE_"))
    for name, number in pb.CommandState.items()
    if number != pb.COMMAND_STATE_UNSPECIFIED
}


def duration(seconds: float) -> Duration:
    """The message of a length of time, to the millisecond."""
    message = Duration()
    message.FromMilliseconds(floor(seconds * 1000))
    return message


def read_descriptor(message: pb.Descriptor) -> Declared:
    """What a driver declares of its device: bounds in order, a failsafe inside them."""
    bounds = message.bounds
    lower = _bound("lower_w", bounds)
    upper = _bound("upper_w", bounds)
    if lower is not None and upper is not None and lower > upper:
        raise invalid("descriptor.bounds", got=f"{lower} to {upper} W", wanted="the lower no higher than the upper")
    return Declared(failsafe=_failsafe(message.failsafe, lower, upper), lower_w=lower, upper_w=upper)


def _bound(name: str, bounds: types_pb2.PowerBounds) -> int | None:
    if not bounds.HasField(name):  # type: ignore[arg-type]  # one of its two fields
        return None
    value: int = getattr(bounds, name)
    return fields.number(f"descriptor.bounds.{name}", value, lower=-fields.MAX_W, upper=fields.MAX_W)


def _failsafe(message: types_pb2.Failsafe, lower: int | None, upper: int | None) -> Target | None:
    match message.WhichOneof("action"):
        case None:
            return None
        case "relay_closed":
            return Target(SetpointKind.RELAY, int(message.relay_closed))
        case "power_w":
            least = -fields.MAX_W if lower is None else lower
            most = fields.MAX_W if upper is None else upper
            power = fields.number("descriptor.failsafe.power_w", message.power_w, lower=least, upper=most)
            return Target(SetpointKind.POWER, power)
        case "production_limit_w":
            limit = fields.number(
                "descriptor.failsafe.production_limit_w", message.production_limit_w, upper=fields.MAX_W
            )
            return Target(SetpointKind.PRODUCTION_LIMIT, limit)


def read_telemetry(device: str, message: pb.Telemetry, now: float) -> DeviceState:
    """What a driver measured."""
    instant = fields.instant("telemetry.measure_time", message.measure_time)
    if instant > now + FUTURE_S:  # kept, it would hide what is measured until then
        raise out_of_range("telemetry.measure_time", got=str(instant), wanted=f"at most {now + FUTURE_S:.0f}")
    if message.power_unmeasured and message.power_w != 0:
        raise invalid("telemetry.power_w", got=str(message.power_w), wanted="0 where power_unmeasured is set")
    if message.power_unmeasured and not message.HasField("relay_closed"):
        raise invalid("telemetry.relay_closed", got="none", wanted="one where power_unmeasured is set")
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


def read_report(message: pb.CommandReport, now: float) -> tuple[list[CommandState], int]:
    """The states that a command went through, the present one last, and when that was seen."""
    if len(message.command_id) > MAX_COMMAND_ID:
        got = f"{len(message.command_id)} characters"
        raise invalid("report.command_id", got=got, wanted=f"at most {MAX_COMMAND_ID}")
    if len(message.passed) > MAX_PASSED:
        raise invalid("report.passed", got=f"{len(message.passed)} states", wanted=f"at most {MAX_PASSED}")
    passed = [_state(f"report.passed[{k}]", state) for k, state in enumerate(message.passed)]
    state = _state("report.state", message.state)
    instant = fields.instant("report.observe_time", message.observe_time)
    if instant > now + FUTURE_S:
        raise out_of_range("report.observe_time", got=str(instant), wanted=f"at most {now + FUTURE_S:.0f}")
    return [*passed, state], instant


def _state(field: str, value: pb.CommandState.ValueType) -> CommandState:
    state = _STATES.get(value)
    if state is None:
        raise invalid(field, got=str(value), wanted="a CommandState")
    return state


def command_message(command: LeasedCommand) -> pb.Command:
    """A command as drivers get it."""
    message = pb.Command(
        command_id=command.id,
        window=command.window,
        lease=types_pb2.Lease(
            epoch=command.epoch, sequence=command.sequence, heartbeat_counter=command.heartbeat_counter
        ),
        setpoints=setpoint_messages(command.setpoints),
        curtailed_by=command.curtailed_by,
        limits=[
            types_pb2.Signed(payload=limit.payload, signature=limit.signature, key_id=limit.key_id)
            for limit in command.limits
            if limit.payload
        ],
    )
    message.lease.ttl.seconds = command.ttl_s
    return message


def setpoint_messages(stretches: Sequence[Stretch]) -> list[pb.Setpoint]:
    """What a device shall do, stretch by stretch: messages that are shared, to be copied into others."""
    return [_setpoint(s.start, s.end, s.target.kind, s.target.value) for s in stretches]


@lru_cache(maxsize=SETPOINTS_KEPT)
def _setpoint(start: int, end: int, kind: SetpointKind, value: int) -> pb.Setpoint:
    # Field by field: messages made of messages are built twice.
    message = pb.Setpoint()
    message.interval.start_time.seconds, message.interval.end_time.seconds = start, end
    match kind:
        case SetpointKind.RELAY:
            message.relay_closed = bool(value)
        case SetpointKind.POWER:
            message.power_w = value
        case SetpointKind.PRODUCTION_LIMIT:
            message.production_limit_w = value
    return message
