from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.flexibility import (
    ChargingLevel,
    Generator,
    Phase,
    Plant,
    Programme,
    Relay,
    Storage,
    Thermostat,
    Vehicle,
)
from controller.microgrid import DeviceSetpoint, DeviceState, SetpointKind, TariffPeriod
from controller.overrides import Forbidden, Foreseen, Wish, cost_of, decide
from controller.wishes import (
    Cost,
    Decided,
    Mode,
    Override,
    OverrideState,
    Step,
    decided_from_plain,
    decided_to_plain,
    mean_power_w,
    obeyed,
    step_at,
)

NOW = 1_000_000_800  # a quarter of an hour begins
MTU = 900
MIDNIGHT = NOW + 36_000
RELAY = Relay(rated_w=1500, start=NOW - 3600, end=NOW + 7200, required_s=2700)
PROGRAMME = Programme(
    phases=(Phase(power_w=(2000, 100)), Phase(power_w=(900,), min_pause_s=900, max_pause_s=1800)),
    start=NOW - 3600,
    end=NOW + 7200,
)
VEHICLE = Vehicle(
    arrival=NOW - 3600,
    departure=NOW + 36_000,
    capacity_wh=50_000,
    stored_wh=10_000,
    required_wh=40_000,
    levels=(ChargingLevel(lower_w=1400, upper_w=3600), ChargingLevel(lower_w=4100, upper_w=10_000)),
    charge_efficiency_ppm=1_000_000,
    discharge_efficiency_ppm=1_000_000,
)
TANK = Thermostat(
    rated_w=2000,
    heat_capacity_wh_per_k=200,
    loss_milli_w_per_k=0,
    performance_ppm=1_000_000,
    ambient_milli_c=20_000,
    temperature_milli_c=50_000,
    lower_milli_c=45_000,
    upper_milli_c=60_000,
)
GENERATOR = Generator(min_w=500, max_w=3000, min_up_s=1800, min_down_s=1200)
STORAGE = Storage(
    max_charge_w=2000,
    max_discharge_w=2000,
    capacity_wh=4000,
    stored_wh=2000,
    final_wh=0,
    charge_efficiency_ppm=950_000,
    discharge_efficiency_ppm=950_000,
    cycle_cost_micro_per_kwh=0,
)


def state(**values):
    return DeviceState(**{"device": "ada/x", "instant": NOW, "power_w": 0, "closed_s": 0, "stored_wh": None} | values)


def wish(mode=Mode.RUN_NOW, **values):
    return Wish(**{"mode": mode, "now": NOW, "until": None, "midnight": MIDNIGHT, "mtu_s": MTU} | values)


def spans(steps):
    return [(step.start - NOW, step.end - NOW, step.value, step.power_w) for step in steps]


class TestRunNow:
    @pytest.mark.parametrize(
        ("flexibility", "known", "steps"),
        [
            (RELAY, {}, [(0, 2700, 1, 1500)]),
            (RELAY, {"closed_s": 1000, "closed": False}, [(0, 1800, 1, 1500)]),
            (PROGRAMME, {}, [(0, 900, 1, 2000), (900, 1800, 1, 100), (1800, 2700, 0, 0), (2700, 3600, 1, 900)]),
            (PROGRAMME, {"closed_s": 900, "closed": True}, [(0, 900, 1, 100), (900, 1800, 0, 0), (1800, 2700, 1, 900)]),
            (PROGRAMME, {"closed_s": 1800, "closed": False, "held_s": 900}, [(0, 900, 1, 900)]),
            (VEHICLE, {}, [(0, 14_400, 10_000, 10_000)]),
            (VEHICLE, {"stored_wh": 49_000}, [(0, 360, 10_000, 10_000)]),
            (TANK, {}, [(0, 3600, 1, 2000)]),
            (TANK, {"temperature_milli_c": 59_999}, [(0, 900, 1, 2000)]),
            (GENERATOR, {}, [(0, 1800, -3000, -3000)]),
        ],
    )
    def test_a_device_does_what_it_still_owes(self, flexibility, known, steps):
        assert spans(decide(flexibility, state(**known), wish())) == steps

    def test_it_ends_earlier_where_that_is_said(self):
        assert spans(decide(RELAY, state(), wish(until=NOW + 1000))) == [(0, 1000, 1, 1500)]
        least = Relay(rated_w=1500, start=NOW, end=NOW + 7200, required_s=2700, min_on_s=1800)
        assert spans(decide(least, state(), wish(until=NOW + 1000))) == [(0, 1800, 1, 1500)]
        assert spans(decide(VEHICLE, state(), wish(until=NOW + 1000))) == [(0, 1000, 10_000, 10_000)]

    def test_an_appliance_ends_with_its_time(self):
        short = Relay(rated_w=1500, start=NOW, end=NOW + 1800, required_s=2700)
        assert spans(decide(short, state(), wish())) == [(0, 1800, 1, 1500)]

    @pytest.mark.parametrize(
        ("flexibility", "known", "words", "possible_s"),
        [
            (RELAY, {"closed_s": 2700}, "2700 s of the 2700 s", None),
            (Relay(rated_w=1, start=NOW + 60, end=NOW + 7200, required_s=900), {}, "begins at", 60),
            (Relay(rated_w=1, start=NOW - 9000, end=NOW, required_s=900), {}, "ended at", None),
            (Relay(rated_w=1, start=NOW, end=NOW + 99_999, required_s=900, min_off_s=600), {"held_s": 100}, "off", 500),
            (
                Relay(rated_w=1, start=NOW, end=NOW + 99_999, required_s=900, max_starts_per_day=2),
                {"starts_today": 2},
                "2 times today",
                36_000,
            ),
            (PROGRAMME, {"closed_s": 2700, "closed": False}, "it has run", None),
            (Programme(phases=PROGRAMME.phases, start=NOW, end=NOW + 3599), {}, "takes 3600 s", None),
            (VEHICLE, {"stored_wh": 50_000}, "50000 Wh of 50000 Wh", None),
            (TANK, {"temperature_milli_c": 60_000}, "60000 m°C", None),
            (GENERATOR, {"held_s": 200}, "at least 1200 s", 1000),
            (STORAGE, {}, "nothing to run", None),
            (Plant(rated_w=1), {}, "nothing to run", None),
        ],
    )
    def test_what_is_impossible_is_refused_with_the_reason_and_when_it_is_possible(
        self, flexibility, known, words, possible_s
    ):
        found = decide(flexibility, state(**known), wish())
        assert isinstance(found, Forbidden)
        assert words in found.reason
        assert found.possible_at == (None if possible_s is None else NOW + possible_s)

    def test_a_cycle_waits_for_the_one_before(self):
        assert isinstance(decide(PROGRAMME, state(), wish(waits_for="ada/washer")), Forbidden)


class TestRest:
    @pytest.mark.parametrize("flexibility", [RELAY, PROGRAMME, VEHICLE, TANK, GENERATOR, STORAGE, Plant(rated_w=9)])
    @pytest.mark.parametrize(("mode", "until"), [(Mode.NOT_TODAY, None), (Mode.PAUSE, NOW + 60)])
    def test_a_device_that_is_off_stays_off_until_then(self, flexibility, mode, until):
        steps = decide(flexibility, state(), wish(mode, until=until))
        assert spans(steps) == [(0, 36_000 if until is None else 60, 0, 0)]

    @pytest.mark.parametrize(
        ("flexibility", "known", "possible_s"),
        [
            (PROGRAMME, {"closed_s": 900, "closed": True, "power_w": 100}, 900),
            (Relay(rated_w=1, start=0, end=NOW * 2, required_s=1, min_on_s=600), {"closed": True, "held_s": 1}, 599),
            (GENERATOR, {"power_w": -3000, "held_s": 800}, 1000),
        ],
    )
    def test_what_must_not_be_interrupted_says_until_when(self, flexibility, known, possible_s):
        found = decide(flexibility, state(**known), wish(Mode.PAUSE, until=NOW + 3600))
        assert isinstance(found, Forbidden)
        assert found.possible_at == NOW + possible_s

    def test_between_phases_a_cycle_rests_as_long_as_its_pause_may_last(self):
        between = state(closed_s=1800, closed=False, held_s=600)
        assert spans(decide(PROGRAMME, between, wish(Mode.PAUSE, until=NOW + 1200))) == [(0, 1200, 0, 0)]
        assert isinstance(decide(PROGRAMME, between, wish(Mode.PAUSE, until=NOW + 1201)), Forbidden)


PRICES = TariffPeriod(start=0, end=2**40, import_price_micro_per_kwh=300_000, export_price_micro_per_kwh=80_000)


def mtu(number, power_w=0, net_w=0, decided=False):
    return Foreseen(start=NOW + MTU * number, power_w=power_w, net_w=net_w, decided=decided, prices=PRICES)


def run(start_s, end_s, power_w):
    return Step(start=NOW + start_s, end=NOW + end_s, kind=SetpointKind.RELAY, value=1, power_w=power_w)


class TestCost:
    def cost(self, mode, steps, plan, now=NOW):
        found = cost_of(mode, steps, plan, now=now, mtu_s=MTU)
        return found.cost_micro, found.energy_wh, found.deferred_wh

    def test_what_is_taken_beyond_a_decided_plan_is_paid_at_the_import_price(self):
        assert self.cost(Mode.RUN_NOW, [run(0, 900, 2000)], [mtu(0, decided=True)]) == (150_000, 500, 0)

    def test_what_is_left_of_a_decided_plan_is_sold_at_the_export_price(self):
        assert self.cost(Mode.PAUSE, [run(0, 900, 0)], [mtu(0, 2000, decided=True)]) == (-40_000, -500, 500)

    def test_what_runs_now_does_not_run_later(self):
        plan = [mtu(0, net_w=500, decided=True), mtu(1, 2000, net_w=2500)]
        assert self.cost(Mode.RUN_NOW, [run(0, 900, 2000)], plan) == (150_000 - 150_000, 0, 0)

    def test_what_would_have_run_on_ones_own_sun_saves_only_what_the_sun_would_have_earned(self):
        plan = [mtu(0, decided=True), mtu(1, 2000, net_w=-1000)]
        assert self.cost(Mode.RUN_NOW, [run(0, 900, 2000)], plan)[0] == 150_000 - 40_000

    def test_a_member_that_turns_from_buying_to_selling_has_both_prices(self):
        plan = [mtu(0, 2000, net_w=1000)]
        assert self.cost(Mode.PAUSE, [run(0, 900, 0)], plan)[0] == -75_000 - 20_000

    def test_a_device_that_rests_goes_on_as_planned(self):
        plan = [mtu(0, 2000, net_w=2000), mtu(1, 2000, net_w=2000)]
        assert self.cost(Mode.PAUSE, [run(0, 900, 0)], plan) == (-150_000, -500, 500)

    def test_of_the_present_mtu_only_what_is_left_counts(self):
        step = Step(start=NOW + 300, end=NOW + 900, kind=SetpointKind.RELAY, value=1, power_w=3000)
        assert self.cost(Mode.RUN_NOW, [step], [mtu(0, decided=True)], now=NOW + 300) == (150_000, 500, 0)

    @given(
        powers=st.lists(st.integers(-5000, 5000), min_size=1, max_size=6),
        net=st.integers(-9000, 9000),
        own=st.integers(-5000, 5000),
        length=st.integers(1, 5400),
        decided=st.integers(0, 6),
        mode=st.sampled_from(Mode),
    )
    def test_it_is_the_difference_of_two_bills_by_plain_fractions(self, powers, net, own, length, decided, mode):
        power = own if mode is Mode.RUN_NOW else 0
        plan = [mtu(k, value, net, decided=k < decided) for k, value in enumerate(powers)]
        wanted = Fraction(0)
        for k, value in enumerate(powers):
            inside = max(0, min(length - k * MTU, MTU))
            planned = value * (MTU if mode is Mode.RUN_NOW else inside)
            more = Fraction(power * inside - planned, 3_600_000)
            before = Fraction(0 if k < decided else net * MTU, 3_600_000)

            def bill(energy):
                return energy * (300_000 if energy > 0 else 80_000)

            wanted += bill(before + more) - bill(before)
        assert abs(self.cost(mode, [run(0, length, power)], plan)[0] - wanted) <= Fraction(1, 2)


class TestValues:
    def override(self, **values):
        known = {
            "device": "ada/x",
            "number": 1,
            "mode": Mode.RUN_NOW,
            "made": NOW,
            "steps": (run(0, 900, 5), run(900, 2000, 7)),
            "cost": Cost(cost_micro=0, energy_wh=0, deferred_wh=0),
        }
        return Override(**known | values)

    def test_it_counts_until_it_ends_is_cleared_or_another_takes_its_place(self):
        assert self.override().state(NOW + 1999.9) is OverrideState.ACTIVE
        assert self.override().state(NOW + 2000) is OverrideState.ENDED
        assert self.override(newest=False).state(NOW) is OverrideState.SUPERSEDED
        assert self.override(cleared=NOW, newest=False).state(NOW + 9999) is OverrideState.CLEARED

    def test_a_step_begins_and_ends(self):
        steps = self.override().steps
        assert [step_at(steps, NOW + s) for s in (-1, 0, 899, 900, 2000)] == [None, steps[0], steps[0], steps[1], None]

    def test_the_mean_power_counts_what_lies_inside(self):
        assert mean_power_w(self.override().steps, NOW + 450, NOW + 1350) == 6.0
        assert mean_power_w(self.override().steps, NOW + 1800, NOW + 2700) == pytest.approx(7 * 200 / 900)

    def test_it_outlives_json(self):
        decided = {"ada/x": Decided(mode=Mode.PAUSE, steps=self.override().steps)}
        assert decided_from_plain(decided_to_plain(decided)) == decided

    def test_a_device_was_told_its_override_where_that_covers_most_of_an_mtu(self):
        planned = [
            DeviceSetpoint(device="ada/x", mtu_start=NOW + k * MTU, kind=SetpointKind.RELAY, value=0) for k in (0, 2)
        ]
        told = obeyed(self.override(), planned, start=NOW, end=NOW + 4 * MTU, mtu_s=MTU)
        assert [(one.mtu_start - NOW, one.value) for one in told] == [(0, 1), (900, 1), (1800, 0)]
