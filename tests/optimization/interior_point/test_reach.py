from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from optimization.dispatch import dispatch
from optimization.interior_point.reach import within_reach
from optimization.market import Market
from optimization.market_certificate import certify
from optimization.market_clearing import MarketClearing, MarketConflict

MakeMarket = Callable[..., Market]


def two_peers(make_market: MakeMarket, most: float, capacity: float = np.inf) -> Market:
    """A load that values energy at 8 - p and a generator that makes it for 4 + p: they trade 2 kW at 6."""
    return make_market(
        {"load": [(0.0, 30.0, -8.0, 1.0)], "gen": [(-most, 0.0, -4.0, 1.0)]}, links="all", link_capacity=capacity
    )


@pytest.mark.parametrize("most", [60.0, 3e3, 1e6, 1e9])
@pytest.mark.parametrize("capacity", [np.inf, 1e6, 1e9])
def test_bounds_that_mean_any_amount_change_nothing(make_market: MakeMarket, most: float, capacity: float) -> None:
    market = two_peers(make_market, most, capacity)
    clearing = dispatch(market)
    assert isinstance(clearing, MarketClearing)
    assert clearing.piece[:, 0] == pytest.approx([2.0, -2.0], rel=1e-8)
    assert clearing.price[:, 0] == pytest.approx([6.0, 6.0], rel=1e-8)
    if np.isinf(capacity):
        assert certify(market, clearing).optimal(1e-8)


def test_a_bound_that_may_bind_stays(make_market: MakeMarket) -> None:
    market = two_peers(make_market, 1.5, 0.8)
    reached = within_reach(market)
    assert (reached.assets.lower == market.assets.lower).all()
    assert (reached.links.capacity == 0.8).all()


def test_what_must_be_consumed_is_not_cut(make_market: MakeMarket) -> None:
    market = make_market({"load": [(5.0, 1e6, -8.0, 1.0)], "gen": [(-1.0, 0.0, -4.0, 1.0)]}, links="all")
    assert within_reach(market).assets.lower[0, 0] == 5.0
    assert isinstance(dispatch(market), MarketConflict)


def test_a_store_that_could_burn_anything_serves_no_load(make_market: MakeMarket) -> None:
    market = make_market({"home": [(1.0, 1.0, 0.0, 0.0)]}, mtus=2)
    store = {"max_charge": np.array([1e7]), "max_discharge": np.array([1e7])}
    one = np.ones(1)
    idle = replace(
        market.stores,
        peer=np.zeros(1, dtype=np.int64),
        names=("store",),
        charge_efficiency=one,
        discharge_efficiency=one,
        initial=np.zeros(1),
        lower=np.zeros((1, 2)),
        upper=np.ones((1, 2)),
        cycle_cost=np.zeros(1),
        state_cost=np.zeros((1, 2)),
        **store,
    )
    assert isinstance(dispatch(replace(market, storages=idle)), MarketConflict)
