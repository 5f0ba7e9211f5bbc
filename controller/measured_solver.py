"""A solver whose searches are timed and told of."""

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Protocol

from controller.solving import Easer, Punctual, Solver, Weigher, Yielding
from controller.tracing import Tracer
from optimization.clearing import Infeasible, Outcome
from optimization.community import Community
from optimization.quantities import DeviceId, Floats
from optimization.uplift import Standing

Told = Callable[[str, float, float | None], None]
"""Is told how a search ended, after how many seconds, and with which gap where it found something."""


class WeighingSolver(Solver, Weigher, Punctual, Yielding, Easer, Protocol):
    """A solver that keeps deadlines, and also tells where a plan leaves each member and which limits cannot be kept."""


class MeasuredSolver:
    """Passes problems on and tells how each search ended.

    Parameters
    ----------
    solver : who searches, and weighs
    told, tracer : who hears of it
    """

    def __init__(self, solver: WeighingSolver, told: Told, tracer: Tracer) -> None:
        self._solver = solver
        self._told = told
        self._tracer = tracer

    async def solve(self, community: Community) -> Outcome:
        """What the solver answers."""
        return await self._measure(self._solver.solve(community))

    async def solve_within(self, community: Community, seconds: float) -> Outcome:
        """What the solver answers by then."""
        return await self._measure(self._solver.solve_within(community, seconds))

    async def plan_within(self, community: Community, seconds: float) -> Outcome:
        """What the solver answers by then to who can wait."""
        return await self._measure(self._solver.plan_within(community, seconds))

    async def _measure(self, search: Awaitable[Outcome]) -> Outcome:
        began, outcome, gap = perf_counter(), "failed", None
        with self._tracer.step("search") as span:
            try:
                found = await search
                if isinstance(found, Infeasible):
                    outcome = "infeasible"
                else:
                    outcome, gap = "done", _gap(found.objective, found.lower_bound)
            finally:
                span.end(outcome)
                self._told(outcome, perf_counter() - began, gap)
        return found

    async def least_excess(
        self, community: Community, seconds: float, *, urgent: bool
    ) -> Mapping[str, tuple[Floats, Floats]]:
        """What the solver answers."""
        return await self._solver.least_excess(community, seconds, urgent=urgent)

    async def standing(self, community: Community, device_kw: Mapping[DeviceId, Floats], mtus: int) -> Standing:
        """What the solver answers."""
        return await self._solver.standing(community, device_kw, mtus)


def _gap(objective: float, lower_bound: float) -> float:
    """How far an objective is from its bound, relative to itself; rounding alone is nothing."""
    return max(0.0, objective - lower_bound) / max(abs(objective), 1e-9)
