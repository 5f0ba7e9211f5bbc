"""A generator that produces what it is told, within its limits, or stands still."""

import math

from device_drivers.clock import Clock
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, Target
from device_drivers.simulated.device import SimulatedDevice


class SimulatedGenerator(SimulatedDevice[int]):
    """A generator that stands still at first.

    Parameters
    ----------
    min_w, max_w : int
        W that it produces at least and at most while it is up.
    clock : Clock
        Gives the time that passes.

    Raises
    ------
    InvalidValueError
        If the powers are negative or in the wrong order.
    """

    def __init__(self, *, min_w: int, max_w: int, clock: Clock) -> None:
        if not 0 <= min_w <= max_w:
            raise InvalidValueError(f"generator: got {min_w} to {max_w} W, wanted 0 or more, in order")
        super().__init__(clock, setting=0)
        self._min_w = min_w
        self._max_w = max_w
        self._held_s = 0.0

    def _setting_for(self, target: Target) -> int:
        if not isinstance(target, Power) or not (target.power_w == 0 or self._min_w <= -target.power_w <= self._max_w):
            raise DeviceError(f"simulated generator: got {target}, wanted 0 or -{self._max_w} to -{self._min_w} W")
        if (target.power_w != 0) != (self._setting != 0):
            self._held_s = 0.0
        return target.power_w

    def _pass_time(self, start_s: float, end_s: float) -> float:
        self._held_s += end_s - start_s
        return self._setting * (end_s - start_s)

    def _reading(self) -> Reading:
        return Reading(
            power_w=self._setting, relay_closed=None, closed_s=0, stored_wh=None, held_s=math.floor(self._held_s)
        )
