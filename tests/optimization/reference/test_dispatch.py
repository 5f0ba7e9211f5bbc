"""Answers that a person can work out by hand. An MTU is an hour, so kW and kWh read the same."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from optimization.community import Community, Link
from tests.optimization.reference.by_hand import appliance, battery, link, load, pv, solved

MakeCommunity = Callable[..., Community]


# --- trades ------------------------------------------------------------------------------------------------------


def test_a_consumer_alone_pays_the_import_price(make_community: MakeCommunity) -> None:
    clearing = solved(make_community({"ann": [load("l", 2, 1)]}, import_price=[0.3, 0.2], export_price=[0.1, 0.1]))
    assert clearing.objective == pytest.approx(0.8)
    assert clearing.import_kwh == pytest.approx(np.array([[2, 1]]))
    assert clearing.price == pytest.approx(np.array([[0.3, 0.2]]))
    assert clearing.trade_kwh.shape == (0, 2)


def test_a_quarter_of_an_hour_is_a_quarter_of_the_energy(make_community: MakeCommunity) -> None:
    community = make_community({"ann": [load("l", 2)]}, import_price=[0.3], export_price=[0.1], mtu_minutes=15)
    clearing = solved(community)
    assert clearing.import_kwh == pytest.approx(np.array([[0.5]]))
    assert clearing.objective == pytest.approx(0.15)


def test_a_peer_without_devices_does_nothing(make_community: MakeCommunity) -> None:
    clearing = solved(make_community({"ann": []}, import_price=[0.3], export_price=[0.1]))
    assert clearing.objective == pytest.approx(0.0)
    assert not clearing.import_kwh.any()


@pytest.mark.parametrize(
    ("load_kw", "pv_kw", "buyer_price", "seller_price"),
    [
        pytest.param(3.0, 2.0, 0.30, 0.28, id="short of pv, the import price rules"),
        pytest.param(2.0, 3.0, 0.12, 0.10, id="surplus of pv, the export price rules"),
    ],
)
def test_neighbours_trade_all_they_can_at_a_price_the_link_apart(
    make_community: MakeCommunity, load_kw: float, pv_kw: float, buyer_price: float, seller_price: float
) -> None:
    community = make_community(
        {"ann": [load("l", load_kw)], "ben": [pv("pv", pv_kw)]},
        import_price=[0.3],
        export_price=[0.1],
        links=[link("ben", "ann", 0.02)],
    )
    clearing = solved(community)
    assert clearing.trade_kwh == pytest.approx(np.array([[2.0]]))
    assert clearing.price == pytest.approx(np.array([[buyer_price], [seller_price]]))
    imported, exported = load_kw - 2.0, pv_kw - 2.0
    assert clearing.objective == pytest.approx(0.02 * 2 + 0.3 * imported - 0.1 * exported)


@pytest.mark.parametrize(("cost", "traded"), [(0.19, 2.0), (0.21, 0.0)])
def test_a_link_dearer_than_the_tariffs_step_stays_idle(
    make_community: MakeCommunity, cost: float, traded: float
) -> None:
    community = make_community(
        {"ann": [load("l", 2)], "ben": [pv("pv", 2)]},
        import_price=[0.3],
        export_price=[0.1],
        links=[link("ben", "ann", cost)],
    )
    clearing = solved(community)
    assert clearing.trade_kwh == pytest.approx(np.array([[traded]]))


def test_of_two_sellers_the_preferred_one_sells_first(make_community: MakeCommunity) -> None:
    community = make_community(
        {"ann": [load("l", 3)], "ben": [pv("b", 2)], "cid": [pv("c", 2)]},
        import_price=[0.3],
        export_price=[0.1],
        links=[link("ben", "ann", 0.03), link("cid", "ann", 0.01)],
    )
    clearing = solved(community)
    assert clearing.trade_kwh == pytest.approx(np.array([[1.0], [2.0]]))
    assert clearing.price[:, 0] == pytest.approx([0.13, 0.10, 0.12])


def test_both_preferences_and_the_charge_are_in_the_objective(make_community: MakeCommunity) -> None:
    whole = Link(seller="ben", buyer="ann", seller_preference=0.01, buyer_preference=0.02, network_charge=0.03)
    community = make_community(
        {"ann": [load("l", 1)], "ben": [pv("pv", 1)]}, import_price=[0.3], export_price=[0.1], links=[whole]
    )
    assert solved(community).objective == pytest.approx(0.06)


def test_links_without_cost_share_one_price(make_community: MakeCommunity) -> None:
    names = ("ann", "ben", "cid")
    community = make_community(
        {"ann": [load("l", 3)], "ben": [pv("b", 2)], "cid": [pv("c", 2)]},
        import_price=[0.3],
        export_price=[0.1],
        links=[link(a, b) for a in names for b in names if a != b],
    )
    clearing = solved(community)
    assert clearing.objective == pytest.approx(-0.1)
    assert clearing.price[:, 0] == pytest.approx([0.1, 0.1, 0.1])


def test_energy_reaches_a_peer_without_a_direct_link_through_resellers(make_community: MakeCommunity) -> None:
    names = ["ben", "cid", "dan", "eve", "fay", "ann"]
    community = make_community(
        {"ben": [pv("pv", 2)], "cid": [], "dan": [], "eve": [], "fay": [], "ann": [load("l", 2)]},
        import_price=[0.3],
        export_price=[0.1],
        links=[link(seller, buyer, 0.01) for seller, buyer in pairwise(names)],
    )
    clearing = solved(community)
    assert clearing.trade_kwh == pytest.approx(np.full((5, 1), 2.0))
    assert clearing.objective == pytest.approx(5 * 0.01 * 2)
    assert np.diff(clearing.price[:, 0]) == pytest.approx(np.full(5, 0.01))


@pytest.mark.parametrize("cost", [0.0, 0.01])
@pytest.mark.parametrize("export_price", [0.1, 0.3])
def test_a_ring_of_resellers_is_no_source_of_money(
    make_community: MakeCommunity, cost: float, export_price: float
) -> None:
    names = ["ann", "ben", "cid"]
    community = make_community(
        {name: [] for name in names},
        import_price=[0.3],
        export_price=[export_price],
        links=[link(a, b, cost) for a in names for b in names if a != b],
    )
    assert solved(community).objective == pytest.approx(0.0, abs=1e-12)


# --- batteries ---------------------------------------------------------------------------------------------------


def test_a_battery_buys_cheap_and_sells_dear_less_its_losses(make_community: MakeCommunity) -> None:
    store = battery(charge_efficiency=0.9, discharge_efficiency=0.8, capacity_kwh=4.5, cycle_cost=0.01)
    community = make_community({"ann": [store, load("l", 0, 10)]}, import_price=[0.1, 0.3], export_price=[0.0, 0.0])
    clearing = solved(community)
    assert clearing.device_kw["battery"] == pytest.approx([5.0, -3.6])
    assert clearing.state_kwh["battery"] == pytest.approx([4.5, 0.0], abs=1e-9)
    assert clearing.objective == pytest.approx(5 * 0.1 + (10 - 3.6) * 0.3 + 3.6 * 0.01)


@pytest.mark.parametrize(
    ("efficiency", "cycle_cost", "charged"),
    [(1.0, 0.0, 10.0), (0.49, 0.0, 0.0), (0.51, 0.0, 10.0), (1.0, 0.099, 10.0), (1.0, 0.101, 0.0)],
)
def test_a_battery_cycles_only_where_the_step_in_price_pays_for_it(
    make_community: MakeCommunity, efficiency: float, cycle_cost: float, charged: float
) -> None:
    store = battery(charge_efficiency=efficiency, cycle_cost=cycle_cost)
    community = make_community({"ann": [store, load("l", 0, 20)]}, import_price=[0.1, 0.2], export_price=[0.0, 0.0])
    clearing = solved(community)
    assert clearing.device_kw["battery"][0] == pytest.approx(charged, abs=1e-9)


def test_a_battery_keeps_its_wanted_final_energy(make_community: MakeCommunity) -> None:
    store = battery(initial_kwh=2.0, final_kwh=5.0, charge_efficiency=0.5)
    clearing = solved(make_community({"ann": [store]}, import_price=[0.1, 0.2], export_price=[0.0, 0.0]))
    assert clearing.device_kw["battery"] == pytest.approx([6.0, 0.0])
    assert clearing.shortfall == {}


def test_waiting_cost_lets_a_battery_charge_early_at_equal_prices(make_community: MakeCommunity) -> None:
    store = battery(final_kwh=3.0, max_charge_kw=2.0, waiting_cost=1e-5)
    clearing = solved(make_community({"ann": [store]}, import_price=[0.2] * 3, export_price=[0.0] * 3))
    assert clearing.device_kw["battery"] == pytest.approx([2.0, 1.0, 0.0])
    assert clearing.objective == pytest.approx(3 * 0.2 + 1e-5 * (8 + 7 + 7))


def test_a_final_energy_out_of_reach_is_a_shortfall(make_community: MakeCommunity) -> None:
    store = battery(final_kwh=5.0, max_charge_kw=1.0)
    clearing = solved(make_community({"ann": [store]}, import_price=[0.1, 0.2], export_price=[0.0, 0.0]))
    assert clearing.shortfall == {"battery": pytest.approx(3.0)}
    assert clearing.objective == pytest.approx(0.3 + 3 * 100.0)


# --- appliances --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prices", "changes", "wanted"),
    [
        pytest.param([0.4, 0.1, 0.3, 0.2], {}, [0, 2, 0, 2], id="the two cheapest hours"),
        pytest.param([0.1, 0.4, 0.3, 0.1], {"first_mtu": 1, "end_mtu": 3}, [0, 2, 2, 0], id="its window only"),
        pytest.param([0.2] * 4, {"waiting_cost": 1e-5}, [2, 2, 0, 0], id="early where prices tie"),
        pytest.param([0.2, 0.2, 0.2, 0.1], {"waiting_cost": 1e-5}, [2, 0, 0, 2], id="waiting is cheaper than a tariff"),
        pytest.param([0.1, 0.2, 0.1, 0.1], {"start_cost": 1e-3}, [0, 0, 2, 2], id="in one go where prices tie"),
        pytest.param([0.1, 0.2, 0.1, 0.1], {"start_cost": 1e-3, "required_mtus": 3}, [2, 0, 2, 2], id="for a price"),
        pytest.param([0.2, 0.2, 0.2, 0.199], {"start_cost": 0.1, "running": True}, [2, 2, 0, 0], id="going on"),
        pytest.param(
            [0.2, 0.2, 0.2, 0.1],
            {"start_cost": 0.1, "running": True, "waiting_cost": 1e-5},
            [2, 0, 0, 2],
            id="on again",
        ),
        pytest.param([0.1] * 4, {"required_mtus": 0}, [0, 0, 0, 0], id="nothing owed"),
        pytest.param([-0.1] * 4, {"required_mtus": 1, "waiting_cost": 1e-5}, [2, 0, 0, 0], id="no more than is owed"),
    ],
)
def test_an_appliance_runs_its_hours_where_they_cost_least(
    make_community: MakeCommunity, prices: list[float], changes: dict[str, Any], wanted: list[float]
) -> None:
    clearing = solved(make_community({"ann": [appliance(**changes)]}, import_price=prices, export_price=[-0.2] * 4))
    assert clearing.device_kw["pump"].tolist() == wanted
    assert clearing.shortfall == {}


def test_an_appliance_follows_a_neighbours_sun(make_community: MakeCommunity) -> None:
    community = make_community(
        {"ann": [appliance()], "ben": [pv("pv", 0, 0, 2, 2)]},
        import_price=[0.3] * 4,
        export_price=[0.1] * 4,
        links=[link("ben", "ann", 0.02)],
    )
    clearing = solved(community)
    assert clearing.device_kw["pump"].tolist() == [0, 0, 2, 2]
    assert clearing.objective == pytest.approx(4 * 0.02)


def test_a_window_that_is_over_leaves_nothing_to_do(make_community: MakeCommunity) -> None:
    over = appliance(first_mtu=0, end_mtu=0, required_mtus=0)
    clearing = solved(make_community({"ann": [over]}, import_price=[0.3], export_price=[0.1]))
    assert clearing.device_kw["pump"].tolist() == [0]
