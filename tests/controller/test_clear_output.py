"""What ``gridpact clear`` reads and prints, for people and for programs."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.controller.command_run import Ran
from tests.controller.market_cases import CASES


def test_a_dash_reads_standard_input(
    clear: Callable[..., Ran], two: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(two)))
    assert clear("-", "--json").json["objective"] == pytest.approx(-4)


def test_people_get_a_table(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    two["peers"][0]["id"] = "[red]home[/]"
    two["links"] = [["[red]home[/]", "plant"]]
    ran = clear(two)
    assert ran.code == 0
    assert "two: bilateral market, optimal by dispatch" in ran.out
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["[red]home[/]", "load", "-2", "6"] in lines
    assert ["plant", "[red]home[/]", "2", "2000", "6"] in lines
    assert ["sold", "among", "peers", "2", "kW"] in lines


def test_lines_are_neither_padded_nor_broken(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    lines = clear(two).out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    (certificate,) = [line for line in lines if line.startswith("certificate")]
    assert "dual residual" in certificate


def test_several_mtus_are_shown_from_least_to_most(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    two["horizon"] = {"mtus": 2}
    two["peers"][0]["assets"][0]["b"] = [8, 10]
    shown = clear(two).out
    assert "power, least to most (kW)" in shown
    assert "2 to 3" in shown


@pytest.mark.parametrize("market", ["average-price", "negotiation", "double-auction"])
def test_a_design_lists_each_pair_at_each_price_once(clear: Callable[..., Ran], market: str) -> None:
    result = clear(CASES / "unit-cases.json", "--case", "four-peers", "--market", market, "--json").json
    rows = [(row["seller"], row["buyer"], row["mtu"], row["price"]) for row in result["trades"]]
    assert rows
    assert len(rows) == len(set(rows))
    sold = dict.fromkeys(result["powers"], 0.0)
    for row in result["trades"]:
        for side, sign in (("seller", 1), ("buyer", -1)):
            if row[side] in sold:
                sold[row[side]] += sign * row["power"]
    for peer, assets in result["powers"].items():
        assert sold[peer] == pytest.approx(sum(assets.values()), abs=1e-5)


def test_what_comes_to_nothing_is_not_listed_as_a_trade(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    # The plant asks more than the home offers.
    two["peers"][1]["assets"][0]["b"] = 9
    ran = clear(two)
    assert "no trades" in ran.out
    assert "e-" not in ran.out.split("peer ")[1]


def test_a_design_without_iterations_counts_none(clear: Callable[..., Ran], two: dict[str, Any]) -> None:
    ran = clear(two, "--market", "average-price")
    assert "iterations" not in ran.out
    assert clear(two, "--market", "average-price", "--json").json["iterations"] is None


def test_help_has_an_example(clear: Callable[..., Ran]) -> None:
    assert "gridpact clear cases.json --case two-peers --fee 1" in " ".join(clear("--help").out.split())
