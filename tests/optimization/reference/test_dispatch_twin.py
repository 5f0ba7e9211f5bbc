"""The same problem in other words: vectors instead of loops, stored energy as a running sum, other solvers."""

from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from optimization.clearing import Clearing, Infeasible
from optimization.community import Battery, Community, Curtailable, FixedLoad, Interruptible
from optimization.reference.dispatch import dispatch
from tests.scale import examples

DECLARED_GAP = 0.01

Communities = Callable[..., Any]


def cheapest(community: Community, *, relaxed: bool) -> float:
    """The least cost of a community, infinity where it has no schedule; appliances may run in part if relaxed."""
    mtus, hours, tariff = community.horizon.mtus, community.horizon.hours, community.tariff
    up_to_now = np.tril(np.ones((mtus, mtus)))
    delay = hours * np.arange(mtus)
    cost, rules, power = [], [], {peer.id: [np.zeros(mtus)] for peer in community.peers}
    for peer, device in community.devices():
        match device:
            case FixedLoad():
                power[peer.id].append(device.power_kw)
            case Curtailable():
                used = cp.Variable(mtus, nonneg=True)
                rules.append(used <= device.available_kw)
                power[peer.id].append(-used)
            case Battery():
                into, out = cp.Variable(mtus, nonneg=True), cp.Variable(mtus, nonneg=True)
                missing = cp.Variable(nonneg=True)
                flow = into * device.charge_efficiency - out / device.discharge_efficiency
                stored = device.initial_kwh + hours * (up_to_now @ flow)
                rules += [into <= device.max_charge_kw, out <= device.max_discharge_kw]
                rules += [stored >= 0, stored <= device.capacity_kwh, stored[-1] + missing >= device.final_kwh]
                cost += [device.cycle_cost * hours * cp.sum(out), community.shortfall_price * missing]
                cost.append(device.waiting_cost * hours * cp.sum(device.capacity_kwh - stored))
                power[peer.id] += [into, -out]
            case Interruptible():
                on = cp.Variable(mtus, nonneg=True) if relaxed else cp.Variable(mtus, boolean=True)
                rises = cp.pos(cp.diff(cp.hstack([float(device.running), on])))
                missed = device.required_mtus - cp.sum(on)
                allowed = np.zeros(mtus)
                allowed[device.first_mtu : device.end_mtu] = 1.0
                rules += [on <= allowed, missed >= 0]
                energy = device.power_kw * hours
                cost += [community.shortfall_price * energy * missed, device.waiting_cost * energy * (delay @ on)]
                cost.append(device.start_cost * cp.sum(rises))
                power[peer.id].append(device.power_kw * on)
    sold = [cp.Variable(mtus, nonneg=True) for _ in community.links]
    cost += [link.cost * cp.sum(energy) for link, energy in zip(community.links, sold, strict=True)]
    for peer in community.peers:
        bought, fed = cp.Variable(mtus, nonneg=True), cp.Variable(mtus, nonneg=True)
        flow = bought - fed - hours * sum(power[peer.id])
        for link, energy in zip(community.links, sold, strict=True):
            flow += energy * ((link.buyer == peer.id) - (link.seller == peer.id))
        rules.append(flow == 0)
        cost.append(tariff.import_price @ bought - tariff.export_price @ fed)
    for envelope in community.envelopes:
        total = sum(sum(power[peer]) for peer in envelope.peers) + cp.Constant(np.zeros(mtus))
        rules += [total >= envelope.lower_kw, total <= envelope.upper_kw]
    problem = cp.Problem(cp.Minimize(sum(cost)), rules)
    if relaxed:
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    else:
        problem.solve(solver=cp.SCIPY, scipy_options={"mip_rel_gap": 0.0})
    return float(problem.value)


def assert_equal_without_appliances(community: Community) -> None:
    outcome = dispatch(community, gap=0.0)
    truth = cheapest(community, relaxed=True)
    if isinstance(outcome, Infeasible):
        assert truth == float("inf")
    else:
        assert outcome.objective == pytest.approx(truth, abs=1e-6, rel=1e-6)
        assert outcome.lower_bound == pytest.approx(truth, abs=1e-6, rel=1e-6)


def assert_bracketed_with_appliances(community: Community) -> None:
    outcome = dispatch(community, gap=DECLARED_GAP)
    truth = cheapest(community, relaxed=False)
    if isinstance(outcome, Infeasible):
        assert truth == float("inf")
        return
    slack = 1e-6 * max(1.0, abs(truth))
    assert cheapest(community, relaxed=True) <= truth + slack
    assert outcome.lower_bound <= truth + slack
    assert truth <= outcome.objective + slack
    assert outcome.objective - outcome.lower_bound <= DECLARED_GAP * abs(outcome.objective) + slack
    exact = dispatch(community, gap=0.0)
    assert isinstance(exact, Clearing)
    assert exact.objective == pytest.approx(truth, abs=slack)


COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@settings(COMMON, max_examples=5)
@given(data=st.data())
def test_the_objective_is_that_of_an_independent_formulation(data: Any, communities: Communities) -> None:
    assert_equal_without_appliances(data.draw(communities(max_mtus=3)))


@pytest.mark.slow
@settings(COMMON, max_examples=examples(20, full=60))
@given(data=st.data())
def test_the_objective_is_that_of_an_independent_formulation_in_larger_communities(
    data: Any, communities: Communities
) -> None:
    assert_equal_without_appliances(data.draw(communities(max_peers=5, max_mtus=6)))


@settings(COMMON, max_examples=4)
@given(data=st.data())
def test_bound_and_objective_bracket_the_optimum_over_whole_hours(data: Any, communities: Communities) -> None:
    assert_bracketed_with_appliances(data.draw(communities(appliances=True, max_mtus=3)))


@pytest.mark.slow
@settings(COMMON, max_examples=examples(20, full=60))
@given(data=st.data())
def test_bound_and_objective_bracket_the_optimum_over_whole_hours_in_larger_communities(
    data: Any, communities: Communities
) -> None:
    community = data.draw(communities(appliances=True, max_peers=4, max_mtus=6))
    assume(any(isinstance(device, Interruptible) for _, device in community.devices()))
    assert_bracketed_with_appliances(community)
