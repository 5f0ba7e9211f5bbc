import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimization.markets.double_auction import DoubleAuction, clear_uniform_price
from optimization.markets.orders import Orders
from optimization.markets.pool import Pool
from optimization.markets.protocol import DesignOutcome
from optimization.reference.market import solve


def orders(*rows):
    """(price, quantity) of peers 0, 1, ..."""
    prices, quantities = zip(*rows, strict=True) if rows else ((), ())
    return Orders(
        peer=np.arange(len(rows)), quantity=np.array(quantities, dtype=np.int64), price=np.array(prices, dtype=np.int64)
    )


def trades_of(outcome, market):
    trades = outcome.trades
    return {
        (market.peers[s], market.peers[b]): (pytest.approx(power), pytest.approx(price))
        for s, b, power, price in zip(trades.seller, trades.buyer, trades.power, trades.price, strict=True)
        if s >= 0 and b >= 0
    }


def test_the_last_bid_and_offer_that_meet_set_the_price():
    # Bids 20, 10, 3, 3, 1 and offers 5, 10, 15, 16, 17 of one each: two trades, the last pair at 10.
    result = clear_uniform_price(
        orders((1, 1), (3, 1), (20, 1), (10, 1), (3, 1)), orders((17, 1), (15, 1), (5, 1), (10, 1), (16, 1))
    )
    assert result.bought.tolist() == [0, 0, 1, 1, 0]
    assert result.sold.tolist() == [0, 0, 1, 1, 0]
    assert (result.lowest, result.highest) == (10, 10)


def test_orders_left_out_narrow_the_prices():
    # Whole trade of one at 10 against 4; a bid of 6 and an offer of 9 left out would better any price outside 6 to 9.
    result = clear_uniform_price(orders((10, 1), (6, 1)), orders((4, 1), (9, 1)))
    assert (result.lowest, result.highest) == (6, 9)


def test_a_partly_accepted_order_sets_the_price():
    result = clear_uniform_price(orders((10, 3)), orders((4, 1), (5, 9)))
    assert (result.sold.tolist(), result.lowest, result.highest) == ([1, 2], 5, 5)


def test_tied_orders_are_accepted_pro_rata():
    result = clear_uniform_price(orders((10, 30), (10, 10), (9, 5)), orders((10, 20)))
    assert result.bought.tolist() == [15, 5, 0]
    assert clear_uniform_price(orders((10, 1), (10, 1), (10, 1)), orders((4, 2))).bought.tolist() == [1, 1, 0]


@pytest.mark.parametrize(("bids", "offers"), [([], []), ([(1, 1)], []), ([], [(1, 1)]), ([(1, 5)], [(2, 5)])], ids=str)
def test_nothing_has_no_price(bids, offers):
    result = clear_uniform_price(orders(*bids), orders(*offers))
    assert result.lowest is None
    assert result.highest is None
    assert not result.bought.any()
    assert not result.sold.any()


sides = st.lists(st.tuples(st.integers(-3, 6), st.integers(1, 5)), max_size=6)


@given(bids=sides, offers=sides)
def test_the_kernel_agrees_with_matching_one_by_one(bids, offers):
    result = clear_uniform_price(orders(*bids), orders(*offers))
    buying = sorted((p for p, q in bids for _ in range(q)), reverse=True)
    selling = sorted(p for p, q in offers for _ in range(q))
    volume = sum(bid >= ask for bid, ask in zip(buying, selling, strict=False))
    assert result.bought.sum() == result.sold.sum() == volume
    if volume:
        assert result.lowest == max([selling[volume - 1], *buying[volume : volume + 1]])
        assert result.highest == min([buying[volume - 1], *selling[volume : volume + 1]])
        for accepted, side, better in ((result.bought, bids, 1), (result.sold, offers, -1)):
            for (p, q), taken in zip(side, accepted, strict=True):
                price = (result.highest, result.lowest)[better < 0]
                assert taken == q if better * p > better * price else taken <= q
                assert better * p >= better * price or taken == 0


def test_a_pair_meets_in_the_middle_of_its_limits(make_market):
    market = make_market({"ann": [(0, 1, -10.0)], "sam": [(-1, 0, -4.0)]})
    outcome = DoubleAuction().clear(market)
    assert trades_of(outcome, market) == {("sam", "ann"): (1, 7)}
    # Worth 10, cost 4: welfare 6, shared alike.
    assert outcome.uniform_price == (7.0,)
    assert outcome.objective == pytest.approx(-6)
    assert outcome.peer_cost.ravel().tolist() == pytest.approx([-3, -3])


def test_fees_come_on_top_for_both_sides(make_market):
    # Limits 10 - 1 and 4 + 1 meet at 7: ann pays 8, sam gets 6, the DSO 2.
    outcome = DoubleAuction(fee=1.0).clear(make_market({"ann": [(0, 1, -10.0)], "sam": [(-1, 0, -4.0)]}))
    assert outcome.payments.ravel().tolist() == pytest.approx([8, -6])
    assert outcome.fees.ravel().tolist() == pytest.approx([1, 1])
    assert outcome.objective == pytest.approx(-4)
    assert DoubleAuction(fee=3.1).clear(make_market({"ann": [(0, 1, -10.0)], "sam": [(-1, 0, -4.0)]})).objective == 0


def test_who_must_run_without_grid_comes_first_and_what_is_missing_is_named(make_market):
    peers = {"ann": [(2, 2, 0.0)], "ben": [(0, 2, -10.0)], "sam": [(-3, 0, -4.0)]}
    outcome = DoubleAuction().clear(make_market(peers))
    assert outcome.piece.ravel() == pytest.approx([2, 1, -3])
    assert outcome.uniform_price == (10.0,)
    scarce = DoubleAuction().clear(make_market(peers | {"ann": [(5, 5, 0.0)]}))
    assert [(u.what, u.mtu, u.amount) for u in scarce.unserved] == [("peer ann", 0, pytest.approx(2))]
    assert not scarce.feasible


def test_the_rest_goes_to_the_grid(make_market):
    # 3 kW must run, 2 kW of sun: both trade between 0.10 and 0.30, the price is what the third kW costs.
    market = make_market({"ann": [(3, 3, 0.0)], "sam": [(-2, -2, 0.0)]}, import_price=0.3, export_price=0.1)
    outcome = DoubleAuction().clear(market)
    assert outcome.uniform_price == (pytest.approx(0.3),)
    assert outcome.imported.ravel() == pytest.approx([1, 0])
    assert outcome.objective == pytest.approx(0.3)
    assert outcome.volume(market) == pytest.approx(2)


def test_all_equal_prices_trade_at_that_price(make_market):
    market = make_market({n: [(0, 1, -5.0)] for n in "abc"} | {n: [(-1, 0, -5.0)] for n in "xy"})
    outcome = DoubleAuction().clear(market)
    assert outcome.uniform_price == (5.0,)
    assert outcome.piece.ravel() == pytest.approx([2 / 3, 2 / 3, 2 / 3, -1, -1], abs=1e-8)


def test_limits_on_sums_are_listed_where_exceeded(make_market):
    peers = {"ann": [(0, 3, -10.0)], "ben": [(0, 3, -10.0)], "sam": [(-6, 0, -4.0)]}
    outcome = DoubleAuction().clear(make_market(peers, limits=[("street", ["ann", "ben"], -5, 5)]))
    assert [(v.what, v.mtu, v.amount) for v in outcome.violations] == [("limit street", 0, pytest.approx(1))]


def test_idle_storages_that_should_have_filled_are_listed(make_market):
    market = make_market(
        {"ann": []}, links=(), storages={"ann/tank": {"initial": 1.0, "lower": [0, 4]}}, mtus=2, import_price=1.0
    )
    (exceeded,) = DoubleAuction().clear(market).violations
    assert (exceeded.what, exceeded.mtu, exceeded.amount) == ("storage ann/tank", 1, pytest.approx(-3))


@pytest.mark.parametrize("fee", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(12))
def test_with_linear_costs_and_one_tariff_the_auction_is_worth_what_the_pool_is(make_market, seed, fee):
    random = np.random.default_rng(seed)
    peers = {
        f"p{n}": [(-random.integers(0, 5), random.integers(0, 5), -random.integers(0, 20) / 2) for _ in range(2)]
        for n in range(5)
    }
    market = make_market(peers, import_price=9.0, export_price=1.0)
    pool = Pool(solve=solve, trading_fee=fee).clear(market)
    assert isinstance(pool, DesignOutcome)
    assert DoubleAuction(fee=fee).clear(market).objective == pytest.approx(pool.objective, abs=1e-6)
