import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimization.devices import Phase, Programme, Progress
from optimization.devices.oracle import PowerCost, power_cost, priced
from optimization.devices.programmes import Programmes
from optimization.errors import ProblemError
from optimization.quantities import DeviceId, Horizon
from tests.optimization.devices.power_costs import power_costs
from tests.optimization.devices.programme_truth import chain_placements, enumerate_chain, milp_chain

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))
M = 100.0


@st.composite
def phases(draw: st.DrawFn) -> Phase:
    least = draw(st.integers(0, 2))
    return Phase(
        power_kw=np.array(draw(st.lists(st.sampled_from((0.0, 0.5, 2.0)), min_size=1, max_size=3))),
        min_pause_mtus=least,
        max_pause_mtus=draw(st.integers(least, least + 3)),
    )


@st.composite
def chains(draw: st.DrawFn, horizon: Horizon, *, begun: bool, most: int = 3) -> list[Programme]:
    chain: list[Programme] = []
    for d in range(draw(st.integers(1, most))):
        steps = tuple(draw(st.lists(phases(), min_size=1, max_size=3 if d == 0 else 2)))
        first, least = draw(st.integers(0, horizon.mtus // 2)), draw(st.integers(0, 2))
        progress = None
        if begun and d == 0:
            at = draw(st.integers(0, len(steps) - 1))
            elapsed = draw(st.integers(1, steps[at].mtus))
            progress = Progress(
                phase=at,
                elapsed_mtus=elapsed,
                paused_mtus=draw(st.integers(0, 4)) if elapsed == steps[at].mtus else 0,
            )
        chain.append(
            Programme(
                id=DeviceId(f"p{d}"),
                phases=steps,
                first_mtu=first,
                end_mtu=draw(st.integers(first, horizon.mtus)),
                follows=DeviceId(f"p{d - 1}") if d else None,
                min_delay_mtus=least,
                max_delay_mtus=draw(st.sampled_from((least, least + 3, 192))),
                progress=progress,
            )
        )
    return chain


def check(chain: list[Programme], horizon: Horizon, cost: PowerCost, truth: float) -> None:
    """The answer costs what it says and no more than the truth."""
    batch = Programmes.of(chain, horizon, M)
    response = batch.respond(cost)
    assert [device.id for device in batch.devices] == [device.id for device in chain]
    own = batch.own_cost(response.power_kw)
    spent = own + power_cost(cost, response.power_kw.sum(axis=0)[None], horizon.hours)
    assert spent[0] == pytest.approx(truth, abs=1e-7 * (1.0 + abs(truth)))
    assert response.bound[0] == pytest.approx(spent[0], rel=1e-12, abs=1e-12)
    assert response.own_cost[0] == own[0]


def check_against_all(chain: list[Programme], horizon: Horizon, cost: PowerCost) -> None:
    """The answer is one of all placements, and the cheapest."""
    check(chain, horizon, cost, enumerate_chain(chain, horizon, cost, M))
    power = Programmes.of(chain, horizon, M).respond(cost).power_kw
    ways = chain_placements(chain, horizon, range(horizon.mtus), M)
    assert any((power == np.array(powers)).all() for _, powers in ways)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_placement_of_a_chain_is_cheaper(data: st.DataObject) -> None:
    horizon = Horizon(mtus=data.draw(st.integers(4, 11)), mtu_minutes=30)
    chain = data.draw(chains(horizon, begun=False))
    check_against_all(chain, horizon, data.draw(power_costs(horizon.mtus)))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_placement_of_what_is_left_of_a_begun_chain_is_cheaper(data: st.DataObject) -> None:
    horizon = Horizon(mtus=data.draw(st.integers(1, 10)), mtu_minutes=30)
    chain = data.draw(chains(horizon, begun=True))
    check_against_all(chain, horizon, data.draw(power_costs(horizon.mtus)))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_chain_is_answered_as_by_the_mixed_integer_program(data: st.DataObject) -> None:
    horizon = Horizon(mtus=data.draw(st.integers(8, 24)))
    chain = data.draw(chains(horizon, begun=False))
    cost = data.draw(power_costs(horizon.mtus))
    check(chain, horizon, cost, milp_chain(chain, horizon, cost, M))


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_ten_thousand_price_vectors_are_answered_as_by_the_mixed_integer_program() -> None:
    @settings(max_examples=max(1, round(10_000 * SCALE)), deadline=None, database=None)
    @given(data=st.data())
    def compare(data: st.DataObject) -> None:
        horizon = Horizon(mtus=data.draw(st.integers(8, 24)))
        chain = data.draw(chains(horizon, begun=False))
        cost = data.draw(power_costs(horizon.mtus))
        check(chain, horizon, cost, milp_chain(chain, horizon, cost, M))

    compare()


EIGHT = Horizon(mtus=8, mtu_minutes=60)
WASHER = Programme(
    id=DeviceId("washer"), phases=(Phase(power_kw=np.array([2.0, 0.5])),), first_mtu=0, end_mtu=8, waiting_cost=0.0
)
DRYER = Programme(
    id=DeviceId("dryer"),
    phases=(Phase(power_kw=np.array([3.0])),),
    first_mtu=0,
    end_mtu=8,
    follows=WASHER.id,
    min_delay_mtus=1,
    max_delay_mtus=2,
    waiting_cost=0.0,
)


def powers(chain: list[Programme], horizon: Horizon, *price: float) -> list[list[float]]:
    response = Programmes.of(chain, horizon, M).respond(priced(np.array([price])))
    return [list(row) for row in response.power_kw]


def test_a_programme_runs_whole_where_it_is_cheapest_and_of_equal_places_at_the_earliest() -> None:
    assert powers([WASHER], EIGHT, 3, 3, 1, 3, 3, 3, 1, 3) == [[0, 0, 2, 0.5, 0, 0, 0, 0]]
    assert powers([WASHER], EIGHT, *[1.0] * 8) == [[2, 0.5, 0, 0, 0, 0, 0, 0]]


def test_phases_wait_for_cheap_mtus_as_long_as_their_pauses_allow() -> None:
    two = replace(WASHER, phases=(Phase(power_kw=np.ones(1)), Phase(power_kw=np.ones(1), max_pause_mtus=2)))
    assert powers([two], EIGHT, 1, 9, 9, 2, 9, 9, 9, 1) == [[1, 0, 0, 1, 0, 0, 0, 0]]
    longer = replace(two, phases=(two.phases[0], replace(two.phases[1], min_pause_mtus=3, max_pause_mtus=9)))
    assert powers([longer], EIGHT, 1, 9, 9, 5, 9, 9, 9, 1) == [[1, 0, 0, 0, 0, 0, 0, 1]]


def test_the_dryer_begins_within_its_delay_after_the_washer() -> None:
    washer, dryer = powers([WASHER, DRYER], EIGHT, 1, 1, 9, 9, 5, 9, 9, 9)
    assert washer == [2, 0.5, 0, 0, 0, 0, 0, 0]
    assert dryer == [0, 0, 0, 0, 3, 0, 0, 0]
    washer, dryer = powers([WASHER, DRYER], EIGHT, 1, 1, 9, 9, 5, 9, 9, -20)
    assert washer == [0, 0, 0, 0, 2, 0.5, 0, 0]
    assert dryer == [0, 0, 0, 0, 0, 0, 0, 3]


def test_a_dryer_without_room_after_the_washer_is_left_out_at_the_price_of_its_energy() -> None:
    batch = Programmes.of([replace(WASHER, first_mtu=6), DRYER], EIGHT, M)
    response = batch.respond(priced(np.ones((1, 8))))
    assert [list(row) for row in response.power_kw] == [[0, 0, 0, 0, 0, 0, 2, 0.5], [0] * 8]
    assert response.own_cost[0] == pytest.approx(3 * M)


def test_a_dryer_does_not_run_when_the_washer_fits_nowhere() -> None:
    batch = Programmes.of([replace(WASHER, first_mtu=7), DRYER], EIGHT, M)
    response = batch.respond(priced(np.full((1, 8), -1.0)))
    assert not response.power_kw.any()
    assert response.own_cost[0] == pytest.approx(5.5 * M)


def test_a_running_phase_goes_on_whatever_it_costs_and_outside_its_window() -> None:
    running = replace(WASHER, progress=Progress(phase=0, elapsed_mtus=1), first_mtu=5)
    assert powers([running], EIGHT, 99, 0, 0, 0, 0, 0, 0, 0) == [[0.5, 0, 0, 0, 0, 0, 0, 0]]


def test_a_paused_programme_goes_on_within_what_is_left_of_its_pause() -> None:
    steps = (Phase(power_kw=np.ones(2)), Phase(power_kw=np.ones(1), min_pause_mtus=3, max_pause_mtus=4))
    paused = replace(WASHER, phases=steps, progress=Progress(phase=0, elapsed_mtus=2, paused_mtus=1))
    assert powers([paused], EIGHT, 0, 0, 5, 4, 0, 0, 0, 0) == [[0, 0, 0, 1, 0, 0, 0, 0]]
    overdue = replace(paused, progress=Progress(phase=0, elapsed_mtus=2, paused_mtus=9))
    assert powers([overdue], EIGHT, 9, 0, 0, 0, 0, 0, 0, 0) == [[1, 0, 0, 0, 0, 0, 0, 0]]


def test_what_lies_beyond_the_horizon_is_cut_off() -> None:
    long = replace(WASHER, phases=(Phase(power_kw=np.arange(1.0, 6.0)),), end_mtu=3)
    running = replace(long, progress=Progress(phase=0, elapsed_mtus=1))
    assert powers([running], Horizon(mtus=3), 1, 1, 1) == [[2, 3, 4]]
    assert powers([long], Horizon(mtus=3), -1, -1, -1) == [[0, 0, 0]]


def test_a_finished_washer_still_times_the_dryer() -> None:
    done = replace(WASHER, progress=Progress(phase=0, elapsed_mtus=2, paused_mtus=1))
    assert powers([done, DRYER], EIGHT, 5, 4, 0, 0, 0, 0, 0, 0) == [[0] * 8, [0, 3, 0, 0, 0, 0, 0, 0]]
    long_done = replace(done, progress=Progress(phase=0, elapsed_mtus=2, paused_mtus=3))
    assert powers([long_done, DRYER], EIGHT, *[0.0] * 8) == [[0] * 8, [0] * 8]


def test_chains_are_found_in_any_order_and_a_begun_follower_stands_alone() -> None:
    other = replace(WASHER, id=DeviceId("dishes"))
    batch = Programmes.of([DRYER, other, WASHER], EIGHT, M)
    assert [device.id for device in batch.devices] == ["dishes", "washer", "dryer"]
    assert list(batch.block) == [0, 1, 1]
    begun = replace(DRYER, phases=(Phase(power_kw=np.ones(2)),), progress=Progress(phase=0, elapsed_mtus=1))
    alone = Programmes.of([begun, WASHER], EIGHT, M)
    assert list(alone.block) == [0, 1]


def test_some_blocks_of_a_batch_are_answered_as_in_the_whole() -> None:
    devices = [DRYER, WASHER, replace(WASHER, id=DeviceId("dishes")), replace(WASHER, id=DeviceId("late"), first_mtu=4)]
    batch = Programmes.of(devices, EIGHT, M)
    price = np.random.default_rng(4).normal(size=(3, 8))
    whole = batch.respond(priced(price))
    some = np.array([2, 0])
    part = batch.respond(priced(price[some]), some)
    rows = np.concatenate([np.flatnonzero(batch.block == b) for b in some])
    assert (part.power_kw == whole.power_kw[rows]).all()
    assert (part.bound == whole.bound[some]).all()
    assert (batch.own_cost(part.power_kw, some) == whole.own_cost[some]).all()


@pytest.mark.parametrize(
    ("programmes", "message"),
    [
        ([DRYER], "dryer.follows: got washer"),
        ([WASHER, DRYER, replace(DRYER, id=DeviceId("iron"))], "washer: got followers dryer and iron"),
        ([replace(WASHER, follows=DRYER.id), DRYER], "got a ring"),
    ],
)
def test_a_broken_chain_is_refused(programmes: list[Programme], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        Programmes.of(programmes, EIGHT, M)
