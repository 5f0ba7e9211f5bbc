"""Who does not do what it was told, who is registered no more, who holds out: others give, and nobody gets away."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from controller.clamp import Cap
from controller.commands import Response
from controller.composing import Target
from controller.flexibility import Relay
from controller.limits.enforcer import RETURN_S
from controller.microgrid import SetpointKind
from tests.controller.limits.scenes import BOILER, GRID, START, STORAGE, Scene, two_batteries


@pytest.fixture
def two():
    return two_batteries()


@pytest.mark.parametrize("answer", [Response.OTHER, Response.NOTHING])
def test_who_does_not_do_as_told_counts_as_measured_and_others_give(two, answer):
    two.drivers.answers["ada/battery"] = answer
    two.limit(4500)
    told = two.drawn()
    assert told == {"ada/battery": 3000, "bob/battery": 500}, "told its share, counted at the 4000 W that it draws"
    two.see("ada/battery", 2990)
    two.drivers.answers.clear()
    two.enforcer.enforce_all()
    two.wait(RETURN_S)
    assert two.drawn() == {"ada/battery": 3000, "bob/battery": 1500}


@pytest.mark.parametrize(("measured", "left"), [(True, 1500), (False, 0)])
def test_what_nobody_measured_counts_at_its_worst_where_it_is_not_known_to_obey(measured, left):
    scene = Scene({"ada/boiler": BOILER, "bob/battery": STORAGE})
    scene.plan("ada/boiler", SetpointKind.RELAY, 1)
    scene.see("ada/boiler", 0, closed=True, measured=measured)
    scene.plan("bob/battery", SetpointKind.POWER, 4000, measured=4000)
    scene.drivers.answers["ada/boiler"] = Response.NOTHING
    scene.limit(1500)
    assert scene.drawn()["bob/battery"] == left


@pytest.mark.parametrize(
    ("answer", "left"),
    [(Response.OTHER, 0), (Response.NOTHING, 300), (Response.TOLD, 1500), (Response.VERIFIED, 1500)],
)
def test_who_says_nothing_of_itself_counts_at_its_worst_or_its_failsafe(two, answer, left):
    del two.drivers.seen["ada/battery"]
    two.drivers.declared = {"ada/battery": SimpleNamespace(failsafe=Target(kind=SetpointKind.POWER, value=4200))}
    two.drivers.answers["ada/battery"] = answer
    two.limit(4500)
    assert two.drawn() == {"ada/battery": 3000, "bob/battery": left}


def test_who_does_less_than_it_may_is_not_doubted(two):
    two.see("ada/battery", 0)
    two.drivers.answers["ada/battery"] = Response.OTHER
    two.limit(4500)
    assert two.drawn() == {"ada/battery": 3000, "bob/battery": 1500}


def test_a_relay_that_is_stuck_is_found_by_what_it_draws():
    scene = Scene({"ada/boiler": BOILER, "bob/battery": STORAGE})
    scene.plan("ada/boiler", SetpointKind.RELAY, 1, measured=2000, closed=True)
    scene.plan("bob/battery", SetpointKind.POWER, 4000, measured=4000)
    scene.limit(1500)
    assert scene.drawn() == {"ada/boiler": 0, "bob/battery": 1500}
    for _ in range(11):
        scene.see("bob/battery", 1500)
        scene.wait(1)
        assert scene.drawn()["bob/battery"] == 1500, "it was told a moment ago: its telemetry is from before"
    scene.see("ada/boiler", 2000, closed=True)
    scene.wait(1)
    assert scene.drawn() == {"ada/boiler": 0, "bob/battery": 0}
    assert scene.enforcer.kept("village")[GRID].excess_w == 500
    scene.wait(25)
    assert scene.drawn()["bob/battery"] == 0
    scene.wait(10)
    assert scene.drawn()["bob/battery"] == 0, "telemetry that got old does not clear it"
    scene.see("ada/boiler", 0, closed=False)
    scene.enforcer.enforce_all()
    scene.wait(RETURN_S)
    assert scene.drawn() == {"ada/boiler": 0, "bob/battery": 1500}


def test_a_device_that_is_deleted_counts_until_its_lease_has_run_out_and_is_told_nothing(two):
    two.limit(4500)
    two.remove("ada/battery")
    two.enforcer.enforce_all()
    assert two.drawn()["bob/battery"] == 500, "4000 W were measured of the other"
    assert two.caps()["ada/battery"] == Cap(max_consumption_w=0, max_production_w=0)
    del two.drivers.seen["ada/battery"]
    two.drivers.away.add("ada/battery")
    two.wait(1)
    assert two.drawn() == {"ada/battery": None, "bob/battery": 0}, "at its worst case"
    two.wait(59)
    two.see("bob/battery", 0)
    two.wait(RETURN_S)
    assert two.drawn()["bob/battery"] is None


def test_a_member_that_is_deleted_leaves_its_devices_under_the_connection_point(two):
    two.limit(4500)
    two.registered = replace(two.registered, members=two.registered.members[1:])
    two.remove("ada/battery")
    two.enforcer.enforce_all()
    assert two.drawn()["bob/battery"] == 500


def test_telemetry_that_goes_on_without_saying_since_when_renews_no_hard_time():
    boiler = Relay(rated_w=2000, start=START, end=START + 7200, required_s=3600, min_on_s=600, hard_minimum_times=True)
    scene = Scene({"ada/boiler": boiler})
    scene.plan("ada/boiler", SetpointKind.RELAY, 1, measured=2000, closed=True)
    scene.limit(0)
    for _ in range(30):
        assert scene.drawn() == {"ada/boiler": None}
        scene.wait(20)
        scene.see("ada/boiler", 2000, closed=True)
    scene.wait(1)
    assert scene.drawn() == {"ada/boiler": 0}


def test_a_wall_clock_that_leaps_ends_no_hard_time():
    boiler = Relay(rated_w=2000, start=START, end=START + 7200, required_s=3600, min_on_s=600, hard_minimum_times=True)
    scene = Scene({"ada/boiler": boiler})
    scene.plan("ada/boiler", SetpointKind.RELAY, 1, measured=2000, closed=True, held_s=0)
    seen = scene.drivers.seen["ada/boiler"]
    scene.drivers.seen["ada/boiler"] = replace(seen, state=replace(seen.state, instant=seen.state.instant - 86_400))
    scene.limit(0)
    assert scene.drawn() == {"ada/boiler": None}
