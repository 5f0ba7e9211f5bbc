from dataclasses import fields
from typing import Any

import highspy
import numpy as np
import pytest
import scipy.sparse as sp

from optimization.market import Market
from tests.benchmarks.families import FAMILIES, family
from tests.benchmarks.quadratic import quadratic_program
from tests.benchmarks.solvers import SOLVERS


def admits_an_answer(market: Market) -> bool:
    """Whether HiGHS finds any point within all rows and bounds."""
    program = quadratic_program(market)
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    lp = highspy.HighsLp()
    rows = sp.csc_matrix(program.rows)
    lp.num_col_, lp.num_row_ = rows.shape[1], rows.shape[0]
    lp.col_cost_ = np.zeros(rows.shape[1])
    lp.col_lower_, lp.col_upper_ = program.lower, program.upper
    lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = rows.indptr, rows.indices, rows.data
    solver.passModel(lp)
    solver.run()
    status = solver.getModelStatus()
    assert status in {highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible}
    return bool(status == highspy.HighsModelStatus.kOptimal)


def values(of: Any) -> list[Any]:
    return [getattr(of, field.name) for field in fields(of)]


@pytest.mark.parametrize("peers", [4, 31, 60])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_feasible(name: str, peers: int) -> None:
    for seed in range(3):
        assert admits_an_answer(family(name, peers=peers, seed=seed))


@pytest.mark.parametrize("peers", [4, 60])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_infeasible_where_that_is_asked_for(name: str, peers: int) -> None:
    for seed in range(3):
        assert not admits_an_answer(family(name, peers=peers, seed=seed, infeasible=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_seed_gives_the_same_market_and_another_gives_another(name: str) -> None:
    first, again, other = (family(name, peers=20, seed=seed) for seed in (7, 7, 8))
    for part in ("assets", "links", "storages"):
        for one, two in zip(values(getattr(first, part)), values(getattr(again, part)), strict=True):
            np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(first.import_price, again.import_price)
    assert not np.array_equal(first.assets.slope, other.assets.slope)


@pytest.mark.parametrize(
    ("name", "peers", "links_per_peer", "links"),
    [
        ("bipartite", 1000, None, 250_000),
        ("bipartite", 4000, 500, 1_000_000),
        ("bipartite", 100_000, 20, 1_000_000),
        ("bipartite-resale", 100, None, 5_000),
        ("linear", 1000, 20, 10_000),
    ],
)
def test_a_bipartite_market_has_exactly_the_links_asked_for(
    name: str, peers: int, links_per_peer: int | None, links: int
) -> None:
    market = family(name, peers=peers, seed=1, links_per_peer=links_per_peer)
    assert (len(market.peers), market.links.size) == (peers, links)


def test_everybody_can_buy_from_about_as_many_as_asked_for() -> None:
    near = family("k-nearest", peers=2000, seed=1, links_per_peer=20)
    sellers = np.bincount(near.links.buyer)
    assert sellers.min() >= 20
    assert sellers.mean() < 25
    random = family("prosumers", peers=2000, seed=1, links_per_peer=20)
    assert np.bincount(random.links.buyer).mean() == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("name", FAMILIES)
def test_more_links_than_there_are_peers_means_all(name: str) -> None:
    market = family(name, peers=6, seed=1, links_per_peer=100)
    expected = {"bipartite": 9, "resale": 18, "nearest": 30, "random": 30}
    assert market.links.size == expected[FAMILIES[name].graph]


def test_families_are_what_they_are_called() -> None:
    made = {name: family(name, peers=50, seed=3) for name in FAMILIES}
    assert not made["linear"].assets.curvature.any()
    assert made["pieces"].assets.piece_asset.size == 3 * made["pieces"].assets.peer.size
    fixed = made["fixed"].assets
    loads = np.array([name == "load" for name in fixed.names])
    np.testing.assert_array_equal(fixed.lower[loads], fixed.upper[loads])
    assert (fixed.lower[~loads] < fixed.upper[~loads]).all()
    assert not made["free"].links.cost.any()
    costs = np.abs(np.concatenate([made["wide"].assets.slope.ravel(), made["wide"].links.cost]))
    assert costs.max() / costs.min() > 1e8
    producers = made["bipartite"].links.seller
    assert not np.isin(made["bipartite"].links.buyer, producers).any()
    assert np.isin(made["bipartite-resale"].links.buyer, made["bipartite-resale"].links.seller).all()
    assert np.isfinite(made["k-nearest"].links.capacity).any()
    assert np.isfinite(made["grid"].import_price).any()
    assert made["grid"].mtus > 1
    assert made["storage"].stores.size > 0
    assert len(made["storage"].limits) == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_trades_and_in_the_storage_family_a_limit_binds(name: str) -> None:
    program = quadratic_program(family(name, peers=20, seed=2))
    answer = SOLVERS["clarabel"].prepare(program, 1e-9)()
    assert answer.x is not None
    market = program.market
    first = market.assets.piece_asset.size * market.mtus
    assert answer.x[first : first + market.links.size * market.mtus].sum() > 0.1
    if name == "storage":
        assert answer.multiplier is not None
        assert np.abs(answer.multiplier[program.equations :]).max() > 1e-3


def test_a_pieces_load_is_worth_less_the_more_it_consumes() -> None:
    assets = family("pieces", peers=30, seed=1).assets
    slopes = assets.slope.reshape(-1, 3)
    assert (np.diff(slopes, axis=1) > 0).all()


def test_unknown_names_and_too_few_peers_are_refused() -> None:
    with pytest.raises(ValueError, match="got nonesuch, wanted one of bipartite"):
        family("nonesuch", peers=10, seed=1)
    with pytest.raises(ValueError, match="got 3, wanted at least 4"):
        family("grid", peers=3, seed=1)
