import pytest

from optimization.errors import ProblemError
from optimization.markets.negotiation import Negotiation


def rows(outcome, market):
    trades = outcome.trades
    return [
        (market.peers[s], market.peers[b], round(power, 9), round(price, 9))
        for s, b, power, price in zip(trades.seller, trades.buyer, trades.power, trades.price, strict=True)
        if s >= 0 and b >= 0
    ]


@pytest.fixture
def street(make_market):
    """Ann bids 10 and bob 8, for 1 kW each; sam asks 4 for 1 kW. Talks open at 4 and at 10."""

    def make(**options):
        return make_market({"ann": [(0, 1, -10.0)], "bob": [(0, 1, -8.0)], "sam": [(-1, 0, -4.0)]}, **options)

    return make


def test_the_seller_takes_the_highest_price_offered(street):
    # Of 4 rounds: ann 5.5, 7; bob 5, 6; sam 8.5, 7. In the second ann offers what sam asks.
    market = street()
    assert rows(Negotiation(rounds=4).clear(market), market) == [("sam", "ann", 1, 7)]


def test_only_linked_peers_agree(street):
    # Bob alone: 5, 6, 7 against 8.5, 7, 5.5: the third round, in the middle of 7 and 5.5.
    market = street(links=[("sam", "bob")])
    assert rows(Negotiation(rounds=4).clear(market), market) == [("sam", "bob", 1, 6.25)]


def test_a_full_link_leaves_the_rest_to_others(street):
    market = street(links=[("sam", "ann", 0.0, 0.4), ("sam", "bob")])
    assert rows(Negotiation(rounds=4).clear(market), market) == [("sam", "ann", 0.4, 7), ("sam", "bob", 0.6, 6.25)]


def test_a_preference_is_felt_and_not_paid(make_market):
    # Ann offers 2 less over a link that costs her 2: 3.5, 5, 6.5 against 8.5, 7, 5.5. Worth 10 - 4 - 2.
    market = make_market({"ann": [(0, 1, -10.0)], "sam": [(-1, 0, -4.0)]}, link_cost=2.0)
    outcome = Negotiation(rounds=4).clear(market)
    assert rows(outcome, market) == [("sam", "ann", 1, 6)]
    assert outcome.payments.ravel() == pytest.approx([6, -6])
    assert outcome.objective == pytest.approx(-4)


def test_the_buyer_takes_the_lowest_price_asked(make_market):
    # Both sellers open at 10; by the second of 4 rounds tom asks 7 and sam 8, ann offers 7.
    market = make_market({"ann": [(0, 1, -10.0)], "sam": [(-1, 0, -6.0)], "tom": [(-1, 0, -4.0)]})
    assert rows(Negotiation(rounds=4).clear(market), market) == [("tom", "ann", 1, 7)]


def test_what_is_not_agreed_in_time_goes_to_the_grid(street):
    market = street(import_price=9.0, export_price=5.0)
    agreed, late = Negotiation(rounds=4).clear(market), Negotiation(rounds=4, time_out=1).clear(market)
    assert rows(late, market) == []
    assert late.exported[2, 0] == pytest.approx(1)
    assert late.imported[0, 0] == pytest.approx(1)
    assert agreed.objective < late.objective


def test_the_last_round_stands_at_the_limits(make_market):
    market = make_market({"ann": [(0, 1, -10.0)], "sam": [(-1, 0, -4.0)]}, link_cost=6.0)
    assert rows(Negotiation(rounds=7).clear(market), market) == [("sam", "ann", 1, 4)]
    market = make_market({"ann": [(0, 1, -10.0)], "sam": [(-1, 0, -4.0)]}, link_cost=6.1)
    assert rows(Negotiation(rounds=7).clear(market), market) == []


def test_who_must_run_without_grid_pays_a_dear_link(make_market):
    market = make_market({"ann": [(1, 1, 0.0)], "sam": [(-1, 0, -4.0)]}, link_cost=6.0)
    assert not Negotiation().clear(market).unserved
    assert Negotiation().clear(make_market({"ann": [(1, 1, 0.0)], "sam": [(-1, 0, -4.0)]}, links=())).unserved


@pytest.mark.parametrize("options", [{"rounds": 0}, {"time_out": -1}, {"rounds": 3, "time_out": 4}])
def test_impossible_rounds_are_refused(options):
    with pytest.raises(ProblemError, match="got"):
        Negotiation(**options)
