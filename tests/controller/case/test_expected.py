"""A result is compared with the answers of its own scenario, as exactly as they were written down."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.case.format import BILATERAL
from controller.case.reading import read_case

Write = Callable[..., Path]
Run = Callable[..., Any]


@pytest.fixture
def differing(two: dict[str, Any], write: Write, run: Run) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Clears the case of two peers with these answers; what was compared, and the exit code, by key."""

    def differing(*expected: dict[str, Any]) -> dict[str, Any]:
        two["expected"] = list(expected)
        ran = run("clear", write(two), "--json")
        compared = {entry["key"]: entry["ok"] for entry in ran.json["expected"]}
        assert ran.code == (0 if all(compared.values()) else 1)
        return compared

    return differing


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        ({"objective": -4}, True),
        ({"objective": -4.00001}, False),
        ({"welfare": 4}, True),
        ({"welfare": -4}, False),
        ({"price": 6}, True),
        ({"uniform_price": 6.0001}, False),
        ({"price_buy": 6}, True),
        ({"price_seller": 6}, True),
        ({"price_sellers": 5}, False),
        ({"traded": 2}, True),
        ({"traded_kw": 2}, True),
        ({"traded_mw": 0.002}, True),
        ({"traded_w": 2000}, True),
        ({"produced": 2}, True),
        ({"produced_kw": 2.1}, False),
    ],
)
def test_a_total_or_a_price_is_compared(
    differing: Callable[..., dict[str, Any]], answer: dict[str, Any], ok: bool
) -> None:
    assert differing(answer) == {next(iter(answer)): ok}


def test_powers_are_compared_by_order_by_peer_or_by_asset(differing: Callable[..., dict[str, Any]]) -> None:
    assert differing({"powers": [-2, 2]}) == {"powers.home": True, "powers.plant": True}
    assert differing({"powers": {"plant": 2.1}}) == {"powers.plant": False}
    assert differing({"powers": {"plant": {"net": 2, "other": 0}}}) == {
        "powers.plant.net": True,
        "powers.plant.other": False,
    }
    assert differing({"prices": {"home": 6, "plant": 5}}) == {"prices.home": True, "prices.plant": False}


def test_only_answers_to_the_scenario_are_compared(differing: Callable[..., dict[str, Any]]) -> None:
    assert differing({"fee_per_side": 1, "traded": 7}, {"link_limit": 1, "traded": 7}, {"market": "pool"}) == {}
    assert differing({"fee_per_side": 0, "traded": 2, "published": {"welfare": 9}}) == {"traded": True}


def test_an_answer_of_six_digits_or_more_counts_as_rounded(differing: Callable[..., dict[str, Any]]) -> None:
    # The objective is -4 exactly: half a unit of the last place off, and one and a half.
    assert differing({"objective": -4.0000005}) == {"objective": True}
    assert differing({"objective": -4.000015}) == {"objective": False}


def test_answers_of_several_mtus_are_lists(two: dict[str, Any], write: Write, run: Run) -> None:
    two["horizon"] = {"mtus": 2, "mtu_minutes": 30}
    two["peers"][0]["assets"][0]["b"] = [8, 10]
    two["expected"] = [{"price": [6, 7], "powers": {"plant": [2, 3]}, "traded": [2, 4], "objective": -6.5}]
    compared = {entry["key"]: entry for entry in run("clear", write(two), "--json").json["expected"]}
    assert {key: entry["ok"] for key, entry in compared.items()} == {
        "price": True,
        "powers.plant": True,
        "traded": False,
        "objective": True,
    }
    assert compared["traded"]["wanted"] == 4
    assert compared["traded"]["got"] == pytest.approx(3)


def test_the_published_answers_are_read(cases: Path) -> None:
    for path in sorted(cases.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for raw in content if isinstance(content, list) else [content]:
            case = read_case(str(path), raw["name"])
            assert len(case.expected) == len(raw["expected"])
            assert all(expected.market == BILATERAL and expected.answers for expected in case.expected)
