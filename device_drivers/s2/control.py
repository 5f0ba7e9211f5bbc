"""What a control type has to say: what it hears of a device, and which instructions do what a target says."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from s2python.generated.gen_s2 import ControlType
from s2python.s2_base_model import S2BaseModel

from device_drivers.connection import Timer
from device_drivers.device import Reading
from device_drivers.setpoint import Target

AT_ONCE = timedelta(minutes=1)
"""How long ago what shall be done at once was to be done: a manager whose clock is behind would wait otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that a manager is to be told.

    Attributes
    ----------
    message : S2BaseModel
        As it is sent.
    message_id : str
        Its id, which the manager's receipt names.
    instruction_id : str or None
        What the manager's word on it names; None where it says none, as to what is revoked.
    """

    message: S2BaseModel
    message_id: str
    instruction_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What whoever configures a device says of it.

    Attributes
    ----------
    failsafe : Target
        What its timer ends in, if it has one.
    control : ControlType or None
        The only one that is wanted; None where any will do.
    off, on : str or None
        Ids or labels of the operation modes that a relay's states are.
    actuator : str or None
        Id or label of the actuator that is meant.
    fill : str or None
        Unit of the fill level: wh, kwh, percent, celsius; None where its label says it, if anything does.
    capacity_wh : float or None
        Wh of a fill level of 100 percent.
    """

    failsafe: Target
    control: ControlType | None = None
    off: str | None = None
    on: str | None = None
    actuator: str | None = None
    fill: str | None = None
    capacity_wh: float | None = None


class Control(Protocol):
    """One control type of one manager, for as long as a session lasts."""

    @property
    def kind(self) -> ControlType:
        """Which."""

    @property
    def timer(self) -> Timer | None:
        """What in an instruction ends by itself; None where it lasts until the next."""

    @property
    def stale(self) -> bool:
        """Whether the manager has made void what it was told, which then has to be told again."""

    def hear(self, message: S2BaseModel, utc: datetime) -> None:
        """Take what the manager says; what is of another control type is refused.

        Raises
        ------
        Misread
            If it makes no sense.
        InvalidValueError
            If the configuration does not fit what the manager says.
        """

    def missing(self) -> str | None:
        """What the manager has yet to say before the device can be told anything; None where it has."""

    def steps(self, target: Target, lasts_s: float | None, utc: datetime) -> tuple[Step, ...]:
        """What to tell the manager, so that the device does this.

        Parameters
        ----------
        target : Target
            What.
        lasts_s : float or None
            s after which it shall be in its failsafe by itself; None where the target is to last.
        utc : datetime
            Now.

        Raises
        ------
        DeviceError
            If the device cannot do it, or not now.
        """

    def shows(self, target: Target) -> bool:
        """Whether what was heard says that the device does this."""

    def reading(self, power_w: int | None) -> Reading:
        """What was heard, with a power that was measured."""
