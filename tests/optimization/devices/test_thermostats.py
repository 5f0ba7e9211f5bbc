"""On/off thermostats: the interval holds the optimum, the schedule keeps the rules, exactness is stated."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimization.devices.oracle import PowerCost, power_cost, priced, pulled
from optimization.devices.thermostatic import Thermostatic
from optimization.devices.thermostats import FINE, QUICK, Switched
from optimization.errors import ProblemError
from optimization.quantities import DeviceId, Floats, Horizon

SHORTFALL_PRICE = 100.0


def house(horizon: Horizon, **changes: Any) -> Thermostatic:
    """A heat pump in a house of 8 kWh/K at 5 degrees outside."""
    mtus = horizon.mtus
    values: dict[str, Any] = {
        "id": DeviceId("pump"),
        "rated_kw": 3.0,
        "heat_capacity_kwh_per_k": 8.0,
        "loss_kw_per_k": 0.15,
        "performance": np.full(mtus, 3.0),
        "ambient_c": np.full(mtus, 5.0),
        "draw_kw": np.zeros(mtus),
        "lower_c": np.full(mtus, 20.0),
        "upper_c": np.full(mtus, 22.0),
        "initial_c": 20.7,
    }
    return Thermostatic(**(values | changes))


def random_load(rng: np.random.Generator, horizon: Horizon) -> Thermostatic:
    """Any kind of load: heating or cooling, quick or slow, with times, starts, and a band that may not be kept."""
    mtus = horizon.mtus
    cooling = rng.random() < 0.4
    capacity = 10.0 ** rng.uniform(-1.5, 1.0)
    loss = rng.choice([0.0, capacity * 10.0 ** rng.uniform(-2.5, 0.5)])
    centre = rng.uniform(4.0, 60.0)
    swing = rng.uniform(0.5, 6.0)
    setback = rng.choice([0.0, 1.0]) * (np.arange(mtus) < mtus // 2)
    away = rng.uniform(-1.0, 4.0) * swing
    hold = max(loss * abs(away), 0.05 * capacity * swing)
    sign = -1.0 if cooling else 1.0
    return Thermostatic(
        id=DeviceId("load"),
        rated_kw=float(rng.uniform(0.7, 6.0) * hold / 3.0),
        heat_capacity_kwh_per_k=float(capacity),
        loss_kw_per_k=float(loss),
        performance=sign * rng.uniform(2.0, 4.0, mtus),
        ambient_c=centre - sign * away + rng.normal(0.0, 0.3, mtus),
        draw_kw=sign * hold * rng.uniform(0.0, 1.5, mtus) * (rng.random(mtus) < 0.3),
        lower_c=centre - swing / 2 - setback,
        upper_c=np.full(mtus, centre + swing / 2),
        initial_c=float(centre + swing * rng.uniform(-0.9, 0.9)),
        min_on_mtus=int(rng.integers(1, 4)),
        min_off_mtus=int(rng.integers(1, 4)),
        running=bool(rng.random() < 0.5),
        elapsed_mtus=None if rng.random() < 0.4 else int(rng.integers(0, 5)),
        discomfort_cost=float(rng.choice([0.0, 0.05, 1.0, 100.0])),
        start_cost=float(rng.choice([0.0, 0.01, 0.2])),
    )


def random_cost(rng: np.random.Generator, mtus: int, rated: float) -> PowerCost:
    """Prices of any sign, with kinks and a pull at times."""
    kinks = int(rng.integers(0, 3))
    return PowerCost(
        price=rng.normal(0.2, 0.2, (1, mtus)),
        kink_at=rng.uniform(-1.0, 1.5, (1, mtus, kinks)) * rated,
        kink=rng.uniform(0.0, 0.3, (1, mtus, kinks)),
        target=rng.uniform(-0.5, 1.5, (1, mtus)) * rated,
        weight=float(rng.choice([0.0, 0.1, 1.0])),
    )


def keeps_times(device: Thermostatic, on: tuple[bool, ...]) -> bool:
    """Whether a switching keeps the shortest runs and rests, those carried in included."""
    state, length = device.running, 10**6 if device.elapsed_mtus is None else device.elapsed_mtus
    for now in on:
        if now == state:
            length += 1
        else:
            if length < (device.min_on_mtus if state else device.min_off_mtus):
                return False
            state, length = now, 1
    return True


def price_switching(device: Thermostatic, horizon: Horizon, cost: PowerCost, power: Floats) -> float:
    """What a schedule costs, written out from the rules."""
    theta = device.temperature_c(power, horizon)
    outside = np.maximum(0.0, np.maximum(device.lower_c - theta, theta - device.upper_c))
    on = power > 0.0
    starts = int(np.sum(on & ~np.concatenate([[device.running], on[:-1]])))
    own = device.discomfort_cost * horizon.hours * outside.sum() + device.outside_cost * (outside > 1e-6).sum()
    return float(own + device.start_cost * starts + power_cost(cost, power[None], horizon.hours)[0])


def enumerate_optimum(device: Thermostatic, horizon: Horizon, cost: PowerCost) -> float:
    """The least cost of all switchings, each looked at."""
    return min(
        price_switching(device, horizon, cost, device.rated_kw * np.array(on, dtype=np.float64))
        for on in product((False, True), repeat=horizon.mtus)
        if keeps_times(device, on)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from((8, QUICK, FINE)))
def test_interval_holds_the_optimum_of_all_switchings(seed: int, mtus: int, resolution: int) -> None:
    rng, horizon = np.random.default_rng(seed), Horizon(mtus=mtus)
    device = random_load(rng, horizon)
    cost = random_cost(rng, mtus, device.rated_kw)
    answer = Switched.of([device], horizon, SHORTFALL_PRICE, resolution=resolution).respond(cost)
    found = price_switching(device, horizon, cost, answer.power_kw[0])
    optimum = enumerate_optimum(device, horizon, cost)
    assert keeps_times(device, tuple(answer.power_kw[0] > 0.0))
    assert answer.bound[0] <= optimum + 1e-7 * (1.0 + abs(optimum))
    assert found >= optimum - 1e-7 * (1.0 + abs(optimum))
    paid = answer.own_cost[0] + power_cost(cost, answer.power_kw, horizon.hours)[0]
    assert paid == pytest.approx(found, abs=1e-7, rel=1e-7)
    if resolution == FINE:
        assert found <= optimum + 0.005 * abs(optimum) + 1e-7


@pytest.mark.slow
def test_fine_answers_to_fourteen_mtus_are_the_optimum_and_say_so() -> None:
    rng, horizon = np.random.default_rng(5), Horizon(mtus=14)
    exact = 0
    for _ in range(8):
        device = random_load(rng, horizon)
        cost = random_cost(rng, 14, device.rated_kw)
        answer = Switched.of([device], horizon, SHORTFALL_PRICE, resolution=FINE).respond(cost)
        found = price_switching(device, horizon, cost, answer.power_kw[0])
        optimum = enumerate_optimum(device, horizon, cost)
        assert found == pytest.approx(optimum, rel=1e-4, abs=1e-6)
        exact += abs(answer.bound[0] - found) <= 1e-7 * (1.0 + abs(found))
    assert exact >= 6


def test_negative_prices_are_used_up_to_the_top_of_the_band() -> None:
    horizon = Horizon(mtus=24)
    batch = Switched.of([house(horizon)], horizon, SHORTFALL_PRICE, resolution=FINE)
    answer = batch.respond(priced(np.full((1, 24), -0.1)))
    theta = house(horizon).temperature_c(answer.power_kw[0], horizon)
    assert answer.own_cost[0] == 0.0
    assert 21.7 < theta.max() <= 22.0 + 1e-6
    assert answer.bound[0] == pytest.approx(-0.1 * answer.power_kw.sum() / 4, abs=1e-9)


def test_load_below_its_band_recovers_as_fast_as_it_can() -> None:
    horizon = Horizon(mtus=24)
    device = house(horizon, initial_c=18.0)
    answer = Switched.of([device], horizon, SHORTFALL_PRICE).respond(priced(np.linspace(2.0, 0.1, 24)[None]))
    full = device.temperature_c(np.full(24, 3.0), horizon)
    needed = int(np.argmax(full >= 20.0)) + 1
    assert needed > 3
    assert (answer.power_kw[0, :needed] == 3.0).all()


def test_impossible_comfort_runs_throughout_and_states_the_discomfort() -> None:
    horizon = Horizon(mtus=32)
    device = house(horizon, rated_kw=0.3, initial_c=19.0)
    answer = Switched.of([device], horizon, SHORTFALL_PRICE).respond(priced(np.full((1, 32), 0.3)))
    assert (answer.power_kw == 0.3).all()
    missing = 20.0 - device.temperature_c(answer.power_kw[0], horizon)
    assert answer.own_cost[0] == pytest.approx(100.0 * 0.25 * missing.sum() + 32 * 25.0)
    assert answer.bound[0] == pytest.approx(answer.own_cost[0] + 0.3 * 0.3 * 8)


@pytest.mark.parametrize(("elapsed", "forced"), [(0, 5), (2, 3), (5, 0), (None, 0)])
def test_run_carried_in_lasts_its_minimum(elapsed: int | None, forced: int) -> None:
    horizon = Horizon(mtus=12)
    device = house(horizon, initial_c=21.5, min_on_mtus=5, running=True, elapsed_mtus=elapsed)
    answer = Switched.of([device], horizon, SHORTFALL_PRICE).respond(priced(np.full((1, 12), 0.3)))
    on = answer.power_kw[0] > 0
    assert on[:forced].all()
    assert not on[forced]


@pytest.mark.parametrize(("elapsed", "forced"), [(0, 4), (3, 1), (4, 0), (None, 0)])
def test_rest_carried_in_lasts_its_minimum(elapsed: int | None, forced: int) -> None:
    horizon = Horizon(mtus=12)
    device = house(horizon, initial_c=19.0, min_off_mtus=4, running=False, elapsed_mtus=elapsed)
    answer = Switched.of([device], horizon, SHORTFALL_PRICE).respond(priced(np.full((1, 12), 0.3)))
    on = answer.power_kw[0] > 0
    assert not on[:forced].any()
    assert on[forced]


def test_run_may_be_cut_by_the_end_of_the_horizon() -> None:
    horizon = Horizon(mtus=8)
    device = house(horizon, min_on_mtus=6, initial_c=21.0)
    price = np.array([[0.5] * 6 + [-1.0] * 2])
    answer = Switched.of([device], horizon, SHORTFALL_PRICE).respond(priced(price))
    np.testing.assert_array_equal(answer.power_kw[0], [0, 0, 0, 0, 0, 0, 3, 3])


def test_start_cost_joins_runs_and_a_carried_run_is_no_start() -> None:
    horizon = Horizon(mtus=32)
    cost = priced(np.tile([0.2, 0.3], 16)[None])
    apart = Switched.of([house(horizon)], horizon, SHORTFALL_PRICE, resolution=FINE).respond(cost)
    joined = Switched.of([house(horizon, start_cost=0.5)], horizon, SHORTFALL_PRICE, resolution=FINE).respond(cost)
    starts = [int((np.diff(answer.power_kw[0], prepend=0.0) > 0).sum()) for answer in (apart, joined)]
    assert starts[1] < starts[0]
    assert joined.own_cost[0] == pytest.approx(0.5 * starts[1])
    carried = Switched.of([house(horizon, start_cost=0.5, running=True, initial_c=20.0)], horizon, SHORTFALL_PRICE)
    on = carried.respond(cost).power_kw > 0
    assert on[0, 0]
    assert carried.own_cost(3.0 * np.ones((1, 32)) * (np.arange(32) < 9))[0] == 0.0


def test_pull_to_a_schedule_that_keeps_the_band_finds_it() -> None:
    horizon = Horizon(mtus=48)
    batch = Switched.of([house(horizon)], horizon, SHORTFALL_PRICE, resolution=FINE)
    wanted = batch.respond(priced(np.random.default_rng(3).normal(0.3, 0.1, (1, 48)))).power_kw
    pull = batch.respond(pulled(wanted, 1.0))
    np.testing.assert_array_equal(pull.power_kw, wanted)
    assert pull.bound[0] == pytest.approx(0.0, abs=1e-9)


def test_subset_of_blocks_answers_as_the_whole_does_and_twice_alike() -> None:
    rng, horizon = np.random.default_rng(11), Horizon(mtus=40)
    devices = [random_load(rng, horizon) for _ in range(7)]
    batch = Switched.of(devices, horizon, SHORTFALL_PRICE)
    price = rng.normal(0.25, 0.1, (7, 40))
    whole, chosen = batch.respond(priced(price)), np.array([1, 4, 6])
    part = batch.respond(priced(price[chosen]), chosen)
    again = batch.respond(priced(price))
    np.testing.assert_array_equal(part.power_kw, whole.power_kw[chosen])
    np.testing.assert_array_equal(part.bound, whole.bound[chosen])
    np.testing.assert_array_equal(again.power_kw, whole.power_kw)
    np.testing.assert_array_equal(batch.own_cost(whole.power_kw), whole.own_cost)
    np.testing.assert_array_equal(batch.own_cost(part.power_kw, chosen), part.own_cost)
    np.testing.assert_array_equal(batch.block, np.arange(7))


def test_finer_cells_narrow_the_interval_around_the_same_optimum() -> None:
    rng, horizon = np.random.default_rng(2), Horizon(mtus=96)
    batch = Switched.of([house(horizon, min_on_mtus=2, min_off_mtus=2)] * 6, horizon, SHORTFALL_PRICE)
    cost = priced(rng.normal(0.25, 0.08, (6, 96)))
    coarse, fine = batch.respond(cost), batch.at(FINE).respond(cost)
    costs = [answer.own_cost + power_cost(cost, answer.power_kw, horizon.hours) for answer in (coarse, fine)]
    assert np.maximum(coarse.bound, fine.bound).max() <= np.minimum(*costs).max() + 1e-9
    assert (np.maximum(coarse.bound, fine.bound) <= np.minimum(*costs) + 1e-9).all()
    assert (costs[1] - fine.bound).mean() <= 0.003 * costs[1].mean()
    assert (costs[0] - coarse.bound).mean() > (costs[1] - fine.bound).mean()


@pytest.mark.parametrize(
    "changes",
    [
        {"heat_capacity_kwh_per_k": 1e-6},
        {"heat_capacity_kwh_per_k": 1e-6, "loss_kw_per_k": 0.0, "rated_kw": 1e6},
        {"heat_capacity_kwh_per_k": 1e6},
        {"rated_kw": 0.0},
        {"rated_kw": 1e-9, "draw_kw": np.full(192, 1e6), "heat_capacity_kwh_per_k": 1e-6, "loss_kw_per_k": 0.0},
        {"loss_kw_per_k": 1e6},
        {"lower_c": np.full(192, 21.0), "upper_c": np.full(192, 21.0)},
        {"min_on_mtus": 192, "min_off_mtus": 192},
        {"performance": np.full(192, -3.0), "discomfort_cost": 0.0},
    ],
)
@pytest.mark.parametrize("resolution", [1, QUICK, FINE])
def test_odd_loads_are_answered_for_all_the_same(changes: dict[str, Any], resolution: int) -> None:
    horizon = Horizon(mtus=192)
    batch = Switched.of([house(horizon, **changes)], horizon, SHORTFALL_PRICE, resolution=resolution)
    cost = priced(np.random.default_rng(0).normal(0.2, 0.2, (1, 192)))
    answer = batch.respond(cost)
    paid = answer.own_cost + power_cost(cost, answer.power_kw, horizon.hours)
    assert np.isfinite(paid).all()
    assert (answer.bound <= paid).all()
    assert keeps_times(batch.devices[0], tuple(answer.power_kw[0] > 0.0)) or batch.rated[0] == 0.0


def test_modulating_load_is_refused() -> None:
    horizon = Horizon(mtus=4)
    with pytest.raises(ProblemError, match="modulating: got True"):
        Switched.of([house(horizon, modulating=True)], horizon, SHORTFALL_PRICE)


def test_load_of_another_length_is_refused() -> None:
    with pytest.raises(ProblemError, match="got 4 MTUs, wanted 5"):
        Switched.of([house(Horizon(mtus=4))], Horizon(mtus=5), SHORTFALL_PRICE)


def test_no_loads_get_no_schedules() -> None:
    horizon = Horizon(mtus=4)
    answer = Switched.of([], horizon, SHORTFALL_PRICE).respond(priced(np.zeros((0, 4))))
    assert answer.power_kw.shape == (0, 4)
    assert answer.bound.shape == (0,)
