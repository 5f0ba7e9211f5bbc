"""What a device does when nobody tells it anything."""

from dataclasses import dataclass
from typing import assert_never

from device_drivers.errors import InvalidValueError
from device_drivers.guard import LONGEST_S, check
from device_drivers.refusal import Refused
from device_drivers.setpoint import Bounds, RelayState, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Always the same: off, on, a power, a limit of production.

    Attributes
    ----------
    target : Target
        What.
    """

    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldProgramme:
    """A programme that runs goes on to its end; nothing is started.

    Attributes
    ----------
    programme_s : float
        s that a programme lasts at most: what has been on for so long is switched off, what is off stays off.
    """

    programme_s: float

    def __post_init__(self) -> None:
        if not 0 < self.programme_s <= LONGEST_S:
            raise InvalidValueError(f"failsafe hold_s: got {self.programme_s}, wanted more than 0, up to {LONGEST_S:g}")


Failsafe = Fixed | HoldProgramme


def fitted(failsafe: Failsafe, bounds: Bounds) -> Failsafe:
    """The failsafe as hardware with these bounds may do it.

    Raises
    ------
    InvalidValueError
        If it breaks them.
    """
    match failsafe:
        case Fixed(target=target):
            checked = check(target, bounds)
            if isinstance(checked, Refused):
                raise InvalidValueError(f"failsafe: {checked.reason}")
            return Fixed(target=checked.target)
        case HoldProgramme():
            return failsafe
        case never:
            assert_never(never)


def at_rest(failsafe: Failsafe) -> Target:
    """What it comes to in the end: where a device's own timer has to end."""
    match failsafe:
        case Fixed(target=target):
            return target
        case HoldProgramme():
            return RelayState(closed=False)
        case never:
            assert_never(never)


def holds_until(failsafe: Failsafe, *, on: bool | None, since: float) -> float | None:
    """The instant in s until which a programme that runs since then goes on; None where none does."""
    if isinstance(failsafe, HoldProgramme) and on:
        return since + failsafe.programme_s
    return None
