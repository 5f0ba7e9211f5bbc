"""The prices of the reference's answers, and answers that repeat."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.clearing import Clearing, Infeasible
from optimization.community import Community
from optimization.reference.dispatch import dispatch
from tests.optimization.reference.by_hand import solved
from tests.scale import examples

PRICE_TOLERANCE = 1e-7


def assert_prices_support(community: Community, clearing: Clearing) -> None:
    """Dual feasibility and complementary slackness of every balance: the prices are those of the trades."""
    tariff, price = community.tariff, clearing.price
    row = {peer.id: n for n, peer in enumerate(community.peers)}
    assert (price <= tariff.import_price + PRICE_TOLERANCE).all()
    assert (price >= tariff.export_price - PRICE_TOLERANCE).all()
    traded = 1e-6
    margin = {"import": tariff.import_price - price, "export": price - tariff.export_price}
    assert np.abs(margin["import"][clearing.import_kwh > traded]).max(initial=0.0) < PRICE_TOLERANCE
    assert np.abs(margin["export"][clearing.export_kwh > traded]).max(initial=0.0) < PRICE_TOLERANCE
    for k, one in enumerate(community.links):
        rest = one.cost - (price[row[one.buyer]] - price[row[one.seller]])
        assert (rest >= -PRICE_TOLERANCE).all()
        assert np.abs(rest[clearing.trade_kwh[k] > traded]).max(initial=0.0) < PRICE_TOLERANCE


def assert_dispatch_keeps_its_word(community: Community, order: list[int]) -> None:
    outcome = dispatch(community, gap=0.0)
    reordered = Community(
        horizon=community.horizon,
        tariff=community.tariff,
        peers=tuple(community.peers[k] for k in order),
        links=community.links[::-1],
        envelopes=community.envelopes,
    )
    if isinstance(outcome, Infeasible):
        assert isinstance(dispatch(reordered, gap=0.0), Infeasible)
        return
    clearing, again = solved(community), solved(community)
    for name in ("trade_kwh", "import_kwh", "export_kwh", "price"):
        assert getattr(clearing, name).tobytes() == getattr(again, name).tobytes()
    assert clearing.objective == again.objective
    assert solved(reordered).objective == pytest.approx(clearing.objective, abs=1e-6)
    assert_prices_support(community, clearing)


COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(COMMON, max_examples=5)
@given(data=st.data())
def test_prices_support_the_trades_and_answers_repeat(data: Any, communities: Any) -> None:
    community = data.draw(communities(appliances=True))
    order = data.draw(st.permutations(range(len(community.peers))))
    assert_dispatch_keeps_its_word(community, order)


@pytest.mark.slow
@settings(COMMON, max_examples=examples(20, full=60))
@given(data=st.data())
def test_prices_support_the_trades_and_answers_repeat_in_larger_communities(data: Any, communities: Any) -> None:
    community = data.draw(communities(appliances=True, max_peers=6, max_mtus=6))
    order = data.draw(st.permutations(range(len(community.peers))))
    assert_dispatch_keeps_its_word(community, order)
