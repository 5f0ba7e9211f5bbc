"""The JSON Schema takes what the reader takes, and refuses what a schema can refuse."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from controller.case.schema import case_schema

RICH: dict[str, Any] = {
    "name": "rich",
    "note": ["anything"],
    "units": {"power": "kW", "price": "EUR/kWh"},
    "sign": "consumption",
    "horizon": {"mtus": 2, "mtu_minutes": 15},
    "grid": {"import_price": [0.3, None], "export_price": 0.1, "peers": ["a"]},
    "network_charge": 0.01,
    "fee_per_side": 0.01,
    "peers": [
        {
            "id": "a",
            "role": "consumer",
            "bus": 4,
            "assets": [{"name": "load", "a": 1, "b": [1, 2], "p_min": 0, "p_max": [1, 2]}],
            "limit": {"p_max": 3},
        },
        {
            "id": "b",
            "grid": None,
            "assets": [{"curve": [[-2, 0], [0, 0.5]]}],
            "storages": [{"name": "s", "max_charge": 1, "max_discharge": 1, "capacity": 2, "final": 0.25}],
        },
    ],
    "links": [{"peers": ["a", "b"], "preference": [0, 0.1], "capacity": None}],
    "limits": [{"name": "feeder", "peers": "all", "p_max": [5, None]}],
    "expected": [{"objective": 1, "powers": {"a": [0, 0]}, "published": {"any": 1}}],
}


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    content = json.loads(case_schema())
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)


def test_the_published_cases_are_valid(schema: Draft202012Validator, cases: Path) -> None:
    for path in sorted(cases.glob("*.json")):
        schema.validate(json.loads(path.read_text(encoding="utf-8")))


def test_what_the_reader_takes_is_valid(
    schema: Draft202012Validator, write: Callable[..., Path], run: Callable[..., Any]
) -> None:
    schema.validate(RICH)
    assert run("clear", write(RICH), "--solver", "reference").code in {0, 1}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("peers", []),
        ("link", []),
        ("links", "some"),
        ("links.0", ["a"]),
        ("links.0", {"seller": "a"}),
        ("links.0.capacity", -1),
        ("links.0.preference", [1]),
        ("sign", "both"),
        ("units.power", "hp"),
        ("horizon.mtus", 193),
        ("horizon.mtu_minutes", 20),
        ("fee_per_side", -1),
        ("peers.0.id", ""),
        ("peers.0.role", "boss"),
        ("peers.0.asset", []),
        ("peers.0.assets.0.a", -1),
        ("peers.0.assets.0.b", "8"),
        ("peers.0.assets.0.p_max", 1e12),
        ("peers.0.assets.0.curve", [[0, 0], [1, 1]]),
        ("peers.1.assets.0.curve", [[0, 0]]),
        ("peers.1.storages.0.capacity", -1),
        ("peers.1.storages.0.charge_efficiency", 0),
        ("grid.price", 1),
        ("limits.0.peers", 5),
        ("expected.0.objctive", 1),
        ("expected.0.powers", 1),
    ],
)
def test_what_breaks_the_format_is_refused_by_schema_and_reader_alike(
    schema: Draft202012Validator,
    write: Callable[..., Path],
    run: Callable[..., Any],
    path: str,
    value: Any,
) -> None:
    broken = copy.deepcopy(RICH)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = broken
    for step in steps:
        place = place[step]
    place[last] = value
    assert not schema.is_valid(broken)
    assert run("clear", write(broken)).code == 2


def test_the_command_prints_the_schema(run: Callable[..., Any]) -> None:
    ran = run("schema", "case")
    assert ran.code == 0
    assert ran.json["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "gridpact schema case" in run("schema", "--help").out
    refused = run("schema", "house")
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)


def test_printing_the_schema_loads_no_mathematics() -> None:
    program = (
        "import sys; from controller.cli import main; main(['schema', 'case']); "
        "sys.exit(' '.join({'numpy', 'scipy', 'grpc', 'rich'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert ran.stderr.split() == []
    assert json.loads(ran.stdout)
