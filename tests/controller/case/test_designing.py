"""A design's outcome as a result: what is unserved, which limits are not kept, prices with fees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.case.designing import clear_design
from controller.case.reading import read_case
from controller.case.result import Result
from controller.case.solving import Options

Clear = Callable[..., Result]


@pytest.fixture
def cleared(write: Callable[[Any], Path]) -> Clear:
    """Clears a case by a design."""

    def cleared(content: dict[str, Any], design: str, *, fee: float = 0.0) -> Result:
        case = read_case(str(write(content)), None)
        return clear_design(case, design, fee_per_side=fee, link_limit=np.inf, options=Options())

    return cleared


def test_prices_of_buyers_and_sellers_lie_a_fee_of_each_apart(cleared: Clear, two: dict[str, Any]) -> None:
    result = cleared(two, "pool", fee=0.5)
    home, plant = result.price[:, 0].tolist()
    assert home - plant == pytest.approx(1.0, abs=1e-6)
    assert {row.seller for row in result.trades} == {"plant", "pool manager"}


def test_another_name_stands_for_the_manager_where_a_peer_has_it(cleared: Clear, two: dict[str, Any]) -> None:
    two["peers"][0]["id"] = "pool manager"
    two["links"] = "all pairs"
    assert {row.buyer for row in cleared(two, "pool").trades} == {"pool manager", "the pool manager"}


def test_who_is_unserved_leaves_no_objective(cleared: Clear, two: dict[str, Any]) -> None:
    assert cleared(two, "double-auction").objective is not None
    two["peers"].append({"id": "hermit", "assets": [{"p_min": -5, "p_max": -3}]})
    result = cleared(two, "negotiation")
    assert (result.status, result.objective) == ("infeasible", None)
    assert [entry["what"] for entry in result.conflict] == ["peer hermit"]


@pytest.mark.parametrize("design", ["average-price", "negotiation"])
def test_orders_of_one_pair_at_one_price_are_one_trade(cleared: Clear, two: dict[str, Any], design: str) -> None:
    # Assets of one kind whose costs rise are cut into orders that match at their common mean, 6.
    for peer in two["peers"]:
        (asset,) = peer["assets"]
        peer["assets"] = [{**asset, "name": name} for name in ("old", "new")]
    result = cleared(two, design)
    prices = [row.price for row in result.trades]
    assert len(prices) == len(set(prices)) == 1
    assert sum(row.power for row in result.trades) == pytest.approx(result.net_sold[1, 0])
