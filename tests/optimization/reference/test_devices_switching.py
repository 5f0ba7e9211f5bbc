"""Generators, appliances and thermostats against every sequence of on and off, and by hand. An MTU is an hour."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from optimization.clearing import Clearing
from optimization.community import Community, Generator, Interruptible, Thermostatic
from tests.optimization.reference import by_hand

Single = Callable[..., Community]
Best = Callable[[Community], Clearing]
On = tuple[bool, ...]


def appliance(**changes: Any) -> Interruptible:
    return by_hand.appliance(**({"end_mtu": 5} | changes))


def heater(mtus: int, **changes: Any) -> Thermostatic:
    """Loses nothing: an hour on warms by 2 K, an hour's draw cools by 1 K."""
    fields = {
        "id": "heater",
        "rated_kw": 2.0,
        "heat_capacity_kwh_per_k": 1.0,
        "loss_kw_per_k": 0.0,
        "performance": np.ones(mtus),
        "ambient_c": np.full(mtus, 20.0),
        "draw_kw": np.ones(mtus),
        "lower_c": np.full(mtus, 50.0),
        "upper_c": np.full(mtus, 53.0),
        "initial_c": 51.0,
    }
    return Thermostatic(**(fields | changes))


# --- by hand -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "changes", "wanted"),
    [
        pytest.param([5, 1, 3, 1.5, 5], {"min_on_mtus": 2}, [0, 1, 1, 0, 0], id="in one go for its minimum"),
        pytest.param([5, 1, 4, 1, 5], {"min_on_mtus": 3}, [0, 1, 1, 1, 0], id="no longer than a minimal run"),
        pytest.param([3, 1, 4, 1.5, 2], {"min_off_mtus": 2}, [0, 1, 0, 0, 1], id="a rest is as long as it must be"),
        pytest.param([5, 1, 3, 1.5, 5], {"max_starts": 1}, [0, 1, 1, 0, 0], id="no more starts than allowed"),
        pytest.param([5, 4, 4, 1, 5], {"min_on_mtus": 2, "end_mtu": 4}, [0, 0, 1, 1, 0], id="ends inside its window"),
        pytest.param([5, 5, 5, 1, 1], {"elapsed_mtus": 0, "min_off_mtus": 4}, [0, 0, 0, 0, 1], id="rests on"),
        pytest.param(
            [5, 5, 1, 1, 1],
            {"running": True, "elapsed_mtus": 1, "min_on_mtus": 3, "first_mtu": 2, "required_mtus": 4},
            [1, 1, 1, 1, 0],
            id="a run begun before goes on into its window",
        ),
        pytest.param(
            [5, 5, 1, 1, 1],
            {"running": True, "elapsed_mtus": 1, "min_on_mtus": 3, "first_mtu": 3, "required_mtus": 1},
            [1, 1, 0, 0, 0],
            id="a run begun before comes whatever the window says",
        ),
        pytest.param([5, 5, 5, 5, 5], {"running": True, "elapsed_mtus": 0, "min_on_mtus": 9}, [1] * 5, id="and beyond"),
    ],
)
def test_an_appliance_keeps_its_times(
    single: Single, best: Best, price: list[float], changes: dict[str, Any], wanted: list[int]
) -> None:
    clearing = best(single(appliance(**changes), price=price))
    assert (clearing.device_kw["pump"] / 2).tolist() == wanted


def test_starts_count_anew_each_day_and_carry_over_from_before_on_the_first(single: Single, best: Best) -> None:
    device = appliance(end_mtu=8, required_mtus=3, max_starts=2, starts_today=2)
    clearing = best(single(device, price=[1, 9, 1, 1, 7, 2, 9, 1], day_starts=[3]))
    assert (clearing.device_kw["pump"] / 2).tolist() == [0, 0, 0, 1, 1, 0, 0, 1]


def test_what_an_appliance_cannot_run_is_a_shortfall(single: Single, best: Best) -> None:
    community = single(appliance(required_mtus=4, max_starts=0), price=[1.0] * 5, mtu_minutes=30)
    clearing = best(community)
    assert clearing.shortfall == {"pump": pytest.approx(4)}
    assert clearing.objective == pytest.approx(4 * 2 * 0.5 * community.shortfall_price)


def test_a_heater_runs_in_the_cheap_hours_and_stays_in_its_band(single: Single, best: Best) -> None:
    clearing = best(single(heater(4), price=[3.0, 1.0, 2.0, 1.0]))
    assert clearing.device_kw["heater"].tolist() == [0, 2, 0, 2]
    assert clearing.temperature_c["heater"].tolist() == [50, 51, 50, 51]
    assert clearing.shortfall == {}


def test_comfort_out_of_reach_costs_kelvins_and_mtus(single: Single, best: Best) -> None:
    clearing = best(single(heater(2, initial_c=46.0, discomfort_cost=10.0), price=[0.5, 0.5], mtu_minutes=30))
    # Half an hour warms by 1 K and the draw cools by half of one.
    assert clearing.temperature_c["heater"].tolist() == [46.5, 47.0]
    assert clearing.shortfall == {"heater": pytest.approx(0.5 * (3.5 + 3.0))}
    assert clearing.objective == pytest.approx(2 * 0.5 + 10 * 0.5 * 6.5 + 2 * 2.5)


def test_a_refrigerator_cools(single: Single, best: Best) -> None:
    device = heater(
        2,
        id="fridge",
        performance=np.full(2, -1.0),
        draw_kw=-np.ones(2),
        lower_c=np.full(2, 2.0),
        upper_c=np.full(2, 5.0),
        initial_c=5.0,
    )
    assert best(single(device, price=[1.0, 2.0])).temperature_c["fridge"].tolist() == [4.0, 5.0]


def test_losses_follow_the_exponential_of_the_time_constant(single: Single, best: Best) -> None:
    device = heater(2, loss_kw_per_k=0.5, draw_kw=np.zeros(2), lower_c=np.full(2, 32.5), upper_c=np.full(2, 90.0))
    clearing = best(single(device, price=[1.0, 1.0]))
    cooled = 20 + (51 - 20) * np.exp(-0.5 * np.arange(1, 3))
    assert clearing.temperature_c["heater"][0] == pytest.approx(cooled[0])
    assert clearing.device_kw["heater"].tolist() == [0, 2]
    assert clearing.temperature_c["heater"][1] == pytest.approx(cooled[1] + (1 - np.exp(-0.5)) * 2 / 0.5)


def test_a_modulating_heater_takes_what_it_needs(single: Single, best: Best) -> None:
    device = heater(2, modulating=True, initial_c=50.0)
    assert best(single(device, price=[1.0, 2.0])).device_kw["heater"] == pytest.approx([2.0, 0.0])
    assert best(single(device, price=[2.0, 1.0])).device_kw["heater"] == pytest.approx([1.0, 1.0])
    coarse = heater(2, modulating=True, initial_c=50.0, min_kw=1.5)
    assert best(single(coarse, price=[2.0, 1.9])).device_kw["heater"] == pytest.approx([2.0, 0.0])


def test_a_heater_keeps_its_times_and_pays_its_starts(single: Single, best: Best) -> None:
    device = heater(4, start_cost=5.0)
    assert best(single(device, price=[3.0, 1.0, 2.0, 1.0])).device_kw["heater"].tolist() == [0, 2, 2, 0]
    resting = heater(4, min_off_mtus=4, elapsed_mtus=2)
    assert best(single(resting, price=[3.0, 1.0, 2.0, 1.0])).device_kw["heater"].tolist()[:2] == [0, 0]


# --- every sequence ----------------------------------------------------------------------------------------------


def runs(on: On, running: bool) -> Iterator[tuple[bool, int, int, bool]]:
    """Each run and rest: whether it is a run, its first MTU, the first after it, and whether it was carried in."""
    position = 0
    if on[0] != running:
        yield running, 0, 0, True
    for value, group in groupby(on):
        length = len(list(group))
        yield value, position, position + length, position == 0 and value == running
        position += length


def keeps_times(on: On, *, running: bool, elapsed: int | None, least_on: int, least_off: int) -> bool:
    for value, first, end, carried in runs(on, running):
        least = least_on if value else least_off
        lasted = (least if elapsed is None else elapsed) if carried else 0
        if end < len(on) and lasted + end - first < least:
            return False
    return True


def starts(on: On, running: bool) -> list[int]:
    return [t for t, (before, now) in enumerate(zip((running, *on), on, strict=False)) if now and not before]


STATES = st.fixed_dictionaries({"running": st.booleans(), "elapsed_mtus": st.sampled_from([None, 0, 1, 2, 3])})
PRICES = st.lists(st.integers(-10, 30).map(lambda k: k / 100), min_size=5, max_size=5)
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def generator_cost(device: Generator, price: Sequence[float]) -> float:
    cheapest = np.inf
    for on in product([False, True], repeat=len(price)):
        if not keeps_times(
            on,
            running=device.running,
            elapsed=device.elapsed_mtus,
            least_on=device.min_up_mtus,
            least_off=device.min_down_mtus,
        ):
            continue
        cost = device.start_cost * len(starts(on, device.running))
        for up, paid in zip(on, price, strict=True):
            slope, margin = device.quadratic_cost, paid - device.linear_cost
            free = margin / slope if slope else (device.max_kw if margin > 0 else device.min_kw)
            power = np.clip(free, device.min_kw, device.max_kw)
            cost += up * (slope / 2 * power**2 - margin * power + device.running_cost)
        cheapest = min(cheapest, cost)
    return float(cheapest)


@settings(QUIET, max_examples=15)
@given(data=st.data(), price=PRICES, state=STATES)
def test_a_generator_does_the_best_of_all_sequences(
    data: Any, price: list[float], state: dict[str, Any], single: Single, best: Best
) -> None:
    device = Generator(
        id="generator",
        min_kw=data.draw(st.sampled_from([0.0, 1.0])),
        max_kw=4.0,
        quadratic_cost=data.draw(st.sampled_from([0.0, 0.04])),
        linear_cost=0.1,
        running_cost=data.draw(st.sampled_from([0.0, 0.05])),
        start_cost=data.draw(st.sampled_from([0.0, 0.1])),
        min_up_mtus=data.draw(st.integers(1, 3)),
        min_down_mtus=data.draw(st.integers(1, 3)),
        **state,
    )
    clearing, expected = best(single(device, price=price)), generator_cost(device, price)
    error = 5 * device.quadratic_cost * 4.0**2 / 8192
    assert expected - error - 1e-6 <= clearing.lower_bound <= expected + 1e-6
    assert expected - 1e-6 <= clearing.objective <= expected + error + 1e-6


def appliance_cost(device: Interruptible, community: Community) -> float:
    hours, mtus, day = community.horizon.hours, community.horizon.mtus, community.horizon.day
    forced, cheapest = device.forced_mtus, np.inf
    for on in product([False, True], repeat=mtus):
        began = starts(on, device.running)
        allowed = [forced > t or device.first_mtu <= t < device.end_mtu for t in range(mtus)]
        made = [sum(day[t] == d for t in began) + (0 if d else device.starts_today) for d in range(day[-1] + 1)]
        if (
            not keeps_times(
                on,
                running=device.running,
                elapsed=device.elapsed_mtus,
                least_on=device.min_on_mtus,
                least_off=device.min_off_mtus,
            )
            or any(now and not may for now, may in zip(on, allowed, strict=True))
            or any(t + device.min_on_mtus > device.end_mtu for t in began)
            or (began and any(day[t] == d and n > device.max_starts for t in began for d, n in enumerate(made)))
            or sum(on) > device.max_on_mtus
        ):
            continue
        run = np.array(on, dtype=float)
        cost = device.power_kw * hours * (community.tariff.import_price @ run)
        cost += device.power_kw * hours**2 * device.waiting_cost * (np.arange(mtus) @ run)
        cost += device.start_cost * len(began)
        short = max(0, device.required_mtus - sum(on))
        cheapest = min(cheapest, cost + short * device.power_kw * hours * community.shortfall_price)
    return float(cheapest)


@settings(QUIET, max_examples=20)
@given(data=st.data(), price=PRICES, state=STATES)
def test_an_appliance_does_the_best_of_all_sequences(
    data: Any, price: list[float], state: dict[str, Any], single: Single, best: Best
) -> None:
    first = data.draw(st.integers(0, 4))
    device = appliance(
        first_mtu=first,
        end_mtu=data.draw(st.integers(first, 5)),
        required_mtus=data.draw(st.integers(0, 5)),
        min_on_mtus=data.draw(st.integers(1, 3)),
        min_off_mtus=data.draw(st.integers(1, 3)),
        max_starts=data.draw(st.integers(0, 3)),
        starts_today=data.draw(st.integers(0, 2)),
        waiting_cost=data.draw(st.sampled_from([0.0, 1e-3])),
        start_cost=data.draw(st.sampled_from([0.0, 0.05])),
        **state,
    )
    days = data.draw(st.sampled_from([(), (2,), (1, 3)]))
    community = single(device, price=price, mtu_minutes=data.draw(st.sampled_from([30, 60])), day_starts=days)
    assert best(community).objective == pytest.approx(appliance_cost(device, community), abs=1e-6)


def heater_cost(device: Thermostatic, community: Community) -> float:
    cheapest = np.inf
    for on in product([False, True], repeat=community.horizon.mtus):
        if keeps_times(
            on,
            running=device.running,
            elapsed=device.elapsed_mtus,
            least_on=device.min_on_mtus,
            least_off=device.min_off_mtus,
        ):
            cost = device.start_cost * len(starts(on, device.running))
            price = modulated_cost if device.modulating else switched_cost
            cheapest = min(cheapest, cost + price(device, community, np.array(on, dtype=float)))
    return float(cheapest)


def switched_cost(device: Thermostatic, community: Community, on: np.ndarray) -> float:
    hours, theta, cost = community.horizon.hours, device.initial_c, 0.0
    keep = np.exp(-hours * device.loss_kw_per_k / device.heat_capacity_kwh_per_k)
    for t, now in enumerate(on):
        heat = device.performance[t] * device.rated_kw * now - device.draw_kw[t]
        steady = device.ambient_c[t] + heat / device.loss_kw_per_k
        theta = steady + (theta - steady) * keep
        beyond = max(0.0, theta - device.upper_c[t], device.lower_c[t] - theta)
        cost += hours * (community.tariff.import_price[t] * device.rated_kw * now + device.discomfort_cost * beyond)
        cost += device.discomfort_cost / 4 * (beyond > 1e-6)
    return float(cost)


def modulated_cost(device: Thermostatic, community: Community, on: np.ndarray) -> float:
    """By linear programming over powers and kelvins outside."""
    horizon, mtus = community.horizon, community.horizon.mtus
    idle = device.temperature_c(np.zeros(mtus), horizon)
    warmed = np.array([device.temperature_c(unit, horizon) - idle for unit in np.eye(mtus)]).T
    answer = linprog(
        horizon.hours * np.concatenate([community.tariff.import_price, np.full(mtus, device.discomfort_cost)]),
        A_ub=np.block([[warmed, -np.eye(mtus)], [-warmed, -np.eye(mtus)]]),
        b_ub=np.concatenate([device.upper_c - idle, idle - device.lower_c]),
        bounds=[*((device.min_kw * now, device.rated_kw * now) for now in on), *[(0.0, None)] * mtus],
    )
    assert answer.status == 0
    return float(answer.fun)


@settings(QUIET, max_examples=20)
@given(data=st.data(), price=PRICES, state=STATES)
def test_a_thermostat_does_the_best_of_all_sequences(
    data: Any, price: list[float], state: dict[str, Any], single: Single, best: Best
) -> None:
    cools = data.draw(st.booleans())
    modulating = data.draw(st.booleans())
    device = heater(
        5,
        performance=np.full(5, -2.5 if cools else 2.5),
        loss_kw_per_k=data.draw(st.sampled_from([0.05, 0.3])),
        ambient_c=np.full(5, 70.0 if cools else 20.0),
        draw_kw=np.array(data.draw(st.lists(st.integers(-2, 2), min_size=5, max_size=5)), dtype=float),
        initial_c=data.draw(st.sampled_from([47.0, 51.3, 55.0])),
        upper_c=np.full(5, data.draw(st.sampled_from([50.0, 54.7]))),
        modulating=modulating,
        min_kw=data.draw(st.sampled_from([0.0, 0.7])) if modulating else 0.0,
        min_on_mtus=data.draw(st.integers(1, 3)),
        min_off_mtus=data.draw(st.integers(1, 3)),
        discomfort_cost=data.draw(st.sampled_from([0.1, 1.0, 100.0])),
        start_cost=data.draw(st.sampled_from([0.0, 0.2])),
        **state,
    )
    community = single(device, price=price, mtu_minutes=data.draw(st.sampled_from([30, 60])))
    assert best(community).objective == pytest.approx(heater_cost(device, community), abs=1e-6)
