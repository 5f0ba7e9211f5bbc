"""Every field of the format says what it means, with its unit, and the document knows it."""

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from controller.plan.fields import KINDS
from controller.plan.meanings import MEANINGS, meaning
from controller.plan.schema import community_schema

DOCUMENT = (Path(__file__).parents[3] / "docs" / "communities.md").read_text(encoding="utf-8")
UNITS = {
    "_kw": "kW",
    "_kwh": "kWh",
    "_mtus": "MTU",
    "_mtu": "MTU",
    "_minutes": "minutes",
    "_c": "Celsius",
    "_cost": "urrency",
    "_price": "urrency per kWh",
    "_kw_per_k": "kW/K",
    "_kwh_per_k": "kWh/K",
}
"""What the meaning of a field names, by how its name ends; the longest ending counts."""


def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every property of every object in a schema, by name."""
    if isinstance(schema, dict):
        named = schema.get("properties", {})
        yield from named.items() if isinstance(named, dict) else ()
        for each in schema.values():
            yield from properties(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from properties(each)


@pytest.fixture(scope="module")
def described() -> list[tuple[str, Any]]:
    return list(properties(json.loads(community_schema())))


def test_every_property_says_what_it_means(described: list[tuple[str, Any]]) -> None:
    assert {"capacity_kwh", "otherwise", "paused_mtus", "time_zone", "all_pairs"} <= {name for name, _ in described}
    assert [name for name, each in described if not each.get("description", "").endswith(".")] == []


def test_a_meaning_names_the_unit(described: list[tuple[str, Any]]) -> None:
    for name, each in described:
        endings = [ending for ending in UNITS if name.endswith(ending)]
        if endings:
            assert UNITS[max(endings, key=len)] in each["description"], name


def test_no_meaning_is_left_over(described: list[tuple[str, Any]]) -> None:
    told = {(name, each["description"]) for name, each in described}
    assert [(part, name) for part, own in MEANINGS.items() for name in own if (name, own[name]) not in told] == []


def test_a_field_without_a_meaning_is_refused() -> None:
    with pytest.raises(KeyError, match="colour"):
        meaning("battery", "colour")


def test_the_document_names_every_property(described: list[tuple[str, Any]]) -> None:
    named = {word for code in re.findall(r"`([^`\n]+)`", DOCUMENT) for word in re.findall(r"\w+", code)}
    assert sorted({name for name, _ in described} - named) == []


def test_the_document_states_the_defaults_that_hold() -> None:
    kind, checked = "", 0
    for line in DOCUMENT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4:
            continue
        kind = cells[0].strip("`") or kind
        # A row names fields, and the default of each, or one of all.
        names, stated = re.findall(r"`(\w+)`", cells[1]), [value.strip() for value in cells[3].split(",")]
        for name, value in zip(names, stated * len(names) if len(stated) == 1 else stated, strict=True):
            if kind in KINDS and name in KINDS[kind].fields and not value.startswith("pauses"):
                checked += 1
                (standing,) = (each.default for each in fields(KINDS[kind].make) if each.name == name)
                wanted = MISSING if value == "" else json.loads(value.strip("`"))
                assert standing == wanted, (kind, name)
    assert checked > 50
