"""The command, run in this process, and what it leaves."""

import json
from typing import Any, NamedTuple

import pytest

from controller.cli import main
from controller.compiling import COMPILING

COMPILES = f"gridpact plan: {COMPILING}\n"
"""What the first plan of an installation says on standard error, and later ones do not."""


class Ran(NamedTuple):
    """What a run of the command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object that it printed, without a number that JSON does not know."""

        def refuse(constant: str) -> None:
            raise ValueError(constant)

        return json.loads(self.out, parse_constant=refuse)


def run_command(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Ran:
    """Runs it; whatever it complains of, it is no traceback. That it compiles kernels is left out."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    written = capsys.readouterr()
    assert "Traceback" not in written.err
    return Ran(code, written.out, written.err.replace(COMPILES, "", 1))
