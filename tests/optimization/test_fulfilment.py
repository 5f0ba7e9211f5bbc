from typing import Any

import numpy as np
import pytest

from optimization.community import (
    Battery,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.devices import Phase, PowerRange, Progress
from optimization.fulfilment import impossible_tasks
from tests.optimization.lone_peer import lone_peer


def named(*devices: Device, mtus: int = 8, minutes: int = 30, day_starts: tuple[int, ...] = ()) -> list[str]:
    """What is said of one peer's devices."""
    price = np.ones(mtus)
    community = lone_peer(*devices, import_price=price, export_price=0 * price, minutes=minutes, day_starts=day_starts)
    return [str(task) for task in impossible_tasks(community)]


def assert_named(messages: list[str], *parts: str) -> None:
    (message,) = messages
    for part in parts:
        assert part in message


def test_what_has_no_task_is_never_named() -> None:
    free = [FixedLoad(id="load", power_kw=[9.0] * 8), Curtailable(id="pv", available_kw=[9.0] * 8)]
    assert named(*free, Generator(id="generator", min_kw=1.0, max_kw=2.0)) == []


# ---------------------------------------------------------------------------------------------------------- stores


def _battery(**changes: Any) -> Battery:
    fields = {"id": "battery", "max_charge_kw": 2.0, "max_discharge_kw": 2.0, "capacity_kwh": 10.0, "initial_kwh": 2.0}
    return Battery(**(fields | {"final_kwh": 8.0, "charge_efficiency": 0.75, "min_kwh": 1.0} | changes))


def test_a_battery_that_cannot_be_full_enough_in_time_is_named() -> None:
    assert named(_battery()) == []
    said = "battery: its energy at the end, after charging at full power for 4 h: got 8 kWh, wanted 8.5 kWh"
    assert named(_battery(final_kwh=8.5)) == [said]
    assert named(_battery(final_kwh=8.5), mtus=9) == []
    assert_named(named(_battery(self_discharge=0.1)), "its energy at the end", "wanted 8 kWh")


def test_a_battery_that_starts_below_its_reserve_or_cannot_keep_it_is_named() -> None:
    assert named(_battery(initial_kwh=1.0, final_kwh=1.0)) == []
    said = "battery: its reserve at the start: got 0.5 kWh, wanted 1 kWh"
    assert named(_battery(initial_kwh=0.5, final_kwh=1.0)) == [said]
    leaking = _battery(initial_kwh=6.0, min_kwh=5.0, final_kwh=0.0, self_discharge=0.5)
    assert_named(named(leaking), "its reserve, kept against its own losses", "wanted 5 kWh")
    assert named(_battery(initial_kwh=6.0, min_kwh=5.0, final_kwh=0.0, self_discharge=0.1)) == []


def _vehicle(**changes: Any) -> ElectricVehicle:
    fields = {"id": "car", "arrival_mtu": 2, "departure_mtu": 6, "capacity_kwh": 40.0, "initial_kwh": 10.0}
    levels = (PowerRange(lower_kw=2.0, upper_kw=4.0), PowerRange(lower_kw=6.0, upper_kw=8.0))
    fields |= {"required_kwh": 18.0, "levels": levels, "charge_efficiency": 0.5}
    return ElectricVehicle(**(fields | changes))


def test_a_vehicle_that_wants_more_than_full_power_in_its_stay_is_named() -> None:
    assert named(_vehicle()) == []
    said = "car: its energy on departure, after a stay of 2 h: got 18 kWh, wanted 18.5 kWh"
    assert named(_vehicle(required_kwh=18.5)) == [said]
    assert named(_vehicle(required_kwh=18.5, departure_mtu=7)) == []
    assert_named(named(_vehicle(arrival_mtu=2, departure_mtu=2)), "a stay of 0 min", "got 10 kWh")


@pytest.mark.parametrize(
    ("capacity_kwh", "changes", "most"),
    [
        (10.0, {}, None),
        (10.25, {}, "10"),
        (10.5, {}, None),
        (11.0, {}, None),
        (11.25, {}, None),
        (11.25, {"departure_mtu": 3}, "11"),
        (10.25, {"max_discharge_kw": 1.0}, None),
        (10.25, {"levels": (PowerRange(lower_kw=0.0, upper_kw=4.0),)}, None),
    ],
)
def test_a_vehicle_that_must_be_full_is_named_where_its_least_power_is_too_much_for_the_room(
    capacity_kwh: float, changes: dict[str, Any], most: str | None
) -> None:
    """An MTU adds 0.5 to 1 or 1.5 to 2 kWh: less room than half a kWh stays empty."""
    messages = named(_vehicle(capacity_kwh=capacity_kwh, required_kwh=capacity_kwh, **changes))
    if most is None:
        assert messages == []
    else:
        assert_named(messages, f"got {most} kWh", f"wanted {capacity_kwh:g} kWh")


# -------------------------------------------------------------------------------------------------- interruptibles


def _pump(**changes: Any) -> Interruptible:
    fields = {"id": "pump", "power_kw": 2.0, "first_mtu": 1, "end_mtu": 7, "required_mtus": 6}
    return Interruptible(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({}, None),
        ({"required_mtus": 7}, "3 h"),
        ({"running": True, "first_mtu": 0, "required_mtus": 7}, None),
        ({"min_on_mtus": 6}, None),
        ({"min_on_mtus": 7}, "0 min"),
        ({"elapsed_mtus": 0, "min_off_mtus": 2}, "2 h 30 min"),
        ({"elapsed_mtus": 0, "min_off_mtus": 2, "required_mtus": 5}, None),
        ({"running": True, "elapsed_mtus": 1, "min_on_mtus": 2, "required_mtus": 7}, None),
        ({"running": True, "min_off_mtus": 2, "required_mtus": 6}, "2 h 30 min"),
        ({"running": True, "elapsed_mtus": 0, "min_on_mtus": 3, "end_mtu": 2, "required_mtus": 3}, None),
        ({"max_starts": 0}, "0 min"),
        ({"max_starts": 1, "starts_today": 1}, "0 min"),
        ({"max_starts": 1, "starts_today": 1, "running": True, "first_mtu": 0}, None),
    ],
)
def test_an_appliance_that_owes_more_than_fits_is_named(changes: dict[str, Any], got: str | None) -> None:
    messages = named(_pump(**changes))
    if got is None:
        assert messages == []
    else:
        assert_named(messages, "pump: its running time, within a window of", f"got {got}", "wanted ")


def test_starts_that_come_with_a_new_day_are_counted() -> None:
    used_up = _pump(max_starts=1, starts_today=1, required_mtus=3)
    assert named(used_up, day_starts=(4,)) == []
    assert_named(named(used_up, day_starts=(5,)), "got 1 h", "wanted 1 h 30 min")


# ------------------------------------------------------------------------------------------------------- programmes


def _washer(**changes: Any) -> Programme:
    phases = (Phase(power_kw=[2.0, 1.0]), Phase(power_kw=[0.5], min_pause_mtus=1, max_pause_mtus=2))
    return Programme(**({"id": "washer", "phases": phases, "first_mtu": 1, "end_mtu": 5} | changes))


def _dryer(**changes: Any) -> Programme:
    fields = {"id": "dryer", "phases": (Phase(power_kw=[3.0, 3.0]),), "first_mtu": 0, "end_mtu": 8}
    return Programme(**(fields | {"follows": "washer", "min_delay_mtus": 1} | changes))


def test_a_programme_longer_than_its_window_is_named() -> None:
    assert named(_washer()) == []
    said = "washer: its cycle with least pauses: got a window of 1 h 30 min, wanted 2 h"
    assert named(_washer(end_mtu=4)) == [said]
    begun = Progress(phase=0, elapsed_mtus=1)
    assert named(_washer(first_mtu=0, end_mtu=0, progress=begun)) == []


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({}, None),
        ({"end_mtu": 7}, ("its cycle in its window after washer", "got 30 min", "wanted 1 h")),
        ({"first_mtu": 6}, None),
        ({"first_mtu": 6, "max_delay_mtus": 1}, None),
        ({"first_mtu": 7, "end_mtu": 8}, ("its cycle with least pauses", "a window of 30 min")),
    ],
)
def test_a_follower_that_fits_nowhere_after_its_predecessor_is_named(
    changes: dict[str, Any], parts: tuple[str, ...] | None
) -> None:
    messages = named(_dryer(**changes), _washer())
    if parts is None:
        assert messages == []
    else:
        assert_named(messages, "dryer", *parts)


def test_a_follower_falls_with_its_predecessor_and_is_too_late_after_one_long_done() -> None:
    first, second = named(_washer(end_mtu=4), _dryer())
    assert first.startswith("washer: ")
    assert second == "dryer: its cycle after washer: got washer that cannot run, wanted 1 h"
    done = _washer(progress=Progress(phase=1, elapsed_mtus=1, paused_mtus=4))
    assert named(done, _dryer(max_delay_mtus=4)) == []
    assert_named(named(done, _dryer(max_delay_mtus=3)), "dryer", "30 min too late")


# ------------------------------------------------------------------------------------------------------ thermostats


def _heater(**changes: Any) -> Thermostatic:
    fields = {"id": "heater", "rated_kw": 2.0, "heat_capacity_kwh_per_k": 0.5, "loss_kw_per_k": 0.0}
    fields |= {"performance": [1.0] * 8, "ambient_c": [10.0] * 8, "draw_kw": [1.0] * 8}
    fields |= {"lower_c": [40.0] * 8, "upper_c": [60.0] * 8, "initial_c": 50.0}
    return Thermostatic(**(fields | changes))


def test_a_load_that_starts_outside_its_band_is_named() -> None:
    assert named(_heater()) == []
    assert named(_heater(initial_c=40.0)) == []
    assert named(_heater(initial_c=39.5)) == ["heater: its temperature at the start: got 39.5 °C, wanted 40 to 60 °C"]
    assert_named(named(_heater(initial_c=60.5)), "got 60.5 °C")


def test_a_band_that_full_power_cannot_reach_is_named_with_its_time() -> None:
    rising = [40.0, 50.0, 51.0, 52.0, 53.5, 54.0, 55.0, 56.0]
    steep = [40.0, 50.0, 52.0, 54.5, 55.0, 56.0, 57.0, 58.0]
    said = "heater: its temperature 2 h from the start, by full power: got 54 °C at most, wanted 54.5 to 60 °C"
    assert named(_heater(lower_c=steep)) == [said]
    assert named(_heater(lower_c=rising)) == []


def test_what_a_tight_band_forbids_before_counts_too() -> None:
    """Full power from the start would reach 58 degrees; but it must not pass 52 on the way."""
    upper = [52.0] * 4 + [60.0] * 4
    lower = [40.0] * 4 + [53.5] + [40.0] * 3
    assert_named(named(_heater(lower_c=lower, upper_c=upper)), "2 h 30 min from the start", "got 53 °C at most")


def test_rest_that_overshoots_is_named_and_cooling_is_heating_upside_down() -> None:
    warming = _heater(draw_kw=[-11.0] * 8)
    assert_named(named(warming), "30 min from the start, by rest", "got 61 °C at least")
    fridge = _heater(performance=[-3.0] * 8, draw_kw=[-1.0] * 8)
    assert named(fridge) == []
    weak = _heater(performance=[-3.0] * 8, draw_kw=[-18.0] * 8)
    assert_named(named(weak), "30 min from the start, by full power", "got 62 °C at least")
    freezing = _heater(performance=[-3.0] * 8, draw_kw=[11.0] * 8)
    assert_named(named(freezing), "30 min from the start, by rest", "got 39 °C at most")
