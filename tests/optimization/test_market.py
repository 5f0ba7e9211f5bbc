"""What exists as a market is consistent; what is not is refused with where, what was got and what was wanted."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from optimization.community import MAX_MTUS
from optimization.errors import ProblemError
from optimization.market import LARGEST, Limit, Market

MakeMarket = Callable[..., Market]

TWO: Mapping[str, Any] = {"ann": [(0, 5, -10, 1.0)], "sam": [(-5, 0, -4, 0.5)]}


def with_assets(market: Market, **changes: Any) -> Market:
    return replace(market, assets=replace(market.assets, **changes))


def with_links(market: Market, **changes: Any) -> Market:
    return replace(market, links=replace(market.links, **changes))


def with_storages(market: Market, **changes: Any) -> Market:
    return replace(market, storages=replace(market.stores, **changes))


@pytest.fixture
def market(make_market: MakeMarket) -> Market:
    return make_market(TWO, storages={"sam/battery": {}}, limits=[("feeder", ["ann", "sam"], -3, 3)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peers": ()}, r"market\.peers: got none"),
        ({"peers": ("ann", "ann")}, r"peer ann: got 2 times, wanted once"),
        ({"mtus": 0}, r"market\.mtus: got 0, wanted 1 to"),
        ({"mtus": MAX_MTUS + 1}, rf"market\.mtus: got {MAX_MTUS + 1}, wanted 1 to {MAX_MTUS}"),
        ({"hours": 0.0}, r"market\.hours: got 0\.0"),
        ({"hours": 25.0}, r"market\.hours: got 25\.0"),
        ({"hours": float("nan")}, r"market\.hours: got nan"),
        ({"import_price": np.full((2, 1), np.nan)}, r"import_price\[0, 0\]: got nan"),
        ({"import_price": np.full((2, 1), -np.inf)}, r"import_price\[0, 0\]: got -inf"),
        ({"export_price": np.full((2, 1), np.inf)}, r"export_price\[0, 0\]: got inf"),
        ({"import_price": np.zeros((3, 1))}, r"import_price: got shape \(3, 1\), wanted \(2, 1\)"),
    ],
)
def test_a_market_out_of_range_is_refused(market: Market, changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        replace(market, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lower": [[6.0], [-5.0]]}, r"asset ann/asset 0: got lower bound 6\.0 above upper bound 5\.0 in MTU 0"),
        ({"upper": [[np.nan], [0.0]]}, r"assets\.upper\[0, 0\]: got nan"),
        ({"upper": [[np.inf], [0.0]]}, r"assets\.upper\[0, 0\]: got inf"),
        ({"lower": [[-2 * LARGEST], [-5.0]]}, r"assets\.lower\[0, 0\]: got -2000000000\.0, wanted -1e\+09 to 1e\+09"),
        ({"slope": [[0.0], [np.nan]]}, r"assets\.slope\[1, 0\]: got nan"),
        ({"curvature": [[0.0], [-0.1]]}, r"assets\.curvature\[1, 0\]: got -0\.1, wanted 0 to"),
        ({"lower": np.zeros((2, 3))}, r"assets\.lower: got shape \(2, 3\), wanted \(2, 1\)"),
        ({"names": ("only",)}, r"assets\.names: got 1, wanted 2"),
        ({"peer": np.array([0, 0]), "names": ("pv", "pv")}, r"asset ann/pv: got 2 times"),
        ({"peer": np.array([0, 2])}, r"assets\.peer\[1\]: got 2, wanted 0 to 1"),
        ({"peer": np.array([0.0, 1.0])}, r"assets\.peer: got float64 of shape \(2,\), wanted a vector of integers"),
        ({"piece_asset": np.array([0, -1])}, r"assets\.piece_asset\[1\]: got -1"),
    ],
)
def test_assets_without_sense_are_refused(market: Market, changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        with_assets(market, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seller": np.array([0, 1]), "buyer": np.array([0, 0])}, r"link ann: got a link to itself"),
        ({"seller": np.array([0, 0]), "buyer": np.array([1, 1])}, r"link ann -> sam: got it more than once"),
        ({"buyer": np.array([1])}, r"links\.buyer: got 1, wanted 2, one for each seller"),
        ({"buyer": np.array([1, 2])}, r"links\.buyer\[1\]: got 2, wanted 0 to 1"),
        ({"network_charge": np.array([-0.01, 0.0])}, r"links\.network_charge\[0\]: got -0\.01"),
        ({"seller_preference": np.array([0.0, np.nan])}, r"links\.seller_preference\[1\]: got nan"),
        ({"buyer_preference": np.array([np.inf, 0.0])}, r"links\.buyer_preference\[0\]: got inf"),
        ({"capacity": np.array([-1.0, 0.0])}, r"links\.capacity\[0\]: got -1\.0, wanted 0 to 1e\+09 or inf"),
        ({"capacity": np.zeros(3)}, r"links\.capacity: got shape \(3,\), wanted \(2,\)"),
    ],
)
def test_links_without_sense_are_refused(market: Market, changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        with_links(market, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lower": [[11.0]]}, r"storage sam/battery: got least energy 11\.0 above most 10\.0 in MTU 0"),
        ({"charge_efficiency": [0.0]}, r"storages\.charge_efficiency\[0\]: got 0\.0, wanted 0\.01 to 1"),
        ({"discharge_efficiency": [1.1]}, r"storages\.discharge_efficiency\[0\]: got 1\.1"),
        ({"max_charge": [-1.0]}, r"storages\.max_charge\[0\]: got -1\.0"),
        ({"cycle_cost": [-0.1]}, r"storages\.cycle_cost\[0\]: got -0\.1"),
        ({"initial": [np.nan]}, r"storages\.initial\[0\]: got nan"),
        ({"peer": np.array([5])}, r"storages\.peer\[0\]: got 5"),
        ({"names": ()}, r"storages\.names: got 0, wanted 1"),
    ],
)
def test_storages_without_sense_are_refused(market: Market, changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        with_storages(market, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lower": np.array([4.0])}, r"limit feeder: got lower 4\.0 above upper 3\.0 in MTU 0"),
        ({"members": np.array([0, 0])}, r"limit feeder\.members: got a peer more than once"),
        ({"members": np.array([2])}, r"limit feeder\.members\[0\]: got 2"),
        ({"upper": np.array([np.nan])}, r"limit feeder\.upper\[0\]: got nan"),
        ({"upper": np.array([-np.inf])}, r"limit feeder\.upper\[0\]: got -inf"),
        ({"upper": np.zeros(2)}, r"limit feeder\.upper: got shape \(2,\), wanted \(1,\)"),
    ],
)
def test_limits_without_sense_are_refused(market: Market, changes: Mapping[str, Any], message: str) -> None:
    limit: Limit = market.limits[0]
    with pytest.raises(ProblemError, match=message):
        replace(market, limits=(replace(limit, **changes),))


def test_bounds_that_meet_and_numbers_as_large_as_may_be_are_a_market(make_market: MakeMarket) -> None:
    market = make_market(
        {"ann": [(2, 2, -LARGEST, LARGEST)], "sam": [(-LARGEST, LARGEST, LARGEST)]},
        links=[("sam", "ann", 0.0, 0.0)],
        limits=[("open", ["ann"], -np.inf, np.inf), ("nobody", [], 0, 0)],
        storages={"ann/full": {"lower": 10.0}},
        mtus=MAX_MTUS,
    )
    assert market.assets.lower.shape == (2, MAX_MTUS)
    assert market.limits[1].members.size == 0


def test_values_are_copied_and_cannot_be_written(market: Market) -> None:
    mine = np.array([[5.0], [0.0]])
    changed = with_assets(market, upper=mine)
    mine[0, 0] = 7.0
    assert changed.assets.upper[0, 0] == 5.0
    with pytest.raises(ValueError, match="read-only"):
        changed.assets.upper[0, 0] = 7.0


def test_a_link_costs_what_both_sides_feel_and_the_network_charge(market: Market) -> None:
    costs = [np.array([0.01, 0.0]), np.array([0.02, 0.0]), np.array([0.04, 0.0])]
    links = with_links(market, seller_preference=costs[0], buyer_preference=costs[1], network_charge=costs[2]).links
    assert links.cost == pytest.approx([0.07, 0.0])


@pytest.mark.parametrize("capacity", [np.inf, 100.0])
@pytest.mark.parametrize("cost", [0.05, 0.11])
def test_only_a_free_way_from_grid_to_grid_at_a_profit_is_free_money(
    make_market: MakeMarket, cost: float, capacity: float
) -> None:
    def build() -> Market:
        return make_market(
            {"ann": [(0, 1, 0)], "mid": [(0, 1, 0)], "sam": [(0, 1, 0)]},
            links=[("ann", "mid", cost, np.inf), ("mid", "sam", cost, capacity)],
            import_price={"ann": 0.1},
            export_price={"sam": 0.3},
        )

    if cost < 0.1 and np.isinf(capacity):
        with pytest.raises(ProblemError, match=r"peer sam, MTU 0: got export price 0\.3 above 0\.2"):
            build()
    else:
        assert build().links.size == 2


def test_free_money_in_a_later_mtu_is_found(make_market: MakeMarket) -> None:
    with pytest.raises(ProblemError, match="peer ann, MTU 1: got export price"):
        make_market({"ann": [(0, 1, 0)]}, links=[], import_price=[0.2, 0.2], export_price=[0.2, 0.21], mtus=2)
