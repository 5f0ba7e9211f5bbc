"""Solves what a snapshot says, with what nobody can keep relaxed: so that it has an answer, and the answer says so."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from controller import problem
from controller.relaxing import relaxed
from controller.snapshot import Snapshot
from controller.solving import Easer, Solver
from optimization.clearing import Infeasible, Outcome
from optimization.community import Community

log = logging.getLogger(__name__)

WATTS_PER_KW = 1000.0

Ask = Callable[[Community, float], Awaitable[Outcome]]
"""Answers a problem within so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """An answer with its problem; the snapshot is the one that was asked, limits that nobody can keep relaxed."""

    snapshot: Snapshot
    community: Community
    outcome: Outcome


async def solve_relaxed(ask: Ask, solver: Solver, snapshot: Snapshot, seconds: float, *, urgent: bool) -> Solved:
    """The answer to a snapshot.

    First each MTU by itself shows what cannot be kept; where limits cannot be kept together either, as a battery that
    helps to keep one is empty some time, the solver tells by how much they have to give. Where whole numbers still fit
    nowhere, what a limit asks members to take or to give is left out.

    Parameters
    ----------
    ask : answers problems
    solver : who can tell by how much limits have to give, if it can
    snapshot : what is decided
    seconds : for all of it
    urgent : whether the solver shall let nobody wait for it

    Raises
    ------
    OptimizationError
        As the solver does.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    found = await _solve(ask, await asyncio.to_thread(relaxed, snapshot), seconds)
    # What a plan only supposes is kept, or there is no plan.
    unlimited = snapshot.supposed or not found.community.envelopes
    if not isinstance(found.outcome, Infeasible) or unlimited or not isinstance(solver, Easer):
        return found
    log.info("%s: %s", snapshot.window.name, found.outcome.reason)
    excess = await solver.least_excess(found.community, end - clock(), urgent=urgent)
    excess_w = {name: (WATTS_PER_KW * below, WATTS_PER_KW * above) for name, (below, above) in excess.items()}
    if excess_w:
        found = await _solve(ask, await asyncio.to_thread(relaxed, snapshot, excess_w), end - clock())
    if isinstance(found.outcome, Infeasible):
        found = await _solve(ask, await asyncio.to_thread(relaxed, snapshot, excess_w, demands=False), end - clock())
    return found


async def _solve(ask: Ask, snapshot: Snapshot, seconds: float) -> Solved:
    community = await asyncio.to_thread(problem.build, snapshot)
    return Solved(snapshot=snapshot, community=community, outcome=await ask(community, seconds))
