"""``gridpact plan`` says that it compiles kernels, to whoever reads its standard error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numba import njit

from controller import plan_command
from controller.cli import main
from controller.compiling import COMPILING
from controller.exit_codes import OK


def test_compiling_is_said_once_and_without_a_terminal_too(
    small: dict[str, Any],
    write: Callable[[Any], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compiling(*given: Any) -> Any:
        assert (njit(lambda x: x + 4)(1), njit(lambda x: x + 5)(1)) == (5, 6)
        return planned(*given)

    planned = plan_command.plan_community
    monkeypatch.setattr(plan_command, "plan_community", compiling)
    assert main(["plan", str(write(small)), "--json"]) == OK
    written = capsys.readouterr()
    assert written.err == f"gridpact plan: {COMPILING}\n"
    assert written.out.startswith("{")


def test_nothing_is_said_where_nothing_is_compiled(
    small: dict[str, Any], write: Callable[[Any], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write(small))
    assert main(["plan", path, "--json"]) == OK
    capsys.readouterr()
    assert main(["plan", path, "--json"]) == OK
    assert capsys.readouterr().err == ""
