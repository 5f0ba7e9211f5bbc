"""One device served through its connection: told, read, verified, connected anew when it is lost.

Each device has a task of its own and timeouts of its own, so that one that hangs delays no other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from device_drivers.clock import Clock
from device_drivers.connection import Connection
from device_drivers.core import DeviceCore, Order
from device_drivers.errors import DeviceError
from device_drivers.memory import MemoryFile
from device_drivers.report import Report
from device_drivers.station import Station

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 10.0
"""s between two attempts to reach a device that is lost, at most."""
SHORTEST_CALL_S = 0.05
"""s that a call may take at least, however soon the lease ends."""
CLOSING_S = 1.0
"""s that a connection may take to be let go of."""

_T = TypeVar("_T")


class ServedDevice:
    """A device, its connection and its place in the station.

    Parameters
    ----------
    name : str
        In the station.
    station : Station
        Says what it shall do.
    open_connection : callable
        Opens a connection; `DeviceError` where there is none now.
    memory : MemoryFile or None
        Where its switchings are kept; None where no rule needs them.
    clock : Clock
        The driver's.
    say : callable
        Takes what is to be said to the controller.
    poll_s : float
        s between two readings at most.
    timeout_s : float
        s that any call of the device may take.
    randomness : random.Random
        Spreads the attempts to reach a device that is lost.
    """

    def __init__(
        self,
        name: str,
        *,
        station: Station,
        open_connection: Callable[[], Awaitable[Connection]],
        memory: MemoryFile | None,
        clock: Clock,
        say: Callable[[Report], None],
        poll_s: float,
        timeout_s: float,
        randomness: Random,
    ) -> None:
        self.name = name
        self._station = station
        self._open_connection = open_connection
        self._memory = memory
        self._clock = clock
        self._say_report = say
        self._poll_s = poll_s
        self._timeout_s = timeout_s
        self._randomness = randomness
        self._woken = asyncio.Event()
        self._releasing = False

    @property
    def core(self) -> DeviceCore:
        """What is known of it."""
        return self._station.device(self.name)

    def wake(self) -> None:
        """Look at once: something changed for the device."""
        self._woken.set()

    async def run(self) -> None:
        """Serve the device until `release`, whatever happens to it."""
        pause_s = self._poll_s
        while not self._releasing:
            try:
                connection = await self._within(self._open(), self._timeout_s)
            except Exception as err:  # others' code, too: whatever it raises, the other devices go on
                self._missed(err)
            else:
                pause_s = self._poll_s
                await self._serve_through(connection)
            if not self._releasing:
                await self._pause(pause_s * self._randomness.uniform(0.5, 1.0))
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def release(self) -> None:
        """End the lease; `run` returns once the device was told its failsafe, or could not be."""
        self.core.release()
        self._releasing = True
        self.wake()

    async def _open(self) -> Connection:
        return await self._open_connection()

    async def _serve_through(self, connection: Connection) -> None:
        """Serve the device until it is lost or released."""
        core = self.core
        core.timer, core.takes = connection.capabilities.timer, connection.capabilities.targets
        try:
            woken = False
            while True:
                releasing = self._releasing
                if not woken:  # one that was woken has something to do first
                    await self._look(connection)
                await self._follow(connection)
                if releasing or core.lost is not None:
                    return
                woken = await self._pause(self._until_next())
        finally:
            await self._close(connection)

    async def _follow(self, connection: Connection) -> None:
        """Tell the device what it has to be told, and its failsafe where it failed on that."""
        for _ in range(2):
            order = self._station.order(self.name, self._clock.now(), self._clock.utc())
            if order is None:
                return
            if await self._tell(connection, order):
                await self._look(connection)
                return

    async def _tell(self, connection: Connection, order: Order) -> bool:
        now, utc = self._clock.now(), self._clock.utc()
        reverts_at = None if order.revert_after_s is None else now + order.revert_after_s
        self._station.begin(self.name, order, now, utc)
        try:
            await self._remember()
            left_s = None if reverts_at is None else max(0.0, reverts_at - self._clock.now())
            await self._within(connection.apply(order.target, revert_after_s=left_s), self._call_s())
        except Exception as err:  # others' code, too
            self._say(self._station.fail(self.name, _said(err), self._clock.now(), self._clock.utc()))
            log.warning("%s: got no yes to %s: %s", self.name, order.target, _said(err))
            return False
        self._station.done(self.name, order, self._clock.now())
        return True

    async def _look(self, connection: Connection) -> None:
        if not connection.capabilities.reads_state:
            self._say(self._station.assume(self.name, self._clock.now(), self._clock.utc()))
            return
        try:
            reading = await self._within(connection.read(), self._call_s())
        except Exception as err:  # others' code, too
            self._missed(err)
            return
        was_lost = self.core.lost
        self._say(self._station.observe(self.name, reading, self._clock.now(), self._clock.utc()))
        if was_lost is not None:
            log.info("%s: it answers", self.name)
        try:
            await self._remember()
        except OSError as err:
            log.error("%s: its memory cannot be kept: %s", self.name, err)  # noqa: TRY400  # a full disk, no fault of ours

    async def _remember(self) -> None:
        """Have on disk what has to be."""
        memory = self.core.unsaved()
        if memory is not None and self._memory is not None:
            await asyncio.to_thread(self._memory.save, memory)
            self.core.saved(memory)

    def _missed(self, err: Exception) -> None:
        before = self.core.lost
        self._say(self._station.miss(self.name, _said(err), self._clock.now(), self._clock.utc()))
        if self.core.lost is not None and self.core.lost != before:
            log.warning("%s: lost: %s", self.name, _said(err))

    def _say(self, report: Report | None) -> None:
        if report is not None:
            self._say_report(report)

    def _call_s(self) -> float:
        """s that a call may take: no longer than the lease, whose end wants to be told."""
        until = self.core.leased_until
        if until is None:
            return self._timeout_s
        return min(self._timeout_s, max(SHORTEST_CALL_S, until - self._clock.now()))

    def _until_next(self) -> float:
        now = self._clock.now()
        at = self.core.next_at(now, self._clock.utc())
        return self._poll_s if at is None else min(self._poll_s, max(0.0, at - now))

    async def _pause(self, seconds: float) -> bool:
        """Let time pass; whether somebody woke the device."""
        loop = asyncio.get_running_loop()
        woken = self._woken
        timed_out = False

        def end() -> None:
            nonlocal timed_out
            timed_out = True
            woken.set()

        if not woken.is_set():
            timer = loop.call_later(seconds, end)
            try:
                await woken.wait()
            finally:
                timer.cancel()
        woken.clear()
        return not timed_out

    async def _close(self, connection: Connection) -> None:
        try:
            await self._within(connection.aclose(), CLOSING_S)
        except Exception as err:  # others' code, too
            log.warning("%s: its connection could not be closed: %s", self.name, _said(err))

    async def _within(self, call: Coroutine[Any, Any, _T], seconds: float) -> _T:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except TimeoutError as err:
            raise DeviceError(f"got no answer in {seconds:.3g} s") from err


def _said(err: Exception) -> str:
    text = " ".join(str(err).split()) or type(err).__name__
    return text if isinstance(err, DeviceError) else f"{type(err).__name__}: {text}"
