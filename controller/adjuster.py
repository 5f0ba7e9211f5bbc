"""Adjusts the parts of a window after its own clearing, each shortly before it begins.

An adjustment is OPEN until its gate closes, CLOSED when its inputs are frozen, and CLEARED or FAILED when it is
decided, each on disk before the next. Where nothing is new since the window's own clearing, what that decided stands
and nothing is traded. Where an adjustment fails it stands too, if it keeps the limits of now; else its part is left to
the devices' failsafes.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from controller import planning, relaxing
from controller.adjusting import carried_on, keeps_limits, nothing_new, told_w
from controller.clock import Clock
from controller.decider import Decider, Due
from controller.freezing import LimitsFor, adjusted_of, expected_states
from controller.microgrid import DeviceSetpoint, Microgrid, PlanSource, Slot, Window
from controller.sealing import SaltSource
from controller.snapshot import Snapshot
from controller.store import adjustments, clearings, market, registry
from controller.store.adjustments import AdjustmentRow, Pending
from controller.store.database import Database

log = logging.getLogger(__name__)

STANDS = PlanSource.STANDING
Tell = Callable[[str, Window, tuple[DeviceSetpoint, ...]], None]
"""Told of a microgrid, a window's part and what devices do in it from now on, in the place of what they did before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frozen:
    """An adjustment whose gate has closed."""

    row: AdjustmentRow
    window: market.WindowRow
    snapshot: Snapshot

    @property
    def part(self) -> Window:
        """The part of the window, by the window's name."""
        return Window(name=self.row.window, start=self.row.start, end=self.row.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjuster:
    """Moves adjustments on as the clock allows.

    Attributes
    ----------
    database, clock, decider, salts, limits, on_frozen : as for ``WindowEngine``
    on_adjusted : told what devices do in a part from now on
    """

    database: Database
    clock: Clock
    decider: Decider
    salts: SaltSource
    limits: LimitsFor
    on_frozen: Callable[[Snapshot], None]
    on_adjusted: Tell

    async def advance(self, microgrid_id: str) -> int:
        """Take every step of a microgrid's adjustments that is due, in order of time; returns how many were taken."""
        pending = await self.database.run_async(adjustments.pending, microgrid_id, self.clock.now())
        microgrid = await self.database.run_async(registry.microgrid, microgrid_id) if pending else None
        if microgrid is None:
            return 0
        taken = 0
        for due in pending:
            if due.state == "OPEN":
                if not await self.database.run_async(self._freeze, microgrid, due):
                    continue
                taken += 1
            taken += await self._clear(due)
        return taken

    def _freeze(self, connection: Connection, microgrid: Microgrid, due: Pending) -> bool:
        row = adjustments.adjustment(connection, due.window, due.number)
        window = market.window(connection, due.window)
        if row is None or window is None:
            return False
        slot = Slot(number=row.number, start=row.start, end=row.end, closes=row.closes)
        snapshot = adjusted_of(connection, microgrid, window, slot, self.limits)
        return adjustments.set_adjustment(
            connection,
            row.window,
            row.number,
            was="OPEN",
            state="CLOSED",
            snapshot=snapshot.to_json(),
            inputs_digest=snapshot.digest(),
        )

    async def _clear(self, due: Pending) -> bool:
        """Decide, and commit what follows in one transaction."""
        frozen = await self.database.run_async(_read, due)
        if frozen is None:
            return False
        self.on_frozen(frozen.snapshot)
        if await self.database.run_async(self._confirm, frozen):
            return True
        row = frozen.row
        times = Due(closes=row.closes, deadline=row.start, start=row.start)
        decision = await self.decider.decide(frozen.snapshot, times, weigh=False)
        if isinstance(decision, str):
            return await self._fail(frozen, decision)

        def commit(connection: Connection) -> bool:
            return self._commit(connection, frozen, decision)

        def offer(committed: bool) -> None:
            if committed:
                self.on_adjusted(row.microgrid, frozen.part, decision.setpoints)

        # What is on disk only after nobody waits for it any more acts as well.
        return await self.database.run_then(commit, offer)

    def _confirm(self, connection: Connection, frozen: _Frozen) -> bool:
        """Let what the window's clearing decided stand, where nothing is new and it is in time; False otherwise."""
        window, now = frozen.window, frozen.snapshot
        if window.plan is None or self.clock.now() > frozen.row.start:
            return False
        cleared = Snapshot.from_json(window.snapshot or "")
        if not nothing_new(cleared, now, expected_states(connection, cleared, now, window.name)):
            return False
        power_w = json.loads(window.plan)["power_w"]
        carry = carried_on(cleared, power_w, market.positions(connection, window.name), now)
        return adjustments.set_adjustment(
            connection,
            window.name,
            frozen.row.number,
            was="CLOSED",
            state="CLEARED",
            source=STANDS.value,
            carry=json.dumps(carry, sort_keys=True),
        )

    def _commit(self, connection: Connection, frozen: _Frozen, decision: planning.Decision) -> bool:
        row, name = frozen.row, frozen.row.window
        if not adjustments.set_adjustment(
            connection,
            name,
            row.number,
            was="CLOSED",
            state="CLEARED",
            source=PlanSource.CLEARING.value,
            certificate=json.dumps(planning.stated(decision.certificate), sort_keys=True),
            plan=decision.plan.to_json(),
            carry=json.dumps(decision.carry, sort_keys=True),
            quality=planning.quality(decision).value,
            relaxed=relaxing.to_json(decision.relaxations),
        ):
            return False
        first = market.count_trades(connection, name)
        salts = [self.salts(name, "trade", first + k) for k in range(len(decision.trades))]
        market.add_trades(connection, name, decision.trades, salts, first=first, adjustment=row.number)
        before = market.positions(connection, name)
        added = {place: net - before.get(place, 0) for place, net in decision.positions.items()}
        market.add_positions(
            connection, name, {place: net for place, net in added.items() if net}, adjustment=row.number
        )
        market.add_setpoints(connection, name, decision.setpoints, adjustment=row.number)
        clearings.add(connection, name, row.number, decision.witness)
        return True

    async def _fail(self, frozen: _Frozen, reason: str) -> bool:
        """Declare what acts instead."""

        def commit(connection: Connection) -> PlanSource | None:
            return self._fall_back(connection, frozen, reason)

        def withdraw(source: PlanSource | None) -> None:
            if source is PlanSource.FAILSAFE:
                self.on_adjusted(frozen.row.microgrid, frozen.part, ())

        return await self.database.run_then(commit, withdraw) is not None

    def _fall_back(self, connection: Connection, frozen: _Frozen, reason: str) -> PlanSource | None:
        """What stood before, where it keeps the limits of now or its part is over; else the failsafes.

        None where another turn decided it meanwhile.
        """
        row = frozen.row
        source = PlanSource.FAILSAFE
        if self.clock.now() >= row.end or self._stands(connection, frozen):
            source = STANDS
        changed = adjustments.set_adjustment(
            connection, row.window, row.number, was="CLOSED", state="FAILED", source=source.value, failure=reason
        )
        return source if changed else None

    def _stands(self, connection: Connection, frozen: _Frozen) -> bool:
        """Whether what the window's clearing decided, or the tail that acts in its place, keeps the limits of now."""
        window, now = frozen.window, frozen.snapshot
        if window.source == PlanSource.FAILSAFE.value:
            return False
        if window.plan is not None:
            made = json.loads(window.plan)
            start, power_w = made["start"], made["power_w"]
        else:
            # Of a tail only what it told devices was kept: plans that were made since are not what acts.
            start, power_w = now.window.start, told_w(market.own_setpoints(connection, window.name), now)
        limits = self.limits(window.microgrid, frozen.row.start, now.microgrid.end)
        return keeps_limits(start, power_w, relaxing.relaxed(replace(now, limits=limits)))


def _read(connection: Connection, due: Pending) -> _Frozen | None:
    row = adjustments.adjustment(connection, due.window, due.number)
    window = market.window(connection, due.window)
    if row is None or window is None or row.state != "CLOSED":
        return None
    return _Frozen(row=row, window=window, snapshot=Snapshot.from_json(row.snapshot or ""))
