"""Every shipped day of every shipped grid, end to end.

The full campaign is run by hand, ``pytest -m campaign``, and takes most of an hour on two cores; its figures are in
``docs/evidence/days.md``. ``GRIDPACT_CAMPAIGN`` scales it: 0.01 runs one day.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DAYS = [
    (grid, day) for grid in ("rural1", "rural3") for day in ("2016-01-20", "2016-04-20", "2016-07-20", "2016-10-19")
]
SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("grid", "day"), DAYS[: max(1, round(len(DAYS) * SCALE))])
def test_every_day_keeps_its_promises_and_the_evening_limit_binds(grid: str, day: str, tmp_path: Path) -> None:
    out = tmp_path / "day"
    run = subprocess.run(
        [sys.executable, "-m", "controller.cli", "demo", "--grid", grid, "--day", day, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads((out / "day.json").read_text("utf-8"))
    assert [check["name"] for check in result["checks"] if not check["passed"]] == []
    assert result["summary"]["envelope_binding_mtus"] >= 8
    assert result["summary"]["peak_without_limit_w"] > result["summary"]["evening_limit_w"]
    print(f"{grid} {day}: {json.dumps(result['summary'], sort_keys=True)}")
