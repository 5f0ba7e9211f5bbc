"""Limits that nobody can keep, relaxed by just as much: so that one member's impossible part stops nobody else.

What is not controllable may be beyond a limit whatever anybody does: a load above its member's envelope, a cycle that
runs, an owner's override. Then the limit is relaxed to the least that is possible in that MTU, and no further: what can
be controlled under it does all that it can, everybody else is cleared as if the impossible part were fixed. The limit
itself goes on to bind at run time, and what was relaxed is named in the window's record.

Limits that contradict each other on one target hold as the one that asks for less: to take no more, or give no more,
goes before having to take, or to give.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from controller.microgrid import Bounds
from controller.problem import bounds_w, exact_bounds_w, members_under
from controller.snapshot import Snapshot
from controller.tasks import devices_of, horizon_of
from optimization.quantities import Floats
from optimization.reach import least_and_most_kw

KILO = 1000.0
TOLERANCE_W = 1e-3
"""Of a sum of floats; powers are whole watts."""

Range = tuple[Floats, Floats]
"""(T,) and (T,) W: between the first and the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """What a limit was relaxed to.

    Attributes
    ----------
    target : resource name of what is limited
    start, end : Unix seconds, half-open
    lower_w, upper_w : what holds; None where there is no such bound
    relaxed_lower_w, relaxed_upper_w : what the clearing kept instead
    """

    target: str
    start: int
    end: int
    lower_w: int | None
    upper_w: int | None
    relaxed_lower_w: int | None
    relaxed_upper_w: int | None

    def __str__(self) -> str:
        wanted = f"{_text(self.lower_w)} to {_text(self.upper_w)} W"
        return f"{self.target} from {self.start} s: {wanted}, cannot be kept"


def relaxed(snapshot: Snapshot, excess_w: Mapping[str, Range] | None = None, *, demands: bool = True) -> Snapshot:
    """The snapshot with the limits that nothing keeps relaxed, as little as can be.

    Parameters
    ----------
    snapshot : what is decided
    excess_w : by target, how far the least schedules lie below and above its bounds, where single MTUs do not show it
    demands : whether what asks members to take or to give holds: lower bounds above zero, upper ones below
    """
    known = bounds_w(replace(snapshot, relaxed={}, supposed=()))
    if not known:
        return snapshot
    limits = {target: _undisputed(bounds) for target, bounds in known.items()}
    possible = _possible(snapshot, limits)
    periods: dict[str, tuple[Bounds, ...]] = {}
    for target, (lower, upper) in known.items():
        low, high = limits[target]
        least, most = possible[target]
        low, high = np.minimum(low, _down(most)), np.maximum(high, _up(least))
        below, above = (excess_w or {}).get(target, (np.zeros_like(low), np.zeros_like(high)))
        low, high = _down(low - below), _up(high + above)
        if not demands:
            low, high = np.where(lower > 0.0, -np.inf, low), np.where(upper < 0.0, np.inf, high)
        changed = np.flatnonzero((low < lower) | (high > upper))
        if changed.size:
            periods[target] = tuple(
                Bounds(start=start, end=start + snapshot.microgrid.mtu_seconds, lower_w=_whole(a), upper_w=_whole(b))
                for start, a, b in _rows(snapshot, changed, low, high)
            )
    return replace(snapshot, relaxed=dict(sorted(periods.items())))


def relaxations(snapshot: Snapshot, *, end: int | None = None) -> tuple[Relaxation, ...]:
    """What was relaxed in a snapshot, in order of targets and time; equal neighbours are one.

    Parameters
    ----------
    snapshot : as ``relaxed`` made it
    end : Unix seconds, of what begins before it alone; None for all
    """
    known = exact_bounds_w(snapshot)
    place = {start: k for k, start in enumerate(snapshot.mtus())}
    found = []
    for target, periods in snapshot.relaxed.items():
        lower, upper = known[target]
        found += [
            Relaxation(
                target=target,
                start=period.start,
                end=period.end,
                lower_w=_whole(lower[place[period.start]]),
                upper_w=_whole(upper[place[period.start]]),
                relaxed_lower_w=period.lower_w,
                relaxed_upper_w=period.upper_w,
            )
            for period in periods
            if end is None or period.start < end
        ]
    return tuple(_joined(one for one in found if _gave(one)))


def to_json(found: Sequence[Relaxation]) -> str | None:
    """Relaxations as canonical JSON; None where there are none."""
    return json.dumps([asdict(one) for one in found], sort_keys=True, separators=(",", ":")) if found else None


def from_json(text: str | None) -> tuple[Relaxation, ...]:
    """The relaxations that ``to_json`` wrote."""
    return tuple(Relaxation(**values) for values in json.loads(text)) if text else ()


def _gave(one: Relaxation) -> bool:
    """Whether a limit gave at all, and not only what rounding it inwards took."""
    return _least(one.relaxed_lower_w) < _least(one.lower_w) or _most(one.relaxed_upper_w) > _most(one.upper_w)


def _least(power_w: int | None) -> float:
    return -np.inf if power_w is None else power_w


def _most(power_w: int | None) -> float:
    return np.inf if power_w is None else power_w


def _undisputed(bounds: Range) -> Range:
    """The bounds of a target without a contradiction: what lies nearer to rest holds."""
    lower, upper = bounds
    wrong = lower > upper
    calm = np.clip(0.0, np.minimum(lower, upper), np.maximum(lower, upper))
    # Of a lower bound above an upper one the nearer to rest holds, on both sides.
    return np.where(wrong, calm, lower), np.where(wrong, calm, upper)


def _possible(snapshot: Snapshot, limits: Mapping[str, Range]) -> dict[str, Range]:
    """By target, W that its members can take at least and at most in each MTU by itself, under the limits within it."""
    grid = snapshot.microgrid.name
    reach = {member.id: _reach_w(snapshot, member.id) for member in snapshot.members}
    found: dict[str, Range] = {}
    for member, own in reach.items():
        target = f"{grid}/members/{member}"
        found[target] = own
        reach[member] = _within(own, limits.get(target))
    sections: dict[str, Range] = {}
    for section in {member.section for member in snapshot.members}:
        target = f"{grid}/sections/{section}"
        found[target] = _sum(snapshot, (reach[m.id] for m in snapshot.members if m.section == section))
        sections[section] = _within(found[target], limits.get(target))
    for target in limits:
        if target not in found:
            found[target] = _sum(snapshot, sections.values()) if members_under(snapshot, target) else _none(snapshot)
    return found


def _reach_w(snapshot: Snapshot, member: str) -> Range:
    """W that no schedule of a member's devices goes below or above."""
    horizon = horizon_of(snapshot)
    each = [least_and_most_kw(device, horizon) for device in devices_of(snapshot, member)]
    # What was bought before comes in beside what devices are asked for.
    bought = np.array(snapshot.bought_w(member))
    least, most = (np.sum([pair[side] for pair in each], axis=0) * KILO + bought for side in (0, 1))
    return least, most


def _within(reach: Range, limits: Range | None) -> Range:
    """What can be reached under limits on taking and on giving; what asks to take or to give does not count."""
    if limits is None:
        return reach
    (least, most), (lower, upper) = reach, limits
    high = np.minimum(most, np.maximum(np.maximum(upper, 0.0), least))
    low = np.maximum(least, np.minimum(np.minimum(lower, 0.0), most))
    return np.minimum(low, high), np.maximum(low, high)


def _sum(snapshot: Snapshot, parts: Iterable[Range]) -> Range:
    total = _none(snapshot)
    for least, most in parts:
        total = total[0] + least, total[1] + most
    return total


def _none(snapshot: Snapshot) -> Range:
    mtus = len(snapshot.mtus())
    return np.zeros(mtus), np.zeros(mtus)


def _rows(snapshot: Snapshot, places: Iterable[int], low: Floats, high: Floats) -> list[tuple[int, float, float]]:
    starts = snapshot.mtus()
    return [(starts[k], float(low[k]), float(high[k])) for k in places]


def _up(power_w: Floats) -> Floats:
    return np.asarray(np.ceil(power_w - TOLERANCE_W))


def _down(power_w: Floats) -> Floats:
    return np.asarray(np.floor(power_w + TOLERANCE_W))


def _whole(power_w: float) -> int | None:
    return int(power_w) if np.isfinite(power_w) else None


def _text(power_w: int | None) -> str:
    return "any" if power_w is None else str(power_w)


def _joined(found: Iterable[Relaxation]) -> Iterable[Relaxation]:
    """Neighbours of equal bounds as one."""
    open_: Relaxation | None = None
    for one in found:
        if open_ is not None and replace(one, start=open_.start, end=open_.end) == open_ and one.start == open_.end:
            open_ = replace(open_, end=one.end)
            continue
        if open_ is not None:
            yield open_
        open_ = one
    if open_ is not None:
        yield open_
