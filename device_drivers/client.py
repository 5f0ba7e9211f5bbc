"""The link to the controller: the runtime of one device over a stream of the API.

What it hands on are the values of `setpoint` and `runtime`; `messages` knows how the API spells them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import grpc

from device_drivers.backoff import delay_s, obedient_s
from device_drivers.clock import Clock
from device_drivers.errors import LinkLost
from device_drivers.messages import (
    bounded_s,
    pauses_s,
    read_command,
    read_retry_s,
    write_bounds,
    write_failsafe,
    write_report,
    write_telemetry,
)
from device_drivers.report import Report, ReportState
from device_drivers.runtime import DeviceRuntime
from device_drivers.setpoint import Command
from gridpact.v1 import driver_pb2, driver_pb2_grpc

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
                    bounds=write_bounds(self._runtime.bounds),
                    failsafe=write_failsafe(self._runtime.failsafe),
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
                        for pause_s in pauses_s(welcome, interval_s):
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
        # What is not told counts at its worst case.
        if reading is not None and (reading.power_w is not None or reading.relay_closed is not None):
            telemetry = write_telemetry(reading, self._clock.utc(), self._runtime.failsafe_active)
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
        await self._send(driver_pb2.ConnectRequest(report=write_report(self._follow(message))))

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
        return self._lost(f"{err.code().name}: {err.details()}", after_s=read_retry_s(err))

    def _sent_away(self, message: driver_pb2.ComeBack) -> LinkLost:
        after_s = bounded_s(message.after)
        return self._lost(f"the controller goes away, wanted back in {after_s:g} s", after_s=after_s)

    def _drop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
