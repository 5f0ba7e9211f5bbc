"""What a device is told: targets, the setpoints that hold them for an interval, the command that leases them.

Powers are in W, positive when they flow from the grid into the device.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from device_drivers.errors import InvalidValueError


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayState:
    """A relay to be closed or opened.

    Attributes
    ----------
    closed : bool
        True when current shall flow.
    """

    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """A power to be held.

    Attributes
    ----------
    power_w : int
        W, consumption positive.
    """

    power_w: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionLimit:
    """A production not to be exceeded.

    Attributes
    ----------
    limit_w : int
        W that may be produced at most, not negative.
    """

    limit_w: int

    def __post_init__(self) -> None:
        if self.limit_w < 0:
            raise InvalidValueError(f"production limit: got {self.limit_w} W, wanted 0 or more")


Target = RelayState | Power | ProductionLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A band of power in W, consumption positive.

    Attributes
    ----------
    lower_w, upper_w : int or None
        The ends, which belong to it. None does not bind; zero does.
    """

    lower_w: int | None
    upper_w: int | None

    def __post_init__(self) -> None:
        if self.lower_w is not None and self.upper_w is not None and self.lower_w > self.upper_w:
            raise InvalidValueError(f"bounds: got {self}, wanted the lower no higher than the upper")

    def __str__(self) -> str:
        lower = "-inf" if self.lower_w is None else self.lower_w
        upper = "inf" if self.upper_w is None else self.upper_w
        return f"[{lower}, {upper}] W"

    def contains(self, power_w: int) -> bool:
        """Whether a power in W lies within the band."""
        return (self.lower_w is None or self.lower_w <= power_w) and (self.upper_w is None or power_w <= self.upper_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setpoint:
    """What a device shall do in one interval, ``[start, end)``.

    Attributes
    ----------
    start, end : datetime
        UTC, the start before the end.
    target : Target
        What it shall do.
    """

    start: datetime
    end: datetime
    target: Target

    def __post_init__(self) -> None:
        for instant in (self.start, self.end):
            if instant.utcoffset() != timedelta(0):
                raise InvalidValueError(f"setpoint: got the instant {instant.isoformat()}, wanted UTC")
        if self.start >= self.end:
            raise InvalidValueError(
                f"setpoint: got [{self.start.isoformat()}, {self.end.isoformat()}), wanted the end later"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Setpoints under a lease.

    Attributes
    ----------
    command_id : str
        Names the command in the reports on it.
    window : str
        The dispatch window that it comes from.
    epoch : int
        Fencing token of the controller's incarnation.
    sequence : int
        Strictly increasing within an epoch.
    heartbeat_counter : int
        The heartbeat that the command answers.
    ttl_s : float
        s that the lease lasts from the sending of that heartbeat.
    setpoints : tuple of Setpoint
        In order of time, none overlapping another; none at all calls for the failsafe.
    curtailed : bool
        Whether a limit of the grid operator made them smaller than they were planned: then they rank as a limit.
    """

    command_id: str
    window: str
    epoch: int
    sequence: int
    heartbeat_counter: int
    ttl_s: float
    setpoints: tuple[Setpoint, ...]
    curtailed: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.ttl_s):
            raise InvalidValueError(f"lease: got {self.ttl_s} s, wanted a finite time")
        for one, other in pairwise(self.setpoints):
            if other.start < one.end:
                raise InvalidValueError(
                    f"setpoints: got {other.start.isoformat()} after {one.end.isoformat()}, "
                    "wanted them in order of time, without overlap"
                )
