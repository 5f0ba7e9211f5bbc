"""Rules of loads, plants and generators as the certificate checks them."""

import dataclasses
from typing import Any

import pytest

from optimization.community import Curtailable, Device, FixedLoad, Generator
from tests.optimization.certified_devices import INFINITY, NAN, assert_right, assert_wrong, certified, community_of


def test_what_is_curtailed_costs() -> None:
    community = community_of(Curtailable(id="pv", available_kw=[2.0, 3.0], curtailment_cost=0.05), mtus=2, minutes=30)
    assert_right(certified(community, [-2.0, -1.0]), 0.05 * 0.5 * 2.0)
    assert_wrong(certified(community, [-2.1, -1.0]), "pv", 0.1)


@pytest.mark.parametrize("device", [FixedLoad(id="x", power_kw=[0.0]), Curtailable(id="x", available_kw=[0.0])])
def test_what_has_no_task_falls_short_of_none(device: Device) -> None:
    community = community_of(device, mtus=1)
    assert_right(certified(community, [0.0]), 0.0)
    assert_wrong(certified(community, [0.0], shortfall={"x": 0.5}), "x", 0.5)


def generator(**changes: Any) -> Generator:
    fields = {"id": "generator", "min_kw": 2.0, "max_kw": 5.0, "quadratic_cost": 0.1, "linear_cost": 0.2}
    fields |= {"running_cost": 0.3, "start_cost": 0.7, "min_up_mtus": 3, "min_down_mtus": 2}
    return Generator(**(fields | changes))


def test_a_generator_costs_fuel_hours_and_starts() -> None:
    community = community_of(generator(), mtus=6, minutes=30)
    fuel = 0.5 * (0.05 * (4 + 9 + 25) + 0.2 * 10 + 3 * 0.3)
    assert_right(certified(community, [0.0, -2.0, -3.0, -5.0, 0.0, 0.0]), fuel + 0.7)
    going = community_of(generator(running=True), mtus=3, minutes=30)
    assert_right(certified(going, [-2.0, -3.0, -5.0]), fuel)


@pytest.mark.parametrize(
    ("changes", "power_kw", "residual_kw"),
    [
        ({}, [0.0, -1.5, -3.0, -5.0, 0.0, 0.0], 0.5),
        ({}, [0.0, -2.0, -3.0, -5.5, 0.0, 0.0], 0.5),
        ({}, [0.0, -2.0, -3.0, -5.0, -0.5, 0.0], 0.5),
        ({}, [0.0, -2.0, -3.0, -5.0, 0.0, 0.25], 0.25),
        ({}, [0.0, -2.0, -3.0, 0.0, 0.0, 0.0], 5.0),
        ({}, [0.0, -2.0, 0.0, 0.0, 0.0, 0.0], 10.0),
        ({}, [-2.0, -2.0, -2.0, 0.0, -2.0, -2.0], 5.0),
        ({"elapsed_mtus": 1}, [-2.0, -2.0, -2.0, -2.0, 0.0, 0.0], 5.0),
        ({"running": True, "elapsed_mtus": 1}, [-2.0, 0.0, 0.0, 0.0, 0.0, 0.0], 5.0),
        ({}, [0.0, NAN, -2.0, -2.0, -2.0, 0.0], INFINITY),
    ],
)
def test_a_generator_that_breaks_a_rule_is_named(
    changes: dict[str, Any], power_kw: list[float], residual_kw: float
) -> None:
    assert_wrong(certified(community_of(generator(**changes), mtus=6), power_kw), "generator", residual_kw)


@pytest.mark.parametrize(
    ("changes", "power_kw"),
    [
        ({}, [0.0, 0.0, 0.0, 0.0, 0.0, -2.0]),
        ({}, [-2.0, -2.0, -2.0, 0.0, 0.0, -2.0]),
        ({}, [-2.0, -2.0, -2.0, -2.0, -2.0, 0.0]),
        ({"elapsed_mtus": 1}, [0.0, -2.0, -2.0, -2.0, 0.0, 0.0]),
        ({"elapsed_mtus": 2}, [-2.0, -2.0, -2.0, 0.0, 0.0, 0.0]),
        ({"running": True, "elapsed_mtus": 1}, [-2.0, -2.0, 0.0, 0.0, 0.0, 0.0]),
        ({"running": True, "elapsed_mtus": 3}, [0.0, 0.0, -2.0, -2.0, -2.0, 0.0]),
        ({"running": True}, [0.0, 0.0, -2.0, -2.0, -2.0, 0.0]),
    ],
)
def test_a_generator_may_what_its_minimum_times_allow(changes: dict[str, Any], power_kw: list[float]) -> None:
    assert certified(community_of(generator(**changes), mtus=6), power_kw).feasible


def test_a_generator_without_a_least_output_may_idle_while_up() -> None:
    """Up for nothing in the middle, at 30 cents, is cheaper than a second start, and the minimum up time allows it."""
    idling = generator(min_kw=0.0, quadratic_cost=0.0, linear_cost=0.0, min_up_mtus=3, min_down_mtus=1)
    community = community_of(idling, mtus=5)
    assert_right(certified(community, [0.0, -1.0, 0.0, -1.0, 0.0]), 0.7 + 3 * 0.3)
    assert_right(certified(community, [0.0, -1.0, 0.0, 0.0, 0.0]), 0.7 + 3 * 0.3)
    assert_right(certified(community, [0.0, 0.0, 0.0, 0.0, 0.0]), 0.0)
    rested = community_of(dataclasses.replace(idling, elapsed_mtus=1, min_down_mtus=3), mtus=5)
    assert_wrong(certified(rested, [0.0, -1.0, 0.0, -1.0, 0.0]), "generator", 5.0)
