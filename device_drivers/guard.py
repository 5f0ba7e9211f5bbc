"""What the hardware may do, held by the driver itself, whatever it is told."""

import math
from dataclasses import dataclass
from typing import assert_never

from device_drivers.errors import InvalidValueError
from device_drivers.refusal import Refused
from device_drivers.setpoint import Bounds, Power, ProductionLimit, RelayState, Target

LONGEST_S = 7 * 86_400.0
"""s that no least time exceeds: a longer one is a slip of the pen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRules:
    """What a device's hardware may do; held by the driver alone.

    Attributes
    ----------
    bounds : Bounds
        W that it may have; also what it takes while a relay keeps it on.
    min_on_s, min_off_s : float
        s that it stays on, or off, once it was switched.
    starts_per_hour, starts_per_day : int or None
        How often it may be switched on in any hour, and in a calendar day; None where that does not matter.
    hard : bool
        Whether the minimum times hold against the grid operator's limits too.
    ramp_w_per_s : float or None
        W by which its power may change in a second; None where that does not matter.
    """

    bounds: Bounds
    min_on_s: float = 0.0
    min_off_s: float = 0.0
    starts_per_hour: int | None = None
    starts_per_day: int | None = None
    hard: bool = False
    ramp_w_per_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_on_s", "min_off_s"):
            if not 0 <= getattr(self, name) <= LONGEST_S:
                raise InvalidValueError(f"{name}: got {getattr(self, name)}, wanted 0 to {LONGEST_S:g} s")
        for name in ("starts_per_hour", "starts_per_day"):
            starts = getattr(self, name)
            if starts is not None and not 1 <= starts <= 10_000:
                raise InvalidValueError(f"{name}: got {starts}, wanted 1 to 10000")
        if self.ramp_w_per_s is not None and not 0 < self.ramp_w_per_s < math.inf:
            raise InvalidValueError(f"ramp_w_per_s: got {self.ramp_w_per_s}, wanted more than 0")

    @property
    def remembers(self) -> bool:
        """Whether it matters when the device was switched."""
        counted = self.starts_per_hour is not None or self.starts_per_day is not None
        return counted or self.min_on_s > 0 or self.min_off_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """A target may go to the device.

    Attributes
    ----------
    target : Target
        As it may go: a production limit beyond the bounds is narrowed to them, which does not contradict it.
    """

    target: Target


def check(target: Target, bounds: Bounds) -> Allowed | Refused:
    """Whether a device with these power bounds may be told a target.

    A relay chooses no power, so that bounds have no say in its state.
    """
    match target:
        case Power(power_w=power_w):
            if bounds.contains(power_w):
                return Allowed(target=target)
            return Refused(reason=f"power: got {power_w} W, wanted within {bounds}")
        case ProductionLimit(limit_w=limit_w):
            if bounds.lower_w is None:
                return Allowed(target=target)
            return Allowed(target=ProductionLimit(limit_w=min(limit_w, max(0, -bounds.lower_w))))
        case RelayState():
            return Allowed(target=target)
        case never:
            assert_never(never)
