"""The life of a dispatch window: one step at a time, each on disk before the next.

OPEN, CLOSED at gate closure, CLEARED when trades and setpoints are committed, DELIVERING from its start, METERED when
the last reading is in, SETTLED with its postings and header, ANCHORED when the chain holds the header's hash. A window
whose clearing failed is FAILED: the tail of the last plan acts where it still keeps the limits, else the devices'
failsafes, and what is taken is bought from the grid; it is metered, settled and anchored like any other.

Each step is a conditional change of the state, so that doing it again has no second effect, and a restart goes on
where the last one stopped.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection

from contracts.books import WindowBooks
from controller import planning, problem, uplifts
from controller.clock import Clock
from controller.freezing import LimitsFor, snapshot_of
from controller.metering import metered_wh, missing
from controller.microgrid import (
    DeviceSetpoint,
    Microgrid,
    PlanSource,
    SetpointKind,
    Window,
    WindowState,
)
from controller.sealing import SaltSource, posting_leaf, reading_leaf, seal, trade_leaf
from controller.settlement import settle
from controller.snapshot import Snapshot
from controller.solving import Solver, Weigher
from controller.store import evidence, market, meters, registry
from controller.store.database import Database
from controller.store.market import WindowRow
from optimization.clearing import Clearing, Infeasible
from optimization.community import Community
from optimization.errors import OptimizationError

log = logging.getLogger(__name__)

Step = Callable[[Microgrid, WindowRow], Awaitable[bool]]
TOO_LATE = "its start had passed before it was cleared"
LEAST_WAIT_S = 1.0
"""Seconds that uplifts are waited for even where the window begins at once."""


class WindowEngine:
    """Moves windows on as the clock allows.

    Parameters
    ----------
    database, clock, solver : as their classes say
    salts : where the records' salts come from
    limits : what limits a microgrid, as things stand at a gate's closure
    on_setpoints : called with a window whose setpoints were committed, so that drivers hear of them
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        solver: Solver,
        salts: SaltSource,
        limits: LimitsFor,
        on_setpoints: Callable[[str, Window, tuple[DeviceSetpoint, ...]], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._solver = solver
        self._salts = salts
        self._limits = limits
        self._on_setpoints = on_setpoints
        self._steps: dict[WindowState, Step] = {
            WindowState.OPEN: self._close,
            WindowState.CLOSED: self._clear,
            WindowState.CLEARED: self._deliver,
            WindowState.DELIVERING: self._meter,
            WindowState.FAILED: self._meter,
            WindowState.METERED: self._settle,
        }

    async def advance(self) -> int:
        """Take every step that is due; returns how many were taken.

        What goes wrong in one microgrid keeps no other from its turn; the first such error is raised at the end.
        """
        taken = 0
        errors: list[Exception] = []
        for microgrid_id in await self._database.run_async(registry.microgrid_ids):
            try:
                taken += await self._advance_microgrid(microgrid_id)
            except Exception as err:
                log.exception("microgrid %s", microgrid_id)
                errors.append(err)
        if errors:
            raise errors[0]
        return taken

    async def _advance_microgrid(self, microgrid_id: str) -> int:
        taken = 0
        microgrid = await self._database.run_async(registry.microgrid, microgrid_id)
        if microgrid is not None:
            for name in await self._database.run_async(market.unfinished_windows, microgrid_id):
                taken += await self._advance_window(microgrid, name)
        return taken

    async def _advance_window(self, microgrid: Microgrid, name: str) -> int:
        taken = 0
        while row := await self._database.run_async(market.window, name):
            step = self._steps.get(WindowState(row.state))
            if step is None or not await step(microgrid, row):
                break
            taken += 1
        return taken

    async def _close(self, microgrid: Microgrid, row: WindowRow) -> bool:
        """Freeze what counts at gate closure."""
        if self._clock.now() < row.start - microgrid.lead_minutes * 60:
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
        decision = TOO_LATE if self._too_late(snapshot) else await self._decide(snapshot)
        if not isinstance(decision, str) and self._too_late(snapshot):
            decision = TOO_LATE
        if isinstance(decision, str):
            return await self._fail(snapshot, decision)
        if not await self._database.run_async(self._commit, snapshot.window, decision):
            return False
        self._on_setpoints(snapshot.microgrid.id, snapshot.window, decision.setpoints)
        return True

    def _too_late(self, snapshot: Snapshot) -> bool:
        """Whether a clearing would decide what has begun already."""
        return self._clock.now() > snapshot.window.start

    async def _decide(self, snapshot: Snapshot) -> planning.Decision | str:
        """What the window's clearing decides, feasible as recomputed; or why there is none."""
        try:
            community = problem.build(snapshot)
            outcome = await self._solver.solve(community)
            if isinstance(outcome, Infeasible):
                return outcome.reason
            decision = planning.decide(snapshot, community, outcome)
            return replace(decision, uplifts=await self._weigh(snapshot, community, outcome, decision))
        except OptimizationError as err:
            return str(err)
        except Exception as err:  # whatever it is, the fallback acts and the others go on
            log.exception("clearing %s", snapshot.window.name)
            return f"{type(err).__name__}: {err}"

    async def _weigh(
        self, snapshot: Snapshot, community: Community, clearing: Clearing, decision: planning.Decision
    ) -> tuple[uplifts.Uplift, ...]:
        """Who is made whole and who contributes.

        Nobody where that cannot be told in time: a clearing that keeps every limit does not fail for it.
        """
        if not isinstance(self._solver, Weigher):
            return ()
        wait_s = max(LEAST_WAIT_S, snapshot.window.start - self._clock.now())
        try:
            async with asyncio.timeout(wait_s):
                standing = await self._solver.standing(community, clearing.device_kw, len(snapshot.window_mtus()))
            members = [peer.id for peer in community.peers]
            return uplifts.uplifts_of(snapshot, members, decision.trades, standing)
        except Exception:  # whatever it is, the clearing acts all the same
            log.exception("uplifts of %s", snapshot.window.name)
            return ()

    def _commit(self, connection: Connection, window: Window, decision: planning.Decision) -> bool:
        if not market.set_window(
            connection,
            window.name,
            was="CLOSED",
            state="CLEARED",
            source=PlanSource.CLEARING.value,
            certificate=json.dumps(planning.stated(decision.certificate), sort_keys=True),
            plan=plan_json(decision.plan),
            carry=json.dumps(decision.carry, sort_keys=True),
            uplifts=uplifts.to_json(decision.uplifts),
        ):
            return False
        salts = [self._salts(window.name, "trade", ix) for ix in range(len(decision.trades))]
        market.add_trades(connection, window.name, decision.trades, salts)
        market.add_positions(connection, window.name, decision.positions)
        market.add_setpoints(connection, window.name, decision.setpoints)
        return True

    async def _fail(self, snapshot: Snapshot, reason: str) -> bool:
        """Declare the fallback: the last plan's tail where it keeps the limits, else the failsafes."""
        window = snapshot.window
        tail = await self._database.run_async(fallback, snapshot)
        source = PlanSource.TAIL if tail else PlanSource.FAILSAFE
        if not await self._database.run_async(self._commit_failure, window, reason, source, tail):
            return False
        if tail:
            self._on_setpoints(snapshot.microgrid.id, window, tail)
        return True

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
        if self._clock.now() < row.end:
            return False
        return await self._database.run_async(self._complete, microgrid, row)

    def _complete(self, connection: Connection, microgrid: Microgrid, row: WindowRow) -> bool:
        readings = meters.meter_readings(connection, microgrid.id, row.start, row.end)
        if missing(readings, _members(row), (*microgrid.mtus(row.start, row.end), row.end)):
            return False
        return market.set_window(connection, row.name, was=row.state, state="METERED")

    async def _settle(self, microgrid: Microgrid, row: WindowRow) -> bool:
        """Postings, sealed readings, header and anchor, in one transaction; windows in their order, as headers link."""
        return await self._database.run_async(self._seal, microgrid, row)

    def _seal(self, connection: Connection, microgrid: Microgrid, row: WindowRow) -> bool:
        window = _window(row)
        # None at all where another turn settled it meanwhile.
        if market.unfinished_windows(connection, microgrid.id)[:1] != [window.name]:
            return False
        if not market.set_window(connection, window.name, was="METERED", state="SETTLED"):
            return False
        trades = market.trades(connection, window.name)
        instants = (*microgrid.mtus(window.start, window.end), window.end)
        members = _members(row)
        readings = [
            reading
            for reading in meters.meter_readings(connection, microgrid.id, window.start, window.end)
            if reading.member in members
        ]
        metered = {
            place: energy for place, energy in metered_wh(readings, members, instants).items() if energy is not None
        }
        committed = {uplift.member: uplift.uplift_micro for uplift in uplifts.from_json(row.uplifts)}
        postings = settle(microgrid, [trade for trade, _ in trades], metered, committed)
        name = window.name
        # The registers at the window's start were sealed with the window before, of those who were members by then.
        before = [row for row in market.windows(connection, microgrid.id) if row.end == window.start]
        known = {member for row in before for member in _members(row)}
        sealed = [r for r in readings if r.instant > window.start or r.member not in known]
        reading_salts = [self._salts(name, "reading", ix) for ix in range(len(sealed))]
        posting_salts = [self._salts(name, "posting", ix) for ix in range(len(postings))]
        evidence.add_readings(connection, name, sealed, reading_salts)
        evidence.add_postings(connection, name, postings, posting_salts)
        records = WindowBooks(
            trades=tuple(trade_leaf(name, ix, trade, salt) for ix, (trade, salt) in enumerate(trades)),
            readings=tuple(
                reading_leaf(name, ix, reading, salt)
                for ix, (reading, salt) in enumerate(zip(sealed, reading_salts, strict=True))
            ),
            postings=tuple(
                posting_leaf(name, ix, posting, salt)
                for ix, (posting, salt) in enumerate(zip(postings, posting_salts, strict=True))
            ),
        )
        chain = evidence.headers(connection, microgrid.id)
        header = seal(
            microgrid,
            window,
            records,
            previous=chain[-1].hash if chain else None,
            inputs_digest=row.inputs_digest or b"",
        )
        evidence.add_header(connection, microgrid.id, header)
        return True


def fallback(connection: Connection, snapshot: Snapshot) -> tuple[DeviceSetpoint, ...]:
    """The setpoints that the last plan has for this window, when they keep the limits as they are now; else none."""
    rows = [
        row
        for row in market.windows(connection, snapshot.microgrid.id)
        if row.start < snapshot.window.start and row.plan
    ]
    if not rows:
        return ()
    plan = json.loads(rows[-1].plan or "")
    offset = (snapshot.window.start - plan["start"]) // snapshot.microgrid.mtu_seconds
    mtus = snapshot.window_mtus()
    if offset + len(mtus) > len(plan["net_w"]):
        return ()
    for target, (lower, upper) in problem.bounds_w(snapshot).items():
        net = problem.net_of_tail(snapshot, target, plan["power_w"], offset)
        if any(not lower[k] <= net[k] <= upper[k] for k in range(len(mtus))):
            return ()
    known = {device.id for device in snapshot.devices}
    return tuple(
        DeviceSetpoint(device=device, mtu_start=mtu, kind=SetpointKind(kind), value=values[offset + k])
        for device, (kind, values) in sorted(plan["setpoints"].items())
        if device in known
        for k, mtu in enumerate(mtus)
    )


def plan_json(plan: planning.Plan) -> str:
    """A plan as canonical JSON."""
    values: dict[str, Any] = asdict(plan)
    values["setpoints"] = {device: [kind.value, series] for device, (kind, series) in plan.setpoints.items()}
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def _members(row: WindowRow) -> list[str]:
    """Whose meters the window is settled with: who was a member at its gate closure."""
    return [member.id for member in Snapshot.from_json(row.snapshot or "").members]


def _begin(connection: Connection, name: str) -> bool:
    return market.set_window(connection, name, was="CLEARED", state="DELIVERING")


def _window(row: WindowRow) -> Window:
    return Window(name=row.name, start=row.start, end=row.end)
