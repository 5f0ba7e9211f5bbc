"""Answers that a person can work out by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.market import Market
from optimization.market_certificate import certify
from optimization.market_clearing import MarketClearing, MarketConflict, Unsolved
from optimization.reference.market import solve

MakeMarket = Callable[..., Market]

CLOSE = 1e-6


def solved(market: Market, **options: Any) -> MarketClearing:
    """A clearing that its certificate finds feasible and optimal."""
    clearing = solve(market, **options)
    assert isinstance(clearing, MarketClearing), clearing
    assert certify(market, clearing).optimal(1e-6)
    return clearing


def two_peers(make_market: MakeMarket, **changes: Any) -> Market:
    """The first of the published unit cases: the consumer's marginal utility is 8 - p, the generator's cost 4 + p."""
    given = {"links": [("gen", "load"), ("load", "gen")]} | changes
    return make_market({"load": [(0, 30, -8, 1)], "gen": [(-60, 0, -4, 1)]}, **given)


def test_two_peers_meet_where_marginal_cost_is_marginal_utility(make_market: MakeMarket) -> None:
    market = two_peers(make_market)
    clearing = solved(market)
    assert clearing.piece.ravel() == pytest.approx([2, -2], abs=CLOSE)
    assert clearing.price.ravel() == pytest.approx([6, 6], abs=CLOSE)
    assert certify(market, clearing).objective == pytest.approx(-4, abs=CLOSE)


def test_the_cost_of_a_link_stands_between_the_prices(make_market: MakeMarket) -> None:
    market = two_peers(make_market, link_cost=2.0)
    clearing = solved(market)
    assert clearing.trade.ravel() == pytest.approx([1, 0], abs=CLOSE)
    assert clearing.price.ravel() == pytest.approx([7, 5], abs=CLOSE)
    assert certify(market, clearing).objective == pytest.approx(-1, abs=CLOSE)


def test_a_full_link_parts_the_prices(make_market: MakeMarket) -> None:
    clearing = solved(two_peers(make_market, links=[("gen", "load", 0.0, 0.8)]))
    assert clearing.trade.ravel() == pytest.approx([0.8], abs=CLOSE)
    assert clearing.price.ravel() == pytest.approx([7.2, 4.8], abs=CLOSE)


def test_prices_do_not_depend_on_the_length_of_an_mtu(make_market: MakeMarket) -> None:
    market = two_peers(make_market, hours=0.25, limits=[("feeder", ["load"], -np.inf, 1.0)])
    clearing = solved(market)
    assert clearing.price.ravel() == pytest.approx([5, 5], abs=CLOSE)
    assert clearing.limit_price.ravel() == pytest.approx([2], abs=CLOSE)
    assert certify(market, clearing).objective == pytest.approx(0.25 * (-8 + 4 + 1), abs=CLOSE)


def test_a_binding_upper_limit_has_a_positive_price_that_its_members_see(make_market: MakeMarket) -> None:
    clearing = solved(two_peers(make_market, limits=[("feeder", ["load"], -np.inf, 1.0)]))
    assert clearing.piece.ravel() == pytest.approx([1, -1], abs=CLOSE)
    assert clearing.price.ravel() == pytest.approx([5, 5], abs=CLOSE)
    assert clearing.limit_price.ravel() == pytest.approx([2], abs=CLOSE)


def test_a_binding_lower_limit_has_a_negative_price(make_market: MakeMarket) -> None:
    clearing = solved(two_peers(make_market, limits=[("feeder", ["gen"], -0.5, np.inf)]))
    assert clearing.piece.ravel() == pytest.approx([0.5, -0.5], abs=CLOSE)
    assert clearing.price.ravel() == pytest.approx([7.5, 7.5], abs=CLOSE)
    assert clearing.limit_price.ravel() == pytest.approx([-3], abs=CLOSE)


def test_the_grid_serves_who_may_buy_there_and_neighbours_pay_the_way(make_market: MakeMarket) -> None:
    market = make_market(
        {"near": [(2, 2, 0)], "far": [(3, 3, 0)], "sun": [(-9, 0, 0)]},
        links=[("near", "far", 0.05)],
        import_price={"near": 0.3},
        export_price={"sun": 0.1},
    )
    clearing = solved(market)
    assert clearing.imported.ravel() == pytest.approx([5, 0, 0], abs=CLOSE)
    assert clearing.exported.ravel() == pytest.approx([0, 0, 9], abs=CLOSE)
    assert clearing.price.ravel() == pytest.approx([0.3, 0.35, 0.1], abs=CLOSE)
    assert certify(market, clearing).objective == pytest.approx(5 * 0.3 + 3 * 0.05 - 9 * 0.1, abs=CLOSE)


def test_a_storage_shifts_energy_while_the_spread_pays_for_losses_and_wear(make_market: MakeMarket) -> None:
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
    assert certify(market, clearing).objective == pytest.approx(0.3 + 0.05, abs=CLOSE)


def test_the_price_of_the_state_is_what_a_stored_kwh_is_worth_later(make_market: MakeMarket) -> None:
    market = make_market(
        {"home": [(10, 10, 0)]},
        import_price=[0.1, 0.4],
        hours=0.5,
        storages={"home/battery": {"max_charge": 2.0, "discharge_efficiency": 0.5, "cycle_cost": 0.1}},
        mtus=2,
    )
    clearing = solved(market)
    # A kWh stored gives half a kWh at 0.40, less the wear of 0.10 for each kWh given.
    assert clearing.state_price.ravel() == pytest.approx([0.15, 0.15], abs=CLOSE)
    assert clearing.charge[0, 0] == pytest.approx(2, abs=CLOSE)


def test_a_value_at_the_end_of_the_horizon_keeps_energy_stored(make_market: MakeMarket) -> None:
    market = make_market(
        {"home": []},
        import_price=[0.1, 0.4],
        storages={"home/battery": {"upper": 3.0, "cycle_cost": 0.01, "state_cost": [0.0, -0.25]}},
        mtus=2,
    )
    clearing = solved(market)
    assert clearing.charge.ravel() == pytest.approx([3, 0], abs=CLOSE)
    assert certify(market, clearing).objective == pytest.approx(0.3 - 0.75, abs=CLOSE)


@pytest.mark.parametrize("solver", ["CLARABEL", "HIGHS"])
def test_linear_markets_are_solved_by_either_solver(make_market: MakeMarket, solver: str) -> None:
    market = make_market({"load": [(0, 5, -3), (0, 5, -1)], "gen": [(-4, 0, -1), (-9, 0, -2)]}, link_cost=0.5)
    clearing = solved(market, solver=solver)
    assert clearing.piece.ravel() == pytest.approx([5, 0, -4, -1], abs=CLOSE)
    assert clearing.price.ravel() == pytest.approx([2.5, 2], abs=CLOSE)


def test_who_must_consume_without_a_partner_is_a_conflict(make_market: MakeMarket) -> None:
    outcome = solve(make_market({"ann": [(4, 6, -1)], "ben": [(-9, 0, 1)]}, links=()))
    assert isinstance(outcome, MarketConflict)
    assert [(item.what, item.mtu) for item in outcome.unserved] == [("peer ann", 0)]


def test_bounds_that_stand_for_any_amount_do_not_mislead(make_market: MakeMarket) -> None:
    clearing = solved(make_market({"load": [(0, 1e9, -5, 0.001)], "gen": [(-1e9, 0, -2, 0.002)]}))
    assert clearing.piece.ravel() == pytest.approx([1000, -1000], rel=1e-6)


@pytest.mark.parametrize("peers", [{"a": []}, {"a": [], "b": []}, {"a": [(-1, 1, 0)]}])
def test_markets_with_next_to_nothing_in_them_are_solved(make_market: MakeMarket, peers: Any) -> None:
    for links in ((), "all"):
        market = make_market(peers, links=links)
        assert certify(market, solved(market)).objective == pytest.approx(0)


def test_an_unknown_solver_and_one_that_cannot_are_no_success(make_market: MakeMarket) -> None:
    market = two_peers(make_market)
    assert isinstance(solve(market, solver="NO_SUCH"), Unsolved)


def test_an_accuracy_out_of_reach_is_no_success(make_market: MakeMarket) -> None:
    outcome = solve(two_peers(make_market), tolerance=1e-30)
    assert isinstance(outcome, Unsolved)
    assert "1e-30" in outcome.reason


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_markets_are_certified(markets: Callable[..., Any], data: Any) -> None:
    solved(data.draw(markets()))


@pytest.mark.slow
def test_a_thousand_peers_are_solved(random_market: MakeMarket) -> None:
    solved(random_market(7, peers=1000, density=0.01, grid=True, capped=True, limits=True))


@pytest.mark.parametrize("size", [1e4, 1e5, 1e6, 1e7])
def test_large_powers_are_solved(make_market: MakeMarket, size: float) -> None:
    """Clarabel calls markets like this one infeasible, unless powers are in a larger unit."""
    market = make_market(
        {"load": [(2 * size, 9 * size, -8, 1 / size)], "gen": [(-6 * size, 0, -4, 1 / size)]},
        links=[("gen", "load", 0.25)],
        storages={
            "gen/battery": {"max_charge": 3 * size, "max_discharge": 3 * size, "initial": 2 * size, "upper": 4 * size}
        },
    )
    clearing = solved(market)
    # In units of the size: two come from the battery, the rest up to where 8 - p is 4 + (p - 2) + 0.25.
    assert (clearing.discharge - clearing.charge).ravel() == pytest.approx([2 * size], rel=1e-6)
    assert clearing.piece.ravel() == pytest.approx([2.875 * size, -0.875 * size], rel=1e-6)
