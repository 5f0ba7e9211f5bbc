"""Rules of thermostatic loads as the certificate checks them."""

from typing import Any

import numpy as np
import pytest

from optimization.certificate import certify
from optimization.community import Thermostatic
from tests.optimization.certified_devices import (
    INFINITY,
    NAN,
    assert_right,
    assert_wrong,
    certified,
    clearing_of,
    community_of,
)


def heater(**changes: Any) -> Thermostatic:
    mtus = changes.pop("mtus", 4)
    fields = {"id": "heater", "rated_kw": 2.0, "heat_capacity_kwh_per_k": 0.5, "loss_kw_per_k": 0.0}
    fields |= {"performance": [3.0] * mtus, "ambient_c": [10.0] * mtus, "draw_kw": [1.0] * mtus}
    fields |= {"lower_c": [40.0] * mtus, "upper_c": [60.0] * mtus, "initial_c": 50.0, "discomfort_cost": 8.0}
    return Thermostatic(**(fields | {"start_cost": 0.5} | changes))


def test_a_temperature_follows_its_heat() -> None:
    community = community_of(heater(), mtus=4)
    right = {"heater": np.array([48.0, 58.0, 56.0, 54.0])}
    assert_right(certified(community, [0.0, 2.0, 0.0, 0.0], temperature_c=right), 0.5)
    wrong = {"heater": np.array([48.0, 58.0, 56.5, 54.0])}
    assert_wrong(certified(community, [0.0, 2.0, 0.0, 0.0], temperature_c=wrong), "heater", 0.5)
    nothing = clearing_of(community, {"heater": [0.0] * 4}, temperature_c={})
    assert certify(community, nothing).violated == "shape of temperature of heater"


def test_a_temperature_loses_to_its_surroundings_as_an_exponential() -> None:
    community = community_of(heater(loss_kw_per_k=0.5 * np.log(2.0), draw_kw=[0.0] * 4, lower_c=[0.0] * 4), mtus=4)
    cooling = {"heater": np.array([30.0, 20.0, 15.0, 12.5])}
    assert_right(certified(community, [0.0] * 4, temperature_c=cooling), 0.0)


@pytest.mark.parametrize(("modulating", "fixed_cost"), [(False, 2 * 8.0 / 4), (True, 0.0)])
def test_kelvins_outside_the_band_are_said_and_cost(modulating: bool, fixed_cost: float) -> None:
    community = community_of(heater(initial_c=42.0, modulating=modulating), mtus=4, minutes=30)
    cold = [0.0, 0.0, 0.0, 0.0]  # 41, 40, 39, 38 degrees: 1 K and 2 K too cold, half an hour each
    assert_right(certified(community, cold, shortfall={"heater": 1.5}), 8.0 * 1.5 + fixed_cost)
    assert_wrong(certified(community, cold, shortfall={"heater": 1.0}), "heater", 1.0)
    assert_wrong(certified(community, cold, shortfall={"heater": 2.0}), "heater", 1.0)
    hot = [2.0, 2.0, 2.0, 2.0]  # 47, 52, 57, 62
    assert certified(community, hot, shortfall={"heater": 1.0}).feasible


@pytest.mark.parametrize(
    ("changes", "power_kw", "residual_kw"),
    [
        ({}, [0.0, 1.5, 0.0, 0.0], 0.5),
        ({}, [0.0, 0.5, 0.0, 0.0], 0.5),
        ({}, [0.0, 2.25, 0.0, 0.0], 0.25),
        ({}, [0.0, -0.25, 0.0, 0.0], 0.25),
        ({"modulating": True, "min_kw": 1.0}, [0.0, 0.75, 0.0, 0.0], 0.25),
        ({"modulating": True, "min_kw": 1.0}, [0.0, 2.25, 0.0, 0.0], 0.25),
        ({"modulating": True}, [0.0, 2.25, 0.0, 0.0], 0.25),
        ({"min_on_mtus": 2}, [0.0, 2.0, 0.0, 0.0], 2.0),
        ({"min_off_mtus": 3}, [2.0, 0.0, 2.0, 0.0], 4.0),
        ({"min_off_mtus": 3, "elapsed_mtus": 1}, [0.0, 2.0, 0.0, 0.0], 2.0),
        ({"min_on_mtus": 3, "running": True, "elapsed_mtus": 1}, [2.0, 0.0, 0.0, 0.0], 2.0),
        ({}, [0.0, NAN, 0.0, 0.0], INFINITY),
    ],
)
def test_a_thermostat_that_breaks_a_rule_is_named(
    changes: dict[str, Any], power_kw: list[float], residual_kw: float
) -> None:
    assert_wrong(certified(community_of(heater(**changes), mtus=4), power_kw), "heater", residual_kw)


@pytest.mark.parametrize(
    ("changes", "power_kw"),
    [
        ({}, [2.0, 0.0, 2.0, 0.0]),
        ({"modulating": True, "min_kw": 1.0}, [0.0, 1.25, 2.0, 0.0]),
        ({"modulating": True}, [0.0, 0.01, 2.0, 0.0]),
        ({"modulating": True, "min_on_mtus": 3}, [0.0, 0.5, 0.0, 0.5]),
        ({"min_on_mtus": 2}, [0.0, 2.0, 2.0, 0.0]),
        ({"min_on_mtus": 2}, [0.0, 0.0, 0.0, 2.0]),
        ({"min_off_mtus": 3, "elapsed_mtus": 1}, [0.0, 0.0, 2.0, 0.0]),
        ({"min_on_mtus": 3, "running": True, "elapsed_mtus": 1}, [2.0, 2.0, 0.0, 0.0]),
    ],
)
def test_a_thermostat_may_what_its_powers_and_times_allow(changes: dict[str, Any], power_kw: list[float]) -> None:
    assert certified(community_of(heater(**changes), mtus=4), power_kw).feasible
