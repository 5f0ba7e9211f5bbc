"""Whole Wh conserve what they round, and opposite trades cancel."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controller.case.reading import read_case
from controller.case.trading import netted, rows_of, whole_wh
from optimization.market import Links


def links_of(*pairs: tuple[int, int]) -> Links:
    seller, buyer = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    zero = np.zeros(len(pairs))
    return Links(
        seller=seller,
        buyer=buyer,
        seller_preference=zero,
        buyer_preference=zero,
        network_charge=zero,
        capacity=zero + np.inf,
    )


def test_opposite_trades_of_two_peers_cancel() -> None:
    links = links_of((0, 1), (2, 0), (1, 0), (1, 2))
    trade = np.array([[5.0, 1.0], [3.0, 3.0], [2.0, 4.0], [0.0, 7.0]])
    np.testing.assert_array_equal(netted(links, trade), [[3, 0], [3, 3], [0, 3], [0, 7]])


def test_a_market_without_links_has_nothing_to_cancel() -> None:
    assert netted(links_of(), np.zeros((0, 2))).shape == (0, 2)


def test_remainders_are_carried_from_mtu_to_mtu() -> None:
    # 0.125 kW for a quarter of an hour are 31.25 Wh.
    np.testing.assert_array_equal(whole_wh(np.full((1, 4), 0.03125)), [[31, 32, 31, 31]])


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=20))
def test_whole_wh_are_never_more_than_a_wh_off_in_sum(powers: list[float]) -> None:
    energy = np.array([powers]) / 1000
    whole = whole_wh(energy)
    assert (whole >= 0).all()
    np.testing.assert_allclose(np.cumsum(whole[0]), np.cumsum(powers), rtol=1e-12, atol=0.51)


def test_energies_beyond_all_grids_are_rounded_too() -> None:
    np.testing.assert_array_equal(whole_wh(np.array([[1e15]])), [[10**18]])


def test_a_trade_that_comes_to_nothing_is_not_listed(write: Callable[[Any], Path], two: dict[str, Any]) -> None:
    case = read_case(str(write(two)), None)
    price = np.full((2, 1), 6.0)
    links = links_of((1, 0))
    # Beside bounds of 60 kW 30 microwatts are a solver's noise, even where nothing else is traded.
    assert rows_of(case, links, np.array([[3e-8]]), price) == ()
    (row,) = rows_of(case, links, np.array([[1e-4]]), price)
    assert (row.power, row.energy_wh, row.price) == (1e-4, 0, 6)
