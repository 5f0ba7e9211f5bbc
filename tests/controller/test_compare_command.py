"""``gridpact compare``: the designs side by side, in a table, as JSON, and in a picture."""

import copy
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.controller.command_run import Ran, run_command
from tests.controller.market_cases import CASES

DESIGNS = ["bilateral", "pool", "double-auction", "average-price", "negotiation", "composite", "grid-only"]
STREET = {
    "name": "<street> & [co]",
    "grid": {"import_price": 0.3, "export_price": 0.1},
    "peers": [
        {"id": "roof", "assets": [{"name": "pv", "b": 0.01, "p_min": 0, "p_max": 4}]},
        {"id": "<b>home</b>", "assets": [{"name": "load", "p_min": -3, "p_max": -3}]},
    ],
    "links": "all pairs",
}


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Any]:
    """Compares the designs on a file, or on a case that is written to one: code, output, complaints."""

    def compare(case: Any, *arguments: str) -> Ran:
        path = case
        if isinstance(case, dict):
            path = tmp_path / "case.json"
            path.write_text(json.dumps(case), encoding="utf-8")
        return run_command(capsys, "compare", path, *arguments)

    return compare


def test_every_design_is_measured_against_the_grid_alone(compare: Callable[..., Any]) -> None:
    code, out, _ = compare(STREET, "--json")
    comparison = json.loads(out)
    assert code == 0
    assert comparison["baseline"] == "grid-only"
    designs = {figures["design"]: figures for figures in comparison["designs"]}
    assert list(designs) == DESIGNS
    # Alone: 4 kWh sold at 0.1 and 3 bought at 0.3. Together: 3 kWh stay, one is sold.
    assert designs["grid-only"]["welfare"] == pytest.approx(4 * 0.09 - 3 * 0.3)
    assert designs["bilateral"]["welfare"] == pytest.approx(-3 * 0.01 + 1 * 0.09, rel=1e-5)
    for name in DESIGNS[:-1]:
        figures = designs[name]
        # What is exported may pass through the home or a pool first: all the same to everybody.
        assert 3 - 1e-3 <= figures["volume"] <= 4 + 1e-3
        assert (figures["winners"], figures["losers"]) in {(2, 0), (1, 0)}
        gained = sum(figures["gains"].values())
        assert gained == pytest.approx(figures["welfare"] - designs["grid-only"]["welfare"], abs=1e-6)
        assert 0.1 - 1e-6 <= figures["price_low"] <= figures["price_mean"] <= figures["price_high"] <= 0.3 + 1e-6


def test_without_a_grid_the_first_design_that_serves_everybody_is_the_baseline(compare: Callable[..., Any]) -> None:
    code, out, _ = compare(CASES / "unit-cases.json", "--case", "four-peers", "--fee", "1", "--json")
    comparison = json.loads(out)
    assert code == 0
    assert comparison["baseline"] == "bilateral"
    bilateral, *_, alone = comparison["designs"]
    assert bilateral["welfare"] == pytest.approx(328.06723, rel=1e-6)
    assert bilateral["winners"] == bilateral["losers"] == 0
    assert alone["status"] == "infeasible"
    assert alone["unserved"] == pytest.approx(3)
    assert alone["gains"]["c1"] is None
    assert "peer c1" in alone["reason"]


def test_people_get_a_table_that_fits_a_terminal(compare: Callable[..., Any]) -> None:
    code, out, _ = compare(CASES / "unit-cases.json", "--case", "four-peers", "--fee", "1")
    assert code == 0
    table = [line for line in out.splitlines() if line.split() and line.split()[0] in DESIGNS]
    assert [line.split()[0] for line in table] == DESIGNS
    assert all(len(line) <= 80 for line in table)
    assert "winners and losers against bilateral; * somebody is unserved" in out
    assert "grid-only: unserved: peer c1, peer c2" in out


def test_the_exit_code_says_whether_any_design_compares(compare: Callable[..., Any]) -> None:
    case = copy.deepcopy(STREET)
    case["peers"].append({"id": "shed", "assets": []})
    case["limits"] = [{"name": "feeder", "peers": ["roof", "shed"], "p_max": 2}]
    code, out, _ = compare(case, "--json")
    designs = {figures["design"]: figures for figures in json.loads(out)["designs"]}
    assert code == 0
    assert designs["bilateral"]["compares"]
    assert (designs["grid-only"]["compares"], designs["grid-only"]["welfare"]) == (False, None)
    assert set(designs["grid-only"]["gains"].values()) == {None}
    shown = compare(case)[1]
    assert "* somebody is unserved or a limit exceeded" in shown
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("grid-only ")] == ["*"]


def test_a_case_that_no_design_can_serve_is_infeasible(compare: Callable[..., Any]) -> None:
    case = copy.deepcopy(STREET)
    del case["grid"]
    case["peers"][0]["assets"][0]["p_max"] = 1
    code, out, _ = compare(case, "--json")
    assert code == 3
    assert json.loads(out)["baseline"] == ""


def test_the_picture_is_one_document_that_says_every_number(compare: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "designs.svg"
    code, out, _ = compare(STREET, "--out", str(path))
    assert code == 0
    assert str(path) in out
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Market designs on <street> & [co]" in texts
    assert set(DESIGNS) <= set(texts)
    tips = [tip.text or "" for tip in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any(tip.startswith("<b>home</b>: +") for tip in tips)
    assert "grid-only, imported: 3 kWh" in tips


def test_the_page_has_the_picture_and_every_peer(compare: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "designs.html"
    code, _, _ = compare(STREET, "--out", str(path))
    assert code == 0
    page = path.read_text(encoding="utf-8")
    assert "<svg" in page
    assert "&lt;b&gt;home&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--out", "designs.png"), "--out: got 'designs.png', wanted a name that ends in .html or .svg"),
        (("--out", "no/such/folder/designs.svg"), "wanted a file in a folder that exists"),
        (("--fee", "-1"), "--fee: got -1, wanted 0 to 1e+09"),
        (("--case", "other"), "got no case 'other'"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    compare: Callable[..., Any], arguments: tuple[str, ...], complaint: str
) -> None:
    code, out, err = compare(STREET, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("gridpact compare: ")
    assert complaint in err


def test_help_has_an_example(compare: Callable[..., Any]) -> None:
    assert "gridpact compare community.json --out designs.html" in " ".join(compare("--help")[1].split())
