"""What a device's registers mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from device_drivers.connection import Timer
from device_drivers.errors import InvalidValueError
from device_drivers.modbus.field import Field
from device_drivers.setpoint import Power, ProductionLimit, RelayState, Target


class Role(Enum):
    """What is written into a field."""

    TARGET = "target"
    """What the device shall do."""
    REVERT = "revert"
    """What it goes to when its timer ends."""
    TIMER = "timer"
    """s until then; 0 stops it."""
    CONSTANT = "constant"
    """A value of the map's, as one that enables what was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A field and what is written into it.

    Attributes
    ----------
    field : Field
        Where; its value is 0 or 1 for a relay, W in the sense of the target for a power or a limit, s for a timer.
    role : Role
        What.
    value : int
        The constant; of no meaning for other roles.
    """

    field: Field
    role: Role
    value: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterMap:
    """A device's registers.

    Attributes
    ----------
    takes : type
        The kind of target: `RelayState`, `Power` or `ProductionLimit`.
    writes : tuple of Write
        For each target, in this order; those that follow each other in the device go in one message.
    relay : Field or None
        Reads 1 when the relay is closed and 0 when it is open; None where there is none to be read.
    power : Field or None
        Reads W, consumption positive; None where the device does not measure.
    timer : Timer or None
        The device's own; None where it has none.
    ends_in : Target or None
        What its timer ends in; None where that is written with each target.
    most_w : float or None
        W that the target's field is a part of; a limit above it is that. None where it has no bound.
    """

    takes: type
    writes: tuple[Write, ...]
    relay: Field | None = None
    power: Field | None = None
    timer: Timer | None = None
    ends_in: Target | None = None
    most_w: float | None = None

    def __post_init__(self) -> None:
        roles = [write.role for write in self.writes]
        if self.takes not in (RelayState, Power, ProductionLimit) or roles.count(Role.TARGET) != 1:
            raise InvalidValueError(f"map: got {roles.count(Role.TARGET)} targets, wanted one")
        if (self.timer is None) is (Role.TIMER in roles):
            raise InvalidValueError("map: got half a timer, wanted what it can do and where it is set")
        for write in self.writes:
            if not write.field.table.written:
                raise InvalidValueError(
                    f"{write.field.name}: got the table {write.field.table.value}, wanted one that is written"
                )

    def timer_for(self, failsafe: Target) -> Timer | None:
        """The device's timer, if it ends in this failsafe."""
        if any(write.role is Role.REVERT for write in self.writes) or self.ends_in == failsafe:
            return self.timer
        if isinstance(failsafe, ProductionLimit) and isinstance(self.ends_in, ProductionLimit):
            # Who may produce more than the device can is not held back by its timer either.
            beyond = self.most_w is not None and failsafe.limit_w >= self.most_w <= self.ends_in.limit_w
            return self.timer if beyond else None
        return None

    def value(self, target: Target) -> float:
        """What a target is in the map's fields: 0 or 1, or W."""
        match target:
            case RelayState(closed=closed):
                return float(closed)
            case Power(power_w=power_w):
                return power_w
            case ProductionLimit(limit_w=limit_w):
                return limit_w if self.most_w is None else min(limit_w, self.most_w)


def messages(writes: Sequence[tuple[Field, list[int]]]) -> list[tuple[Field, list[int]]]:
    """The same writes, those that follow each other in the device joined: first field, and all values."""
    joined: list[tuple[Field, list[int]]] = []
    for field, values in writes:
        if joined:
            first, before = joined[-1]
            if first.table is field.table and first.address + len(before) == field.address:
                joined[-1] = (first, [*before, *values])
                continue
        joined.append((field, values))
    return joined
