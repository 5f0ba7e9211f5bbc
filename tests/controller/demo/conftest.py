"""A hamlet of three houses that a day runs through in seconds, as files to change and as a finished day."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.demo.conductor import Progress
from controller.demo.main import Order, run_demo
from controller.demo.scenario import Tariff

DAY = "2016-07-20"
NOON_W = [0] * 32 + [2500] * 36 + [0] * 52
EVENING_W = [300] * 72 + [1500] * 12 + [300] * 36


def hamlet() -> dict[str, Any]:
    """An extract: a house with a plant and a battery, two without, on two feeders."""
    return {
        "format": "gridpact.grid.v1",
        "name": "1-LV-hamlet--0-sw",
        "time_zone": "Europe/Berlin",
        "mtu_minutes": 15,
        "transformer": {"id": "transformer", "bus": 1, "rated_va": 100_000},
        "buses": [{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}],
        "lines": [
            {"id": "line-1", "from_bus": 1, "to_bus": 2},
            {"id": "line-2", "from_bus": 3, "to_bus": 1},
            {"id": "line-3", "from_bus": 3, "to_bus": 4},
        ],
        "loads": [
            {"id": "anna", "bus": 2, "profile": "H0-A"},
            {"id": "bert", "bus": 3, "profile": "H0-B"},
            {"id": "carl", "bus": 4, "profile": "L1-A"},
        ],
        "pv": [{"id": "roof", "bus": 2, "rated_w": 5000}],
        "storages": [{"id": "battery", "bus": 2, "rated_w": 2000, "capacity_wh": 4000, "efficiency": 0.9}],
        "default_day": DAY,
        "days": {
            DAY: {
                "load_w": {"anna": EVENING_W, "bert": EVENING_W[:], "carl": [400] * 120},
                "pv_w": {"roof": NOON_W},
            }
        },
    }


def kettles() -> dict[str, Any]:
    """A catalogue of one appliance that everybody owns."""
    return {
        "format": "gridpact.appliances.v1",
        "appliances": [
            {
                "name": "water heater",
                "flexible": True,
                "from": "06:00",
                "to": "23:00",
                "hours": 3.0,
                "power_kw": 1.5,
                "share": 1.0,
            }
        ],
    }


WRITTEN = {"grid": hamlet, "catalogue": kettles}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a good file of a kind, after a change to its content, and returns its path."""

    def write(kind: str, change: Callable[[Any], object] = lambda _: None) -> Path:
        content = copy.deepcopy(WRITTEN[kind]())
        change(content)
        path = tmp_path / f"{kind}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def finished_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a day of the hamlet left behind."""
    folder = tmp_path_factory.mktemp("hamlet")
    for kind, content in WRITTEN.items():
        (folder / f"{kind}.json").write_text(json.dumps(content()), encoding="utf-8")
    order = Order(
        grid=str(folder / "grid.json"),
        day=None,
        out=folder / "day",
        tariff=Tariff(),
        seed=1,
        catalogue=folder / "catalogue.json",
        listen="127.0.0.1:0",
    )
    result = run_demo(order, Progress())
    assert [check for check in result["checks"] if not check["passed"]] == []
    return order.out
