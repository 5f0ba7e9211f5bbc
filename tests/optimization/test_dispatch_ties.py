"""What is chosen where trades tie: the least sum of squares, by hand and by a general solver."""

from collections.abc import Callable

import cvxpy as cp
import numpy as np
import pytest

from optimization.dispatch import dispatch
from optimization.market import Market
from optimization.market_certificate import certify
from optimization.market_clearing import MarketClearing
from tests.benchmarks.families import family

MakeMarket = Callable[..., Market]


def solved(market: Market) -> MarketClearing:
    clearing = dispatch(market)
    assert isinstance(clearing, MarketClearing), clearing
    assert certify(market, clearing).optimal(1e-8)
    return clearing


def least_squares(market: Market, clearing: MarketClearing) -> float:
    """The least sum of squares of trades, imports and exports that are as cheap with the same powers; one MTU."""
    links, size = market.links, len(market.peers)
    price = clearing.price[:, 0]
    trade, buys, sells = cp.Variable(links.size), cp.Variable(size), cp.Variable(size)
    net = np.bincount(market.assets.piece_peer, clearing.piece[:, 0], size)
    incidence = np.zeros((size, links.size))
    incidence[links.buyer, np.arange(links.size)] = 1.0
    incidence[links.seller, np.arange(links.size)] = -1.0
    idle = links.cost + price[links.seller] - price[links.buyer] > 1e-4
    full = price[links.buyer] - price[links.seller] - links.cost > 1e-4
    capped = np.isfinite(links.capacity)
    constraints = [
        incidence @ trade + buys - sells == net,
        trade >= 0,
        buys >= 0,
        sells >= 0,
        trade[np.flatnonzero(idle)] == 0,
        trade[np.flatnonzero(full)] == links.capacity[full],
        trade[np.flatnonzero(capped)] <= links.capacity[capped],
        buys[np.flatnonzero(~(market.import_price[:, 0] - price < 1e-4))] == 0,
        sells[np.flatnonzero(~(price - market.export_price[:, 0] < 1e-4))] == 0,
    ]
    objective = cp.sum_squares(trade) + cp.sum_squares(buys) + cp.sum_squares(sells)
    return float(cp.Problem(cp.Minimize(objective), constraints).solve(solver="CLARABEL"))


def assert_least(market: Market) -> None:
    clearing = solved(market)
    chosen = np.concatenate([clearing.trade, clearing.imported, clearing.exported])
    assert float((chosen**2).sum()) == pytest.approx(least_squares(market, clearing), rel=2e-4, abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_free_trades_are_those_of_least_norm(seed: int) -> None:
    assert_least(family("free", peers=10, seed=seed, links_per_peer=4))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("capped", [False, True])
def test_trades_that_tie_by_chance_are_those_of_least_norm(random_market: MakeMarket, seed: int, capped: bool) -> None:
    assert_least(random_market(seed, peers=6, grid=True, capped=capped, density=1.0))


def test_free_links_split_a_trade_over_both_ways(make_market: MakeMarket) -> None:
    """Directly 2 and over the hub 1, a sum of squares of 6; each kW less by the hub would cost more directly."""
    market = make_market({"gen": [(-3, 0, -1)], "hub": [], "load": [(3, 3, 0)]})
    clearing = solved(market)
    table = np.zeros((3, 3))
    table[market.links.seller, market.links.buyer] = clearing.trade[:, 0]
    assert table == pytest.approx(np.array([[0, 1, 2], [0, 0, 1], [0, 0, 0]]), abs=1e-8)


def test_a_long_way_round_for_free_is_found(make_market: MakeMarket) -> None:
    """Free links in a ring, one way: what nobody wants on the way goes on to the next."""
    names = [f"p{n}" for n in range(8)]
    net = [5, -1, 0, 0, -3, 2, 0, -3]
    market = make_market(
        {name: [(power, power, 0)] for name, power in zip(names, net, strict=True)},
        links=[(one, names[(n + 1) % 8]) for n, one in enumerate(names)],
    )
    clearing = solved(market)
    # 3 reach p0 from p7, and 2 more must come all the way round.
    assert clearing.trade[:, 0].min() == pytest.approx(0, abs=1e-8)


def test_generators_of_equal_cost_share_alike(make_market: MakeMarket) -> None:
    market = make_market(
        {"a": [(-4, 0, -1)], "b": [(-4, 0, -1)], "load": [(2, 2, 0)]}, links=[("a", "load", 0.5), ("b", "load", 0.5)]
    )
    assert solved(market).trade.ravel() == pytest.approx([1, 1], rel=1e-6)


def test_peers_alike_import_alike(make_market: MakeMarket) -> None:
    market = make_market({"a": [(2, 2, 0)], "b": [(0, 0, 0)]}, import_price=0.25)
    clearing = solved(market)
    # Least squares of 2 = i_a + e and i_b = e: 4/3 directly, 2/3 by way of the neighbour.
    assert clearing.imported.ravel() == pytest.approx([4 / 3, 2 / 3], rel=1e-6)
    assert clearing.trade.ravel() == pytest.approx([0, 2 / 3], abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["free", "prosumers", "bipartite-resale", "k-nearest", "grid", "storage"])
def test_each_pair_trades_one_way_only(name: str, seed: int) -> None:
    market = family(name, peers=14, seed=seed, **({"mtus": 3} if name in {"grid", "storage"} else {}))
    clearing, links = solved(market), market.links
    size = len(market.peers)
    table = np.zeros((size, size, market.mtus))
    table[links.seller, links.buyer] = clearing.trade
    assert float(np.minimum(table, table.transpose(1, 0, 2)).max()) == 0.0
