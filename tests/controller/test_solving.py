import asyncio
import os
import signal

import numpy as np
import pytest

from controller.solving import ReferenceSolver
from optimization.clearing import Infeasible
from optimization.community import Community, Envelope, FixedLoad, Horizon, Peer, Tariff
from optimization.errors import SolverError
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
def test_a_process_that_dies_is_a_solver_error_and_the_next_problem_is_solved(solver):
    async def ask():
        await solver.solve(community())
        (worker,) = solver._pool._processes
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(SolverError, match="worker process"):
            await solver.solve(community())
        return await solver.solve(community())

    assert asyncio.run(ask()).objective == pytest.approx(0.1 * 0.25 + 0.2 * 0.5)


@pytest.mark.slow
def test_a_closed_solver_begins_anew(solver):
    async def ask():
        await solver.solve(community())
        solver.close()
        return await solver.solve(community())

    assert asyncio.run(ask()).objective == pytest.approx(0.125)
