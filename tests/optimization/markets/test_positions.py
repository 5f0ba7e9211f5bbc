import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimization.markets.positions import positions


def test_a_peer_consumes_until_the_next_kwh_is_worth_the_price(make_market):
    # Worth 8 - p at the p-th kW: at a price of 5 it takes 3 kW.
    curves = positions(make_market({"ann": [(0, 10, -8.0, 1.0)]}, links=()))
    assert curves.powers_at(np.array([[5.0]]), most=True) == pytest.approx(3.0)


def test_a_linear_piece_takes_all_or_nothing_and_either_where_it_ties(make_market):
    curves = positions(make_market({"ann": [(0, 2, -5.0)]}, links=()))
    for price, least, most in ((4.9, 2, 2), (5.0, 0, 2), (5.1, 0, 0)):
        assert curves.powers_at(np.array([[price]]), most=False) == least
        assert curves.powers_at(np.array([[price]]), most=True) == most


def test_a_peer_uses_its_cheapest_assets_first(make_market):
    # Must run 3, own plants of 2 kW at 0.10 and 5 kW at 0.20; it runs the first whole and 1 kW of the second.
    market = make_market({"ann": [(3, 3, 0.0), (-2, 0, -0.1), (-5, 0, -0.2)]}, links=())
    assert positions(market).powers(np.zeros((1, 1))).ravel() == pytest.approx([3, -2, -1])


def test_equal_assets_share_by_width(make_market):
    market = make_market({"ann": [(0, 3, -1.0), (0, 1, -1.0)]}, links=())
    assert positions(market).powers(np.full((1, 1), 2.0)).ravel() == pytest.approx([1.5, 0.5])


def test_a_total_out_of_reach_gives_the_nearest_bounds(make_market):
    curves = positions(make_market({"ann": [(1, 3, -1.0, 0.5)], "ben": []}, links=()))
    assert curves.powers(np.array([[9.0], [0.0]])) == pytest.approx(3)
    assert curves.powers(np.array([[-9.0], [0.0]])) == pytest.approx(1)


def test_limits_of_one_peer_narrow_its_curve_as_far_as_its_assets_follow(make_market):
    peers = {"ann": [(-5, 5, -1.0)], "ben": [(2, 5, -1.0)], "cleo": [(-5, 5, -1.0)]}
    limits = [("a", ["ann"], -1, 2), ("b", ["ben"], -np.inf, 1), ("both", ["ann", "cleo"], -1, 1)]
    curves = positions(make_market(peers, links=(), limits=limits))
    assert curves.lower.ravel().tolist() == [-1, 2, -5]
    assert curves.upper.ravel().tolist() == [2, 2, 5]


def test_beside_the_grid_a_peer_trades_only_what_pays(make_market):
    # Worth 8 - q; import at 6 pays up to q = 2, export at 1 pays down to q = 7. Between them it keeps what it has.
    market = make_market({"ann": [(0, 10, -8.0, 1.0)]}, links=(), import_price=6.0, export_price=1.0)
    curves = positions(market)
    for bought, kept in ((0.0, 2.0), (2.0, 2.0), (4.0, 4.0), (9.0, 7.0)):
        assert curves.beside_grid(np.array([[bought]])) == pytest.approx(kept)


def test_first_prices_are_those_next_to_nothing_bought_or_sold(make_market):
    peers = {"load": [(0, 30, -8.0, 1.0)], "plant": [(-60, 0, -4.0, 1.0)], "must": [(2, 5, -9.0, 1.0)], "idle": []}
    curves = positions(make_market(peers, links=()))
    assert curves.first_bids().ravel() == pytest.approx([8, -np.inf, 7, -np.inf])
    assert curves.first_offers().ravel() == pytest.approx([np.inf, 4, np.inf, np.inf])


@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1), mtus=st.integers(1, 3))
def test_no_kw_moved_between_a_peers_pieces_would_be_cheaper(random_market, seed, share, mtus):
    market = random_market(seed, peers=3, mtus=mtus)
    curves = positions(market)
    net = curves.lower + share * (curves.upper - curves.lower)
    pieces, assets = curves.powers(net), market.assets
    assert curves.net(pieces) == pytest.approx(net, abs=1e-9)
    assert (pieces >= assets.lower).all()
    assert (pieces <= assets.upper).all()
    value = -assets.slope - assets.curvature * pieces
    for n in range(3):
        own = curves.owner == n
        gain = np.where(pieces < assets.upper - 1e-9, value, -np.inf)[own].max(axis=0, initial=-np.inf)
        loss = np.where(pieces > assets.lower + 1e-9, value, np.inf)[own].min(axis=0, initial=np.inf)
        assert (gain <= loss + 1e-7).all()
