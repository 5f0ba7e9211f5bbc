import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimization.errors import ProblemError
from optimization.markets.orders import NANO, PRICE_TAKER, books, shared
from optimization.markets.positions import positions


def book_of(market, **options):
    (book,) = books(positions(market), **options)
    return book


def listed(book, side):
    orders = getattr(book, side)
    return [
        (int(n), round(int(q) * book.quantum, 9), p if abs(p) == PRICE_TAKER else p / NANO)
        for n, q, p in zip(orders.peer, orders.quantity.tolist(), orders.price.tolist(), strict=True)
    ]


def test_a_linear_piece_is_one_order(make_market):
    book = book_of(make_market({"ann": [(0, 2, -0.3)], "ben": [(-4, 0, -0.1)]}))
    assert listed(book, "bids") == [(0, 2, 0.3)]
    assert listed(book, "offers") == [(1, 4, 0.1)]


def test_a_quadratic_piece_is_cut_where_trades_are_possible(make_market):
    # Bids from 8 down, offers from 4 up: 4 kW of each, in two steps at 7 and 5; two more beyond.
    book = book_of(make_market({"load": [(0, 6, -8.0, 1.0)], "gen": [(-8, 0, -4.0, 1.0)]}), steps=2)
    assert listed(book, "bids") == [(0, 2, 7), (0, 2, 5), (0, 1, 3.5), (0, 1, 2.5)]
    assert listed(book, "offers") == [(1, 2, 5), (1, 2, 7), (1, 2, 9), (1, 2, 11)]


def test_what_must_run_is_bid_at_the_grids_price_and_at_any_without_grid(make_market):
    peers = {"ann": [(3, 3, 0.0)], "ben": [(3, 3, 0.0)], "cleo": [(-1, -1, 0.0)]}
    book = book_of(make_market(peers, import_price={"ann": 0.3}))
    assert listed(book, "bids") == [(0, 3, 0.3), (1, 3, PRICE_TAKER)]
    assert listed(book, "offers") == [(2, 1, -PRICE_TAKER)]


def test_nobody_bids_above_or_asks_below_the_grid(make_market):
    book = book_of(make_market({"ann": [(0, 1, -9.0)], "ben": [(-1, 0, 0.0)]}, import_price=0.3, export_price=0.1))
    assert listed(book, "bids") == [(0, 1, 0.3)]
    assert listed(book, "offers") == [(1, 1, 0.1)]


def test_a_peer_serves_itself_before_it_orders(make_market):
    # 3 kW must run against 5 kW of plant at 0.05: 2 kW are left to sell. At 0.40 it rather buys at the grid's 0.30.
    cheap = book_of(make_market({"ann": [(3, 3, 0.0), (-5, 0, -0.05)]}, links=(), import_price=0.3))
    assert (listed(cheap, "bids"), listed(cheap, "offers")) == ([(0, 3, 0.05)], [(0, 2, 0.05)])
    dear = book_of(make_market({"ann": [(3, 3, 0.0), (-5, 0, -0.4)]}, links=(), import_price=0.3))
    assert (listed(dear, "bids"), listed(dear, "offers")) == ([(0, 3, 0.3)], [(0, 2, 0.4)])


def test_fees_are_left_room_for(make_market):
    market = make_market({"ann": [(0, 2, -0.3)], "ben": [(-4, 0, -0.1)]})
    book = book_of(market, buyer_fee=0.01, seller_fee=0.02)
    assert listed(book, "bids") == [(0, 2, 0.29)]
    assert listed(book, "offers") == [(1, 4, 0.12)]


def test_limits_of_one_peer_bound_its_orders(make_market):
    peers = {"ann": [(0, 4, -0.3)], "ben": [(-4, 0, -0.1)]}
    book = book_of(make_market(peers, limits=[("a", ["ann"], -np.inf, 1.5), ("b", ["ben"], -2.5, np.inf)]))
    assert listed(book, "bids") == [(0, 1.5, 0.3)]
    assert listed(book, "offers") == [(1, 2.5, 0.1)]


def test_nothing_wanted_is_no_order(make_market):
    book = book_of(make_market({"ann": [(0, 0, -0.3)], "ben": []}))
    assert not book.bids.size
    assert not book.offers.size
    assert (book.floor, book.ceiling) == (0, 0)


def test_large_powers_coarsen_the_quantum_by_powers_of_ten(make_market):
    assert book_of(make_market({"ann": [(0, 5e5, -1.0)]}, links=())).quantum == pytest.approx(1e-9)
    assert book_of(make_market({"ann": [(0, 9e8, -1.0)]}, links=())).quantum == pytest.approx(1e-6)


@pytest.mark.parametrize("options", [{"steps": 0}, {"buyer_fee": -0.1}, {"seller_fee": float("nan")}])
def test_impossible_options_are_refused(make_market, options):
    with pytest.raises(ProblemError, match=f"{next(iter(options))}: got"):
        book_of(make_market({"ann": []}, links=()), **options)


@given(quantities=st.lists(st.integers(1, 10**15), min_size=1, max_size=6), share=st.fractions(0, 1))
def test_shares_are_within_one_of_proportion_and_sum_to_the_total(quantities, share):
    total = int(share * sum(quantities))
    shares = shared(total, quantities)
    assert sum(shares) == total
    for got, quantity in zip(shares, quantities, strict=True):
        assert abs(got * sum(quantities) - total * quantity) < sum(quantities)
        assert 0 <= got <= quantity


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 5))
def test_the_orders_of_a_peer_span_its_whole_curve_best_first(random_market, seed, steps):
    curves = positions(random_market(seed, peers=3, limits=True, grid=True))
    (book,) = books(curves, steps=steps)
    for orders, reach, sign in ((book.bids, curves.upper, 1), (book.offers, -curves.lower, -1)):
        for n in range(3):
            own = orders.peer == n
            assert orders.quantity[own].sum() * book.quantum == pytest.approx(max(0.0, reach[n, 0]), abs=1e-8)
            assert (np.diff(orders.price[own]) * sign < 0).all()
