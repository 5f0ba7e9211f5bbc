from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.flexibility import Generator, Phase, Plant, Programme, Relay, Storage, Thermostat
from controller.microgrid import Device, DeviceSetpoint, DeviceState, SetpointKind, ThermalForecast
from controller.projecting import corrected, project, stored_wh, surroundings, temperature_milli_c
from device_drivers.setpoint import Power, RelayState
from device_drivers.simulated.battery import SimulatedBattery
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.relay import SimulatedRelay
from device_drivers.simulated.thermostat import SimulatedThermostat

MTU_S = 900

STORAGE = Storage(
    max_charge_w=5000,
    max_discharge_w=5000,
    capacity_wh=3000,
    stored_wh=1234,
    final_wh=0,
    charge_efficiency_ppm=950_000,
    discharge_efficiency_ppm=930_000,
    cycle_cost_micro_per_kwh=0,
)
BATTERY = Device(id="eve/battery", member="eve", flexibility=STORAGE)
BOILER = Device(id="bob/boiler", member="bob", flexibility=Relay(rated_w=1500, start=0, end=7200, required_s=2700))


def state(device, instant=0, **values):
    return DeviceState(
        **{"device": device.id, "instant": instant, "power_w": 0, "closed_s": 0, "stored_wh": None} | values
    )


def told(device, kind, values, first=0):
    return [
        DeviceSetpoint(device=device.id, mtu_start=MTU_S * (first + k), kind=kind, value=value)
        for k, value in enumerate(values)
    ]


class TestProject:
    def test_without_setpoints_only_time_passes(self):
        before = state(BATTERY, stored_wh=500, power_w=7)
        assert project(before, BATTERY, (), 1800, MTU_S) == replace(before, instant=1800)

    def test_what_was_over_before_the_telemetry_does_not_count_again(self):
        before = state(BOILER, instant=900, closed_s=900)
        after = project(before, BOILER, told(BOILER, SetpointKind.RELAY, (1, 1)), 1800, MTU_S)
        assert after.closed_s == 1800

    def test_what_comes_after_does_not_count_yet(self):
        after = project(state(BOILER), BOILER, told(BOILER, SetpointKind.RELAY, (1, 1, 1)), 1000, MTU_S)
        assert after.closed_s == 1000

    def test_a_plant_has_no_state(self):
        plant = Device(id="ada/pv", member="ada", flexibility=Plant(rated_w=1))
        before = state(plant, power_w=-5)
        limits = told(plant, SetpointKind.PRODUCTION_LIMIT, (0, 0))
        assert project(before, plant, limits, 1800, MTU_S) == replace(before, instant=1800)

    def test_a_battery_that_says_nothing_of_its_store_holds_what_was_registered(self):
        after = project(state(BATTERY), BATTERY, told(BATTERY, SetpointKind.POWER, (0,)), 900, MTU_S)
        assert after.stored_wh == STORAGE.stored_wh

    @given(st.integers(0, 900), st.lists(st.booleans(), min_size=1, max_size=8))
    def test_a_relay_is_closed_as_long_as_the_simulated_one(self, passed_s, states):
        clock = SimulatedClock(datetime(2026, 3, 2, tzinfo=UTC))
        relay = SimulatedRelay(1500, clock)
        clock.advance(passed_s)
        before = state(BOILER, instant=passed_s, closed_s=relay.read().closed_s)
        for number, closed in enumerate(states):
            relay.apply(RelayState(closed=closed))
            clock.advance(MTU_S * (number + 1) - clock.now())
        end = MTU_S * len(states)
        after = project(before, BOILER, told(BOILER, SetpointKind.RELAY, [int(s) for s in states]), end, MTU_S)
        assert after.closed_s == relay.read().closed_s

    @given(
        st.integers(0, 3000),
        st.integers(10_000, 1_000_000),
        st.integers(10_000, 1_000_000),
        st.lists(st.integers(-5000, 5000), min_size=1, max_size=8),
    )
    def test_a_battery_holds_what_the_simulated_one_holds_but_for_a_wh_a_setpoint(
        self, stored_wh, charge_ppm, discharge_ppm, powers
    ):
        clock = SimulatedClock(datetime(2026, 3, 2, tzinfo=UTC))
        battery = SimulatedBattery(
            capacity_wh=3000,
            max_charge_w=5000,
            max_discharge_w=5000,
            stored_wh=stored_wh,
            charge_efficiency=charge_ppm / 1e6,
            discharge_efficiency=discharge_ppm / 1e6,
            clock=clock,
        )
        for power in powers:
            battery.apply(Power(power_w=power))
            clock.advance(MTU_S)
        storage = replace(STORAGE, charge_efficiency_ppm=charge_ppm, discharge_efficiency_ppm=discharge_ppm)
        device = replace(BATTERY, flexibility=storage)
        setpoints = told(device, SetpointKind.POWER, powers)
        after = project(state(device, stored_wh=stored_wh), device, setpoints, MTU_S * len(powers), MTU_S)
        assert 0 <= after.stored_wh <= 3000
        assert abs(after.stored_wh - battery.stored_wh()) <= len(powers)


PUMP = Device(id="bob/pump", member="bob", flexibility=Relay(rated_w=800, start=0, end=7200, required_s=2700))
WASHER = Device(
    id="ada/washer",
    member="ada",
    flexibility=Programme(phases=(Phase(power_w=(2000, 400)), Phase(power_w=(300,))), start=0, end=7200),
)
HEATER = Device(
    id="bob/heater",
    member="bob",
    flexibility=Thermostat(
        rated_w=2000,
        heat_capacity_wh_per_k=175,
        loss_milli_w_per_k=2000,
        performance_ppm=1_000_000,
        ambient_milli_c=18_000,
        temperature_milli_c=50_000,
        lower_milli_c=45_000,
        upper_milli_c=65_000,
    ),
)


class TestSwitching:
    """How long a device has been on or off, and how often it was switched on today."""

    def after(self, states, device=PUMP, kind=SetpointKind.RELAY, midnights=(), **before):
        setpoints = told(device, kind, states)
        return project(state(device, **before), device, setpoints, MTU_S * len(states), MTU_S, midnights=midnights)

    @pytest.mark.parametrize(
        ("before", "states", "wanted"),
        [
            ((False, 1800, 0), (0, 0), (False, 3600, 0)),
            ((False, 1800, 0), (0, 1), (True, 900, 1)),
            ((False, 1800, 0), (1, 1), (True, 1800, 1)),
            ((True, 1800, 1), (1, 1), (True, 3600, 1)),
            ((True, 1800, 1), (0, 1), (True, 900, 2)),
            ((True, 1800, 1), (1, 0), (False, 900, 1)),
            ((False, None, None), (0, 0), (False, None, None)),
            ((None, None, None), (1, 1), (True, 1800, 1)),
        ],
    )
    def test_a_change_begins_a_new_count_and_a_start_is_counted(self, before, states, wanted):
        closed, held_s, starts = before
        found = self.after(states, closed=closed, held_s=held_s, starts_today=starts)
        assert (found.closed, found.held_s, found.starts_today) == wanted

    def test_what_goes_on_over_midnight_is_no_start_of_the_new_day(self):
        found = self.after((1, 1), closed=True, held_s=900, starts_today=2, midnights=(MTU_S,))
        assert (found.held_s, found.starts_today) == (2700, 0)

    def test_a_start_at_midnight_is_one_of_the_new_day(self):
        found = self.after((0, 1), closed=False, held_s=900, starts_today=2, midnights=(MTU_S,))
        assert found.starts_today == 1

    def test_where_nothing_was_told_it_goes_on_as_it_is(self):
        found = project(state(PUMP, closed=True, held_s=900, power_w=800), PUMP, (), 1800, MTU_S)
        assert (found.closed, found.held_s, found.closed_s, found.power_w) == (True, 2700, 1800, 800)

    def test_a_programme_goes_on_in_its_profile(self):
        found = [self.after((1, 1, 1)[:k], device=WASHER).power_w for k in (1, 2, 3)]
        assert found == [2000, 400, 300]

    def test_a_generator_is_up_while_it_is_told_to_produce(self):
        generator = Device(id="eve/generator", member="eve", flexibility=Generator(min_w=1000, max_w=4000))
        found = self.after((0, -1500, -2000), device=generator, kind=SetpointKind.POWER, closed=False, held_s=0)
        assert (found.on, found.held_s, found.power_w) == (True, 1800, -2000)


class TestTemperature:
    @pytest.mark.parametrize("kind", [SetpointKind.RELAY, SetpointKind.POWER])
    def test_it_is_that_of_the_simulated_one(self, kind):
        clock = SimulatedClock(datetime(2026, 3, 2, tzinfo=UTC))
        simulated = SimulatedThermostat(
            rated_w=2000,
            heat_capacity_wh_per_k=175,
            loss_w_per_k=2.0,
            performance=1.0,
            ambient_c=18.0,
            temperature_c=50.0,
            clock=clock,
        )
        values = (1, 0, 1, 1) if kind is SetpointKind.RELAY else (2000, 0, 700, 1200)
        draws = (0, 500, 800, 0)
        for value, draw in zip(values, draws, strict=True):
            simulated.draw(draw)
            simulated.apply(RelayState(closed=bool(value)) if kind is SetpointKind.RELAY else Power(power_w=value))
            clock.advance(MTU_S)
        found = project(
            state(HEATER),
            HEATER,
            told(HEATER, kind, values),
            MTU_S * 4,
            MTU_S,
            thermal=ThermalForecast(draw_w=draws),
        )
        assert found.temperature_milli_c == pytest.approx(simulated.temperature_c() * 1000, abs=4)
        assert found.held_s == simulated.read().held_s

    def test_without_losses_it_rises_evenly(self):
        thermostat = replace(HEATER.flexibility, loss_milli_w_per_k=0)
        around = surroundings(thermostat, ThermalForecast(), 0)
        assert temperature_milli_c(thermostat, 50_000, 1750, 1800, around) == 55_000


class TestCorrected:
    EXPECTED = state(PUMP, closed=True, held_s=1800, starts_today=2, closed_s=2000, power_w=800)

    def corrected(self, device=PUMP, expected=EXPECTED, **telemetry):
        return corrected(expected, state(device, **telemetry), device)

    def test_what_telemetry_says_counts(self):
        said = {"closed": True, "held_s": 5, "starts_today": 7, "closed_s": 9, "power_w": 801, "stored_wh": 3}
        assert self.corrected(**said, temperature_milli_c=4) == state(PUMP, **said, temperature_milli_c=4)

    def test_what_it_does_not_say_is_what_was_expected(self):
        found = self.corrected(power_w=800)
        assert (found.held_s, found.starts_today, found.closed_s) == (1800, 2, 2000)

    def test_what_is_off_against_expectation_has_been_off_for_no_time(self):
        found = self.corrected(closed=False, closed_s=1500)
        assert (found.closed, found.held_s, found.starts_today, found.closed_s) == (False, 0, 2, 1500)

    def test_what_is_on_against_expectation_was_started(self):
        off = replace(self.EXPECTED, closed=False, power_w=0)
        found = self.corrected(expected=off, closed=True, closed_s=2100)
        assert (found.closed, found.held_s, found.starts_today) == (True, 0, 3)

    def test_a_battery_is_neither_on_nor_off(self):
        found = self.corrected(device=BATTERY, expected=state(BATTERY, stored_wh=5), power_w=7)
        assert (found.closed, found.held_s, found.starts_today, found.stored_wh) == (None, None, None, 5)

    def test_a_cycle_whose_driver_knows_no_relay_is_where_it_was_expected(self):
        expected = replace(self.EXPECTED, device=WASHER.id)
        found = self.corrected(device=WASHER, expected=expected, power_w=0)
        assert (found.closed, found.held_s, found.closed_s) == (True, 1800, 2000)


def test_a_battery_loses_by_itself():
    leaky = replace(STORAGE, self_discharge_ppm_per_hour=100_000, charge_efficiency_ppm=1_000_000)
    assert stored_wh(leaky, 2000, 0, 3600) == 1800
    assert stored_wh(leaky, 2000, 100, 3600) == 1900
    assert stored_wh(STORAGE, 2000, 0, 3600) == 2000
