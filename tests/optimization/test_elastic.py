"""The least that has to give, by hand; markets that can be cleared give nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.elastic import Elastic, ElasticAnswer, consumption_bounds
from optimization.market import Market

MakeMarket = Callable[..., Market]


def gives(market: Market, window: Sequence[int] | None = None) -> ElasticAnswer:
    answer = Elastic.of(market).solve(np.arange(market.mtus) if window is None else np.array(window), 10.0)
    assert answer is not None
    return answer


def test_who_must_consume_more_than_there_is_consumes_less(make_market: MakeMarket) -> None:
    answer = gives(make_market({"ann": [(3, 5, 0)], "sam": [(-2, 0, 0)]}))
    assert answer.peer.ravel() == pytest.approx([1.0, 0.0])


def test_who_must_produce_more_than_is_taken_produces_less(make_market: MakeMarket) -> None:
    answer = gives(make_market({"ann": [(0, 1, 0)], "sam": [(-5, -4, 0)]}))
    assert answer.peer.ravel() == pytest.approx([0.0, -3.0])


@pytest.mark.parametrize(("links", "capacity"), [([], np.inf), ([("sam", "ann")], 0.0), ([("ann", "sam")], np.inf)])
def test_power_that_cannot_get_there_is_none(make_market: MakeMarket, links: Any, capacity: float) -> None:
    market = make_market({"ann": [(3, 3, 0)], "sam": [(-9, 0, 0)]}, links=links, link_capacity=capacity)
    assert gives(market).peer.ravel() == pytest.approx([3.0, 0.0])


def test_a_capacity_brings_what_it_can(make_market: MakeMarket) -> None:
    market = make_market({"ann": [(3, 3, 0)], "sam": [(-9, 0, 0)]}, link_capacity=1.25)
    assert gives(market).peer.ravel() == pytest.approx([1.75, 0.0])


def test_a_limit_is_named_before_a_peer(make_market: MakeMarket) -> None:
    market = make_market({"ann": [(3, 3, 0)], "sam": [(-9, 0, 0)]}, limits=[("roof", ["ann"], -np.inf, 2.0)])
    answer = gives(market)
    assert answer.limit.ravel() == pytest.approx([1.0])
    assert answer.peer.ravel() == pytest.approx([0.0, 0.0], abs=1e-7)


def test_a_storage_that_cannot_be_filled_misses_its_energy(make_market: MakeMarket) -> None:
    # 2 kWh in half an hour at 1 kW and 90 %: 0.45 kWh.
    market = make_market(
        {"ann": [(-9, 0, 0)]},
        links=[],
        hours=0.5,
        storages={"ann/b": {"max_charge": 1.0, "charge_efficiency": 0.9, "lower": 2.0}},
    )
    answer = gives(market)
    assert answer.storage.ravel() == pytest.approx([1.55])
    assert answer.peer.ravel() == pytest.approx([0.0], abs=1e-7)


def test_only_the_mtus_asked_for_are_looked_at(make_market: MakeMarket) -> None:
    market = make_market({"ann": [([1, 3, 4], 9, 0)], "sam": [(-2, 0, 0)]}, mtus=3)
    assert Elastic.of(market).solve(np.array([0]), 10.0) is None
    assert gives(market, [1, 2]).peer[0] == pytest.approx([1.0, 2.0])


def test_the_grid_serves_without_a_bound(make_market: MakeMarket) -> None:
    market = make_market({"ann": [(3, 5, 0)], "sam": [(-2, 0, 0)]}, import_price={"sam": 1.0})
    assert Elastic.of(market).solve(np.array([0]), 10.0) is None


def test_where_nothing_can_move_nothing_has_to(make_market: MakeMarket) -> None:
    assert Elastic.of(make_market({"ann": [(0, 0, 1.0)]})).solve(np.array([0]), 1.0) is None


def test_pieces_of_a_peer_add_up(make_market: MakeMarket) -> None:
    lower, upper = consumption_bounds(make_market({"ann": [(-1, 2, 0), (3, 4, 0)], "sam": []}))
    assert lower.ravel().tolist() == [2.0, 0.0]
    assert upper.ravel().tolist() == [6.0, 0.0]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_can_be_cleared_gives_nothing(markets: Callable[..., Any], data: Any) -> None:
    market = data.draw(markets())
    assert Elastic.of(market).solve(np.arange(market.mtus), 10.0) is None
