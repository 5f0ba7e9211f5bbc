"""Power envelope based control (PEBC): bounds of a power, as a limit of production or a power.

An instruction is a sequence of bounds with durations. Ours holds the target until the lease ends and the failsafe after
that, so that the device has both when nobody says anything any more.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, assert_never

from s2python.generated.gen_s2 import (
    ControlType,
    PEBCEnergyConstraint,
    PEBCInstruction,
    PEBCPowerConstraints,
    PEBCPowerEnvelopeLimitType,
    RevokableObjects,
    RevokeObject,
)
from s2python.s2_base_model import S2BaseModel

from device_drivers.connection import Timer
from device_drivers.device import Reading
from device_drivers.errors import DeviceError
from device_drivers.s2.control import Step, Wishes
from device_drivers.s2.wire import adding_up, content, new_id, text_of, watts
from device_drivers.setpoint import Power, ProductionLimit, RelayState, Target

TIMER = Timer(shortest_s=0.1, longest_s=86_400.0, resolution_s=0.001)

_TAIL_MS, _TAILS = 24 * 86_400_000, 15
"""What lasts is said in parts that a number of 32 bits can hold; a year in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Values that a limit may take, in W, the lower first."""

    lower_w: float
    upper_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What may be chosen of one quantity: bands of its lower limit, and of its upper one."""

    lower: tuple[Band, ...]
    upper: tuple[Band, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What a manager allows.

    Attributes
    ----------
    constraints_id : str
        As instructions name it.
    valid_from : datetime
        From when on.
    rooms : mapping of str to Room
        By quantity; not empty.
    """

    constraints_id: str
    valid_from: datetime
    rooms: Mapping[str, Room]


def limits(room: Room, target: Power | ProductionLimit, share: int) -> tuple[float, float]:
    """The lower and the upper limit in W that keep one of some equal shares of a target.

    Raises
    ------
    DeviceError
        If the room has none that do.
    """
    match target:
        case ProductionLimit(limit_w=limit_w):
            lower_w = _at_least(room.lower, -limit_w / share)
            upper_w = None if lower_w is None else _farthest(room.upper, lower_w)
        case Power(power_w=power_w) if power_w >= 0:
            upper_w = _at_most(room.upper, power_w / share)
            lower_w = None if upper_w is None else _at_most(room.lower, upper_w)
        case Power(power_w=power_w):
            lower_w = _at_least(room.lower, power_w / share)
            upper_w = None if lower_w is None else _at_least(room.upper, lower_w)
        case never:
            assert_never(never)
    if lower_w is None or upper_w is None:
        bands = ", ".join(f"{one.lower_w:g} to {one.upper_w:g} W" for one in (*room.lower, *room.upper))
        part = "" if share == 1 else f" on each of {share} phases"
        raise DeviceError(f"s2: got {target}, wanted what the resource manager allows{part}: {bands}")
    return lower_w, upper_w


class Envelopes:
    """PEBC.

    Parameters
    ----------
    wishes : Wishes
        Of the configuration.
    new_id : callable
        Makes ids.
    """

    kind: ClassVar[ControlType] = ControlType.POWER_ENVELOPE_BASED_CONTROL
    timer: ClassVar[Timer | None] = TIMER

    def __init__(self, wishes: Wishes, new_id: Callable[[], str] = new_id) -> None:
        self._wishes = wishes
        self._new_id = new_id
        self._constraints: Constraints | None = None
        self._next: Constraints | None = None
        self._told: str | None = None

    @property
    def stale(self) -> bool:
        """Whether the constraints that the last instruction was based on are not those that hold."""
        return self._constraints is not None and self._told != self._constraints.constraints_id

    def hear(self, message: S2BaseModel, utc: datetime) -> None:
        """Take constraints, the newest of which holds, and their end."""
        self._due(utc)
        match message:
            case PEBCPowerConstraints():
                found = _constraints(message)
                # The first ones at once, whatever the manager's clock says.
                if self._constraints is not None and found.valid_from > utc:
                    self._next = found
                else:
                    self._constraints, self._next = found, None
            case RevokeObject(object_type=RevokableObjects.PEBC_PowerConstraints):
                revoked = text_of(message.object_id)
                if self._next is not None and revoked == self._next.constraints_id:
                    self._next = None
                elif self._constraints is not None and revoked == self._constraints.constraints_id:
                    self._constraints = None
            case RevokeObject() | PEBCEnergyConstraint():
                pass
            case _:
                raise content(type(message).__name__, "it", "what belongs to PEBC")

    def missing(self) -> str | None:
        """The constraints."""
        return "PEBC.PowerConstraints" if self._constraints is None else None

    def steps(self, target: Target, lasts_s: float | None, utc: datetime) -> tuple[Step, ...]:
        """One instruction: the target while the lease lasts, the failsafe after it."""
        self._due(utc)
        if self._constraints is None:
            raise DeviceError("s2: got no PEBC.PowerConstraints yet")
        constraints_id, rooms = self._constraints.constraints_id, self._constraints.rooms
        parts: list[tuple[int, Target]] = []
        if lasts_s is not None:
            parts.append((math.floor(lasts_s * 1000 + 1e-6), target))
            target = self._wishes.failsafe
        parts.extend((_TAIL_MS, target) for _ in range(_TAILS))
        message_id, instruction_id = self._new_id(), self._new_id()
        instruction = PEBCInstruction.model_validate(
            {
                "message_id": message_id,
                "id": instruction_id,
                # The durations count from here, so that it is not put back as those of other control types are.
                "execution_time": utc,
                "abnormal_condition": False,
                "power_constraints_id": constraints_id,
                "power_envelopes": [
                    {
                        "id": self._new_id(),
                        "commodity_quantity": quantity,
                        "power_envelope_elements": [_element(ms, room, one, len(rooms)) for ms, one in parts],
                    }
                    for quantity, room in rooms.items()
                ],
            }
        )
        self._told = constraints_id
        return (Step(message=instruction, message_id=message_id, instruction_id=instruction_id),)

    def shows(self, target: Target) -> bool:
        """Never: a manager does not say which envelope it keeps."""
        return False

    def limit_w(self, target: Target) -> int | None:
        """W that a manager which keeps this target lets the device take; None where that is not all that it says."""
        if self._constraints is None or not isinstance(target, Power) or target.power_w < 0:
            return None
        rooms = self._constraints.rooms.values()
        chosen = [limits(room, target, len(rooms)) for room in rooms]
        held = all(lower_w == upper_w for lower_w, upper_w in chosen)
        return None if held else round(sum(upper_w for _, upper_w in chosen))

    def reading(self, power_w: int | None) -> Reading:
        """The power alone."""
        return Reading(power_w=power_w, relay_closed=None, closed_s=None, stored_wh=None)

    def _due(self, utc: datetime) -> None:
        if self._next is not None and self._next.valid_from <= utc:
            self._constraints, self._next = self._next, None


def _element(ms: int, room: Room, target: Target, share: int) -> dict[str, float]:
    if isinstance(target, RelayState):
        raise DeviceError(f"s2: got {target}, wanted a power or a limit of production")
    lower_w, upper_w = limits(room, target, share)
    return {"duration": ms, "lower_limit": lower_w, "upper_limit": upper_w}


def _constraints(message: PEBCPowerConstraints) -> Constraints:
    """What may be chosen without an emergency."""
    found: dict[str, dict[PEBCPowerEnvelopeLimitType, list[Band]]] = {}
    quantities = adding_up(one.commodity_quantity for one in message.allowed_limit_ranges)
    for one in message.allowed_limit_ranges:
        if one.commodity_quantity not in quantities or one.abnormal_condition_only:
            continue
        ends = (one.range_boundary.start_of_range, one.range_boundary.end_of_range)
        # The standard wants the smaller first, its own example of a PV installation has it last.
        lower_w, upper_w = sorted(watts("PEBC.PowerConstraints", end) for end in ends)
        bands = found.setdefault(one.commodity_quantity.value, {})
        bands.setdefault(one.limit_type, []).append(Band(lower_w=lower_w, upper_w=upper_w))
    rooms = {
        quantity: Room(
            lower=tuple(bands.get(PEBCPowerEnvelopeLimitType.LOWER_LIMIT, ())),
            upper=tuple(bands.get(PEBCPowerEnvelopeLimitType.UPPER_LIMIT, ())),
        )
        for quantity, bands in found.items()
    }
    if not rooms or not all(room.lower and room.upper for room in rooms.values()):
        raise content("PEBC.PowerConstraints", found, "ranges of a lower and an upper limit of electric power")
    return Constraints(constraints_id=text_of(message.id), valid_from=message.valid_from, rooms=rooms)


def _at_least(bands: tuple[Band, ...], wanted_w: float) -> float | None:
    """The smallest value that is no smaller than this."""
    return min((max(one.lower_w, wanted_w) for one in bands if one.upper_w >= wanted_w), default=None)


def _at_most(bands: tuple[Band, ...], wanted_w: float) -> float | None:
    """The largest value that is no larger than this."""
    return max((min(one.upper_w, wanted_w) for one in bands if one.lower_w <= wanted_w), default=None)


def _farthest(bands: tuple[Band, ...], least_w: float) -> float | None:
    """The largest value, which leaves consumption free."""
    largest_w = max(one.upper_w for one in bands)
    return largest_w if largest_w >= least_w else None
