"""The link to the controller: the runtime of one device over a stream of the API.

This is the only module that knows the messages; what it hands on are the values of `setpoint` and `runtime`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, assert_never

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from device_drivers.backoff import delay_s
from device_drivers.clock import Clock
from device_drivers.device import Reading
from device_drivers.errors import InvalidValueError, LinkLost
from device_drivers.refusal import Refused
from device_drivers.runtime import DeviceRuntime, Report, ReportState
from device_drivers.setpoint import Bounds, Command, Power, ProductionLimit, RelayState, Setpoint, Target
from gridpact.v1 import driver_pb2, driver_pb2_grpc, types_pb2

if TYPE_CHECKING:
    from grpc.aio import Channel, StreamStreamCall

    _Call = StreamStreamCall[driver_pb2.ConnectRequest, driver_pb2.ConnectResponse]

log = logging.getLogger(__name__)

TICK_S = 1.0
"""s between two ticks of the runtime, at most, whatever the link does."""

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
"""For the channel of a driver in operation: `DriverClient.run` spreads its attempts itself, whereas gRPC,
left alone, would fail them unsent for up to two minutes after it could not dial."""

_LONGEST_DURATION_S = 315_576_000_000

_T = TypeVar("_T")


class Answer(Enum):
    """What the controller answered to a heartbeat."""

    COMMAND = "command"
    IDLE = "idle"


class DriverClient:
    """One device's stream to the controller. Calls are made one after the other, never at once.

    Parameters
    ----------
    channel : grpc.aio.Channel
        To the controller; whoever made it closes it. See `CHANNEL_OPTIONS`.
    device_name : str
        ``microgrids/{microgrid}/members/{member}/devices/{device}``.
    runtime : DeviceRuntime
        The device.
    clock : Clock
        Its `utc` stamps what is sent.
    patience_s : float
        s, in real time, after which a controller that neither takes nor says anything counts as lost.
    """

    def __init__(
        self,
        channel: Channel,
        device_name: str,
        runtime: DeviceRuntime,
        clock: Clock,
        *,
        patience_s: float = 10.0,
    ) -> None:
        self._stub = driver_pb2_grpc.DriverServiceStub(channel)
        self._device_name = device_name
        self._runtime = runtime
        self._clock = clock
        self._patience_s = patience_s
        self._call: _Call | None = None

    async def connect(self) -> None:
        """Open a stream, say what the device is, and wait to be welcomed.

        Raises
        ------
        LinkLost
            If there is no controller, or it does not welcome the device.
        """
        self._drop()
        self._call = self._stub.Connect()
        await self._send(
            driver_pb2.ConnectRequest(
                descriptor=driver_pb2.Descriptor(
                    device=self._device_name,
                    bounds=_write_bounds(self._runtime.bounds),
                    failsafe=_write_failsafe(self._runtime.failsafe),
                )
            )
        )
        answer = await self._receive()
        if answer.WhichOneof("message") != "welcome":
            raise self._lost(f"got {answer.WhichOneof('message')}, wanted a welcome")
        self._runtime.observe_epoch(answer.welcome.epoch)

    async def beat(self) -> Answer:
        """What the controller answered to a heartbeat, once the device does it and the reports are sent.

        Telemetry goes first; a device that does not say what it does has none.

        Raises
        ------
        LinkLost
            If the stream ended or fell silent. The lease runs on: keep ticking the runtime.
        """
        self._runtime.tick()
        reading = self._runtime.reading()
        if reading is not None:
            telemetry = _write_telemetry(reading, self._clock.utc(), failsafe=self._runtime.failsafe_active)
            await self._send(driver_pb2.ConnectRequest(telemetry=telemetry))
        return await self._exchange()

    async def sync(self) -> Answer:
        """What the controller answered to one more heartbeat; it has handled all that was sent before.

        A command in answer is followed as that of a beat, and its own reports are then under way.

        Raises
        ------
        LinkLost
            As for `beat`.
        """
        return await self._exchange()

    async def close(self) -> None:
        """End the stream, after all that was sent has arrived where that can be had; the lease runs on."""
        if self._call is not None:
            with suppress(LinkLost):
                await self._patiently(self._call.done_writing())
                await self._patiently(self._call.code())
        self._drop()

    async def run(
        self,
        *,
        interval_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        randomness: Random | None = None,
    ) -> NoReturn:
        """Serve the device until cancelled: beat, and connect again whenever the link is lost.

        A driver that stops leaves its device in the failsafe.

        Parameters
        ----------
        interval_s : float
            s between two heartbeats; a lease has to outlast several.
        sleep : callable
            Waits for so many s; called with `TICK_S` at most, the runtime ticking after each.
        randomness : random.Random, optional
            Spreads the attempts to connect.
        """
        randomness = Random() if randomness is None else randomness
        failures = 0
        try:
            while True:
                try:
                    await self.connect()
                    while True:
                        await self.beat()
                        failures = 0
                        await self._pause(interval_s, sleep)
                except LinkLost as err:
                    failures += 1
                    log.warning("%s: %s", self._device_name, err)
                await self._pause(delay_s(failures, randomness), sleep)
        finally:
            self._drop()
            self._runtime.release()

    async def _pause(self, seconds: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        left_s = seconds
        while left_s > 0:
            await sleep(min(left_s, TICK_S))
            left_s -= TICK_S
            self._runtime.tick()

    async def _exchange(self) -> Answer:
        await self._send(driver_pb2.ConnectRequest(heartbeat=driver_pb2.Heartbeat(counter=self._runtime.heartbeat())))
        answer = await self._receive()
        match answer.WhichOneof("message"):
            case "command":
                for report in self._follow(answer.command):
                    await self._send(driver_pb2.ConnectRequest(report=_write_report(report)))
                return Answer.COMMAND
            case "idle":
                return Answer.IDLE
            case other:
                raise self._lost(f"got {other}, wanted a command or an idle answer")

    def _follow(self, message: driver_pb2.Command) -> tuple[Report, ...]:
        command = read_command(message)
        if isinstance(command, Command):
            return self._runtime.receive(command)
        return (
            Report(
                command_id=message.command_id,
                state=ReportState.REJECTED,
                reason=command.reason,
                observed_at=self._clock.utc(),
            ),
        )

    async def _send(self, message: driver_pb2.ConnectRequest) -> None:
        await self._patiently(self._stream().write(message))

    async def _receive(self) -> driver_pb2.ConnectResponse:
        answer = await self._patiently(self._stream().read())
        if not isinstance(answer, driver_pb2.ConnectResponse):
            raise self._lost("the controller ended the stream")
        return answer

    def _stream(self) -> _Call:
        if self._call is None:
            raise LinkLost("not connected")
        return self._call

    async def _patiently(self, step: Coroutine[Any, Any, _T]) -> _T:
        """Result of a step of the stream, the runtime ticking while it lasts."""
        task = asyncio.ensure_future(step)
        left_s = self._patience_s
        try:
            while not task.done() and left_s > 0:
                await asyncio.wait({task}, timeout=min(left_s, TICK_S))
                left_s -= TICK_S
                if not task.done():
                    self._runtime.tick()
            if not task.done():
                raise self._lost(f"the controller was silent for {self._patience_s:g} s")
            if task.cancelled():
                raise self._lost("the channel was closed")
            return task.result()
        except grpc.aio.AioRpcError as err:
            raise self._lost(f"{err.code().name}: {err.details()}") from err
        except asyncio.InvalidStateError as err:
            raise self._lost("the controller ended the stream") from err
        finally:
            task.cancel()

    def _lost(self, reason: str) -> LinkLost:
        self._drop()
        return LinkLost(f"{self._device_name}: {reason}")

    def _drop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


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


def _write_bounds(bounds: Bounds) -> types_pb2.PowerBounds:
    return types_pb2.PowerBounds(lower_w=bounds.lower_w, upper_w=bounds.upper_w)


def _write_failsafe(target: Target) -> types_pb2.Failsafe:
    match target:
        case RelayState(closed=closed):
            return types_pb2.Failsafe(relay_closed=closed)
        case Power(power_w=power_w):
            return types_pb2.Failsafe(power_w=power_w)
        case ProductionLimit(limit_w=limit_w):
            return types_pb2.Failsafe(production_limit_w=limit_w)
        case never:
            assert_never(never)


def _write_telemetry(reading: Reading, measured_at: datetime, *, failsafe: bool) -> driver_pb2.Telemetry:
    return driver_pb2.Telemetry(
        measure_time=_write_instant(measured_at),
        power_w=reading.power_w,
        relay_closed=reading.relay_closed,
        closed_duration=Duration(seconds=reading.closed_s),
        stored_wh=reading.stored_wh,
        failsafe=failsafe,
        temperature_milli_c=reading.temperature_milli_c,
        state_duration=None if reading.held_s is None else Duration(seconds=reading.held_s),
        starts_today=reading.starts_today,
    )


def _write_report(report: Report) -> driver_pb2.CommandReport:
    match report.state:
        case ReportState.REJECTED:
            state = driver_pb2.COMMAND_STATE_REJECTED
        case ReportState.APPLIED:
            state = driver_pb2.COMMAND_STATE_APPLIED
        case ReportState.VERIFIED:
            state = driver_pb2.COMMAND_STATE_VERIFIED
        case ReportState.DIVERGED:
            state = driver_pb2.COMMAND_STATE_DIVERGED
        case never:
            assert_never(never)
    return driver_pb2.CommandReport(
        command_id=report.command_id,
        state=state,
        reason=report.reason,
        observe_time=_write_instant(report.observed_at),
    )


def _write_instant(instant: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(instant)
    return message
