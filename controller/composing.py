"""What a device is told now: its plan, its owner's override above it, the DSO's limits above both. Pure.

A limit only ever makes a power smaller: it opens a relay, moves a power towards 0, lowers what may be produced. Where
nothing is planned the device does what its failsafe says, so that a limit which the failsafe would break is told as a
setpoint of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

from controller.flexibility import Flexibility, Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import SetpointKind


class Cap(Protocol):
    """The most that a device may consume and produce."""

    @property
    def max_consumption_w(self) -> int | None:
        """W; None does not bind."""

    @property
    def max_production_w(self) -> int | None:
        """W, not negative; None does not bind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLimit:
    """A limit that binds a device.

    Attributes
    ----------
    name : of the envelope
    payload, signature, key_id : as the DSO signed it; empty where nobody did
    """

    name: str
    payload: bytes = b""
    signature: bytes = b""
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What a device shall do: ``value`` as its ``kind`` says."""

    kind: SetpointKind
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What an owner wants instead of the plan, until an instant (Unix seconds)."""

    target: Target
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What a device shall do in ``[start, end)``, Unix seconds.

    Attributes
    ----------
    target : what
    window : the window that planned it; empty where none did
    curtailed : whether a limit made it smaller
    """

    start: int
    end: int
    target: Target
    window: str = ""
    curtailed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """What a device takes and gives where it is on.

    Attributes
    ----------
    closed_w : what it may take at most while its relay is closed; None where that is not known
    consumption, production : W between which it is free beside 0, ascending; None where it is free anyway
    """

    closed_w: int | None = None
    consumption: tuple[tuple[int, int], ...] | None = None
    production: tuple[tuple[int, int], ...] | None = None


UNKNOWN = Ratings()
"""Of a device of which nothing is known: a limit opens its relay."""


def ratings_of(flexibility: Flexibility) -> Ratings:
    """What a device takes and gives where it is on, as it was registered."""
    match flexibility:
        case Relay(rated_w=rated_w) | Thermostat(modulating=False, rated_w=rated_w):
            return Ratings(closed_w=rated_w)
        case Programme() as programme:
            return Ratings(closed_w=max(programme.profile_w))
        case Thermostat(min_w=min_w, rated_w=rated_w):
            return Ratings(closed_w=rated_w, consumption=((min_w, rated_w),))
        case Generator(min_w=min_w, max_w=max_w):
            return Ratings(closed_w=0, production=((min_w, max_w),))
        case Vehicle(levels=levels):
            return Ratings(consumption=tuple((level.lower_w, level.upper_w) for level in levels))
        case Storage() | Plant():
            return UNKNOWN
        case _ as never:
            assert_never(never)


def limited(target: Target, cap: Cap | None, ratings: Ratings) -> Target:
    """The target, or what is left of it under a cap."""
    if cap is None:
        return target
    match target.kind:
        case SetpointKind.RELAY:
            most = cap.max_consumption_w
            fits = most is None or (ratings.closed_w is not None and ratings.closed_w <= most)
            return target if fits else Target(target.kind, 0)
        case SetpointKind.PRODUCTION_LIMIT:
            return Target(target.kind, _least(target.value, cap.max_production_w))
        case SetpointKind.POWER if target.value >= 0:
            return Target(target.kind, _shrunk(target.value, cap.max_consumption_w, ratings.consumption))
        case SetpointKind.POWER:
            return Target(target.kind, -_shrunk(-target.value, cap.max_production_w, ratings.production))
        case _ as never:
            assert_never(never)


def _least(value: int, most: int | None) -> int:
    return value if most is None else min(value, max(0, most))


def _shrunk(power_w: int, most: int | None, ranges: tuple[tuple[int, int], ...] | None) -> int:
    """A power that a cap shrinks: the largest that the device can have under it, at worst 0."""
    least = _least(power_w, most)
    if least == power_w or ranges is None:
        return least
    return max((min(least, upper) for lower, upper in ranges if lower <= least), default=0)


def compose(
    planned: Sequence[Stretch],
    *,
    override: Override | None,
    failsafe: Target | None,
    cap: Cap | None,
    ratings: Ratings,
    now: int,
    until: int,
) -> tuple[Stretch, ...]:
    """What a device is told for ``[now, until)``.

    Parameters
    ----------
    planned : in order of time, none overlapping another
    override : in the place of what is planned as long as it lasts
    failsafe : what the device does where nobody tells it anything; None where that is not known
    cap : limits that hold now, and are kept in all that is told; a looser one is told anew
    ratings : of the device
    now, until : Unix seconds

    Returns
    -------
    stretches : in order of time; where they leave gaps, the failsafe holds
    """
    wanted = [s for s in planned if s.end > now and s.start < until]
    if override is not None and override.until > now:
        first = Stretch(start=now, end=override.until, target=override.target)
        later = [replace(s, start=max(s.start, override.until)) for s in wanted if s.end > override.until]
        wanted = [first, *later]
    if cap is None:
        return tuple(wanted)
    told = [_under(cap, stretch, ratings) for stretch in wanted]
    if failsafe is not None:
        gaps = [_under(cap, gap, ratings) for gap in _gaps(wanted, failsafe, now=now, until=until)]
        told += [gap for gap in gaps if gap.curtailed]
    return tuple(sorted(told, key=lambda stretch: stretch.start))


def _under(cap: Cap, stretch: Stretch, ratings: Ratings) -> Stretch:
    target = limited(stretch.target, cap, ratings)
    if target == stretch.target:
        return stretch
    return Stretch(start=stretch.start, end=stretch.end, target=target, window=stretch.window, curtailed=True)


def _gaps(wanted: Iterable[Stretch], failsafe: Target, *, now: int, until: int) -> list[Stretch]:
    """The failsafe, spelled out where nothing is wanted."""
    gaps = []
    reached = now
    for stretch in wanted:
        if stretch.start > reached:
            gaps.append(Stretch(start=reached, end=stretch.start, target=failsafe))
        reached = stretch.end
    if reached < until:
        gaps.append(Stretch(start=reached, end=until, target=failsafe))
    return gaps


def seen(stretches: Iterable[Stretch], *, start: int, end: int) -> tuple[tuple[int, int, Target], ...]:
    """What a driver would see of stretches in ``[start, end)``: two that give the same are the same to it."""
    parts: list[tuple[int, int, Target]] = []
    for stretch in stretches:
        first, last = max(stretch.start, start), min(stretch.end, end)
        if first >= last:
            continue
        if parts and parts[-1][1] == first and parts[-1][2] == stretch.target:
            parts[-1] = (parts[-1][0], last, stretch.target)
        else:
            parts.append((first, last, stretch.target))
    return tuple(parts)
