import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.conflict import find_conflict
from optimization.market import Market
from optimization.market_certificate import certify, check_conflict
from optimization.market_clearing import MarketClearing, MarketConflict
from optimization.reference.market import solve

MakeMarket = Callable[..., Market]


def found(market: Market) -> MarketConflict:
    """A conflict whose proof holds and whose margin is what gives in sum."""
    conflict = find_conflict(market)
    assert conflict is not None
    given = sum(abs(u.amount) * (1 if u.what.startswith("storage") else market.hours) for u in conflict.unserved)
    assert check_conflict(market, conflict) == pytest.approx(given, rel=1e-6)
    assert conflict.margin == pytest.approx(given, rel=1e-6)
    return conflict


def gives(market: Market) -> dict[tuple[str, int], float]:
    return {(item.what, item.mtu): pytest.approx(item.amount, rel=1e-6) for item in found(market).unserved}


def test_a_feasible_market_has_no_conflict(make_market: MakeMarket) -> None:
    assert find_conflict(make_market({"ann": [(1, 2, 0)], "ben": [(-2, 0, 0)]})) is None
    assert find_conflict(make_market({"ann": []})) is None


def test_who_must_consume_without_a_partner_is_named(make_market: MakeMarket) -> None:
    market = make_market({"ann": [(4, 6, 0)], "ben": [(-9, 9, 0)], "cid": [(1, 1, 0)]}, links=[("ben", "cid")])
    assert gives(market) == {("peer ann", 0): 4}


def test_who_must_produce_without_a_partner_is_named(make_market: MakeMarket) -> None:
    assert gives(make_market({"ann": [(-4, -3, 0)]})) == {("peer ann", 0): -3}


def test_what_is_missing_is_the_least_sum(make_market: MakeMarket) -> None:
    conflict = found(make_market({"ann": [(2, 2, 0)], "ben": [(5, 5, 0)], "sun": [(-4, 0, 0)]}))
    assert {item.what for item in conflict.unserved} <= {"peer ann", "peer ben"}
    assert conflict.margin == pytest.approx(3)


def test_pieces_of_one_peer_serve_each_other(make_market: MakeMarket) -> None:
    assert find_conflict(make_market({"ann": [(4, 4, 0), (-5, 0, 0)]})) is None


def test_a_link_too_small_leaves_its_buyer_short(make_market: MakeMarket) -> None:
    market = make_market({"ann": [(4, 4, 0)], "sun": [(-9, 0, 0)]}, links=[("sun", "ann", 0.0, 1.5)])
    assert gives(market) == {("peer ann", 0): 2.5}


def test_links_lead_one_way(make_market: MakeMarket) -> None:
    market = make_market({"ann": [(4, 4, 0)], "sun": [(-9, 0, 0)]}, links=[("ann", "sun")])
    assert gives(market) == {("peer ann", 0): 4}


def test_what_the_grid_serves_is_no_conflict_but_only_where_there_is_a_price(make_market: MakeMarket) -> None:
    peers = {"ann": [(4, 4, 0)], "ben": [(-3, -3, 0)]}
    assert find_conflict(make_market(peers, links=(), import_price={"ann": 0.3}, export_price={"ben": 0.1})) is None
    one_way = make_market(peers, links=(), import_price={"ann": 0.3, "ben": 0.3})
    assert gives(one_way) == {("peer ben", 0): -3}


def test_a_limit_in_the_way_is_named_before_those_behind_it(make_market: MakeMarket) -> None:
    peers = {"ann": [(4, 4, 0)], "ben": [(1, 1, 0)], "sun": [(-9, 0, 0)]}
    street = make_market(peers, limits=[("street", ["ann", "ben"], -np.inf, 3.0)])
    assert gives(street) == {("limit street", 0): 2}
    roof = make_market(peers, limits=[("roof", ["sun"], -4.0, np.inf)])
    assert gives(roof) == {("limit roof", 0): -1}


def test_one_peer_that_gives_less_than_two_limits_together_is_named(make_market: MakeMarket) -> None:
    market = make_market(
        {"ann": [(4, 4, 0)], "sun": [(-9, 0, 0)]},
        limits=[("street", ["ann"], -np.inf, 2.0), ("roof", ["sun"], -2.0, np.inf)],
    )
    assert gives(market) == {("peer ann", 0): 2}


def test_who_has_no_partner_is_named_before_a_limit_that_would_also_bind(make_market: MakeMarket) -> None:
    market = make_market({"ann": [(4, 4, 0)]}, limits=[("street", ["ann"], -np.inf, 2.0)])
    assert gives(market) == {("peer ann", 0): 4}


def test_a_limit_that_asks_for_more_than_there_is_is_named(make_market: MakeMarket) -> None:
    market = make_market({"ann": [(0, 2, 0)], "sun": [(-9, 0, 0)]}, limits=[("street", ["ann"], 5.0, np.inf)])
    assert gives(market) == {("limit street", 0): -3}


def test_a_limit_on_nobody_is_named(make_market: MakeMarket) -> None:
    assert gives(make_market({"ann": []}, limits=[("street", [], 0.5, 1.0)])) == {("limit street", 0): -0.5}


def test_a_final_level_out_of_reach_is_named_in_kwh(make_market: MakeMarket) -> None:
    market = make_market(
        {"ann": []},
        import_price=0.3,
        storages={"ann/battery": {"max_charge": 2.0, "charge_efficiency": 0.5, "initial": 1.0, "lower": [0, 0, 4.0]}},
        mtus=3,
        hours=0.5,
    )
    assert gives(market) == {("storage ann/battery", 2): 1.5}


def test_energy_that_cannot_leave_a_storage_is_named(make_market: MakeMarket) -> None:
    market = make_market({"ann": []}, storages={"ann/battery": {"initial": 5.0, "upper": [9.0, 3.0]}}, mtus=2)
    assert gives(market) == {("storage ann/battery", 1): -2}


def test_a_storage_carries_what_one_mtu_lacks(make_market: MakeMarket) -> None:
    peers = {"ann": [([0, 3], [0, 3], 0), ([-4, 0], 0, 0)]}
    battery = {"charge_efficiency": 0.75}
    assert find_conflict(make_market(peers, storages={"ann/battery": battery}, mtus=2)) is None
    weaker = make_market(peers, storages={"ann/battery": battery | {"discharge_efficiency": 0.5}}, mtus=2)
    assert gives(weaker) == {("peer ann", 1): 1.5}


def test_mtus_in_conflict_are_named_one_by_one(make_market: MakeMarket) -> None:
    market = make_market({"ann": [([1, 5, 2, 7], 9, 0)], "sun": [(-4, 0, 0)]}, mtus=4, hours=0.25)
    assert gives(market) == {("peer ann", 1): 1, ("peer ann", 3): 3}


def test_rounding_of_the_markets_own_numbers_is_no_conflict(make_market: MakeMarket) -> None:
    market = make_market({"ann": [(0.1, 0.1, 0)], "ben": [(0.2, 0.2, 0)], "sun": [(-0.3, 0, 0)]})
    assert 0.1 + 0.2 > 0.3
    assert find_conflict(market) is None


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e8])
def test_conflicts_of_any_size_are_found(make_market: MakeMarket, size: float) -> None:
    market = make_market({"ann": [(4 * size, 5 * size, 0)], "sun": [(-3 * size, 0, 0)]})
    assert gives(market) == {("peer ann", 0): size}


def test_bounds_that_stand_for_any_amount_hide_no_conflict(make_market: MakeMarket) -> None:
    market = make_market(
        {"ann": [(1, 1e9, 0)], "ben": [(-1e9, 1e9, 0)], "cid": [(0.5, 0.5, 0)]}, links=[("ben", "ann")]
    )
    assert gives(market) == {("peer cid", 0): 0.5}


def test_the_order_of_peers_and_links_does_not_matter(make_market: MakeMarket) -> None:
    peers = {"ann": [(2, 2, 0)], "ben": [(5, 5, 0)], "cid": [(3, 3, 0)], "sun": [(-4, 0, 0)]}
    links = [("sun", "ann"), ("sun", "ben"), ("ann", "cid")]
    one = found(make_market(peers, links=links))
    other = found(make_market(dict(reversed(peers.items())), links=links[::-1]))
    assert one.unserved == other.unserved
    np.testing.assert_array_equal(one.price, other.price[::-1])


def test_false_proofs_are_refused(make_market: MakeMarket) -> None:
    conflict = found(make_market({"ann": [(4, 4, 0)], "sun": [(-3, 0, 0)]}))
    feasible = make_market({"ann": [(4, 4, 0)], "sun": [(-4, 0, 0)]})
    assert check_conflict(feasible, conflict) <= 0
    infeasible = make_market({"ann": [(4, 4, 0)], "sun": [(-3, 0, 0)]})
    assert check_conflict(infeasible, dataclasses.replace(conflict, price=-conflict.price)) <= 0
    assert check_conflict(infeasible, dataclasses.replace(conflict, price=conflict.price * np.nan)) == -np.inf
    assert check_conflict(infeasible, dataclasses.replace(conflict, price=conflict.price[:1])) == -np.inf


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_conflict_is_proven_or_the_market_is_cleared(markets: Callable[..., Any], data: Any) -> None:
    market = data.draw(markets(feasible=False))
    outcome = solve(market)
    if find_conflict(market) is None:
        assert isinstance(outcome, MarketClearing)
        assert certify(market, outcome).feasible
    else:
        found(market)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_market_with_a_feasible_clearing_has_no_conflict(markets: Callable[..., Any], data: Any) -> None:
    assert find_conflict(data.draw(markets())) is None
