"""Windows of several microgrids beside each other, whatever one of them waits for."""

import asyncio
from dataclasses import replace

import pytest

from controller.store import market


class Patient:
    """A solver that leaves one microgrid without an answer until it is let go."""

    def __init__(self, site) -> None:
        self.inner, self.held = site.solver, asyncio.Event()
        self.asked = asyncio.Event()
        site.solver = self
        engine = site.service._engine
        engine._decider = replace(engine._decider, solver=self)

    async def solve(self, community):
        if not self.asked.is_set():
            self.asked.set()
            await self.held.wait()
        return await self.inner.solve(community)


def states(site, grid):
    return [row.state for row in site.database.run(market.windows, grid)]


async def one_is_cleared(site):
    while True:
        if "CLEARED" in states(site, "hamlet") + states(site, "village"):
            return
        await asyncio.sleep(0)


@pytest.fixture
def both(make_site):
    return make_site("village", "hamlet")


def test_one_that_waits_for_its_solver_holds_up_no_other(both):
    both.clock.set(both.start - 300)
    patient = Patient(both)

    async def live():
        await both.service.start_due()
        await patient.asked.wait()
        await one_is_cleared(both)
        during = sorted([states(both, "hamlet")[0], states(both, "village")[0]])
        await both.service.start_due()  # who is busy is left alone
        patient.held.set()
        await both.service.finish(60)
        return during

    assert both.loop.run(live()) == ["CLEARED", "CLOSED"]
    assert (states(both, "hamlet")[0], states(both, "village")[0]) == ("CLEARED", "CLEARED")


def test_what_is_cut_off_is_taken_later(both):
    both.clock.set(both.start - 300)
    patient = Patient(both)

    async def stop():
        await both.service.start_due()
        await patient.asked.wait()
        await one_is_cleared(both)
        await both.service.finish(0.0)

    both.loop.run(stop())
    assert sorted([states(both, "hamlet")[0], states(both, "village")[0]]) == ["CLEARED", "CLOSED"]
    both.advance()
    assert (states(both, "hamlet")[0], states(both, "village")[0]) == ("CLEARED", "CLEARED")


def test_a_solver_without_an_answer_leaves_the_window_to_its_fallback_in_time(site, monkeypatch):
    """The matching deadline is the start: the answer is given up before it."""
    site.live(until=site.start)
    monkeypatch.setattr("controller.decider.LEAST_WAIT_S", 0.0)
    site.clock.set(site.start + 1800)
    Patient(site)
    site.advance()
    row = site.row(1)
    assert (row.state, row.source) == ("FAILED", "TAIL")
    assert row.failure == "solver: got no answer within 0 s, wanted one by the window's deadline"
    assert site.of_window("setpoints", 1)


def test_an_error_of_one_is_raised_when_the_others_have_had_their_turn(both, monkeypatch):
    freeze = type(both.service._engine)._freeze

    def stumble(self, connection, microgrid, window):
        if microgrid.id == "hamlet":
            raise KeyError("lost")
        return freeze(self, connection, microgrid, window)

    monkeypatch.setattr(type(both.service._engine), "_freeze", stumble)
    with pytest.raises(KeyError, match="lost"):
        both.advance(both.start - 300)
    assert (states(both, "village")[0], states(both, "hamlet")[0]) == ("CLEARED", "OPEN")
