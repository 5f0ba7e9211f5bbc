import numpy as np
import pytest

from optimization.markets.band import band
from optimization.markets.positions import positions


def band_of(market):
    found = band(positions(market))
    return float(found.lowest[0]), float(found.highest[0])


def test_trades_lie_between_the_lowest_asked_and_the_highest_bid(make_market):
    peers = {"load": [(0, 30, -8.0, 1.0)], "gen": [(-60, 0, -4.0, 1.0)], "dear": [(-1, 0, -9.0)]}
    assert band_of(make_market(peers)) == pytest.approx((4, 8))
    assert band_of(make_market(peers, import_price=7.0, export_price=5.0)) == pytest.approx((5, 7))


def test_who_must_run_names_the_grids_price(make_market):
    market = make_market(
        {"load": [(2, 2, 0.0)], "sun": [(-2, -2, 0.0)]}, import_price={"load": 0.3}, export_price={"sun": 0.1}
    )
    assert band_of(market) == pytest.approx((0.1, 0.3))


def test_without_grid_the_band_reaches_to_who_serves_what_must_run(make_market):
    # 3 kW from 2 at 4 and 2 at 6; 5 kW are more than there is.
    plants = {"sam": [(-2, 0, -4.0)], "tom": [(-2, 0, -6.0)]}
    for load in (3, 5):
        assert band_of(make_market({"ann": [(load, load, 0.0)]} | plants)) == pytest.approx((4, 6))
    # 3 kW of sun that must go, for 2 kW worth 8 and 2 worth 5.
    loads = {"ann": [(0, 2, -8.0)], "ben": [(0, 2, -5.0)]}
    assert band_of(make_market({"sun": [(-3, -3, 0.0)]} | loads)) == pytest.approx((5, 8))


def test_a_side_that_is_empty_has_no_price(make_market):
    assert band_of(make_market({"ann": [(0, 1, -2.0)]}, links=())) == (np.inf, pytest.approx(2))
    assert band_of(make_market({"ann": []}, links=())) == (np.inf, -np.inf)
