"""Registers that nobody read, by a declared rule, from those that are known before and after.

An estimate follows from the known registers alone, whenever it is made and in whatever order they came in. Between two
known registers it shares out what flowed between them, so that it never goes beyond either; after the last known one
the profile rule goes on as on the member's own last comparable days. Where the true register comes in, the estimates
around it follow, and what was settled with them is corrected.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property
from itertools import pairwise
from zoneinfo import ZoneInfo

from controller.microgrid import ESTIMATED, FAULTY, MEASURED, SUBSTITUTED, MeterReading
from controller.registers import Meter, Registers

TRUE = (MEASURED, SUBSTITUTED)
"""Qualities of registers that bind: no estimate contradicts them."""
DAYS = 10
LOOK_BACK_S = 28 * 86_400
"""Of the four weeks before a gap the ten newest comparable days make its profile."""
WORKING_DAYS = 5


class EstimationRule(Enum):
    """How a register is estimated that nobody read."""

    NONE = "NONE"
    LINEAR = "LINEAR"
    PROFILE = "PROFILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimation:
    """What a microgrid declared about missing readings.

    Attributes
    ----------
    rule : NONE waits for the reading
    after_minutes : after the end of a window, before which its readings are waited for
    loss_permille : how much of what goes through a feeder may be lost; None for any
    """

    rule: EstimationRule = EstimationRule.NONE
    after_minutes: int = 0
    loss_permille: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How time is divided: by market time units of ``mtu_seconds`` that begin at ``start``, and by days of a zone."""

    start: int
    mtu_seconds: int
    time_zone: str

    def mtus(self, start: int, end: int) -> range:
        """The starts of all MTUs that overlap ``[start, end)``."""
        return range(start - (start - self.start) % self.mtu_seconds, end, self.mtu_seconds)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What is known of a member's registers, and what follows of those that are not.

    Attributes
    ----------
    member : whose
    readings : its readings in order of time, at most one an instant, from long enough before what is asked for
    meter : through which replacements and rollovers they went
    rule : how gaps are filled
    grid : how time is divided
    """

    member: str
    readings: Sequence[MeterReading]
    meter: Meter
    rule: EstimationRule
    grid: Grid

    def at(self, instant: int) -> MeterReading | None:
        """The register at an instant: as it was read, else estimated; None where the rule does not reach."""
        found = self._by_instant.get(instant)
        if found is not None or self.rule is EstimationRule.NONE:
            return found
        before, after = self._around(instant)
        if self.rule is EstimationRule.LINEAR and (before is None or after is None):
            return None
        if before is None:
            # Of what was before the first that is known nothing is said: nothing flowed.
            stands = Registers(import_wh=0, export_wh=0) if after is None else Registers.of(after)
            return self._estimate(instant, stands)
        share = self._share(before, after, instant)
        rollover_wh = self.meter.rollover_wh(instant)
        last = Registers.of(before) + share
        if rollover_wh is not None:
            last = Registers(import_wh=last.import_wh % rollover_wh, export_wh=last.export_wh % rollover_wh)
        return self._estimate(instant, last)

    def _estimate(self, instant: int, registers: Registers) -> MeterReading:
        return _reading(self.member, instant, registers, ESTIMATED)

    def _share(self, before: MeterReading, after: MeterReading | None, instant: int) -> Registers:
        """What flowed from a known register until an instant of the gap after it."""
        if self.rule is EstimationRule.PROFILE:
            until = self._usual(before.instant, instant)
            if after is None:
                return until
            whole = self._usual(before.instant, after.instant)
        else:
            until = whole = Registers(import_wh=0, export_wh=0)
        assert after is not None  # without one the linear rule has no estimate
        flowed = self.meter.flow(before, after).counted
        part, length = instant - before.instant, after.instant - before.instant
        return Registers(
            import_wh=_portion(flowed.import_wh, until.import_wh, whole.import_wh, part, length),
            export_wh=_portion(flowed.export_wh, until.export_wh, whole.export_wh, part, length),
        )

    @cached_property
    def _known(self) -> tuple[MeterReading, ...]:
        """The readings that count, in order of time: a reported estimate only where it fits between true registers."""
        points = self._points
        true = [reading for reading in points if reading.quality in TRUE]
        found: list[MeterReading] = []
        passed = 0
        for reading in points:
            if reading.quality in TRUE:
                found.append(reading)
                passed += 1
                continue
            after = true[passed] if passed < len(true) else None
            fits = [self._fits(found[-1], reading)] if found else []
            fits += [self._fits(reading, after)] if after is not None else []
            if all(fits):
                found.append(reading)
        return tuple(found)

    @cached_property
    def _points(self) -> tuple[MeterReading, ...]:
        """The readings but for faulty ones, and the first registers of meters that were put in another's place."""
        found = {reading.instant: reading for reading in self.readings if reading.quality != FAULTY}
        for change in self.meter.changes:
            if change.first is not None and change.instant not in found:
                found[change.instant] = _reading(self.member, change.instant, change.first, SUBSTITUTED)
        return tuple(found[instant] for instant in sorted(found))

    def _fits(self, before: MeterReading, after: MeterReading) -> bool:
        return not self.meter.flow(before, after).back

    @cached_property
    def _by_instant(self) -> dict[int, MeterReading]:
        return {reading.instant: reading for reading in self._known}

    def _around(self, instant: int) -> tuple[MeterReading | None, MeterReading | None]:
        """The known registers before and after an instant of which there is none."""
        known = self._known
        place = bisect_right(known, instant, key=lambda reading: reading.instant)
        return known[place - 1] if place else None, known[place] if place < len(known) else None

    @cached_property
    def _profiles(self) -> dict[int, "_Profile"]:
        """What is usual, by the instant at which a gap begins."""
        return {}

    def _usual(self, start: int, end: int) -> Registers:
        """What flows in ``[start, end)`` on comparable days before a gap that begins at ``start``."""
        profile = self._profiles.get(start)
        if profile is None:
            profile = self._profiles[start] = _Profile(self._known, self.meter, self.grid, before=start)
        total = Registers(import_wh=0, export_wh=0)
        length = self.grid.mtu_seconds
        for mtu in self.grid.mtus(start, end):
            within = min(end, mtu + length) - max(start, mtu)
            usual = profile.of(mtu)
            total += Registers(
                import_wh=usual.import_wh * within // length, export_wh=usual.export_wh * within // length
            )
        return total


def _reading(member: str, instant: int, registers: Registers, quality: str) -> MeterReading:
    return MeterReading(
        member=member,
        instant=instant,
        import_wh=registers.import_wh,
        export_wh=registers.export_wh,
        quality=quality,
    )


def _portion(flowed: int, until: int, whole: int, part: int, length: int) -> int:
    """What of a flow came until an instant: by the profile, or evenly where that has nothing."""
    return flowed * until // whole if whole else flowed * part // length


class _Profile:
    """What flowed in each MTU of a day, of working days and of others, on the newest of them before an instant."""

    def __init__(self, known: Iterable[MeterReading], meter: Meter, grid: Grid, *, before: int) -> None:
        self._zone = grid.zone
        flows: dict[tuple[bool, int], list[Registers]] = defaultdict(list)
        recent = [r for r in known if before - LOOK_BACK_S <= r.instant <= before]
        for first, second in reversed([*pairwise(recent)]):
            if second.instant - first.instant != grid.mtu_seconds or not {first.quality, second.quality} <= {*TRUE}:
                continue
            pool = flows[self._place(first.instant)]
            if len(pool) < DAYS:
                pool.append(meter.flow(first, second).counted)
        self._flows: Mapping[tuple[bool, int], Sequence[Registers]] = flows

    def of(self, mtu: int) -> Registers:
        """The mean of comparable days, of other days where there are none, nothing where there are none either."""
        works, second = self._place(mtu)
        pool = self._flows.get((works, second)) or self._flows.get((not works, second)) or ()
        if not pool:
            return Registers(import_wh=0, export_wh=0)
        return Registers(
            import_wh=max(0, sum(one.import_wh for one in pool) // len(pool)),
            export_wh=max(0, sum(one.export_wh for one in pool) // len(pool)),
        )

    def _place(self, instant: int) -> tuple[bool, int]:
        local = datetime.fromtimestamp(instant, self._zone)
        return local.weekday() < WORKING_DAYS, local.hour * 3600 + local.minute * 60 + local.second
