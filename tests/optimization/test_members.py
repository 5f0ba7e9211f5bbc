"""What each member pays, and that no member pays more than it would alone where the gains of the others allow it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from controller.plan.sample import sample_community
from optimization.certificate import certify
from optimization.clearing import Clearing
from optimization.community import Community, Envelope, Link, PeerId
from optimization.devices import Curtailable, FixedLoad, Interruptible, Phase, Programme, Thermostatic
from optimization.members import alone_bounds, by_themselves, departure_costs, member_costs, members_of, trade_price
from optimization.quantities import DeviceId
from optimization.scheduling import ScheduleOptions, schedule
from tests.optimization.small_communities import small_community

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]

BRIEF = ScheduleOptions(rounds=30, rebuilds=100, resolution=480)


@pytest.fixture
def two(make_community: MakeCommunity) -> Community:
    """A home with 2 kW of sun sells to a neighbour that needs as much, at a charge and a distaste."""
    return make_community(
        {
            "sun": [Curtailable(id=DeviceId("pv"), available_kw=np.array([2.0]))],
            "shade": [FixedLoad(id=DeviceId("load"), power_kw=np.array([2.0]))],
        },
        import_price=[0.30],
        export_price=[0.10],
        links=[
            Link(
                seller=PeerId("sun"),
                buyer=PeerId("shade"),
                network_charge=0.02,
                buyer_preference=0.01,
                seller_preference=0.03,
            )
        ],
    )


def cleared(community: Community, *, price: tuple[float, ...] = ()) -> Clearing:
    clearing = schedule(community, options=BRIEF)
    assert isinstance(clearing, Clearing)
    assert certify(community, clearing).feasible
    if price:
        return replace(clearing, price=np.tile(np.array(price)[:, None], (1, community.horizon.mtus)))
    return clearing


def test_two_neighbours_share_what_they_save(two: Community) -> None:
    sun, shade = members_of(two, cleared(two, price=(0.16, 0.22)))
    # The seller gets its price and what it dislikes; the buyer pays that and the charge.
    assert (sun.id, sun.cost) == ("sun", pytest.approx(-2 * (0.16 + 0.03)))
    assert (shade.id, shade.cost) == ("shade", pytest.approx(2 * (0.16 + 0.03 + 0.02)))
    assert (sun.alone, shade.alone) == (pytest.approx(-0.2), pytest.approx(0.6))
    assert (sun.uplift, shade.uplift) == (0.0, 0.0)
    assert (sun.pays, shade.pays) == (sun.cost, shade.cost)


def test_who_pays_more_than_alone_is_made_whole_by_who_gains(make_community: MakeCommunity) -> None:
    washer = Interruptible(
        id=DeviceId("washer"), power_kw=2.0, first_mtu=0, end_mtu=2, required_mtus=1, waiting_cost=0.0, start_cost=0.0
    )
    community = make_community(
        {"sun": [Curtailable(id=DeviceId("pv"), available_kw=np.array([0.0, 2.0]))], "shade": [washer]},
        import_price=[0.3, 0.5],
        export_price=[0.1, 0.1],
        links=[Link(seller=PeerId("sun"), buyer=PeerId("shade"))],
    )
    clearing = cleared(community, price=(0.4, 0.4))
    assert clearing.device_kw[washer.id].tolist() == [0.0, 2.0]
    sun, shade = members_of(community, clearing, rounds=60)
    # It washes when the neighbour's sun shines, at 2 x 0.4, where 2 x 0.3 would have done alone.
    assert (sun.cost, shade.cost) == (pytest.approx(-0.8), pytest.approx(0.8))
    assert shade.alone == pytest.approx(0.6, abs=1e-3)
    assert shade.uplift == pytest.approx(0.2, abs=1e-3)
    assert sun.uplift == pytest.approx(-shade.uplift)
    assert shade.pays == pytest.approx(shade.alone)
    assert sun.pays < sun.alone


def pump(name: str, **changes: object) -> Interruptible:
    return Interruptible(
        **{"id": DeviceId(name), "power_kw": 1.0, "first_mtu": 0, "end_mtu": 2, "required_mtus": 1, **changes}
    )


def late(community: Community, device: DeviceId) -> Clearing:
    """The clearing of a pump that runs in the dear second hour, and of nothing else."""
    clearing = replace(
        cleared(community),
        device_kw={device: np.array([0.0, 1.0])},
        import_kwh=np.array([[0.0, 1.0], *np.zeros((len(community.peers) - 1, 2))]),
    )
    assert certify(community, clearing).feasible
    return clearing


def test_what_gains_cannot_cover_is_the_community_s(make_community: MakeCommunity) -> None:
    washer = pump("washer")
    link = Link(seller=PeerId("b"), buyer=PeerId("a"))
    community = make_community({"a": [washer], "b": []}, import_price=[0.1, 0.3], export_price=[0.0, 0.0], links=[link])
    one, other = members_of(community, late(community, washer.id))
    assert one.uplift == pytest.approx(0.2, abs=1e-3)
    assert one.pays == pytest.approx(one.alone)
    assert other.uplift == 0.0


def test_who_has_its_own_plan_has_lost_nothing_by_the_community_whatever_its_bound_proves(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    washer = pump("washer")
    wide = make_envelope("a", "b", upper_kw=[1.0, 1.0])
    community = make_community(
        {"a": [washer], "b": []}, import_price=[0.1, 0.3], export_price=[0.0, 0.0], envelopes=[wide]
    )
    one, other = members_of(community, late(community, washer.id))
    assert one.alone == pytest.approx(0.1, abs=1e-3)
    assert one.cost == pytest.approx(0.3, abs=1e-3)
    assert (one.uplift, other.uplift) == (0.0, 0.0)


@pytest.mark.parametrize("spare", [0.0, 0.5])
def test_a_shared_limit_that_sends_a_pump_into_a_dear_hour_costs_its_owner_though_it_leaves_room(
    make_community: MakeCommunity, make_envelope: MakeEnvelope, spare: float
) -> None:
    community = make_community(
        {"a": [pump("a/pump")], "b": [pump("b/pump")]},
        import_price=[0.1, 0.3],
        export_price=[0.0, 0.0],
        envelopes=[make_envelope("a", "b", upper_kw=[1.0 + spare, 1.0 + spare])],
    )
    assert sorted(member.uplift for member in members_of(community, cleared(community))) == pytest.approx(
        [0.0, 0.2], abs=2e-3
    )


def test_who_could_not_have_met_a_shared_limit_or_trades_with_nobody_is_by_itself(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    homes = {
        "a": [pump("a/pump")],
        "b": [FixedLoad(id=DeviceId("b/load"), power_kw=np.array([2.0, 2.0]))],
        "c": [Curtailable(id=DeviceId("c/pv"), available_kw=np.array([1.0, 1.0]))],
        "d": [],
    }
    power = {
        DeviceId("a/pump"): np.array([0.0, 1.0]),
        DeviceId("b/load"): np.array([2.0, 2.0]),
        DeviceId("c/pv"): np.array([-1.0, -1.0]),
    }
    prices = {"import_price": [0.1, 0.3], "export_price": [0.0, 0.0]}
    link = Link(seller=PeerId("c"), buyer=PeerId("d"))
    own = make_envelope("a", upper_kw=[0.0, 1.0])

    def found(*envelopes: Envelope, links: tuple[Link, ...] = ()) -> list[bool]:
        community = make_community(homes, **prices, links=links, envelopes=envelopes)
        return by_themselves(community, power).tolist()

    assert found(own) == [True, True, True, True]
    assert found(own, links=(link,)) == [True, True, False, False]
    # The load has no choice, with the limit met or not; the pump would meet it in the first hour.
    assert found(make_envelope("a", "b", upper_kw=[2.5, 3.0])) == [False, True, True, True]
    assert found(make_envelope("a", "b", upper_kw=[3.0, 3.0])) == [True, True, True, True]
    # Without its sun the limit above would be met.
    assert found(make_envelope("b", "c", upper_kw=[1.5, 1.5], lower_kw=[0.0, 0.0])) == [True, True, False, True]
    assert found(make_envelope("c", "d", lower_kw=[-1.0, -0.5])) == [True, True, False, False]


def test_what_stands_for_a_task_that_a_limit_leaves_undone_is_paid_to_nobody(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"a": [pump("pump", end_mtu=1)], "b": [FixedLoad(id=DeviceId("load"), power_kw=np.array([1.0, 1.0]))]},
        import_price=[0.2, 0.2],
        export_price=[0.0, 0.0],
        envelopes=[make_envelope("a", "b", upper_kw=[1.0, 2.0])],
    )
    clearing = cleared(community)
    assert clearing.shortfall == {DeviceId("pump"): 1.0}
    one, other = members_of(community, clearing)
    assert (one.undone, one.cost) == (pytest.approx(100.0), pytest.approx(100.0))
    assert one.alone == pytest.approx(0.2, abs=1e-3)
    assert (one.uplift, other.uplift, other.undone) == (0.0, 0.0, 0.0)


def test_a_gain_is_less_by_what_is_left_undone_for_it_and_not_cancelled(make_community: MakeCommunity) -> None:
    heater = Thermostatic(
        id=DeviceId("heater"), rated_kw=0.05, modulating=True, heat_capacity_kwh_per_k=0.02, loss_kw_per_k=0.004,
        performance=np.full(4, 3.0), ambient_c=np.full(4, 15.0), draw_kw=np.zeros(4), lower_c=np.full(4, 20.0),
        upper_c=np.full(4, 20.0), initial_c=20.0, discomfort_cost=0.0005,
    )  # fmt: skip
    community = make_community(
        {
            "sun": [Curtailable(id=DeviceId("pv"), available_kw=np.full(4, 2.0)), heater],
            "shade": [FixedLoad(id=DeviceId("load"), power_kw=np.full(4, 4.0))],
        },
        import_price=[0.3] * 4,
        export_price=[0.08] * 4,
        links=[Link(seller=PeerId(x), buyer=PeerId(y)) for x, y in (("sun", "shade"), ("shade", "sun"))],
    )
    clearing = cleared(community)
    for extra in (0.5, 2.0):
        # As if the other had bought more for nothing, so that a part or all of the gain makes it good.
        dear = replace(
            clearing, import_kwh=clearing.import_kwh + np.array([[0.0], [extra]]), price=np.full((2, 4), 0.3)
        )
        sun, shade = members_of(community, dear)
        assert sun.undone > 0.003
        lost, gained = shade.cost - shade.alone, sun.alone - sun.cost
        assert shade.uplift == pytest.approx(lost) == pytest.approx(4 * 0.3 * extra)
        assert gained == pytest.approx(4 * 2 * 0.22, abs=0.02)
        assert sun.uplift == pytest.approx(-min(lost, gained))


def test_alone_keeps_to_limits_on_the_member_and_not_to_those_on_several(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    plant = Curtailable(id=DeviceId("pv"), available_kw=np.array([3.0]))
    community = make_community(
        {"a": [plant], "b": []},
        import_price=[0.3],
        export_price=[0.1],
        envelopes=[make_envelope("a", name="roof", lower_kw=[-2.0]), make_envelope("a", "b", lower_kw=[-1.0])],
    )
    assert alone_bounds(community, rounds=60)[0] == pytest.approx(-0.2, abs=2e-3)
    assert cleared(community).export_kwh[0] == pytest.approx([1.0])


def test_what_members_pay_adds_up_to_what_the_community_pays(two: Community) -> None:
    clearing = cleared(two)
    # What is felt and not paid: preferences of 0.04 on 2 kWh.
    assert member_costs(two, clearing).sum() == pytest.approx(certify(two, clearing).objective - 2 * 0.04)


def test_departures_from_a_plan_are_costs_of_those_who_depart(make_community: MakeCommunity) -> None:
    devices = [
        FixedLoad(id=DeviceId("load"), power_kw=np.array([1.0, 1.0])),
        Programme(id=DeviceId("washer"), phases=(Phase(power_kw=np.array([1.0])),), first_mtu=0, end_mtu=2),
        Curtailable(id=DeviceId("pv"), available_kw=np.array([1.0, 0.0]), curtailment_cost=0.1),
    ]
    community = replace(
        make_community({"a": devices, "b": []}, import_price=[0.3, 0.3], export_price=[0.1, 0.1]),
        planned_kw={device.id: np.array([0.5, 0.5]) for device in devices},
        change_price=0.01,
    )
    clearing = cleared(community)
    cost = member_costs(community, clearing)
    assert cost[0] == pytest.approx(certify(community, clearing).objective)
    assert cost[1] == 0.0


def test_departures_of_a_chain_of_which_a_part_was_planned_are_counted(make_community: MakeCommunity) -> None:
    phase = Phase(power_kw=np.array([1.0]))
    washer = Programme(id=DeviceId("washer"), phases=(phase,), first_mtu=0, end_mtu=3)
    dryer = Programme(id=DeviceId("dryer"), phases=(phase,), first_mtu=0, end_mtu=3, follows=washer.id)
    community = replace(
        make_community({"a": [washer, dryer]}, import_price=[0.1, 0.2, 0.3], export_price=[0.0] * 3),
        planned_kw={washer.id: np.array([0.0, 1.0, 0.0])},
        change_price=0.01,
    )
    clearing = cleared(community)
    assert clearing.device_kw[washer.id].tolist() == [1.0, 0.0, 0.0]
    assert departure_costs(community, clearing.device_kw) == pytest.approx([0.02])
    assert member_costs(community, clearing)[0] == pytest.approx(certify(community, clearing).objective)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 11, 14, 15])
def test_nobody_with_links_in_a_sampled_community_pays_more_than_alone(seed: int) -> None:
    community = small_community(seed, most_homes=4, most_mtus=32)
    clearing = cleared(community)
    members = members_of(community, clearing)
    total = sum(member.uplift for member in members)
    own = by_themselves(community, clearing.device_kw)
    for member, is_own in zip(members, own, strict=True):
        assert member.uplift == 0.0 if is_own else member.pays <= member.alone + 1e-9
    gains = sum(member.alone - member.cost for member, is_own in zip(members, own, strict=True) if not is_own)
    # Nothing is paid but between members, unless they lose together.
    assert total == pytest.approx(max(0.0, -gains), abs=1e-9)


@pytest.mark.parametrize("price", [0.0, 0.05, 0.2, 0.9])
def test_a_trade_is_paid_within_the_tariff(make_community: MakeCommunity, price: float) -> None:
    link = Link(
        seller=PeerId("ann"), buyer=PeerId("bob"), seller_preference=0.02, buyer_preference=0.01, network_charge=0.03
    )
    community = make_community({"ann": (), "bob": ()}, import_price=[0.3, 0.3], export_price=[0.1, 0.1], links=[link])
    none = np.zeros((2, 2))
    clearing = Clearing(
        device_kw={}, state_kwh={}, shortfall={}, trade_kwh=np.zeros((1, 2)), import_kwh=none, export_kwh=none,
        price=np.full((2, 2), price), objective=0.0, lower_bound=0.0,
    )  # fmt: skip
    paid = trade_price(community, clearing, 0, link)
    assert paid == pytest.approx(min(max(price + 0.02, 0.1), 0.27))


@pytest.mark.slow
def test_what_a_search_leaves_open_is_hardly_taken_for_a_loss() -> None:
    community = sample_community(4, 1, 96, links="none", transformer="none")
    clearing = schedule(community, options=ScheduleOptions(gap=1e-3, rebuilds=300))
    assert isinstance(clearing, Clearing)
    cost = member_costs(community, clearing)
    plain, again = alone_bounds(community, rounds=80), alone_bounds(community, rounds=80, cost=cost)
    assert (again >= plain).all()
    # Nobody can trade, so everybody has its own best plan, but for what is not proven.
    assert (again <= cost + 1e-6).all()
    lost = np.maximum(0.0, cost - plain).sum()
    assert np.maximum(0.0, cost - again).sum() < 0.6 * lost
