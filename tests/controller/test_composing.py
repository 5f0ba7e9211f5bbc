import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.clamp import Ability, Cap, Level, ability_of
from controller.composing import UNKNOWN, Override, Stretch, Target, compose, seen, unplanned
from controller.fleet import Declared, FleetDevice, Registered
from controller.flexibility import Plant, Relay
from controller.microgrid import SetpointKind
from tests.controller.flexibility_cases import vehicle

RELAY, POWER, LIMIT = SetpointKind.RELAY, SetpointKind.POWER, SetpointKind.PRODUCTION_LIMIT


def cap_of(consumption=None, production=None):
    return Cap(max_consumption_w=consumption, max_production_w=production)


BATTERY = Ability(consumption=(Level(min_w=0, max_w=5000),), production=(Level(min_w=0, max_w=5000),))
GENERATOR = Ability(production=(Level(min_w=500, max_w=2000),))


class TestLimits:
    def told(self, target, cap, ability):
        planned = [Stretch(start=0, end=9, target=target)]
        (only,) = compose(planned, override=None, failsafe=None, cap=cap, ability=ability, now=0, until=9)
        assert only.curtailed is (only.target != target)
        return only.target.value

    @pytest.mark.parametrize(("most", "value"), [(None, 1), (2000, 1), (1999, 0)])
    def test_a_relay_that_connects_a_producer_opens_under_a_limit_on_feeding_in(self, most, value):
        assert self.told(Target(RELAY, 1), cap_of(0, most), GENERATOR) == value

    def test_a_relay_that_only_draws_is_left_alone_by_it(self):
        boiler = ability_of(Relay(rated_w=1500, start=0, end=1, required_s=1))
        assert self.told(Target(RELAY, 1), cap_of(1500, 0), boiler) == 1

    @pytest.mark.parametrize("cap", [cap_of(10**8, None), cap_of(None, 10**8)])
    def test_what_a_relay_connects_that_nobody_knows_counts_as_any_power(self, cap):
        assert self.told(Target(RELAY, 1), cap, UNKNOWN) == 0

    @given(
        value=st.integers(-5000, 5000),
        consumption=st.none() | st.integers(0, 20_000),
        production=st.none() | st.integers(0, 20_000),
    )
    def test_a_cap_only_ever_shrinks_and_is_kept(self, value, consumption, production):
        told = self.told(Target(POWER, value), cap_of(consumption, production), BATTERY)
        assert abs(told) <= abs(value)
        assert told * value >= 0
        assert consumption is None or told <= consumption
        assert production is None or -told <= production

    @pytest.mark.parametrize("declared", [None, Target(POWER, 0)])
    def test_a_plant_without_plan_and_failsafe_is_bounded_and_no_other_device_is(self, declared):
        for flexibility in (Plant(rated_w=4000), vehicle(0, 1)):
            known = FleetDevice()
            known.registered = Registered(mtu_seconds=900, unplanned=unplanned(flexibility))
            known.declared = Declared(failsafe=declared)
            told = composed(failsafe=known.failsafe, cap=cap_of(0, 1000))
            assert told == ([(0, 100, 1000, True)] if declared is None and isinstance(flexibility, Plant) else [])


def stretch(start, end, value, **changes):
    return Stretch(start=start, end=end, target=Target(POWER, value), **changes)


def composed(*planned, override=None, failsafe=None, cap=None, now=0, until=100):
    told = compose(planned, override=override, failsafe=failsafe, cap=cap, ability=UNKNOWN, now=now, until=until)
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
        told = composed(stretch(0, 9, 5), stretch(9, 20, 2), cap=cap_of(3))
        assert told == [(0, 9, 3, True), (9, 20, 2, False)]

    def test_a_failsafe_that_breaks_the_cap_is_spelled_out_wherever_it_would_act(self):
        told = composed(
            stretch(10, 20, 2),
            stretch(30, 40, 3),
            failsafe=Target(POWER, 9),
            cap=cap_of(4),
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
        assert composed(failsafe=Target(POWER, 4), cap=cap_of(4)) == []


class TestSeen:
    def test_the_same_in_two_pieces_is_the_same(self):
        assert seen([stretch(0, 5, 1), stretch(5, 9, 1)], start=2, end=8) == ((2, 8, Target(POWER, 1)),)

    def test_a_gap_and_a_change_are_seen(self):
        parts = seen([stretch(0, 3, 1), stretch(4, 6, 1), stretch(6, 9, 2)], start=0, end=9)
        assert [(a, b, t.value) for a, b, t in parts] == [(0, 3, 1), (4, 6, 1), (6, 9, 2)]

    def test_what_lies_outside_is_not(self):
        assert seen([stretch(0, 3, 1), stretch(9, 12, 1)], start=3, end=9) == ()
