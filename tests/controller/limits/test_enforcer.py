"""What devices may do, from what is measured, planned and limited."""

import asyncio
from hashlib import sha256
from types import SimpleNamespace

import pytest

from controller.clamp import Cap
from controller.composing import Target
from controller.flexibility import ChargingLevel, Plant, Relay, Thermostat
from controller.limits.enforcer import RETURN_S
from controller.limits.values import Default, Signature, Source
from controller.microgrid import SetpointKind
from tests.controller.flexibility_cases import vehicle
from tests.controller.limits.scenes import ADA, GRID, START, STORAGE, WASHER, Scene, two_batteries


@pytest.fixture
def two():
    return two_batteries()


def test_without_a_limit_nobody_is_capped(two):
    two.enforcer.enforce_all()
    assert two.caps() == {"ada/battery": None, "bob/battery": None}
    assert two.drivers.told == []


def test_a_limit_is_shared_in_proportion_and_told_to_whom_it_concerns(two):
    two.limit(3000)
    assert two.drawn() == {"ada/battery": 2000, "bob/battery": 1000}
    assert two.drivers.told == [{"ada/battery", "bob/battery"}]
    assert two.capped == [("village", 2)]


def test_what_the_meter_sees_besides_devices_comes_first(two):
    two.measure(GRID, 7500)
    two.limit(3000)
    assert sum(two.drawn().values()) == 1500
    assert two.enforcer.kept("village")[GRID].curtailed_w == 4500


def test_a_member_s_limit_leaves_others_alone(two):
    two.limit(1000, target=ADA)
    assert two.drawn() == {"ada/battery": 1000, "bob/battery": None}
    assert two.drivers.told == [{"ada/battery"}]
    assert two.enforcer.kept("village")[ADA].curtailed_w == 3000


def test_of_a_source_s_defaults_the_one_of_the_target_is_handed_out_and_hashed(two):
    payloads = {GRID: b"grid", ADA: b"ada"}
    for target, upper_w in ((GRID, 50_000), (ADA, 1000)):
        signed = Signature(payload=payloads[target], signature=b"s", key_id="k")
        default = Default(
            microgrid="village",
            source=Source(holder="wires"),
            target=target,
            lower_w=None,
            upper_w=upper_w,
            signed=signed,
        )
        asyncio.run(two.book.set_default(default))
    assert two.drawn() == {"ada/battery": 1000, "bob/battery": None}
    assert [limit.payload for limit in two.enforcer.limits_of("village", "ada/battery")] == [b"ada"]
    held = two.book.limits_for_window("village", START, START + 900)
    wanted = {target: sha256(payload).hexdigest() for target, payload in payloads.items()}
    assert {limit.target: limit.digest for limit in held} == wanted


def test_who_is_away_counts_at_its_worst_case(two):
    two.drivers.away.add("bob/battery")
    del two.drivers.seen["bob/battery"]
    two.limit(6000)
    assert two.drawn() == {"ada/battery": 1000, "bob/battery": None}


def test_a_device_whose_powers_are_none_keeps_no_limit_from_being_kept(caplog):
    backwards = vehicle(START, START + 7200, levels=(ChargingLevel(lower_w=4000, upper_w=3000),))
    scene = Scene({"ada/car": backwards, "bob/battery": STORAGE})
    scene.plan("bob/battery", SetpointKind.POWER, 2000, measured=2000)
    scene.limit(6000)
    assert scene.drawn() == {"bob/battery": 0}
    scene.see("ada/car", 5000)
    scene.wait(1)
    assert scene.drawn() == {"bob/battery": 1000}
    scene.remove("ada/car")
    scene.wait(1)
    assert scene.drawn() == {"bob/battery": 1000}
    assert [record.getMessage() for record in caplog.records] == [
        "device ada/car: counted at its worst case, of any power: "
        "level: got [4000, 3000] W, wanted 0 <= min <= max <= 1000000000"
    ]


def test_telemetry_that_got_old_counts_no_more(two):
    two.drivers.away.add("bob/battery")
    two.limit(6500)
    assert two.drawn()["ada/battery"] is None
    two.wait(31)
    two.see("ada/battery", 4000)
    two.enforcer.enforce_all()
    assert two.drawn()["ada/battery"] == 1500


def test_a_washer_that_runs_is_not_interrupted():
    scene = Scene({"ada/washer": WASHER, "bob/battery": STORAGE})
    scene.plan("ada/washer", SetpointKind.RELAY, 1, measured=1800, closed=True)
    scene.plan("bob/battery", SetpointKind.POWER, 2000, measured=2000)
    scene.limit(2000)
    assert scene.drawn() == {"ada/washer": None, "bob/battery": 200}
    scene.limit(1000)
    assert scene.enforcer.kept("village")[GRID].excess_w == 800


def test_a_washer_that_waits_is_not_started():
    scene = Scene({"ada/washer": WASHER})
    scene.plan("ada/washer", SetpointKind.RELAY, 1, measured=0, closed=False)
    scene.limit(1000)
    assert scene.drawn() == {"ada/washer": 0}


@pytest.mark.parametrize("hard", [False, True])
def test_a_hard_least_run_ends_before_a_limit_reaches_it(hard):
    boiler = Relay(rated_w=2000, start=START, end=START + 7200, required_s=3600, min_on_s=1800, hard_minimum_times=hard)
    scene = Scene({"ada/boiler": boiler})
    scene.plan("ada/boiler", SetpointKind.RELAY, 1, measured=2000, closed=True, held_s=1700)
    scene.limit(1000)
    assert scene.drawn() == {"ada/boiler": None if hard else 0}
    assert scene.enforcer.kept("village")[GRID].excess_w == (1000 if hard else 0)
    scene.wait(100)
    assert scene.drawn() == {"ada/boiler": 0}


@pytest.mark.parametrize("held", [None, 0])
def test_who_does_not_say_since_when_has_just_switched(held):
    heater = Thermostat(
        rated_w=2000,
        heat_capacity_wh_per_k=100,
        loss_milli_w_per_k=1000,
        performance_ppm=1_000_000,
        ambient_milli_c=20_000,
        temperature_milli_c=50_000,
        lower_milli_c=45_000,
        upper_milli_c=60_000,
        min_on_s=600,
        hard_minimum_times=True,
    )
    scene = Scene({"ada/heater": heater})
    scene.plan("ada/heater", SetpointKind.RELAY, 1, measured=2000, closed=True, held_s=held)
    scene.limit(0)
    scene.wait(599)
    assert scene.drawn() == {"ada/heater": None}
    scene.wait(1)
    assert scene.drawn() == {"ada/heater": 0}


def test_a_feed_in_limit_curtails_production_and_never_makes_anyone_draw():
    scene = Scene({"ada/battery": STORAGE})
    scene.plan("ada/battery", SetpointKind.POWER, -4000, measured=-4000)
    scene.limit(lower=-1000)
    assert scene.caps()["ada/battery"] == Cap(max_consumption_w=None, max_production_w=1000, binding=(GRID,))


def test_the_return_is_spread_over_a_minute_and_tightening_is_not(two):
    two.limit(0)
    assert two.allowed() == 0
    two.limit(6000)
    assert two.allowed() == 0, "no time has passed"
    levels = []
    for _ in range(6):
        two.wait(RETURN_S / 20)
        for id_ in two.drivers.plans:
            two.see(id_, 0)
        levels.append(two.allowed())
    assert levels == sorted(levels)
    assert 0 < levels[0] < 6000
    two.wait(RETURN_S)
    assert two.allowed() == 6000
    two.limit(100)
    assert two.allowed() == 100


def test_looks_in_quick_succession_do_not_hold_the_return_up(two):
    two.limit(0)
    two.limit(6000)
    for _ in range(2000):
        two.wait(RETURN_S / 2000)
        for id_ in two.drivers.plans:
            two.see(id_, 0)
    assert two.allowed() == 6000


def test_failsafes_that_do_not_fit_together_are_told(two):
    asyncio.run(
        two.book.set_default(
            Default(microgrid="village", source=Source(holder="wires"), target=GRID, lower_w=None, upper_w=3000)
        )
    )
    assert two.enforcer.kept("village")[GRID].failsafe_excess_w == 7000
    off = SimpleNamespace(failsafe=Target(kind=SetpointKind.POWER, value=0))
    two.drivers.declared = {"ada/battery": off, "bob/battery": off}
    two.enforcer.enforce_all()
    assert two.enforcer.kept("village")[GRID].failsafe_excess_w == 0


def test_a_failsafe_that_draws_counts_where_nothing_is_planned(two):
    two.drivers.plans["bob/battery"] = None
    two.drivers.declared = {"bob/battery": SimpleNamespace(failsafe=Target(kind=SetpointKind.POWER, value=1500))}
    two.limit(4500)
    assert sum(two.drawn().values()) == 4500
    assert two.drawn()["bob/battery"] == 1500 * 4500 // 5500


def test_without_plan_and_known_failsafe_a_device_counts_as_measured_and_is_not_told(two):
    two.drivers.plans["bob/battery"] = None
    two.limit(4500)
    assert two.drawn() == {"ada/battery": 2500, "bob/battery": None}
    two.drivers.seen.clear()
    two.enforcer.enforce_all()
    assert two.drawn() == {"ada/battery": 0, "bob/battery": None}


def test_a_plant_without_plan_and_known_failsafe_is_held_to_a_limit_on_feeding_in():
    scene = Scene({"ada/pv": Plant(rated_w=4000)})
    scene.drivers.plans["ada/pv"] = None
    scene.see("ada/pv", -3000)
    scene.limit(lower=-1000)
    assert scene.caps()["ada/pv"] == Cap(max_consumption_w=None, max_production_w=1000, binding=(GRID,))


def test_one_microgrid_s_fault_keeps_no_other_from_its_turn(two, caplog):
    two.limit(3000)
    two.drivers.planned = None
    two.enforcer.enforce_all()
    assert "limits of microgrid village" in caplog.text
