"""Windows whose search is in a real process that hangs, dies, talks nonsense, takes all memory, or is busy."""

import time
from collections import deque
from functools import partial

import pytest

from controller.microgrid import PlanSource
from controller.workers import PATIENT, URGENT, WorkerPool
from gridpact.v1 import dispatch_pb2
from tests.controller.faulty_searches import cheat, crash, devour, hang, linger, ramble, search

pytestmark = pytest.mark.slow


class Pooled:
    """Answers in one process: by its script, then as the reference does; to who can wait as it is told."""

    def __init__(self):
        self.pool = WorkerPool(workers=1, memory_bytes=2**33)
        self.script = deque()
        self.patient = search

    async def solve_within(self, community, seconds):
        return await self.pool.run(self.script.popleft() if self.script else search, community, urgency=URGENT)

    async def solve(self, community):
        return await self.pool.run(self.patient, community, urgency=PATIENT)


@pytest.fixture
def pooled(settled):
    """The village with a window that is cleared, and a pool for the next one."""
    solver = Pooled()
    settled.solver.solve_within, settled.solver.solve = solver.solve_within, solver.solve
    yield solver
    solver.pool.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (hang, "solver: got no answer within 1 s"),
        (crash, "worker process: got its end twice"),
        (ramble, "AttributeError"),
        (cheat, "recomputed feasibility: "),
        (devour, "MemoryError"),
    ],
)
def test_the_declared_fallback_acts_and_it_is_said_why(settled, pooled, fault, said):
    pooled.script.append(fault)
    # A second before the window's deadline where nothing else ends it.
    settled.advance(settled.start + (3599 if fault is hang else 3300))
    row = settled.row(2)
    assert (row.state, row.source) == ("FAILED", PlanSource.TAIL.value)
    assert said in row.failure
    assert settled.of_window("setpoints", 2)
    told = settled.aggregator.GetClearing(dispatch_pb2.GetClearingRequest(window=row.name)).clearing
    assert (told.state, told.failure) == (dispatch_pb2.WINDOW_STATE_FAILED, row.failure)
    settled.advance(settled.start + 5100)
    assert settled.row(3).source == PlanSource.CLEARING.value


def test_no_plan_that_is_being_made_holds_up_a_clearing(settled, pooled, tmp_path):
    pooled.patient = partial(linger, str(tmp_path / "asked"))
    request = dispatch_pb2.RequestPlanRequest(parent="microgrids/village", request_id="patient")
    plan = settled.aggregator.RequestPlan.future(request)
    while not (tmp_path / "asked").exists():
        time.sleep(0.01)
    settled.advance(settled.start + 3300)
    assert settled.row(2).source == PlanSource.CLEARING.value
    assert plan.result().plan.quality == dispatch_pb2.PLAN_QUALITY_OPTIMAL
