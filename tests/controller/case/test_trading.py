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


def test_many_small_trades_keep_their_total() -> None:
    names = [f"p{k}" for k in range(40)]
    sides = [s for s in names for _ in names], [f"c{b}" for _ in names for b in names]
    whole = whole_wh(np.full((1600, 3), 4e-4), sides).reshape(40, 40, 3)
    # 0.4 Wh each: 16 Wh of every peer in every MTU.
    np.testing.assert_array_equal(whole.sum(axis=0), 16)
    np.testing.assert_array_equal(whole.sum(axis=1), 16)
    assert set(np.unique(whole)) == {0, 1}


def test_halves_go_up_and_down_alike_and_a_pool_passes_on_what_it_gets() -> None:
    peers = [f"p{k}" for k in range(10)]
    sides = [*peers, *["pool"] * 10], [*["pool"] * 10, *(f"c{k}" for k in range(10))]
    whole = whole_wh(np.full((20, 2), 5e-4), sides)
    np.testing.assert_array_equal(whole[:10].sum(axis=0), 5)
    np.testing.assert_array_equal(whole[10:].sum(axis=0), 5)
    # Who went without comes first in the next MTU.
    np.testing.assert_array_equal(whole.sum(axis=1), 1)


def test_a_small_trade_known_by_its_sides_is_made_up_for_later() -> None:
    whole = whole_wh(np.full((1, 10), 4e-4), (["a"], ["b"]))
    np.testing.assert_allclose(np.cumsum(whole), 0.4 * np.arange(1, 11), atol=0.51)


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcde"), st.sampled_from("vwxyz"), *[st.integers(0, 40).map(lambda tenths: tenths / 10)] * 2
    ),
    min_size=1,
    max_size=25,
)


@given(ROWS, st.randoms(use_true_random=False), st.booleans())
def test_sums_are_rounded_down_or_up_whatever_the_order(rows: list[Any], random: Any, chained: bool) -> None:
    if chained:  # buyers that also sell
        rows = [(s, "abcdef"["vwxyz".index(b)] if "vwxyz"["abcde".index(s)] != b else "f", *e) for s, b, *e in rows]
    wh = np.array([row[2:] for row in rows])
    sellers, buyers = [row[0] for row in rows], [row[1] for row in rows]
    whole = whole_wh(wh / 1000, (sellers, buyers))
    assert (whole >= 0).all()
    assert (np.abs(whole - wh) < 1).all()
    for peer in {*sellers, *buyers}:
        sold, bought = np.array([s == peer for s in sellers]), np.array([b == peer for b in buyers])
        for sign in (sold * 1, bought * 1, sold * 1 - bought):
            assert (np.abs(sign @ whole - sign @ wh) < 1 - 1e-9).all()
    if not chained:
        assert abs(whole[:, 0].sum() - wh[:, 0].sum()) < 0.5 + 1e-9
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = whole_wh(wh[order] / 1000, ([sellers[k] for k in order], [buyers[k] for k in order]))
    both = zip(sellers, buyers, wh.tolist(), whole.tolist(), strict=True)
    again = zip(
        *([column[k] for k in order] for column in (sellers, buyers, wh.tolist())), shuffled.tolist(), strict=True
    )
    assert sorted(both) == sorted(again)


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
