"""A community in arrays: blocks in the order of their homes, and what was planned for them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from optimization.community import Community, Envelope
from optimization.decomposition.problem import Problem, block_power
from optimization.devices import Battery, Curtailable, FixedLoad, Interruptible, Phase, Programme
from optimization.devices.oracle import power_cost
from optimization.quantities import DeviceId

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]


def washer(name: str, follows: str | None = None) -> Programme:
    before = None if follows is None else DeviceId(follows)
    return Programme(
        id=DeviceId(name), phases=(Phase(power_kw=np.array([1.0])),), first_mtu=0, end_mtu=3, follows=before
    )


def battery(name: str) -> Battery:
    return Battery(
        id=DeviceId(name), max_charge_kw=1.0, max_discharge_kw=1.0, capacity_kwh=2.0, initial_kwh=1.0, final_kwh=0.0
    )


@pytest.fixture
def community(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> Community:
    return make_community(
        {
            "a": [battery("battery a"), washer("dryer", follows="washer"), washer("washer")],
            "b": [
                FixedLoad(id=DeviceId("load"), power_kw=np.array([1.0, 2.0, 3.0])),
                FixedLoad(id=DeviceId("lamp"), power_kw=np.array([0.5, 0.0, 0.0])),
                Curtailable(id=DeviceId("pv"), available_kw=np.array([2.0, 1.0, 0.0]), curtailment_cost=0.1),
            ],
            "c": [Interruptible(id=DeviceId("boiler"), power_kw=2.0, first_mtu=0, end_mtu=3, required_mtus=1)],
            "d": [battery("battery d")],
        },
        import_price=[0.3] * 3,
        export_price=[0.1] * 3,
        envelopes=[make_envelope("b", "d", upper_kw=[5.0] * 3)],
        mtu_minutes=30,
    )


def test_blocks_stand_in_the_order_of_their_homes_and_a_chain_is_one(community: Community) -> None:
    problem = Problem.of(community)
    assert problem.peer.tolist() == [0, 0, 2, 3]
    places = np.concatenate([part.place for part in problem.parts])
    assert sorted(places) == [0, 1, 2, 3]
    for part in problem.parts:
        assert problem.peer[part.place].tolist() == part.blocks.peer.tolist()


def test_loads_are_summed_and_plants_and_members_found(community: Community) -> None:
    problem = Problem.of(community)
    assert problem.fixed_kw.tolist() == [[0.0] * 3, [1.5, 2.0, 3.0], [0.0] * 3, [0.0] * 3]
    assert (problem.plant_row.tolist(), problem.plant_peer.tolist()) == ([5], [1])
    assert problem.member.tolist() == [[0.0, 1.0, 0.0, 1.0]]
    assert np.isneginf(problem.lower_kw).all()


def test_a_chain_was_foreseen_only_where_all_of_it_was(community: Community) -> None:
    plan = {DeviceId(name): np.array([1.0, 0.0, 0.0]) for name in ("washer", "battery d")}
    problem = Problem.of(replace(community, planned_kw=plan, change_price=0.2))
    assert problem.change_price.tolist() == [0.0, 0.0, 0.0, 0.2]
    assert problem.planned_kw[:3].tolist() == [[0.0] * 3] * 3
    both = plan | {DeviceId("dryer"): np.array([0.0, 1.0, 0.0])}
    problem = Problem.of(replace(community, planned_kw=both, change_price=0.2))
    (chain,) = (part.place[0] for part in problem.parts if isinstance(part.blocks.batch.devices[0], Programme))
    assert problem.change_price[chain] == 0.2
    assert problem.planned_kw[chain].tolist() == [1.0, 1.0, 0.0]


def test_departures_cost_by_the_hour_of_blocks_plants_and_loads(community: Community) -> None:
    plan = {
        DeviceId("battery d"): np.array([1.0, 0.0, 0.0]),
        DeviceId("pv"): np.array([-2.0, 0.0, 0.0]),
        DeviceId("load"): np.array([1.0, 1.0, 1.0]),
    }
    problem = Problem.of(replace(community, planned_kw=plan, change_price=0.2))
    assert problem.change_cost(np.array([3]), np.array([[0.0, 0.0, 0.5]])) == pytest.approx([0.5 * 0.2 * 1.5])
    assert problem.plant_cost(np.array([[1.0, 1.0, 0.0]])) == pytest.approx([0.5 * (0.1 * 1.0 + 0.2 * 2.0)])
    assert problem.unforeseen_cost == pytest.approx([0.0, 0.5 * 0.2 * 3.0, 0.0, 0.0])


def test_what_power_costs_a_block_counts_its_departures_but_for_a_constant(community: Community) -> None:
    plan = {DeviceId("battery d"): np.array([1.0, -1.0, 0.0])}
    problem = Problem.of(replace(community, planned_kw=plan, change_price=0.2))
    price, place = np.array([[0.1, 0.2, 0.3]]), np.array([3])
    cost = problem.cost_of(place, price)
    powers = np.random.default_rng(0).normal(size=(20, 3))
    for power in powers:
        plain = 0.5 * float(price[0] @ power)
        counted = power_cost(cost, power[None], 0.5)[0] - power_cost(cost, problem.planned_kw[place], 0.5)[0]
        foreseen = 0.5 * float(price[0] @ problem.planned_kw[3])
        assert counted == pytest.approx(plain - foreseen + problem.change_cost(place, power[None])[0])


def test_the_power_of_a_chain_is_the_sum_of_its_programmes() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert block_power(np.array([0, 0, 1]), rows, 2).tolist() == [[1.0, 2.0], [3.0, 3.0]]
    assert block_power(np.arange(3), rows, 3) is rows


def test_a_community_in_which_nothing_decides_has_no_blocks(make_community: MakeCommunity) -> None:
    problem = Problem.of(make_community({"a": []}, import_price=[0.3], export_price=[0.1]))
    assert problem.parts == ()
    assert problem.peer.size == 0
    assert problem.available_kw.shape == (0, 1)
