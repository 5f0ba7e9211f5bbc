"""Bounds that hold at any prices, and prices at which they are good."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from optimization.clearing import Clearing
from optimization.community import Community, Envelope, Link, PeerId
from optimization.decomposition.master import Prices, find_prices, home_bounds, lower_bound, static_bounds
from optimization.decomposition.problem import Problem
from optimization.devices import Battery, Curtailable, FixedLoad, Interruptible
from optimization.dual_prices import project
from optimization.quantities import DeviceId
from optimization.reference.dispatch import dispatch
from optimization.reference.relaxation import Relaxation, relax
from tests.optimization.harsh_communities import harsh_community

MakeCommunity = Callable[..., Community]
MakeEnvelope = Callable[..., Envelope]


@pytest.fixture
def community(make_community: MakeCommunity, make_envelope: MakeEnvelope) -> Community:
    """Two homes with sun, a battery and a load, under a limit that binds: nothing in it is a whole number."""
    return make_community(
        {
            "sun": [
                Curtailable(id=DeviceId("pv"), available_kw=np.array([4.0, 1.0, 0.0, 0.0]), curtailment_cost=0.01),
                Battery(
                    id=DeviceId("battery"),
                    max_charge_kw=2.0,
                    max_discharge_kw=2.0,
                    capacity_kwh=3.0,
                    initial_kwh=0.5,
                    final_kwh=0.5,
                ),
            ],
            "shade": [FixedLoad(id=DeviceId("load"), power_kw=np.array([0.5, 1.0, 2.5, 1.0]))],
        },
        import_price=[0.30, 0.25, 0.40, 0.35],
        export_price=[0.08, 0.08, 0.08, 0.08],
        links=[Link(seller=PeerId("sun"), buyer=PeerId("shade"), network_charge=0.02)],
        envelopes=[make_envelope("sun", "shade", lower_kw=[-1.0] * 4, upper_kw=[1.2] * 4)],
    )


def random_prices(problem: Problem, random: np.random.Generator) -> Prices:
    """Any that are dual feasible, of envelopes only where they bound."""
    envelope = random.normal(0.0, 0.3, problem.lower_kw.shape) * (random.random(problem.lower_kw.shape) < 0.5)
    envelope = np.where((envelope > 0) & np.isinf(problem.upper_kw), 0.0, envelope)
    envelope = np.where((envelope < 0) & np.isinf(problem.lower_kw), 0.0, envelope)
    tariff = problem.community.tariff
    wanted = random.uniform(tariff.export_price, tariff.import_price, problem.fixed_kw.shape)
    return Prices(peer=project(problem.network, wanted), envelope=envelope)


def test_the_search_comes_close_to_the_optimum_of_a_convex_community(community: Community) -> None:
    relaxed = relax(community)
    assert isinstance(relaxed, Relaxation)
    problem = Problem.of(community)
    found = find_prices(problem, rounds=200)
    bound = lower_bound(problem, found.prices)
    assert bound <= relaxed.lower_bound + 1e-6
    assert bound == pytest.approx(relaxed.lower_bound, rel=2e-3)
    # Where the sun is more than may go out a kWh is worth what curtailing it costs less, 0.01, not 0.08.
    assert found.prices.envelope[0, 0] == pytest.approx(-0.09, abs=0.01)


def test_the_bound_is_the_sum_of_homes_and_shared_limits(community: Community) -> None:
    problem = Problem.of(community)
    prices = random_prices(problem, np.random.default_rng(1))
    limits = static_bounds(problem, prices, prices.of_members(problem))[1]
    assert lower_bound(problem, prices) == pytest.approx(float(home_bounds(problem, prices).sum() + limits.sum()))


def test_a_limit_on_one_home_is_that_home_s(community: Community) -> None:
    (street,) = community.envelopes
    problem = Problem.of(replace(community, envelopes=(replace(street, peers=frozenset({PeerId("shade")})),)))
    prices = Prices(peer=np.full((2, 4), 0.2), envelope=np.full((1, 4), 0.1))
    without = Prices(peer=prices.peer, envelope=np.zeros((1, 4)))
    # Of the load's 0.3 instead of 0.2 a kWh, less what the limit of 1.2 kW gives back.
    change = home_bounds(problem, prices) - home_bounds(problem, without)
    assert change == pytest.approx([0.0, 0.1 * 5.0 - 0.1 * 4 * 1.2])
    assert lower_bound(problem, prices) == pytest.approx(float(home_bounds(problem, prices).sum()))


def test_what_plants_cost_least_is_the_least_of_any_production(community: Community) -> None:
    random = np.random.default_rng(2)
    plan = {DeviceId("pv"): np.array([-2.0, -3.0, 0.5, 0.0])}
    problem = Problem.of(replace(community, planned_kw=plan, change_price=0.07))
    paid = random.uniform(-0.3, 0.3, (2, 4))
    prices = Prices(peer=paid, envelope=np.zeros((1, 4)))
    bound = static_bounds(problem, prices, paid)[0][0]
    grid = np.linspace(0.0, 1.0, 401)[:, None, None] * problem.available_kw[None]
    values = 0.01 * (problem.available_kw - grid) - paid[0] * grid + 0.07 * np.abs(grid + problem.plant_planned_kw)
    assert bound == pytest.approx(float(values.min(axis=0).sum()))


@pytest.mark.parametrize("seed", range(12))
def test_no_prices_prove_more_than_the_optimum(seed: int) -> None:
    community = harsh_community(seed, most_mtus=4)
    best = dispatch(community, gap=0.0)
    if not isinstance(best, Clearing):
        pytest.skip("no schedule keeps its limits: any bound holds")
    problem = Problem.of(community)
    random = np.random.default_rng(seed)
    for _ in range(5):
        bound = lower_bound(problem, random_prices(problem, random))
        assert bound <= best.objective + 1e-6 * max(1.0, abs(best.objective))


def test_prices_of_before_begin_where_they_ended(community: Community) -> None:
    problem = Problem.of(community)
    before = find_prices(problem, rounds=200)
    after = find_prices(problem, rounds=6, start=before.prices)
    cold = find_prices(problem, rounds=6)
    reached = lower_bound(problem, before.prices)
    assert lower_bound(problem, after.prices) >= reached - 1e-3 * abs(reached)
    assert lower_bound(problem, cold.prices) < reached


def test_a_stop_ends_the_search_but_not_before_there_are_columns(community: Community) -> None:
    problem = Problem.of(replace(community, envelopes=()))
    found = find_prices(problem, rounds=50, stop=lambda: True)
    assert 2 <= found.rounds < 50
    assert np.isfinite(found.value)
    assert found.mixed_kw.any()


def test_whole_numbers_leave_a_gap_that_mixing_closes(make_community: MakeCommunity) -> None:
    # One MTU of 2 kW is owed, 1 kW of sun is free in each of two: mixed, half of each; whole, 1 kW is bought.
    boiler = Interruptible(
        id=DeviceId("boiler"), power_kw=2.0, first_mtu=0, end_mtu=2, required_mtus=1, waiting_cost=0.0, start_cost=0.0
    )
    community = make_community(
        {"a": [boiler, Curtailable(id=DeviceId("pv"), available_kw=np.array([1.0, 1.0]))]},
        import_price=[0.3, 0.3],
        export_price=[0.0, 0.0],
    )
    problem = Problem.of(community)
    found = find_prices(problem, rounds=100)
    assert found.hulls.mixed()[0] == pytest.approx([1.0, 1.0], abs=0.02)
    assert lower_bound(problem, found.prices) == pytest.approx(0.0, abs=1e-3)
