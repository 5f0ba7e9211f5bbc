from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller import planning, problem
from controller.flexibility import ComfortPeriod, Phase, Plant, Programme, Relay
from controller.microgrid import Device, DeviceState, Order, SetpointKind, ThermalForecast
from controller.snapshot import Snapshot
from controller.tasks import horizon_of
from optimization import devices as models
from tests.controller.flexibility_cases import boiler, generator, heat_pump, plant, programme, relay, storage, vehicle

MTU_S = 900
MTUS = 8


@pytest.fixture
def frozen(site):
    """The village's first window: eight quarter-hours from 07:00 in Berlin."""
    site.advance(site.start - 300)
    return Snapshot.from_json(site.row(0).snapshot)


def kinds(start):
    """One device of each kind, with a task inside the horizon."""
    return {
        "relay": relay(start, start + 7200),
        "storage": storage(),
        "plant": plant(),
        "programme": programme(start, start + 7200),
        "vehicle": vehicle(start + MTU_S, start + 6 * MTU_S),
        "switched": boiler(min_off_s=2000),
        "modulating": heat_pump(),
        "generator": generator(),
    }


KINDS = tuple(kinds(0))


def with_device(snapshot, flexibility, **state):
    """The village with one device only, bob's, in a state."""
    device = Device(id="bob/thing", member="bob", flexibility=flexibility)
    blank = DeviceState(device=device.id, instant=snapshot.window.start, power_w=0, closed_s=0, stored_wh=None)
    return replace(snapshot, devices=(device,), states={device.id: replace(blank, **state)} if state else {})


def model_of(snapshot):
    return next(device for _, device in problem.build(snapshot).devices() if device.id == "bob/thing")


def forecasting(snapshot, **series):
    """The village with bob's order for his thermostat."""
    order = Order(
        window=snapshot.window.name,
        member="bob",
        load_w=(0,) * MTUS,
        production={},
        partners={},
        thermal={"bob/thing": ThermalForecast(**series)},
    )
    return replace(snapshot, orders={**snapshot.orders, "bob": order})


class TestEachKind:
    def test_a_relays_times_are_whole_mtus_rounded_up(self, frozen):
        found = model_of(
            with_device(frozen, kinds(frozen.window.start)["relay"], closed=True, held_s=1799, starts_today=1)
        )
        assert (found.min_on_mtus, found.min_off_mtus, found.max_starts) == (2, 1, 2)
        assert (found.running, found.elapsed_mtus, found.starts_today) == (True, 2, 1)

    def test_of_a_relay_that_nobody_heard_of_anything_may_be_asked(self, frozen):
        found = model_of(with_device(frozen, kinds(frozen.window.start)["relay"]))
        assert (found.running, found.elapsed_mtus, found.starts_today) == (False, None, 0)

    def test_a_batterys_losses_reserve_and_value_are_its_own(self, frozen):
        found = model_of(with_device(frozen, storage(), stored_wh=1500))
        assert (found.initial_kwh, found.min_kwh, found.final_kwh) == (1.5, 0.5, 2.0)
        assert (found.self_discharge, found.final_value) == (0.0012, 0.01)

    def test_curtailing_costs_what_the_owner_says(self, frozen):
        assert model_of(with_device(frozen, plant())).curtailment_cost == 0.005

    def test_a_programme_goes_on_where_it_is(self, frozen):
        found = model_of(
            with_device(frozen, kinds(frozen.window.start)["programme"], closed=True, closed_s=MTU_S, held_s=MTU_S)
        )
        assert found.progress == models.Progress(phase=0, elapsed_mtus=1)
        assert [list(phase.power_kw) for phase in found.phases] == [[2.0, 0.4], [0.3]]
        assert [(phase.min_pause_mtus, phase.max_pause_mtus) for phase in found.phases] == [(0, 0), (1, 2)]

    def test_a_vehicle_is_there_from_arrival_to_departure(self, frozen):
        found = model_of(with_device(frozen, kinds(frozen.window.start)["vehicle"], stored_wh=9000))
        assert (found.arrival_mtu, found.departure_mtu) == (1, 6)
        assert (found.initial_kwh, found.required_kwh, found.min_kwh) == (9.0, 12.0, 8.0)
        assert [(level.lower_kw, level.upper_kw) for level in found.levels] == [(1.38, 3.68), (4.14, 11.04)]

    def test_a_thermostats_surroundings_are_forecast_or_registered(self, frozen):
        snapshot = with_device(frozen, boiler(), temperature_milli_c=50_500)
        known = model_of(snapshot)
        assert known.initial_c == 50.5
        assert (list(known.ambient_c), list(known.draw_kw)) == ([18.0] * MTUS, [0.0] * MTUS)
        told = model_of(
            forecasting(
                snapshot, ambient_milli_c=tuple(range(MTUS)), draw_w=(500,) * MTUS, performance_ppm=(900_000,) * MTUS
            )
        )
        assert list(told.ambient_c) == [k / 1000 for k in range(MTUS)]
        assert (list(told.draw_kw), list(told.performance)) == ([0.5] * MTUS, [0.9] * MTUS)

    def test_a_performance_that_cools_where_it_should_heat_counts_as_none(self, frozen):
        snapshot = with_device(frozen, boiler())
        performance = (-1_000_000, 0, *([800_000] * (MTUS - 2)))
        assert list(model_of(forecasting(snapshot, performance_ppm=performance)).performance) == [1.0, 1.0, *[0.8] * 6]

    def test_comfort_may_differ_in_a_stretch_of_the_day(self, frozen):
        at = frozen.window.start
        night = ComfortPeriod(start=at + 2 * MTU_S, end=at + 4 * MTU_S, lower_milli_c=17_000, upper_milli_c=21_000)
        found = model_of(with_device(frozen, heat_pump(comfort=(night,))))
        assert list(found.lower_c) == [19.0, 19.0, 17.0, 17.0, 19.0, 19.0, 19.0, 19.0]
        assert list(found.upper_c) == [22.5, 22.5, 21.0, 21.0, 22.5, 22.5, 22.5, 22.5]

    def test_a_generator_is_up_where_it_produces(self, frozen):
        up = model_of(with_device(frozen, generator(), power_w=-1000, held_s=1800))
        assert (up.running, up.elapsed_mtus, up.min_up_mtus, up.min_down_mtus) == (True, 2, 3, 2)
        assert not model_of(with_device(frozen, generator(), power_w=0)).running
        assert (up.quadratic_cost, up.linear_cost, up.running_cost, up.start_cost) == (0.02, 0.15, 0.03, 0.05)


class TestImpossible:
    """What a device cannot do any more is replaced by the nearest, and what is missing is stated."""

    @pytest.fixture
    def plan(self, site, frozen):
        def plan(flexibility, **state):
            snapshot = with_device(frozen, flexibility, **state)
            community = problem.build(snapshot)
            return planning.decide(snapshot, community, site.solver.reference(community)).plan

        return plan

    def test_hours_longer_than_the_window(self, plan, frozen):
        at = frozen.window.start
        done = plan(relay(at, at + 1800, min_on_s=0))
        assert done.power_w["bob/thing"] == (1500, 1500, 0, 0, 0, 0, 0, 0)
        assert done.shortfall_wh == {"bob/thing": 375}

    def test_energy_that_a_battery_cannot_take_in_time(self, plan):
        done = plan(storage(max_charge_w=100, self_discharge_ppm_per_hour=0))
        assert done.power_w["bob/thing"] == (100,) * MTUS
        assert done.shortfall_wh == {"bob/thing": 2000 - 1000 - 190}

    def test_energy_that_a_vehicle_cannot_take_in_its_stay(self, plan, frozen):
        done = plan(replace(kinds(frozen.window.start)["vehicle"], required_wh=40_000))
        assert done.power_w["bob/thing"] == (0, *[11_040] * 5, 0, 0)
        assert done.shortfall_wh == {"bob/thing": 40_000 - 10_000 - 12_696}

    def test_of_a_vehicle_that_has_left_nothing_is_missing_any_more(self, plan, frozen):
        at = frozen.window.start
        assert plan(vehicle(at - 7200, at)).shortfall_wh == {}

    def test_a_programme_whose_time_is_over(self, plan, frozen):
        at = frozen.window.start
        done = plan(programme(at - 7200, at + 1800))
        assert done.setpoints["bob/thing"] == (SetpointKind.RELAY, (0,) * MTUS)
        assert done.shortfall_wh == {"bob/thing": 675}

    def test_a_temperature_that_full_power_reaches_late(self, plan):
        done = plan(boiler(min_off_s=2000), temperature_milli_c=40_000)
        assert done.setpoints["bob/thing"][1][:3] == (1, 1, 1)
        assert done.discomfort_milli_k_h["bob/thing"] > 500
        assert done.shortfall_wh == {}

    def test_a_battery_below_its_reserve(self, plan):
        done = plan(storage(max_charge_w=0, final_wh=0), stored_wh=499)
        assert done.power_w["bob/thing"] == (0,) * MTUS
        assert done.shortfall_wh == {}

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_task_that_can_be_done_falls_short_of_nothing(self, plan, frozen, kind):
        done = plan(kinds(frozen.window.start)[kind])
        assert (done.shortfall_wh, done.discomfort_milli_k_h) == ({}, {})


class TestNothingStopsTheCommunity:
    """Whatever was registered and whatever telemetry says, there is a problem, and it has a plan."""

    number = st.integers(-(10**12), 10**12)

    @pytest.mark.parametrize("kind", KINDS)
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(data=st.data())
    def test_no_state_makes_a_problem_impossible(self, frozen, kind, data):
        state = data.draw(
            st.fixed_dictionaries(
                {
                    "power_w": self.number,
                    "closed_s": st.integers(0, 10**10),
                    "stored_wh": st.none() | self.number,
                    "closed": st.none() | st.booleans(),
                    "held_s": st.none() | st.integers(0, 10**10),
                    "starts_today": st.none() | st.integers(0, 10**6),
                    "temperature_milli_c": st.none() | st.integers(-(10**9), 10**9),
                }
            )
        )
        shift = data.draw(st.integers(-20, 20)) * 450
        flexibility = kinds(frozen.window.start + shift)[kind]
        community = problem.build(with_device(frozen, flexibility, **state))
        assert any(device.id == "bob/thing" for _, device in community.devices())

    @pytest.mark.parametrize(
        "flexibility",
        [
            Relay(rated_w=10**6, start=0, end=10**10, required_s=10**9, min_on_s=10**6, max_starts_per_day=1000),
            storage(capacity_wh=10**12, stored_wh=10**12, final_wh=10**12, reserve_wh=10**12),
            Plant(rated_w=10**9, curtailment_cost_micro_per_kwh=10**9),
            Programme(
                phases=(Phase(power_w=(1,) * 192), Phase(power_w=(10**6,), min_pause_s=604_800, max_pause_s=604_800)),
                start=0,
                end=10**10,
                follows="bob/gone",
                min_delay_s=604_800,
            ),
            vehicle(MTU_S, 10**10, capacity_wh=10**12, required_wh=10**12, stored_wh=0),
            boiler(heat_capacity_wh_per_k=1, loss_milli_w_per_k=10**9, min_on_s=604_800, min_off_s=2000),
            boiler(performance_ppm=10**8, lower_milli_c=10**6, upper_milli_c=10**6, min_off_s=2000),
            generator(min_w=0, max_w=1, quadratic_cost_micro_per_kw2_h=10**9),
        ],
        ids=lambda flexibility: type(flexibility).__name__,
    )
    def test_no_registered_number_makes_a_problem_impossible(self, frozen, flexibility):
        problem.build(with_device(frozen, flexibility))

    def test_a_plan_of_another_length_or_of_a_device_that_is_gone_counts_for_nothing(self, frozen):
        snapshot = replace(frozen, planned_w={"bob/gone": (0,) * MTUS, "bob/boiler": (0,)})
        assert problem.build(snapshot).planned_kw == {}

    def test_what_was_planned_counts(self, frozen):
        snapshot = replace(frozen, planned_w={"bob/boiler": (1501,) * 3 + (0,) * 5})
        community = problem.build(snapshot)
        assert list(community.planned_kw["bob/boiler"]) == [1.501] * 3 + [0.0] * 5
        assert community.change_price > 0


def test_days_begin_in_the_horizon_where_they_do_in_the_time_zone(frozen):
    midnight = frozen.window.start + 17 * 3600  # it is 07:00 in Berlin
    grid = replace(frozen.microgrid, start=midnight - 1800, end=midnight + 5400)
    later = replace(frozen.window, start=midnight - 900)
    assert horizon_of(replace(frozen, microgrid=grid, window=later)).day_starts == (1,)
    later = replace(frozen.window, start=midnight)
    assert horizon_of(replace(frozen, microgrid=grid, window=later)).day_starts == ()
