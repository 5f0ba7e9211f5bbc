"""Cases in files, and the command on them."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controller.case.comparing import DesignComparison, DesignFigures, Gain
from tests.controller.command_run import Ran, run_command
from tests.controller.market_cases import CASES


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of the published cases."""
    return CASES


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
    return partial(run_command, capsys)


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
