"""What becomes of a gateway's readings: which count, which are set aside, and what is noted of them."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import assert_never

from sqlalchemy import Connection

from controller.estimating import TRUE
from controller.judging import (
    DECIDED,
    FLOW_W,
    RANKS,
    Around,
    Contradictory,
    Duplicate,
    Leapt,
    Stands,
    Taken,
    Verdict,
    WentBack,
)
from controller.judging import judge as judged
from controller.meter_events import EventKind, MeterEvent
from controller.metering import SAME_METER
from controller.microgrid import FAULTY, MEASURED, SUBSTITUTED, MeterReading, Microgrid, is_feeder
from controller.registers import REGISTERS, Meter, MeterChange, Registers
from controller.store import evidence, market, meter_events, meters

OPERATOR = "operator:"
"""Before the id of an operator who reports, where a gateway's is otherwise."""
MANY, MTUS_BACK = 16, 8
"""Of so many meters the readings of so many MTUs are looked at together."""
FEEDER_W = 10**9
"""No connection point carries more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A reading that no batch may hold.

    Attributes
    ----------
    place : of the reading in its batch
    verdict : why
    event : to be kept of it
    """

    place: int
    verdict: WentBack | Leapt
    event: MeterEvent


@dataclass(slots=True, kw_only=True)
class Received:
    """What becomes of a batch.

    Attributes
    ----------
    taken : readings that count, of instants of which nothing was known
    better : readings that count in the place of others
    known : as many said what was known already
    set_aside : as many do not count
    events : what is out of the ordinary, in order of the readings' instants
    """

    taken: list[MeterReading] = field(default_factory=list)
    better: list[MeterReading] = field(default_factory=list)
    known: int = 0
    set_aside: int = 0
    events: list[MeterEvent] = field(default_factory=list)


class Receiver:
    """What is known of a microgrid's meters, in the store and of a batch so far, to hold new readings against.

    Parameters
    ----------
    microgrid : whose meters
    reporter : the gateway, or ``operator:`` and an id
    sequence : of the gateway's batch; 0 where there is none
    """

    def __init__(self, connection: Connection, microgrid: Microgrid, *, reporter: str, sequence: int = 0) -> None:
        self._connection = connection
        self._microgrid = microgrid
        self._reporter = reporter
        self._sequence = sequence
        self._meters = meter_events.meters(connection, microgrid.id)
        self._batch: dict[str, dict[int, Stands]] = {}
        self._true: dict[str, list[int]] = {}
        self._newest: dict[str, int | None] = {}
        self._newest_true: dict[str, Stands | None] = {}
        self._settled: dict[int, list[str]] = {}
        self._since: dict[str, int] = {}

    def receive(self, readings: Sequence[MeterReading]) -> Received | Rejected:
        """Judge readings in order of time, each with those before it; nothing is written."""
        received = Received()
        self._look_ahead(readings)
        for place in sorted(range(len(readings)), key=lambda k: (readings[k].instant, k)):
            rejected = self._receive(place, readings[place], received)
            if rejected is not None:
                return rejected
        return received

    def judge(self, reading: MeterReading, *, rank: int | None = None) -> Verdict:
        """Whether a reading would count."""
        return judged(reading, self._around(reading), rank=rank)

    def judge_change(self, place: str, change: MeterChange) -> tuple[str, WentBack | Leapt] | None:
        """Which register of a declared change does not go with what is known, and why; None where all do."""
        meter = self._meters.get(place, SAME_METER)
        known = self._around_at(place, change.instant).before, self._around_at(place, change.instant - 1).after
        if change.final is None or change.first is None:
            return None if change.rollover_wh is None else _within(change.rollover_wh, known)
        sides = (
            ("final", change.final, Around(before=known[0], rollover_wh=meter.rollover_wh(change.instant - 1))),
            ("first", change.first, Around(after=known[1], rollover_wh=change.rollover_wh)),
        )
        for field_, registers, around in sides:
            reading = MeterReading(member=place, instant=change.instant, quality=SUBSTITUTED, **asdict(registers))
            verdict = judged(reading, replace(around, flow_w=FEEDER_W), rank=DECIDED)
            if isinstance(verdict, WentBack | Leapt):
                return f"{field_}.{verdict.register}", verdict
        return None

    def follow(self, places: Iterable[tuple[str, int]], *, since: int | None = None) -> None:
        """Let settled windows be looked at again that meters' registers at instants may change.

        What was estimated of a time before the last true register before an instant does not depend on it: such windows
        are left alone, however many there have ever been. With ``since`` it is all after that that may change.
        """
        id_ = self._microgrid.id
        touched: set[str] = set()
        earliest: dict[str, int] = {}
        for member, instant in places:
            touched.update(self._late(instant))
            earliest[member] = min(instant, earliest.get(member, instant))
        for member in sorted(meter_events.ever_estimated(self._connection, id_) & earliest.keys()):
            known = self._known_before(member, earliest[member]) if since is None else since
            length_s = self._microgrid.window_minutes * 60
            touched.update(meter_events.estimated_after(self._connection, id_, member, known, length_s=length_s))
        evidence.ask_for_corrections(self._connection, id_, sorted(touched))

    def _known_before(self, member: str, instant: int) -> int:
        """The instant of the last true register before one; 0 where there is none."""
        if member in self._since:
            return self._since[member]
        found = self._neighbour(member, instant, -1)
        return 0 if found is None else found.instant

    def _receive(self, place: int, reading: MeterReading, received: Received) -> Rejected | None:
        around = self._around(reading)
        if reading.quality == FAULTY:
            self._receive_faulty(reading, around.at, received)
            return None
        verdict = judged(reading, around)
        match verdict:
            case Taken():
                self._take(reading, around, verdict, received)
            case Duplicate(known=known):
                received.known += 1
                received.events.append(self._event(EventKind.DUPLICATE, reading, known))
            case Contradictory(known=known):
                received.set_aside += 1
                received.events.append(self._event(EventKind.CONTRADICTORY, reading, known))
            case WentBack(known=known):
                return Rejected(
                    place=place, verdict=verdict, event=self._event(EventKind.BACKWARDS, reading, known, said(verdict))
                )
            case Leapt(known=known):
                return Rejected(
                    place=place, verdict=verdict, event=self._event(EventKind.LEAP, reading, known, said(verdict))
                )
            case _:
                assert_never(verdict)
        return None

    def _receive_faulty(self, reading: MeterReading, known: Stands | None, received: Received) -> None:
        """Its registers count for nothing: it is kept where nothing better is known, so that one can see it."""
        registers = Registers.of(reading)
        if known is not None and known.rank == RANKS[FAULTY] and known.registers == registers:
            received.known += 1
            received.events.append(self._event(EventKind.DUPLICATE, reading, known))
            return
        received.set_aside += 1
        received.events.append(self._event(EventKind.FAULTY, reading, known))
        if known is None:
            received.taken.append(reading)
            self._note(reading)

    def _take(self, reading: MeterReading, around: Around, verdict: Taken, received: Received) -> None:
        known = around.at
        (received.taken if known is None else received.better).append(reading)
        # The batch is judged in order of time: the first of a member's has the earliest before it.
        self._since.setdefault(reading.member, 0 if around.before is None else around.before.instant)
        if verdict.rolled:
            note = ", ".join(verdict.rolled)
            received.events.append(self._event(EventKind.ROLLOVER, reading, around.before, note))
        if known is not None or reading.quality != MEASURED:
            note = reading.quality if known is None else f"{reading.quality}, in the place of a lesser one"
            received.events.append(self._event(EventKind.SUBSTITUTED, reading, known, note))
        gap_s = 0 if around.before is None else reading.instant - around.before.instant
        if around.after is None and known is None and gap_s > self._microgrid.mtu_seconds:
            note = f"nothing for {gap_s} s before it"
            received.events.append(self._event(EventKind.GAP, reading, around.before, note))
        if self._late(reading.instant):
            received.events.append(self._event(EventKind.LATE, reading, known))
        self._note(reading)

    def _event(self, kind: EventKind, reading: MeterReading, known: Stands | None, note: str = "") -> MeterEvent:
        return MeterEvent(
            kind=kind,
            member=reading.member,
            instant=reading.instant,
            reporter=self._reporter,
            sequence=self._sequence,
            reported=Registers.of(reading),
            known=None if known is None else known.registers,
            known_instant=None if known is None else known.instant,
            note=note,
        )

    def _late(self, instant: int) -> list[str]:
        """The settled windows that an instant touches."""
        if instant not in self._settled:
            self._settled[instant] = market.settled_around(
                self._connection, self._microgrid.id, instant, length_s=self._microgrid.window_minutes * 60
            )
        return self._settled[instant]

    # What is known.

    def _look_ahead(self, readings: Sequence[MeterReading]) -> None:
        """Look at all meters at once where a batch has many: most were read an MTU before it, and not since."""
        members = {reading.member for reading in readings}
        newest = meters.newest_instant(self._connection, self._microgrid.id)
        if newest is None:
            self._newest = dict.fromkeys(members)
            self._newest_true = dict.fromkeys(members)
            return
        mtu_s = self._microgrid.mtu_seconds
        since = min((reading.instant for reading in readings), default=newest) - mtu_s
        if len(members) < MANY or newest - since > MTUS_BACK * mtu_s:
            return
        for known in meters.readings_since(self._connection, self._microgrid.id, since):
            if known.member not in members:
                continue
            if known.quality in TRUE:
                self._newest_true[known.member] = _stands(known, "")
            # Of whom only lesser readings are seen the last true one is asked for.
            if known.member in self._newest_true:
                self._newest[known.member] = known.instant

    def _note(self, reading: MeterReading) -> None:
        """Hold later readings of the batch against this one as well."""
        stands = _stands(reading, self._reporter)
        self._batch.setdefault(reading.member, {})[reading.instant] = stands
        newest = self._newest[reading.member]
        self._newest[reading.member] = reading.instant if newest is None else max(newest, reading.instant)
        if reading.quality in TRUE:
            if reading.instant not in (instants := self._true.setdefault(reading.member, [])):
                insort(instants, reading.instant)
            true = self._newest_true[reading.member]
            if true is None or reading.instant >= true.instant:
                self._newest_true[reading.member] = stands

    def _around(self, reading: MeterReading) -> Around:
        return self._around_at(reading.member, reading.instant)

    def _around_at(self, member: str, instant: int) -> Around:
        meter = self._meters.get(member, SAME_METER)
        if member not in self._newest:
            newest = meters.last_reading(self._connection, self._microgrid.id, member, qualities=tuple(RANKS))
            true = meters.last_reading(self._connection, self._microgrid.id, member, qualities=TRUE)
            self._newest[member] = None if newest is None else newest.instant
            self._newest_true[member] = None if true is None else _stands(true, "")
        last = self._newest[member]
        if last is None or instant > last:
            before, at, after = self._newest_true[member], None, None
        else:
            before, at, after = (
                self._neighbour(member, instant, -1),
                self._at(member, instant),
                self._neighbour(member, instant, 1),
            )
        return Around(
            before=_through(meter, before, instant, before=True),
            at=at,
            after=_through(meter, after, instant, before=False),
            rollover_wh=meter.rollover_wh(instant),
            flow_w=FEEDER_W if is_feeder(member) else FLOW_W,
        )

    def _at(self, member: str, instant: int) -> Stands | None:
        found = self._batch.get(member, {}).get(instant)
        if found is not None:
            return found
        stored = meters.reading_at(self._connection, self._microgrid.id, member, instant)
        return None if stored is None else _stands(*stored)

    def _neighbour(self, member: str, instant: int, side: int) -> Stands | None:
        """The nearest true register before an instant, or after it."""
        instants = self._true.get(member, [])
        place = bisect_left(instants, instant)
        if side < 0:
            found = [self._batch[member][one] for one in instants[max(0, place - 1) : place]]
            stored = meters.last_reading(
                self._connection, self._microgrid.id, member, until=instant - 1, qualities=TRUE
            )
        else:
            place += place < len(instants) and instants[place] == instant
            found = [self._batch[member][one] for one in instants[place : place + 1]]
            stored = meters.next_reading(self._connection, self._microgrid.id, member, after=instant, qualities=TRUE)
        if stored is not None and stored.instant not in self._batch.get(member, {}):
            found.append(_stands(stored, ""))
        return min(found, key=lambda known: abs(known.instant - instant), default=None)


def _within(rollover_wh: int, known: Iterable[Stands | None]) -> tuple[str, Leapt] | None:
    """What is wrong with an end of registers that known ones have come to already."""
    for stands in (one for one in known if one is not None):
        for name in REGISTERS:
            value = getattr(stands.registers, name)
            if value >= rollover_wh:
                wanted = f"more than {value}, which a register has come to"
                return "rollover_wh", Leapt(register=name, got=rollover_wh, wanted=wanted, known=stands)
    return None


def said(verdict: WentBack | Leapt) -> str:
    """What is wrong with a register, in words."""
    return f"{verdict.register}: got {verdict.got}, wanted {verdict.wanted}"


def _stands(reading: MeterReading, reporter: str) -> Stands:
    rank = DECIDED if reporter.startswith(OPERATOR) else RANKS[reading.quality]
    return Stands(instant=reading.instant, registers=Registers.of(reading), rank=rank)


def _through(meter: Meter, known: Stands | None, instant: int, *, before: bool) -> Stands | None:
    """A known register, or, where the meter was replaced since, the declared one that is nearer."""
    if before:
        changes = meter.replaced(after=-1 if known is None else known.instant, until=instant)
        nearest, registers = (changes[-1], changes[-1].first) if changes else (None, None)
    else:
        changes = meter.replaced(after=instant, until=2**62 if known is None else known.instant)
        nearest, registers = (changes[0], changes[0].final) if changes else (None, None)
    if nearest is None or registers is None:
        return known
    return Stands(instant=nearest.instant, registers=registers, rank=DECIDED)
