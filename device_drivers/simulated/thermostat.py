"""A heater or cooler of one heat capacity, switched by a relay or held at a power."""

import math

from device_drivers.clock import Clock
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, RelayState, Target
from device_drivers.simulated.device import SECONDS_PER_HOUR, SimulatedDevice


class SimulatedThermostat(SimulatedDevice[int]):
    """A load at rest at first, whose temperature follows C dT/dt = performance p - draw - G (T - ambient), exactly.

    Parameters
    ----------
    rated_w : int
        W that it takes at most, and when its relay is closed.
    heat_capacity_wh_per_k, loss_w_per_k : float
        C, positive, and G, not negative.
    performance : float
        Heat per electric energy, negative where it cools.
    ambient_c, temperature_c : float
        Degrees of the surroundings, and of itself at first.
    clock : Clock
        Gives the time that passes.

    Raises
    ------
    InvalidValueError
        If a number is out of its range.
    """

    def __init__(
        self,
        *,
        rated_w: int,
        heat_capacity_wh_per_k: float,
        loss_w_per_k: float,
        performance: float,
        ambient_c: float,
        temperature_c: float,
        clock: Clock,
    ) -> None:
        if rated_w < 0 or heat_capacity_wh_per_k <= 0 or loss_w_per_k < 0:
            raise InvalidValueError(
                f"thermostat: got {rated_w} W, {heat_capacity_wh_per_k} Wh/K, {loss_w_per_k} W/K, wanted none below 0"
            )
        super().__init__(clock, setting=0)
        self._rated_w = rated_w
        self._heat_capacity_wh_per_k = heat_capacity_wh_per_k
        self._loss_w_per_k = loss_w_per_k
        self._performance = performance
        self._ambient_c = ambient_c
        self._temperature_c = temperature_c
        self._draw_w = 0.0
        self._closed_s = 0.0
        self._held_s = 0.0

    def temperature_c(self) -> float:
        """Degrees now; true whatever the fault."""
        self._advance()
        return self._temperature_c

    def draw(self, power_w: float) -> None:
        """Let so many W of heat be drawn off from now on."""
        self._advance()
        self._draw_w = power_w

    def _setting_for(self, target: Target) -> int:
        match target:
            case RelayState(closed=closed):
                setting = self._rated_w * closed
            case Power(power_w=power_w) if 0 <= power_w <= self._rated_w:
                setting = power_w
            case _:
                raise DeviceError(
                    f"simulated thermostat: got {target}, wanted a relay's state or 0 to {self._rated_w} W"
                )
        if (setting > 0) != (self._setting > 0):
            self._held_s = 0.0
        return setting

    def _pass_time(self, start_s: float, end_s: float) -> float:
        seconds = end_s - start_s
        heat_w = self._setting * self._performance - self._draw_w
        hours = seconds / SECONDS_PER_HOUR
        if self._loss_w_per_k == 0:
            self._temperature_c += heat_w * hours / self._heat_capacity_wh_per_k
        else:
            settled = self._ambient_c + heat_w / self._loss_w_per_k
            keep = math.exp(-hours * self._loss_w_per_k / self._heat_capacity_wh_per_k)
            self._temperature_c = settled + (self._temperature_c - settled) * keep
        self._held_s += seconds
        self._closed_s += seconds * (self._setting > 0)
        return self._setting * seconds

    def _reading(self) -> Reading:
        return Reading(
            power_w=self._setting,
            relay_closed=self._setting > 0,
            closed_s=math.floor(self._closed_s),
            stored_wh=None,
            temperature_milli_c=round(self._temperature_c * 1000),
            held_s=math.floor(self._held_s),
        )
