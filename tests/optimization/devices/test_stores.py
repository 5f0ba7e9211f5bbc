"""Batteries, vehicles and modulating loads get their cheapest schedule: against HiGHS, and by hand."""

import os
from collections.abc import Callable
from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimization.devices import Battery, ElectricVehicle, PowerRange, Thermostatic
from optimization.devices.oracle import PowerCost, power_cost, priced, pulled
from optimization.devices.stores import Batteries, Modulating, Vehicles
from optimization.quantities import DeviceId, Floats, Horizon
from tests.optimization.devices.store_cases import (
    random_battery,
    random_cost,
    random_horizon,
    random_modulating,
    random_vehicle,
)
from tests.optimization.devices.store_milp import cheapest_kwh_store, cheapest_modulating

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
SHORTFALL = 100.0
HOURLY = Horizon(mtus=4, mtu_minutes=60)


def battery(**changes: float) -> Battery:
    plain = Battery(
        id=DeviceId("battery"),
        max_charge_kw=2.0,
        max_discharge_kw=2.0,
        capacity_kwh=4.0,
        initial_kwh=0.0,
        final_kwh=0.0,
        charge_efficiency=0.8,
        discharge_efficiency=1.0,
        cycle_cost=0.0,
        waiting_cost=0.0,
    )
    return replace(plain, **changes)


def vehicle(*, levels: tuple[tuple[float, float], ...] = ((2.0, 4.0),), **changes: float) -> ElectricVehicle:
    plain = ElectricVehicle(
        id=DeviceId("vehicle"),
        arrival_mtu=0,
        departure_mtu=4,
        capacity_kwh=10.0,
        initial_kwh=0.0,
        required_kwh=5.0,
        levels=tuple(PowerRange(lower_kw=low, upper_kw=high) for low, high in levels),
        charge_efficiency=1.0,
        waiting_cost=0.0,
    )
    return replace(plain, **changes)


def load(**changes: object) -> Thermostatic:
    plain = Thermostatic(
        id=DeviceId("load"),
        rated_kw=2.0,
        heat_capacity_kwh_per_k=1.0,
        loss_kw_per_k=0.0,
        performance=np.ones(4),
        ambient_c=np.zeros(4),
        draw_kw=np.ones(4),
        lower_c=np.full(4, 20.0),
        upper_c=np.full(4, 22.0),
        initial_c=20.0,
        modulating=True,
        discomfort_cost=10.0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def cheapest_battery(device: Battery, price: list[float]) -> Floats:
    return Batteries.of([device], HOURLY, SHORTFALL).respond(priced(np.array([price]))).power_kw[0]


def cheapest_vehicle(device: ElectricVehicle, price: list[float]) -> Floats:
    return Vehicles.of([device], HOURLY, SHORTFALL).respond(priced(np.array([price]))).power_kw[0]


def cheapest_load(device: Thermostatic, price: list[float]) -> Floats:
    return Modulating.of([device], HOURLY, SHORTFALL).respond(priced(np.array([price]))).power_kw[0]


def check(device: Battery | ElectricVehicle | Thermostatic, horizon: Horizon, cost: PowerCost) -> None:
    """The oracle's schedule costs what HiGHS finds, and so says its bound; states and modes keep their limits."""
    match device:
        case Battery():
            batch: Batteries | Vehicles | Modulating = Batteries.of([device], horizon, SHORTFALL)
            truth = cheapest_kwh_store(device, horizon, cost, SHORTFALL)
            ranges = [(-device.max_discharge_kw, device.max_charge_kw)]
            stay, floor, cap = slice(0, horizon.mtus), device.floor_kwh(horizon), device.capacity_kwh
        case ElectricVehicle():
            batch = Vehicles.of([device], horizon, SHORTFALL)
            truth = cheapest_kwh_store(device, horizon, cost, SHORTFALL)
            ranges = [(-device.max_discharge_kw, 0.0)] + [(level.lower_kw, level.upper_kw) for level in device.levels]
            stay = slice(device.arrival_mtu, device.departure_mtu)
            floor, cap = device.floor_kwh(horizon), device.capacity_kwh
        case Thermostatic():
            batch = Modulating.of([device], horizon, SHORTFALL)
            truth = cheapest_modulating(device, horizon, cost)
            ranges = [(0.0, 0.0), (device.min_kw, device.rated_kw)]
            stay, floor, cap = slice(0, horizon.mtus), np.full(horizon.mtus, -np.inf), np.inf
    answer = batch.respond(cost)
    total = float(answer.own_cost[0] + power_cost(cost, answer.power_kw, horizon.hours)[0])
    assert total == pytest.approx(truth, rel=1e-6, abs=1e-6)
    assert total - 3e-9 * (1.0 + abs(total)) <= answer.bound[0] <= total
    np.testing.assert_allclose(batch.own_cost(answer.power_kw), answer.own_cost)
    power, state = answer.power_kw[0], batch.states(answer.power_kw)[0]
    assert (np.delete(power, np.r_[stay]) == 0.0).all()
    assert np.any([(low <= power) & (power <= high) for low, high in [*ranges, (0.0, 0.0)]], axis=0).all()
    assert (state[stay] >= floor - 1e-9).all()
    assert (state[stay] <= cap + 1e-9).all()


KINDS: dict[str, Callable[[np.random.Generator, Horizon], Battery | ElectricVehicle | Thermostatic]] = {
    "battery": lambda rng, _: random_battery(rng),
    "vehicle": random_vehicle,
    "modulating": random_modulating,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_schedules_cost_what_highs_finds(kind: str) -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        horizon = random_horizon(rng, 12)
        check(KINDS[kind](rng, horizon), horizon, random_cost(rng, 1, horizon.mtus))


@pytest.mark.slow
@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 10**6),
    price=st.lists(st.sampled_from([-0.5, -0.1, 0.0, 0.1, 0.1000001, 0.3, 1.0]), min_size=1, max_size=10),
)
def test_tied_and_negative_prices_cost_what_highs_finds(kind: str, seed: int, price: list[float]) -> None:
    horizon = Horizon(mtus=len(price), mtu_minutes=30)
    check(KINDS[kind](np.random.default_rng(seed), horizon), horizon, priced(np.array([price])))


def check_seed(kind: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    horizon = random_horizon(rng, 16)
    check(KINDS[kind](rng, horizon), horizon, random_cost(rng, 1, horizon.mtus))


@pytest.mark.campaign
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_price_vectors_cost_what_highs_finds(kind: str) -> None:
    for seed in range(ceil(10_000 * SCALE)):
        check_seed(kind, seed)


@pytest.mark.parametrize(("kind", "seed"), [("battery", 1524), ("modulating", 1394)])
def test_rounding_neither_lowers_a_bound_nor_leaves_a_range(kind: str, seed: int) -> None:
    """The battery once had a gap in its values an ulp wide, the load a power an ulp below its least."""
    check_seed(kind, seed)


def test_a_battery_charges_when_cheap_and_discharges_when_dear() -> None:
    np.testing.assert_allclose(cheapest_battery(battery(), [0.3, 0.1, 0.2, 0.5]), [0.0, 2.0, 0.5, -2.0], atol=1e-9)


def test_a_battery_idles_where_losses_eat_the_spread() -> None:
    np.testing.assert_allclose(cheapest_battery(battery(), [0.1, 0.12, 0.1, 0.12]), 0.0, atol=1e-9)


def test_a_full_battery_empties_itself_before_prices_fall_below_zero() -> None:
    power = cheapest_battery(battery(initial_kwh=4.0, max_charge_kw=4.0), [0.0, -0.01, -1.0, -0.01])
    assert power[2] == pytest.approx(4.0)
    assert power.min() < 0.0


def test_a_battery_below_its_reserve_is_not_drawn_on() -> None:
    power = cheapest_battery(battery(initial_kwh=1.0, min_kwh=2.0), [1.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(power, 0.0, atol=1e-9)


def test_an_unreachable_final_energy_counts_as_shortfall() -> None:
    batch = Batteries.of([battery(final_kwh=4.0, max_charge_kw=0.5)], HOURLY, SHORTFALL)
    answer = batch.respond(priced(np.full((1, 4), 0.2)))
    np.testing.assert_allclose(answer.power_kw, 0.5)
    assert answer.own_cost[0] == pytest.approx(SHORTFALL * (4.0 - 4 * 0.5 * 0.8))


def test_a_vehicle_charges_at_no_less_than_its_minimum() -> None:
    np.testing.assert_allclose(cheapest_vehicle(vehicle(), [0.1, 0.2, 0.3, 0.4]), [3.0, 2.0, 0.0, 0.0], atol=1e-9)


def test_a_vehicle_skips_what_its_levels_skip() -> None:
    power = cheapest_vehicle(vehicle(levels=((1.0, 1.0), (3.0, 3.0))), [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(power, [3.0, 1.0, 1.0, 0.0], atol=1e-9)


def test_a_vehicle_that_does_not_stay_is_short_of_all_it_needs() -> None:
    batch = Vehicles.of([vehicle(arrival_mtu=2, departure_mtu=2)], HOURLY, SHORTFALL)
    answer = batch.respond(priced(np.full((1, 4), 0.2)))
    assert not answer.power_kw.any()
    assert answer.own_cost[0] == pytest.approx(5.0 * SHORTFALL)


def test_a_vehicle_at_its_minimum_gives_nothing_back() -> None:
    power = cheapest_vehicle(
        vehicle(initial_kwh=3.0, min_kwh=3.0, required_kwh=0.0, max_discharge_kw=5.0), [0.5, 0.5, 0.5, 0.5]
    )
    np.testing.assert_allclose(power, 0.0, atol=1e-9)


def test_a_load_heats_ahead_as_far_as_its_band_allows() -> None:
    np.testing.assert_allclose(cheapest_load(load(), [0.1, 0.2, 0.3, 0.4]), [2.0, 2.0, 0.0, 0.0], atol=1e-9)


def test_a_load_freezes_where_heat_is_dearer_than_comfort() -> None:
    np.testing.assert_allclose(cheapest_load(load(discomfort_cost=0.01), [1.0, 1.0, 1.0, 1.0]), 0.0, atol=1e-9)


def test_a_load_rests_as_long_as_it_must_though_it_is_cold() -> None:
    power = cheapest_load(load(min_kw=1.0, min_off_mtus=3, elapsed_mtus=1), [0.1, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(power[:2], 0.0)
    assert power[2] == pytest.approx(2.0)


def test_a_load_without_a_least_power_rests_out_a_rest_that_it_brings() -> None:
    power = cheapest_load(load(elapsed_mtus=0, initial_c=10.0), [0.1, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(power, [0.0, 2.0, 2.0, 2.0])


def test_a_load_that_has_just_started_stays_on() -> None:
    power = cheapest_load(
        load(min_kw=1.0, min_on_mtus=3, running=True, elapsed_mtus=1, initial_c=30.0), [0.1, 0.1, 0.1, 0.1]
    )
    np.testing.assert_allclose(power, [1.0, 1.0, 0.0, 0.0])


def test_penalties_from_far_away_do_not_drown_prices() -> None:
    near, distant = priced(np.array([[0.3, 0.1, 0.2, 0.5]])), 4000.0
    cost = replace(
        near,
        price=near.price - 1000.0,
        kink_at=np.full((1, 4, 1), -distant),
        kink=np.full((1, 4, 1), 1000.0),
    )
    answer = Batteries.of([battery()], HOURLY, SHORTFALL).respond(cost)
    np.testing.assert_allclose(answer.power_kw, [[0.0, 2.0, 0.5, -2.0]], atol=1e-9)
    assert answer.bound[0] == pytest.approx(4 * 1000.0 * distant + 0.2 + 0.1 - 1.0, abs=1e-5)


def test_blocks_are_answered_for_alone_as_in_company() -> None:
    rng = np.random.default_rng(3)
    horizon = Horizon(mtus=24)
    batch = Vehicles.of([random_vehicle(rng, horizon, f"v{i}") for i in range(70)], horizon, SHORTFALL)
    cost = random_cost(rng, 70, 24)
    some = np.array([64, 3, 41])
    part = PowerCost(price=cost.price[some], kink_at=cost.kink_at[some], kink=cost.kink[some], target=cost.target[some])
    whole, alone = batch.respond(cost), batch.respond(part, some)
    np.testing.assert_array_equal(whole.power_kw[some], alone.power_kw)
    np.testing.assert_array_equal(whole.bound[some], alone.bound)


def test_a_reachable_target_is_reached() -> None:
    target = np.array([[1.0, 0.5, -0.7, -0.3]])
    answer = Batteries.of([battery()], HOURLY, SHORTFALL).respond(pulled(target, 2.0))
    np.testing.assert_allclose(answer.power_kw, target)
    assert answer.bound[0] <= answer.own_cost[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["battery", "vehicle"])
def test_the_nearest_schedule_costs_what_fine_tangents_find(kind: str) -> None:
    horizon, weight = Horizon(mtus=6, mtu_minutes=30), 0.2
    for seed in range(15):
        rng = np.random.default_rng([seed, 2])
        device = battery(initial_kwh=1.0) if kind == "battery" else vehicle(departure_mtu=5, max_discharge_kw=1.0)
        target, price = rng.uniform(-2.0, 4.0, (1, 6)), rng.normal(0.1, 0.2, (1, 6))
        cost = replace(priced(price), target=target, weight=weight)
        batch = (Batteries if kind == "battery" else Vehicles).of([device], horizon, SHORTFALL)  # type: ignore[list-item]
        answer = batch.respond(cost)
        total = float(answer.own_cost[0] + power_cost(cost, answer.power_kw, horizon.hours)[0])
        tangents, error = tangent_cost(cost, lowest=-2.0, highest=4.0, count=60, hours=horizon.hours)
        truth = cheapest_kwh_store(device, horizon, tangents[0], SHORTFALL) + tangents[1]
        assert truth - 1e-6 <= total <= truth + error + 1e-3 * abs(truth) + 1e-6
        assert answer.bound[0] <= truth + error


def tangent_cost(
    cost: PowerCost, *, lowest: float, highest: float, count: int, hours: float
) -> tuple[tuple[PowerCost, float], float]:
    """Costs of tangents to the pull of one block with a constant beside them, and by how much they are too low."""
    points = np.linspace(lowest, highest, count)
    middle = np.broadcast_to((points[1:] + points[:-1]) / 2.0, (1, cost.price.shape[1], count - 1))
    step = float(points[1] - points[0])
    linear = PowerCost(
        price=cost.price + cost.weight * (lowest - cost.target),
        kink_at=middle,
        kink=np.full(middle.shape, cost.weight * step),
        target=cost.target,
    )
    # The first tangent touches at the lowest power: w/2 (l - a)^2 - w (l - a) l when there is no power.
    constant = cost.weight * (0.5 * (lowest - cost.target) ** 2 - (lowest - cost.target) * lowest)
    return (linear, hours * float(constant.sum())), hours * cost.weight * step**2 / 8.0 * cost.price.shape[1]
