"""Nested budgets, against the line of increments followed watt by watt; 20,000 cases with ``pytest -m campaign``."""

import os
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.clamp.sharing import PACE_BITS, Asks, share_out
from controller.clamp.situation import Scope
from controller.clamp.tree import Integers, Tree

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
Levels = tuple[tuple[tuple[int, int], ...], ...]


def one_by_one(tree: Tree, room: Integers, asks: Asks) -> tuple[list[int], list[bool]]:
    """What is granted, and which scopes had no room for an increment."""
    left, full, granted = room.tolist(), [False] * len(room), [0] * len(asks.levels)
    line = sorted(range(len(granted)), key=lambda device: asks.order[device])

    def grant(device: int, watts: int) -> bool:
        path = tree.paths[asks.home[device]]
        lacking = [scope for scope in path if left[scope] < watts]
        for scope in lacking:
            full[scope] = True
        if not lacking:
            granted[device] += watts
            for scope in path:
                left[scope] -= watts
        return not lacking

    for priority in sorted(set(asks.priority.tolist()), reverse=True):
        served = [device for device in line if asks.priority[device] == priority]
        reached = dict.fromkeys(served, -1)
        for level in range(max((len(levels) for levels in asks.levels), default=0)):
            for device in served:
                levels = asks.levels[device]
                if reached[device] == level - 1 and level < len(levels):
                    below = levels[level - 1][0] if level else 0
                    reached[device] += grant(device, levels[level][0] - below)
        watts = []
        for device in served:
            if reached[device] >= 0:
                least, most = asks.levels[device][reached[device]]
                span = most - least
                watts += [(-(-(j << PACE_BITS) // span), asks.order[device], device) for j in range(1, span + 1)]
        for _, _, device in sorted(watts):
            grant(device, 1)
    return granted, full


@st.composite
def cases(draw: Any) -> tuple[Tree, Integers, Asks]:
    size = draw(st.integers(1, 6))
    parents = [None, *(f"s{draw(st.integers(0, n - 1))}" for n in range(1, size))]
    tree = Tree.of([Scope(name=f"s{n}", parent=parent) for n, parent in enumerate(parents)])
    number = draw(st.integers(0, 6))
    asked = []
    for _ in range(number):
        ends = draw(st.lists(st.integers(0, 20), max_size=4, unique=True).map(sorted))
        pairs = tuple(zip(ends[::2], ends[1::2], strict=False))
        asked.append(tuple((most, most) for _, most in pairs) if draw(st.booleans()) else pairs)
    asks = Asks(
        home=np.array([draw(st.integers(0, size - 1)) for _ in range(number)], dtype=np.int64),
        order=np.array(draw(st.permutations(range(number))), dtype=np.int64),
        priority=np.array([draw(st.integers(0, 2)) for _ in range(number)], dtype=np.int64),
        levels=tuple(asked),
    )
    return tree, np.array([draw(st.integers(0, 60)) for _ in range(size)], dtype=np.int64), asks


@settings(max_examples=30, deadline=None)
@given(cases())
def test_shares_are_those_of_the_line_followed_watt_by_watt(case: tuple[Tree, Integers, Asks]) -> None:
    tree, room, asks = case
    granted, full = share_out(tree, room, asks)
    slow, slow_full = one_by_one(tree, room, asks)
    assert granted.tolist() == slow
    # A scope that another one kept from being asked at all is a reason to neither; the rest agree on why.
    short = [device for device, levels in enumerate(asks.levels) if levels and slow[device] < levels[-1][1]]
    for device in short:
        path = list(tree.paths[asks.home[device]])
        assert any(full[path])
        assert any(slow_full[scope] for scope in path)
    assert not (full & ~np.array(slow_full)).any()


@settings(max_examples=30, deadline=None)
@given(cases())
def test_every_budget_is_kept_and_every_grant_is_a_power_that_was_asked_for(case: tuple[Tree, Integers, Asks]) -> None:
    tree, room, asks = case
    granted, _ = share_out(tree, room, asks)
    assert (tree.totals(asks.home, granted) <= room).all()
    for power, levels in zip(granted.tolist(), asks.levels, strict=True):
        assert power == 0 or any(least <= power <= most for least, most in levels)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_nothing_that_fits_is_kept_back(case: tuple[Tree, Integers, Asks]) -> None:
    tree, room, asks = case
    granted, _ = share_out(tree, room, asks)
    left = room - tree.totals(asks.home, granted)
    for device, levels in enumerate(asks.levels):
        more = [power for least, most in levels for power in range(least, most + 1) if power > granted[device]]
        space = min(left[list(tree.paths[asks.home[device]])])
        assert not more or more[0] - granted[device] > space


@settings(max_examples=30, deadline=None)
@given(cases(), st.integers(0, 5), st.integers(1, 60))
def test_less_room_in_a_scope_never_lets_that_scope_take_more(
    case: tuple[Tree, Integers, Asks], number: int, less: int
) -> None:
    tree, room, asks = case
    scope = number % len(room)
    tighter = room.copy()
    tighter[scope] = max(0, room[scope] - less)
    loose = tree.totals(asks.home, share_out(tree, room, asks)[0])
    tight = tree.totals(asks.home, share_out(tree, tighter, asks)[0])
    assert tight[scope] <= loose[scope]


@settings(max_examples=30, deadline=None)
@given(cases(), st.integers(0, 5), st.integers(1, 60))
def test_less_room_anywhere_never_raises_the_sum_where_all_modulate(
    case: tuple[Tree, Integers, Asks], number: int, less: int
) -> None:
    tree, room, asks = case
    free = replace(asks, levels=tuple(((0, levels[-1][1]),) if levels else () for levels in asks.levels))
    tighter = room.copy()
    tighter[number % len(room)] = max(0, room[number % len(room)] - less)
    assert share_out(tree, tighter, free)[0].sum() <= share_out(tree, room, free)[0].sum()


def alone(room: int, levels: Levels, priority: tuple[int, ...] | None = None) -> list[int]:
    """Grants in one scope, the devices in their order."""
    number = len(levels)
    asks = Asks(
        home=np.zeros(number, dtype=np.int64),
        order=np.arange(number),
        priority=np.array(priority or (0,) * number, dtype=np.int64),
        levels=levels,
    )
    tree = Tree.of([Scope(name="s", parent=None)])
    granted: list[int] = share_out(tree, np.array([room], dtype=np.int64), asks)[0].tolist()
    return granted


def test_modulating_devices_keep_the_same_share_above_their_least_power() -> None:
    assert alone(6_760, (((1_380, 11_000),), ((1_380, 5_380),), ((0, 4_000),))) == [3_564, 2_288, 908]


def test_a_watt_that_cannot_be_split_goes_to_who_comes_first() -> None:
    assert alone(100, (((0, 100),), ((0, 100),), ((0, 100),))) == [34, 33, 33]


def test_a_relay_is_kept_whole_while_others_shrink_to_their_least() -> None:
    assert alone(4_500, (((3_000, 3_000),), ((1_380, 11_000),))) == [3_000, 1_500]


def test_what_does_not_fit_leaves_its_room_to_smaller_ones() -> None:
    assert alone(3_500, (((2_000, 2_000),), ((3_000, 3_000),), ((1_000, 1_000),), ((0, 900),))) == [
        2_000,
        0,
        1_000,
        500,
    ]


def test_a_device_with_several_levels_goes_down_a_level() -> None:
    assert alone(5_000, (((1_000, 1_000), (2_000, 2_000), (3_000, 3_000)),) * 2) == [3_000, 2_000]


def test_the_lowest_priority_gives_first() -> None:
    levels = (((0, 4_000),), ((3_000, 3_000),), ((0, 4_000),))
    assert alone(6_000, levels, (1, 2, 3)) == [2_000, 0, 4_000]
    assert alone(7_500, levels, (1, 2, 3)) == [500, 3_000, 4_000]


def test_the_innermost_full_scope_leaves_what_it_cannot_take_to_others() -> None:
    tree = Tree.of([Scope(name="m", parent=None), Scope(name="a", parent="m"), Scope(name="b", parent="m")])
    asks = Asks(
        home=np.array([1, 1, 2]), order=np.arange(3), priority=np.zeros(3, dtype=np.int64), levels=(((0, 900),),) * 3
    )
    granted, full = share_out(tree, np.array([1_200, 300, 10_000]), asks)
    assert granted.tolist() == [150, 150, 900]
    assert full.tolist() == [False, True, False]


@pytest.mark.parametrize("number", [1, 7, 1_000])
def test_the_largest_powers_stay_exact(number: int) -> None:
    room = number * 10**9 - 1
    assert sum(alone(room, (((0, 10**9),),) * number)) == room


def test_shares_do_not_depend_on_whole_numbers_of_devices() -> None:
    for room, spans in product((0, 1, 17, 99, 150), ((50, 50, 50), (1, 49, 100), (149, 1, 0))):
        levels = tuple(((0, span),) for span in spans)
        assert sum(alone(room, levels)) == min(room, 150, sum(spans))


@pytest.mark.campaign
@settings(max_examples=max(100, round(20_000 * SCALE)), deadline=None)
@given(cases(), st.integers(0, 5), st.integers(1, 60))
def test_all_of_it_holds_in_many_cases(case: tuple[Tree, Integers, Asks], number: int, less: int) -> None:
    test_shares_are_those_of_the_line_followed_watt_by_watt.hypothesis.inner_test(case)  # type: ignore[attr-defined]
    test_nothing_that_fits_is_kept_back.hypothesis.inner_test(case)  # type: ignore[attr-defined]
    test_less_room_in_a_scope_never_lets_that_scope_take_more.hypothesis.inner_test(  # type: ignore[attr-defined]
        case, number, less
    )
    test_less_room_anywhere_never_raises_the_sum_where_all_modulate.hypothesis.inner_test(  # type: ignore[attr-defined]
        case, number, less
    )
