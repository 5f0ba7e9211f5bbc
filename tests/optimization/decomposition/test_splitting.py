"""Bounds of homes whose devices have prices of their own: never too high, and higher than one price for all proves."""

from dataclasses import replace

import numpy as np
import pytest

from controller.plan.sample import sample_community
from optimization.clearing import Clearing
from optimization.community import Community, Envelope, PeerId
from optimization.decomposition.master import Prices, find_prices, home_bounds, shared_bound
from optimization.decomposition.problem import Problem, block_power
from optimization.decomposition.splitting import costs_of, split_bounds
from optimization.devices import Curtailable, FixedLoad, Interruptible
from optimization.devices.thermostats import FINE
from optimization.quantities import DeviceId, Floats
from optimization.reference.dispatch import dispatch
from optimization.scheduling import ScheduleOptions, schedule
from tests.optimization.lone_peer import lone_peer
from tests.scale import seeds

SUN = Curtailable(id=DeviceId("pv"), available_kw=np.array([1.0, 1.0]))


def pump(name: str, *, required: int = 1) -> Interruptible:
    return Interruptible(
        id=DeviceId(name),
        power_kw=2.0,
        first_mtu=0,
        end_mtu=2,
        required_mtus=required,
        waiting_cost=0.0,
        start_cost=0.0,
    )


def costs(problem: Problem, prices: Prices, clearing: Clearing) -> Floats:
    rows = np.array([clearing.device_kw[device.id] for _, device in problem.community.devices()])
    power, own = np.zeros((problem.peer.size, rows.shape[1])), np.zeros(problem.peer.size)
    for part in problem.parts:
        batch, mine = part.blocks.batch, rows[part.blocks.rows]
        power[part.place] = block_power(batch.block, mine, part.place.size)
        own[part.place] = batch.own_cost(mine) + problem.change_cost(part.place, power[part.place])
    return costs_of(problem, prices, power, own, -rows[problem.plant_row])


def bounds(community: Community, clearing: Clearing, *, rounds: int = 150) -> tuple[float, float]:
    """What one price for all proves, and what prices for each do."""
    problem = Problem.of(community)
    prices = find_prices(problem.refined(FINE), rounds=60).prices
    homes, shared = home_bounds(problem.refined(FINE), prices), shared_bound(problem, prices)
    cost = costs(problem, prices, clearing)
    assert cost.sum() + shared <= clearing.objective + 1e-6
    split = split_bounds(problem, prices, homes, cost, wanted=0.0, rounds=rounds)
    assert (split >= homes).all()
    return float(homes.sum()) + shared, float(split.sum()) + shared


def solved(community: Community) -> Clearing:
    outcome = dispatch(community, gap=0.0)
    assert isinstance(outcome, Clearing)
    return outcome


def test_a_load_that_is_twice_the_sun_buys_the_half_of_it() -> None:
    community = lone_peer(SUN, pump("pump"), import_price=[0.3, 0.3], export_price=[0.1, 0.1])
    one, each = bounds(community, solved(community))
    # Half of it now and half of it then would cost nothing: one kilowatt-hour is bought and one is sold.
    assert one == pytest.approx(0.0, abs=1e-3)
    assert each == pytest.approx(0.3 - 0.1, abs=1e-3)


def test_two_loads_that_want_the_same_sun_do_not_both_get_it() -> None:
    community = lone_peer(
        replace(SUN, available_kw=np.array([2.0, 0.0])),
        pump("pump"),
        pump("other", required=2),
        FixedLoad(id=DeviceId("load"), power_kw=np.array([0.5, 0.5])),
        import_price=[0.3, 0.3],
        export_price=[0.1, 0.1],
    )
    truth = solved(community)
    _, each = bounds(community, truth)
    assert each == pytest.approx(truth.objective, abs=1e-3)


def test_a_limit_on_the_home_alone_holds_in_its_bound() -> None:
    limited = lone_peer(
        SUN,
        pump("pump"),
        import_price=[0.3, 0.3],
        export_price=[0.1, 0.1],
        envelopes=(
            Envelope(
                name="feed-in",
                peers=frozenset({PeerId("ann")}),
                lower_kw=np.full(2, -0.25),
                upper_kw=np.full(2, np.inf),
            ),
        ),
    )
    truth = solved(limited)
    assert truth.objective == pytest.approx(0.3 - 0.025)
    _, each = bounds(limited, truth)
    assert each == pytest.approx(truth.objective, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(range(5), campaign=range(5, 12)))
def test_no_bound_is_above_what_a_home_costs(seed: int) -> None:
    community = sample_community(
        1 + seed % 3, seed, 24, mtu_minutes=60, links="none" if seed % 2 else "neighbours", transformer="binding"
    )
    truth = dispatch(community, gap=1e-3, time_limit=20.0)
    assert isinstance(truth, Clearing)
    one, each = bounds(community, truth, rounds=60)
    assert one <= each <= truth.objective + 1e-6


@pytest.mark.slow
def test_homes_without_neighbours_are_proven_nearer_than_by_one_price() -> None:
    community = sample_community(6, 1, 96, links="none")
    gaps = []
    for splits in (0, 60):
        outcome = schedule(community, options=ScheduleOptions(gap=1e-3, rebuilds=50, splits=splits))
        assert isinstance(outcome, Clearing)
        gaps.append((outcome.objective - outcome.lower_bound) / outcome.objective)
    assert gaps[1] < 0.6 * gaps[0]


def test_plans_that_may_not_change_are_part_of_the_bound() -> None:
    community = lone_peer(
        SUN,
        pump("pump"),
        import_price=[0.3, 0.2],
        export_price=[0.1, 0.1],
        planned_kw={DeviceId("pump"): np.array([2.0, 0.0])},
        change_price=0.03,
    )
    truth = solved(community)
    one, each = bounds(community, truth)
    assert one <= each <= truth.objective + 1e-6
    assert each == pytest.approx(truth.objective, abs=2e-3)
