from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.composing import UNKNOWN, Override, Ratings, Stretch, Target, compose, limited, ratings_of, seen
from controller.flexibility import Generator, Phase, Plant, Programme, Relay
from controller.microgrid import SetpointKind
from tests.controller.flexibility_cases import vehicle

RELAY, POWER, LIMIT = SetpointKind.RELAY, SetpointKind.POWER, SetpointKind.PRODUCTION_LIMIT


@dataclass
class FixedCap:
    max_consumption_w: int | None = None
    max_production_w: int | None = None


LEVELS = Ratings(consumption=((1400, 3700), (4100, 11_000)), production=((500, 2000),))


class TestLimited:
    @pytest.mark.parametrize(
        ("target", "cap", "ratings", "value"),
        [
            (Target(RELAY, 1), FixedCap(max_consumption_w=1500), Ratings(closed_w=1500), 1),
            (Target(RELAY, 1), FixedCap(max_consumption_w=1499), Ratings(closed_w=1500), 0),
            (Target(RELAY, 0), FixedCap(max_consumption_w=0), Ratings(closed_w=1500), 0),
            (Target(RELAY, 1), FixedCap(max_consumption_w=10**9), UNKNOWN, 0),
            (Target(RELAY, 1), FixedCap(max_production_w=0), UNKNOWN, 1),
            (Target(POWER, 900), FixedCap(max_consumption_w=400), UNKNOWN, 400),
            (Target(POWER, 900), FixedCap(max_consumption_w=-5), UNKNOWN, 0),
            (Target(POWER, 900), FixedCap(max_production_w=0), UNKNOWN, 900),
            (Target(POWER, -900), FixedCap(max_production_w=400), UNKNOWN, -400),
            (Target(POWER, -900), FixedCap(max_consumption_w=0), UNKNOWN, -900),
            (Target(POWER, 11_000), FixedCap(max_consumption_w=5000), LEVELS, 5000),
            (Target(POWER, 11_000), FixedCap(max_consumption_w=4000), LEVELS, 3700),
            (Target(POWER, 11_000), FixedCap(max_consumption_w=1399), LEVELS, 0),
            (Target(POWER, -1500), FixedCap(max_production_w=499), LEVELS, 0),
            (Target(POWER, -1500), FixedCap(max_production_w=700), LEVELS, -700),
            (Target(LIMIT, 4000), FixedCap(max_production_w=1000), UNKNOWN, 1000),
            (Target(LIMIT, 4000), FixedCap(max_consumption_w=0), UNKNOWN, 4000),
            (Target(LIMIT, 4000), None, UNKNOWN, 4000),
        ],
    )
    def test_a_target_under_a_cap(self, target, cap, ratings, value):
        assert limited(target, cap, ratings) == Target(target.kind, value)

    @given(
        value=st.integers(-20_000, 20_000),
        consumption=st.none() | st.integers(0, 20_000),
        production=st.none() | st.integers(0, 20_000),
    )
    def test_a_cap_only_ever_shrinks_and_is_kept(self, value, consumption, production):
        cap = FixedCap(consumption, production)
        told = limited(Target(POWER, value), cap, LEVELS).value
        assert abs(told) <= abs(value)
        assert told * value >= 0
        assert consumption is None or told <= consumption
        assert production is None or -told <= production


@pytest.mark.parametrize(
    ("flexibility", "ratings"),
    [
        (Relay(rated_w=5, start=0, end=1, required_s=1), Ratings(closed_w=5)),
        (Programme(phases=(Phase(power_w=(3, 9)), Phase(power_w=(4,))), start=0, end=9), Ratings(closed_w=9)),
        (Plant(rated_w=4), UNKNOWN),
        (Generator(min_w=2, max_w=6), Ratings(closed_w=0, production=((2, 6),))),
    ],
)
def test_what_is_known_of_a_device(flexibility, ratings):
    assert ratings_of(flexibility) == ratings


def test_a_vehicle_charges_by_its_levels():
    found = ratings_of(vehicle(0, 1))
    assert found.consumption is not None
    assert all(lower <= upper for lower, upper in found.consumption)


def stretch(start, end, value, **changes):
    return Stretch(start=start, end=end, target=Target(POWER, value), **changes)


def composed(*planned, override=None, failsafe=None, cap=None, now=0, until=100):
    told = compose(planned, override=override, failsafe=failsafe, cap=cap, ratings=UNKNOWN, now=now, until=until)
    return [(s.start, s.end, s.target.value, s.curtailed) for s in told]


class TestCompose:
    def test_the_plan_as_it_is(self):
        assert composed(stretch(0, 9, 5), stretch(9, 20, 6)) == [(0, 9, 5, False), (9, 20, 6, False)]

    def test_neither_what_is_over_nor_what_is_far(self):
        assert composed(stretch(0, 9, 5), stretch(9, 20, 6), stretch(20, 30, 7), now=9, until=20) == [(9, 20, 6, False)]

    def test_an_override_cuts_into_the_plan(self):
        override = Override(target=Target(POWER, 1), until=12)
        assert composed(stretch(0, 9, 5), stretch(9, 20, 6), override=override, now=3) == [
            (3, 12, 1, False),
            (12, 20, 6, False),
        ]

    def test_an_override_that_is_over_does_not_count(self):
        override = Override(target=Target(POWER, 1), until=3)
        assert composed(stretch(0, 9, 5), override=override, now=3) == [(0, 9, 5, False)]

    def test_a_cap_holds_for_all_that_is_told(self):
        told = composed(stretch(0, 9, 5), stretch(9, 20, 2), cap=FixedCap(max_consumption_w=3))
        assert told == [(0, 9, 3, True), (9, 20, 2, False)]

    def test_a_failsafe_that_breaks_the_cap_is_spelled_out_wherever_it_would_act(self):
        told = composed(
            stretch(10, 20, 2),
            stretch(30, 40, 3),
            failsafe=Target(POWER, 9),
            cap=FixedCap(max_consumption_w=4),
            until=50,
        )
        assert told == [
            (0, 10, 4, True),
            (10, 20, 2, False),
            (20, 30, 4, True),
            (30, 40, 3, False),
            (40, 50, 4, True),
        ]

    def test_a_failsafe_that_keeps_the_cap_is_left_to_the_driver(self):
        assert composed(failsafe=Target(POWER, 4), cap=FixedCap(max_consumption_w=4)) == []


class TestSeen:
    def test_the_same_in_two_pieces_is_the_same(self):
        assert seen([stretch(0, 5, 1), stretch(5, 9, 1)], start=2, end=8) == ((2, 8, Target(POWER, 1)),)

    def test_a_gap_and_a_change_are_seen(self):
        parts = seen([stretch(0, 3, 1), stretch(4, 6, 1), stretch(6, 9, 2)], start=0, end=9)
        assert [(a, b, t.value) for a, b, t in parts] == [(0, 3, 1), (4, 6, 1), (6, 9, 2)]

    def test_what_lies_outside_is_not(self):
        assert seen([stretch(0, 3, 1), stretch(9, 12, 1)], start=3, end=9) == ()
