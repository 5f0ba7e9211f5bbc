"""What a home's devices draw together in one MTU is the cheapest of all that they could: by looking at all of it."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from optimization.decomposition.mixtures import MOST_SUMS, Choices, cheapest_sums
from optimization.decomposition.problem import Problem
from optimization.devices import Battery, ElectricVehicle, FixedLoad, Interruptible, Phase, PowerRange, Programme
from optimization.quantities import DeviceId
from tests.optimization.lone_peer import lone_peer

Ranges = list[tuple[float, float]]


def cheapest(ranges: list[Ranges], earn: list[float], fixed: float, sides: tuple[float, ...], sun: float) -> float:
    """The least cost over all choices of ranges, each a linear programme."""
    sell, buy, lower, upper = sides
    best = np.inf
    for chosen in product(*ranges):
        # Powers, what plants give, bought and sold.
        cost = [*(-price for price in earn), 0.0, buy, -sell]
        balance = [*[1.0] * len(earn), -1.0, -1.0, 1.0]
        net = [*[1.0] * len(earn), -1.0, 0.0, 0.0]
        bounds = [*chosen, (0.0, sun), (0.0, None), (0.0, None)]
        found = linprog(
            cost,
            A_ub=[net, [-each for each in net]],
            b_ub=[upper - fixed, fixed - lower],
            A_eq=[balance],
            b_eq=[-fixed],
            bounds=bounds,
        )
        if found.status == 0:
            best = min(best, found.fun)
    return best


def ours(ranges: list[Ranges], earn: list[float], fixed: float, sides: tuple[float, ...], sun: float) -> tuple:
    """The same by the kernel: cost and powers of the blocks."""
    widest = max(map(len, ranges))
    low, high = np.zeros((len(ranges), widest)), np.zeros((len(ranges), widest))
    for block, each in enumerate(ranges):
        low[block, : len(each)], high[block, : len(each)] = zip(*each, strict=True)
    power = np.zeros((len(ranges), 1))
    value = cheapest_sums(
        np.array([0]),
        np.array([0, len(ranges)]),
        np.array([0, 1]),
        (low, high, np.array([len(each) for each in ranges]), np.ones((len(ranges), 1), dtype=np.bool_)),
        np.array([[fixed]]),
        np.array([[sun]]),
        np.array([0.0]),
        tuple(np.array([[side]]) for side in sides),
        np.ones((1, 1), dtype=np.bool_),
        np.array(earn)[:, None],
        power,
    )
    return float(value[0]), power[:, 0]


@pytest.mark.parametrize("seed", range(60))
def test_no_choice_of_powers_costs_less(seed: int) -> None:
    random = np.random.default_rng(seed)
    ranges: list[Ranges] = []
    for _ in range(int(random.integers(1, 5))):
        points = random.choice([0.5, 1.0, 2.0], size=int(random.integers(1, 3)), replace=False)
        ranges.append([(0.0, 0.0), *((float(p), float(p) + float(random.choice([0.0, 0.4]))) for p in sorted(points))])
    if random.random() < 0.5:
        ranges.append([(-1.5, 2.0)])
    earn = [float(price) for price in random.uniform(0.0, 0.5, len(ranges))]
    sell, buy = sorted(random.uniform(0.05, 0.4, 2))
    limit = float(random.choice([0.8, 3.0, 50.0]))
    fixed, sun = float(random.uniform(0.0, 0.7)), float(random.uniform(0.0, 3.0))
    sides = (float(sell), float(buy), -limit, limit)
    truth = cheapest(ranges, earn, fixed, sides, sun)
    value, power = ours(ranges, earn, fixed, sides, sun)
    assert value == pytest.approx(truth, abs=1e-9)
    for block, each in enumerate(ranges):
        assert any(low - 1e-12 <= power[block] <= high + 1e-12 for low, high in each)


def test_limits_that_no_choice_keeps_are_left_to_others() -> None:
    beyond = ours([[(2.0, 2.0)]], [0.0], 0.0, (0.1, 0.3, -1.0, 1.0), 0.0)[0]
    assert beyond == pytest.approx(0.6)


def test_more_sums_than_are_looked_at_leave_a_bound_below_them() -> None:
    ranges: list[Ranges] = [[(0.0, 0.0), (1.0 + 0.01 * block, 1.0 + 0.01 * block)] for block in range(14)]
    earn = [0.1 + 0.01 * block for block in range(14)]
    assert 2 ** len(ranges) > MOST_SUMS
    sides = (0.08, 0.3, -np.inf, np.inf)
    best = np.inf
    for on in product([0, 1], repeat=14):
        power = [one * each[1][0] for one, each in zip(on, ranges, strict=True)]
        net = sum(power) - 6.0
        cost = (0.3 if net > 0 else 0.08) * net - sum(p * e for p, e in zip(power, earn, strict=True))
        best = min(best, cost)
    # The plant that gives 6 kW has nothing to gain from giving less.
    value = ours(ranges, earn, 0.0, sides, 6.0)[0]
    assert best - 0.05 <= value <= best + 1e-9


def test_blocks_may_take_what_their_devices_can_and_when_they_can() -> None:
    wash = Programme(
        id=DeviceId("wash"), phases=(Phase(power_kw=np.array([2.0, 0.5])),), first_mtu=1, end_mtu=5, waiting_cost=0.0
    )
    dry = Programme(
        id=DeviceId("dry"), phases=(Phase(power_kw=np.array([3.0])),), first_mtu=2, end_mtu=6, follows=DeviceId("wash")
    )
    problem = Problem.of(
        lone_peer(
            FixedLoad(id=DeviceId("load"), power_kw=np.ones(6)),
            Battery(
                id=DeviceId("battery"),
                max_charge_kw=2.0,
                max_discharge_kw=1.0,
                capacity_kwh=3.0,
                initial_kwh=0.0,
                final_kwh=0.0,
            ),
            ElectricVehicle(
                id=DeviceId("car"),
                arrival_mtu=2,
                departure_mtu=4,
                capacity_kwh=9.0,
                initial_kwh=1.0,
                required_kwh=2.0,
                levels=(PowerRange(lower_kw=1.4, upper_kw=3.7),),
            ),
            wash,
            dry,
            Interruptible(id=DeviceId("pump"), power_kw=0.7, first_mtu=0, end_mtu=2, required_mtus=1),
            import_price=[0.3] * 6,
            export_price=[0.1] * 6,
        )
    )
    choices = Choices.of(problem)
    found = {
        tuple(zip(low[:n].tolist(), high[:n].tolist(), strict=True)): "".join("01"[int(on)] for on in live)
        for low, high, n, live in zip(choices.low_kw, choices.high_kw, choices.count, choices.live, strict=True)
    }
    assert found == {
        ((-1.0, 2.0),): "111111",
        ((0.0, 0.0), (1.4, 3.7)): "001100",
        ((0.0, 0.0), (0.5, 0.5), (2.0, 2.0), (3.0, 3.0)): "011111",
        ((0.0, 0.0), (0.7, 0.7)): "110000",
    }
