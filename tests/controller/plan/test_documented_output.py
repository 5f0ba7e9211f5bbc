"""What the documents print as a plan is what comes out."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.plan.sample import Sampling, write_sample

ROOT = Path(__file__).parents[3]
COMMUNITIES = (ROOT / "docs" / "communities.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
LAST_DIGITS = 0.0101
"""What another machine's rounding may make of a printed figure: a plan is optimal within a hundredth of a per cent."""


def assert_same(documented: str, printed: str) -> None:
    """Assert that two texts are the same but for the last digits of their figures.

    In the documented one ``...`` stands for lines that are left out.
    """
    lines = iter(printed.splitlines())
    for wanted in documented.splitlines():
        if wanted.strip() == "...":
            continue
        for line in lines:
            if same(wanted, line):
                break
        else:
            pytest.fail(f"not printed, or in another order: {wanted!r}\n{printed}")


def same(one: str, other: str) -> bool:
    """Whether two lines are the same but for the last digits of their figures."""
    pieces = [re.split(r"([-+]?\d+\.\d+)", line) for line in (one, other)]
    return len(pieces[0]) == len(pieces[1]) and all(
        abs(float(mine) - float(theirs)) <= LAST_DIGITS if k % 2 else mine.split() == theirs.split()
        for k, (mine, theirs) in enumerate(zip(*pieces, strict=True))
    )


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("home-1/pool  2.52  0.596  23:00-Thu 01:00", True),
        ("home-1/pool   2.52 0.599  23:00-Thu 01:00", True),
        ("home-1/pool  2.52  0.696  23:00-Thu 01:00", False),
        ("home-1/pool  2.52  0.596  22:00-Thu 01:00", False),
        ("home-1/pool  2.52  0.596", False),
    ],
)
def test_lines_are_compared(line: str, holds: bool) -> None:
    assert same("home-1/pool  2.52  0.596  23:00-Thu 01:00", line) is holds


@pytest.mark.slow
def test_the_documented_community_plans_as_printed(
    gridpact: Callable[..., Any], write: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (community,) = re.findall(r"```json\n(.*?)```", COMMUNITIES, re.DOTALL)
    (documented,) = re.findall(r"```text\n(two-homes: .*?)```", COMMUNITIES, re.DOTALL)
    monkeypatch.setenv("COLUMNS", "80")
    ran = gridpact("plan", write(json.loads(community)))
    assert (ran.code, ran.err) == (0, "")
    assert len(documented.splitlines()) == len(ran.out.splitlines())
    assert_same(documented, ran.out)
    assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.slow
def test_the_documented_earlier_plan_holds_the_pump(gridpact: Callable[..., Any], write: Callable[[Any], Path]) -> None:
    (community,) = re.findall(r"```json\n(.*?)```", COMMUNITIES, re.DOTALL)
    (foreseen,) = re.findall(r"```text\n(\"planned_kw\".*?),\n```", COMMUNITIES, re.DOTALL)
    pump = {}
    for name, content in (("first", {}), ("held", json.loads(f"{{{foreseen}}}"))):
        power = gridpact("plan", write(json.loads(community) | content), "--json").json["schedules"]["bert/pump"]
        pump[name] = [mtu for mtu, kw in enumerate(power) if kw]
    # The horizon begins at four in the afternoon: noon is its twenty-first hour.
    assert pump == {"first": [18, 19, 20, 21], "held": [20, 21, 22, 23]}


@pytest.mark.slow
def test_the_readme_shows_what_a_sample_plans_to(gridpact: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (documented,) = re.findall(r"```text\n(sample-.*?)```", README, re.DOTALL)
    assert "gridpact sample --homes 2 --seed 1 --mtus 24 --mtu-minutes 60 | .venv/bin/gridpact plan -" in README
    sample = "".join(write_sample(Sampling(homes=2, seed=1, mtus=24, mtu_minutes=60)))
    monkeypatch.setattr("sys.stdin", io.StringIO(sample))
    monkeypatch.setenv("COLUMNS", "80")
    ran = gridpact("plan", "-")
    assert (ran.code, ran.err) == (0, "")
    assert len(documented.splitlines()) > 10
    assert_same(documented, ran.out)
