"""Blocks that try what they did at other prices, and keep it where the whole gets cheaper."""

from collections.abc import Callable

import numpy as np
import pytest

from controller.plan.sample import sample_community
from optimization.community import Community
from optimization.decomposition.descent import Descent
from optimization.decomposition.hulls import Hulls
from optimization.decomposition.master import find_prices
from optimization.decomposition.problem import Problem
from optimization.decomposition.swapping import swap
from optimization.devices import Curtailable, Interruptible, Phase, Programme
from optimization.quantities import DeviceId, Floats

MakeCommunity = Callable[..., Community]


def boiler(name: str, power_kw: float) -> Interruptible:
    return Interruptible(
        id=DeviceId(name), power_kw=power_kw, first_mtu=0, end_mtu=2, required_mtus=1, waiting_cost=0.0, start_cost=0.0
    )


def hulls_of(problem: Problem, columns: dict[int, Floats]) -> Hulls:
    peers, mtus = problem.fixed_kw.shape
    hulls = Hulls.of(problem.peer, peers=peers, mtus=mtus, columns=4)
    for place, column in columns.items():
        hulls.add(column[None], np.zeros(1), 0, np.array([place]))
    return hulls


@pytest.fixture
def stuck(make_community: MakeCommunity) -> Descent:
    """Two boilers on the sun of one MTU, which is enough for the large one: the small one has it."""
    community = make_community(
        {
            "a": [
                boiler("large", 3.0),
                boiler("small", 1.0),
                Curtailable(id=DeviceId("pv"), available_kw=np.array([3.0, 0.0])),
            ]
        },
        import_price=[0.5, 0.3],
        export_price=[0.0, 0.0],
    )
    problem = Problem.of(community)
    return Descent(problem, (np.array([[0.0, 3.0], [1.0, 0.0]]),), problem.available_kw)


def test_what_a_block_did_at_other_prices_is_taken_and_the_others_make_room(stuck: Descent) -> None:
    # To heat with 2 kW of sun and buy one at 0.5 in the dear MTU gains already; the small one then leaves.
    hulls = hulls_of(stuck.problem, {0: np.array([3.0, 0.0])})
    assert swap(stuck, hulls, limit=10, bound=0.0, gap=0.0) == 1
    assert stuck.power[0].tolist() == [[3.0, 0.0], [0.0, 1.0]]
    assert stuck.value() == pytest.approx(0.3)


def test_what_gains_nothing_is_undone(stuck: Descent) -> None:
    swap(stuck, hulls_of(stuck.problem, {0: np.array([3.0, 0.0])}), limit=10, bound=0.0, gap=0.0)
    value, power = stuck.value(), [rows.copy() for rows in stuck.power]
    assert swap(stuck, hulls_of(stuck.problem, {1: np.array([1.0, 0.0])}), limit=10, bound=0.0, gap=0.0) == 0
    assert stuck.value() == pytest.approx(value)
    for now, before in zip(stuck.power, power, strict=True):
        np.testing.assert_array_equal(now, before)


def test_the_search_ends_at_the_bound_its_limit_and_when_told(stuck: Descent) -> None:
    hulls, value = hulls_of(stuck.problem, {0: np.array([3.0, 0.0])}), stuck.value()
    assert swap(stuck, hulls, limit=10, bound=value, gap=0.0) == 0
    assert swap(stuck, hulls, limit=0, bound=0.0, gap=0.0) == 0
    assert swap(stuck, hulls, limit=10, bound=0.0, gap=0.0, stop=lambda: True) == 0
    assert stuck.value() == value


def test_a_chain_takes_the_schedules_that_come_nearest_to_its_sum(make_community: MakeCommunity) -> None:
    washer = Programme(
        id=DeviceId("washer"), phases=(Phase(power_kw=np.array([2.0])),), first_mtu=0, end_mtu=4, waiting_cost=0.0
    )
    dryer = Programme(
        id=DeviceId("dryer"),
        phases=(Phase(power_kw=np.array([3.0])),),
        first_mtu=0,
        end_mtu=4,
        follows=washer.id,
        waiting_cost=0.0,
    )
    problem = Problem.of(
        make_community({"a": [washer, dryer]}, import_price=[0.1, 0.3, 0.3, 0.1], export_price=[0.0] * 4)
    )
    descent = Descent(problem, (np.array([[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]]),), problem.available_kw)
    hulls = hulls_of(problem, {0: np.array([2.0, 0.0, 0.0, 3.0])})
    assert swap(descent, hulls, limit=1, bound=0.0, gap=0.0) == 1
    assert descent.power[0].tolist() == [[2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]]


@pytest.mark.parametrize("seed", [1, 4])
def test_costs_fall_by_what_is_told_and_never_rise(seed: int) -> None:
    problem = Problem.of(sample_community(2, seed, 24, mtu_minutes=60))
    found = find_prices(problem.refined(48), rounds=30)
    rows = tuple(
        part.blocks.batch.respond(
            problem.cost_of(part.place, found.prices.of_members(problem)[part.blocks.peer])
        ).power_kw
        for part in problem.parts
    )
    descent = Descent(problem, rows, found.produced)
    before = descent.value()
    assert swap(descent, found.hulls, limit=500, bound=0.0, gap=0.0) > 0
    after = descent.value()
    assert after < before
    again = Descent(problem, tuple(descent.power), descent.produced)
    assert again.value() == pytest.approx(after)
    np.testing.assert_allclose(again.net, descent.net, atol=1e-9)


def test_a_taken_schedule_changes_costs_by_what_it_says(stuck: Descent) -> None:
    value = stuck.value()
    change = stuck.take(0, np.array([[3.0, 0.0]]))
    stuck.refresh()
    assert stuck.value() - value == pytest.approx(change)
