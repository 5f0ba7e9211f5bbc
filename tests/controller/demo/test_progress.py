"""How far the day is, on a terminal and where output goes elsewhere."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress as Bar

from controller.demo.command import BarProgress, LineProgress

TOTAL = 96


def test_lines_say_what_begins_and_every_third_window(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress()
    progress.step(0, TOTAL, "planning the day")
    for mtu in range(0, 32, 4):
        progress.step(mtu, TOTAL, f"clearing {6 + mtu // 4:02}:00")
        progress.step(mtu + 1, TOTAL, f"{6 + mtu // 4:02}:15")
    progress.step(TOTAL, TOTAL, "writing results")
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == [
        "gridpact demo: planning the day (0 of 96 quarter-hours)",
        "gridpact demo: clearing 06:00 (0 of 96 quarter-hours)",
        "gridpact demo: clearing 09:00 (12 of 96 quarter-hours)",
        "gridpact demo: clearing 12:00 (24 of 96 quarter-hours)",
        "gridpact demo: writing results (96 of 96 quarter-hours)",
    ]


def test_a_notice_is_said_once_and_first(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress("compiling")
    assert capsys.readouterr().err == ""
    progress.step(0, TOTAL, "planning the day")
    progress.step(TOTAL, TOTAL, "writing results")
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == "gridpact demo: compiling"
    assert [line for line in rest if "compiling" in line] == []


def test_a_terminal_shows_the_notice_above_the_bar() -> None:
    shown = io.StringIO()
    with Bar(console=Console(file=shown, force_terminal=True, width=80)) as bar:
        progress = BarProgress(bar, "compiling")
        progress.step(0, TOTAL, "planning the day")
        progress.step(48, TOTAL, "clearing 18:00")
    assert shown.getvalue().count("compiling") == 1
    assert shown.getvalue().index("compiling") < shown.getvalue().index("planning the day")
    assert "50%" in shown.getvalue()
