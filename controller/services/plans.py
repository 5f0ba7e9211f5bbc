"""Makes the plans that aggregators ask for, one at a time for a microgrid, each caller in its turn."""

import asyncio
import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from controller import plan_search, portfolio
from controller.access import Identity
from controller.consent import Scope
from controller.freezing import snapshot_of
from controller.microgrid import Member, Window
from controller.plan_queue import PlanQueue, QueueFullError, Waiting
from controller.portfolio import LastPlan, Wish
from controller.refusals import exhausted, not_now, unavailable
from controller.services.core import Core, require_microgrid
from controller.services.mandates import may_know, telling_sections
from controller.snapshot import Snapshot
from controller.store import consents, market
from controller.wire import fields
from controller.wire.plan import plan_message, read_deadline, read_window, read_wish
from gridpact.v1 import dispatch_pb2 as pb

LONGEST_S = 240.0
"""What is not said to be shorter may take so long."""
RETRY_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A plan that is to be made: its inputs, what was wished, what was foreseen, sections with a single stranger."""

    snapshot: Snapshot
    wish: Wish
    last: LastPlan | None
    telling: frozenset[str]


class Planner:
    """Makes plans: those of several microgrids beside each other, those of one in turns."""

    def __init__(self, core: Core, queue: PlanQueue | None = None) -> None:
        self._core = core
        self._queue = PlanQueue() if queue is None else queue

    @contextmanager
    def place(self, caller: Identity, id_: str, parent: str) -> Iterator[Waiting]:
        """A place in the microgrid's queue.

        Raises
        ------
        Refusal
            RESOURCE_EXHAUSTED where there is none.
        """
        try:
            with self._queue.place(id_, caller) as waiting:
                yield waiting
        except QueueFullError as err:
            raise exhausted("waiting plans", f"{parent}: {err}", retry_s=RETRY_S) from err

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
        telling = telling_sections(members.values(), mandated)
        wish = read_wish(
            request,
            microgrid=now.microgrid,
            window=window,
            mandated=mandated & set(members),
            devices=now.devices,
            targets=_targets(microgrid.name, members.values(), mandated, telling),
        )
        planned = market.last_plan(connection, id_, before=window.start)
        kept = None if planned is None else json.loads(planned.plan)
        last = None if kept is None else LastPlan(start=kept["start"], power_w=kept["power_w"])
        return Asked(snapshot=portfolio.inputs(now, wish, last), wish=wish, last=last, telling=telling)

    async def plan(self, caller: Identity, request: pb.RequestPlanRequest, asked: Asked, waiting: Waiting) -> pb.Plan:
        """The plan, when its turn comes.

        Raises
        ------
        Refusal
            UNAVAILABLE where there is neither plan nor tail.
        """
        deadline = read_deadline(request)
        seconds = LONGEST_S if deadline is None else float(deadline)
        clock = asyncio.get_running_loop().time
        begun = clock()
        with suppress(TimeoutError):  # then nothing is left for a search, and the last clearing's tail stands in
            await asyncio.wait_for(waiting.turn(), seconds)
        return await self._plan(caller, request, asked, seconds - (clock() - begun), hurried=deadline is not None)

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
            may_see=lambda target: may_know(target, asked.wish.members, lambda: asked.telling),
        )
        message.input_digest = digest
        return message


def _targets(grid: str, members: Collection[Member], mandated: Collection[str], telling: Collection[str]) -> set[str]:
    """What may be limited by way of supposition: where an answer would tell one stranger's load, nothing."""
    return {
        grid,
        *(f"{grid}/members/{member.id}" for member in members if member.id in mandated),
        *(f"{grid}/sections/{member.section}" for member in members if member.section not in telling),
    }
