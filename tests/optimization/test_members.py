"""What each member pays, and that no member pays more than it would alone where the gains of the others allow it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from controller.plan.sample import sample_community
from optimization.certificate import certify
from optimization.clearing import Clearing
from optimization.community import Community, Envelope, Link, PeerId
from optimization.devices import Curtailable, FixedLoad, Interruptible, Phase, Programme
from optimization.members import alone_bounds, member_costs, members_of, trade_price
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


def test_what_gains_cannot_cover_is_the_community_s(make_community: MakeCommunity) -> None:
    washer = Interruptible(id=DeviceId("washer"), power_kw=1.0, first_mtu=0, end_mtu=2, required_mtus=1)
    community = make_community({"a": [washer], "b": []}, import_price=[0.1, 0.3], export_price=[0.0, 0.0])
    clearing = cleared(community)
    late = replace(
        clearing,
        device_kw={washer.id: np.array([0.0, 1.0])},
        import_kwh=np.array([[0.0, 1.0], [0.0, 0.0]]),
    )
    assert certify(community, late).feasible
    one, other = members_of(community, late)
    assert one.uplift == pytest.approx(0.2, abs=1e-3)
    assert one.pays == pytest.approx(one.alone)
    assert other.uplift == 0.0


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


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 14])
def test_nobody_in_a_sampled_community_pays_more_than_alone(seed: int) -> None:
    community = small_community(seed, most_homes=4, most_mtus=32)
    clearing = cleared(community)
    members = members_of(community, clearing)
    total = sum(member.uplift for member in members)
    for member in members:
        assert member.pays <= member.alone + 1e-9
    gains = sum(member.alone - member.cost for member in members)
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
