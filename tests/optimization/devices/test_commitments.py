import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimization.devices import Generator, Interruptible
from optimization.devices.commitments import Generators, Interruptibles
from optimization.devices.oracle import PowerCost, power_cost, priced, pulled
from optimization.quantities import DeviceId, Horizon
from tests.optimization.devices.commitment_truth import (
    appliance_may,
    enumerate_appliance,
    enumerate_generator,
    generator_may,
    milp_appliance,
    milp_generator,
)
from tests.optimization.devices.power_costs import power_costs

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
M = 100.0


@st.composite
def horizons(draw: st.DrawFn, most: int) -> Horizon:
    mtus = draw(st.integers(1, most))
    border = draw(st.integers(0, mtus - 1))
    return Horizon(mtus=mtus, mtu_minutes=draw(st.sampled_from((15, 60))), day_starts=(border,) if border else ())


@st.composite
def appliances(draw: st.DrawFn, horizon: Horizon) -> Interruptible:
    first = draw(st.integers(0, horizon.mtus))
    return Interruptible(
        id=DeviceId("pump"),
        power_kw=draw(st.sampled_from((0.0, 0.7, 2.0))),
        first_mtu=first,
        end_mtu=draw(st.integers(first, horizon.mtus)),
        required_mtus=draw(st.integers(0, 1 + horizon.mtus // 2)),
        min_on_mtus=draw(st.integers(1, 4)),
        min_off_mtus=draw(st.integers(1, 4)),
        max_starts=draw(st.none() | st.integers(0, 3)),
        starts_today=draw(st.integers(0, 2)),
        running=draw(st.booleans()),
        elapsed_mtus=draw(st.none() | st.integers(0, 4)),
        start_cost=draw(st.sampled_from((0.0, 5e-4, 0.2))),
    )


@st.composite
def generators(draw: st.DrawFn, *, quadratic: bool = True) -> Generator:
    most = draw(st.sampled_from((1.0, 3.0)))
    return Generator(
        id=DeviceId("chp"),
        min_kw=draw(st.sampled_from((0.0, 0.4, 1.0))),
        max_kw=most,
        quadratic_cost=draw(st.sampled_from((0.0, 0.1))) if quadratic else 0.0,
        linear_cost=draw(st.sampled_from((-0.1, 0.0, 0.15))),
        running_cost=draw(st.sampled_from((0.0, 0.05))),
        start_cost=draw(st.sampled_from((0.0, 0.1))),
        min_up_mtus=draw(st.integers(1, 4)),
        min_down_mtus=draw(st.integers(1, 4)),
        running=draw(st.booleans()),
        elapsed_mtus=draw(st.none() | st.integers(0, 4)),
    )


SEARCH_GAP = 1e-6
"""HiGHS ends a search where its schedule is at most so much dearer than the cheapest; scipy has no option for it."""


def check_cost(spent: float, truth: float, *, tolerance: float, above: float) -> None:
    """Costs are the truth, which may itself be so much above the least."""
    within = tolerance * (1.0 + abs(truth))
    assert truth - above - within <= spent <= truth + within


def check_appliance(
    device: Interruptible, horizon: Horizon, cost: PowerCost, truth: float, *, above: float = 0.0
) -> None:
    """The answer keeps the rules, costs what it says, and no more than the truth."""
    batch = Interruptibles.of([device], horizon, M)
    response = batch.respond(cost)
    on = tuple(int(p > 0) for p in response.power_kw[0])
    if device.power_kw > 0:
        assert appliance_may(device, horizon, on)
        assert set(response.power_kw[0]) <= {0.0, device.power_kw}
    spent = batch.own_cost(response.power_kw) + power_cost(cost, response.power_kw, horizon.hours)
    check_cost(float(spent[0]), truth, tolerance=1e-7, above=above)
    assert response.bound[0] == pytest.approx(spent[0], rel=1e-12, abs=1e-12)


def check_generator(device: Generator, horizon: Horizon, cost: PowerCost, truth: float, *, above: float = 0.0) -> None:
    batch = Generators.of([device], horizon, M)
    response = batch.respond(cost)
    output = -response.power_kw[0]
    producing = output > 0
    assert (output[producing] >= device.min_kw).all()
    assert (output <= device.max_kw).all()
    if device.min_kw > 0:
        assert generator_may(device, horizon, tuple(int(up) for up in producing))
    own = batch.own_cost(response.power_kw)
    assert own[0] == pytest.approx(response.own_cost[0], rel=1e-9, abs=1e-9)
    spent = own + power_cost(cost, response.power_kw, horizon.hours)
    check_cost(float(spent[0]), truth, tolerance=1e-6, above=above)
    assert response.bound[0] == pytest.approx(spent[0], rel=1e-9, abs=1e-9)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_schedule_of_an_appliance_is_cheaper(data: st.DataObject) -> None:
    horizon = data.draw(horizons(9))
    device, cost = data.draw(appliances(horizon)), data.draw(power_costs(horizon.mtus))
    check_appliance(device, horizon, cost, enumerate_appliance(device, horizon, cost, M))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_an_appliance_is_answered_as_by_the_mixed_integer_program(data: st.DataObject) -> None:
    horizon = data.draw(horizons(30))
    device, cost = data.draw(appliances(horizon)), data.draw(power_costs(horizon.mtus))
    check_appliance(device, horizon, cost, milp_appliance(device, horizon, cost, M), above=SEARCH_GAP)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_schedule_of_a_generator_is_cheaper(data: st.DataObject) -> None:
    horizon = data.draw(horizons(7))
    device, cost = data.draw(generators()), data.draw(power_costs(horizon.mtus))
    check_generator(device, horizon, cost, enumerate_generator(device, horizon, cost))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_generator_is_answered_as_by_the_mixed_integer_program(data: st.DataObject) -> None:
    horizon = data.draw(horizons(24))
    device = data.draw(generators(quadratic=False))
    cost = data.draw(power_costs(horizon.mtus, pulls=False))
    check_generator(device, horizon, cost, milp_generator(device, horizon, cost), above=SEARCH_GAP)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_ten_thousand_price_vectors_are_answered_as_by_the_mixed_integer_program() -> None:
    @settings(max_examples=max(1, round(10_000 * SCALE)), deadline=None, database=None)
    @given(data=st.data())
    def compare(data: st.DataObject) -> None:
        horizon = data.draw(horizons(24))
        cost = data.draw(power_costs(horizon.mtus, pulls=False))
        appliance = data.draw(appliances(horizon))
        check_appliance(appliance, horizon, cost, milp_appliance(appliance, horizon, cost, M), above=SEARCH_GAP)
        generator = data.draw(generators(quadratic=False))
        check_generator(generator, horizon, cost, milp_generator(generator, horizon, cost), above=SEARCH_GAP)

    compare()


def schedule(device: Interruptible, horizon: Horizon, *price: float) -> list[int]:
    """The MTUs in which the appliance is on."""
    response = Interruptibles.of([device], horizon, M).respond(priced(np.array([price])))
    return [int(t) for t in np.flatnonzero(response.power_kw[0])]


PUMP = Interruptible(id=DeviceId("pump"), power_kw=1.0, first_mtu=0, end_mtu=6, required_mtus=2)
SIX = Horizon(mtus=6, mtu_minutes=60)


def test_the_cheapest_mtus_are_chosen_and_of_equal_ones_the_earliest() -> None:
    assert schedule(PUMP, SIX, 3, 1, 3, 1, 3, 3) == [1, 3]
    assert schedule(PUMP, SIX, 1, 1, 1, 1, 1, 1) == [0, 1]
    assert schedule(replace(PUMP, waiting_cost=0.0, start_cost=0.0), SIX, 0, 0, 0, 0, 0, 0) == [0, 1]


def test_more_owed_than_the_window_has_room_for_fills_it_and_counts_the_rest() -> None:
    device = replace(PUMP, required_mtus=5, first_mtu=1, end_mtu=4)
    assert schedule(device, SIX, 9, 9, 9, 9, 9, 9) == [1, 2, 3]
    batch = Interruptibles.of([device], SIX, M)
    own = batch.own_cost(batch.respond(priced(np.ones((1, 6)))).power_kw)
    assert own[0] == pytest.approx(2 * M + device.start_cost + device.waiting_cost * (1 + 2 + 3))


def test_a_minimal_run_longer_than_what_is_owed_is_run_whole_and_not_beyond() -> None:
    device = replace(PUMP, required_mtus=1, min_on_mtus=3)
    assert schedule(device, SIX, 5, 1, 1, 1, 5, 5) == [1, 2, 3]
    assert schedule(device, SIX, -1, -1, -1, -1, -1, -1) == [0, 1, 2]


def test_a_run_carried_in_is_finished_outside_the_window_and_counts() -> None:
    device = replace(PUMP, running=True, elapsed_mtus=1, min_on_mtus=3, first_mtu=4, end_mtu=6, required_mtus=3)
    assert schedule(device, SIX, 9, 9, 1, 1, 1, 1) == [0, 1]
    assert schedule(replace(device, min_on_mtus=2), SIX, 9, 9, 1, 1, 1, 1) == [0, 4, 5]


def test_a_rest_carried_in_is_finished() -> None:
    device = replace(PUMP, running=False, elapsed_mtus=1, min_off_mtus=3)
    assert schedule(device, SIX, 1, 1, 5, 5, 5, 5) == [2, 3]


def test_going_on_needs_no_start_but_stops_where_the_window_ends() -> None:
    device = replace(PUMP, running=True, max_starts=0, required_mtus=4, end_mtu=3)
    assert schedule(device, SIX, 5, 5, 5, 1, 1, 1) == [0, 1, 2]


def test_starts_are_counted_a_day_and_those_made_before_count_on_the_first() -> None:
    horizon = Horizon(mtus=6, mtu_minutes=60, day_starts=(3,))
    device = replace(PUMP, required_mtus=4, max_starts=1)
    alternating = (1, 9, 1, 9, 1, 9)
    assert schedule(device, horizon, *alternating) == [0, 1, 2, 4]
    assert schedule(replace(device, starts_today=1), horizon, *alternating) == [3, 4, 5]
    assert schedule(replace(device, required_mtus=2), horizon, *alternating) == [0, 4]


def test_a_pull_to_a_target_switches_on_where_the_target_is_nearer_to_on() -> None:
    device = replace(PUMP, required_mtus=2, start_cost=0.0, waiting_cost=0.0)
    target = np.array([[0.2, 0.9, 0.1, 0.3, 0.8, 0.0]])
    response = Interruptibles.of([device], SIX, M).respond(pulled(target, 2.0))
    assert list(np.flatnonzero(response.power_kw[0])) == [1, 4]
    assert response.bound[0] == pytest.approx(((response.power_kw - target) ** 2).sum())


def test_some_blocks_of_a_batch_are_answered_as_in_the_whole() -> None:
    devices = [replace(PUMP, id=DeviceId(f"pump{i}"), power_kw=1.0 + i, required_mtus=i) for i in range(4)]
    price = np.random.default_rng(5).normal(size=(4, 6))
    batch = Interruptibles.of(devices, SIX, M)
    whole = batch.respond(priced(price))
    some = np.array([3, 1])
    part = batch.respond(priced(price[some]), some)
    assert (part.power_kw == whole.power_kw[some]).all()
    assert (part.bound == whole.bound[some]).all()
    assert (batch.own_cost(part.power_kw, some) == whole.own_cost[some]).all()


def test_threads_change_no_answer() -> None:
    many = Interruptibles.of([replace(PUMP, required_mtus=i % 6) for i in range(2000)], SIX, M)
    price = np.random.default_rng(6).normal(size=(2000, 6))
    whole = many.respond(priced(price)).power_kw
    one_by_one = [many.respond(priced(price[i : i + 1]), np.array([i])).power_kw[0] for i in range(0, 2000, 97)]
    assert (whole[::97] == np.array(one_by_one)).all()


def test_a_generator_runs_where_it_earns_its_start_and_its_minimum_times() -> None:
    device = Generator(
        id=DeviceId("chp"), min_kw=1.0, max_kw=2.0, linear_cost=0.2, start_cost=0.5, min_up_mtus=2, min_down_mtus=2
    )
    batch = Generators.of([device], SIX, M)
    response = batch.respond(priced(np.array([[0.1, 0.4, 0.1, 0.1, 0.1, 0.2]])))
    assert list(response.power_kw[0]) == [0.0] * 6
    response = batch.respond(priced(np.array([[0.0, 0.9, 0.1, 0.1, 0.1, 0.9]])))
    assert list(response.power_kw[0]) == [0.0, -2.0, -1.0, -1.0, -1.0, -2.0]
    assert response.own_cost[0] == pytest.approx(0.2 * 7 + 0.5)
    response = batch.respond(priced(np.array([[0.0, 0.9, -0.5, -0.5, 0.0, 0.9]])))
    assert list(response.power_kw[0]) == [-1.0, -2.0, 0.0, 0.0, 0.0, -2.0]
    assert response.own_cost[0] == pytest.approx(0.2 * 5 + 2 * 0.5)


def test_a_generator_produces_where_its_marginal_cost_meets_the_price() -> None:
    device = Generator(id=DeviceId("chp"), min_kw=0.5, max_kw=4.0, quadratic_cost=0.1, running=True)
    response = Generators.of([device], SIX, M).respond(priced(np.array([[0.0, 0.1, 0.2, 0.3, 0.4, 0.9]])))
    assert response.power_kw[0] == pytest.approx([0.0, -1.0, -2.0, -3.0, -4.0, -4.0])


def test_a_generator_that_was_started_stays_up_for_its_minimum() -> None:
    device = Generator(
        id=DeviceId("chp"), min_kw=1.0, max_kw=2.0, linear_cost=0.5, min_up_mtus=4, running=True, elapsed_mtus=1
    )
    response = Generators.of([device], SIX, M).respond(priced(np.zeros((1, 6))))
    assert list(response.power_kw[0]) == [-1.0, -1.0, -1.0, 0.0, 0.0, 0.0]


def test_a_generator_that_may_idle_up_is_charged_the_cheapest_commitment_that_its_output_allows() -> None:
    device = Generator(
        id=DeviceId("chp"), min_kw=0.0, max_kw=2.0, running_cost=0.1, start_cost=0.15, min_up_mtus=1, min_down_mtus=1
    )
    batch = Generators.of([device], SIX, M)
    gap_of_one = np.array([[-1.0, 0.0, -1.0, 0.0, 0.0, 0.0]])
    gap_of_two = np.array([[-1.0, 0.0, 0.0, -1.0, 0.0, 0.0]])
    assert batch.own_cost(gap_of_one)[0] == pytest.approx(3 * 0.1 + 0.15)
    assert batch.own_cost(gap_of_two)[0] == pytest.approx(2 * 0.1 + 2 * 0.15)
