"""Rules of programmes and their chains as the certificate checks them."""

from typing import Any

import numpy as np
import pytest

from optimization.certificate import certify
from optimization.community import Programme
from optimization.devices import Phase, Progress
from tests.optimization.certified_devices import (
    INFINITY,
    NAN,
    assert_right,
    assert_wrong,
    battery,
    certified,
    clearing_of,
    community_of,
)


def washer(**changes: Any) -> Programme:
    phases = (Phase(power_kw=[2.0, 1.0]), Phase(power_kw=[0.5, 0.5], min_pause_mtus=1, max_pause_mtus=2))
    fields = {"id": "washer", "phases": phases, "first_mtu": 1, "end_mtu": 9, "waiting_cost": 0.0}
    return Programme(**(fields | changes))


def dryer(**changes: Any) -> Programme:
    fields = {"id": "dryer", "phases": (Phase(power_kw=[3.0]),), "first_mtu": 0, "end_mtu": 10, "follows": "washer"}
    fields |= {"min_delay_mtus": 1, "max_delay_mtus": 2, "waiting_cost": 0.0}
    return Programme(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "power_kw"),
    [
        ({}, [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0, 0]),
        ({}, [0, 2, 1, 0, 0, 0.5, 0.5, 0, 0, 0]),
        ({}, [0, 0, 0, 0, 2, 1, 0, 0.5, 0.5, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=1)}, [1, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=1)}, [1, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=2)}, [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=2, paused_mtus=1)}, [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=2, paused_mtus=1)}, [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=2, paused_mtus=9)}, [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=1, elapsed_mtus=1), "end_mtu": 1}, [0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=1, elapsed_mtus=2, paused_mtus=3)}, [0] * 10),
    ],
)
def test_a_programme_may_be_placed_as_its_window_and_pauses_allow(
    changes: dict[str, Any], power_kw: list[float]
) -> None:
    assert_right(certified(community_of(washer(**changes), mtus=10), power_kw), 0.0)


@pytest.mark.parametrize(
    ("changes", "power_kw", "residual_kw"),
    [
        pytest.param({}, [2, 1, 0, 0.5, 0.5, 0, 0, 0, 0, 0], 2.0, id="before its window"),
        pytest.param({}, [0, 0, 0, 0, 0, 2, 1, 0, 0.5, 0.5], 2.0, id="beyond its window"),
        pytest.param({}, [0, 2, 1, 0.5, 0.5, 0, 0, 0, 0, 0], 0.5, id="a pause too short"),
        pytest.param({}, [0, 2, 1, 0, 0, 0, 0.5, 0.5, 0, 0], 0.5, id="a pause too long"),
        pytest.param({}, [0, 2, 0, 1, 0, 0.5, 0.5, 0, 0, 0], 1.0, id="interrupted"),
        pytest.param({}, [0, 2, 1, 0, 0.5, 0, 0, 0, 0, 0], 0.5, id="not finished"),
        pytest.param({}, [0, 2.25, 1, 0, 0.5, 0.5, 0, 0, 0, 0], 0.25, id="not its profile"),
        pytest.param({}, [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0.75, 0], 0.75, id="something afterwards"),
        pytest.param({}, [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0, NAN], INFINITY, id="NaN"),
        pytest.param(
            {"progress": Progress(phase=0, elapsed_mtus=1)}, [0, 1, 0, 0.5, 0.5, 0, 0, 0, 0, 0], 1.0, id="halted"
        ),
        pytest.param({"progress": Progress(phase=0, elapsed_mtus=1)}, [0] * 10, 1.0, id="given up"),
        pytest.param(
            {"progress": Progress(phase=0, elapsed_mtus=2)}, [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0], 0.5, id="too soon"
        ),
        pytest.param(
            {"progress": Progress(phase=0, elapsed_mtus=2, paused_mtus=1)},
            [0, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 0],
            0.5,
            id="too late",
        ),
        pytest.param(
            {"progress": Progress(phase=0, elapsed_mtus=2, paused_mtus=9)},
            [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0],
            0.5,
            id="later than at once",
        ),
        pytest.param(
            {"progress": Progress(phase=1, elapsed_mtus=2)}, [0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0.5, id="done already"
        ),
    ],
)
def test_a_programme_that_breaks_a_rule_is_named_with_its_distance_from_one_that_does_not(
    changes: dict[str, Any], power_kw: list[float], residual_kw: float
) -> None:
    assert_wrong(certified(community_of(washer(**changes), mtus=10), power_kw), "washer", residual_kw)


def test_a_programme_that_is_left_out_says_so_and_costs_all_its_energy() -> None:
    community = community_of(washer(), mtus=10, minutes=30)
    assert_right(certified(community, [0.0] * 10, shortfall={"washer": 2.0}), 200.0)
    assert_wrong(certified(community, [0.0] * 10, shortfall={}), "washer", 2.0)
    assert_wrong(certified(community, [0.0] * 10, shortfall={"washer": 1.5}), "washer", 1.0)
    ran = [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0, 0]
    assert_wrong(certified(community, ran, shortfall={"washer": 0.25}), "washer", 0.5)
    begun = community_of(washer(progress=Progress(phase=0, elapsed_mtus=1)), mtus=10)
    assert_wrong(certified(begun, [0.0] * 10, shortfall={"washer": 4.0}), "washer", 4.0)


def test_waiting_costs_by_the_energy_that_comes_late() -> None:
    community = community_of(washer(waiting_cost=0.1), mtus=10, minutes=30)
    assert_right(certified(community, [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0, 0]), 0.1 * 0.25 * (2 + 2 + 2 + 2.5))


WASHED = [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0, 0]
"""Ends with MTU 6: the dryer begins in 7 or 8."""


@pytest.mark.parametrize(
    ("dryer_kw", "shortfall", "violated"),
    [
        ([0, 0, 0, 0, 0, 0, 0, 3, 0, 0], {}, ""),
        ([0, 0, 0, 0, 0, 0, 0, 0, 3, 0], {}, ""),
        ([0, 0, 0, 0, 0, 0, 3, 0, 0, 0], {}, "device dryer"),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 3], {}, "device dryer"),
        ([3, 0, 0, 0, 0, 0, 0, 0, 0, 0], {}, "device dryer"),
        ([0] * 10, {"dryer": 3.0}, ""),
        ([0] * 10, {}, "device dryer"),
    ],
)
@pytest.mark.parametrize("dryer_first", [True, False])
def test_the_dryer_comes_after_the_washer_in_time(
    dryer_kw: list[float], shortfall: dict[str, float], violated: str, dryer_first: bool
) -> None:
    devices = (dryer(), washer()) if dryer_first else (washer(), dryer())
    community = community_of(*devices, mtus=10)
    powers = {"washer": WASHED, "dryer": dryer_kw}
    assert certify(community, clearing_of(community, powers, shortfall=shortfall)).violated == violated


def test_the_dryer_does_not_run_without_the_washer() -> None:
    community = community_of(washer(), dryer(), mtus=10)
    powers = {"washer": [0.0] * 10, "dryer": [0, 0, 0, 0, 0, 0, 0, 3, 0, 0]}
    assert certify(community, clearing_of(community, powers)).violated == "device dryer"
    powers["dryer"] = [0.0] * 10
    assert certify(community, clearing_of(community, powers)).feasible


@pytest.mark.parametrize(("begin", "violated"), [(0, "device dryer"), (1, ""), (2, ""), (3, "device dryer")])
def test_the_dryer_counts_from_when_the_washer_was_done_before_the_horizon(begin: int, violated: str) -> None:
    done = washer(progress=Progress(phase=1, elapsed_mtus=2, paused_mtus=2))
    community = community_of(done, dryer(min_delay_mtus=3, max_delay_mtus=4), mtus=10)
    powers = {"washer": [0.0] * 10, "dryer": [3.0 if t == begin else 0.0 for t in range(10)]}
    assert certify(community, clearing_of(community, powers)).violated == violated


def test_a_begun_dryer_no_longer_waits_for_the_washer() -> None:
    drying = dryer(phases=(Phase(power_kw=[3.0, 3.0]),), progress=Progress(phase=0, elapsed_mtus=1))
    community = community_of(washer(), drying, mtus=10)
    powers = {"washer": WASHED, "dryer": [3.0, *[0.0] * 9]}
    assert certify(community, clearing_of(community, powers)).feasible


def test_a_chain_is_placed_together_where_silent_phases_leave_more_than_one_way() -> None:
    """A soak without power hides when the washer ends: the dryer decides which way it must have been."""
    soak = Phase(power_kw=[0.0, 0.0], min_pause_mtus=0, max_pause_mtus=3)
    soaking = washer(phases=(Phase(power_kw=[2.0]), soak), first_mtu=0)
    community = community_of(soaking, dryer(min_delay_mtus=0, max_delay_mtus=0), mtus=10)
    for begin in range(10):
        powers = {"washer": [2.0, *[0.0] * 9], "dryer": [3.0 if t == begin else 0.0 for t in range(10)]}
        feasible = certify(community, clearing_of(community, powers)).feasible
        assert feasible == (3 <= begin <= 6)


def test_one_absurd_device_leaves_the_others_verdicts_as_they_are() -> None:
    community = community_of(washer(), dryer(), battery(final_kwh=0.0), mtus=10)
    powers = {"washer": [NAN] * 10, "dryer": [0.0] * 10, "battery": [0.0] * 10}
    certificate = certify(community, clearing_of(community, powers))
    assert certificate.violated == "device washer"
    assert certificate.primal_residual_kw == INFINITY
    assert np.isnan(certificate.objective)
    assert certificate.gap == INFINITY
