import asyncio
import os
import signal

import numpy as np
import pytest

from controller.errors import InputError
from controller.solving import DecompositionSolver, ReferenceSolver
from optimization.certificate import certify
from optimization.clearing import Infeasible
from optimization.community import Community, Envelope, FixedLoad, Horizon, Peer, Tariff
from optimization.reference.dispatch import dispatch


def community(limit_kw=10.0):
    return Community(
        horizon=Horizon(mtus=2),
        tariff=Tariff(import_price=[0.1, 0.2], export_price=[0.05, 0.05]),
        peers=(Peer(id="ada", section="east", devices=(FixedLoad(id="ada/load", power_kw=[1.0, 2.0]),)),),
        envelopes=(
            Envelope(
                name="limit", peers=frozenset({"ada"}), lower_kw=np.full(2, -np.inf), upper_kw=np.full(2, limit_kw)
            ),
        ),
    )


@pytest.fixture
def solver():
    solver = ReferenceSolver()
    yield solver
    solver.close()


@pytest.mark.slow
def test_another_process_answers_like_this_one(solver):
    async def ask():
        return await asyncio.gather(solver.solve(community()), solver.solve(community(1.0)))

    clearing, infeasible = asyncio.run(ask())
    here = dispatch(community())
    assert (clearing.objective, clearing.lower_bound) == (here.objective, here.lower_bound)
    assert np.array_equal(clearing.import_kwh, here.import_kwh)
    assert isinstance(infeasible, Infeasible)


@pytest.mark.slow
@pytest.mark.parametrize("deadline_s", [None, 1e-6])
def test_another_process_tells_where_a_plan_leaves_members(deadline_s):
    solver = DecompositionSolver(deadline_s=deadline_s)
    try:
        found = asyncio.run(solver.standing(community(), {"ada/load": np.array([1.0, 2.0])}, 1))
    finally:
        solver.close()
    assert found.alone == pytest.approx([0.1 * 0.25 + 0.2 * 0.5], abs=1e-3)
    # The first quarter-hour has passed, and what it cost is not in this.
    assert found.dearer == pytest.approx([-0.1 * 0.25], abs=1e-3)


@pytest.mark.slow
def test_a_process_that_died_is_replaced(solver):
    async def ask():
        await solver.solve(community())
        (worker,) = solver.pool.pids()
        os.kill(worker, signal.SIGKILL)
        outcome = await solver.solve(community())
        return outcome, worker, solver.pool.pids()

    outcome, before, after = asyncio.run(ask())
    assert outcome.objective == pytest.approx(0.1 * 0.25 + 0.2 * 0.5)
    assert len(after) == 1
    assert before not in after


@pytest.mark.slow
def test_a_closed_solver_begins_anew(solver):
    async def ask():
        await solver.solve(community())
        solver.close()
        return await solver.solve(community())

    assert asyncio.run(ask()).objective == pytest.approx(0.125)


@pytest.mark.slow
class TestDecomposition:
    @pytest.fixture
    def ask(self):
        """Asks a solver of its own."""
        solvers = []

        def ask(problem, **options):
            solvers.append(DecompositionSolver(**options))
            return asyncio.run(solvers[-1].solve(problem))

        yield ask
        for solver in solvers:
            solver.close()

    @pytest.mark.parametrize("deadline_s", [None, 60.0, 1e-6])
    def test_it_answers_by_the_deadline_or_without_one_and_what_it_answers_is_feasible(self, ask, deadline_s):
        clearing = ask(community(), deadline_s=deadline_s)
        certificate = certify(community(), clearing)
        assert certificate.feasible
        assert clearing.lower_bound <= certificate.objective + 1e-9
        assert certificate.objective == pytest.approx(0.125)  # nothing here can be moved

    def test_who_is_in_haste_and_who_can_wait_are_answered_alike_and_told_what_limits_lack(self):
        solver = DecompositionSolver(deadline_s=60.0)

        async def run():
            return await asyncio.gather(
                solver.solve_within(community(), 30.0),
                solver.plan_within(community(), 30.0),
                solver.least_excess(community(1.0), 30.0, urgent=True),
            )

        try:
            urgent, patient, excess = asyncio.run(run())
        finally:
            solver.close()
        assert (urgent.objective, patient.objective) == (pytest.approx(0.125), pytest.approx(0.125))
        ((name, (below, above)),) = excess.items()
        assert (name, list(below), list(above)) == ("limit", [0.0, 0.0], [0.0, pytest.approx(1.0)])

    def test_it_names_what_conflicts(self, ask):
        assert isinstance(ask(community(1.0)), Infeasible)


@pytest.mark.parametrize("workers", [0, -1])
def test_there_is_a_worker(workers):
    with pytest.raises(InputError, match="workers: got"):
        DecompositionSolver(workers=workers)


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, float("nan")])
def test_a_deadline_lies_ahead(deadline_s):
    with pytest.raises(InputError, match="deadline"):
        DecompositionSolver(deadline_s=deadline_s)
