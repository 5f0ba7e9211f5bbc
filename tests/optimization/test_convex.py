from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.certificate import certify
from optimization.clearing import Clearing
from optimization.community import Battery, Community, Curtailable, DeviceId, FixedLoad, Generator, Interruptible
from optimization.convex import clearing_of, market_of
from optimization.dispatch import dispatch
from optimization.errors import ProblemError
from optimization.market_bound import bound_cost
from optimization.market_clearing import MarketClearing, MarketConflict
from optimization.reference import dispatch as reference

MakeCommunity = Callable[..., Community]


@pytest.fixture
def shifting(make_community: MakeCommunity) -> Community:
    """Two peers and a battery that is filled while energy is cheap."""
    battery = Battery(
        id=DeviceId("b/battery"),
        max_charge_kw=2.0,
        max_discharge_kw=2.0,
        capacity_kwh=4.0,
        initial_kwh=0.0,
        final_kwh=0.0,
    )
    load = FixedLoad(id=DeviceId("a/load"), power_kw=np.array([1.0, 1.0, 1.0]))
    return make_community({"a": [load], "b": [battery]}, import_price=[0.1, 0.3, 0.5], export_price=[0.0, 0.0, 0.0])


def _cleared(community: Community) -> Clearing:
    market = market_of(community)
    clearing = dispatch(market)
    assert isinstance(clearing, MarketClearing)
    bound = bound_cost(market, clearing.price, clearing.limit_price, clearing.state_price)
    return clearing_of(community, market, clearing, lower_bound=bound)


def test_a_battery_without_links_serves_nobody_and_stays_empty(shifting: Community) -> None:
    assert np.abs(_cleared(shifting).device_kw[DeviceId("b/battery")]).max() < 1e-9


def test_the_clearing_of_a_community_holds_and_costs_what_the_reference_costs(
    communities: Callable[..., st.SearchStrategy[Community]],
) -> None:
    @given(communities())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def check(community: Community) -> None:
        reachable = _with_reachable_ends(community)
        outcome = dispatch(market_of(reachable))
        expected = reference.dispatch(reachable, gap=0.0)
        if not isinstance(expected, Clearing) or expected.shortfall:
            assert isinstance(outcome, MarketConflict)
            return
        answer = _cleared(reachable)
        certificate = certify(reachable, answer)
        assert certificate.feasible, certificate
        assert answer.objective == pytest.approx(expected.objective, rel=1e-6, abs=1e-6)

    check()


def _with_reachable_ends(community: Community) -> Community:
    """With batteries that lose a little on every way round, and that end no fuller than they can."""
    hours = community.horizon.mtus * community.horizon.hours

    def mended(device: Any) -> Any:
        if not isinstance(device, Battery):
            return device
        most = device.initial_kwh + hours * device.charge_efficiency * device.max_charge_kw
        return replace(device, final_kwh=min(device.final_kwh, most), cycle_cost=max(device.cycle_cost, 0.001))

    peers = tuple(replace(peer, devices=tuple(mended(d) for d in peer.devices)) for peer in community.peers)
    return replace(community, peers=peers)


def test_an_appliance_runs_as_it_was_scheduled(make_community: MakeCommunity) -> None:
    washer = Interruptible(id=DeviceId("a/washer"), power_kw=2.0, first_mtu=0, end_mtu=2, required_mtus=1)
    community = make_community({"a": [washer]}, import_price=[0.3, 0.1], export_price=[0.0, 0.0])
    market = market_of(community, {washer.id: np.array([0.0, 2.0])})
    clearing = dispatch(market)
    assert isinstance(clearing, MarketClearing)
    assert clearing.imported[0] == pytest.approx([0.0, 2.0])
    with pytest.raises(ProblemError, match="a/washer: got no schedule"):
        market_of(community)


def test_an_end_level_out_of_reach_is_named(shifting: Community) -> None:
    peers = shifting.peers
    battery = replace(peers[1].devices[0], capacity_kwh=10.0, final_kwh=9.0)
    community = replace(shifting, peers=(peers[0], replace(peers[1], devices=(battery,))))
    with pytest.raises(ProblemError, match=r"b/battery.final_kwh: got 9.0, wanted at most 5.7"):
        market_of(community)


def test_what_has_whole_numbers_runs_as_it_was_scheduled_or_is_asked_for(make_community: MakeCommunity) -> None:
    generator = Generator(id=DeviceId("a/generator"), min_kw=1.0, max_kw=3.0, linear_cost=0.2)
    community = make_community({"a": [generator]}, import_price=[0.3, 0.1], export_price=[0.0, 0.0])
    with pytest.raises(ProblemError, match="a/generator: got no schedule"):
        market_of(community)
    market = market_of(community, {generator.id: np.array([-2.0, 0.0])})
    clearing = dispatch(market)
    assert isinstance(clearing, MarketClearing)
    assert clearing.exported[0] == pytest.approx([2.0, 0.0])
    assert clearing_of(community, market, clearing, lower_bound=0.0).objective == pytest.approx(0.4)


def test_a_battery_keeps_its_reserve_and_holds_what_is_worth_more_at_the_end(shifting: Community) -> None:
    def refitted(**changes: Any) -> Community:
        battery = replace(shifting.peers[1].devices[0], **changes)
        return replace(shifting, peers=(shifting.peers[0], replace(shifting.peers[1], devices=(battery,))))

    stored = _cleared(refitted(final_value=0.2)).state_kwh[DeviceId("b/battery")]
    assert stored == pytest.approx([1.9, 1.9, 1.9], abs=1e-6)
    kept = _cleared(refitted(min_kwh=1.0, initial_kwh=1.5)).state_kwh[DeviceId("b/battery")]
    assert kept.min() >= 1.0 - 1e-6
    with pytest.raises(ProblemError, match=r"b/battery.self_discharge: got 0.01, wanted 0"):
        market_of(refitted(self_discharge=0.01))


def test_a_plant_that_costs_to_curtail_runs_at_negative_prices(make_community: MakeCommunity) -> None:
    for cost, produced in ((0.0, 0.0), (0.2, 2.0)):
        plant = Curtailable(id=DeviceId("a/pv"), available_kw=np.array([2.0]), curtailment_cost=cost)
        community = make_community({"a": [plant]}, import_price=[0.3], export_price=[-0.1])
        assert _cleared(community).device_kw[plant.id] == pytest.approx([-produced], abs=1e-6)


def test_departures_from_a_plan_that_cost_are_not_for_a_market(shifting: Community) -> None:
    planned = {DeviceId("b/battery"): np.zeros(3)}
    assert market_of(replace(shifting, planned_kw=planned)) is not None
    with pytest.raises(ProblemError, match=r"community.change_price: got 0.1 with a plan for b/battery"):
        market_of(replace(shifting, planned_kw=planned, change_price=0.1))
