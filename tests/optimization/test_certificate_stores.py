"""Rules of batteries and vehicles as the certificate checks them."""

from typing import Any

import numpy as np
import pytest

from optimization.certificate import certify
from optimization.community import DeviceId, ElectricVehicle
from optimization.devices import PowerRange
from tests.optimization.certified_devices import (
    INFINITY,
    NAN,
    assert_right,
    assert_wrong,
    battery,
    certified,
    clearing_of,
    community_of,
)


@pytest.mark.parametrize(
    ("changed_kw", "change_price", "cost"), [(0.0, 0.2, 0.0), (-0.5, 0.2, 0.05), (1.5, 0.2, 0.15), (1.5, 0.0, 0.0)]
)
def test_departing_from_the_plan_costs_by_the_kwh(changed_kw: float, change_price: float, cost: float) -> None:
    free = battery(cycle_cost=0.0, waiting_cost=0.0, final_value=0.0, max_discharge_kw=2.0)
    planned = {DeviceId("battery"): np.array([1.0, 0.0, 0.0])}
    community = community_of(free, mtus=3, minutes=30, planned_kw=planned, change_price=change_price)
    assert_right(certified(community, [1.0 + changed_kw, 0.0, 0.0]), cost)


def test_a_battery_loses_energy_by_itself_and_is_worth_what_it_ends_with() -> None:
    community = community_of(battery(self_discharge=0.36), mtus=3, minutes=30)
    stored = [0.8 * 4.0 + 0.5 * 0.5 * 4.0, 0.8 * 4.2 - 0.5 * 1.6 / 0.8, 0.8 * 2.36]
    assert stored[2] < 2.0
    cost = 0.02 * 0.5 * 1.6 + 0.01 * 0.5 * (24.0 - sum(stored)) - 0.1 * stored[2] + 100.0 * (2.0 - stored[2])
    right = {"state_kwh": {"battery": np.array(stored)}, "shortfall": {"battery": 2.0 - stored[2]}}
    assert_right(certified(community, [4.0, -1.6, 0.0], **right), cost)
    kept = {"battery": np.array([5.0, 4.0, 4.0])}
    assert_wrong(certified(community, [4.0, -1.6, 0.0], **(right | {"state_kwh": kept})), "battery", 2 * (4 - 1.888))


@pytest.mark.parametrize(("claimed", "residual_kw"), [(0.0, 1.0), (0.75, 0.25), (1.5, 0.5), (-1.0, INFINITY)])
def test_a_shortfall_is_what_is_really_missing_no_less_and_no_more(claimed: float, residual_kw: float) -> None:
    community = community_of(battery(final_kwh=5.0), mtus=1)
    assert certified(community, [0.0], shortfall={"battery": 1.0}).feasible
    assert_wrong(certified(community, [0.0], shortfall={"battery": claimed}), "battery", residual_kw)


def test_a_reserve_is_kept_and_one_that_is_missing_is_not_drawn_on_further() -> None:
    above = community_of(battery(final_kwh=0.0), mtus=2)
    assert certified(above, [-2.4, 0.0]).feasible
    assert_wrong(certified(above, [-2.8, 0.0]), "battery", 0.5)
    below = community_of(battery(final_kwh=0.0, initial_kwh=0.5), mtus=2)
    assert certified(below, [0.0, 0.0]).feasible
    assert certified(below, [1.0, -0.4]).feasible
    assert_wrong(certified(below, [-0.08, 0.0]), "battery", 0.1)


@pytest.mark.parametrize(
    ("initial_kwh", "power_kw", "residual_kw"),
    [(4.0, [-2.0, 4.5], 0.5), (4.0, [4.0, 0.75], 0.75), (8.0, [-4.25, 0.0], 0.25), (4.0, [-3.2, 4.0], 1.0)],
)
def test_a_battery_beyond_its_limits_is_named(initial_kwh: float, power_kw: list[float], residual_kw: float) -> None:
    community = community_of(battery(charge_efficiency=1.0, initial_kwh=initial_kwh, final_kwh=0.0), mtus=2)
    assert_wrong(certified(community, power_kw), "battery", residual_kw)


def vehicle(**changes: Any) -> ElectricVehicle:
    fields = {"id": "car", "arrival_mtu": 1, "departure_mtu": 4, "capacity_kwh": 10.0, "initial_kwh": 4.0}
    fields |= {
        "required_kwh": 6.0,
        "levels": (PowerRange(lower_kw=1.5, upper_kw=3.0), PowerRange(lower_kw=4.0, upper_kw=8.0)),
    }
    fields |= {"charge_efficiency": 0.5, "discharge_efficiency": 0.8, "max_discharge_kw": 2.0, "min_kwh": 2.0}
    fields |= {"cycle_cost": 0.03, "waiting_cost": 0.01}
    return ElectricVehicle(**(fields | changes))


def test_a_vehicle_charges_and_gives_back_in_its_stay() -> None:
    community = community_of(vehicle(), mtus=5)
    right = {"state_kwh": {"car": np.array([4.0, 3.0, 4.5, 6.5, 6.5])}, "shortfall": {}}
    assert_right(certified(community, [0.0, -0.8, 3.0, 4.0, 0.0], **right), 0.03 * 0.8 + 0.01 * (7.0 + 5.5 + 3.5))


def test_a_vehicle_that_leaves_with_too_little_says_so() -> None:
    community = community_of(vehicle(), mtus=5)
    assert_right(certified(community, [0.0, 0.0, 1.5, 0.0, 0.0]), 0.01 * (6 + 5.25 + 5.25) + 100.0 * 1.25)
    assert_wrong(certified(community, [0.0, 0.0, 1.5, 0.0, 0.0], shortfall={}), "car", 1.25)
    assert_wrong(certified(community, [0.0, 4.0, 0.0, 0.0, 0.0], shortfall={"car": 0.5}), "car", 0.5)


@pytest.mark.parametrize(
    ("power_kw", "residual_kw"),
    [
        ([1.5, 4.0, 0.0, 0.0, 0.0], 1.5),
        ([0.0, 4.0, 0.0, 0.0, -0.5], 0.5),
        ([0.0, 4.0, 1.0, 0.0, 0.0], 0.5),
        ([0.0, 4.0, 3.25, 0.0, 0.0], 0.25),
        ([0.0, 4.0, 0.25, 0.0, 0.0], 0.25),
        ([0.0, 8.5, 0.0, 0.0, 0.0], 0.5),
        ([0.0, 8.0, 4.0, -2.25, 0.0], 0.25),
        ([0.0, 8.0, 8.0, 0.0, 0.0], 2.0),
        ([0.0, -1.0, -1.0, 8.0, 0.0], 0.5),
        ([0.0, NAN, 0.0, 0.0, 0.0], INFINITY),
    ],
)
def test_a_vehicle_that_breaks_a_rule_is_named(power_kw: list[float], residual_kw: float) -> None:
    assert_wrong(certified(community_of(vehicle(), mtus=5), power_kw), "car", residual_kw)


def test_the_state_of_a_vehicle_is_constant_outside_its_stay() -> None:
    community = community_of(vehicle(), mtus=5)
    drifting = {"car": np.array([3.0, 6.0, 6.0, 6.0, 6.0])}
    assert_wrong(certified(community, [0.0, 4.0, 0.0, 0.0, 0.0], state_kwh=drifting), "car", 1.0)
    nothing = clearing_of(community, {"car": [0.0] * 5}, state_kwh={})
    assert certify(community, nothing).violated == "shape of state of car"


def test_a_vehicle_that_never_comes_is_short_of_all_that_it_lacks() -> None:
    away = community_of(vehicle(arrival_mtu=2, departure_mtu=2), mtus=5)
    assert_right(certified(away, [0.0] * 5), 200.0)
