"""The plan for people: what stores do, what is curtailed, what fits a terminal, what is left out and where it is."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from controller.plan.calendar import Calendar
from controller.plan.sample import Sampling, write_sample
from controller.plan.show_runs import filled, spans

Gridpact = Callable[..., Any]
Write = Callable[[Any], Path]

CALENDAR = Calendar(
    start=datetime(2026, 3, 18, 15, tzinfo=UTC), mtus=48, mtu_minutes=60, zone=ZoneInfo("Europe/Berlin")
)


def test_a_day_is_named_where_it_is_not_the_one_named_last() -> None:
    assert spans(CALENDAR, [(0, 2), (3, 4), (9, 10), (12, 14), (33, 35)]) == [
        *("16:00-18:00", "19:00-20:00", "Thu 01:00-02:00", "04:00-06:00", "Fri 01:00-03:00")
    ]


def test_what_ends_at_midnight_does_not_name_the_next_day() -> None:
    assert spans(CALENDAR, [(5, 8), (8, 9), (31, 33)]) == ["21:00-24:00", "Thu 00:00-01:00", "23:00-Fri 01:00"]
    assert spans(CALENDAR, [(0, 32)]) == ["16:00-Fri 00:00"]


def test_lines_break_between_times_and_keep_to_their_width() -> None:
    told = [f"{hour}:00-{hour}:30" for hour in range(10, 20)]
    lines = filled("charging", told, width=30, most=None)
    assert lines[0] == "charging 10:00-10:30,"
    assert max(map(len, lines)) <= 30
    assert " ".join(lines) == f"charging {', '.join(told)}"


def test_what_is_left_out_is_counted() -> None:
    told = ["a", "b", "c", "d"]
    assert filled("", told, width=80, most=2) == ["a, b and 2 more"]
    assert filled("", told, width=80, most=3) == ["a, b, c, d"]
    assert filled("never", [], width=80, most=3) == ["never"]


def battery(**more: float) -> dict[str, Any]:
    sizes = {"max_charge_kw": 1, "max_discharge_kw": 1, "capacity_kwh": 4, "initial_kwh": 1, "final_kwh": 1}
    return {"id": "b/battery", "kind": "battery", **sizes, **more}


def test_a_battery_says_when_it_charges_and_when_it_discharges(
    small: dict[str, Any], write: Write, gridpact: Gridpact
) -> None:
    small["peers"] = [{"id": "b", "devices": [{"id": "b/load", "kind": "fixed_load", "power_kw": 1}, battery()]}]
    small["links"] = []
    # Cheap at first, dear in the end: it is filled in the first three hours and emptied in the last.
    small["tariff"] = {"import_price": [0.1, 0.1, 0.1, 0.5, 0.5, 0.5]}
    out = gridpact("plan", write(small), "--solver", "reference").out
    (charging,) = re.findall(r"b/battery +(\S+) +(\S+)  charging 16:00-19:00", out)
    (discharging,) = re.findall(r"\n +(-\S+) +(-\S+)  discharging 19:00-22:00", out)
    assert float(charging[0]) > -float(discharging[0]) > 2
    assert "Wed 2026-03-18 16:00 to Wed 22:00, Europe/Berlin; 1 member, 2 devices\n" in out
    explained = gridpact("plan", write(small), "--solver", "reference", "--json").out
    why = gridpact("explain", write(explained), "b/battery").out
    assert "  charging 16:00-19:00: " in why
    assert "  discharging 19:00-22:00: " in why
    assert "kWh at 0.100 EUR/kWh" in why


def test_a_battery_that_rests_is_one_line(small: dict[str, Any], write: Write, gridpact: Gridpact) -> None:
    small["peers"][1]["devices"].append(battery(cycle_cost=10, waiting_cost=0))
    out = gridpact("plan", write(small), "--solver", "reference").out
    assert re.search(r"b/battery +0\.00 +0\.000  never\n", out)
    assert "discharging" not in out


def test_what_pv_may_not_feed_in_is_shown_as_curtailed(small: dict[str, Any], write: Write, gridpact: Gridpact) -> None:
    small["envelopes"] = [{"peers": "all", "lower_kw": 0}]
    small["peers"][0]["devices"][1]["available_kw"] = [9, 0, 0, 0, 0, 0]
    small["peers"][0]["devices"][2]["required_mtus"] = 1
    out = gridpact("plan", write(small), "--solver", "reference").out
    # 0.5 + 1 kW of loads and 1 kW of the pump are there.
    assert re.search(r"a/pv +-2\.50 .* 6\.50 kWh curtailed 16:00-17:00\n", out)
    assert "limit connection point binds 16:00-17:00\n" in out


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-two homes: more than 60 devices, and more members than are listed."""
    path = tmp_path_factory.mktemp("street") / "street.json"
    path.write_text("".join(write_sample(Sampling(homes=22, seed=2, mtus=24, mtu_minutes=60))), encoding="utf-8")
    return path


@pytest.mark.slow
def test_of_many_homes_kinds_are_shown_and_all_on_request(
    street: Path, gridpact: Gridpact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    community = json.loads(street.read_text("utf-8"))
    devices = [device for peer in community["peers"] for device in peer["devices"]]
    short = gridpact("plan", street, "--deadline", "1").out
    loads = sum(device["kind"] == "fixed_load" for device in devices)
    assert re.search(rf"^fixed load +{loads} +\d+\.\d\d +0\.00 ", short, re.MULTILINE)
    assert "--all" in short
    assert "and 2 more members (--all lists them)" in short
    assert devices[0]["id"] not in short
    whole = gridpact("plan", street, "--deadline", "1", "--all").out
    shown = {line.split(" ")[0] for line in whole.splitlines()}
    assert {device["id"] for device in devices} <= shown
    assert {peer["id"] for peer in community["peers"]} <= shown
    assert "more" not in whole
    for out in (short, whole):
        assert max(map(len, out.splitlines())) <= 80


def test_figures_are_whole_however_narrow_the_terminal(
    small: dict[str, Any], write: Write, gridpact: Gridpact, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = gridpact("plan", write(small), "--solver", "reference").out
    monkeypatch.setenv("COLUMNS", "40")
    narrow = gridpact("plan", write(small), "--solver", "reference").out
    assert "…" not in narrow
    figures = [re.findall(r"-?\d+\.\d{2,3}\b", out) for out in (wide, narrow)]
    assert figures[0] == figures[1]


def test_a_long_name_is_folded_and_no_time_cut_off(
    small: dict[str, Any], write: Write, gridpact: Gridpact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "a/the-pump-of-the-big-pool-behind-the-house-with-the-blue-door"
    small["peers"][0]["devices"][2]["id"] = name
    out = gridpact("plan", write(small), "--solver", "reference").out
    runs = re.search(r"17:00-18:00|19:00-21:00|16:00-17:00", out)
    assert runs is not None
    column = out.splitlines()[runs.string[: runs.start()].count("\n")].index(runs.group())
    assert name in "".join(line[: column - 20].split(" ")[0] for line in out.splitlines())
    assert max(map(len, out.splitlines())) <= 80
