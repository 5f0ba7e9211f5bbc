"""Why devices fall short, are curtailed, and keep to an earlier plan: what ``gridpact explain`` says of real plans."""

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
Told = Callable[..., dict[str, Any]]


@pytest.fixture
def told(tmp_path: Path, gridpact: Gridpact) -> Told:
    """Plans a community and explains a device of it."""

    def told(community: dict[str, Any], device: str, *, solver: str = "reference") -> dict[str, Any]:
        plan = plan_community(community_of(Reader(community, "small")), PlanOptions(solver=solver))
        path = tmp_path / "plan.json"
        path.write_text(json.dumps(as_json(plan)), encoding="utf-8")
        ran = gridpact("explain", path, device, "--json")
        assert (ran.code, ran.err) == (0, "")
        assert gridpact("explain", path, device).code == 0
        return dict(ran.json)

    return told


def said(told: dict[str, Any], limit: str) -> str:
    return "\n".join(each["text"] for each in told["reasons"] if each["limit"] == limit)


@pytest.fixture
def alone(small: dict[str, Any]) -> dict[str, Any]:
    """The first of the two homes by itself, without limits."""
    small["peers"] = small["peers"][:1]
    small["links"], small["envelopes"] = [], []
    return small


def device_of(community: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in community["peers"][0]["devices"] if each["id"] == name)


def test_an_earlier_plan_holds_a_device_where_departing_costs_more(alone: dict[str, Any], told: Told) -> None:
    alone |= {"planned_kw": {"a/pump": [0, 0, 1, 1, 0, 0]}, "change_price": 0.2}
    pump = told(alone, "a/pump")
    assert pump["planned"]["power_kw"] == pump["cheapest"]["power_kw"] == [0, 0, 1, 1, 0, 0]
    assert pump["planned"]["change_cost"] == 0
    assert pump["at_once"]["change_cost"] == pytest.approx(0.8)
    assert pump["at_once"]["cost"] == pytest.approx(
        sum(pump["at_once"][f"{c}_cost"] for c in ("energy", "own", "change"))
    )
    assert said(pump, "plan") == "it does what an earlier plan foresaw; departing costs 0.200 EUR/kWh"


def test_a_departure_from_an_earlier_plan_is_counted(alone: dict[str, Any], told: Told) -> None:
    device_of(alone, "a/pv")["available_kw"] = 0
    alone |= {"planned_kw": {"a/pump": [0, 0, 1, 1, 0, 0]}, "change_price": 0.01}
    pump = told(alone, "a/pump")
    assert pump["planned"]["power_kw"] == [0, 0, 0, 1, 1, 0]
    assert pump["planned"]["change_cost"] == pytest.approx(0.02)
    assert "foresaw it 18:00-20:00" in said(pump, "plan")
    assert "this plan departs by 2.00 kWh (0.020 EUR)" in said(pump, "plan")


def test_departures_within_a_chain_do_not_cancel(alone: dict[str, Any], told: Told) -> None:
    device_of(alone, "a/pv")["available_kw"] = 0
    alone["peers"][0]["devices"] += [
        {"id": "a/washer", "kind": "programme", "phases": [{"power_kw": [1]}]},
        {"id": "a/dryer", "kind": "programme", "phases": [{"power_kw": [1]}], "follows": "a/washer"},
    ]
    # Foreseen the wrong way round in the cheap hours: in the sum nothing departs, in truth both do.
    foreseen = {"a/washer": [0, 0, 0, 0, 1, 0], "a/dryer": [0, 0, 0, 1, 0, 0]}
    washer = told(alone | {"planned_kw": foreseen, "change_price": 0.01}, "a/washer")
    assert washer["together"] == ["a/washer", "a/dryer"]
    assert washer["planned"]["power_kw"] == [0, 0, 0, 1, 0, 0]
    assert washer["planned"]["change_cost"] == pytest.approx(0.04)
    assert washer["cheapest"]["cost"] == pytest.approx(washer["planned"]["cost"])


@pytest.mark.parametrize("solver", ["reference", "decomposition"])
def test_the_limit_that_made_a_device_fall_short_is_named(alone: dict[str, Any], told: Told, solver: str) -> None:
    alone["envelopes"] = [
        {"name": "fuse", "peer": "a", "upper_kw": [0.9, 0.9, 1.2, 1.2, 1.2, 2]},
        {"name": "wide", "peer": "a", "upper_kw": 9},
    ]
    device_of(alone, "a/pv")["available_kw"] = 0
    device_of(alone, "a/pump")["end_mtu"] = 5
    pump = told(alone, "a/pump", solver=solver)
    assert pump["shortfall"] == "2 MTUs"
    assert "the limit fuse leaves no room for the 2 MTUs that it lacks in 5 of the 5 MTUs" in said(pump, "envelope")
    assert "wide" not in said(pump, "envelope")


def test_what_a_device_could_not_do_in_any_case_is_no_limit_s_fault(alone: dict[str, Any], told: Told) -> None:
    device_of(alone, "a/pump")["required_mtus"] = 8
    alone["envelopes"] = [{"peer": "a", "upper_kw": 1.5}]
    pump = told(alone, "a/pump")
    assert "it lacks 2 MTUs, whatever the others do: its running time" in said(pump, "task")
    assert "leaves no room" not in said(pump, "envelope")


def test_what_its_own_rules_let_it_lack_is_said_to_be_so(alone: dict[str, Any], told: Told) -> None:
    # Each hour of heat is 20 K in a band of 10 K, and none loses 4 K: whole hours keep it nowhere for long.
    heater = {"id": "a/heater", "kind": "thermostatic", "rated_kw": 2, "heat_capacity_kwh_per_k": 0.1}
    heater |= {"performance": 1, "loss_kw_per_k": 0, "ambient_c": 18, "draw_kw": 0.4, "initial_c": 47}
    alone["peers"][0]["devices"].append(heater | {"lower_c": 45, "upper_c": 55})
    assert "its own rules let it lack no less than" in said(told(alone, "a/heater"), "task")


def test_comfort_that_is_not_worth_its_cost_is_no_limit_s_fault(alone: dict[str, Any], told: Told) -> None:
    heater = {"id": "a/heater", "kind": "thermostatic", "rated_kw": 2, "heat_capacity_kwh_per_k": 0.1}
    heater |= {"performance": 1, "loss_kw_per_k": 0.01, "ambient_c": 18, "draw_kw": 0, "initial_c": 46}
    heater |= {"lower_c": 45, "upper_c": 55, "modulating": True, "discomfort_cost": 1e-3}
    alone["peers"][0]["devices"].append(heater)
    assert "more comfort would cost more than" in said(told(alone, "a/heater"), "comfort")


def test_an_earlier_plan_that_leaves_a_task_undone_is_named(alone: dict[str, Any], told: Told) -> None:
    alone |= {"planned_kw": {"a/pump": 0}, "change_price": 500}
    pump = told(alone, "a/pump")
    assert pump["shortfall"] == "2 MTUs"
    assert "departing from an earlier plan would cost more than the 2 MTUs that it lacks" in said(pump, "plan")


@pytest.mark.parametrize("solver", ["reference", "decomposition"])
def test_a_plant_under_its_own_limit_is_curtailed_by_that_and_not_by_price(
    alone: dict[str, Any], told: Told, solver: str
) -> None:
    device_of(alone, "a/pv")["available_kw"] = [4, 4, 0, 0, 0, 4]
    alone["envelopes"] = [{"name": "export", "peer": "a", "lower_kw": [-1, -1, -1, -1, -1, -9]}]
    plant = told(alone, "a/pv", solver=solver)
    assert said(plant, "envelope").startswith("it is curtailed 16:00-18:00: the limit export lets no more out")
    assert "worth" not in said(plant, "task")


def test_a_plant_is_curtailed_by_price_where_no_limit_is(alone: dict[str, Any], told: Told) -> None:
    alone["tariff"] = {"import_price": 0.3, "export_price": [-0.05, 0.1, 0.1, 0.1, 0.1, 0.1]}
    device_of(alone, "a/pv")["available_kw"] = [4, 4, 0, 0, 0, 0]
    assert "it is curtailed 16:00-17:00: more is worth less than it costs" in said(told(alone, "a/pv"), "task")
    device_of(alone, "a/pv")["curtailment_cost"] = 0.06
    assert said(told(alone, "a/pv"), "task") == "it produces all that is available"


def test_a_plant_that_an_earlier_plan_curtailed_says_so(alone: dict[str, Any], told: Told) -> None:
    device_of(alone, "a/pv")["available_kw"] = [4, 0, 0, 0, 0, 0]
    alone |= {"planned_kw": {"a/pv": [-2, 0, 0, 0, 0, 0]}, "change_price": 0.2}
    plant = told(alone, "a/pv")
    assert plant["planned"]["power_kw"][0] == -2
    assert "it is curtailed 16:00-17:00: an earlier plan foresaw no more" in said(plant, "plan")


def test_a_programme_that_has_begun_is_valued_without_what_it_followed(alone: dict[str, Any], told: Told) -> None:
    alone["peers"][0]["devices"] += [
        {"id": "a/washer", "kind": "programme", "phases": [{"power_kw": [1]}]},
        {
            **{"id": "a/dryer", "kind": "programme", "phases": [{"power_kw": [1, 0.5]}], "follows": "a/washer"},
            "progress": {"phase": 0, "elapsed_mtus": 1},
        },
    ]
    assert told(alone, "a/washer")["together"] == []
    dryer = told(alone, "a/dryer")
    assert dryer["together"] == []
    assert dryer["planned"]["power_kw"] == dryer["cheapest"]["power_kw"] == [0.5, 0, 0, 0, 0, 0]
