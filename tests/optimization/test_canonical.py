"""A market sorted by name is the same whatever order its parts came in, and answers find their way back."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.canonical import canonical
from optimization.market import Limit, Market
from optimization.market_clearing import MarketClearing
from tests.optimization.shuffled_market import Shuffled


def assert_same(one: Any, other: Any) -> None:
    if is_dataclass(one):
        for f in fields(one):
            assert_same(getattr(one, f.name), getattr(other, f.name))
    elif isinstance(one, tuple) and one and isinstance(one[0], Limit):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        np.testing.assert_array_equal(one, other)


def numbered(market: Market) -> MarketClearing:
    """A clearing of which no two numbers are equal."""
    zeros = MarketClearing.zeros(market)
    tables = [f.name for f in fields(zeros) if f.name != "iterations"]
    return replace(
        zeros,
        **{
            name: 1000.0 * k + np.arange(getattr(zeros, name).size).reshape(getattr(zeros, name).shape)
            for k, name in enumerate(tables)
        },
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_no_order_of_its_parts_changes_the_sorted_market(
    markets: Callable[..., st.SearchStrategy[Market]], data: Any, seed: int
) -> None:
    market = data.draw(markets())
    assert_same(canonical(market).market, canonical(Shuffled(market, seed).market).market)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_an_answer_comes_back_as_it_went(
    markets: Callable[..., st.SearchStrategy[Market]], data: Any, seed: int
) -> None:
    market = Shuffled(data.draw(markets()), seed).market
    ordered = canonical(market)
    clearing = numbered(market)
    assert_same(ordered.restored(ordered.sorted(clearing)), clearing)


def test_names_decide_and_answers_go_where_their_names_are(make_market: Callable[..., Market]) -> None:
    market = make_market(
        {"zoe": [(0, 3, -1.0)], "ann": [(-2, 0, -2.0)]},
        links=[("zoe", "ann", 0.3), ("ann", "zoe", 0.1)],
        import_price={"zoe": 5.0},
        limits=[("roof", ["zoe"], -1, 1), ("feeder", ["zoe", "ann"], -2, 2)],
        storages={"zoe/b": {"initial": 1.0}, "zoe/a": {"initial": 2.0}, "ann/c": {"initial": 3.0}},
    )
    ordered = canonical(market)
    assert ordered.market.peers == ("ann", "zoe")
    assert ordered.market.assets.upper.ravel() == pytest.approx([0, 3])
    assert ordered.market.links.cost == pytest.approx([0.1, 0.3])
    assert ordered.market.import_price.ravel().tolist() == [np.inf, 5.0]
    assert [limit.name for limit in ordered.market.limits] == ["feeder", "roof"]
    assert ordered.market.limits[0].members.tolist() == [0, 1]
    assert ordered.market.limits[1].members.tolist() == [1]
    assert ordered.market.stores.names == ("c", "a", "b")
    assert ordered.market.stores.initial.tolist() == [3.0, 2.0, 1.0]
    back = ordered.restored(replace(MarketClearing.zeros(ordered.market), price=np.array([[1.0], [2.0]])))
    assert back.price.ravel().tolist() == [2.0, 1.0]
