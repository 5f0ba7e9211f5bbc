"""Each move is told what it changes, costs what it was told, and can be undone."""

from collections.abc import Callable

import numpy as np
import pytest

from optimization.community import Community, Envelope, Link, PeerId
from optimization.decomposition.descent import Descent
from optimization.decomposition.problem import Problem
from optimization.devices import Curtailable, FixedLoad, Interruptible
from optimization.quantities import DeviceId
from tests.optimization.harsh_communities import harsh_community
from tests.optimization.small_communities import small_community

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]

NONE = np.empty(0, dtype=np.int64)


def cheapest(problem: Problem) -> tuple[np.ndarray, ...]:
    """Each block's own best answer to energy at the import price."""
    paid = np.tile(problem.community.tariff.import_price, (problem.fixed_kw.shape[0], 1))
    return tuple(
        part.blocks.batch.respond(problem.cost_of(part.place, paid[part.blocks.peer])).power_kw
        for part in problem.parts
    )


def begun(community: Community) -> Descent:
    problem = Problem.of(community)
    return Descent(problem, cheapest(problem), problem.available_kw)


def boiler(name: str, mtus: int, power_kw: float = 2.0) -> Interruptible:
    return Interruptible(
        id=DeviceId(name), power_kw=power_kw, first_mtu=0, end_mtu=mtus, required_mtus=1, waiting_cost=0.0,
        start_cost=0.0,
    )  # fmt: skip


@pytest.fixture
def street(make_community: MakeCommunity) -> Community:
    """Sun in the second MTU at one home, a boiler at the other."""
    return make_community(
        {
            "sun": [Curtailable(id=DeviceId("pv"), available_kw=np.array([0.0, 2.0, 0.0]))],
            "shade": [boiler("boiler", 3)],
        },
        import_price=[0.2, 0.3, 0.3],
        export_price=[0.1, 0.1, 0.1],
        links=[Link(seller=PeerId("sun"), buyer=PeerId("shade"), network_charge=0.05)],
    )


def test_an_appliance_moves_to_the_neighbour_s_sun(street: Community) -> None:
    descent = begun(street)
    assert descent.block_kw[0].tolist() == [2.0, 0.0, 0.0]
    assert descent.value() == pytest.approx(2 * 0.2 - 2 * 0.1)
    # 2 kWh are no longer bought at 0.2, and those that were sold at 0.1 are traded at 0.05.
    assert descent.improve(0) == pytest.approx(-2 * 0.2 + 2 * 0.1 + 2 * 0.05)
    assert descent.block_kw[0].tolist() == [0.0, 2.0, 0.0]
    descent.refresh()
    assert descent.value() == pytest.approx(2 * 0.05)
    assert descent.improve(0) == 0.0


def test_limits_come_before_tasks(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> None:
    community = make_community(
        {"a": [boiler("boiler", 2), FixedLoad(id=DeviceId("load"), power_kw=np.array([1.0, 1.0]))]},
        import_price=[0.2, 0.3],
        export_price=[0.1, 0.1],
        envelopes=[make_envelope("a", upper_kw=[2.0, 2.5])],
    )
    descent = begun(community)
    assert descent.excess() == pytest.approx(1.0)
    descent.sweep(np.array([0]))
    assert descent.excess() == 0.0
    assert descent.block_kw[0].tolist() == [0.0, 0.0]


def test_a_plant_produces_what_pays_within_limits(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> None:
    pv = Curtailable(id=DeviceId("pv"), available_kw=np.array([3.0, 3.0, 3.0]), curtailment_cost=0.02)
    community = make_community(
        {"a": [pv], "b": [FixedLoad(id=DeviceId("load"), power_kw=np.array([1.0, 1.0, 1.0]))]},
        import_price=[0.3, 0.3, 0.3],
        export_price=[0.1, -0.05, -0.01],
        links=[Link(seller=PeerId("a"), buyer=PeerId("b"))],
        envelopes=[make_envelope("a", lower_kw=[-2.0, -9.0, -9.0])],
    )
    descent = begun(community)
    before = descent.value()
    change = descent.improve_plant(0)
    # Less for the limit; only what the neighbour takes; all, for curtailing costs more than giving it away.
    assert descent.produced[0] == pytest.approx([2.0, 1.0, 3.0])
    descent.refresh()
    assert descent.value() - before == pytest.approx(change)
    assert descent.improve_plant(0) == 0.0


@pytest.mark.parametrize("seed", range(10))
def test_the_parts_of_the_value_follow_every_move(seed: int) -> None:
    """The running total of what moves are told to change is never less than what they do."""
    descent = begun(harsh_community(seed, most_mtus=6))
    if not len(descent.own):
        pytest.skip("nothing decides in it")
    random = np.random.default_rng(seed)
    told = before = descent.value()
    for place in random.permutation(np.repeat(np.arange(len(descent.own)), 2)):
        told += descent.improve(int(place))
        kept = descent.block_kw.copy()
        descent.refresh()
        scale = 1e-6 * max(1.0, abs(told))
        assert descent.value() <= told + scale
        assert descent.value() <= before + scale
        np.testing.assert_array_equal(descent.block_kw, kept)
        told = before = descent.value()


def test_value_is_what_schedules_cost(street: Community) -> None:
    descent = begun(small_community(3, most_homes=2, most_mtus=24))
    descent.sweep(np.arange(len(descent.own)))
    assert descent.schedules().cost + descent.penalty * descent.excess() == pytest.approx(descent.value())


@pytest.mark.parametrize("share", [None, 0.0, 1.0])
def test_rearranging_tells_its_change_and_is_undone_to_the_bit(share: float | None) -> None:
    descent = begun(small_community(4, most_homes=3, most_mtus=24))
    descent.sweep(np.arange(len(descent.own)))
    chosen = np.arange(min(5, len(descent.own)))
    plants = np.arange(len(descent.produced))
    before, kept = descent.value(), descent.saved(chosen)
    powers, produced, flows = descent.block_kw.copy(), descent.produced.copy(), descent.flows.kwh.copy()
    change = descent.rearrange(chosen[::-1], 2, plants=plants, share=share)
    trial = Descent(descent.problem, tuple(descent.power), descent.produced)
    assert trial.value() <= before + change + 1e-6
    assert not descent.absent.any()
    descent.restore(kept)
    np.testing.assert_array_equal(descent.block_kw, powers)
    np.testing.assert_array_equal(descent.produced, produced)
    np.testing.assert_array_equal(descent.flows.kwh, flows)
    descent.refresh()
    assert descent.value() == pytest.approx(before, abs=1e-9)


def test_who_was_absent_comes_back_at_any_price(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> None:
    must = Interruptible(
        id=DeviceId("must"), power_kw=2.0, first_mtu=0, end_mtu=1, required_mtus=1, min_on_mtus=2, running=True,
        elapsed_mtus=1,
    )  # fmt: skip
    community = make_community(
        {"a": [must]}, import_price=[0.3], export_price=[0.1], envelopes=[make_envelope("a", upper_kw=[1.0])]
    )
    descent = begun(community)
    descent.penalty = 1e12
    assert descent.rearrange(np.array([0]), 1, plants=NONE, share=None) == pytest.approx(0.0, abs=1e-3)
    assert descent.block_kw[0].tolist() == [2.0]
