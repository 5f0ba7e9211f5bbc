"""Every way to solve the normal equations beside numpy's, on the matrix built entry by entry."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from optimization.canonical import canonical
from optimization.interior_point.chain_normal import Chain
from optimization.interior_point.normal import Dense, Normal, Parts, _independent, normal
from optimization.interior_point.programme import Programme, lay_out
from optimization.interior_point.sparse_normal import Sparse
from optimization.market import Market
from tests.benchmarks.families import family

MakeMarket = Callable[..., Market]


def programme(market: Market) -> Programme:
    return lay_out(canonical(market).market).programme


def normal_matrix(given: Programme, weight: np.ndarray, arc_weight: np.ndarray) -> np.ndarray:
    boxes, arcs = given.boxes.matrix.toarray(), given.arcs
    incidence = np.zeros((given.target.size, arc_weight.size))
    incidence[arcs.seller, np.arange(arc_weight.size)] = 1.0
    incidence[arcs.buyer, np.arange(arc_weight.size)] = -1.0
    return (boxes * weight) @ boxes.T + (incidence * arc_weight) @ incidence.T


def assert_solves(way: Normal, given: Programme, *, spread: float = 1.0) -> None:
    """Twice, with other weights; ``spread`` says over how many orders of magnitude these range."""
    random = np.random.default_rng(1)
    arcs = given.arcs
    for _ in range(2):
        weight = 10.0 ** random.uniform(-spread, spread, given.boxes.cost.size)
        x, z = (10.0 ** random.uniform(-spread / 2, spread / 2, arcs.cost.size) for _ in range(2))
        diagonal = np.bincount(arcs.seller, x / z, given.target.size)
        diagonal += np.bincount(arcs.buyer, x / z, given.target.size)
        matrix = normal_matrix(given, weight, x / z)
        expected = random.normal(size=given.target.size)
        # A row that nothing enters has no answer but zero.
        expected[matrix.diagonal() == 0.0] = 0.0
        damping = 0.01 * float(random.uniform()) * float(matrix.diagonal().max(initial=1.0))
        way.factor(weight, x, z, diagonal, damping)
        found = way.solve(matrix @ expected + damping * expected)
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-8 * np.abs(expected).max())


def whole(given: Programme) -> Dense:
    return Dense(given, np.zeros(given.target.size, dtype=np.bool_))


def halved(given: Programme) -> Dense:
    side = _independent(given)
    assert side is not None
    assert side.any()
    return Dense(given, side)


@pytest.mark.parametrize("name", ["bipartite", "bipartite-resale", "k-nearest", "prosumers", "pieces"])
@pytest.mark.parametrize("make", [whole, Sparse])
def test_a_single_mtu_is_solved(name: str, make: Callable[[Programme], Normal]) -> None:
    given = programme(family(name, peers=30, seed=1))
    assert_solves(make(given), given)


@pytest.mark.parametrize(("degree", "row_by_row"), [(2, True), (None, False)])
@pytest.mark.parametrize("name", ["bipartite", "bipartite-resale"])
def test_one_side_of_a_bipartite_graph_is_eliminated(name: str, degree: int | None, row_by_row: bool) -> None:
    given = programme(family(name, peers=61, seed=1, links_per_peer=degree))
    way = halved(given)
    assert way._row_by_row == row_by_row
    assert_solves(way, given)


def test_eliminated_rows_that_limits_join_to_kept_ones_are_solved(make_market: MakeMarket) -> None:
    sellers, buyers = [f"s{k}" for k in range(6)], [f"b{k}" for k in range(8)]
    market = make_market(
        {name: [(-2, 3, 1.0, 0.5)] for name in [*sellers, *buyers]},
        links=[(s, b, 0.1) for s in sellers for b in buyers],
        limits=[("some", ["s0", "s1", "b0"], -1.0, 1.0), ("others", ["b1", "b2"], -1.0, 1.0)],
    )
    given = programme(market)
    assert_solves(halved(given), given)


@pytest.mark.parametrize("name", ["prosumers", "free", "k-nearest"])
def test_a_graph_with_odd_rings_has_no_side_to_eliminate(name: str) -> None:
    given = programme(family("k-nearest" if name == "free" else name, peers=30, seed=1))
    assert _independent(given) is None


def test_mtus_without_storages_are_solved_apart() -> None:
    given = programme(family("grid", peers=15, seed=1, mtus=5))
    way = normal(given)
    assert isinstance(way, Parts)
    assert_solves(way, given)


def test_islands_are_solved_apart(make_market: MakeMarket) -> None:
    peers: dict[str, Any] = {f"p{k}": [(-2, 3, 1.0, 0.5)] for k in range(9)}
    links = [(f"p{k}", f"p{k + step}", 0.1) for k in (0, 3, 6) for step in (1, 2)]
    given = programme(make_market(peers, links=links))
    way = normal(given)
    assert isinstance(way, Parts)
    assert_solves(way, given)


@pytest.mark.parametrize("mtus", [2, 7])
def test_storages_are_eliminated_along_time(mtus: int) -> None:
    given = programme(family("storage", peers=12, seed=1, mtus=mtus))
    way = normal(given)
    assert isinstance(way, Chain)
    assert_solves(way, given)


@pytest.mark.parametrize("seed", range(3))
def test_limits_that_bind_in_some_mtus_only_are_solved(make_market: MakeMarket, seed: int) -> None:
    random = np.random.default_rng(seed)
    names = ["a", "b", "c"]
    market = make_market(
        {name: [(-2, 3, 1.0, 0.5)] for name in names},
        link_cost=0.1,
        storages={"a/battery": {"charge_efficiency": 0.9}, "c/battery": {}},
        limits=[("some", ["a", "b"], np.where(random.random(4) < 0.5, -1.0, -np.inf), np.inf)],
        mtus=4,
    )
    given = programme(market)
    way = normal(given)
    assert isinstance(way, Chain)
    assert_solves(way, given)


def test_capped_links_are_arcs_to_the_sparse_way() -> None:
    given = programme(family("k-nearest", peers=200, seed=2, links_per_peer=6))
    assert_solves(Sparse(given), given, spread=3.0)


@pytest.mark.parametrize("size", [400, 700])
def test_the_way_that_fits_solves_larger_graphs(size: int) -> None:
    given = programme(family("bipartite", peers=size, seed=3, links_per_peer=4))
    assert_solves(normal(given), given, spread=2.0)
