"""Searches an aggregator's plan under a deadline, and says what it is worth.

A plan ends labelled, always: within the declared gap, feasible, relaxed, or infeasible with the conflict. What is not
there in time, or fails, is replaced by the tail of the last clearing where that keeps the limits; else there is none.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from controller import planning, portfolio
from controller.deciding import solve_relaxed
from controller.errors import ControllerError
from controller.planning import Quality
from controller.portfolio import LastPlan, Objective, Wish
from controller.relaxing import Relaxation, relaxations
from controller.snapshot import Snapshot
from controller.solving import Punctual, Solver, Yielding
from optimization.certificate import Certificate
from optimization.clearing import Infeasible, Outcome
from optimization.community import Community
from optimization.errors import OptimizationError, ProblemError

log = logging.getLogger(__name__)

PEAK_STEPS = 8
PEAK_SHARE = 0.02
"""Of what there is to gain: nearer the search for the lowest peak does not go."""
LEAST_STEP_W = 10
LEAST_S = 0.1


class Origin(Enum):
    """Where a plan comes from."""

    SOLVER = "SOLVER"
    TAIL = "TAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A plan with its label.

    Attributes
    ----------
    quality, origin : what it is worth, where it comes from
    mtus : how many it covers
    power_w : of each planned device
    net_w : of the connection point
    shortfall_wh, discomfort_milli_k_h : by device, what is not given in full
    certificate : None where nothing is proven
    relaxations : limits that nobody could keep
    conflict : where infeasible
    reason : why there is no better one
    """

    quality: Quality
    origin: Origin = Origin.SOLVER
    mtus: int = 0
    power_w: Mapping[str, tuple[int, ...]]
    net_w: tuple[int, ...] = ()
    shortfall_wh: Mapping[str, int]
    discomfort_milli_k_h: Mapping[str, int]
    certificate: Certificate | None = None
    relaxations: tuple[Relaxation, ...] = ()
    conflict: str = ""
    reason: str = ""


class NoPlanError(ControllerError):
    """There is no plan, and no tail that keeps the limits."""


async def search(
    solver: Solver, snapshot: Snapshot, wish: Wish, last: LastPlan | None, *, seconds: float, hurried: bool
) -> Found:
    """A labelled plan of these inputs within so many seconds.

    Parameters
    ----------
    solver : answers the problems
    snapshot : as ``portfolio.inputs`` made it
    wish, last : what was asked, what the last clearing foresaw
    seconds : as long as may be waited
    hurried : whether the solver is to be told, which makes plans depend on the machine's speed

    Raises
    ------
    NoPlanError
        If there is none.
    """
    asked = _Asked(solver, seconds=seconds, hurried=hurried)
    try:
        async with asyncio.timeout(seconds):
            if wish.objective is Objective.PEAK:
                return await _lowest_peak(asked, snapshot)
            return await asked.plan(snapshot)
    except TimeoutError:
        reason = f"no answer within {seconds:.3g} s"
    except OptimizationError as err:
        reason = str(err)
    except Exception as err:  # whatever it is, the caller gets the tail or a clear answer
        log.exception("planning %s", snapshot.window.name)
        reason = type(err).__name__
    if asked.best is not None:
        return replace(asked.best, reason=reason)
    found = portfolio.tail(snapshot, last)
    if found is None:
        raise NoPlanError(f"no plan was found: {reason}")
    mtus, power_w, net_w = found
    return Found(
        quality=Quality.FEASIBLE,
        origin=Origin.TAIL,
        mtus=mtus,
        power_w=power_w,
        net_w=net_w,
        shortfall_wh={},
        discomfort_milli_k_h={},
        reason=reason,
    )


class _Asked:
    """The solver with the time that is left."""

    def __init__(self, solver: Solver, *, seconds: float, hurried: bool) -> None:
        self._solver = solver
        self._hurried = hurried
        self.best: Found | None = None
        self._end = asyncio.get_running_loop().time() + seconds

    async def plan(self, snapshot: Snapshot, *, share: float = 1.0) -> Found:
        """A plan, within a share of the time that is left."""
        try:
            seconds = share * (self._end - asyncio.get_running_loop().time())
            solved = await solve_relaxed(self._solve, self._solver, snapshot, max(LEAST_S, seconds), urgent=False)
            if isinstance(solved.outcome, Infeasible):
                return _infeasible(solved.outcome.reason)
            decision = await asyncio.to_thread(planning.decide, solved.snapshot, solved.community, solved.outcome)
            # A clearing tells of its window; a plan of all that it covers.
            return _found(replace(decision, relaxations=relaxations(solved.snapshot)))
        except ProblemError as err:  # limits that contradict each other, a community of nobody
            return _infeasible(str(err))

    async def _solve(self, community: Community, seconds: float) -> Outcome:
        if self._hurried and isinstance(self._solver, Yielding):
            return await self._solver.plan_within(community, seconds)
        if self._hurried and isinstance(self._solver, Punctual):
            return await self._solver.solve_within(community, seconds)
        return await self._solver.solve(community)


async def _lowest_peak(asked: _Asked, snapshot: Snapshot) -> Found:
    """The plan of the lowest peak found, by halving the limit at the connection point.

    ``asked.best`` is the best so far. No bound is proven for the peak, so the plan is never called optimal.
    """
    best = await asked.plan(snapshot, share=0.4)
    if best.quality is Quality.INFEASIBLE:
        return best
    missing = _missing(best)
    asked.best = best = _unproven(best)
    low, high = sum(best.net_w) // len(best.net_w), max(best.net_w)
    enough = max(LEAST_STEP_W, round(PEAK_SHARE * (high - low)))
    for _ in range(PEAK_STEPS):
        if high - low <= enough:
            break
        limit = (low + high) // 2
        tried = await asked.plan(portfolio.with_peak(snapshot, limit), share=0.3)
        if tried.quality is Quality.INFEASIBLE or any(m > k for m, k in zip(_missing(tried), missing, strict=True)):
            low = limit
        else:
            asked.best = best = _unproven(tried)
            high = max(best.net_w)
    return best


def _unproven(found: Found) -> Found:
    return replace(found, quality=Quality.FEASIBLE) if found.quality is Quality.OPTIMAL else found


def _missing(found: Found) -> tuple[int, int]:
    return sum(found.shortfall_wh.values()), sum(found.discomfort_milli_k_h.values())


def _found(decision: planning.Decision) -> Found:
    plan = decision.plan
    return Found(
        quality=planning.quality(decision),
        mtus=len(plan.net_w),
        power_w=plan.power_w,
        net_w=plan.net_w,
        shortfall_wh=plan.shortfall_wh,
        discomfort_milli_k_h=plan.discomfort_milli_k_h,
        certificate=decision.certificate,
        relaxations=decision.relaxations,
    )


def _infeasible(conflict: str) -> Found:
    return Found(quality=Quality.INFEASIBLE, power_w={}, shortfall_wh={}, discomfort_milli_k_h={}, conflict=conflict)
