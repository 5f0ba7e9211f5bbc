"""``gridpact clear``: published answers, infeasible cases, and searches that are cut short."""

import copy
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.controller.command_run import Ran
from tests.controller.market_cases import CASES

ROOT = Path(__file__).parents[2]
SOLVERS = ("dispatch", "admm", "reference")
PUBLISHED = (
    ("unit-cases.json", "two-peers", "0"),
    ("unit-cases.json", "two-peers", "1"),
    ("unit-cases.json", "four-peers", "1"),
    ("prosumer-markets-51.json", "prosumer-markets-51", "0"),
    ("prosumer-markets-51.json", "prosumer-markets-51", "0.01"),
    ("new-england-39-31-peers.json", "new-england-39-31-peers", "0"),
)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("file", "name", "fee"), PUBLISHED)
def test_published_answers_come_out(clear: Callable[..., Ran], solver: str, file: str, name: str, fee: str) -> None:
    ran = clear(CASES / file, "--case", name, "--fee", fee, "--solver", solver, "--json")
    assert ran.code == 0, ran
    result = ran.json
    assert (result["case"], result["market"], result["solver"], result["status"]) == (
        name,
        "bilateral",
        solver,
        "optimal",
    )
    assert result["expected"]
    assert all(entry["ok"] for entry in result["expected"])
    assert result["welfare"] == -result["objective"]
    certificate = result["certificate"]
    assert certificate["lower_bound"] <= result["objective"] + 1e-6 * abs(result["objective"])
    assert certificate["gap"] <= 1e-6
    assert certificate["primal_residual"] <= 1e-6 * 1656


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_link_limit_holds_trade_back(clear: Callable[..., Ran], solver: str) -> None:
    ran = clear(CASES / "unit-cases.json", "--case", "two-peers", "--link-limit", "0.8", "--solver", solver, "--json")
    assert ran.code == 0
    assert [entry["key"] for entry in ran.json["expected"]] == ["traded"]
    (trade,) = ran.json["trades"]
    assert trade["energy_wh"] == 800_000
    # Worth 7.2 to the buyer and 4.8 to the seller: the price shares what the full link keeps apart.
    assert ran.json["prices"] == pytest.approx({"load": 7.2, "gen": 4.8}, rel=1e-5)
    assert trade["price"] == pytest.approx(6, rel=1e-5)


def test_admm_started_at_its_own_optimum_ends_at_once(clear: Callable[..., Ran]) -> None:
    ran = clear(CASES / "unit-cases.json", "--case", "two-peers", "--solver", "admm", "--json")
    warm = [entry for entry in ran.json["expected"] if entry["key"] == "warm_start_at_optimum_iterations"]
    assert [entry["got"] for entry in warm] == [1]


def test_admm_starts_where_an_earlier_result_ended(clear: Callable[..., Ran], tmp_path: Path) -> None:
    arguments = ("--solver", "admm", "--json")
    cold = clear(CASES / "prosumer-markets-51.json", *arguments)
    path = tmp_path / "earlier.json"
    path.write_text(cold.out, encoding="utf-8")
    warm = clear(CASES / "prosumer-markets-51.json", *arguments, "--start", str(path))
    assert warm.code == 0
    assert warm.json["iterations"] < cold.json["iterations"] / 2


def test_the_energy_of_trades_agrees_with_the_powers(clear: Callable[..., Ran]) -> None:
    result = clear(CASES / "prosumer-markets-51.json", "--fee", "0.01", "--json").json
    net = dict.fromkeys(result["powers"], 0.0)
    for trade in result["trades"]:
        net[trade["seller"]] += trade["power"]
        net[trade["buyer"]] -= trade["power"]
        assert isinstance(trade["energy_wh"], int)
        assert abs(trade["energy_wh"] - 1000 * trade["power"]) < 1 + 1e-6
    for peer, assets in result["powers"].items():
        assert net[peer] == pytest.approx(sum(assets.values()), abs=1e-4)


def test_the_order_of_a_file_changes_no_trade(clear: Callable[..., Ran]) -> None:
    for file, fee in (("prosumer-markets-51.json", "0"), ("prosumer-markets-51.json", "0.01")):
        case = json.loads((CASES / file).read_text(encoding="utf-8"))
        straight = clear(case, "--fee", fee, "--json").json
        shuffled = copy.deepcopy(case)
        mix = random.Random(7)
        mix.shuffle(shuffled["peers"])
        mix.shuffle(shuffled["links"])
        shuffled["links"] = [link[::-1] if mix.random() < 0.5 else link for link in shuffled["links"]]
        assert clear(shuffled, "--fee", fee, "--json").json["trades"] == straight["trades"]


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["dispatch", "admm"])
def test_the_number_of_threads_changes_no_trade(solver: str) -> None:
    printed = []
    for threads in ("1", "2"):
        environment = os.environ | {"NUMBA_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-m", "controller.cli", "clear", str(CASES / "prosumer-markets-51.json")]
        run = subprocess.run(
            [*command, "--solver", solver, "--json"],
            env=environment | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "proto")])},
            capture_output=True,
            check=True,
        )
        printed.append(json.loads(run.stdout)["trades"])
    assert printed[0] == printed[1]


def test_a_case_of_several_mtus_with_storage_grid_and_limits_is_told_in_lists(clear: Callable[..., Ran]) -> None:
    case = {
        "name": "night and day",
        "horizon": {"mtus": 2, "mtu_minutes": 30},
        "grid": {"import_price": [0.1, 0.5], "peers": ["home"]},
        "peers": [
            {"id": "home", "assets": [{"name": "load", "p_min": -1, "p_max": -1}]},
            {
                "id": "cellar",
                "assets": [],
                "storages": [{"name": "battery", "max_charge": 1, "max_discharge": 1, "capacity": 9}],
            },
        ],
        "links": "all pairs",
        "limits": [{"name": "feeder", "peers": "all", "p_min": -1.5}],
    }
    ran = clear(case, "--json")
    result = ran.json
    assert ran.code == 0
    # Half a kW into the battery by night, as far as the feeder allows, and out by day: 0.25 kWh.
    assert result["objective"] == pytest.approx(0.5 * (1.5 * 0.1 + 0.5 * 0.5), rel=1e-6)
    assert result["powers"]["home"]["load"] == pytest.approx([-1, -1])
    assert result["powers"]["cellar"]["battery"] == pytest.approx([-0.5, 0.5], abs=1e-6)
    assert result["storages"]["cellar"]["battery"]["energy"] == pytest.approx([0.25, 0], abs=1e-6)
    assert result["grid"]["home"]["import"] == pytest.approx([1.5, 0.5], abs=1e-6)
    assert result["prices"]["cellar"] == pytest.approx([0.1, 0.5], abs=1e-5)
    assert result["limit_prices"]["feeder"][0] == pytest.approx(0.4, abs=1e-5)
    assert [(row["seller"], row["mtu"], row["energy_wh"]) for row in result["trades"]] == [
        ("home", 0, 250),
        ("cellar", 1, 250),
    ]
    assert "limit feeder binds" in clear(case).out


def test_a_curve_costs_what_its_points_say(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    # Worth 4 a kW up to 2 kW, 1 beyond; the plant must make one kW at 3, more costs 2 each.
    two["peers"][0]["assets"][0] = {"curve": [[-5, -11], [-2, -8], [0, 0]]}
    two["peers"][1]["assets"][0] = {"name": "turbine", "curve": [[1, 3], [9, 19]]}
    result = clear(two, "--json").json
    assert result["powers"]["plant"]["turbine"] == pytest.approx(2, abs=1e-6)
    assert result["objective"] == pytest.approx(-8 + 5, rel=1e-6)
    assert result["certificate"]["lower_bound"] == pytest.approx(-3, rel=1e-6)


def test_the_case_s_own_fee_stands_until_another_is_given(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    two["fee_per_side"] = 1
    two["expected"] = [{"traded": 1}, {"fee_per_side": 0, "traded": 2}]
    for arguments in ((), ("--fee", "0")):
        ran = clear(two, *arguments, "--json")
        assert (ran.code, len(ran.json["expected"])) == (0, 1)


def test_an_answer_that_differs_is_exit_code_one(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    two["expected"] = [{"traded": 3}]
    ran = clear(two)
    assert ran.code == 1
    assert "DIFFERS  traded: expected 3, got 2" in ran.out


@pytest.mark.parametrize("solver", SOLVERS)
def test_who_must_consume_and_has_no_partner_is_named(
    clear: Callable[..., Ran], two: dict[str, Any], solver: str
) -> None:
    two["peers"].append({"id": "hermit", "assets": [{"p_min": -5, "p_max": -3}]})
    ran = clear(two, "--solver", solver, "--json")
    assert ran.code == 3
    assert ran.json["status"] == "infeasible"
    assert ran.json["objective"] is None
    (entry,) = ran.json["conflict"]["unserved"]
    assert (entry["what"], entry["mtu"], entry["amount"]) == ("peer hermit", 0, pytest.approx(3))
    assert "peer hermit would have to consume 3 kW less" in ran.err
    assert "infeasible: peer hermit would have to consume 3 kW less" in clear(two, "--solver", solver).out


def test_a_limit_in_the_way_is_named(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    two["peers"][0]["assets"][0]["p_max"] = -4
    two["limits"] = [{"name": "feeder", "peers": ["plant"], "p_max": 3}]
    ran = clear(two)
    assert ran.code == 3
    assert "limit feeder would have to allow 1 kW more production" in ran.out


@pytest.mark.parametrize(
    "change",
    [
        {"p_min": -2, "p_max": -2},
        {"a": 0, "b": 0},
        {"a": 0, "b": 1e9, "p_min": -30},
        {"a": 1e-9, "b": 8},
        {"a": 1e6, "b": 8},
        {"a": 1e-5, "b": 1e4, "p_min": -0.001},
    ],
)
@pytest.mark.parametrize("solver", ["dispatch", "reference"])
def test_legal_extremes_are_solved_right(
    clear: Callable[..., Ran], two: dict[str, Any], change: dict[str, float], solver: str
) -> None:
    asset = two["peers"][0]["assets"][0] = {**two["peers"][0]["assets"][0], **change}
    two["peers"].append({"id": "alone", "assets": [{"a": 1, "b": -1, "p_min": 0, "p_max": 1}]})
    ran = clear(two, "--solver", solver, "--json")
    assert ran.code == 0, ran
    a, b = asset["a"], asset["b"]
    power = min(max((b - 4) / (a + 1), -asset["p_max"]), -asset["p_min"], 60)
    assert ran.json["powers"]["home"]["load"] == pytest.approx(-power, rel=1e-5, abs=1e-6)
    assert ran.json["objective"] == pytest.approx(
        a * power**2 / 2 - b * power + power**2 / 2 + 4 * power, rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize("market", ["pool", "double-auction", "average-price", "negotiation", "composite"])
def test_every_design_serves_the_published_markets(clear: Callable[..., Ran], market: str) -> None:
    ran = clear(CASES / "unit-cases.json", "--case", "four-peers", "--market", market, "--fee", "1", "--json")
    assert ran.code == 0
    result = ran.json
    assert (result["market"], result["status"], result["expected"]) == (market, "cleared", [])
    assert set(result["powers"]) == {"c1", "c2", "g1", "p1"}
    assert result["powers"]["c1"]["net"] <= -1
    # No design is worth more than the optimum.
    assert result["objective"] >= -328.06723 - 1e-4
    assert result["objective"] < 0
    assert sum(power for assets in result["powers"].values() for power in assets.values()) == pytest.approx(0, abs=1e-5)


def test_a_design_names_whom_it_leaves_unserved(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    two["peers"].append({"id": "hermit", "assets": [{"p_min": -5, "p_max": -3}]})
    ran = clear(two, "--market", "negotiation", "--json")
    assert ran.code == 3
    assert ran.json["conflict"]["unserved"][0]["what"] == "peer hermit"
    assert ran.json["trades"]
    # The cost would count what is unserved as served for nothing.
    assert (ran.json["objective"], ran.json["welfare"]) == (None, None)
    assert "objective" not in clear(two, "--market", "negotiation").out


def test_a_design_that_cannot_keep_a_limit_is_not_certified(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    two["peers"].append({"id": "shed", "assets": []})
    two["limits"] = [{"name": "feeder", "peers": ["plant", "shed"], "p_max": 1}]
    ran = clear(two, "--market", "double-auction", "--json")
    assert ran.code == 4
    assert ran.json["violations"][0]["what"] == "limit feeder"
    assert "limit feeder is exceeded by" in ran.err
    shown = clear(two, "--market", "double-auction").out
    assert "limit not kept: limit feeder is exceeded by" in shown
    assert "not certified" not in shown


def test_a_search_that_is_cut_short_is_not_certified(clear: Callable[..., Ran]) -> None:
    ran = clear(CASES / "prosumer-markets-51.json", "--solver", "admm", "--max-iterations", "2", "--json")
    assert ran.code == 4
    assert ran.json["status"] == "unsolved"
    assert ran.json["reason"]
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("tolerance", ["1e-3", "1e-6", "1e-9"])
def test_a_loose_tolerance_still_agrees_with_the_published_answers(clear: Callable[..., Ran], tolerance: str) -> None:
    ran = clear(CASES / "prosumer-markets-51.json", "--fee", "0.01", "--tolerance", tolerance, "--json")
    assert ran.code == 0
    assert all(answer["ok"] for answer in ran.json["expected"])
