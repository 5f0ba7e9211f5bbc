"""Devices of each kind as their owners register them: a test names what it is about, the rest is as here."""

from typing import Any

from controller.flexibility import (
    ChargingLevel,
    ComfortPeriod,
    Flexibility,
    Generator,
    Phase,
    Plant,
    Programme,
    Relay,
    Storage,
    Thermostat,
    Vehicle,
)

LEVELS = (ChargingLevel(lower_w=1380, upper_w=3680), ChargingLevel(lower_w=4140, upper_w=11_040))
"""Six to sixteen amperes on one phase or on three."""


def relay(start: int, end: int, **changes: Any) -> Relay:
    """An appliance that owes three quarters of an hour."""
    fields = {"rated_w": 1500, "required_s": 2700, "min_on_s": 1000, "min_off_s": 900, "max_starts_per_day": 2}
    return Relay(start=start, end=end, **(fields | changes))


def storage(**changes: Any) -> Storage:
    """A battery that owes a kWh."""
    fields = {
        "max_charge_w": 2000,
        "max_discharge_w": 1800,
        "capacity_wh": 4000,
        "stored_wh": 1000,
        "final_wh": 2000,
        "charge_efficiency_ppm": 950_000,
        "discharge_efficiency_ppm": 930_000,
        "cycle_cost_micro_per_kwh": 1100,
        "self_discharge_ppm_per_hour": 1200,
        "reserve_wh": 500,
        "final_value_micro_per_kwh": 10_000,
    }
    return Storage(**(fields | changes))


def plant(**changes: Any) -> Plant:
    return Plant(**({"rated_w": 4000, "curtailment_cost_micro_per_kwh": 5000} | changes))


def programme(start: int, end: int, **changes: Any) -> Programme:
    """A washer with a pause of one or two quarter-hours in it; it follows nothing."""
    phases = (Phase(power_w=(2000, 400)), Phase(power_w=(300,), min_pause_s=900, max_pause_s=1800))
    return Programme(start=start, end=end, **({"phases": phases} | changes))


def dryer(start: int, end: int, **changes: Any) -> Programme:
    """The same, after the washer."""
    fields = {"follows": "ada/washer", "min_delay_s": 1800, "max_delay_s": 3600}
    return programme(start, end, **(fields | changes))


def vehicle(arrival: int, departure: int, **changes: Any) -> Vehicle:
    """A car that owes two kWh and can give back."""
    fields = {
        "capacity_wh": 40_000,
        "stored_wh": 10_000,
        "required_wh": 12_000,
        "levels": LEVELS,
        "charge_efficiency_ppm": 920_000,
        "discharge_efficiency_ppm": 910_000,
        "max_discharge_w": 3000,
        "reserve_wh": 8000,
        "cycle_cost_micro_per_kwh": 20_000,
    }
    return Vehicle(arrival=arrival, departure=departure, **(fields | changes))


def boiler(**changes: Any) -> Thermostat:
    """150 litres of water, on or off."""
    fields = {
        "rated_w": 2000,
        "heat_capacity_wh_per_k": 175,
        "loss_milli_w_per_k": 2000,
        "performance_ppm": 1_000_000,
        "ambient_milli_c": 18_000,
        "temperature_milli_c": 55_000,
        "lower_milli_c": 48_000,
        "upper_milli_c": 65_000,
    }
    return Thermostat(**(fields | changes))


def heat_pump(**changes: Any) -> Thermostat:
    """A house that a modulating heat pump keeps warm."""
    fields = {
        "rated_w": 2500,
        "modulating": True,
        "min_w": 800,
        "heat_capacity_wh_per_k": 4000,
        "loss_milli_w_per_k": 200_000,
        "performance_ppm": 3_000_000,
        "ambient_milli_c": 0,
        "temperature_milli_c": 20_500,
        "lower_milli_c": 19_000,
        "upper_milli_c": 22_500,
    }
    return Thermostat(**(fields | changes))


def freezer(start: int, end: int, **changes: Any) -> Thermostat:
    """It cools, modulates, and is more strictly kept for a while."""
    fields = {
        "rated_w": 2000,
        "modulating": True,
        "min_w": 500,
        "performance_ppm": -2_500_000,
        "temperature_milli_c": -5000,
        "lower_milli_c": -20_000,
        "upper_milli_c": -4000,
        "comfort": (ComfortPeriod(start=start, end=end, lower_milli_c=-1, upper_milli_c=1),),
        "min_on_s": 60,
        "min_off_s": 600,
        "discomfort_cost_micro_per_k_h": 10**6,
        "start_cost_micro": 3,
    }
    return boiler(**(fields | changes))


def generator(**changes: Any) -> Generator:
    fields = {
        "min_w": 1000,
        "max_w": 4000,
        "quadratic_cost_micro_per_kw2_h": 20_000,
        "linear_cost_micro_per_kwh": 150_000,
        "running_cost_micro_per_h": 30_000,
        "start_cost_micro": 50_000,
        "min_up_s": 2700,
        "min_down_s": 1800,
    }
    return Generator(**(fields | changes))


def controls(start: int, end: int) -> dict[str, Flexibility]:
    """One of each kind of control, by its name in the API.

    Every field has a value that is not its default, so that none goes unseen that gets lost on a way.
    """
    return {
        "operation_mode": relay(start, end),
        "fill_rate": storage(),
        "power_envelope": plant(),
        "power_profile": dryer(start, end),
        "electric_vehicle": vehicle(start, end),
        "thermostat": freezer(start, end),
        "generator": generator(linear_cost_micro_per_kwh=-5),
    }
