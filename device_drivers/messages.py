"""The API's messages of a driver's stream to values and back."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from math import floor
from typing import assert_never

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from device_drivers.device import Reading
from device_drivers.errors import InvalidValueError
from device_drivers.refusal import Refused
from device_drivers.report import Report, ReportState
from device_drivers.setpoint import Bounds, Command, Power, ProductionLimit, RelayState, Setpoint, Target
from device_drivers.signed_limits import NEVER, GroupLimit
from gridpact.v1 import driver_pb2, dso_pb2, types_pb2

LONGEST_AWAY_S = 300.0
"""s that a driver stays away, or silent, at most, whatever the controller says."""
SHORTEST_INTERVAL_S = 1.0
"""s between two heartbeats at least, whatever the controller says."""

_LONGEST_DURATION_S = 315_576_000_000


def read_group_limit(payload: bytes) -> GroupLimit | Refused:
    """The limit that a signed payload spells, or what is wrong with it."""
    try:
        message = dso_pb2.GroupLimit.FromString(payload)
        bounds = message.bounds
        return GroupLimit(
            group=message.group,
            driver=message.driver,
            bounds=Bounds(
                lower_w=bounds.lower_w if bounds.HasField("lower_w") else None,
                upper_w=bounds.upper_w if bounds.HasField("upper_w") else None,
            ),
            counter=message.counter,
            expires=message.expire_time.ToDatetime(tzinfo=UTC) if message.HasField("expire_time") else NEVER,
        )
    except (DecodeError, ValueError, OverflowError) as err:
        return Refused(reason=f"malformed limit: {err}")


def read_command(message: driver_pb2.Command) -> Command | Refused:
    """The command that a message spells, or what is wrong with it."""
    if not message.command_id:
        return Refused(reason="command: got no identity, wanted one")
    if not message.HasField("lease"):
        return Refused(reason="command: got no lease, wanted one")
    try:
        return Command(
            command_id=message.command_id,
            window=message.window,
            epoch=message.lease.epoch,
            sequence=message.lease.sequence,
            heartbeat_counter=message.lease.heartbeat_counter,
            ttl_s=_read_duration_s(message.lease.ttl),
            setpoints=tuple(_read_setpoint(setpoint) for setpoint in message.setpoints),
            curtailed=bool(message.curtailed_by),
        )
    except (ValueError, OverflowError) as err:
        return Refused(reason=f"malformed command: {err}")


def _read_duration_s(message: Duration) -> float:
    # The library converts durations that its own specification calls invalid without a word.
    seconds, nanos = message.seconds, message.nanos
    if abs(seconds) > _LONGEST_DURATION_S or abs(nanos) >= 10**9 or seconds * nanos < 0:
        raise InvalidValueError(f"duration: got {seconds} s and {nanos} ns, wanted one that protobuf allows")
    return seconds + nanos / 1e9


def _read_setpoint(message: driver_pb2.Setpoint) -> Setpoint:
    for end in ("start_time", "end_time"):
        if not message.interval.HasField(end):
            raise InvalidValueError(f"setpoint: got no {end}, wanted one")
    return Setpoint(
        start=message.interval.start_time.ToDatetime(tzinfo=UTC),
        end=message.interval.end_time.ToDatetime(tzinfo=UTC),
        target=_read_target(message),
    )


def _read_target(message: driver_pb2.Setpoint) -> Target:
    match message.WhichOneof("target"):
        case "relay_closed":
            return RelayState(closed=message.relay_closed)
        case "power_w":
            return Power(power_w=message.power_w)
        case "production_limit_w":
            return ProductionLimit(limit_w=message.production_limit_w)
        case other:
            raise InvalidValueError(f"setpoint: got the target {other}, wanted one that this driver knows")


def write_bounds(bounds: Bounds) -> types_pb2.PowerBounds:
    """The message of a band of power."""
    return types_pb2.PowerBounds(lower_w=bounds.lower_w, upper_w=bounds.upper_w)


def write_failsafe(target: Target) -> types_pb2.Failsafe:
    """The message of a failsafe that is always the same."""
    match target:
        case RelayState(closed=closed):
            return types_pb2.Failsafe(relay_closed=closed)
        case Power(power_w=power_w):
            return types_pb2.Failsafe(power_w=power_w)
        case ProductionLimit(limit_w=limit_w):
            return types_pb2.Failsafe(production_limit_w=limit_w)
        case never:
            assert_never(never)


def write_telemetry(reading: Reading, measured_at: datetime, failsafe: bool) -> driver_pb2.Telemetry:
    """The message of a reading that holds a power or says whether a relay is closed."""
    return driver_pb2.Telemetry(
        measure_time=_write_instant(measured_at),
        power_w=0 if reading.power_w is None else reading.power_w,
        power_unmeasured=reading.power_w is None,
        relay_closed=reading.relay_closed,
        closed_duration=None if reading.closed_s is None else Duration(seconds=reading.closed_s),
        stored_wh=reading.stored_wh,
        failsafe=failsafe,
        temperature_milli_c=reading.temperature_milli_c,
        state_duration=None if reading.held_s is None else Duration(seconds=reading.held_s),
        starts_today=reading.starts_today,
    )


def write_report(report: Report) -> driver_pb2.CommandReport:
    """The message of a report."""
    return driver_pb2.CommandReport(
        command_id=report.command_id,
        state=_write_state(report.state),
        reason=report.reason,
        observe_time=_write_instant(report.observed_at),
        passed=[_write_state(state) for state in report.passed],
    )


def _write_state(state: ReportState) -> driver_pb2.CommandState.ValueType:
    """The state of the same name."""
    return driver_pb2.CommandState.Value(f"COMMAND_STATE_{state.name}")


def _write_instant(instant: datetime) -> Timestamp:
    """Its whole seconds, as the API has them; what is seen twice in one is still not older."""
    return Timestamp(seconds=floor(instant.timestamp()))


def pauses_s(welcome: driver_pb2.Welcome, interval_s: float) -> Iterator[float]:
    """How long to wait after the first heartbeat, the second, and so on."""
    if welcome.HasField("heartbeat_interval"):
        interval_s = min(interval_s, max(SHORTEST_INTERVAL_S, bounded_s(welcome.heartbeat_interval)))
    yield min(interval_s, bounded_s(welcome.heartbeat_phase)) if welcome.HasField("heartbeat_phase") else interval_s
    while True:
        yield interval_s


def bounded_s(message: Duration) -> float:
    """A length of time that the controller names, kept within what a driver can stand."""
    return min(max(0.0, message.seconds + message.nanos / 1e9), LONGEST_AWAY_S)


def read_retry_s(err: grpc.aio.AioRpcError) -> float | None:
    """When the controller wants to be asked again, where its refusal says so."""
    for key, value in err.trailing_metadata() or ():
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        with suppress(DecodeError):
            for detail in status_pb2.Status.FromString(value).details:
                retry = error_details_pb2.RetryInfo()
                if detail.Unpack(retry):
                    return bounded_s(retry.retry_delay)
    return None
