"""What is told of the steps of windows: each that is taken, how long it took, and why one was not what it should be."""

import pytest

from controller.errors import StoreError
from tests.controller.stand_ins import FAULT
from tests.controller.village import START


@pytest.fixture
def watched(make_site):
    """The village's service, and what it tells of steps."""
    told = []
    return make_site("village", on_step=told.append), told


def test_each_step_of_a_window_is_told_once(watched):
    site, told = watched
    site.live(until=START + 1800)
    first = site.window(0)
    steps = [step for step in told if step.window == first]
    assert [step.step for step in steps] == ["close", "clear", "deliver", "meter", "settle"]
    assert {step.outcome for step in told} == {"done"}
    assert all(step.seconds > 0 for step in told)


def test_a_fallback_has_its_reason(watched):
    site, told = watched
    site.solver.script.append(FAULT)
    site.advance(START - 300)
    assert [(step.step, step.outcome) for step in told] == [("close", "done"), ("clear", "undecided")]
    told.clear()
    site.advance(START + 3600)
    assert [step.outcome for step in told if step.step == "clear"] == ["late", "done"]


def test_a_step_that_breaks_is_told_with_its_exception(watched, monkeypatch):
    site, told = watched

    def broken(*_):
        raise StoreError("no room")

    monkeypatch.setattr(site.service._engine, "_freeze", broken)
    with pytest.raises(StoreError):
        site.advance(START - 300)
    assert [(step.step, step.outcome) for step in told] == [("close", "StoreError")]
    monkeypatch.undo()
    site.advance()
    assert [(step.step, step.outcome) for step in told][1:] == [("close", "done"), ("clear", "done")]
