"""Which powers a device can run at: what is left of it when a cap cuts into its plan."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import assert_never

from controller.errors import InputError
from controller.flexibility import Flexibility, Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle

LARGEST_W = 10**9
"""The largest power that counts: sums over a million devices stay exact in a float64's 53 bits."""


Reach = tuple[tuple[int, int], ...]
"""Powers above zero, as (least, most) in W, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Powers between which a device is free.

    Attributes
    ----------
    min_w, max_w : W, both belonging to it, 0 <= min <= max; equal where there is one power only
    """

    min_w: int
    max_w: int

    def __post_init__(self) -> None:
        if not 0 <= self.min_w <= self.max_w <= LARGEST_W:
            raise InputError(f"level: got [{self.min_w}, {self.max_w}] W, wanted 0 <= min <= max <= {LARGEST_W}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """The powers at which a device can run besides zero, which is always allowed.

    Attributes
    ----------
    consumption, production : ascending, none overlapping another; empty where it does neither
    """

    consumption: tuple[Level, ...] = ()
    production: tuple[Level, ...] = ()

    def __post_init__(self) -> None:
        for name, levels in (("consumption", self.consumption), ("production", self.production)):
            if any(upper.min_w <= lower.max_w for lower, upper in pairwise(levels)):
                raise InputError(f"ability.{name}: got {levels}, wanted ascending levels that do not overlap")

    @property
    def max_consumption_w(self) -> int:
        """The most that it can draw."""
        return self.consumption[-1].max_w if self.consumption else 0

    @property
    def max_production_w(self) -> int:
        """The most that it can feed in."""
        return self.production[-1].max_w if self.production else 0


def reach(levels: Sequence[Level], planned_w: int) -> Reach:
    """The powers above zero, as (least, most), that a device has at or below what is planned, ascending.

    A plan that lies between two levels, or below the first, is itself one power more: the device was told so.
    """
    if planned_w <= 0:
        return ()
    if len(levels) == 1 and levels[0].min_w <= planned_w <= levels[0].max_w:  # nearly always
        return ((levels[0].min_w, planned_w),)
    below = tuple((level.min_w, min(level.max_w, planned_w)) for level in levels if level.min_w <= planned_w)
    if below and below[-1][1] == planned_w:
        return below
    return (*below, (planned_w, planned_w))


def ability_of(flexibility: Flexibility) -> Ability:
    """The powers at which a registered device can run.

    Raises
    ------
    InputError
        If these are none: powers out of range or order.
    """
    consumption: tuple[tuple[int, int], ...] = ()
    production: tuple[tuple[int, int], ...] = ()
    match flexibility:
        case Relay(rated_w=rated_w) | Thermostat(modulating=False, rated_w=rated_w):
            consumption = ((rated_w, rated_w),)
        case Thermostat(min_w=min_w, rated_w=rated_w):
            consumption = ((min_w, rated_w),)
        case Programme():
            peak_w = max(flexibility.profile_w, default=0)
            consumption = ((peak_w, peak_w),)
        case Storage(max_charge_w=charge_w, max_discharge_w=discharge_w):
            consumption, production = ((0, charge_w),), ((0, discharge_w),)
        case Vehicle(levels=levels, max_discharge_w=discharge_w):
            consumption = _joined((level.lower_w, level.upper_w) for level in levels)
            production = ((0, discharge_w),)
        case Plant(rated_w=rated_w):
            production = ((0, rated_w),)
        case Generator(min_w=min_w, max_w=max_w):
            production = ((min_w, max_w),)
        case never:
            assert_never(never)
    return Ability(
        consumption=tuple(Level(min_w=least, max_w=most) for least, most in consumption),
        production=tuple(Level(min_w=least, max_w=most) for least, most in production),
    )


def _joined(spans: Iterable[tuple[int, int]]) -> Reach:
    """The same powers without a power at which one span ends and the next begins; ascending as they are."""
    joined: list[tuple[int, int]] = []
    for least, most in spans:
        if joined and least == joined[-1][1]:
            joined[-1] = joined[-1][0], most
        else:
            joined.append((least, most))
    return tuple(joined)
