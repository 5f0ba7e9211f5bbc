"""On/off thermostats against HiGHS: the optimum of the plain mixed-integer model lies in the interval."""

import os

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_matrix

from optimization.devices.oracle import power_cost, priced
from optimization.devices.thermostatic import Thermostatic
from optimization.devices.thermostats import FINE, Switched
from optimization.quantities import DeviceId, Floats, Horizon

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
SHORTFALL_PRICE = 100.0


def boiler(rng: np.random.Generator, mtus: int) -> Thermostatic:
    drawn = rng.uniform(0.0, 2.5, mtus) * (rng.random(mtus) < 0.25)
    return Thermostatic(
        id=DeviceId("boiler"), rated_kw=2.0, heat_capacity_kwh_per_k=0.23, loss_kw_per_k=0.002,
        performance=np.ones(mtus), ambient_c=np.full(mtus, 18.0), draw_kw=drawn, lower_c=np.full(mtus, 50.0),
        upper_c=np.full(mtus, 65.0), initial_c=rng.uniform(48.0, 64.0), start_cost=float(rng.choice([0.0, 0.01])),
    )  # fmt: skip


def heat_pump(rng: np.random.Generator, mtus: int) -> Thermostatic:
    ambient = rng.uniform(-5.0, 10.0) + rng.normal(0.0, 0.3, mtus)
    return Thermostatic(
        id=DeviceId("pump"), rated_kw=3.0, heat_capacity_kwh_per_k=8.0, loss_kw_per_k=0.15,
        performance=2.5 + 0.06 * ambient, ambient_c=ambient, draw_kw=-rng.uniform(0.0, 0.4, mtus),
        lower_c=np.full(mtus, 20.0), upper_c=np.full(mtus, 22.0), initial_c=rng.uniform(19.9, 21.8), min_on_mtus=2,
        min_off_mtus=2, running=bool(rng.random() < 0.5), elapsed_mtus=int(rng.integers(0, 4)),
    )  # fmt: skip


def refrigerator(rng: np.random.Generator, mtus: int) -> Thermostatic:
    return Thermostatic(
        id=DeviceId("fridge"), rated_kw=0.1, heat_capacity_kwh_per_k=0.015, loss_kw_per_k=0.0015,
        performance=np.full(mtus, -1.8), ambient_c=np.full(mtus, 21.0),
        draw_kw=-rng.uniform(0.0, 0.02, mtus) * (rng.random(mtus) < 0.1), lower_c=np.full(mtus, 2.0),
        upper_c=np.full(mtus, 7.0), initial_c=rng.uniform(2.5, 6.5), start_cost=0.0005,
    )  # fmt: skip


def air_conditioner(rng: np.random.Generator, mtus: int) -> Thermostatic:
    return Thermostatic(
        id=DeviceId("air"), rated_kw=1.2, heat_capacity_kwh_per_k=2.0, loss_kw_per_k=0.12,
        performance=np.full(mtus, -3.0), ambient_c=rng.uniform(28.0, 34.0) + rng.normal(0.0, 0.5, mtus),
        draw_kw=-rng.uniform(0.0, 0.5, mtus), lower_c=np.full(mtus, 22.0), upper_c=np.full(mtus, 25.0),
        initial_c=rng.uniform(22.5, 25.5), min_on_mtus=1, min_off_mtus=3, running=True, elapsed_mtus=None,
    )  # fmt: skip


KINDS = (boiler, heat_pump, refrigerator, air_conditioner)


def solve_plainly(device: Thermostatic, horizon: Horizon, price: Floats) -> tuple[Floats, float]:
    """HiGHS's schedule (T,) kW and its dual bound: on, started, temperature, K outside, whether outside."""
    mtus = horizon.mtus
    keep, gain, drift = device.dynamics(horizon)
    on, started, theta, beside, outside = (np.arange(mtus) + k * mtus for k in range(5))
    rows: list[tuple[dict[int, float], float, float]] = []
    for t in range(mtus):
        before, known = ({theta[t - 1]: -keep}, 0.0) if t else ({}, keep * device.initial_c)
        inflow = drift[t] + known
        rows.append(({theta[t]: 1.0, on[t]: -gain[t] * device.rated_kw, **before}, inflow, inflow))
        rows.append(({theta[t]: 1.0, beside[t]: 1.0}, device.lower_c[t], np.inf))
        rows.append(({theta[t]: 1.0, beside[t]: -1.0}, -np.inf, device.upper_c[t]))
        rows.append(({beside[t]: 1.0, outside[t]: -40.0}, -np.inf, 1e-6))
        change, carried = ({on[t]: 1.0, on[t - 1]: -1.0}, 0.0) if t else ({on[t]: 1.0}, float(device.running))
        rows.append(({started[t]: -1.0, **change}, -np.inf, carried))
        for k in range(t + 1, min(mtus, t + device.min_on_mtus)):
            rows.append(({**change, on[k]: -1.0}, -np.inf, carried))
        for k in range(t + 1, min(mtus, t + device.min_off_mtus)):
            rows.append(({**{j: -a for j, a in change.items()}, on[k]: 1.0}, -np.inf, 1.0 - carried))
    matrix = lil_matrix((len(rows), 5 * mtus))
    for row, (entries, _, _) in enumerate(rows):
        for column, value in entries.items():
            matrix[row, column] = value
    low, high = np.zeros(5 * mtus), np.ones(5 * mtus)
    low[theta], high[theta], high[beside] = -np.inf, np.inf, np.inf
    if device.elapsed_mtus is not None:
        least = device.min_on_mtus if device.running else device.min_off_mtus
        held = on[: max(0, least - device.elapsed_mtus)]
        low[held] = high[held] = float(device.running)
    worth = np.zeros(5 * mtus)
    worth[on] = horizon.hours * price * device.rated_kw
    worth[started] = device.start_cost
    worth[beside] = horizon.hours * device.discomfort_cost
    worth[outside] = device.outside_cost
    whole = np.zeros(5 * mtus)
    whole[on] = whole[outside] = 1
    limits = LinearConstraint(matrix.tocsr(), [row[1] for row in rows], [row[2] for row in rows])
    answer = milp(worth, constraints=limits, bounds=Bounds(low, high), integrality=whole, options={"mip_rel_gap": 1e-7})
    assert answer.status == 0, answer.message
    return device.rated_kw * np.round(answer.x[on]), float(answer.mip_dual_bound)


def check_against_highs(seed: int, mtus: int) -> float:
    """Compares one random load under random prices; the part by which its schedule is dearer than the optimum."""
    rng, horizon = np.random.default_rng(seed), Horizon(mtus=mtus)
    device = KINDS[seed % len(KINDS)](rng, mtus)
    price = rng.normal(0.25, 0.12, mtus)
    batch = Switched.of([device], horizon, SHORTFALL_PRICE, resolution=FINE)
    cost = priced(price[None])
    answer = batch.respond(cost)
    found = answer.own_cost[0] + power_cost(cost, answer.power_kw, horizon.hours)[0]
    power, dual = solve_plainly(device, horizon, price)
    incumbent = batch.own_cost(power[None])[0] + power_cost(cost, power[None], horizon.hours)[0]
    near = 1e-6 * (1.0 + abs(incumbent))
    assert answer.bound[0] <= incumbent + near
    assert answer.bound[0] <= found
    # HiGHS keeps whole numbers and rows to 1e-6: 40 K of it let a load be 4e-5 K outside for nothing.
    assert found >= dual - 1e-5 * (1.0 + abs(dual))
    return float((found - incumbent) / max(abs(incumbent), 0.01))


@pytest.mark.slow
def test_interval_holds_the_optimum_that_highs_finds() -> None:
    dearer = [check_against_highs(seed, 24) for seed in range(60)]
    assert max(dearer) <= 0.005
    assert np.mean(dearer) <= 0.0005


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_interval_holds_the_optimum_for_ten_thousand_price_vectors() -> None:
    dearer = [check_against_highs(seed, 24) for seed in range(1000, 1000 + max(10, round(10_000 * SCALE)))]
    assert max(dearer) <= 0.005
    assert np.mean(dearer) <= 0.0005
