"""Cases in files, and the command on them."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from controller.case.comparing import DesignComparison, DesignFigures, Gain
from controller.cli import main

CASES = Path(__file__).parents[2] / "vectors" / "cases"

TWO = {
    "name": "two",
    "peers": [
        {"id": "home", "assets": [{"name": "load", "a": 1, "b": 8, "p_min": -30, "p_max": 0}]},
        {"id": "plant", "assets": [{"name": "net", "a": 1, "b": 4, "p_min": 0, "p_max": 60}]},
    ],
    "links": [["home", "plant"]],
}


class Ran(NamedTuple):
    """What a run of the command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object that it printed."""

        def refuse(constant: str) -> None:
            raise ValueError(constant)

        return json.loads(self.out, parse_constant=refuse)


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of the published cases."""
    return CASES


@pytest.fixture
def two() -> dict[str, Any]:
    """A home that buys from a plant: 2 kW at 6, worth 4."""
    return copy.deepcopy(TWO)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    """Writes a case, or any text, to a file."""

    def write(content: Any, name: str = "case.json") -> Path:
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs the command."""

    def run(*arguments: Any) -> Ran:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        written = capsys.readouterr()
        return Ran(code, written.out, written.err)

    return run


@pytest.fixture
def comparison() -> DesignComparison:
    """Two designs side by side: one that serves everybody, and one that leaves ``b`` unserved and ``a`` worse off."""
    good = DesignFigures(
        design="bilateral",
        status="cleared",
        reason="",
        compares=True,
        welfare=7.5,
        volume=3.0,
        price_low=0.1,
        price_mean=0.2,
        price_high=0.3,
        price_borne=0.25,
        gains=(Gain(peer="a", amount=0.0), Gain(peer="b", amount=0.0), Gain(peer="c", amount=0.0)),
    )
    poor = DesignFigures(
        design="grid-only",
        status="infeasible",
        reason="unserved: peer <b>",
        unserved=2.0,
        unserved_peers=1,
        losers=1,
        gains=(Gain(peer="a", amount=-2.0, verdict=-1), Gain(peer="b", amount=None), Gain(peer="c", amount=1e-9)),
    )
    return DesignComparison(
        case="street",
        unit="kW",
        price_unit="EUR/kWh",
        peers=3,
        fee_per_side=0.0,
        particular=False,
        baseline="bilateral",
        designs=(good, poor),
    )
