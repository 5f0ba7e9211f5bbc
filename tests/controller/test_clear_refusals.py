"""``gridpact clear`` on bad input: one line that says what it got and what it wanted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.controller.command_run import Ran


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--fee", "-1"), "--fee: got -1, wanted 0 to 1e+09"),
        (("--fee", "nan"), "--fee: got nan, wanted 0 to 1e+09"),
        (("--fee", "cheap"), "argument --fee: invalid float value: 'cheap'"),
        (("--link-limit", "-1"), "--link-limit: got -1, wanted 0 to 1e+09"),
        (("--tolerance", "0"), "--tolerance: got 0, wanted 1e-14 to 0.1"),
        (("--tolerance", "nan"), "--tolerance: got nan, wanted 1e-14 to 0.1"),
        (("--penalty", "1"), "--penalty: got it without --solver admm, wanted both or neither"),
        (("--solver", "admm", "--penalty", "0"), "--penalty: got 0, wanted 1e-12 to 1e+12"),
        (("--solver", "admm", "--max-iterations", "0"), "--max-iterations: got 0, wanted 1 to 1e+09"),
        (("--solver", "admm", "--market", "pool", "--start", "x"), "--start: got it with --market pool"),
        (("--solver", "admm", "--start", "missing.json"), "missing.json: cannot be read"),
        (("--case", "three"), "got no case 'three', wanted 'two'"),
        (("--market", "bazaar"), "argument --market: invalid choice: 'bazaar'"),
        (("--solver", "magic"), "argument --solver: invalid choice: 'magic'"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    clear: Callable[..., Ran], two: dict[str, Any], arguments: tuple[str, ...], complaint: str
) -> None:
    ran = clear(two, *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("gridpact clear: ")
    assert complaint in ran.err


def test_a_file_that_is_not_there_is_refused(clear: Callable[..., Ran], tmp_path: Path) -> None:
    ran = clear(tmp_path / "missing.json")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "missing.json: cannot be read" in ran.err


def test_a_case_that_breaks_a_rule_is_refused(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    two["peers"][0]["assets"][0]["a"] = -1
    ran = clear(two, "--json")
    assert ran.code == 2
    assert "case.json: peers[0].assets[0].a: got -1, wanted a number from 0 to 1e+09" in ran.err


@pytest.mark.parametrize("units", ["wat", 5, None, ["kW"], {"Power": "MW"}])
def test_units_that_say_nothing_are_refused(clear: Callable[..., Ran], tmp_path: Path, units: object) -> None:
    case = {"units": units, "peers": [{"id": "a", "assets": []}], "links": []}
    path = tmp_path / "case.json"
    path.write_text(json.dumps(case))
    ran = clear(path)
    assert ran.code == 2
    assert "units" in ran.err
