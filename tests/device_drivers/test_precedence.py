"""The table of precedence, cell by cell."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_drivers.precedence import (
    PRECEDENCE,
    PRECEDENCE_HARD,
    Hold,
    Rule,
    Situation,
    decide,
    shrunk,
    span,
)
from device_drivers.setpoint import Bounds, Power, ProductionLimit, RelayState

ON, OFF = RelayState(closed=True), RelayState(closed=False)
FREE, NONE, ALL = Bounds(lower_w=None, upper_w=None), Bounds(lower_w=0, upper_w=0), Bounds(lower_w=-9, upper_w=2000)
RATING = Bounds(lower_w=0, upper_w=2000)

# What is wanted below (setpoint, else failsafe) x minimum times x room under limits x interlock, with soft minimum
# times and with hard ones: what the relay does, and which rule says so. Written by hand, not computed.
S, F, M, L, I = Rule.SETPOINT, Rule.FAILSAFE, Rule.MINIMUM_TIMES, Rule.LIMIT, Rule.INTERLOCK  # noqa: E741
WANTED = {
    "setpoint on": (ON, OFF, S, True),
    "setpoint off": (OFF, ON, S, False),
    "failsafe on": (None, ON, F, True),
    "failsafe off": (None, OFF, F, False),
}
CELLS = {
    # wanted on?  minimum times  room     interlock    soft             hard
    (True, "free", "enough", "free"): ((True, None), (True, None)),
    (True, "free", "enough", "blocked"): ((False, I), (False, I)),
    (True, "free", "none", "free"): ((False, L), (False, L)),
    (True, "free", "none", "blocked"): ((False, L), (False, L)),
    (True, "stay on", "enough", "free"): ((True, None), (True, None)),
    (True, "stay on", "enough", "blocked"): ((False, I), (False, I)),
    (True, "stay on", "none", "free"): ((False, L), (True, M)),
    (True, "stay on", "none", "blocked"): ((False, L), (False, I)),
    (True, "stay off", "enough", "free"): ((False, M), (False, M)),
    (True, "stay off", "enough", "blocked"): ((False, M), (False, M)),
    (True, "stay off", "none", "free"): ((False, M), (False, L)),
    (True, "stay off", "none", "blocked"): ((False, M), (False, L)),
    (False, "free", "enough", "free"): ((False, None), (False, None)),
    (False, "free", "enough", "blocked"): ((False, None), (False, None)),
    (False, "free", "none", "free"): ((False, None), (False, None)),
    (False, "free", "none", "blocked"): ((False, None), (False, None)),
    (False, "stay on", "enough", "free"): ((True, M), (True, M)),
    (False, "stay on", "enough", "blocked"): ((False, I), (False, I)),
    (False, "stay on", "none", "free"): ((False, L), (True, M)),
    (False, "stay on", "none", "blocked"): ((False, L), (False, I)),
    (False, "stay off", "enough", "free"): ((False, None), (False, None)),
    (False, "stay off", "enough", "blocked"): ((False, None), (False, None)),
    (False, "stay off", "none", "free"): ((False, None), (False, None)),
    (False, "stay off", "none", "blocked"): ((False, None), (False, None)),
}
HOLDS = {
    "free": None,
    "stay on": Hold(target=ON, until=9.0, reason="minimum on time"),
    "stay off": Hold(target=OFF, until=9.0, reason="minimum off time"),
}


def test_the_table_has_every_cell():
    assert set(CELLS) == set(product((True, False), HOLDS, ("enough", "none"), ("free", "blocked")))


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(map(str, cell)))
@pytest.mark.parametrize("precedence", [PRECEDENCE, PRECEDENCE_HARD], ids=["soft", "hard"])
def test_each_cell(cell, precedence):
    closed, rule = CELLS[cell][precedence is PRECEDENCE_HARD]
    for setpoint, failsafe, source, wants_on in WANTED.values():
        if wants_on is not cell[0]:
            continue
        situation = Situation(
            setpoint=setpoint,
            failsafe=failsafe,
            hold=HOLDS[cell[1]],
            room=ALL if cell[2] == "enough" else NONE,
            rating=RATING,
            blocked_by="other" if cell[3] == "blocked" else None,
        )
        decision = decide(situation, precedence)
        assert (decision.target, decision.rule) == (RelayState(closed=closed), rule or source)
        assert bool(decision.reason) is (decision.rule is not S)


@pytest.mark.parametrize(
    ("target", "room", "left"),
    [
        (Power(power_w=3000), ALL, Power(power_w=2000)),
        (Power(power_w=-3000), ALL, Power(power_w=-9)),
        (Power(power_w=3000), NONE, Power(power_w=0)),
        (Power(power_w=3000), FREE, Power(power_w=3000)),
        (ProductionLimit(limit_w=500), ALL, ProductionLimit(limit_w=9)),
        (ProductionLimit(limit_w=5), ALL, ProductionLimit(limit_w=5)),
        (ON, FREE, ON),
        (ON, Bounds(lower_w=None, upper_w=1999), OFF),
        (OFF, NONE, OFF),
    ],
)
def test_a_limit_leaves_as_much_as_there_is_room_for(target, room, left):
    rating = Bounds(lower_w=-5000, upper_w=0) if isinstance(target, ProductionLimit) else RATING
    assert shrunk(target, room=room, rating=rating) == left


def test_a_relay_of_unknown_rating_has_room_under_no_limit():
    assert shrunk(ON, room=Bounds(lower_w=None, upper_w=10**9), rating=FREE) == OFF
    assert shrunk(ON, room=FREE, rating=FREE) == ON


def test_a_plant_that_is_blocked_gives_nothing():
    situation = Situation(
        setpoint=ProductionLimit(limit_w=10), failsafe=OFF, hold=None, room=FREE, rating=FREE, blocked_by="x"
    )
    assert decide(situation).target == ProductionLimit(limit_w=0)


powers = st.integers(-5000, 5000)
targets = st.one_of(
    st.builds(RelayState, closed=st.booleans()),
    st.builds(Power, power_w=powers),
    st.builds(ProductionLimit, limit_w=st.integers(0, 5000)),
)
bands = st.builds(Bounds, lower_w=st.none() | st.integers(-5000, 0), upper_w=st.none() | st.integers(0, 5000))


@given(targets, bands, bands)
def test_what_a_limit_leaves_fits_it_and_nothing_is_ever_made_larger(target, room, rating):
    needs, left = span(target, rating), span(shrunk(target, room=room, rating=rating), rating)
    assert room.upper_w is None or (left.upper_w is not None and left.upper_w <= room.upper_w)
    assert room.lower_w is None or (left.lower_w is not None and left.lower_w >= room.lower_w)
    assert needs.upper_w is None or (left.upper_w is not None and left.upper_w <= needs.upper_w)
    assert needs.lower_w is None or (left.lower_w is not None and left.lower_w >= needs.lower_w)
