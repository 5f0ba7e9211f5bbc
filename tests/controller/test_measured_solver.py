import asyncio
from types import SimpleNamespace

import pytest

from controller.measured_solver import MeasuredSolver
from controller.tracing import NoTracer
from optimization.clearing import Infeasible
from optimization.errors import SolverError


class Stand:
    """A solver that answers as it is told."""

    def __init__(self, answer):
        self.answer = answer

    async def solve(self, community):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def solve_within(self, community, seconds):
        return await self.solve(community)

    async def plan_within(self, community, seconds):
        return await self.solve(community)

    async def standing(self, community, device_kw, mtus):
        return community, mtus


def measured(answer, method="solve", *arguments):
    told = []
    solver = MeasuredSolver(Stand(answer), lambda *figures: told.append(figures), NoTracer())
    search = getattr(solver, method)("community", *arguments)
    if isinstance(answer, SolverError):
        with pytest.raises(SolverError) as caught:
            asyncio.run(search)
        assert caught.value is answer
    else:
        assert asyncio.run(search) is answer
    ((outcome, seconds, gap),) = told
    assert seconds >= 0
    return outcome, gap


@pytest.mark.parametrize(
    ("objective", "bound", "gap"), [(100.0, 99.0, 0.01), (-100.0, -101.0, 0.01), (5.0, 5.0 + 1e-15, 0.0)]
)
def test_what_was_found_has_a_gap_that_is_never_below_nothing(objective, bound, gap):
    found = SimpleNamespace(objective=objective, lower_bound=bound)
    assert measured(found) == ("done", pytest.approx(gap))
    assert measured(found, "solve_within", 3.0) == ("done", pytest.approx(gap))
    assert measured(found, "plan_within", 3.0) == ("done", pytest.approx(gap))


def test_a_proof_that_there_is_nothing_is_an_outcome_of_its_own():
    assert measured(Infeasible(reason="limits conflict")) == ("infeasible", None)


def test_a_failure_is_passed_on_and_counted():
    assert measured(SolverError("gave up")) == ("failed", None)


def test_weighing_is_passed_on():
    solver = MeasuredSolver(Stand(None), lambda *_: None, NoTracer())
    assert asyncio.run(solver.standing("community", {}, 2)) == ("community", 2)
