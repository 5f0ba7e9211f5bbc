"""The book of limits: what DSOs gave, journaled before it counts, in force at once, with nothing else running."""

import asyncio
import base64
import hashlib
import logging
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from controller.clock import Clock, Monotonic
from controller.errors import StoreError
from controller.limits import records
from controller.limits.area import Area
from controller.limits.journal import Journal, Record
from controller.limits.supervision import Control, Event, Heard, Restated, Supervision, Ticked, Timing, step
from controller.limits.values import Band, Default, Envelope, Signature, Standing
from controller.microgrid import Bounds
from controller.snapshot import Limit

log = logging.getLogger(__name__)

JUMP_S = 2.0
"""Seconds by which the wall clock may stray from the steady one between two ticks."""
ANSWERS = 10_000
"""As many acknowledged calls are remembered, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An acknowledged call: who, its request id, method, the request's digest (hex), and what was answered."""

    identity: str
    request_id: str
    method: str
    digest: str
    response: bytes


class LimitsBook:
    """All microgrids' limits.

    Parameters
    ----------
    journal : keeps what changes; replayed at once
    clock : the wall clock, by which periods are meant
    monotonic : a clock that nobody sets, by which silence is measured
    timing : of heartbeats

    Attributes
    ----------
    following : for who takes over into the book what another place says, so that two do not do so at once
    """

    def __init__(self, journal: Journal, *, clock: Clock, monotonic: Monotonic, timing: Timing | None = None) -> None:
        self._journal = journal
        self._clock = clock
        self._monotonic = monotonic
        self._timing = Timing() if timing is None else timing
        # Never changed but replaced: windows are frozen in a thread of the database's.
        self._areas: dict[str, Area] = {}
        self._supervision: dict[tuple[str, str], Supervision] = {}
        self._answers: OrderedDict[tuple[str, str], Answered] = OrderedDict()
        self._listeners: list[Callable[[str], None]] = []
        self._changing = asyncio.Lock()
        self._unwritten: deque[Record] = deque()
        self._settling: asyncio.Task[None] | None = None
        self.following = asyncio.Lock()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="limits")
        self._began = monotonic.now()
        self._offset = clock.now() - self._began
        for record in journal.records():
            self._apply(record, self._areas.setdefault(records.microgrid_of(record), Area()))

    def _area(self, microgrid: str) -> Area:
        return self._areas.get(microgrid) or Area()

    # What holds.

    def effective(self, microgrid: str, target: str, instant: float | None = None) -> Band:
        """What holds on a target, now or at an instant."""
        at = self._clock.now() if instant is None else instant
        return self._area(microgrid).effective(target, at, self.controls(microgrid))

    def targets(self, microgrid: str) -> tuple[str, ...]:
        """Everything that is bounded by anything, in order."""
        return self._area(microgrid).targets()

    def limits_for_window(self, microgrid: str, start: int, end: int) -> tuple[Limit, ...]:
        """What a window's clearing has to keep from ``start`` to ``end``, as things stand now; in order of ids."""
        area, controls = self._area(microgrid), self.controls(microgrid)
        pieces: dict[tuple[str, str], list[Bounds]] = defaultdict(list)
        for target in area.targets():
            edges = [start, *area.changes(target, start, end), end]
            for first, last in pairwise(edges):
                band = area.effective(target, first, controls)
                for name, lower, upper in (
                    (band.binding_lower, band.lower_w, None),
                    (band.binding_upper, None, band.upper_w),
                ):
                    if lower is not None or upper is not None:
                        _extend(pieces[name, target], Bounds(start=first, end=last, lower_w=lower, upper_w=upper))
        limits = [
            Limit(
                id=_id_of(name), target=target, periods=tuple(periods), digest=self._digest_of(microgrid, name, target)
            )
            for (name, target), periods in pieces.items()
        ]
        return tuple(sorted(limits, key=lambda limit: (limit.id, limit.target)))

    def envelope(self, microgrid: str, id_: str) -> Envelope | None:
        """The envelope of that id."""
        return self._area(microgrid).envelopes.get(id_)

    def envelopes(self, microgrid: str) -> list[Envelope]:
        """All envelopes in order of their ids."""
        return [envelope for _, envelope in sorted(self._area(microgrid).envelopes.items())]

    def standing(self, envelope: Envelope) -> tuple[Standing, tuple[tuple[int, int], ...]]:
        """Whether an envelope counts, and in which parts of its periods."""
        area = self._area(envelope.microgrid)
        return area.standing(envelope.id, self._clock.now()), area.effective_intervals(envelope.id)

    def foresee(self, envelope: Envelope) -> tuple[Standing, tuple[tuple[int, int], ...]]:
        """What `standing` would say of an envelope once it was added."""
        area = self._area(envelope.microgrid).copy()
        area.add(envelope)
        return area.standing(envelope.id, self._clock.now()), area.effective_intervals(envelope.id)

    def defaults(self, microgrid: str) -> list[Default]:
        """All defaults in order of targets and sources."""
        return [default for _, default in sorted(self._area(microgrid).defaults.items())]

    def stated(self, microgrid: str, target: str) -> Band:
        """What the defaults on a target come to together."""
        return self._area(microgrid).stated(target)

    def counter(self, microgrid: str, key_id: str) -> int:
        """The highest counter that a key has signed."""
        return self._area(microgrid).counter(key_id)

    def signed(self, microgrid: str, name: str, target: str) -> Signature:
        """What a DSO signed of a limit that binds a target, by its name in a `Band`; empty where nobody signed it."""
        return self._area(microgrid).signed(name, target) or Signature()

    def holder(self, microgrid: str, name: str, target: str) -> str:
        """The id of the DSO whose a limit is, by its name in a `Band`; empty where it is nobody's, as a rating is."""
        return self._area(microgrid).holder(name, target)

    # Who has control.

    def supervision(self, microgrid: str) -> Mapping[str, Supervision]:
        """How each DSO stands to a microgrid, by the id of its identity."""
        return {
            holder: known for (grid, holder), known in sorted(self._supervision.copy().items()) if grid == microgrid
        }

    def controls(self, microgrid: str) -> dict[str, Control]:
        """Just the states."""
        return {holder: known.control for holder, known in self.supervision(microgrid).items()}

    async def hear(self, microgrid: str, holder: str, *, confirm: bool, clocks_agree: bool) -> Supervision:
        """Take a heartbeat in; the first of a DSO ever is journaled, so that it is missed after a restart too."""
        known = self._supervision.get((microgrid, holder))
        if known is None or not known.supervised:
            await asyncio.shield(asyncio.ensure_future(self._introduce(microgrid, holder)))
        self._step(microgrid, holder, Heard(at=self._monotonic.now(), confirm=confirm, clocks_agree=clocks_agree))
        return self._supervision[microgrid, holder]

    def tick(self) -> None:
        """Let time pass: silence is noticed, and a wall clock that was set."""
        at = self._monotonic.now()
        offset = self._clock.now() - at
        jumped = abs(offset - self._offset) > JUMP_S
        if jumped:
            log.warning("the wall clock was set: supervised limits fall to their failsafes until they are confirmed")
        for microgrid, holder in list(self._supervision):
            self._step(microgrid, holder, Ticked(at=at, jumped=jumped))
        self._offset = offset
        self._settle_soon()

    async def settle(self) -> None:
        """Journal what is in force already and is not on disk yet.

        Raises
        ------
        StoreError
            If it cannot be journaled; it stays in force, and is journaled before anything else is.
        """
        async with self._changing:
            await self._write_overdue()

    # What changes it.

    async def add(self, envelope: Envelope, answered: Answered | None = None) -> None:
        """Let an envelope count from now on; it is in the journal afterwards.

        Raises
        ------
        StoreError
            If it cannot be journaled; nothing has changed then.
        """
        await self._change(
            {"kind": "envelope", "envelope": records.plain(envelope)}, answered, restated=envelope.source.holder
        )

    async def cancel(self, microgrid: str, id_: str, answered: Answered | None = None) -> None:
        """Let an envelope count no more.

        Raises
        ------
        StoreError
            If it cannot be journaled; nothing has changed then.
        """
        holder = self._area(microgrid).envelopes[id_].source.holder
        await self._change({"kind": "cancel", "microgrid": microgrid, "id": id_}, answered, restated=holder)

    async def set_default(self, default: Default, answered: Answered | None = None) -> None:
        """Replace a default.

        Raises
        ------
        StoreError
            If it cannot be journaled; nothing has changed then.
        """
        await self._change(
            {"kind": "default", "default": records.plain(default)}, answered, restated=default.source.holder
        )

    def recall(self, identity: str, request_id: str) -> Answered | None:
        """What was answered to an earlier call with this id."""
        return self._answers.get((identity, request_id))

    def rate(self, microgrid: str, rating: Mapping[str, Band]) -> None:
        """Bounds of targets that nobody's envelope or default makes, such as connections' ratings."""
        area = self._area(microgrid).copy()
        area.rate(rating)
        self._areas[microgrid] = area

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call with a microgrid's id whenever what holds there may have changed."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Callable[[str], None]) -> None:
        """Call no more."""
        self._listeners.remove(listener)

    def records(self) -> Sequence[Record]:
        """Everything that was journaled, in order."""
        return self._journal.records()

    def close(self) -> None:
        """Let go of the journal."""
        self._writer.shutdown(wait=True)
        self._journal.close()

    async def _change(self, record: dict[str, Any], answered: Answered | None, *, restated: str) -> None:
        # What was begun is ended, also where the caller no longer waits: what is on disk is in force.
        await asyncio.shield(asyncio.ensure_future(self._journal_and_apply(record, answered, restated=restated)))

    async def _journal_and_apply(self, record: dict[str, Any], answered: Answered | None, *, restated: str) -> None:
        if answered is not None:
            response = base64.b64encode(answered.response).decode()
            record["answered"] = asdict(answered) | {"response": response}
        async with self._changing:
            await self._keep(record)
        microgrid = records.microgrid_of(record)
        if (microgrid, restated) in self._supervision:
            self._step(microgrid, restated, Restated(at=self._monotonic.now()))
        self._tell(microgrid)

    async def _introduce(self, microgrid: str, holder: str) -> None:
        async with self._changing:
            await self._keep({"kind": "supervised", "microgrid": microgrid, "holder": holder})

    async def _keep(self, record: Record) -> None:
        await self._write_overdue()
        await self._write(record)
        microgrid = records.microgrid_of(record)
        area = self._area(microgrid).copy()
        self._apply(record, area)
        self._areas[microgrid] = area

    async def _write(self, record: Record) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._journal.append, record)
        except StoreError:  # a RuntimeError too
            raise
        except RuntimeError as err:
            raise StoreError("limits journal: the service is stopping") from err

    async def _write_overdue(self) -> None:
        while self._unwritten:
            await self._write(self._unwritten[0])
            self._unwritten.popleft()

    def _settle_soon(self) -> None:
        """See to it that what is in force gets on disk; what cannot be now is tried again with the next tick."""
        if not self._unwritten or (self._settling is not None and not self._settling.done()):
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nobody waits for time to pass: it goes before the next change
            return
        self._settling = loop.create_task(self._settle_or_say())

    async def _settle_or_say(self) -> None:
        try:
            await self.settle()
        except StoreError as err:
            log.warning("limits: what is held is not on disk yet: %s", err)

    def _apply(self, record: Record, area: Area) -> None:
        match record["kind"]:
            case "envelope":
                area.add(records.envelope(record["envelope"]))
            case "cancel":
                area.cancel(record["id"])
            case "default":
                area.set_default(records.default(record["default"]))
            case "supervised":
                place = record["microgrid"], record["holder"]
                known = self._supervision.get(place, Supervision(since=self._began))
                self._supervision[place] = replace(known, supervised=True)
            case "held":
                area.hold(records.held_bands(record))
            case "released":
                area.release(record["holder"])
            case kind:
                raise StoreError(f"limits journal: got a record of kind {kind!r}, wanted one that this version knows")
        if (answered := record.get("answered")) is not None:
            known_answer = Answered(**answered | {"response": base64.b64decode(answered["response"])})
            self._answers[known_answer.identity, known_answer.request_id] = known_answer
            if len(self._answers) > ANSWERS:
                self._answers.popitem(last=False)

    def _step(self, microgrid: str, holder: str, event: Event) -> None:
        was = self._supervision[microgrid, holder]
        now = step(was, event, self._timing)
        if now.control is not was.control:
            area = self._area(microgrid).copy()
            log.warning("microgrid %s: DSO %s: %s: %s", microgrid, holder, now.control.value, now.reason)
            if now.control is Control.FAILSAFE:
                # What held by the clock as it was; a clock that was set since must not choose it.
                bands = area.holding(holder, self.controls(microgrid), event.at + self._offset)
                area.hold(bands)
                if bands:
                    self._unwritten.append(records.held(microgrid, holder, bands))
            elif now.control is Control.CONTROLLED and area.holds(holder):
                area.release(holder)
                self._unwritten.append({"kind": "released", "microgrid": microgrid, "holder": holder})
            self._areas[microgrid] = area
        self._supervision[microgrid, holder] = now
        if now.control is not was.control:
            self._tell(microgrid)
            self._settle_soon()

    def _tell(self, microgrid: str) -> None:
        for listener in tuple(self._listeners):
            listener(microgrid)

    def _digest_of(self, microgrid: str, name: str, target: str) -> str:
        payload = self.signed(microgrid, name, target).payload
        return hashlib.sha256(payload).hexdigest() if payload else ""


def _extend(periods: list[Bounds], period: Bounds) -> None:
    """Append a period, as part of the last one where that goes on with the same bounds."""
    if periods:
        last = periods[-1]
        if (last.end, last.lower_w, last.upper_w) == (period.start, period.lower_w, period.upper_w):
            periods[-1] = replace(last, end=period.end)
            return
        if (last.start, last.end) == (period.start, period.end):
            periods[-1] = replace(
                last,
                lower_w=last.lower_w if period.lower_w is None else period.lower_w,
                upper_w=last.upper_w if period.upper_w is None else period.upper_w,
            )
            return
    periods.append(period)


def _id_of(name: str) -> str:
    """An envelope's id; of what is no envelope, the name."""
    return name.rpartition("/envelopes/")[2]
