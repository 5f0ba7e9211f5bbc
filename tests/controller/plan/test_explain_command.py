"""``gridpact explain``: why a device runs when it does, from a plan alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.demo.strict import Reader
from controller.plan.planning import PlanOptions, plan_community
from controller.plan.reading import community_of
from controller.plan.result import as_json

Gridpact = Callable[..., Any]

MORE: list[dict[str, Any]] = [
    {
        **{"id": "a/battery", "kind": "battery", "max_charge_kw": 1, "max_discharge_kw": 1, "capacity_kwh": 4},
        **{"initial_kwh": 2, "final_kwh": 2, "min_kwh": 1},
    },
    {
        **{"id": "a/car", "kind": "electric_vehicle", "arrival": "17:00", "departure": "21:00", "capacity_kwh": 40},
        **{"initial_kwh": 10, "required_kwh": 12, "levels": [{"lower_kw": 1, "upper_kw": 2}]},
    },
    {
        **{"id": "a/heater", "kind": "thermostatic", "rated_kw": 1, "heat_capacity_kwh_per_k": 0.2, "performance": 1},
        **{"loss_kw_per_k": 0.002, "ambient_c": 18, "draw_kw": 0.2, "lower_c": 45, "upper_c": 65, "initial_c": 50},
    },
    {"id": "a/generator", "kind": "generator", "min_kw": 1, "max_kw": 2, "linear_cost": 0.5, "min_up_mtus": 2},
]
CHAIN: list[dict[str, Any]] = [
    {"id": "b/washer", "kind": "programme", "phases": [{"power_kw": [1, 0.5]}]},
    {"id": "b/dryer", "kind": "programme", "phases": [{"power_kw": [0.8]}], "follows": "b/washer"},
]


@pytest.fixture(scope="module")
def planned(community: dict[str, Any]) -> str:
    """What the command prints for two homes with a device of every kind."""
    community["peers"][0]["devices"] += MORE
    community["peers"][1]["devices"] += CHAIN
    plan = plan_community(community_of(Reader(community, "small")), PlanOptions())
    assert plan.status in {"OPTIMAL", "FEASIBLE"}
    return json.dumps(as_json(plan))


@pytest.fixture
def plan(planned: str, tmp_path: Path) -> Path:
    """The same as a file of the test's own."""
    path = tmp_path / "plan.json"
    path.write_text(planned, encoding="utf-8")
    return path


def changed(plan: Path, device: str, power: list[float], prices: list[float]) -> Path:
    """A plan in which one device, and its peer's prices, are others."""
    content = json.loads(plan.read_text(encoding="utf-8"))
    content["schedules"][device] = power
    content["prices"][device.split("/", maxsplit=1)[0]] = prices
    other = plan.with_name("changed.json")
    other.write_text(json.dumps(content), encoding="utf-8")
    return other


def test_costs_are_those_of_its_hours_its_cheapest_and_its_first(plan: Path, gridpact: Gridpact) -> None:
    path = changed(plan, "a/pump", [0, 0, 0, 1, 1, 0], [0.4, 0.3, 0.3, 0.2, 0.25, 0.1])
    told = gridpact("explain", path, "a/pump", "--json").json
    assert (told["device"], told["kind"], told["peer"], told["together"]) == ("a/pump", "interruptible", "a", [])
    assert told["energy_kwh"] == 2
    assert told["runs"] == [
        {
            "from": "2026-03-18T19:00:00+01:00",
            "to": "2026-03-18T21:00:00+01:00",
            "first_mtu": 3,
            "end_mtu": 5,
            "energy_kwh": 2,
            "mean_price": 0.225,
        }
    ]
    assert told["planned"]["energy_cost"] == pytest.approx(0.45)
    assert told["cheapest"]["power_kw"] == [0, 0, 0, 1, 0, 1]
    assert told["cheapest"]["energy_cost"] == pytest.approx(0.3)
    assert told["at_once"]["power_kw"] == [1, 1, 0, 0, 0, 0]
    assert told["at_once"]["energy_cost"] == pytest.approx(0.7)


def test_it_is_told_in_plain_words(plan: Path, gridpact: Gridpact) -> None:
    path = changed(plan, "a/pump", [0, 0, 0, 1, 1, 0], [0.4, 0.3, 0.3, 0.2, 0.25, 0.3])
    ran = gridpact("explain", path, "a/pump")
    assert ran.code == 0
    assert "19:00-21:00: 2.00 kWh at 0.200 to 0.250 EUR/kWh" in ran.out
    assert "No other schedule of its own would cost less." in ran.out
    assert "Running at once, 16:00-18:00, would cost 0.70" in ran.out
    assert "window: it owes 2 h within 16:00-22:00" in ran.out


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("a/load", ["nobody controls it"]),
        ("a/pv", ["it produces all that is available"]),
        ("a/battery", ["2 kWh are wanted in it at 22:00"]),
        ("a/car", ["it is plugged in 17:00-21:00 and lacks 2 kWh", "1 to 2 kW, or rest", "12 kWh are wanted"]),
        ("a/heater", ["it has to keep 45 to 65 degrees"]),
        ("a/generator", ["It does not run.", "a kWh costs it 0.500", "once up it stays up for 2 h"]),
        ("b/dryer", ["together with b/washer (", "it comes after b/washer"]),
    ],
)
def test_each_kind_says_what_holds_it(plan: Path, gridpact: Gridpact, device: str, words: list[str]) -> None:
    ran = gridpact("explain", plan, device)
    assert (ran.code, ran.err) == (0, "")
    assert all(word in ran.out for word in words), ran.out
    told = gridpact("explain", plan, device, "--json").json
    assert told["cheapest"]["cost"] <= told["planned"]["cost"] + 1e-9
    assert told["reasons"]


def test_a_limit_that_binds_is_named(plan: Path, gridpact: Gridpact) -> None:
    content = json.loads(plan.read_text(encoding="utf-8"))
    schedules = content["schedules"]
    total = [sum(power[t] for power in schedules.values()) for t in range(6)]
    content["community"]["envelopes"] = [{"peers": "all", "upper_kw": max(total)}]
    plan.write_text(json.dumps(content), encoding="utf-8")
    assert "the limit connection point binds" in gridpact("explain", plan, "a/pump").out


def test_a_limit_that_binds_where_a_device_neither_runs_nor_would_is_left_out(plan: Path, gridpact: Gridpact) -> None:
    path = changed(plan, "a/pump", [0, 0, 0, 1, 1, 0], [0.4, 0.3, 0.3, 0.2, 0.2, 0.3])
    content = json.loads(path.read_text(encoding="utf-8"))
    total = [sum(power[t] for power in content["schedules"].values()) for t in range(6)]
    content["community"]["envelopes"] = [{"name": "fuse", "peers": "all", "upper_kw": [total[0], 9, 9, 9, 9, 9]}]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert "fuse" not in gridpact("explain", path, "a/pump").out
    assert "the limit fuse binds 16:00-17:00; of those 1 MTUs it runs in 1" in gridpact("explain", path, "a/load").out
    content["prices"]["a"][0] = 0.1
    path.write_text(json.dumps(content), encoding="utf-8")
    told = "of those 1 MTUs it runs in 0, and where it rests its cheapest schedule would run in 1"
    assert told in gridpact("explain", path, "a/pump").out


@pytest.mark.parametrize(
    ("certificate", "hidden"),
    [({"distance": 1e-6}, False), ({"distance": 1e-3}, True), ({"distance": None}, True), ({}, True), (None, True)],
)
def test_a_gap_may_hide_a_better_plan_only_where_there_is_one(
    plan: Path, gridpact: Gridpact, certificate: Any, hidden: bool
) -> None:
    path = changed(plan, "a/pump", [1, 1, 0, 0, 0, 0], [0.4, 0.3, 0.3, 0.2, 0.2, 0.3])
    content = json.loads(path.read_text(encoding="utf-8")) | {"objective": 2.0, "certificate": certificate}
    path.write_text(json.dumps(content), encoding="utf-8")
    out = gridpact("explain", path, "a/pump").out
    assert "there it would be in the way of others or of a limit" in out
    assert ("unless the plan's gap hides a better one" in out) is hidden


def test_who_is_alone_is_in_nobody_s_way(small: dict[str, Any], tmp_path: Path, gridpact: Gridpact) -> None:
    small["peers"], small["links"] = small["peers"][:1], []
    del small["peers"][0]["devices"][1]
    plan = tmp_path / "alone.json"

    def explained() -> str:
        planned = plan_community(community_of(Reader(small, "small")), PlanOptions(solver="reference"))
        plan.write_text(json.dumps(as_json(planned)), encoding="utf-8")
        out: str = gridpact("explain", changed(plan, "a/pump", [1, 1, 0, 0, 0, 0], [0.3] * 3 + [0.2] * 3), "a/pump").out
        return out

    assert "there it would be in the way of a limit." in explained()
    small["envelopes"] = []
    assert "there its own power would change what energy is worth." in explained()


def test_a_cost_says_what_it_consists_of(plan: Path, gridpact: Gridpact) -> None:
    prices = [0.4, 0.3, 0.3, 0.2, 0.2, 0.3]
    pump = gridpact("explain", changed(plan, "a/pump", [0, 0, 0, 1, 0, 1], prices), "a/pump").out
    assert "At these prices it costs 0.501 EUR (energy 0.500, starts and waiting 0.001)." in pump
    generator = gridpact("explain", changed(plan, "a/generator", [0, 0, -1, -1, 0, 0], prices), "a/generator").out
    assert "At these prices it costs 0.500 EUR (energy -0.500, fuel and starts 1.000)." in generator
    load = gridpact("explain", changed(plan, "a/load", [0.5] * 6, prices), "a/load").out
    assert "At these prices it costs 0.850 EUR (energy 0.850)." in load


def test_a_thermostat_at_once_is_said_to_use_the_least_energy(plan: Path, gridpact: Gridpact) -> None:
    out = gridpact("explain", plan, "a/heater").out
    assert "Using the least energy that comfort allows, whatever the price, " in out
    assert "Running at once" not in out
    assert "Running at once" in gridpact("explain", plan, "a/pump").out


def test_programmes_of_a_chain_are_valued_together(plan: Path, gridpact: Gridpact) -> None:
    told = [gridpact("explain", plan, device, "--json").json for device in ("b/washer", "b/dryer")]
    assert told[0]["together"] == told[1]["together"] == ["b/washer", "b/dryer"]
    assert told[0]["planned"]["cost"] == told[1]["planned"]["cost"]
    energy = sum(each["energy_kwh"] for each in told)
    assert energy == pytest.approx(2.3)


def test_an_unknown_device_is_refused_with_the_nearest(plan: Path, gridpact: Gridpact) -> None:
    ran = gridpact("explain", plan, "a/pum")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("gridpact explain: device: got unknown 'a/pum', wanted one such as 'a/pump'")
    assert ran.err.count("\n") == 1
    # A peer that has none gets its own devices told, and not what others call alike.
    assert "b/" in gridpact("explain", plan, "b/pump").err.partition("wanted")[2]
    assert "a/pump" not in gridpact("explain", plan, "b/pump").err


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("schedules", "a/pump"), [1], "got 1 values, wanted 6"),
        (("schedules", "a/pump"), None, "schedules.a/pump: got None, wanted a number"),
        (("prices",), {}, "field 'a': got none"),
        (("status",), 3, "status: got 3, wanted a text"),
        (("version",), 9, "version: got 9, wanted 1"),
        (("community",), {}, "community: field 'version': got none"),
    ],
)
def test_what_is_no_plan_is_refused(
    plan: Path, gridpact: Gridpact, place: tuple[str, ...], value: Any, told: str
) -> None:
    content = json.loads(plan.read_text(encoding="utf-8"))
    part = content
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    plan.write_text(json.dumps(content), encoding="utf-8")
    ran = gridpact("explain", plan, "a/pump")
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_a_community_is_no_plan(small: dict[str, Any], write: Callable[[Any], Path], gridpact: Gridpact) -> None:
    ran = gridpact("explain", write(small), "a/pump")
    assert ran.code == 2
    assert "got no plan, wanted what 'gridpact plan --json' prints" in ran.err
