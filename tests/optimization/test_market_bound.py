"""No clearing costs less than the bound, whatever the prices; at the optimum's own prices the two meet."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.market import Market
from optimization.market_bound import LARGEST_PRICE, bound_cost, project_prices, without_costs
from optimization.market_certificate import certify
from optimization.market_clearing import MarketClearing
from optimization.reference.market import solve

MakeMarket = Callable[..., Market]


def none(market: Market) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((len(market.limits), market.mtus)), np.zeros((market.stores.size, market.mtus))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.0, 1.0, 100.0]))
def test_any_prices_bound_the_optimum_and_its_own_meet_it(
    markets: Callable[..., Any], data: Any, seed: int, scale: float
) -> None:
    market = data.draw(markets())
    optimum = solve(market)
    assert isinstance(optimum, MarketClearing)
    cost = certify(market, optimum).objective
    size = 1.0 + abs(cost)
    random = np.random.default_rng(seed)
    tables = (optimum.price, optimum.limit_price, optimum.state_price)
    guess = bound_cost(market, *(table + scale * random.normal(size=table.shape) for table in tables))
    assert guess <= cost + 1e-6 * size
    assert bound_cost(market, *tables) == pytest.approx(cost, abs=1e-4 * size)


def test_the_bound_is_the_dual_value_worked_by_hand(make_market: MakeMarket) -> None:
    # Worth 10 - p to ann, 4 + p to sam, at most 5 kW: 3 kW at 7, for -9. At a price of 6 ann would take 4 kW and sam
    # give 2: -(10 - 6)^2 / 2 - (6 - 4)^2 / 2 = -10.
    market = make_market({"ann": [(0, 5, -10, 1.0)], "sam": [(-5, 0, -4, 1.0)]})
    assert bound_cost(market, np.full((2, 1), 7.0), *none(market)) == pytest.approx(-9.0)
    assert bound_cost(market, np.full((2, 1), 6.0), *none(market)) == pytest.approx(-10.0)


def test_a_full_link_pays_its_rent_into_the_bound(make_market: MakeMarket) -> None:
    # 1 kW at most: ann values it at 9, sam makes it for 5; -(10 - 0.5) + (4 + 0.5) = -5.
    market = make_market({"ann": [(0, 5, -10, 1.0)], "sam": [(-5, 0, -4, 1.0)]}, link_capacity=1.0)
    assert bound_cost(market, np.array([[9.0], [5.0]]), *none(market)) == pytest.approx(-5.0)


def test_hours_count(make_market: MakeMarket) -> None:
    peers = {"ann": [(0, 5, -10, 1.0)], "sam": [(-5, 0, -4, 1.0)]}
    market = make_market(peers, hours=0.25)
    assert bound_cost(market, np.full((2, 1), 7.0), *none(market)) == pytest.approx(-9.0 / 4)


@pytest.mark.parametrize("price", [np.inf, -np.inf, 1e300, -1e300])
def test_absurd_prices_still_give_a_finite_bound(make_market: MakeMarket, price: float) -> None:
    market = make_market({"ann": [(0, 5, -10, 1.0)], "sam": [(-5, 0, -4, 1.0)]}, import_price=12.0, export_price=1.0)
    bound = bound_cost(market, np.full((2, 1), price), *none(market))
    assert np.isfinite(bound)
    assert bound <= -9.0


def test_projected_prices_leave_no_unbounded_trade_that_pays(make_market: MakeMarket) -> None:
    market = make_market(
        {"ann": [(0, 5, -10)], "mid": [(0, 1, 0)], "sam": [(-5, 0, -4)]},
        links=[("sam", "mid", 0.5), ("mid", "ann", 0.25), ("sam", "ann", 2.0, 3.0)],
        import_price={"mid": 8.0},
        export_price={"sam": 3.0},
    )
    random = np.random.default_rng(0)
    for _ in range(20):
        for price in project_prices(market, random.uniform(-20, 20, (3, 1))):
            ann, mid, sam = price[:, 0]
            assert mid <= sam + 0.5 + 1e-12
            assert ann <= mid + 0.25 + 1e-12
            assert mid <= 8.0
            assert sam >= 3.0


def test_prices_that_hold_already_are_not_moved(make_market: MakeMarket) -> None:
    market = make_market({"ann": [(0, 5, -10)], "sam": [(-5, 0, -4)]}, links=[("sam", "ann", 1.0)])
    price = np.array([[5.0], [4.5]])
    for projected in project_prices(market, price):
        np.testing.assert_array_equal(projected, price)


def test_without_costs_only_what_cannot_be_cleared_has_a_positive_bound(make_market: MakeMarket) -> None:
    short = make_market({"ann": [(3, 5, -10)], "sam": [(-2, 0, -4)]}, links=[("sam", "ann", 0.1)])
    enough = make_market({"ann": [(3, 5, -10)], "sam": [(-4, 0, -4)]}, links=[("sam", "ann", 0.1)])
    price = np.ones((2, 1))
    # One kW is missing, at a price of one.
    assert bound_cost(without_costs(short), price, *none(short)) == pytest.approx(1.0)
    assert bound_cost(without_costs(enough), price, *none(enough)) == pytest.approx(-1.0)


def test_a_price_on_a_side_without_a_bound_counts_for_nothing(make_market: MakeMarket) -> None:
    market = make_market(
        {"ann": [(0, 5, -10, 1.0)], "sam": [(-5, 0, -4, 1.0)]}, limits=[("roof", ["ann"], -np.inf, 2.0)]
    )
    price, (limit, state) = np.full((2, 1), 7.0), none(market)
    free = bound_cost(market, price, limit, state)
    assert bound_cost(market, price, limit - LARGEST_PRICE, state) == pytest.approx(free)
    # 2 kW at most: -(20 - 2) + (8 + 2) = -8, at ann's price of 6 plus 2 for the limit.
    assert bound_cost(market, np.full((2, 1), 6.0), limit + 2.0, state) == pytest.approx(-8.0)
