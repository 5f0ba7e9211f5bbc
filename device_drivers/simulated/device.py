"""What all simulated devices share: the course of time, the register of energy, the faults."""

from abc import ABC, abstractmethod
from copy import copy
from typing import Generic, TypeVar

from device_drivers.clock import Clock
from device_drivers.device import Reading
from device_drivers.errors import DeviceError
from device_drivers.setpoint import Target
from device_drivers.simulated.fault import Fault

SECONDS_PER_HOUR = 3600

Setting = TypeVar("Setting")


class SimulatedDevice(ABC, Generic[Setting]):
    """A device whose state changes only when it is told something, and by the passing of time.

    Parameters
    ----------
    clock : Clock
        Gives the time that passes.
    setting : Setting
        What it does before it is told anything.
    """

    def __init__(self, clock: Clock, setting: Setting) -> None:
        self._clock = clock
        self._setting = setting
        self._at_s = clock.now()
        self._energy_ws = 0.0
        self._fault: Fault | None = None
        self._revert: tuple[float, Target] | None = None

    def fail(self, fault: Fault | None) -> None:
        """Misbehave so from now on; None behaves again."""
        self._fault = fault

    def apply(self, target: Target) -> None:
        """Do this from now on.

        Raises
        ------
        DeviceError
            If the device cannot do it, or a fault says so.
        """
        self._advance()
        if self._fault in {Fault.MUTE, Fault.REFUSING}:
            raise DeviceError(f"simulated device: {self._fault}")
        setting = self._setting_for(target)
        if self._fault is not Fault.LYING:
            self._setting = setting

    def arm(self, target: Target, at_s: float) -> None:
        """Go to a target by itself at an instant of the clock, unless `disarm` or another one comes before.

        Raises
        ------
        DeviceError
            If the device cannot do it.
        """
        self._advance()
        copy(self)._setting_for(target)  # it may note when it was switched, which it is not yet
        self._revert = (at_s, target)

    def disarm(self) -> None:
        """Let the device's own timer end in nothing."""
        self._advance()
        self._revert = None

    def read(self) -> Reading:
        """What the device does now.

        Raises
        ------
        DeviceError
            If a fault says so.
        """
        self._advance()
        if self._fault is Fault.MUTE:
            raise DeviceError(f"simulated device: {self._fault}")
        return self._reading()

    def energy_wh(self) -> float:
        """Wh through the terminals since the start, consumption positive; true whatever the fault."""
        self._advance()
        return self._energy_ws / SECONDS_PER_HOUR

    def _advance(self) -> None:
        now = self._clock.now()
        if self._revert is not None and self._revert[0] <= now:
            (at_s, target), self._revert = self._revert, None
            at_s = max(at_s, self._at_s)
            self._energy_ws += self._pass_time(self._at_s, at_s)
            self._at_s = at_s
            self._setting = self._setting_for(target)
        self._energy_ws += self._pass_time(self._at_s, now)
        self._at_s = now

    @abstractmethod
    def _setting_for(self, target: Target) -> Setting:
        """What the device has to be set to for a target; a `DeviceError` if it cannot do it."""

    @abstractmethod
    def _pass_time(self, start_s: float, end_s: float) -> float:
        """Change the state by the time from `start_s` to `end_s`; Ws through the terminals meanwhile."""

    @abstractmethod
    def _reading(self) -> Reading:
        """What the device does at this instant."""
