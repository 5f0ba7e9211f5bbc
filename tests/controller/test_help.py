"""What every help ends with works when it is pasted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.cli import main

ROOT = Path(__file__).parents[2]


def examples(capsys: pytest.CaptureFixture[str], *command: str) -> list[str]:
    """The lines that stand after ``examples:`` in a help, as they stand there."""
    with pytest.raises(SystemExit) as leaving:
        main([*command, "--help"])
    assert leaving.value.code == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    _, _, rest = told.partition("examples:\n")
    return [line.removeprefix("  ") for line in rest.splitlines() if line]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        *(pytest.param(command, marks=pytest.mark.campaign) for command in ((), ("sample",), ("plan",))),
        ("explain",),
        ("schema",),
    ],
    ids=" ".join,
)
def test_the_examples_of_a_help_work_when_pasted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = examples(capsys, *command)
    assert len(lines) >= 2
    assert any(line.startswith(" ".join(("gridpact", *command))) for line in lines)
    shell = tmp_path / "bin" / "gridpact"
    shell.parent.mkdir()
    shell.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m controller.cli "$@"\n', encoding="utf-8")
    shell.chmod(0o755)
    place = tmp_path / "place"
    place.mkdir()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=place,
        env={
            **os.environ,
            "PATH": os.pathsep.join((str(shell.parent), os.environ["PATH"])),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "proto"))),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(path.stat().st_size for path in place.iterdir())
