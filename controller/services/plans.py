"""Makes the plans that aggregators ask for, one at a time for a microgrid."""

import asyncio
import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import Connection

from controller import plan_search, portfolio
from controller.access import Identity
from controller.consent import Scope
from controller.freezing import snapshot_of
from controller.microgrid import Window
from controller.portfolio import LastPlan, Wish
from controller.refusals import exhausted, not_now, unavailable
from controller.services.core import Core, require_microgrid
from controller.snapshot import Snapshot
from controller.store import consents, market
from controller.wire import fields
from controller.wire.plan import plan_message, read_deadline, read_window, read_wish
from gridpact.v1 import dispatch_pb2 as pb

WAITING = 8
"""So many plans of a microgrid may wait for the one that is being made."""
LONGEST_S = 240.0
"""What is not said to be shorter may take so long."""
RETRY_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A plan that is to be made: its inputs, what was wished, what the last clearing foresaw."""

    snapshot: Snapshot
    wish: Wish
    last: LastPlan | None


class Planner:
    """Makes plans: those of several microgrids beside each other, those of one in the order of asking."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    def freeze(self, connection: Connection, caller: Identity, request: pb.RequestPlanRequest) -> Asked:
        """What counts for a plan at this moment."""
        id_ = fields.microgrid_id("parent", request.parent)
        microgrid = require_microgrid(connection, caller, id_, request.parent)
        rows = [row for row in market.unfinished(connection, id_) if row.state == "OPEN"]
        windows = [Window(name=row.name, start=row.start, end=row.end) for row in rows]
        if not windows:
            raise not_now("NO_OPEN_WINDOW", f"{request.parent}: every window of the horizon is closed")
        window = read_window(request, windows)
        now = snapshot_of(connection, microgrid, window, self._core.limits.book.limits_for_window)
        mandated = consents.allowed_members(connection, id_, caller, Scope.DISPATCH, self._core.clock.now())
        members = {member.id: member for member in now.members}
        wish = read_wish(
            request,
            microgrid=now.microgrid,
            window=window,
            mandated=mandated & set(members),
            devices=now.devices,
            targets={
                microgrid.name,
                *(f"{microgrid.name}/members/{member}" for member in members),
                *(f"{microgrid.name}/sections/{member.section}" for member in members.values()),
            },
        )
        planned = market.newest_with(connection, id_, "plan", before=window.start)
        kept = None if planned is None else json.loads(planned.plan or "")
        last = None if kept is None else LastPlan(start=kept["start"], power_w=kept["power_w"])
        return Asked(snapshot=portfolio.inputs(now, wish, last), wish=wish, last=last)

    async def plan(self, caller: Identity, request: pb.RequestPlanRequest, asked: Asked) -> pb.Plan:
        """The plan, when its turn comes.

        Raises
        ------
        Refusal
            RESOURCE_EXHAUSTED where too many wait, UNAVAILABLE where there is neither plan nor tail.
        """
        deadline = read_deadline(request)
        seconds = LONGEST_S if deadline is None else float(deadline)
        id_ = asked.snapshot.microgrid.id
        waiting = self._waiting.get(id_, 0)
        if waiting > WAITING:
            raise exhausted("waiting plans", f"{request.parent}: {waiting} plans are being made", retry_s=RETRY_S)
        begun = asyncio.get_running_loop().time()
        self._waiting[id_] = waiting + 1
        try:
            async with self._turns.setdefault(id_, asyncio.Lock()):
                left = seconds - (asyncio.get_running_loop().time() - begun)
                return await self._plan(caller, request, asked, left, hurried=deadline is not None)
        finally:
            self._waiting[id_] -= 1

    async def _plan(
        self, caller: Identity, request: pb.RequestPlanRequest, asked: Asked, seconds: float, *, hurried: bool
    ) -> pb.Plan:
        snapshot = asked.snapshot
        try:
            found = await plan_search.search(
                self._core.solver, snapshot, asked.wish, asked.last, seconds=max(0.0, seconds), hurried=hurried
            )
        except plan_search.NoPlanError as err:
            raise unavailable("NO_PLAN", f"{request.parent}: {err}", retry_s=RETRY_S) from err
        digest = portfolio.digest(snapshot, asked.wish)
        own = hashlib.sha256(digest + str(caller).encode())  # equal inputs give each caller a plan of its own
        message = plan_message(
            found,
            asked.wish,
            name=f"{request.parent}/plans/p{own.hexdigest()[:24]}",
            microgrid=snapshot.microgrid,
            start=snapshot.window.start,
        )
        message.input_digest = digest
        return message
