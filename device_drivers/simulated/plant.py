"""A plant that produces what the weather gives, up to a limit."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from device_drivers.clock import Clock
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import ProductionLimit, Target
from device_drivers.simulated.device import SimulatedDevice


class SimulatedPlant(SimulatedDevice[int]):
    """A plant that is not limited at first, as an inverter that nobody spoke to.

    Parameters
    ----------
    rated_w : int
        W that it can produce at most, not negative.
    available_w : sequence of (float, float)
        Instants in s of the clock, ascending, each with the W available from then on, not negative; nothing
        is available before the first.
    clock : Clock
        Gives the time that passes.

    Raises
    ------
    InvalidValueError
        If the instants do not ascend or a power is negative.
    """

    def __init__(self, rated_w: int, available_w: Sequence[tuple[float, float]], clock: Clock) -> None:
        if rated_w < 0:
            raise InvalidValueError(f"rated power: got {rated_w} W, wanted 0 or more")
        for one, other in pairwise(available_w):
            if not one[0] < other[0]:
                raise InvalidValueError(f"available power: got {other[0]} s after {one[0]} s, wanted later")
        for start_s, power_w in available_w:
            if not power_w >= 0:
                raise InvalidValueError(f"available power: got {power_w} W at {start_s} s, wanted 0 or more")
        super().__init__(clock, setting=rated_w)
        self._rated_w = rated_w
        self._starts_s = tuple(start_s for start_s, _ in available_w)
        self._available_w = (0.0, *(power_w for _, power_w in available_w))

    def _setting_for(self, target: Target) -> int:
        if not isinstance(target, ProductionLimit):
            raise DeviceError(f"simulated plant: got {target}, wanted a production limit")
        return target.limit_w

    def _step(self, at_s: float) -> int:
        """Index of the available power that holds at an instant."""
        return bisect_right(self._starts_s, at_s)

    def _produced_w(self, step: int) -> float:
        return min(self._available_w[step], self._setting, self._rated_w)

    def _pass_time(self, start_s: float, end_s: float) -> float:
        """Ws through the terminals: one product for each stretch in which the available power is constant."""
        first, last = self._step(start_s), self._step(end_s)
        instants = (start_s, *self._starts_s[first:last], end_s)
        return -sum(
            self._produced_w(step) * (until_s - since_s)
            for step, (since_s, until_s) in enumerate(pairwise(instants), start=first)
        )

    def _reading(self) -> Reading:
        return Reading(
            power_w=-round(self._produced_w(self._step(self._at_s))),
            relay_closed=None,
            closed_s=0,
            stored_wh=None,
        )
