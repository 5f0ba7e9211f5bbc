"""What following the community in a window costs a member beyond its own best, and that it sums up over a day."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from optimization.certificate import certify
from optimization.clearing import Clearing
from optimization.community import Community, Envelope, Link, PeerId
from optimization.devices import Battery, Curtailable, FixedLoad, Interruptible, Phase, Programme
from optimization.members import member_costs, own_costs, standalone
from optimization.quantities import DeviceId, Floats
from optimization.regret import standing
from optimization.rolling import roll
from optimization.scheduling import ScheduleOptions, schedule
from optimization.uplift import Standing
from tests.optimization.small_communities import small_community
from tests.scale import seeds

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]

BRIEF = ScheduleOptions(rounds=30, rebuilds=100, resolution=480)
CLOSE = 1e-4


def washer(name: str, **changes: object) -> Interruptible:
    return Interruptible(
        **{
            "id": DeviceId(name),
            "power_kw": 2.0,
            "first_mtu": 0,
            "end_mtu": 2,
            "required_mtus": 1,
            "waiting_cost": 0.0,
            "start_cost": 0.0,
            **changes,
        }
    )


def cleared(community: Community) -> Clearing:
    clearing = schedule(community, options=BRIEF)
    assert isinstance(clearing, Clearing)
    assert certify(community, clearing).feasible
    return clearing


def paid(community: Community, clearing: Clearing, mtus: int) -> Floats:
    """(N,) currency that each member pays for energy in the first MTUs."""
    first = replace(
        clearing,
        trade_kwh=np.where(np.arange(community.horizon.mtus) < mtus, clearing.trade_kwh, 0.0),
        import_kwh=np.where(np.arange(community.horizon.mtus) < mtus, clearing.import_kwh, 0.0),
        export_kwh=np.where(np.arange(community.horizon.mtus) < mtus, clearing.export_kwh, 0.0),
    )
    return member_costs(community, first) - own_costs(community, clearing.device_kw)


def close(*wanted: float) -> object:
    return pytest.approx(wanted, abs=CLOSE)


@pytest.fixture
def neighbours(make_community: MakeCommunity) -> Community:
    """A washer that waits for the neighbour's sun: cheaper than the tariff then, dearer than the tariff at first."""
    return make_community(
        {
            "sun": [Curtailable(id=DeviceId("pv"), available_kw=np.array([0.0, 2.0]))],
            "shade": [washer("washer")],
        },
        import_price=[0.3, 0.5],
        export_price=[0.1, 0.1],
        links=[Link(seller=PeerId("sun"), buyer=PeerId("shade"))],
    )


def test_a_washer_that_is_moved_for_the_neighbours_sake_is_made_whole(neighbours: Community) -> None:
    clearing = replace(cleared(neighbours), price=np.full((2, 2), 0.4))
    assert clearing.device_kw[DeviceId("washer")].tolist() == [0.0, 2.0]
    found = standing(neighbours, clearing.device_kw, 2)
    # The sun would have been sold for 2 x 0.1, and 2 kWh bought at 0.3; they were traded at 0.4.
    assert tuple(found.alone) == close(-0.2, 0.6)
    assert tuple(found.rest) == (0.0, 0.0)
    assert tuple(found.own) == close(0.0, 0.0)
    assert tuple(paid(neighbours, clearing, 2) + found.dearer) == close(-0.6, 0.2)


def test_waiting_for_a_neighbour_is_regretted_first_and_made_up_for_later(neighbours: Community) -> None:
    clearing = replace(cleared(neighbours), price=np.full((2, 2), 0.4))
    first = standing(neighbours, clearing.device_kw, 1)
    # It did not wash at 2 x 0.3, and could only at 2 x 0.5 now, but for the neighbour.
    assert tuple(first.dearer) == close(0.0, 0.4)
    executed = {device: power[:1] for device, power in clearing.device_kw.items()}
    second = standing(
        roll(neighbours, executed, clearing.device_kw),
        {device: power[1:] for device, power in clearing.device_kw.items()},
        1,
    )
    assert tuple(second.alone) == close(*first.rest)
    assert second.dearer[1] + 0.8 == pytest.approx(-0.2, abs=CLOSE)


def test_who_a_shared_limit_sends_into_a_dear_hour_regrets_the_difference(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [washer("ann/washer")], "bob": [washer("bob/washer")]},
        import_price=[0.1, 0.3],
        export_price=[0.0, 0.0],
        envelopes=[make_envelope("ann", "bob", upper_kw=[2.0, 2.0])],
    )
    clearing = cleared(community)
    regret = paid(community, clearing, 2) + standing(community, clearing.device_kw, 2).dearer
    assert sorted(regret) == close(0.0, 0.4)


def test_limits_on_the_member_itself_are_no_reason_for_regret(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [washer("one"), washer("two")], "bob": []},
        import_price=[0.1, 0.3],
        export_price=[0.0, 0.0],
        envelopes=[make_envelope("ann", upper_kw=[2.0, 2.0])],
    )
    clearing = cleared(community)
    regret = paid(community, clearing, 2) + standing(community, clearing.device_kw, 2).dearer
    assert regret == pytest.approx([0.0, 0.0], abs=5e-4)


def test_what_departing_from_an_earlier_plan_would_cost_is_nobodys_regret(make_community: MakeCommunity) -> None:
    community = make_community({"ann": [washer("washer")]}, import_price=[0.1, 0.3], export_price=[0.0, 0.0])
    bound = replace(community, planned_kw={DeviceId("washer"): np.array([0.0, 2.0])}, change_price=10.0)
    power = {DeviceId("washer"): np.array([0.0, 2.0])}
    assert standing(bound, power, 1).dearer == pytest.approx(standing(community, power, 1).dearer)
    assert standing(bound, power, 1).dearer == pytest.approx([0.4], abs=CLOSE)


def test_what_a_limit_leaves_undone_is_not_worth_what_orders_tasks(
    make_community: MakeCommunity, make_envelope: MakeEnvelope
) -> None:
    community = make_community(
        {"ann": [washer("ann/washer", end_mtu=1)], "bob": [FixedLoad(id=DeviceId("load"), power_kw=np.ones(2))]},
        import_price=[0.2, 0.2],
        export_price=[0.0, 0.0],
        envelopes=[make_envelope("ann", "bob", upper_kw=[2.0, 3.0])],
    )
    clearing = cleared(community)
    assert clearing.shortfall == {DeviceId("ann/washer"): 1.0}
    found = standing(community, clearing.device_kw, 1)
    assert found.short == pytest.approx([2 * community.shortfall_price, 0.0])
    # Two kWh that it did not have to buy.
    assert found.dearer[0] == pytest.approx(-0.4, abs=CLOSE)
    whole = standing(community, clearing.device_kw, 2)
    assert whole.short == pytest.approx(found.short)
    assert whole.dearer[0] == pytest.approx(-0.4, abs=CLOSE)


def test_waiting_wear_and_starts_are_part_of_what_a_window_costs(make_community: MakeCommunity) -> None:
    battery = Battery(
        id=DeviceId("battery"), max_charge_kw=1.0, max_discharge_kw=1.0, capacity_kwh=2.0, initial_kwh=1.0,
        final_kwh=0.0, cycle_cost=0.05,
    )  # fmt: skip
    boiler = washer("boiler", end_mtu=3, waiting_cost=0.01, start_cost=0.02)
    community = make_community({"ann": [battery, boiler]}, import_price=[0.2] * 3, export_price=[0.1] * 3)
    power = {battery.id: np.array([-0.5, 0.0, 0.0]), boiler.id: np.array([0.0, 2.0, 0.0])}
    # Half a kWh of wear and an hour in which two kWh were waited for; the battery's own waiting is far smaller.
    assert standing(community, power, 1).own[0] == pytest.approx(0.025 + 0.02, abs=1e-3)
    # Then a start; an appliance that has begun waits no longer.
    assert standing(community, power, 2).own[0] == pytest.approx(0.025 + 0.02 + 0.02, abs=1e-3)


def rolled(community: Community, mtus: int) -> tuple[list[Standing], Floats, Floats]:
    """The standings of a day's windows, each planned anew; regrets, and what was paid, own costs included."""
    truth, standings = community, []
    regret, cost = np.zeros(len(community.peers)), np.zeros(len(community.peers))
    while True:
        clearing = cleared(truth)
        mtus = min(mtus, truth.horizon.mtus)
        found = standing(truth, clearing.device_kw, mtus)
        now = paid(truth, clearing, mtus)
        standings.append(found)
        regret += now + found.dearer
        cost += now + found.own
        if mtus == truth.horizon.mtus:
            return standings, regret, cost
        executed = {device: power[:mtus] for device, power in clearing.device_kw.items()}
        truth = roll(truth, executed, clearing.device_kw)


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds((1, 2, 3), campaign=(0, 4, 5)))
def test_regrets_of_a_day_are_what_was_paid_beyond_the_best_plan_alone(seed: int) -> None:
    standings, regret, cost = rolled(small_community(seed, most_homes=3, most_mtus=24), 6)
    for one, following in pairwise(standings):
        assert following.alone == pytest.approx(one.rest, abs=2e-3)
    short = np.sum([found.short for found in standings], axis=0)
    assert regret == pytest.approx(cost - short - standings[0].alone, abs=2e-3 * len(standings))


@pytest.mark.slow
def test_homes_that_share_nothing_regret_no_more_than_their_plans_gap(make_community: MakeCommunity) -> None:
    random = np.random.default_rng(3)
    homes = {}
    for n in range(4):
        sun = np.round(np.maximum(0.0, 3.0 * np.sin(np.linspace(-0.3, 3.3, 12))), 2)
        homes[f"home {n}"] = [
            FixedLoad(id=DeviceId(f"{n}/load"), power_kw=random.integers(1, 8, 12) / 8),
            Curtailable(id=DeviceId(f"{n}/pv"), available_kw=sun * random.integers(0, 2)),
            washer(f"{n}/pump", power_kw=1.0, end_mtu=12, required_mtus=3, min_on_mtus=2),
            Programme(
                id=DeviceId(f"{n}/cycle"), phases=(Phase(power_kw=np.array([2.0, 0.5])),), first_mtu=1, end_mtu=10
            ),
        ]
    price = random.uniform(0.2, 0.5, 12)
    community = make_community(homes, import_price=price, export_price=[0.1] * 12)
    clearing = schedule(community, options=ScheduleOptions(gap=1e-5))
    assert isinstance(clearing, Clearing)
    gap = clearing.objective - clearing.lower_bound
    _, regret, _ = rolled(community, 3)
    assert np.abs(regret).max() <= gap + 2e-3


def test_alone_is_the_same_community_without_its_links(neighbours: Community) -> None:
    assert standalone(neighbours) == replace(neighbours, links=())


def test_only_stores_miss_their_targets_by_whole_watts(make_community: MakeCommunity) -> None:
    store = Battery(
        id=DeviceId("battery"),
        max_charge_kw=1.0,
        max_discharge_kw=1.0,
        capacity_kwh=2.0,
        initial_kwh=1.0,
        final_kwh=1.0,
    )
    community = make_community(
        {"a": [store], "b": [washer("washer")]}, import_price=[0.3, 0.5], export_price=[0.1, 0.1]
    )
    idle = {DeviceId("battery"): np.zeros(2), DeviceId("washer"): np.array([2.0, 0.0])}
    for mtus in (1, 2):
        # A watt in each MTU of an hour.
        wanted = 0.001 * mtus * community.shortfall_price
        assert standing(community, idle, mtus, rounds=5).rounding.tolist() == [pytest.approx(wanted), 0.0]
