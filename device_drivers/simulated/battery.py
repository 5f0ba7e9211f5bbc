"""A battery that loses a part of what goes in and a part of what comes out."""

import math

from device_drivers.clock import Clock
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, Target
from device_drivers.simulated.device import SECONDS_PER_HOUR, SimulatedDevice

# A sum of floats that means 1000 Wh may come out just below it: that is noise, not a missing Wh.
_NOISE_WH = 1e-6


class SimulatedBattery(SimulatedDevice[int]):
    """A battery at rest at first, that holds the power it is told until it is full or empty.

    Charging at p for a time h stores p h `charge_efficiency`; discharging at p takes p h /
    `discharge_efficiency` out of the store. Full or empty, its power is zero until it is told to turn round.

    Parameters
    ----------
    capacity_wh : float
        Wh that it can store, not negative.
    max_charge_w, max_discharge_w : int
        W at its terminals, not negative; it refuses more.
    stored_wh : float
        Wh stored at first, from 0 to the capacity.
    charge_efficiency, discharge_efficiency : float
        Above 0, up to 1.
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
        capacity_wh: float,
        max_charge_w: int,
        max_discharge_w: int,
        stored_wh: float,
        charge_efficiency: float,
        discharge_efficiency: float,
        clock: Clock,
    ) -> None:
        if not 0 <= stored_wh <= capacity_wh < math.inf:
            raise InvalidValueError(f"stored: got {stored_wh} of {capacity_wh} Wh, wanted 0 to capacity")
        if min(max_charge_w, max_discharge_w) < 0:
            raise InvalidValueError(f"power: got {max_charge_w} and {max_discharge_w} W, wanted 0 or more")
        for efficiency in (charge_efficiency, discharge_efficiency):
            if not 0 < efficiency <= 1:
                raise InvalidValueError(f"efficiency: got {efficiency}, wanted above 0, up to 1")
        super().__init__(clock, setting=0)
        self._capacity_ws = float(capacity_wh) * SECONDS_PER_HOUR
        self._stored_ws = float(stored_wh) * SECONDS_PER_HOUR
        self._max_charge_w = max_charge_w
        self._max_discharge_w = max_discharge_w
        self._charge_efficiency = charge_efficiency
        self._discharge_efficiency = discharge_efficiency

    def stored_wh(self) -> float:
        """Wh stored now; true whatever the fault."""
        self._advance()
        return self._stored_ws / SECONDS_PER_HOUR

    def _setting_for(self, target: Target) -> int:
        if not isinstance(target, Power):
            raise DeviceError(f"simulated battery: got {target}, wanted a power")
        if not -self._max_discharge_w <= target.power_w <= self._max_charge_w:
            raise DeviceError(
                f"simulated battery: got {target.power_w} W, "
                f"wanted within [{-self._max_discharge_w}, {self._max_charge_w}] W"
            )
        return target.power_w

    def _pass_time(self, start_s: float, end_s: float) -> float:
        """Ws through the terminals: what was told, or as much of it as there was room or charge for."""
        told_ws = self._setting * (end_s - start_s)
        if told_ws >= 0:
            room_ws = self._capacity_ws - self._stored_ws
            gain_ws = told_ws * self._charge_efficiency
            if gain_ws < room_ws:
                self._stored_ws += gain_ws
                return told_ws
            # Set, not summed, so that no rounding keeps it from being full.
            self._stored_ws = self._capacity_ws
            return room_ws / self._charge_efficiency
        loss_ws = -told_ws / self._discharge_efficiency
        if loss_ws < self._stored_ws:
            self._stored_ws -= loss_ws
            return told_ws
        left_ws, self._stored_ws = self._stored_ws, 0.0
        return -left_ws * self._discharge_efficiency

    def _power_w(self) -> int:
        full = self._setting > 0 and self._stored_ws >= self._capacity_ws
        empty = self._setting < 0 and self._stored_ws <= 0
        return 0 if full or empty else self._setting

    def _reading(self) -> Reading:
        return Reading(
            power_w=self._power_w(),
            relay_closed=None,
            closed_s=0,
            stored_wh=math.floor(self._stored_ws / SECONDS_PER_HOUR + _NOISE_WH),
        )
