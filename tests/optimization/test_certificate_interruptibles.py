"""Rules of interruptible appliances as the certificate checks them."""

import dataclasses
from typing import Any

import pytest

from optimization.community import Interruptible
from tests.optimization.certified_devices import assert_right, assert_wrong, certified, community_of


def pump(**changes: Any) -> Interruptible:
    fields = {"id": "pump", "power_kw": 2.0, "first_mtu": 1, "end_mtu": 9, "required_mtus": 4, "min_on_mtus": 2}
    fields |= {"min_off_mtus": 2, "max_starts": 2, "waiting_cost": 0.0, "start_cost": 0.5}
    return Interruptible(**(fields | changes))


def powered(on: str, power_kw: float = 2.0) -> list[float]:
    """A schedule in words: x for an MTU in which a device runs."""
    return [power_kw if mark == "x" else 0.0 for mark in on]


@pytest.mark.parametrize(
    ("changes", "on", "starts"),
    [
        ({}, ".xx..xx...", 2),
        ({}, "..xxxx....", 1),
        ({}, ".....xxxx.", 1),
        ({}, ".xxxxx....", 1),
        ({"running": True, "first_mtu": 0}, "x..xxx....", 1),
        ({"running": True, "first_mtu": 0}, "xxxx......", 0),
        ({"running": True, "elapsed_mtus": 1}, "x..xxx....", 1),
        ({"running": True, "elapsed_mtus": 1, "first_mtu": 8, "required_mtus": 1}, "x.........", 0),
        ({"running": False, "elapsed_mtus": 1}, ".xxxx.....", 1),
        ({"max_starts": None, "min_on_mtus": 1, "min_off_mtus": 1}, ".x.x.x.x..", 4),
        ({"starts_today": 1}, ".xxxx.....", 1),
    ],
)
def test_an_appliance_may_what_its_rules_allow(changes: dict[str, Any], on: str, starts: int) -> None:
    assert_right(certified(community_of(pump(**changes), mtus=10), powered(on)), 0.5 * starts)


@pytest.mark.parametrize(
    ("changes", "on", "mtus_wrong"),
    [
        ({}, ".x...xxx..", 1),
        ({}, ".xx.xx....", 1),
        ({}, "......xxxx", 1),
        ({}, "xxxx......", 1),
        ({}, ".xxxxxx...", 1),
        ({"required_mtus": 6}, ".xx..xx.xx", 1),
        ({"max_starts": 1}, ".xx..xx...", 1),
        ({"starts_today": 2}, ".xxxx.....", 1),
        ({"starts_today": 5}, ".xxxx.....", 1),
        ({"running": True, "elapsed_mtus": 1}, "....xxxx..", 1),
        ({"running": True, "elapsed_mtus": 0, "min_on_mtus": 4}, ".xxxx.....", 1),
        ({"running": True, "first_mtu": 0}, ".xxxx.....", 1),
        ({"elapsed_mtus": 0}, ".xxxx.....", 1),
        ({"elapsed_mtus": 0, "min_off_mtus": 4}, ".xxxx.....", 3),
    ],
)
def test_an_appliance_that_breaks_a_rule_is_named(changes: dict[str, Any], on: str, mtus_wrong: int) -> None:
    assert_wrong(certified(community_of(pump(**changes), mtus=10), powered(on)), "pump", 2.0 * mtus_wrong)


def test_starts_are_counted_anew_every_day() -> None:
    twice = powered(".xx..xx...")
    once_a_day = pump(max_starts=1)
    assert certified(community_of(once_a_day, mtus=10, day_starts=(5,)), twice).feasible
    assert_wrong(certified(community_of(once_a_day, mtus=10, day_starts=(6,)), twice), "pump", 2.0)
    started = dataclasses.replace(once_a_day, starts_today=1)
    assert_wrong(certified(community_of(started, mtus=10, day_starts=(5,)), twice), "pump", 2.0)


@pytest.mark.parametrize(("claimed", "right"), [(2.0, True), (1.0, False), (3.0, False), (0.0, False)])
def test_mtus_that_are_missing_are_said_and_cost_their_energy(claimed: float, right: bool) -> None:
    certificate = certified(
        community_of(pump(), mtus=10, minutes=30), powered(".xx......."), shortfall={"pump": claimed}
    )
    if right:
        assert_right(certificate, 0.5 + 2.0 * 2.0 * 0.5 * 100.0)
    else:
        assert_wrong(certificate, "pump", 2.0 * abs(claimed - 2.0))
