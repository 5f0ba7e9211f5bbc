"""Every state times every event, under a clock of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.limits.supervision import Control, Heard, Restated, Supervision, Ticked, Timing, step

TIMING = Timing()
INIT, CONTROLLED, FAILSAFE = Control.INIT, Control.CONTROLLED, Control.FAILSAFE

NEVER = {"heard": None, "unbroken": None}
LATELY = {"heard": 950.0, "unbroken": 900.0}
LONG = {"heard": 990.0, "unbroken": 880.0}
SILENT = {"heard": 880.0, "unbroken": 800.0}
BROKEN = {"heard": 950.0, "unbroken": None}

EVENTS = {
    "heartbeat": Heard(at=1000.0),
    "confirmed": Heard(at=1000.0, confirm=True),
    "clocks disagree": Heard(at=1000.0, confirm=True, clocks_agree=False),
    "limit": Restated(at=1000.0),
    "tick": Ticked(at=1000.0),
    "clock was set": Ticked(at=1000.0, jumped=True),
}

TABLE = {
    # what was heard before: the state after each event, in the order of EVENTS, from INIT, CONTROLLED and FAILSAFE
    "never": (NEVER, {
        INIT: (INIT, CONTROLLED, FAILSAFE, INIT, FAILSAFE, FAILSAFE),
        FAILSAFE: (FAILSAFE, CONTROLLED, FAILSAFE, FAILSAFE, FAILSAFE, FAILSAFE),
    }),
    "lately": (LATELY, {
        INIT: (INIT, CONTROLLED, FAILSAFE, CONTROLLED, INIT, FAILSAFE),
        CONTROLLED: (CONTROLLED, CONTROLLED, FAILSAFE, CONTROLLED, CONTROLLED, FAILSAFE),
        FAILSAFE: (FAILSAFE, CONTROLLED, FAILSAFE, CONTROLLED, FAILSAFE, FAILSAFE),
    }),
    "for 120 s": (LONG, {
        INIT: (CONTROLLED, CONTROLLED, FAILSAFE, CONTROLLED, INIT, FAILSAFE),
        CONTROLLED: (CONTROLLED, CONTROLLED, FAILSAFE, CONTROLLED, CONTROLLED, FAILSAFE),
        FAILSAFE: (CONTROLLED, CONTROLLED, FAILSAFE, CONTROLLED, FAILSAFE, FAILSAFE),
    }),
    "120 s ago": (SILENT, {
        INIT: (INIT, CONTROLLED, FAILSAFE, INIT, FAILSAFE, FAILSAFE),
        CONTROLLED: (FAILSAFE, CONTROLLED, FAILSAFE, CONTROLLED, FAILSAFE, FAILSAFE),
        FAILSAFE: (FAILSAFE, CONTROLLED, FAILSAFE, FAILSAFE, FAILSAFE, FAILSAFE),
    }),
    "after a break": (BROKEN, {
        INIT: (INIT, CONTROLLED, FAILSAFE, INIT, INIT, FAILSAFE),
        FAILSAFE: (FAILSAFE, CONTROLLED, FAILSAFE, FAILSAFE, FAILSAFE, FAILSAFE),
    }),
}  # fmt: skip

CELLS = [
    (heard, was, event, after)
    for heard, (_, rows) in TABLE.items()
    for was, row in rows.items()
    for event, after in zip(EVENTS, row, strict=True)
]


@pytest.mark.parametrize(("heard", "was", "event", "after"), CELLS)
def test_each_cell_of_the_table(heard, was, event, after):
    known = Supervision(control=was, supervised=True, since=700.0, **TABLE[heard][0])
    assert step(known, EVENTS[event], TIMING).control is after


@pytest.mark.parametrize("event", EVENTS)
def test_who_never_supervised_is_not_missed(event):
    after = step(Supervision(since=0.0), EVENTS[event], TIMING)
    assert after.control is {"confirmed": CONTROLLED, "clocks disagree": FAILSAFE}.get(event, INIT)


def test_silence_is_told_to_the_second():
    known = Supervision(control=CONTROLLED, supervised=True, since=0.0, heard=100.0, unbroken=0.0)
    assert step(known, Ticked(at=219.9), TIMING).control is CONTROLLED
    assert step(known, Ticked(at=220.0), TIMING).control is FAILSAFE


def test_a_heartbeat_every_60_s_alone_takes_control_after_120_s():
    known = Supervision(supervised=True, since=0.0)
    states = []
    for at in (10.0, 70.0, 129.0, 131.0):
        known = step(known, Heard(at=at), TIMING)
        states.append(known.control)
    assert states == [INIT, INIT, INIT, CONTROLLED]


times = st.floats(0.0, 400.0)
events = st.one_of(
    st.builds(lambda gap, confirm, agree: (gap, "heard", confirm, agree), times, st.booleans(), st.booleans()),
    st.builds(lambda gap: (gap, "limit", False, False), times),
    st.builds(lambda gap, jumped: (gap, "tick", jumped, False), times, st.booleans()),
)


@given(st.lists(events, max_size=40))
def test_control_needs_a_heartbeat_less_than_120_s_ago_when_time_is_looked_at(story):
    known, at, heard = Supervision(supervised=True, since=0.0), 0.0, None
    for gap, kind, one, other in story:
        at += gap
        match kind:
            case "heard":
                heard = at if other else heard
                known = step(known, Heard(at=at, confirm=one, clocks_agree=other), TIMING)
            case "limit":
                known = step(known, Restated(at=at), TIMING)
            case _:
                known = step(known, Ticked(at=at, jumped=one), TIMING)
        looked = step(known, Ticked(at=at), TIMING)
        if looked.control is CONTROLLED:
            assert heard is not None
            assert at - heard < TIMING.lost_s
