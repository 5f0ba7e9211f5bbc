"""Answers that are published or that a person can work out by hand, and endings without an answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimization.dispatch import dispatch
from optimization.market import Market
from optimization.market_certificate import certify, check_conflict
from optimization.market_clearing import MarketClearing, MarketConflict, Unsolved
from tests.benchmarks.families import family

MakeMarket = Callable[..., Market]

CASES = Path(__file__).parent.parent / "vectors" / "cases"
CLOSE = 1e-8


def solved(market: Market, **options: Any) -> MarketClearing:
    """A clearing that its certificate finds feasible and optimal."""
    clearing = dispatch(market, **options)
    assert isinstance(clearing, MarketClearing), clearing
    certificate = certify(market, clearing)
    assert certificate.optimal(CLOSE), certificate
    return clearing


def published(make_market: MakeMarket, name: str, *, fee: float) -> Market:
    """A case whose injections are positive and whose links join pairs, with a fee on each side of a trade."""
    file, _, key = name.partition("/")
    read = json.loads((CASES / f"{file}.json").read_text())
    case = next(entry for entry in read if entry["name"] == key) if key else read
    peers = {
        peer["id"]: [(-a["p_max"], -a["p_min"], -a["b"], a["a"]) for a in peer["assets"]] for peer in case["peers"]
    }
    links = case["links"]
    if links == "all pairs":
        links = [(one, other) for one in peers for other in peers if one < other]
    elif links == "every consumer with every generator":
        links = [(g, c) for g in peers for c in peers if g.startswith("gen") and c.startswith("load")]
    both = [tuple(pair) for pair in links] + [tuple(reversed(pair)) for pair in links]
    return make_market(peers, links=both, link_cost=2 * fee)


def test_two_peers_meet_where_marginal_cost_is_marginal_utility(make_market: MakeMarket) -> None:
    market = published(make_market, "unit-cases/two-peers", fee=0.0)
    clearing = solved(market)
    assert clearing.piece.ravel() == pytest.approx([2, -2], rel=CLOSE)
    assert clearing.price.ravel() == pytest.approx([6, 6], rel=CLOSE)


def test_a_fee_on_each_side_stands_between_the_prices(make_market: MakeMarket) -> None:
    clearing = solved(published(make_market, "unit-cases/two-peers", fee=1.0))
    assert clearing.piece.ravel() == pytest.approx([1, -1], rel=CLOSE)
    assert clearing.price.ravel() == pytest.approx([7, 5], rel=CLOSE)


def test_four_peers_clear_as_published(make_market: MakeMarket) -> None:
    market = published(make_market, "unit-cases/four-peers", fee=1.0)
    clearing = solved(market)
    assert certify(market, clearing).objective == pytest.approx(-328.06723, abs=5e-6)
    assert -clearing.piece.ravel() == pytest.approx([-11.17647, -11.17647, 24.03361, -1.68067], abs=5e-6)
    assert clearing.price.ravel() == pytest.approx([58.82353, 58.82353, 56.82353, 58.82353], abs=5e-6)


def test_51_prosumers_without_fee_have_the_published_price(make_market: MakeMarket) -> None:
    market = published(make_market, "prosumer-markets-51", fee=0.0)
    clearing = solved(market)
    assert certify(market, clearing).objective == pytest.approx(-125.407165, abs=1e-6)
    assert clearing.price == pytest.approx(np.full((51, 1), 0.15222563), abs=1e-8)
    assert -clearing.piece.clip(max=0).sum() == pytest.approx(1440.25479, abs=1e-5)


def test_51_prosumers_with_fee_have_the_published_prices(make_market: MakeMarket) -> None:
    market = published(make_market, "prosumer-markets-51", fee=0.01)
    clearing = solved(market)
    assert certify(market, clearing).objective == pytest.approx(-102.205029, abs=1e-6)
    assert -clearing.piece.clip(max=0).sum() == pytest.approx(1151.67444, abs=1e-5)
    assert clearing.trade.sum() == pytest.approx(1020.49424, abs=1e-5)
    net = np.bincount(market.assets.piece_peer, clearing.piece[:, 0])
    assert clearing.price[net < -1e-6] == pytest.approx(0.143867, abs=1e-6)
    assert clearing.price[net > 1e-6] == pytest.approx(0.163867, abs=1e-6)


def test_new_england_clears_as_published(make_market: MakeMarket) -> None:
    market = published(make_market, "new-england-39-31-peers", fee=0.0)
    clearing = solved(market)
    assert certify(market, clearing).objective == pytest.approx(-92547.87495, abs=1e-5)
    assert clearing.price == pytest.approx(np.full((31, 1), 57.234302), abs=1e-6)
    assert clearing.piece.clip(min=0).sum() == pytest.approx(3893.34939, abs=1e-5)


def test_a_full_link_parts_the_prices(make_market: MakeMarket) -> None:
    market = make_market(
        {"load": [(0, 30, -8, 1)], "gen": [(-60, 0, -4, 1)]}, links=[("gen", "load", 0.0, 0.8), ("load", "gen")]
    )
    clearing = solved(market)
    assert clearing.trade.ravel() == pytest.approx([0.8, 0.0], rel=CLOSE)
    assert clearing.price.ravel() == pytest.approx([7.2, 4.8], rel=CLOSE)


def test_reselling_serves_who_has_no_link_to_the_seller(make_market: MakeMarket) -> None:
    """The shop buys for 5, pays 0.5 for each way, and so the home pays 6."""
    market = make_market(
        {"sun": [(-9, 0, -5)], "shop": [(0, 0, 0)], "home": [(3, 3, 0)]},
        links=[("sun", "shop", 0.5), ("shop", "home", 0.5)],
    )
    clearing = solved(market)
    assert clearing.trade.ravel() == pytest.approx([3, 3], rel=CLOSE)
    assert clearing.price.ravel() == pytest.approx([5, 5.5, 6], rel=CLOSE)


def test_links_of_sellers_alone_keep_a_consumer_from_reselling(make_market: MakeMarket) -> None:
    """With the middle peer's resale home pays 6; without, what its own dear generator costs."""
    peers = {"sun": [(-9, 0, -5)], "shop": [(0, 1, -7)], "home": [(3, 3, 0), (-4, 0, -10)]}
    onwards = [("sun", "shop", 0.5), ("shop", "home", 0.5)]
    reselling, buying = make_market(peers, links=onwards), make_market(peers, links=onwards[:1])
    cheap, dear = solved(reselling), solved(buying)
    assert cheap.price.ravel() == pytest.approx([5, 5.5, 6], rel=CLOSE)
    assert dear.price.ravel() == pytest.approx([5, 5.5, 10], rel=CLOSE)
    saved = certify(buying, dear).objective - certify(reselling, cheap).objective
    assert saved == pytest.approx(3 * (10 - 6), rel=CLOSE)


def test_a_storage_buys_cheap_and_serves_dear_hours(make_market: MakeMarket) -> None:
    market = make_market(
        {"home": [(1, 1, 0)]},
        import_price=[0.1, 0.4],
        storages={"home/battery": {"max_charge": 2.0, "charge_efficiency": 0.5, "cycle_cost": 0.05}},
        mtus=2,
    )
    clearing = solved(market)
    assert clearing.charge.ravel() == pytest.approx([2, 0], abs=CLOSE)
    assert clearing.discharge.ravel() == pytest.approx([0, 1], abs=CLOSE)
    assert clearing.imported.ravel() == pytest.approx([3, 0], abs=CLOSE)
    assert certify(market, clearing).objective == pytest.approx(0.3 + 0.05, rel=CLOSE)


def test_prices_do_not_depend_on_the_length_of_an_mtu(make_market: MakeMarket) -> None:
    market = make_market(
        {"load": [(0, 30, -8, 1)], "gen": [(-60, 0, -4, 1)]}, hours=0.25, limits=[("feeder", ["load"], -np.inf, 1.0)]
    )
    clearing = solved(market)
    assert clearing.price.ravel() == pytest.approx([5, 5], rel=CLOSE)
    assert clearing.limit_price.ravel() == pytest.approx([2], rel=CLOSE)


def test_two_days_of_quarter_hours_with_stores_are_solved(make_market: MakeMarket) -> None:
    hour = np.arange(192) / 4
    price = 0.2 + 0.1 * np.sin(hour / 24 * 2 * np.pi)
    load = 1.0 + 0.5 * np.cos(hour / 12 * 2 * np.pi)
    market = make_market(
        {"a": [(load, load, 0.0)], "b": [(-2.0, 0.0, 0.0, 0.02)]},
        import_price=price,
        export_price=price - 0.05,
        storages={"a/battery": {"charge_efficiency": 0.9, "initial": 5.0}},
        mtus=192,
        hours=0.25,
    )
    clearing = solved(market)
    # At least half of the store's range is worth its losses: the price swings by a factor of three.
    assert clearing.discharge.sum() * 0.25 > 10.0


def test_one_peer_alone_serves_itself(make_market: MakeMarket) -> None:
    clearing = solved(make_market({"home": [(0, 5, -8, 1), (-9, 0, -4, 1)]}))
    assert clearing.piece.ravel() == pytest.approx([2, -2], rel=CLOSE)
    assert clearing.price.ravel() == pytest.approx([6], rel=CLOSE)


def test_a_peer_without_links_stands_still_where_it_may(make_market: MakeMarket) -> None:
    market = make_market(
        {"load": [(0, 30, -8, 1)], "gen": [(-60, 0, -4, 1)], "cut off": [(-1, 4, -20)]}, links=[("gen", "load")]
    )
    clearing = solved(market)
    assert clearing.piece.ravel() == pytest.approx([2, -2, 0], abs=CLOSE)
    assert clearing.price.ravel() == pytest.approx([6, 6, 20], rel=CLOSE)


def test_a_peer_without_assets_can_pass_power_on(make_market: MakeMarket) -> None:
    market = make_market(
        {"gen": [(-9, 0, -1)], "hub": [], "load": [(2, 2, 0)]}, links=[("gen", "hub", 0.5), ("hub", "load", 0.25)]
    )
    clearing = solved(market)
    assert clearing.trade.ravel() == pytest.approx([2, 2], rel=CLOSE)
    assert clearing.price.ravel() == pytest.approx([1, 1.5, 1.75], rel=CLOSE)


def test_a_market_of_peers_without_anything_clears_at_nothing(make_market: MakeMarket) -> None:
    clearing = solved(make_market({"a": [], "b": []}))
    assert not clearing.trade.any()


def test_where_nothing_is_flexible_trades_are_chosen_all_the_same(make_market: MakeMarket) -> None:
    market = make_market(
        {"gen": [(-3, -3, 0)], "one": [(1, 1, 0)], "other": [(2, 2, 0)]},
        links=[("gen", "one", 0.5), ("gen", "other", 0.25), ("one", "other", 0.5)],
    )
    clearing = solved(market)
    assert clearing.trade.ravel() == pytest.approx([1, 2, 0], abs=CLOSE)


def test_where_nothing_can_move_there_is_a_clearing_or_a_conflict(make_market: MakeMarket) -> None:
    solved(make_market({"home": [(2, 2, -1), (-2, -2, 0)]}))
    market = make_market({"home": [(2, 2, -1)]})
    conflict = dispatch(market)
    assert isinstance(conflict, MarketConflict)
    assert check_conflict(market, conflict) == pytest.approx(2)


def test_who_must_consume_more_than_links_carry_is_named(make_market: MakeMarket) -> None:
    market = make_market({"load": [(3, 9, -8, 1)], "gen": [(-60, 0, -4, 1)]}, links=[("gen", "load", 0.0, 2.0)])
    conflict = dispatch(market)
    assert isinstance(conflict, MarketConflict)
    assert check_conflict(market, conflict) == pytest.approx(1)
    assert [(entry.what, entry.mtu) for entry in conflict.unserved] == [("peer load", 0)]


def test_too_few_iterations_leave_the_last_iterate_and_a_reason() -> None:
    market = family("prosumers", peers=20, seed=1)
    outcome = dispatch(market, max_iterations=2)
    assert isinstance(outcome, Unsolved)
    assert "after 2 iterations" in outcome.reason
    assert outcome.best.iterations == 2
    assert outcome.best.trade.shape == (market.links.size, 1)
    assert not certify(market, outcome.best).optimal(1e-3)


def test_who_is_stopped_returns_what_it_has() -> None:
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 3

    outcome = dispatch(family("prosumers", peers=20, seed=1), stop=stop)
    assert isinstance(outcome, Unsolved)
    assert outcome.reason == f"stopped after {outcome.best.iterations} iterations"
    assert outcome.best.iterations == 3


@pytest.mark.parametrize("name", ["prosumers", "bipartite", "free", "grid", "storage"])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_a_loose_tolerance_takes_fewer_iterations_and_is_kept(name: str, tolerance: float) -> None:
    market = family(name, peers=16, seed=3, mtus=4 if name in {"grid", "storage"} else 1)
    exact, loose = solved(market), dispatch(market, tolerance=tolerance)
    assert isinstance(loose, MarketClearing)
    assert loose.iterations < exact.iterations
    best = certify(market, exact).objective
    stake = certify(market, exact).stake
    assert certify(market, loose).objective == pytest.approx(best, rel=20 * tolerance, abs=20 * tolerance * stake)


@pytest.mark.slow
def test_a_thousand_peers_are_solved_to_1e_8() -> None:
    market = family("bipartite", peers=1000, seed=1)
    assert market.links.size == 250_000
    certificate = certify(market, solved(market))
    assert certificate.gap <= 1e-8
    assert certificate.primal_residual <= 1e-8
