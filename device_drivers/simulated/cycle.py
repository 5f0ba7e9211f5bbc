"""An appliance behind a relay that runs through a power profile: washer, dryer, dish washer."""

import math
from collections.abc import Sequence

from device_drivers.clock import Clock
from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import RelayState, Target
from device_drivers.simulated.device import SimulatedDevice


class SimulatedCycle(SimulatedDevice[bool]):
    """A relay, open at first; closed, its appliance goes on in its profile, to whose end nothing is taken any more.

    Parameters
    ----------
    profile_w : sequence of int
        W of each step, not negative.
    step_s : int
        s that a step lasts.
    clock : Clock
        Gives the time that passes.

    Raises
    ------
    InvalidValueError
        If a power is negative or there is no step.
    """

    def __init__(self, profile_w: Sequence[int], step_s: int, clock: Clock) -> None:
        if not profile_w or min(profile_w) < 0 or step_s <= 0:
            raise InvalidValueError(f"profile: got {tuple(profile_w)} W in steps of {step_s} s, wanted 0 W or more")
        super().__init__(clock, setting=False)
        self._profile_w = tuple(profile_w)
        self._step_s = step_s
        self._closed_s = 0.0
        self._held_s = 0.0

    def closed_s(self) -> float:
        """s for which the relay has been closed in all; true whatever the fault."""
        self._advance()
        return self._closed_s

    def _setting_for(self, target: Target) -> bool:
        if not isinstance(target, RelayState):
            raise DeviceError(f"simulated cycle: got {target}, wanted a state of the relay")
        if target.closed != self._setting:
            self._held_s = 0.0
        return target.closed

    def _taken_ws(self, closed_s: float) -> float:
        """Ws that were taken when the relay had been closed for so long."""
        steps = min(int(closed_s // self._step_s), len(self._profile_w))
        whole = sum(self._profile_w[:steps]) * self._step_s
        rest_s = closed_s - steps * self._step_s
        return whole + (self._profile_w[steps] * rest_s if steps < len(self._profile_w) else 0.0)

    def _pass_time(self, start_s: float, end_s: float) -> float:
        self._held_s += end_s - start_s
        if not self._setting:
            return 0.0
        before, self._closed_s = self._closed_s, self._closed_s + end_s - start_s
        return self._taken_ws(self._closed_s) - self._taken_ws(before)

    def _reading(self) -> Reading:
        step = int(self._closed_s // self._step_s)
        power_w = self._profile_w[step] if self._setting and step < len(self._profile_w) else 0
        return Reading(
            power_w=power_w,
            relay_closed=self._setting,
            closed_s=math.floor(self._closed_s),
            stored_wh=None,
            held_s=math.floor(self._held_s),
        )
