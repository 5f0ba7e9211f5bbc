"""What a device is told now: its plan, its owner's override above it, the DSO's limits above both. Pure.

A limit only ever makes a power smaller: it opens a relay, moves a power towards 0, lowers what may be produced. Where
nothing is planned the device does what its failsafe says, so that a limit which the failsafe would break is told as a
setpoint of its own.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from controller.clamp import Ability, Cap, Level, Planned, ability_of, capped
from controller.clamp.ability import LARGEST_W
from controller.errors import InputError
from controller.flexibility import Flexibility, Plant
from controller.microgrid import SetpointKind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLimit:
    """A limit that binds a device.

    Attributes
    ----------
    name : of the envelope or default, as in a `Band`
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


_ANY = (Level(min_w=0, max_w=LARGEST_W),)
UNKNOWN = Ability(consumption=_ANY, production=_ANY)
"""Of a device of which nothing is known: a limit on what it would do opens its relay."""


def believed_ability(device: str, flexibility: Flexibility) -> Ability:
    """The powers at which a registered device can run; any where its registration makes none, which the log says.

    What was taken and stored once must keep neither the service from its start nor others' limits from being kept.
    """
    try:
        return ability_of(flexibility)
    except InputError as err:
        log.warning("device %s: counted at its worst case, of any power: %s", device, err)
        return UNKNOWN


def unplanned(flexibility: Flexibility) -> Target | None:
    """What a device counts as doing where nothing is planned and its driver did not say what its failsafe is.

    A plant produces what it can, and whoever bounds that makes it do nothing else. Of others nobody knows.
    """
    return Target(SetpointKind.PRODUCTION_LIMIT, flexibility.rated_w) if isinstance(flexibility, Plant) else None


def compose(
    planned: Sequence[Stretch],
    *,
    override: Override | None,
    failsafe: Target | None,
    cap: Cap | None,
    ability: Ability,
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
    ability : the powers at which the device can run
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
    told = [_under(cap, stretch, ability) for stretch in wanted]
    if failsafe is not None:
        gaps = [_under(cap, gap, ability) for gap in _gaps(wanted, failsafe, now=now, until=until)]
        told += [gap for gap in gaps if gap.curtailed]
    return tuple(sorted(told, key=lambda stretch: stretch.start))


def _under(cap: Cap, stretch: Stretch, ability: Ability) -> Stretch:
    told = capped(Planned(kind=stretch.target.kind, value=stretch.target.value), cap, ability)
    if told.value == stretch.target.value:
        return stretch
    target = Target(told.kind, told.value)
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
