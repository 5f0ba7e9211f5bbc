"""What limits have to know of drivers, whoever serves them."""

from collections.abc import Mapping
from typing import Protocol

from controller.commands import Response
from controller.microgrid import DeviceState, SetpointKind


class Target(Protocol):
    """What a device is to do: a kind of setpoint and its value."""

    @property
    def kind(self) -> SetpointKind:
        """Relay, power or production limit."""

    @property
    def value(self) -> int:
        """0 or 1 for a relay, else W."""


class Seen(Protocol):
    """A device's telemetry and when it came."""

    @property
    def state(self) -> DeviceState:
        """What it said."""

    @property
    def arrived(self) -> float:
        """Seconds of the steady clock."""

    @property
    def measured_w(self) -> int | None:
        """Its power; None where nobody measured it."""


class Declared(Protocol):
    """What a driver said of its device."""

    @property
    def failsafe(self) -> Target | None:
        """What the device does when nobody tells it anything; None where that was not said."""


class Drivers(Protocol):
    """The drivers' streams."""

    @property
    def lease_s(self) -> int:
        """For how long what a device was told acts."""

    def planned(self, microgrid: str, device: str) -> Target | None:
        """What a device is to do now before any limit; None leaves it to its failsafe."""

    def connected(self, microgrid: str) -> frozenset[str]:
        """The devices with an open stream."""

    def responses(self, microgrid: str) -> Mapping[str, Response]:
        """How each of these stands to what it is told."""

    def observed(self, microgrid: str) -> Mapping[str, Seen]:
        """The newest telemetry by device."""

    def failsafes(self, microgrid: str) -> Mapping[str, Declared]:
        """By device what its driver declared, where it ever did."""

    def push(self, microgrid: str, devices: frozenset[str]) -> None:
        """Tell devices at once what changed for them."""

    def looked(self, microgrid: str) -> None:
        """Answer who waited to be told until it was decided what limits leave to it."""
