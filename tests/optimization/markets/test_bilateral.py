import pytest

from optimization.market_clearing import MarketConflict
from optimization.markets.bilateral import Bilateral
from optimization.markets.protocol import DesignOutcome
from optimization.reference.market import solve


def test_the_price_of_a_pair_gives_each_side_its_marginal_value(make_market):
    # 8 - p - 2 = 4 + p: 1 kW; the buyer's preference of 2 is felt: worth 7 to it, it pays 5, which is what it cost.
    market = make_market({"load": [(0, 30, -8.0, 1.0)], "gen": [(-60, 0, -4.0, 1.0)]}, links=[("gen", "load", 2.0)])
    outcome = Bilateral(solve=solve).clear(market)
    assert isinstance(outcome, DesignOutcome)
    assert outcome.trades.power == pytest.approx([1], abs=1e-6)
    assert outcome.trades.price == pytest.approx([5], abs=1e-6)
    assert outcome.objective == pytest.approx(-1, abs=1e-6)
    assert outcome.clearing is not None


def test_both_share_the_rent_of_a_full_link(make_market):
    # 0.8 kW: worth 7.2 to the one and costing the other 4.8: they meet at 6.
    market = make_market(
        {"load": [(0, 30, -8.0, 1.0)], "gen": [(-60, 0, -4.0, 1.0)]}, links=[("gen", "load", 0.0, 0.8)]
    )
    outcome = Bilateral(solve=solve).clear(market)
    assert outcome.trades.power == pytest.approx([0.8], abs=1e-6)
    assert outcome.trades.price == pytest.approx([6], abs=1e-5)


def test_a_conflict_is_passed_on(make_market):
    assert isinstance(Bilateral(solve=solve).clear(make_market({"load": [(1, 1, 0.0)]}, links=())), MarketConflict)
