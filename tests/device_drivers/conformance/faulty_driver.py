"""A device in memory behind a driver that can be wrong in one way at a time."""

import asyncio
from dataclasses import dataclass, field

from device_drivers.connection import Capabilities, Timer
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import RelayState

TIMER = Timer(shortest_s=0.01, longest_s=60, resolution_s=0.01)


@dataclass
class FaultyDriver:
    """A driver of one relay, right unless a fault is named; its troubles are those of the device's network."""

    fault: str = ""
    closed: bool = False
    reverts_at: float | None = None
    trouble: object = None
    reverting: asyncio.TimerHandle | None = None
    opened: int = field(default=0)

    async def open(self, address, *, failsafe, options):
        if self.fault != "takes any option" and set(options):
            raise InvalidValueError(f"option: got {', '.join(options)}, wanted none")
        if not isinstance(failsafe, RelayState):
            raise InvalidValueError(f"failsafe: got {failsafe}, wanted a relay's")
        self.opened += 1
        if self.fault == "switches when opened":
            self.closed = False
        return FaultyConnection(self)

    async def set(self, trouble):
        self.trouble = trouble

    async def aclose(self):
        self.trouble = None

    async def power_cycle(self):
        self.closed, self.reverts_at = False, None

    def now_closed(self):
        if self.reverts_at is not None and asyncio.get_running_loop().time() >= self.reverts_at:
            self.closed, self.reverts_at = False, None
        return self.closed


class FaultyConnection:
    def __init__(self, driver):
        self._driver = driver
        self._told = False
        self._late = None
        self._shut = False
        self.capabilities = Capabilities(
            targets=frozenset({RelayState}), timer=TIMER, measures_power=True, reads_state=True
        )

    async def apply(self, target, *, revert_after_s):
        driver = self._driver
        await asyncio.sleep(0)
        if not isinstance(target, RelayState):
            if driver.fault == "takes any target":
                return
            raise DeviceError("no")
        if driver.trouble is not None:
            if driver.fault == "repeats what was given up":
                self._late = target
            if driver.fault != "says yes to nobody":
                raise DeviceError("no answer")
            return
        armed_s = None if revert_after_s is None else TIMER.armed_s(revert_after_s)
        if revert_after_s is not None and armed_s is None and driver.fault != "takes any lease":
            raise DeviceError("too short")
        self._told = target.closed
        if driver.fault == "says yes and does nothing":
            return
        driver.now_closed()
        if driver.fault == "never renews" and driver.reverts_at is not None:
            return
        driver.closed = target.closed
        driver.reverts_at = None if armed_s is None else asyncio.get_running_loop().time() + armed_s
        if driver.fault == "sets no timer":
            driver.reverts_at = None
        if driver.fault == "keeps the timer to itself" and armed_s is not None:
            driver.reverts_at = None
            if driver.reverting is not None:
                driver.reverting.cancel()
            driver.reverting = asyncio.get_running_loop().call_later(armed_s, self._revert)
        if driver.fault == "sets its timer too long" and driver.reverts_at is not None:
            driver.reverts_at += 1

    def _revert(self):
        if self._driver.trouble is None:
            self._driver.closed = False

    async def read(self):
        driver = self._driver
        await asyncio.sleep(0)
        if driver.trouble is not None:
            if driver.fault == "guesses":
                return self._reading(self._told)
            if driver.fault == "raises what nobody knows":
                raise KeyError("answer")
            self._shut = driver.fault == "stays shut"
            raise DeviceError("no answer")
        if self._shut:
            raise DeviceError("closed")
        if self._late is not None:
            driver.closed, self._late = self._late.closed, None
        if driver.fault == "remembers":
            return self._reading(self._told)
        if driver.fault == "reads nothing":
            return Reading(power_w=0, relay_closed=None, closed_s=None, stored_wh=None)
        return self._reading(driver.now_closed())

    async def aclose(self):
        if self._driver.fault == "closes with a raise":
            raise DeviceError("closed")

    @staticmethod
    def _reading(closed):
        return Reading(power_w=100 * closed, relay_closed=closed, closed_s=0, stored_wh=None)
