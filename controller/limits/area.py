"""The limits of one microgrid: which of them count at an instant, and what they make together.

Of a source, on a target and on each side (lower, upper) apart, at every instant the envelope with the lowest primacy
counts, of equal ones the newest; what it supersedes stays superseded, also when it is cancelled. Where none counts the
source's default holds; where there is no default, everything superseded that was not cancelled itself holds again.
While a DSO has no control its default holds beside its envelopes; without a default, what held when it lost control.
Sources hold at once. So nothing but the source's own word ever ends in no limit.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from operator import attrgetter
from typing import NamedTuple

from controller.limits.segments import Segment, segments_of, without
from controller.limits.supervision import Control
from controller.limits.values import UNBOUNDED, Band, Default, Envelope, Side, Signature, Source, Standing

Place = tuple[str, Source]
"""A target and a source."""

Made = tuple[float, float, Band]
"""What one source makes of a target from one instant to another."""


class Entry(NamedTuple):
    """From when to when an envelope speaks, its number in order of arrival, its id and primacy; sorted by ends."""

    end: int
    number: int
    start: int
    id: str
    primacy: int


class Area:
    """One microgrid's envelopes and defaults, in the order in which they were accepted.

    ``rating`` bounds what it names beside them, as a connection's rating does.
    """

    def __init__(self) -> None:
        self.envelopes: dict[str, Envelope] = {}
        self.defaults: dict[Place, Default] = {}
        self._rating: dict[str, Band] = {}
        self._cancelled: set[str] = set()
        self._live: dict[tuple[str, Side], tuple[Segment, ...]] = {}
        # No envelope is ever left out for its age: by which clock should that be told? Sorted, so that a year's of them
        # are passed over at once.
        self._by_place: dict[Place, list[Entry]] = {}
        # Of these, with the time in which they count, those that count at any time.
        self._alive: dict[Place, list[Entry]] = {}
        # Places whose lists no other area has.
        self._own: set[Place] = set()
        self._made: dict[tuple[Place, Control], Made] = {}
        self._held: dict[Place, Band] = {}
        self._counters: dict[str, int] = {}
        self._places: dict[str, tuple[Place, ...]] = {}

    def copy(self) -> "Area":
        """An area that can be changed without changing this one."""
        other = Area()
        self._own.clear()  # from now on lists are shared
        other.envelopes, other.defaults = dict(self.envelopes), dict(self.defaults)
        other._rating, other._held = dict(self._rating), dict(self._held)
        other._cancelled, other._live = set(self._cancelled), dict(self._live)
        other._by_place, other._alive, other._made = dict(self._by_place), dict(self._alive), dict(self._made)
        other._counters, other._places = dict(self._counters), dict(self._places)
        return other

    def add(self, envelope: Envelope) -> None:
        """Take an envelope in: it supersedes what it overlaps, or is superseded by it."""
        place = envelope.target, envelope.source
        entries, alive = self._lists(place)
        first, last, primacy = envelope.periods[0].start, envelope.ends, envelope.primacy
        # Of those that supersede it the whole counts, so that what a third one took from them is not given to it.
        above = [
            one.id
            for one in entries[_after(entries, first) :]
            if one.primacy < primacy and one.start < last and one.id not in self._cancelled
        ]
        below = [one for one in alive[_after(alive, first) :] if one.primacy >= primacy and one.start < last]
        for one in below:
            alive.pop(bisect_left(alive, one))
        for side in Side:
            own = segments_of(envelope, side)
            for id_ in above:
                own = without(own, segments_of(self.envelopes[id_], side))
            for one in below:
                self._live[one.id, side] = without(self._live[one.id, side], own)
            self._live[envelope.id, side] = own
        entry = Entry(end=last, number=len(self.envelopes), start=first, id=envelope.id, primacy=primacy)
        insort(entries, entry)
        for one in (*below, entry):
            if (living := self._living(one)) is not None:
                insort(alive, living)
        self.envelopes[envelope.id] = envelope
        self._count(envelope)
        self._note_place(place)
        self._make_anew(place)

    def cancel(self, id_: str) -> None:
        """Let an envelope count no more; what it superseded stays superseded."""
        self._cancelled.add(id_)
        place = self.envelopes[id_].target, self.envelopes[id_].source
        alive = self._lists(place)[1]
        if parts := [part for side in Side for part in self._live[id_, side]]:
            end = max(part.end for part in parts)
            first, last = bisect_left(alive, (end,)), _after(alive, end)
            alive[first:last] = [one for one in alive[first:last] if one.id != id_]
        for side in Side:
            self._live[id_, side] = ()
        self._make_anew(place)

    def set_default(self, default: Default) -> None:
        """Replace a source's default on a target."""
        place = default.target, default.source
        self.defaults[place] = default
        self._count(default)
        self._note_place(place)
        self._make_anew(place)

    def holding(self, holder: str, controls: Mapping[str, Control], instant: float) -> dict[Place, Band]:
        """What a DSO's envelopes come to at an instant, where that bounds anything."""
        places = [place for places in self._places.values() for place in places if place[1].holder == holder]
        control = controls.get(holder, Control.INIT)
        found = {place: self._of_place(place, instant, control) for place in places}
        return {place: band for place, band in found.items() if band.lower_w is not None or band.upper_w is not None}

    def hold(self, bands: Mapping[Place, Band]) -> None:
        """Remember what held when control was lost, for a failsafe without defaults."""
        self._held |= bands
        for place in bands:
            self._make_anew(place)

    def holds(self, holder: str) -> bool:
        """Whether anything of a DSO is held."""
        return any(place[1].holder == holder for place in self._held)

    def release(self, holder: str) -> None:
        """Forget what was held: the DSO has control again."""
        for place in [place for place in self._held if place[1].holder == holder]:
            del self._held[place]
            self._make_anew(place)

    def rate(self, rating: Mapping[str, Band]) -> None:
        """Replace the bounds that nobody's envelope or default makes."""
        self._rating = dict(rating)

    def targets(self) -> tuple[str, ...]:
        """Everything that is bounded by anything, in order."""
        return tuple(sorted({*self._places, *self._rating}))

    def effective(self, target: str, instant: float, controls: Mapping[str, Control]) -> Band:
        """What holds on a target at an instant."""
        band = self._rating.get(target, UNBOUNDED)
        for place in self._places.get(target, ()):
            control = controls.get(place[1].holder, Control.INIT)
            band = self._of_place(place, instant, control).meet(band)
        return band

    def stated(self, target: str) -> Band:
        """What the defaults on a target come to together."""
        band = UNBOUNDED
        for (name, _), default in sorted(self.defaults.items()):
            if name == target:
                band = band.meet(_band(default))
        return band

    def changes(self, target: str, start: int, end: int) -> list[int]:
        """The instants in ``(start, end)`` at which what holds on a target may change."""
        instants = {
            edge
            for place, entries in self._by_place.items()
            if place[0] == target
            for one in entries[_after(entries, start) :]
            if one.start < end and one.id not in self._cancelled
            for side in Side
            for segment in segments_of(self.envelopes[one.id], side)
            for edge in (segment.start, segment.end)
        }
        return sorted(edge for edge in instants if start < edge < end)

    def standing(self, id_: str, instant: float) -> Standing:
        """Whether an envelope counts."""
        if id_ in self._cancelled:
            return Standing.CANCELLED
        if instant >= self.envelopes[id_].ends:
            return Standing.EXPIRED
        return Standing.ACTIVE if any(self._live[id_, side] for side in Side) else Standing.SUPERSEDED

    def effective_intervals(self, id_: str) -> tuple[tuple[int, int], ...]:
        """The parts of its periods in which an envelope counts on either side, merged."""
        parts = sorted({(segment.start, segment.end) for side in Side for segment in self._live[id_, side]})
        merged: list[tuple[int, int]] = []
        for start, end in parts:
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], end)
            else:
                merged.append((start, end))
        return tuple(merged)

    def counter(self, key_id: str) -> int:
        """The highest counter that a key has signed, of what was replaced since, too."""
        return self._counters.get(key_id, 0)

    def signed(self, name: str, target: str) -> Signature | None:
        """What was signed of a limit that binds a target, by its name in a `Band`; defaults of a source share one."""
        envelope = self.envelopes.get(name.rpartition("/envelopes/")[2])
        if envelope is not None and envelope.name == name:
            return envelope.signed
        stated = (
            default
            for place in self._places.get(target, ())
            if (default := self.defaults.get(place)) is not None and f"default:{default.source}" == name
        )
        return next((default.signed for default in stated), None)

    def holder(self, name: str, target: str) -> str:
        """The id of the DSO whose a limit is, by its target and its name in a `Band`; empty where it is nobody's."""
        envelope = self.envelopes.get(name.rpartition("/envelopes/")[2])
        if envelope is not None and envelope.name == name:
            return envelope.source.holder
        places = self._places.get(target, ())
        return next((at[1].holder for at in places if name in {f"default:{at[1]}", f"held:{at[1]}"}), "")

    def _lists(self, place: Place) -> tuple[list[Entry], list[Entry]]:
        """A place's envelopes, and those of them that count at any time: lists that may be changed."""
        if place not in self._own:
            self._by_place[place] = list(self._by_place.get(place, ()))
            self._alive[place] = list(self._alive.get(place, ()))
            self._own.add(place)
        return self._by_place[place], self._alive[place]

    def _count(self, item: Envelope | Default) -> None:
        self._counters[item.signed.key_id] = max(item.counter, self._counters.get(item.signed.key_id, 0))

    def _note_place(self, place: Place) -> None:
        known = self._places.get(place[0], ())
        if place not in known:
            self._places[place[0]] = tuple(sorted((*known, place)))

    def _make_anew(self, place: Place) -> None:
        for control in Control:
            self._made.pop((place, control), None)

    def _of_place(self, place: Place, instant: float, control: Control) -> Band:
        """What one source makes of a target; remembered until an envelope begins or ends to speak."""
        made = self._made.get((place, control))
        if made is None or not made[0] <= instant < made[1]:
            made = self._made[place, control] = self._make(place, instant, control)
        return made[2]

    def _living(self, entry: Entry) -> Entry | None:
        """From when to when an envelope counts; None where it does nowhere."""
        parts = [part for side in Side for part in self._live[entry.id, side]]
        if not parts:
            return None
        return entry._replace(start=min(part.start for part in parts), end=max(part.end for part in parts))

    def _make(self, place: Place, instant: float, control: Control) -> Made:
        default = self.defaults.get(place)
        stated = UNBOUNDED if default is None else _band(default)
        since, until, band = -inf, inf, UNBOUNDED
        for side in Side:
            has_default = (stated.lower_w if side is Side.LOWER else stated.upper_w) is not None
            spoken = self._spoken(place, side, instant, counting=True)
            since, until = max(since, spoken.since), min(until, spoken.until)
            if not spoken.values and not has_default:  # what was superseded holds again
                spoken = self._spoken(place, side, instant, counting=False)
                since, until = max(since, spoken.since), min(until, spoken.until)
            for name, value in spoken.values:
                band = band.meet(_one_sided(side, value, name))
            if has_default and (control is not Control.CONTROLLED or not spoken.values):
                band = band.meet(_only(stated, side))
        # After a restart what was held before it still is.
        if control is not Control.CONTROLLED and (held := self._held.get(place)) is not None:
            # Of a side with a default the default is the failsafe; what was held stands in for a missing one.
            name = f"held:{place[1]}"
            kept = replace(
                held,
                lower_w=held.lower_w if stated.lower_w is None else None,
                upper_w=held.upper_w if stated.upper_w is None else None,
                binding_lower=name,
                binding_upper=name,
            )
            band = band.meet(kept)
        return since, until, band

    def _spoken(self, place: Place, side: Side, instant: float, *, counting: bool) -> "_Spoken":
        """What envelopes say of a side: where they count, or everything that was not cancelled."""
        spoken = _Spoken()
        entries = (self._alive if counting else self._by_place).get(place, [])
        begin = _after(entries, instant)
        if begin:
            spoken.since = entries[begin - 1].end
        left = entries[begin:]
        spoken.until = min((one.start for one in left if one.start > instant), default=inf)
        speaking = [one for one in left if one.start <= instant and (counting or one.id not in self._cancelled)]
        for one in sorted(speaking, key=attrgetter("number")):
            envelope = self.envelopes[one.id]
            for segment in self._live[one.id, side] if counting else segments_of(envelope, side):
                if segment.holds_at(instant):
                    spoken.values.append((envelope.name, segment.value_w))
                spoken.note(segment.start, instant)
                spoken.note(segment.end, instant)
        return spoken


@dataclass(slots=True)
class _Spoken:
    """Names and values that hold at an instant, and from when to when nothing changes about that."""

    values: list[tuple[str, int]] = field(default_factory=list)
    since: float = -inf
    until: float = inf

    def note(self, edge: int, instant: float) -> None:
        """Something begins or ends there."""
        if edge <= instant:
            self.since = max(self.since, edge)
        else:
            self.until = min(self.until, edge)


def _after(entries: list[Entry], instant: float) -> int:
    """Where those begin that end after an instant."""
    return bisect_left(entries, (instant, inf))


def _band(default: Default) -> Band:
    name = f"default:{default.source}"
    return Band(lower_w=default.lower_w, upper_w=default.upper_w, binding_lower=name, binding_upper=name)


def _one_sided(side: Side, value: int, name: str) -> Band:
    if side is Side.LOWER:
        return Band(lower_w=value, binding_lower=name)
    return Band(upper_w=value, binding_upper=name)


def _only(band: Band, side: Side) -> Band:
    if side is Side.LOWER:
        return Band(lower_w=band.lower_w, binding_lower=band.binding_lower)
    return Band(upper_w=band.upper_w, binding_upper=band.binding_upper)
