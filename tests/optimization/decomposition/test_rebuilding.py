"""What only several blocks together can gain, found by tearing out and putting back."""

from collections.abc import Callable

import numpy as np
import pytest

from optimization.community import Community, Envelope
from optimization.decomposition.descent import Descent
from optimization.decomposition.problem import Problem
from optimization.decomposition.rebuilding import rebuild
from optimization.devices import Curtailable, Interruptible
from optimization.quantities import DeviceId
from tests.optimization.small_communities import small_community

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]


def boiler(name: str, power_kw: float) -> Interruptible:
    return Interruptible(
        id=DeviceId(name), power_kw=power_kw, first_mtu=0, end_mtu=2, required_mtus=1, waiting_cost=0.0, start_cost=0.0
    )


@pytest.fixture
def stuck(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> Descent:
    """A large and a small boiler, each in the other's best place; there is no room for both in one MTU."""
    community = make_community(
        {"a": [boiler("large", 3.0), boiler("small", 1.0)]},
        import_price=[0.1, 0.3],
        export_price=[0.0, 0.0],
        envelopes=[make_envelope("a", upper_kw=[3.0, 3.0])],
    )
    problem = Problem.of(community)
    return Descent(problem, (np.array([[0.0, 3.0], [1.0, 0.0]]),), problem.available_kw)


def test_two_that_are_in_each_other_s_way_change_places(stuck: Descent) -> None:
    assert stuck.improve(0) == 0.0
    assert stuck.improve(1) == 0.0
    assert stuck.value() == pytest.approx(3 * 0.3 + 0.1)
    assert rebuild(stuck, limit=50, bound=0.0, gap=0.0) == 1
    assert stuck.value() == pytest.approx(3 * 0.1 + 0.3)
    assert stuck.power[0].tolist() == [[3.0, 0.0], [0.0, 1.0]]


def test_the_search_ends_at_the_bound_its_limit_and_when_told(stuck: Descent) -> None:
    value = stuck.value()
    assert rebuild(stuck, limit=50, bound=value, gap=0.0) == 0
    assert rebuild(stuck, limit=0, bound=0.0, gap=0.0) == 0
    assert rebuild(stuck, limit=50, bound=0.0, gap=0.0, stop=lambda: True) == 0
    assert stuck.value() == value


def test_at_nothing_rounding_is_no_reason_to_go_on(make_community: MakeCommunity) -> None:
    both = {"a": [boiler("large", 3.0), boiler("small", 1.0)]}
    problem = Problem.of(make_community(both, import_price=[0.0, 0.0], export_price=[0.0, 0.0]))
    descent = Descent(problem, (np.array([[0.0, 3.0], [1.0, 0.0]]),), problem.available_kw)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return False

    assert descent.value() == 0.0
    assert rebuild(descent, limit=50, bound=-1e-12, gap=1e-4, stop=stop) == 0
    assert asked == 0


def test_where_nothing_decides_there_is_nothing_to_rebuild(make_community: MakeCommunity) -> None:
    plant = Curtailable(id=DeviceId("pv"), available_kw=np.array([1.0]))
    problem = Problem.of(make_community({"a": [plant]}, import_price=[0.3], export_price=[0.1]))
    descent = Descent(problem, (), problem.available_kw)
    assert rebuild(descent, limit=50, bound=-np.inf, gap=0.0) == 0


def test_a_plant_follows_the_appliance_that_needs_it(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    plant = Curtailable(id=DeviceId("pv"), available_kw=np.array([2.0, 2.0]))
    community = make_community(
        {"a": [plant, boiler("boiler", 2.5)]},
        import_price=[0.3, 0.3],
        export_price=[0.0, 0.0],
        envelopes=[make_envelope("a", lower_kw=[0.0, 0.0], upper_kw=[1.0, 1.0])],
    )
    problem = Problem.of(community)
    descent = Descent(problem, (np.zeros((1, 2)),), np.zeros((1, 2)))
    # The boiler alone would break the limit, and the plant alone would too.
    assert descent.improve(0) == 0.0
    assert descent.improve_plant(0) == 0.0
    assert rebuild(descent, limit=50, bound=0.0, gap=0.0) >= 1
    assert descent.excess() == 0.0
    assert descent.block_kw[0].sum() == 2.5


def test_rebuilding_never_costs_more_and_is_the_same_for_a_seed() -> None:
    problem = Problem.of(small_community(6, most_homes=3, most_mtus=24))
    paid = np.tile(problem.community.tariff.import_price, (problem.fixed_kw.shape[0], 1))
    begin = tuple(
        part.blocks.batch.respond(problem.cost_of(part.place, paid[part.blocks.peer])).power_kw
        for part in problem.parts
    )
    values, powers = [], []
    for _ in range(2):
        descent = Descent(problem, begin, problem.available_kw)
        before = descent.value()
        rebuild(descent, limit=30, bound=-np.inf, gap=0.0, seed=3)
        assert descent.value() <= before + 1e-9
        values.append(descent.value())
        powers.append(descent.block_kw)
    assert values[0] == values[1]
    np.testing.assert_array_equal(powers[0], powers[1])
