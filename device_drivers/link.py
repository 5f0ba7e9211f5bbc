"""A device's stream to the controller: heartbeats, telemetry and reports out, commands in.

The lease does not depend on it: while the link is lost the device is served on, until its lease ends. Everything here
is sparing, since one process has thousands of streams.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, NoReturn

import grpc

from device_drivers.backoff import delay_s, obedient_s
from device_drivers.clock import Clock
from device_drivers.errors import DriverError, LinkLost
from device_drivers.failsafe import Fixed
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
from device_drivers.setpoint import Command
from device_drivers.station import Station
from gridpact.v1 import driver_pb2, driver_pb2_grpc, types_pb2

if TYPE_CHECKING:
    from grpc.aio import StreamStreamCall

    _Call = StreamStreamCall[driver_pb2.ConnectRequest, driver_pb2.ConnectResponse]

log = logging.getLogger(__name__)

MOST_REPORTS = 100
"""Reports that wait for a link; of more the oldest go."""
REPEAT_S = 600.0
"""s after which it is said again why the controller is lost, where that has not changed."""

_DIGITS = re.compile(r"[\d.]+")


class DeviceLink:
    """The stream of one device.

    Parameters
    ----------
    name : str
        ``microgrids/{microgrid}/members/{member}/devices/{device}``; also in the station.
    station : Station
        Takes what the controller says.
    stub : callable
        Gives the stub of the channel to use now; `DriverError` where there is none.
    clock : Clock
        The driver's.
    wake : callable
        Has the device look at once.
    interval_s, telemetry_s : float
        s between two heartbeats, and two tellings of what is measured, at most.
    patience_s : float
        s after which a controller that neither takes nor answers anything counts as lost.
    randomness : random.Random
        Spreads the attempts to connect.
    take_limit : callable
        Takes a limit of the DSO that was passed on.
    believes : callable
        Whether a command was made smaller by a limit, as it says.
    """

    def __init__(
        self,
        name: str,
        *,
        station: Station,
        stub: Callable[[], driver_pb2_grpc.DriverServiceAsyncStub],
        clock: Clock,
        wake: Callable[[], None],
        interval_s: float,
        telemetry_s: float,
        patience_s: float,
        randomness: Random,
        take_limit: Callable[[types_pb2.Signed], None],
        believes: Callable[[driver_pb2.Command], bool],
    ) -> None:
        self._believes = believes
        self._take_limit = take_limit
        self._name = name
        self._station = station
        self._stub = stub
        self._clock = clock
        self._wake_device = wake
        self._interval_s = interval_s
        self._telemetry_s = telemetry_s
        self._patience_s = patience_s
        self._randomness = randomness
        self._reports: deque[Report] = deque(maxlen=MOST_REPORTS)
        self._woken = asyncio.Event()
        self._answered = 0
        self.connected = False

    def say(self, report: Report) -> None:
        """Tell the controller, when the link next allows it."""
        self._reports.append(report)
        self._woken.set()

    async def run(self) -> NoReturn:
        """Hold the stream until cancelled, and connect again whenever it is lost."""
        failures = 0
        said, said_at = "", -REPEAT_S
        while True:
            try:
                await self._hold()
            except LinkLost as err:
                failures = 1 if self._answered else failures + 1
                wait_s = err.after_s
                # Said now and then: a driver has thousands of links, and each tries again and again.
                why, now = _DIGITS.sub("", str(err)), self._clock.now()
                news = failures == 1 or why != said or now >= said_at + REPEAT_S
                if news:
                    said, said_at = why, now
                log.log(
                    logging.WARNING if news else logging.DEBUG,
                    "%s: the controller is lost: %s",
                    self._name,
                    err,
                )
            except Exception:
                failures += 1
                wait_s = None
                log.exception("%s: the link failed", self._name)
            self.connected = False
            delay = delay_s(failures, self._randomness) if wait_s is None else obedient_s(wait_s, self._randomness)
            await asyncio.sleep(delay)

    async def _hold(self) -> NoReturn:
        """One stream, to its end."""
        self._answered = 0
        try:
            call = self._stub().Connect()
        except DriverError as err:
            raise LinkLost(str(err)) from err
        try:
            welcome = await self._greet(call)
            self.connected = True
            # What was to be said about commands of an earlier stream nobody asks for any more.
            self._reports.clear()
            listening = asyncio.ensure_future(self._listen(call))
            try:
                await self._talk(call, welcome, listening)
            finally:
                listening.cancel()
                await asyncio.wait({listening})
        except TimeoutError as err:
            raise LinkLost(f"the controller took nothing for {self._patience_s:g} s") from err
        except grpc.aio.AioRpcError as err:
            # What a write that fails says is not the call's own status.
            raise await _ended(call) from err
        except asyncio.InvalidStateError as err:
            raise await _ended(call) from err
        finally:
            call.cancel()

    async def _greet(self, call: _Call) -> driver_pb2.Welcome:
        core = self._station.device(self._name)
        descriptor = driver_pb2.Descriptor(
            device=self._name, bounds=write_bounds(core.rules.bounds), accepts_pushes=True
        )
        # One that goes on to the end of a programme has no word in the API: the controller counts on the worst of it.
        if isinstance(core.failsafe, Fixed):
            descriptor.failsafe.CopyFrom(write_failsafe(core.failsafe.target))
        async with asyncio.timeout(self._patience_s):
            await call.write(driver_pb2.ConnectRequest(descriptor=descriptor))
            answer = await call.read()
        if not isinstance(answer, driver_pb2.ConnectResponse):
            raise await _ended(call)
        if answer.WhichOneof("message") != "welcome":
            raise LinkLost(f"got {answer.WhichOneof('message')}, wanted a welcome")
        core.observe_epoch(answer.welcome.epoch)
        return answer.welcome

    async def _talk(self, call: _Call, welcome: driver_pb2.Welcome, listening: asyncio.Future[NoReturn]) -> NoReturn:
        """Beat, tell what is measured, and report, until the link is lost."""
        loop = asyncio.get_running_loop()
        core = self._station.device(self._name)
        listening.add_done_callback(lambda _: self._woken.set())
        pauses = pauses_s(welcome, self._interval_s)
        telemetry_s = self._telemetry_s
        if welcome.HasField("telemetry_interval"):
            telemetry_s = min(telemetry_s, max(0.1, bounded_s(welcome.telemetry_interval)))
        beat_at = tell_at = loop.time()
        asked = 0
        asked_at = beat_at
        while True:
            now = loop.time()
            if listening.done():
                listening.result()
            if self._answered < asked and now >= asked_at + self._patience_s:
                raise LinkLost(f"got no answer to a heartbeat for {self._patience_s:g} s")
            while self._reports:
                await self._send(call, driver_pb2.ConnectRequest(report=write_report(self._reports.popleft())))
            if now >= tell_at or now >= beat_at:
                reading = core.fresh_reading(self._clock.now())
                if reading is not None and (reading.power_w is not None or reading.relay_closed is not None):
                    told = write_telemetry(reading, self._clock.utc(), core.failsafe_active)
                    await self._send(call, driver_pb2.ConnectRequest(telemetry=told))
                tell_at = now + telemetry_s
            if now >= beat_at:
                if self._answered >= asked:
                    asked_at = now
                asked = core.heartbeat(self._clock.now())
                await self._send(call, driver_pb2.ConnectRequest(heartbeat=driver_pb2.Heartbeat(counter=asked)))
                beat_at = now + next(pauses)
            next_at = min(beat_at, tell_at)
            if self._answered < asked:
                next_at = min(next_at, asked_at + self._patience_s)
            await self._pause(next_at - loop.time())

    async def _pause(self, seconds: float) -> None:
        if seconds > 0 and not self._woken.is_set():
            timer = asyncio.get_running_loop().call_later(seconds, self._woken.set)
            try:
                await self._woken.wait()
            finally:
                timer.cancel()
        self._woken.clear()

    async def _send(self, call: _Call, message: driver_pb2.ConnectRequest) -> None:
        async with asyncio.timeout(self._patience_s):
            await call.write(message)

    async def _listen(self, call: _Call) -> NoReturn:
        """Follow what comes, asked for or not, until the link is lost."""
        while True:
            answer = await call.read()
            if not isinstance(answer, driver_pb2.ConnectResponse):
                raise await _ended(call)
            match answer.WhichOneof("message"):
                case "command":
                    self._obey(answer.command)
                    self._answered = max(self._answered, answer.command.lease.heartbeat_counter)
                case "idle":
                    self._answered = max(self._answered, answer.idle.heartbeat_counter)
                case "come_back":
                    raise LinkLost("the controller sent the driver away", after_s=bounded_s(answer.come_back.after))
                case "group_limits":
                    for signed in answer.group_limits.limits:
                        self._take_limit(signed)
                case "welcome":
                    raise LinkLost("got a second welcome, wanted commands and idle answers")
                case _:
                    pass  # a message of a later version

    def _obey(self, message: driver_pb2.Command) -> None:
        now, utc = self._clock.now(), self._clock.utc()
        command = read_command(message)
        if not isinstance(command, Command):
            self.say(
                Report(
                    command_id=message.command_id,
                    state=ReportState.REJECTED,
                    reason=command.reason,
                    observed_at=utc,
                    passed=(ReportState.RECEIVED,),
                )
            )
            return
        if command.curtailed and not self._believes(message):
            command = replace(command, curtailed=False)
        refusal = self._station.receive(self._name, command, now, utc)
        if refusal is not None:
            self.say(refusal)
        else:
            self._wake_device()


async def _ended(call: _Call) -> LinkLost:
    """Why the controller ended the stream."""
    try:
        async with asyncio.timeout(1.0):
            code, details = await call.code(), await call.details()
    except TimeoutError:
        return LinkLost("the controller ended the stream")
    trailing = await call.trailing_metadata()
    return _refused(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=details))


def _refused(err: grpc.aio.AioRpcError) -> LinkLost:
    return LinkLost(f"{err.code().name}: {err.details()}", after_s=read_retry_s(err))
