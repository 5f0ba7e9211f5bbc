"""An appliance of constant power behind a relay."""

import math

from device_drivers.clock import Clock
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import RelayState, Target
from device_drivers.simulated.device import SimulatedDevice


class SimulatedRelay(SimulatedDevice[bool]):
    """A relay, open at first; closed, its appliance takes its rated power.

    Parameters
    ----------
    rated_w : int
        W of the appliance, not negative.
    clock : Clock
        Gives the time that passes.

    Raises
    ------
    InvalidValueError
        If the power is negative.
    """

    def __init__(self, rated_w: int, clock: Clock) -> None:
        if rated_w < 0:
            raise InvalidValueError(f"rated power: got {rated_w} W, wanted 0 or more")
        super().__init__(clock, setting=False)
        self._rated_w = rated_w
        self._closed_s = 0.0

    def closed_s(self) -> float:
        """s for which the relay has been closed in all; true whatever the fault."""
        self._advance()
        return self._closed_s

    def _setting_for(self, target: Target) -> bool:
        if not isinstance(target, RelayState):
            raise DeviceError(f"simulated relay: got {target}, wanted a state of the relay")
        return target.closed

    def _pass_time(self, start_s: float, end_s: float) -> float:
        if not self._setting:
            return 0.0
        self._closed_s += end_s - start_s
        return self._rated_w * (end_s - start_s)

    def _reading(self) -> Reading:
        return Reading(
            power_w=self._rated_w if self._setting else 0,
            relay_closed=self._setting,
            closed_s=math.floor(self._closed_s),
            stored_wh=None,
        )
