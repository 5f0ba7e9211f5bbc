"""Answers that a person can work out by hand. An MTU is an hour, so kW and kWh read the same."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.certificate import certify
from optimization.clearing import Clearing, Infeasible
from optimization.community import Battery, Community, Curtailable, Envelope, FixedLoad, Interruptible, Link
from optimization.reference.dispatch import dispatch

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]

PRICE_TOLERANCE = 1e-7


def load(id_: str, *power_kw: float) -> FixedLoad:
    return FixedLoad(id=id_, power_kw=np.array(power_kw))


def pv(id_: str, *available_kw: float) -> Curtailable:
    return Curtailable(id=id_, available_kw=np.array(available_kw))


def battery(**changes: Any) -> Battery:
    fields = {
        "id": "battery",
        "max_charge_kw": 10.0,
        "max_discharge_kw": 10.0,
        "capacity_kwh": 10.0,
        "initial_kwh": 0.0,
        "final_kwh": 0.0,
        "charge_efficiency": 1.0,
        "discharge_efficiency": 1.0,
        "cycle_cost": 0.0,
        "waiting_cost": 0.0,
    }
    return Battery(**(fields | changes))


def washer(**changes: Any) -> Interruptible:
    fields = {
        "id": "washer",
        "power_kw": 2.0,
        "first_mtu": 0,
        "end_mtu": 4,
        "required_mtus": 2,
        "waiting_cost": 0.0,
        "start_cost": 0.0,
    }
    return Interruptible(**(fields | changes))


def link(seller: str, buyer: str, cost: float = 0.0) -> Link:
    return Link(seller=seller, buyer=buyer, network_charge=cost)


def solved(community: Community, *, gap: float = 0.0) -> Clearing:
    """The clearing, which its certificate finds feasible and as dear as the solver says."""
    clearing = dispatch(community, gap=gap)
    assert isinstance(clearing, Clearing)
    certificate = certify(community, clearing)
    assert certificate.primal_residual_kw < 1e-6, certificate.violated
    assert certificate.objective == pytest.approx(clearing.objective, abs=1e-6)
    assert certificate.gap <= gap + 1e-6
    return clearing


def refused(community: Community) -> str:
    outcome = dispatch(community, gap=0.0)
    assert isinstance(outcome, Infeasible)
    return outcome.reason


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
    clearing = solved(make_community({"ann": [washer(**changes)]}, import_price=prices, export_price=[-0.2] * 4))
    assert clearing.device_kw["washer"].tolist() == wanted
    assert clearing.shortfall == {}


def test_an_appliance_follows_a_neighbours_sun(make_community: MakeCommunity) -> None:
    community = make_community(
        {"ann": [washer()], "ben": [pv("pv", 0, 0, 2, 2)]},
        import_price=[0.3] * 4,
        export_price=[0.1] * 4,
        links=[link("ben", "ann", 0.02)],
    )
    clearing = solved(community)
    assert clearing.device_kw["washer"].tolist() == [0, 0, 2, 2]
    assert clearing.objective == pytest.approx(4 * 0.02)


def test_a_window_that_is_over_leaves_nothing_to_do(make_community: MakeCommunity) -> None:
    over = washer(first_mtu=0, end_mtu=0, required_mtus=0)
    clearing = solved(make_community({"ann": [over]}, import_price=[0.3], export_price=[0.1]))
    assert clearing.device_kw["washer"].tolist() == [0]


# --- envelopes ---------------------------------------------------------------------------------------------------


def test_an_envelope_moves_an_appliance_out_of_the_cheap_hours(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [washer(), load("l", 1, 1, 1, 1)]},
        import_price=[0.1, 0.2, 0.3, 0.4],
        export_price=[0.0] * 4,
        envelopes=[make_envelope("ann", upper_kw=[2.9, 2.9, 3.0, 3.0])],
    )
    clearing = solved(community)
    assert clearing.device_kw["washer"].tolist() == [0, 0, 2, 2]
    assert solved(
        make_community({"ann": [washer()]}, import_price=[0.1, 0.2, 0.3, 0.4], export_price=[0.0] * 4)
    ).device_kw["washer"].tolist() == [2, 2, 0, 0]


def test_an_envelope_counts_the_peers_it_names_and_no_other(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    peers = {"ann": [washer(id="a", required_mtus=1)], "ben": [washer(id="b", required_mtus=1)]}
    tariff = {"import_price": [0.1, 0.2, 0.3, 0.4], "export_price": [0.0] * 4}
    community = make_community(peers, envelopes=[make_envelope("ann", upper_kw=[0, 9, 9, 9])], **tariff)
    clearing = solved(community)
    assert clearing.device_kw["a"].tolist() == [0, 2, 0, 0]
    assert clearing.device_kw["b"].tolist() == [2, 0, 0, 0]


def test_an_export_limit_curtails_sun_that_nobody_takes(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [load("l", 1, 1)], "ben": [pv("pv", 5, 3)]},
        import_price=[0.3, 0.3],
        export_price=[0.1, 0.1],
        links=[link("ben", "ann")],
        envelopes=[make_envelope("ann", "ben", lower_kw=[-2, -2])],
    )
    clearing = solved(community)
    assert clearing.device_kw["pv"] == pytest.approx([-3.0, -3.0])
    assert clearing.objective == pytest.approx(-0.4)


def test_an_envelope_that_leaves_too_little_makes_a_shortfall_not_a_conflict(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [washer(required_mtus=3)]},
        import_price=[0.1] * 4,
        export_price=[0.0] * 4,
        envelopes=[make_envelope("ann", upper_kw=[1, 2, 1, 1])],
    )
    clearing = solved(community)
    assert clearing.device_kw["washer"].tolist() == [0, 2, 0, 0]
    assert clearing.shortfall == {"washer": pytest.approx(2.0)}
    assert clearing.objective == pytest.approx(0.2 + 2 * 2 * community.shortfall_price)


def test_a_conflict_names_envelope_mtu_and_numbers(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> None:
    community = make_community(
        {"ann": [load("l", 3, 5, 3), battery(max_discharge_kw=1.0)], "ben": [pv("pv", 1, 1, 1)]},
        import_price=[0.3] * 3,
        export_price=[0.1] * 3,
        envelopes=[make_envelope("ann", "ben", name="transformer", upper_kw=[2, 2.25, 2])],
    )
    assert refused(community) == "transformer MTU 1: at least 3.000 kW, allowed 2.250"


def test_a_consumption_that_nobody_can_raise_so_far_is_a_conflict(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [load("l", 1, 1), washer(first_mtu=0, end_mtu=1, required_mtus=1)]},
        import_price=[0.3] * 2,
        export_price=[0.1] * 2,
        envelopes=[make_envelope("ann", lower_kw=[2, 2])],
    )
    assert refused(community) == "street MTU 1: at most 1.000 kW, wanted 2.000"


def test_of_many_conflicts_five_are_named_and_the_rest_counted(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [load("l", *[3] * 7)]},
        import_price=[0.3] * 7,
        export_price=[0.1] * 7,
        envelopes=[make_envelope("ann", upper_kw=[2] * 7)],
    )
    reason = refused(community)
    assert reason.count("at least 3.000 kW, allowed 2.000") == 5
    assert reason.endswith("; and 2 more")


def test_a_conflict_over_time_is_told_from_one_in_an_mtu(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [load("l", 3, 3), battery(initial_kwh=1.0, capacity_kwh=1.0)]},
        import_price=[0.3] * 2,
        export_price=[0.1] * 2,
        envelopes=[make_envelope("ann", upper_kw=[2, 2])],
    )
    assert "over the whole horizon" in refused(community)


def test_a_conflict_is_named_beside_an_envelope_over_nobody(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [load("l", 3)]},
        import_price=[0.3],
        export_price=[0.1],
        envelopes=[make_envelope("ann", upper_kw=[2]), make_envelope(name="empty", lower_kw=[0.5])],
    )
    assert refused(community) == (
        "street MTU 0: at least 3.000 kW, allowed 2.000; empty MTU 0: at most 0.000 kW, wanted 0.500"
    )


# --- prices and repetition ---------------------------------------------------------------------------------------


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
@settings(COMMON, max_examples=60)
@given(data=st.data())
def test_prices_support_the_trades_and_answers_repeat_in_larger_communities(data: Any, communities: Any) -> None:
    community = data.draw(communities(appliances=True, max_peers=6, max_mtus=6))
    order = data.draw(st.permutations(range(len(community.peers))))
    assert_dispatch_keeps_its_word(community, order)
