from itertools import product

import pytest

from controller.commands import FOLLOWS, CommandState, TrackedCommand

STATES = [state.name for state in CommandState]
# One row for each state, one column for each in the order of the class: may it follow?
TABLE = {
    "ISSUED": ". x x x x x x x x x x",
    "RECEIVED": ". . x x x x x x x x x",
    "ACCEPTED": ". . . . x x x x x x x",
    "REJECTED": ". . . . . . . . . . .",
    "STARTED": ". . . . . x x x x x x",
    "APPLIED": ". . . . . . x x x x x",
    "VERIFIED": ". . . . . . . x x x x",
    "DIVERGED": ". . . . . . x . x x x",
    "SUPERSEDED": ". . . . . . . . . . .",
    "EXPIRED": ". . . . . . . . . . .",
    "FAILED": ". . . . . . . . . . .",
}


def tracked(state=CommandState.ISSUED, *, renews=None):
    command = TrackedCommand("c", window="w", expires_at=0.0, renews=renews)
    command.state = state
    return command


def test_the_table_has_every_state():
    assert set(TABLE) == set(STATES)
    assert {len(row.split()) for row in TABLE.values()} == {len(STATES)}
    assert set(FOLLOWS) == set(CommandState)


@pytest.mark.parametrize(("before", "after"), list(product(CommandState, CommandState)))
def test_each_cell(before, after):
    command = tracked(before)
    allowed = TABLE[before.name].split()[STATES.index(after.name)] == "x"
    assert command.take([after]) == ([after] if allowed else [])
    assert command.state is (after if allowed else before)


@pytest.mark.parametrize("state", CommandState)
def test_what_is_repeated_changes_nothing(state):
    command = tracked()
    command.take([state])
    assert command.take([state]) == []


def test_a_late_one_changes_nothing_of_what_came_after():
    command = tracked()
    command.take([CommandState.VERIFIED])
    assert command.take([CommandState.RECEIVED, CommandState.STARTED, CommandState.APPLIED]) == []
    assert command.state is CommandState.VERIFIED


def test_what_a_device_does_may_turn_out_otherwise_and_back():
    command = tracked()
    way = [CommandState.APPLIED, CommandState.DIVERGED, CommandState.VERIFIED, CommandState.DIVERGED]
    assert command.take(way) == way


def test_of_a_renewal_only_what_differs_is_kept():
    first = tracked()
    first.take([CommandState.APPLIED, CommandState.VERIFIED])
    second = tracked(renews=first)
    assert second.take([CommandState.RECEIVED, CommandState.APPLIED, CommandState.VERIFIED]) == []
    third = tracked(renews=second)
    assert third.take([CommandState.APPLIED, CommandState.DIVERGED]) == [CommandState.DIVERGED]
    fourth = tracked(renews=third)
    assert fourth.take([CommandState.DIVERGED, CommandState.VERIFIED]) == [CommandState.VERIFIED]


@pytest.mark.parametrize("state", [CommandState.REJECTED, CommandState.FAILED, CommandState.EXPIRED])
def test_a_renewal_that_goes_wrong_is_kept(state):
    assert tracked(renews=tracked()).take([state]) == [state]
