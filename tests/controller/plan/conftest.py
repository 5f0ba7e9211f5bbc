"""Small communities, and the command run on them."""

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.controller.command_run import Ran, run_command

SMALL: dict[str, Any] = {
    "version": 1,
    "id": "small",
    "horizon": {"start": "2026-03-18T15:00:00Z", "mtus": 6, "mtu_minutes": 60, "time_zone": "Europe/Berlin"},
    "tariff": {"import_price": [0.3, 0.3, 0.3, 0.2, 0.2, 0.3], "export_price": 0.1},
    "peers": [
        {
            "id": "a",
            "section": "s",
            "devices": [
                {"id": "a/load", "kind": "fixed_load", "power_kw": 0.5},
                {"id": "a/pv", "kind": "curtailable", "available_kw": [2, 1, 0, 0, 0, 0]},
                {"id": "a/pump", "kind": "interruptible", "power_kw": 1, "required_mtus": 2},
            ],
        },
        {"id": "b", "devices": [{"id": "b/load", "kind": "fixed_load", "power_kw": 1}]},
    ],
    "links": [{"peers": ["a", "b"], "network_charge": 0.01}],
    "envelopes": [{"peers": "all", "upper_kw": 3}],
}


@pytest.fixture(scope="module")
def community() -> dict[str, Any]:
    """The same as ``small``, for a whole module."""
    return copy.deepcopy(SMALL)


@pytest.fixture
def small() -> dict[str, Any]:
    """Two homes: one with PV and a pump that owes two of six hours, of which the fourth and fifth are cheap."""
    return copy.deepcopy(SMALL)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    """Writes a value, or a text as it stands, to a file."""

    def write(value: Any) -> Path:
        path = tmp_path / "community.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    return write


@pytest.fixture
def gridpact(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs the command."""

    return partial(run_command, capsys)
