import pytest

from optimization.errors import ProblemError
from optimization.markets.average_price import AveragePrice, Priority


def rows(outcome, market):
    trades = outcome.trades
    return [
        (market.peers[s], market.peers[b], round(power, 9), round(price, 9))
        for s, b, power, price in zip(trades.seller, trades.buyer, trades.power, trades.price, strict=True)
        if s >= 0 and b >= 0
    ]


@pytest.fixture
def street(make_market):
    """Ann bids 10 for 2 kW, bob 20 for 1 kW; sam asks 4 for 2 kW."""
    return make_market({"ann": [(0, 2, -10.0)], "bob": [(0, 1, -20.0)], "sam": [(-2, 0, -4.0)]})


def test_first_come_is_served_first_at_the_mean_of_both_limits(street):
    # (10 + 4) / 2 for ann, who comes first by name and takes all.
    assert rows(AveragePrice().clear(street), street) == [("sam", "ann", 2, 7)]


def test_the_highest_bid_is_served_first_when_that_is_the_rule(street):
    # Bob at (20 + 4) / 2, the other kW to ann. Worth 20 + 10 - 8 instead of 20 - 8.
    outcome = AveragePrice(priority=Priority.HIGHEST_BID).clear(street)
    assert rows(outcome, street) == [("sam", "bob", 1, 12), ("sam", "ann", 1, 7)]
    assert outcome.objective == pytest.approx(-22)


def test_arrivals_say_who_came_first(street):
    assert rows(AveragePrice(arrivals={"bob": 1.0, "sam": 2.0}).clear(street), street)[0] == ("sam", "bob", 1, 12)


def test_highest_bid_first_takes_the_cheapest_offer(make_market):
    market = make_market({"ann": [(0, 1, -10.0)], "sam": [(-1, 0, -6.0)], "tom": [(-1, 0, -4.0)]})
    assert rows(AveragePrice().clear(market), market) == [("sam", "ann", 1, 8)]
    assert rows(AveragePrice(priority=Priority.HIGHEST_BID).clear(market), market) == [("tom", "ann", 1, 7)]


def test_an_offer_that_a_bid_cannot_pay_waits_for_the_next(make_market):
    market = make_market({"ann": [(0, 1, -5.0)], "bob": [(0, 1, -9.0)], "sam": [(-1, 0, -7.0)]})
    assert rows(AveragePrice().clear(market), market) == [("sam", "bob", 1, 8)]


def test_fees_are_left_room_for_and_paid(make_market):
    # Limits 10 - 1 and 4 + 1: price 7 again, ann pays 8 and sam gets 6.
    market = make_market({"ann": [(0, 1, -10.0)], "sam": [(-1, 0, -4.0)]})
    outcome = AveragePrice(fee=1.0).clear(market)
    assert rows(outcome, market) == [("sam", "ann", 1, 7)]
    assert outcome.prices_paid(market)[0] == pytest.approx(8)
    assert outcome.prices_received(market)[1] == pytest.approx(6)


def test_who_takes_any_price_trades_at_the_edge_of_the_band(make_market):
    # Ann must run and has no grid; serving her 3 kW takes the plant at 6, so 6 is what she is taken to bid.
    market = make_market({"ann": [(3, 3, 0.0)], "sam": [(-2, 0, -4.0)], "tom": [(-2, 0, -6.0)]})
    assert rows(AveragePrice().clear(market), market) == [("sam", "ann", 2, 5), ("tom", "ann", 1, 6)]


def test_an_unknown_arrival_is_refused(street):
    with pytest.raises(ProblemError, match="arrivals: got eve, wanted a peer"):
        AveragePrice(arrivals={"eve": 1.0}).clear(street)
