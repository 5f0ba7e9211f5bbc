"""The life of a dispatch window: one step at a time, each on disk before the next.

OPEN, CLOSED at gate closure, CLEARED when trades and setpoints are committed, DELIVERING from its start, METERED when
the last reading is in, SETTLED with its postings and header, ANCHORED when the chain holds the header's hash. A window
whose clearing failed is FAILED: the tail of the last plan acts where it still keeps the limits, else the devices'
failsafes, and what is taken is bought from the grid; it is metered, settled and anchored like any other.

A window may be adjusted after its own clearing, part by part (``adjuster``), each until shortly before it begins and
beside all else. It is METERED when all of them are decided.

Each step is a conditional change of the state, so that doing it again has no second effect, and a restart goes on
where the last one stopped. Microgrids go on beside each other: while one is being cleared the others take their steps.
"""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from time import perf_counter

from sqlalchemy import Connection

from contracts.errors import ContractsError
from controller import planning, relaxing, uplifts
from controller.adjuster import Adjuster, Tell
from controller.clock import Clock
from controller.closing import close_books, complete, correct_books, estimates_from
from controller.decider import Decider, Due
from controller.errors import ControllerError, StoreError
from controller.estimating import Estimation, EstimationRule
from controller.fallback import fallback
from controller.freezing import LimitsFor, snapshot_of
from controller.microgrid import DeviceSetpoint, Microgrid, PlanSource, Window, WindowState
from controller.sealing import SaltSource
from controller.snapshot import Snapshot
from controller.solving import Solver
from controller.stepping import CORRECT, DONE, STEPS, StepTaken, Told, outcome_of
from controller.store import adjustments, clearings, evidence, market, meter_events, meters, registry
from controller.store.database import Database
from controller.store.market import WindowOutline, WindowRow

log = logging.getLogger(__name__)

CORRECTIONS = 16
"""As many settled windows are looked at in a microgrid's turn: those that are to be decided wait for them."""

OWN = (ControllerError, ContractsError, ArithmeticError, AssertionError, LookupError, TypeError, ValueError)
"""What figures that do not go together raise."""

Step = Callable[[Microgrid, WindowRow], Awaitable[bool]]


class WindowEngine:
    """Moves windows on as the clock allows.

    Parameters
    ----------
    database, clock, solver : as their classes say
    salts : where the records' salts come from
    limits : what limits a microgrid, as things stand at a gate's closure
    on_frozen : called with what a window is decided on, before that
    on_setpoints : called with a window whose setpoints were committed, so that drivers hear of them
    on_adjusted : the same with a part of a window that was adjusted: these act in the place of all before
    on_step : told of each step that was taken or broke; None for nobody
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        solver: Solver,
        salts: SaltSource,
        limits: LimitsFor,
        on_frozen: Callable[[Snapshot], None],
        on_setpoints: Tell,
        on_adjusted: Tell,
        on_step: Told | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._decider = Decider(solver=solver, clock=clock)
        self._adjuster = Adjuster(
            database=database,
            clock=clock,
            decider=self._decider,
            salts=salts,
            limits=limits,
            on_frozen=on_frozen,
            on_adjusted=on_adjusted,
        )
        self._salts = salts
        self._limits = limits
        self._on_frozen = on_frozen
        self._on_setpoints = on_setpoints
        self._on_step = on_step
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._adjusting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._running: set[asyncio.Task[int]] = set()
        self._readings: dict[str, tuple[int, int | None]] = {}
        self._looked: dict[str, tuple[int, int, Estimation, int | None]] = {}
        self._steps: dict[WindowState, Step] = {
            WindowState.OPEN: self._close,
            WindowState.CLOSED: self._clear,
            WindowState.CLEARED: self._deliver,
            WindowState.DELIVERING: self._meter,
            WindowState.FAILED: self._meter,
            WindowState.METERED: self._settle,
        }

    async def advance(self) -> int:
        """Take every step that is due, and wait for all of them; returns how many were taken.

        What goes wrong in one microgrid keeps no other from its turn; the first such error is raised at the end.
        """
        ids = await self._database.run_async(registry.microgrid_ids)
        outcomes = await asyncio.gather(*(self._advance_all(id_) for id_ in ids), return_exceptions=True)
        taken = 0
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            taken += outcome
        return taken

    async def start_due(self) -> None:
        """Begin every step that is due, without waiting: a microgrid that is still busy is left alone.

        What goes wrong is in the log, and tried again the next time.
        """
        for id_ in await self._database.run_async(registry.microgrid_ids):
            # A window that is being cleared ahead holds up no adjustment of the one before it.
            for turns, advance, what in (
                (self._turns, self._advance_microgrid, "windows"),
                (self._adjusting, self._adjust_microgrid, "adjustments"),
            ):
                if not turns[id_].locked():
                    task = asyncio.create_task(advance(id_), name=f"{what} of {id_}")
                    self._running.add(task)
                    task.add_done_callback(self._ended)

    async def finish(self, seconds: float) -> None:
        """Wait for the steps that ``start_due`` began; after that time they are cut off."""
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[int]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # it has been logged

    async def _advance_all(self, microgrid_id: str) -> int:
        """One microgrid's due steps: its windows', its adjustments', and what waited for these."""
        taken = await self._advance_microgrid(microgrid_id)
        while adjusted := await self._adjust_microgrid(microgrid_id):
            taken += adjusted + await self._advance_microgrid(microgrid_id)
        while await self._database.run_async(evidence.corrections_due, microgrid_id):
            taken += await self._advance_microgrid(microgrid_id)
        return taken

    async def _adjust_microgrid(self, microgrid_id: str) -> int:
        """The due steps of one microgrid's adjustments; one at a time, whoever asks."""
        async with self._adjusting[microgrid_id]:
            try:
                return await self._adjuster.advance(microgrid_id)
            except Exception:
                log.exception("adjustments of %s", microgrid_id)
                raise

    async def _advance_microgrid(self, microgrid_id: str) -> int:
        """One microgrid's due steps in order of its windows; one at a time, whoever asks.

        Books that cannot be closed keep no other window from its steps; the first such error is raised at the end.
        """
        taken, broken = 0, list[Exception]()
        async with self._turns[microgrid_id]:
            try:
                microgrid = await self._database.run_async(registry.microgrid, microgrid_id)
                if microgrid is None:
                    return 0
                if microgrid.rolling:
                    now = self._clock.now()
                    await self._database.run_async(registry.open_windows, microgrid, now=now)
                behind = False
                outlines = await self._database.run_async(market.unfinished, microgrid_id)
                heard = await self._database.run_async(self._heard, microgrid_id, outlines)
                silent = heard is not None and heard == self._looked.get(microgrid_id)
                for outline in outlines:
                    # Headers link: behind a window that is not settled none is, however many wait there.
                    waits = behind and WindowState(outline.state) is WindowState.METERED
                    waits = waits or (silent and outline.name in self._readings)
                    settled = False
                    if not waits and _is_due(outline, self._clock.now()):
                        steps, settled = await self._advance_window(microgrid, outline.name, broken)
                        taken += steps
                    behind = behind or not settled
                if heard is not None:
                    self._looked[microgrid_id] = heard
                for name in (await self._database.run_async(evidence.corrections_due, microgrid_id))[:CORRECTIONS]:
                    taken += await self._correct(microgrid_id, name, broken)
            except Exception:
                log.exception("microgrid %s", microgrid_id)
                raise
        if broken:
            raise broken[0]
        return taken

    async def _advance_window(self, microgrid: Microgrid, name: str, broken: list[Exception]) -> tuple[int, bool]:
        """How many steps a window took, and whether it is settled; why its books could not be closed is added."""
        taken = 0
        row = await self._database.run_async(market.window, name)
        while row is not None and (step := self._steps.get(WindowState(row.state))) is not None:
            before, began = row, perf_counter()
            try:
                if not await step(microgrid, before):
                    break
            except Exception as err:
                self._tell(before, perf_counter() - began, type(err).__name__)
                if WindowState(before.state) is not WindowState.METERED or not _is_own(err):
                    raise
                log.exception("books of %s", name)
                broken.append(err)
                break
            seconds = perf_counter() - began
            taken += 1
            row = await self._database.run_async(market.window, name)
            self._tell(before, seconds, outcome_of(before, row))
        return taken, row is not None and WindowState(row.state) not in self._steps

    async def _correct(self, microgrid_id: str, name: str, broken: list[Exception]) -> bool:
        """Look at a settled window whose readings may have changed, and append a correction where they did."""
        began = perf_counter()
        try:
            done = await self._database.run_async(_correct, microgrid_id, name, self._salts)
        except Exception as err:
            if not _is_own(err):
                raise
            log.exception("correction of %s", name)
            broken.append(err)
            return False
        if done and self._on_step is not None:
            self._on_step(StepTaken(window=name, step=CORRECT, seconds=perf_counter() - began, outcome=DONE))
        return done

    def _tell(self, row: WindowRow, seconds: float, outcome: str) -> None:
        if self._on_step is not None:
            step = STEPS[WindowState(row.state)]
            self._on_step(StepTaken(window=row.name, step=step, seconds=seconds, outcome=outcome))

    async def _close(self, microgrid: Microgrid, row: WindowRow) -> bool:
        """Freeze what counts at gate closure."""
        if self._clock.now() < row.closes:
            return False
        return await self._database.run_async(self._freeze, microgrid, _window(row))

    def _freeze(self, connection: Connection, microgrid: Microgrid, window: Window) -> bool:
        snapshot = snapshot_of(connection, microgrid, window, self._limits)
        return market.set_window(
            connection,
            window.name,
            was="OPEN",
            state="CLOSED",
            snapshot=snapshot.to_json(),
            inputs_digest=snapshot.digest(),
        )

    async def _clear(self, microgrid: Microgrid, row: WindowRow) -> bool:
        """Decide, and commit clearing, trades and setpoints in one transaction; or declare the fallback."""
        del microgrid
        snapshot = Snapshot.from_json(row.snapshot or "")
        self._on_frozen(snapshot)
        due = Due(closes=row.closes, deadline=row.deadline, start=row.start)
        decision = await self._decider.decide(snapshot, due)
        if isinstance(decision, str):
            return await self._fail(snapshot, decision)
        window = snapshot.window

        def commit(connection: Connection) -> bool:
            return self._commit(connection, window, decision)

        # What is on disk only after nobody waits for it any more acts as well.
        return await self._database.run_then(commit, self._offer(snapshot, decision.setpoints))

    def _offer(self, snapshot: Snapshot, setpoints: tuple[DeviceSetpoint, ...]) -> Callable[[bool], None]:
        """Let drivers hear of a window's setpoints once they were committed."""

        def offer(committed: bool) -> None:
            if committed and setpoints:
                self._on_setpoints(snapshot.microgrid.id, snapshot.window, setpoints)

        return offer

    def _commit(self, connection: Connection, window: Window, decision: planning.Decision) -> bool:
        if not market.set_window(
            connection,
            window.name,
            was="CLOSED",
            state="CLEARED",
            source=PlanSource.CLEARING.value,
            certificate=json.dumps(planning.stated(decision.certificate), sort_keys=True),
            plan=decision.plan.to_json(),
            carry=json.dumps(decision.carry, sort_keys=True),
            uplifts=uplifts.to_json(decision.uplifts),
            quality=planning.quality(decision).value,
            relaxed=relaxing.to_json(decision.relaxations),
        ):
            return False
        salts = [self._salts(window.name, "trade", ix) for ix in range(len(decision.trades))]
        market.add_trades(connection, window.name, decision.trades, salts)
        market.add_positions(connection, window.name, decision.positions)
        market.add_setpoints(connection, window.name, decision.setpoints)
        clearings.add(connection, window.name, 0, decision.witness)
        return True

    async def _fail(self, snapshot: Snapshot, reason: str) -> bool:
        """Declare the fallback: the last plan's tail where it keeps the limits, else the failsafes."""
        window = snapshot.window
        tail = await self._database.run_async(self._tail, snapshot)
        source = PlanSource.TAIL if tail else PlanSource.FAILSAFE

        def commit(connection: Connection) -> bool:
            return self._commit_failure(connection, window, reason, source, tail)

        return await self._database.run_then(commit, self._offer(snapshot, tail))

    def _tail(self, connection: Connection, snapshot: Snapshot) -> tuple[DeviceSetpoint, ...]:
        """What the last plan has for a window, under the limits of now; nothing for one that is over."""
        if snapshot.window.end <= self._clock.now():
            return ()
        limits = self._limits(snapshot.microgrid.id, snapshot.window.start, snapshot.microgrid.end)
        return fallback(connection, relaxing.relaxed(replace(snapshot, limits=limits)))

    def _commit_failure(
        self,
        connection: Connection,
        window: Window,
        reason: str,
        source: PlanSource,
        tail: tuple[DeviceSetpoint, ...],
    ) -> bool:
        if not market.set_window(
            connection, window.name, was="CLOSED", state="FAILED", source=source.value, failure=reason
        ):
            return False
        market.add_setpoints(connection, window.name, tail)
        return True

    async def _deliver(self, microgrid: Microgrid, row: WindowRow) -> bool:
        """The window has begun; drivers act."""
        del microgrid
        if self._clock.now() < row.start:
            return False
        return await self._database.run_async(_begin, row.name)

    async def _meter(self, microgrid: Microgrid, row: WindowRow) -> bool:
        """Every reading of the window is in."""
        del microgrid
        if self._clock.now() < row.end:
            return False
        return await self._database.run_async(self._complete, row)

    def _complete(self, connection: Connection, row: WindowRow) -> bool:
        """Looked at again only where readings came in: a window may wait for a meter for weeks.

        Where they may be estimated by now, what the rule lacks may come in later: then once a minute.
        """
        if adjustments.undecided(connection, row.name):
            return False
        now = self._clock.now()
        since = estimates_from(connection, row)
        minute = None if since is None or now < since else int(now) // 60
        seen = meters.count_readings(connection, row.microgrid, row.start, row.end), minute
        if self._readings.get(row.name) == seen:
            return False
        done = complete(connection, row, now)
        if done:
            self._readings.pop(row.name, None)
        else:
            self._readings[row.name] = seen
        return done

    def _heard(
        self, connection: Connection, microgrid_id: str, outlines: Sequence[WindowOutline]
    ) -> tuple[int, int, Estimation, int | None] | None:
        """What changes when windows that lack readings may have got them; None where no window does.

        It is asked once for all of them: they may be thousands, where a meter was silent for a month.
        """
        first = next((outline.start for outline in outlines if outline.name in self._readings), None)
        if first is None:
            return None
        now = int(self._clock.now())
        declared = meter_events.estimation(connection, microgrid_id)
        minute = None if declared.rule is EstimationRule.NONE else now // 60
        # As many since another window began says nothing.
        return first, meters.count_readings(connection, microgrid_id, first, outlines[-1].end), declared, minute

    async def _settle(self, microgrid: Microgrid, row: WindowRow) -> bool:
        """Postings, sealed readings, header and anchor, in one transaction; windows in their order, as headers link."""
        del microgrid
        if self._clock.now() < row.settles:
            return False
        return await self._database.run_async(close_books, row, self._salts)


def _is_due(window: WindowOutline, now: float) -> bool:
    """Whether a window's next step may have come; whether it has, the step itself says."""
    match WindowState(window.state):
        case WindowState.OPEN:
            return now >= window.closes
        case WindowState.CLOSED:
            return True
        case WindowState.CLEARED:
            return now >= window.start
        case WindowState.DELIVERING | WindowState.FAILED:
            return now >= window.end
        case WindowState.METERED:
            return now >= window.settles
        case WindowState.SETTLED | WindowState.ANCHORED:
            return False


def _is_own(err: Exception) -> bool:
    """Whether a window's own figures are at fault: other windows are none the worse for it."""
    return isinstance(err, OWN) and not isinstance(err, StoreError)


def _correct(connection: Connection, microgrid_id: str, name: str, salts: SaltSource) -> bool:
    row = market.window(connection, name)
    done = row is not None and correct_books(connection, row, salts)
    evidence.corrected(connection, microgrid_id, name)
    return done


def _begin(connection: Connection, name: str) -> bool:
    return market.set_window(connection, name, was="CLEARED", state="DELIVERING")


def _window(row: WindowRow) -> Window:
    return Window(name=row.name, start=row.start, end=row.end)
