"""What the driver of a protocol implements: a way to open devices, and a connection to each.

A `Driver` is found by the scheme of a device's URL (`device_drivers.schemes`); third parties offer theirs as entry
points of the group ``gridpact.drivers``. A `Connection` is one device: it is told targets and read, by one task, one
call after the other. Whoever calls sets the timeouts: a call may be cancelled at any time, and the connection must
stand that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from device_drivers.address import DeviceUrl
from device_drivers.device import Reading
from device_drivers.errors import InvalidValueError
from device_drivers.setpoint import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A timer in the device itself, at whose end it goes to its failsafe, whoever still lives.

    Attributes
    ----------
    shortest_s, longest_s : float
        s that it can be set to.
    resolution_s : float
        s of one step, positive.
    """

    shortest_s: float
    longest_s: float
    resolution_s: float

    def __post_init__(self) -> None:
        if not 0 < self.resolution_s < math.inf or not 0 <= self.shortest_s <= self.longest_s:
            raise InvalidValueError(f"timer: got {self}, wanted ordered times and a positive resolution")

    def armed_s(self, seconds: float) -> float | None:
        """The longest time in s that the timer can be set to and does not exceed so many; None where there is none."""
        # A lease of 0.3 s holds three steps of 0.1 s, whatever floats say; the slack is far below any resolution.
        steps = math.floor(min(seconds, self.longest_s) / self.resolution_s + 1e-9)
        armed_s = steps * self.resolution_s
        return armed_s if armed_s > 0 and armed_s >= self.shortest_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a device, opened with its failsafe, can do.

    Attributes
    ----------
    targets : frozenset of type of Target
        The kinds of target that it takes, of `RelayState`, `Power`, `ProductionLimit`.
    timer : Timer or None
        Its own timer, which ends in the failsafe it was opened with; None where it has none, or one that ends
        elsewhere: then a driver that dies leaves the device as it is.
    measures_power : bool
        Whether what it reads holds a power; without one the device counts at its worst case.
    reads_state : bool
        Whether it can be read back at all. Without it what was told counts as done, and is never VERIFIED.
    """

    targets: frozenset[type[Target]]
    timer: Timer | None
    measures_power: bool
    reads_state: bool


class Connection(Protocol):
    """One device. Calls come one after the other; any may be cancelled."""

    @property
    def capabilities(self) -> Capabilities:
        """What the device can do; it does not change while the connection is open."""

    async def apply(self, target: Target, *, revert_after_s: float | None) -> None:
        """Do this from now on, and go to the failsafe by itself after a while.

        Called again with the same target it arms the timer anew.

        Parameters
        ----------
        target : Target
            Of a kind among `Capabilities.targets`.
        revert_after_s : float or None
            s from now after which the device's own timer takes it to its failsafe, if it has one: rounded down to what
            the timer can do (`Timer.armed_s`), never beyond. None stops the timer: the target is to last, as a failsafe
            does.

        Raises
        ------
        DeviceError
            If the device cannot be reached, says no, or answers what makes no sense. It may then do either: whoever
            calls reads it back, or tells it again.
        """

    async def read(self) -> Reading:
        """What the device does now.

        Raises
        ------
        DeviceError
            If it cannot be reached, or answers what makes no sense: a guess is never returned.
        """

    async def aclose(self) -> None:
        """Let go of what the connection holds; the device goes on as it is. Never raises; twice is once."""


class Driver(Protocol):
    """The driver of one protocol."""

    async def open(self, address: DeviceUrl, *, failsafe: Target, options: Mapping[str, Any]) -> Connection:
        """A connection to a device. It switches nothing.

        Parameters
        ----------
        address : DeviceUrl
            Where it is.
        failsafe : Target
            What its own timer has to end in.
        options : mapping
            What the URL's query and the configuration's table say, the table before the query; read by `Options`, so
            that what is unknown is refused.

        Raises
        ------
        InvalidValueError
            If the address or an option is wrong: it will not get better by itself.
        DeviceError
            If the device cannot be reached: whoever calls tries again.
        """


@runtime_checkable
class Listening(Protocol):
    """A driver to which devices connect, instead of the other way round."""

    def listens(self, address: DeviceUrl) -> bool:
        """Whether the address says where the driver is, and the device dials it."""
