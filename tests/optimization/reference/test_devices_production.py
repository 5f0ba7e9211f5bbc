"""Plants, generators' fuel, and the price of departing from a plan, by hand. An MTU is an hour."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from optimization.clearing import Clearing
from optimization.community import Battery, Community, Curtailable, FixedLoad, Generator
from tests.optimization.lone_peer import lone_peer

Single = Callable[..., Community]
Best = Callable[[Community], Clearing]


def pv(cost: float, *available_kw: float) -> Curtailable:
    return Curtailable(id="pv", available_kw=np.array(available_kw), curtailment_cost=cost)


def generator(**changes: Any) -> Generator:
    fields = {"id": "generator", "min_kw": 1.0, "max_kw": 4.0, "linear_cost": 0.2}
    return Generator(**(fields | changes))


@pytest.mark.parametrize(("cost", "produced"), [(0.09, [-2.0, 0.0]), (0.11, [-2.0, -3.0])])
def test_sun_is_curtailed_where_that_is_cheaper_than_to_pay_for_its_export(
    single: Single, best: Best, cost: float, produced: list[float]
) -> None:
    clearing = best(single(pv(cost, 2, 3), price=[0.1, -0.1]))
    assert clearing.device_kw["pv"] == pytest.approx(produced)
    assert clearing.objective == pytest.approx(-0.2 + min(0.1, cost) * 3)


def test_a_generator_runs_where_the_price_covers_its_fuel_and_its_start(single: Single, best: Best) -> None:
    device = generator(running_cost=0.1, start_cost=0.3)
    clearing = best(single(device, price=[0.1, 0.5, 0.4, 0.1]))
    assert clearing.device_kw["generator"] == pytest.approx([0, -4, -4, 0], abs=1e-9)
    assert clearing.objective == pytest.approx(0.3 + 2 * (4 * 0.2 + 0.1) - 4 * 0.9)


def test_a_generator_stays_up_for_its_minimum_at_its_least_output(single: Single, best: Best) -> None:
    clearing = best(single(generator(min_up_mtus=3), price=[1.0, 0.1, 0.1, 0.1]))
    assert clearing.device_kw["generator"] == pytest.approx([-4, -1, -1, 0], abs=1e-9)


def test_a_generator_that_was_started_before_goes_on_and_one_that_was_stopped_rests(single: Single, best: Best) -> None:
    up = generator(min_up_mtus=4, running=True, elapsed_mtus=2)
    assert best(single(up, price=[0.1] * 3)).device_kw["generator"] == pytest.approx([-1, -1, 0], abs=1e-9)
    down = generator(min_down_mtus=4, elapsed_mtus=2)
    assert best(single(down, price=[0.3] * 3)).device_kw["generator"] == pytest.approx([0, 0, -4], abs=1e-9)
    free = generator(min_up_mtus=4, running=True, elapsed_mtus=None)
    assert best(single(free, price=[0.1] * 3)).device_kw["generator"] == pytest.approx([0, 0, 0], abs=1e-9)


def test_a_run_may_reach_beyond_the_horizon(single: Single, best: Best) -> None:
    clearing = best(single(generator(min_up_mtus=5), price=[0.1, 0.1, 1.0]))
    assert clearing.device_kw["generator"] == pytest.approx([0, 0, -4], abs=1e-9)


def test_a_quadratic_cost_is_met_from_below_and_counted_as_it_is(single: Single, best: Best) -> None:
    device = generator(min_kw=0.0, quadratic_cost=0.1, linear_cost=0.1)
    clearing = best(single(device, price=[0.33, 0.38]))
    truth = sum(-((price - 0.1) ** 2) / (2 * 0.1) for price in (0.33, 0.38))
    error = 2 * 0.1 * 4**2 / 8192
    assert truth - error - 1e-9 <= clearing.lower_bound <= truth + 1e-9
    assert truth - 1e-9 <= clearing.objective <= truth + error + 1e-9
    output = -clearing.device_kw["generator"]
    fuel = (0.05 * output**2 + 0.1 * output).sum()
    assert clearing.objective == pytest.approx(fuel - output @ np.array([0.33, 0.38]), abs=1e-9)


def test_a_generator_of_one_output_alone_has_one_cost(single: Single, best: Best) -> None:
    device = generator(min_kw=4.0, quadratic_cost=0.1, running_cost=0.5)
    clearing = best(single(device, price=[0.6, 0.5]))
    assert clearing.device_kw["generator"] == pytest.approx([-4, 0], abs=1e-9)
    assert clearing.objective == pytest.approx(0.05 * 16 + 0.2 * 4 + 0.5 - 0.6 * 4)


def planned(power_kw: list[float], price: list[float], *devices: Any, change_price: float) -> Community:
    return lone_peer(
        *devices,
        import_price=price,
        export_price=price,
        planned_kw={devices[0].id: np.array(power_kw)},
        change_price=change_price,
    )


@pytest.mark.parametrize(("change_price", "produced"), [(0.09, [-2.0, 0.0]), (0.11, [-1.0, -2.0])])
def test_a_plan_is_left_only_where_that_earns_more_than_its_price(
    best: Best, change_price: float, produced: list[float]
) -> None:
    community = planned([-1.0, -2.0], [0.1, -0.1], pv(0.0, 2, 2), change_price=change_price)
    clearing = best(community)
    assert clearing.device_kw["pv"] == pytest.approx(produced, abs=1e-9)
    changed = abs(produced[0] + 1) + abs(produced[1] + 2)
    assert clearing.objective == pytest.approx(0.1 * produced[0] - 0.1 * produced[1] + change_price * changed)


def test_a_full_battery_does_not_burn_energy_to_keep_to_its_plan(best: Best) -> None:
    full = Battery(
        id="battery",
        max_charge_kw=2.0,
        max_discharge_kw=2.0,
        capacity_kwh=4.0,
        initial_kwh=4.0,
        final_kwh=4.0,
        charge_efficiency=0.8,
        cycle_cost=0.01,
    )
    clearing = best(planned([1.0], [0.1], full, FixedLoad(id="load", power_kw=np.array([0.0])), change_price=5.0))
    assert clearing.device_kw["battery"] == pytest.approx([0.0], abs=1e-9)
    assert clearing.objective == pytest.approx(5.0)
