"""``gridpact plan``: certified plans, deadlines, impossible tasks, conflicts, and what the two forms of output say."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.exit_codes import INFEASIBLE, NO_CERTIFIED_RESULT, OK
from controller.plan import planning
from controller.plan.reading import read_community
from optimization.certificate import certify
from optimization.clearing import Clearing
from optimization.community import Community, Interruptible
from optimization.errors import SolverError
from optimization.reference import dispatch as reference

Write = Callable[[Any], Path]
Gridpact = Callable[..., Any]

SOLVERS = ("decomposition", "reference")


def clearing_of(plan: dict[str, Any], path: Path) -> Clearing:
    """The clearing that a plan's JSON states, from its own numbers."""
    community = read_community(str(path)).community
    row = {(str(link.seller), str(link.buyer)): k for k, link in enumerate(community.links)}
    trades = np.zeros((len(community.links), community.horizon.mtus))
    for trade in plan["trades"]:
        trades[row[trade["seller"], trade["buyer"]], trade["mtu"]] = trade["energy_kwh"]
    stored = {
        device: np.array(state["energy_kwh"]) for device, state in plan["states"].items() if "energy_kwh" in state
    }
    heat = {
        device: np.array(state["temperature_c"]) for device, state in plan["states"].items() if device not in stored
    }
    return Clearing(
        device_kw={device: np.array(power) for device, power in plan["schedules"].items()},
        state_kwh=stored,
        temperature_c=heat,
        shortfall={device: short["amount"] for device, short in plan["shortfall"].items()},
        trade_kwh=trades,
        import_kwh=np.array([plan["grid"]["import_kwh"][peer.id] for peer in community.peers]),
        export_kwh=np.array([plan["grid"]["export_kwh"][peer.id] for peer in community.peers]),
        price=np.array([plan["prices"][peer.id] for peer in community.peers]),
        objective=plan["objective"],
        lower_bound=plan["certificate"]["lower_bound"],
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_pump_runs_when_it_is_cheapest(small: dict[str, Any], write: Write, gridpact: Gridpact, solver: str) -> None:
    path = write(small)
    ran = gridpact("plan", path, "--solver", solver, "--json")
    assert (ran.code, ran.err) == (OK, "")
    plan = ran.json
    assert (plan["solver"], plan["reason"], plan["deadline"]) == (solver, None, False)
    # The decomposition's bound lies below what so few whole appliances can reach; the reference proves its optimum.
    assert plan["status"] in ({"OPTIMAL"} if solver == "reference" else {"OPTIMAL", "FEASIBLE"})
    assert plan["status"] == ("OPTIMAL" if plan["certificate"]["gap"] <= 1e-4 else "FEASIBLE")
    # The PV's second hour leaves nothing over beside the pump and both loads; the first and the cheap ones are as dear.
    assert sum(plan["schedules"]["a/pump"]) == 2
    assert plan["schedules"]["a/pump"][2] == plan["schedules"]["a/pump"][5] == 0
    assert plan["certificate"]["lower_bound"] <= plan["objective"] + 1e-6
    assert plan["community"] == small
    certificate = certify(read_community(str(path)).community, clearing_of(plan, path))
    assert certificate.feasible
    assert certificate.objective == pytest.approx(plan["objective"], abs=1e-6)
    for member in plan["members"].values():
        assert member["pays"] <= member["standalone_cost"] + 1e-6
        assert member["pays"] == pytest.approx(member["cost"] - member["uplift"], abs=1e-8)
        assert member["shortfall_cost"] == 0.0
    uplifts = [member["uplift"] for member in plan["members"].values()]
    assert plan["uplift"] == plan["uplift_received"] == pytest.approx(sum(max(0.0, amount) for amount in uplifts))
    assert plan["uplift_unfunded"] == pytest.approx(sum(uplifts), abs=1e-8)


def test_both_solvers_find_the_same_cost(small: dict[str, Any], write: Write, gridpact: Gridpact) -> None:
    costs = [gridpact("plan", write(small), "--solver", solver, "--json").json["objective"] for solver in SOLVERS]
    assert costs[0] == pytest.approx(costs[1], abs=1e-4)


def test_equal_input_gives_equal_bytes(small: dict[str, Any], write: Write, gridpact: Gridpact) -> None:
    first, second = (gridpact("plan", write(small), "--json").out for _ in range(2))
    assert first == second


def test_the_table_says_when_devices_run(small: dict[str, Any], write: Write, gridpact: Gridpact) -> None:
    ran = gridpact("plan", write(small), "--solver", "reference")
    assert ran.code == OK
    assert "small: OPTIMAL by reference" in ran.out
    assert "no schedule can cost less than" in ran.out
    for name in ("a/load", "a/pv", "a/pump", "b/load", "uplift together"):
        assert name in ran.out


def test_standard_input_is_planned(small: dict[str, Any], gridpact: Gridpact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(small)))
    assert gridpact("plan", "-", "--json").json["id"] == "small"


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_deadline_that_has_passed_still_gives_a_feasible_plan(
    small: dict[str, Any], write: Write, gridpact: Gridpact, solver: str
) -> None:
    ran = gridpact("plan", write(small), "--deadline", "0.01", "--solver", solver, "--json")
    assert ran.code == OK
    plan = ran.json
    assert plan["status"] in {"OPTIMAL", "FEASIBLE"}
    assert plan["deadline"] is True
    assert plan["certificate"]["primal_residual_kw"] <= 1e-5


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets the reference end with a schedule in which the pump rests, and a bound of so much less than it costs."""

    def hurry(distance: float) -> None:
        def cut(community: Community, **_: Any) -> Clearing:
            first, *others = community.peers
            idle = tuple(replace(d, end_mtu=0) if isinstance(d, Interruptible) else d for d in first.devices)
            found = solved(replace(community, peers=(replace(first, devices=idle), *others)))
            assert isinstance(found, Clearing)
            return replace(found, lower_bound=found.objective - distance)

        solved = reference.dispatch
        monkeypatch.setattr(reference, "dispatch", cut)

    return hurry


def test_a_search_that_its_deadline_cut_before_it_did_every_task_is_no_plan(
    small: dict[str, Any], write: Write, gridpact: Gridpact, hurried: Callable[[float], None]
) -> None:
    hurried(199.0)
    ran = gridpact("plan", write(small), "--solver", "reference", "--deadline", "0", "--json")
    assert ran.code == NO_CERTIFIED_RESULT
    assert ran.json["status"] == "UNSOLVED"
    assert "leaves a/pump short, and no proof that they have to be; wanted more time" in ran.json["reason"]
    assert "leaves a/pump short" in ran.err
    # What the device could not do in any case, and what the bound proves, is a shortfall and no failure.
    small["peers"][0]["devices"][2]["required_mtus"] = 7
    forced = ("--solver", "reference", "--deadline", "0", "--allow-shortfall", "--json")
    assert gridpact("plan", write(small), *forced).json["status"] == "RELAXED"


def test_a_shortfall_that_the_bound_proves_is_a_plan_at_the_deadline_too(
    small: dict[str, Any], write: Write, gridpact: Gridpact, hurried: Callable[[float], None]
) -> None:
    hurried(1.0)
    ran = gridpact("plan", write(small), "--solver", "reference", "--deadline", "0", "--json")
    assert (ran.code, ran.json["status"]) == (OK, "RELAXED")
    assert ran.json["certificate"]["distance"] == pytest.approx(1.0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_limits_that_conflict_with_loads_are_named(
    small: dict[str, Any], write: Write, gridpact: Gridpact, solver: str
) -> None:
    small["envelopes"] = [{"peer": "b", "upper_kw": [3, 3, 0.5, 3, 3, 3]}]
    ran = gridpact("plan", write(small), "--solver", solver, "--json")
    assert ran.code == INFEASIBLE
    assert ran.json["status"] == "INFEASIBLE"
    assert "peer b" in ran.json["reason"]
    assert "peer b" in ran.err
    assert "schedules" not in ran.json
    assert "INFEASIBLE" in gridpact("plan", write(small), "--solver", solver).out


@pytest.mark.parametrize("solver", SOLVERS)
def test_limits_that_conflict_by_whole_numbers_alone_are_named(
    small: dict[str, Any], write: Write, gridpact: Gridpact, solver: str
) -> None:
    small["peers"][1]["devices"] = [{"id": "b/pump", "kind": "interruptible", "power_kw": 2, "required_mtus": 6}]
    small["envelopes"] = [{"name": "fuse", "peer": "b", "lower_kw": 0.5, "upper_kw": [9, 9, 1, 9, 9, 9]}]
    ran = gridpact("plan", write(small), "--solver", solver, "--json")
    assert (ran.code, ran.json["status"]) == (INFEASIBLE, "INFEASIBLE")
    assert ran.json["reason"].startswith("fuse MTU 2: 0.500 to 1.000 kW allowed: no schedule keeps this")


def test_a_limit_that_leaves_no_room_for_a_task_is_kept(
    small: dict[str, Any], write: Write, gridpact: Gridpact
) -> None:
    small["envelopes"] = [{"peer": "a", "upper_kw": [0, 0, 1, 1, 1, 1]}]
    small["links"] = []
    ran = gridpact("plan", write(small), "--json")
    assert ran.code == OK
    plan = ran.json
    assert plan["status"] == "RELAXED"
    # With 2 kW and 1 kW of sun beside a load of 0.5 kW it fits in the first hour alone.
    assert plan["shortfall"] == {"a/pump": {"amount": 1, "unit": "MTUs"}}
    assert plan["schedules"]["a/pump"] == [1, 0, 0, 0, 0, 0]
    assert "a/pump: 1 MTUs" in ran.err
    assert "falls short: a/pump: 1 MTUs" in gridpact("plan", write(small)).out


def test_an_impossible_task_is_named_at_load(small: dict[str, Any], write: Write, gridpact: Gridpact) -> None:
    small["peers"][0]["devices"][2] |= {"first_mtu": 4}
    small["peers"][0]["devices"][2]["required_mtus"] = 3
    ran = gridpact("plan", write(small))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert "a/pump" in ran.err
    allowed = gridpact("plan", write(small), "--allow-shortfall", "--json")
    assert allowed.code == OK
    assert allowed.json["status"] == "RELAXED"
    assert allowed.json["shortfall"] == {"a/pump": {"amount": 1, "unit": "MTUs"}}
    members = allowed.json["members"]
    assert (members["a"]["shortfall_cost"], members["b"]["shortfall_cost"]) == (100.0, 0.0)
    assert sum(member["cost"] for member in members.values()) == pytest.approx(allowed.json["objective"], abs=1e-6)
    # What stands for the pump's missing hour is paid to nobody.
    assert allowed.json["uplift_received"] < 1.0


def test_a_battery_just_below_its_reserve_is_named_and_planned(
    small: dict[str, Any], write: Write, gridpact: Gridpact
) -> None:
    battery = {"id": "a/battery", "kind": "battery", "max_charge_kw": 1, "max_discharge_kw": 1, "capacity_kwh": 4}
    small["peers"][0]["devices"].append({**battery, "initial_kwh": 0.96, "final_kwh": 0, "min_kwh": 1})
    ran = gridpact("plan", write(small), "--json")
    assert ran.code == OK
    assert ran.json["status"] in {"OPTIMAL", "FEASIBLE"}
    assert "a/battery" in ran.err
    assert min(ran.json["states"]["a/battery"]["energy_kwh"]) >= 0.96 - 1e-6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--deadline", "-1"], "--deadline: got -1, wanted 0 to 86400"),
        (["--deadline", "nan"], "--deadline: got nan, wanted 0 to 86400"),
        (["--gap", "2"], "--gap: got 2, wanted 0 to 1"),
        (["--solver", "guess"], "invalid choice: 'guess'"),
    ],
)
def test_bad_options_are_refused(
    small: dict[str, Any], write: Write, gridpact: Gridpact, arguments: list[str], told: str
) -> None:
    ran = gridpact("plan", write(small), *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_a_bad_file_is_refused_in_one_line(small: dict[str, Any], write: Write, gridpact: Gridpact) -> None:
    small["peers"][0]["devices"][2]["power_kw"] = -1
    ran = gridpact("plan", write(small), "--json")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("gridpact plan: ")
    assert "peers[0].devices[2].power_kw: got -1, wanted a number from 0 to" in ran.err
    assert ran.err.count("\n") == 1


def test_an_answer_that_breaks_a_rule_is_no_plan(
    small: dict[str, Any], write: Write, gridpact: Gridpact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(community: Any, **_: Any) -> Clearing:
        good = planning_schedule(community)
        return Clearing(
            **{
                **{name: getattr(good, name) for name in Clearing.__dataclass_fields__},
                "shortfall": {"a/pump": 1.0},
            }
        )

    planning_schedule = planning.schedule
    monkeypatch.setattr(planning, "schedule", wrong)
    ran = gridpact("plan", write(small), "--json")
    assert ran.code == NO_CERTIFIED_RESULT
    assert ran.json["status"] == "UNSOLVED"
    assert "a/pump" in ran.json["reason"]
    assert "schedules" not in ran.json


def test_a_solver_that_fails_is_said(
    small: dict[str, Any], write: Write, gridpact: Gridpact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(community: Any, **_: Any) -> Clearing:
        raise SolverError("numbers: got none")

    monkeypatch.setattr(planning, "schedule", fails)
    ran = gridpact("plan", write(small), "--json")
    assert ran.code == NO_CERTIFIED_RESULT
    assert (ran.json["status"], ran.json["reason"]) == ("UNSOLVED", "numbers: got none")
    assert ran.json["certificate"] is None


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_sample_is_planned(gridpact: Gridpact, write: Write, solver: str) -> None:
    sample = gridpact("sample", "--homes", "3", "--seed", "3", "--mtus", "24", "--mtu-minutes", "60").out
    path = write(sample)
    ran = gridpact("plan", path, "--solver", solver, "--gap", "0.005", "--json")
    assert ran.code == OK
    plan = ran.json
    assert plan["status"] in {"OPTIMAL", "FEASIBLE"}
    assert plan["certificate"]["gap"] <= 0.02
    assert certify(read_community(str(path)).community, clearing_of(plan, path)).feasible
