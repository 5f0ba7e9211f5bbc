"""Energy that a member took, or did not take, as it was told: its position is corrected by it, at its own prices.

Who obeys is in no imbalance. What was instructed is counted once, whoever instructed it: each instruction says how far
the member's energy was to move, the furthest counts, and of what several asked for the first in order of causes bears
the cost: the DSO's limit, demand response, then the controller. No more is corrected than was instructed, nor than the
meter shows.

A corrected Wh undoes what the member traded: energy that it bought and did not take comes back at what it paid, its
cheapest purchases first; energy that it sold and did not give is paid back at what it got, its dearest sales first.
Beyond its trades the tariff counts. So obeying costs nothing, and trading more than one needs in the hope of being
told to do less brings nothing. The payer makes up for what the energy is worth less, or costs more, at the tariff.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from controller.ledger import LedgerError, require_energy


class Cause(Enum):
    """Why a member's energy was to differ from its trades; in the order in which they count."""

    LIMIT = "LIMIT"
    DEMAND_RESPONSE = "DEMAND_RESPONSE"
    CONTROLLER = "CONTROLLER"


_ORDER = {cause: place for place, cause in enumerate(Cause)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What a member was told in an MTU; either ``energy_wh`` or bounds are given.

    Attributes
    ----------
    member, mtu_start : who, and when in Unix seconds
    cause : why
    payer : the account that makes up for it: ``dso:{id}``, ``aggregator:{id}`` or ``community``
    energy_wh : how much more (positive) or less (negative) than traded its devices were let take; those of several
        devices add up
    lower_wh, upper_wh : the least and the most that it was to take in all; None does not bind
    most_wh : as much is corrected by bounds at most, not negative: what it traded beyond that was not for them; None
        for any
    """

    member: str
    mtu_start: int
    cause: Cause
    payer: str
    energy_wh: int | None = None
    lower_wh: int | None = None
    upper_wh: int | None = None
    most_wh: int | None = None

    def __post_init__(self) -> None:
        name = f"instruction of {self.member} at {self.mtu_start}"
        bounded = self.lower_wh is not None or self.upper_wh is not None
        if (self.energy_wh is None) is not bounded:
            raise LedgerError(f"{name}: got {self}, wanted either energy_wh, or lower_wh, upper_wh or both")
        if self.most_wh is not None and (self.most_wh < 0 or not bounded):
            raise LedgerError(f"{name}.most_wh: got {self.most_wh} Wh, wanted none negative, beside a bound")
        for field in ("energy_wh", "lower_wh", "upper_wh", "most_wh"):
            if (value := getattr(self, field)) is not None:
                require_energy(f"{name}.{field}", value)

    @property
    def place(self) -> tuple[str, int]:
        """Whose energy of which MTU."""
        return self.member, self.mtu_start


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A part of an imbalance that was told.

    Attributes
    ----------
    cause, payer : of the instruction that it is for
    energy_wh : positive where more was taken, or less given, than traded
    """

    cause: Cause
    payer: str
    energy_wh: int


def by_place(instructions: Iterable[Instruction]) -> dict[tuple[str, int], list[Instruction]]:
    """Instructions by member and MTU, in the order in which they count."""
    found: defaultdict[tuple[str, int], list[Instruction]] = defaultdict(list)
    for instruction in sorted(instructions, key=_rank):
        found[instruction.place].append(instruction)
    return dict(found)


def _rank(one: Instruction) -> tuple[int, str, int, int, int, int]:
    # None sorts after every number; what ties in all of this is the same.
    last = 10**13
    return (
        _ORDER[one.cause],
        one.payer,
        last if one.energy_wh is None else one.energy_wh,
        last if one.lower_wh is None else one.lower_wh,
        last if one.upper_wh is None else one.upper_wh,
        last if one.most_wh is None else one.most_wh,
    )


def corrected(instructions: Sequence[Instruction], position_wh: int, metered_wh: int) -> list[Corrected]:
    """The parts of an imbalance that were told, in the order of the instructions; together no more than the imbalance.

    Parameters
    ----------
    instructions : of one member and MTU, in the order in which they count
    position_wh : net purchase by trades
    metered_wh : net consumption
    """
    imbalance = metered_wh - position_wh
    sign = 1 if imbalance > 0 else -1
    reached = told = 0
    parts: list[Corrected] = []
    for one in instructions:
        if one.energy_wh is not None:
            told += one.energy_wh
            asked = sign * told
        else:
            bound = one.lower_wh if sign > 0 else one.upper_wh
            asked = 0 if bound is None else sign * (bound - position_wh)
            if one.most_wh is not None:
                asked = min(asked, one.most_wh)
        asked = min(asked, abs(imbalance))
        if asked <= reached:
            continue
        part = Corrected(cause=one.cause, payer=one.payer, energy_wh=sign * (asked - reached))
        if parts and (parts[-1].cause, parts[-1].payer) == (part.cause, part.payer):
            part = replace(part, energy_wh=parts.pop().energy_wh + part.energy_wh)
        parts.append(part)
        reached = asked
    return parts


class Undoing:
    """A member's trades of an MTU, undone bit by bit.

    Parameters
    ----------
    trades : Wh by price, those that are undone first in front: its purchases, the cheapest first, where it took less;
        its sales, the dearest first, where it gave less
    tariff : micro-currency per kWh beyond them: the export price where it took less, else the import price
    """

    def __init__(self, trades: Iterable[tuple[int, int]], tariff: int) -> None:
        self._left = [[price, energy] for price, energy in trades]
        self._tariff = tariff

    def take(self, energy_wh: int) -> int:
        """Wh times price of so much more, exact."""
        product = 0
        while energy_wh and self._left:
            price, there = self._left[0]
            part = min(energy_wh, there)
            product += part * price
            energy_wh -= part
            if part == there:
                del self._left[0]
            else:
                self._left[0][1] -= part
        return product + energy_wh * self._tariff
