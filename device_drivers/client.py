"""The link to the controller: the runtime of one device over a stream of the API.

This is the only module that knows the messages; what it hands on are the values of `setpoint` and `runtime`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, assert_never

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from device_drivers.backoff import delay_s, obedient_s
from device_drivers.clock import Clock
from device_drivers.device import Reading
from device_drivers.errors import InvalidValueError, LinkLost
from device_drivers.refusal import Refused
from device_drivers.report import Report, ReportState
from device_drivers.runtime import DeviceRuntime
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

LONGEST_AWAY_S = 300.0
"""s that a driver stays away, or silent, at most, whatever the controller says."""

_LONGEST_DURATION_S = 315_576_000_000

_T = TypeVar("_T")


class Answer(Enum):
    """What the controller answered to a heartbeat."""

    COMMAND = "command"
    IDLE = "idle"


class DriverClient:
    """One device's stream to the controller. Calls are made one after the other, never at once.

    `run` serves a device: it accepts pushes and obeys what the controller says about intervals and about coming back.
    `connect`, `beat`, `sync` and `close` do the same step by step, without pushes, for whoever moves the time.

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
        self._writing = asyncio.Lock()
        self._heard = asyncio.Event()
        self._answered = 0

    async def connect(self, *, accepts_pushes: bool = False) -> driver_pb2.Welcome:
        """Open a stream, say what the device is, and wait to be welcomed; returns the welcome.

        Parameters
        ----------
        accepts_pushes : bool
            Whether commands may come unasked.

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
                    accepts_pushes=accepts_pushes,
                )
            )
        )
        answer = await self._receive()
        if answer.WhichOneof("message") != "welcome":
            raise self._lost(f"got {answer.WhichOneof('message')}, wanted a welcome")
        self._runtime.observe_epoch(answer.welcome.epoch)
        return answer.welcome

    async def beat(self) -> Answer:
        """What the controller answered to a heartbeat, once the device does it and the reports are sent.

        Telemetry goes first; a device that does not say what it does has none.

        Raises
        ------
        LinkLost
            If the stream ended or fell silent. The lease runs on: keep ticking the runtime.
        """
        await self._tell()
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
            s between two heartbeats at most; fewer where the controller's welcome says so.
        sleep : callable
            Waits for so many s; called with `TICK_S` at most, the runtime ticking after each.
        randomness : random.Random, optional
            Spreads the attempts to connect.
        """
        randomness = Random() if randomness is None else randomness
        failures = 0
        try:
            while True:
                wait_s = None
                try:
                    welcome = await self.connect(accepts_pushes=True)
                    listening = asyncio.ensure_future(self._listen())
                    try:
                        for pause_s in _pauses_s(welcome, interval_s):
                            await self._beat(listening)
                            failures = 0
                            await self._pause(pause_s, sleep, listening)
                    finally:
                        listening.cancel()
                        await asyncio.wait({listening})
                except LinkLost as err:
                    failures += 1
                    wait_s = err.after_s
                    log.warning("%s: %s", self._device_name, err)
                delay = delay_s(failures, randomness) if wait_s is None else obedient_s(wait_s, randomness)
                await self._pause(delay, sleep)
        finally:
            self._drop()
            self._runtime.release()

    async def _pause(
        self,
        seconds: float,
        sleep: Callable[[float], Awaitable[None]],
        listening: asyncio.Future[NoReturn] | None = None,
    ) -> None:
        """Let time pass, the runtime ticking; a link that is lost meanwhile ends that."""
        left_s = seconds
        while left_s > 0:
            await sleep(min(left_s, TICK_S))
            left_s -= TICK_S
            self._runtime.tick()
            if listening is not None and listening.done():
                listening.result()

    async def _beat(self, listening: asyncio.Future[NoReturn]) -> None:
        """Send telemetry and a heartbeat, and wait until one at least as new is answered."""
        await self._tell()
        counter = self._runtime.heartbeat()
        await self._send(driver_pb2.ConnectRequest(heartbeat=driver_pb2.Heartbeat(counter=counter)))
        await self._patiently(self._until_answered(counter, listening))

    async def _until_answered(self, counter: int, listening: asyncio.Future[NoReturn]) -> None:
        while self._answered < counter:
            self._heard.clear()
            hearing = asyncio.ensure_future(self._heard.wait())
            try:
                either: set[asyncio.Future[Any]] = {hearing, listening}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                hearing.cancel()
            if listening.done():
                listening.result()

    async def _listen(self) -> NoReturn:
        """Follow what comes, asked for or not, until the link is lost."""
        while True:
            try:
                answer = await self._stream().read()
            except grpc.aio.AioRpcError as err:
                raise self._refused(err) from err
            except asyncio.InvalidStateError as err:
                raise self._lost("the controller ended the stream") from err
            if not isinstance(answer, driver_pb2.ConnectResponse):
                raise self._lost("the controller ended the stream")
            match answer.WhichOneof("message"):
                case "command":
                    await self._obey(answer.command)
                    self._answered = answer.command.lease.heartbeat_counter
                case "idle":
                    self._answered = answer.idle.heartbeat_counter
                case "come_back":
                    raise self._sent_away(answer.come_back)
                case "welcome":
                    raise self._lost("got a second welcome, wanted commands and idle answers")
                case None:
                    pass  # a message of a later version
            self._heard.set()

    async def _tell(self) -> None:
        """Send what the device does, where it says."""
        self._runtime.tick()
        reading = self._runtime.reading()
        if reading is not None and reading.power_w is not None:  # what is not told counts at its worst case
            telemetry = _write_telemetry(reading, reading.power_w, self._clock.utc(), self._runtime.failsafe_active)
            await self._send(driver_pb2.ConnectRequest(telemetry=telemetry))

    async def _exchange(self) -> Answer:
        await self._send(driver_pb2.ConnectRequest(heartbeat=driver_pb2.Heartbeat(counter=self._runtime.heartbeat())))
        answer = await self._receive()
        match answer.WhichOneof("message"):
            case "command":
                await self._obey(answer.command)
                return Answer.COMMAND
            case "idle":
                return Answer.IDLE
            case "come_back":
                raise self._sent_away(answer.come_back)
            case other:
                raise self._lost(f"got {other}, wanted a command or an idle answer")

    async def _obey(self, message: driver_pb2.Command) -> None:
        """Follow a command and say what became of it."""
        await self._send(driver_pb2.ConnectRequest(report=_write_report(self._follow(message))))

    def _follow(self, message: driver_pb2.Command) -> Report:
        command = read_command(message)
        if isinstance(command, Command):
            return self._runtime.receive(command)
        return Report(
            command_id=message.command_id,
            state=ReportState.REJECTED,
            reason=command.reason,
            observed_at=self._clock.utc(),
            passed=(ReportState.RECEIVED,),
        )

    async def _send(self, message: driver_pb2.ConnectRequest) -> None:
        # gRPC takes one message of a stream at a time, and two tasks may have one.
        async with self._writing:
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
            raise self._refused(err) from err
        except asyncio.InvalidStateError as err:
            raise self._lost("the controller ended the stream") from err
        finally:
            task.cancel()

    def _lost(self, reason: str, *, after_s: float | None = None) -> LinkLost:
        self._drop()
        return LinkLost(f"{self._device_name}: {reason}", after_s=after_s)

    def _refused(self, err: grpc.aio.AioRpcError) -> LinkLost:
        return self._lost(f"{err.code().name}: {err.details()}", after_s=_read_retry_s(err))

    def _sent_away(self, message: driver_pb2.ComeBack) -> LinkLost:
        after_s = _bounded_s(message.after)
        return self._lost(f"the controller goes away, wanted back in {after_s:g} s", after_s=after_s)

    def _drop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


def _pauses_s(welcome: driver_pb2.Welcome, interval_s: float) -> Iterator[float]:
    """How long to wait after the first heartbeat, the second, and so on."""
    if welcome.HasField("heartbeat_interval"):
        interval_s = min(interval_s, max(TICK_S, _bounded_s(welcome.heartbeat_interval)))
    yield min(interval_s, _bounded_s(welcome.heartbeat_phase)) if welcome.HasField("heartbeat_phase") else interval_s
    while True:
        yield interval_s


def _bounded_s(message: Duration) -> float:
    """A length of time that the controller names, kept within what a driver can stand."""
    return min(max(0.0, message.seconds + message.nanos / 1e9), LONGEST_AWAY_S)


def _read_retry_s(err: grpc.aio.AioRpcError) -> float | None:
    """When the controller wants to be asked again, where its refusal says so."""
    for key, value in err.trailing_metadata() or ():
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        with suppress(DecodeError):
            for detail in status_pb2.Status.FromString(value).details:
                retry = error_details_pb2.RetryInfo()
                if detail.Unpack(retry):
                    return _bounded_s(retry.retry_delay)
    return None


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


def _write_telemetry(reading: Reading, power_w: int, measured_at: datetime, failsafe: bool) -> driver_pb2.Telemetry:
    return driver_pb2.Telemetry(
        measure_time=_write_instant(measured_at),
        power_w=power_w,
        relay_closed=reading.relay_closed,
        closed_duration=Duration(seconds=reading.closed_s),
        stored_wh=reading.stored_wh,
        failsafe=failsafe,
        temperature_milli_c=reading.temperature_milli_c,
        state_duration=None if reading.held_s is None else Duration(seconds=reading.held_s),
        starts_today=reading.starts_today,
    )


def _write_report(report: Report) -> driver_pb2.CommandReport:
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
    message = Timestamp()
    message.FromDatetime(instant)
    return message
