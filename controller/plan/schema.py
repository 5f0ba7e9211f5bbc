"""The JSON Schema of the community format, made of the same tables that the reader reads by."""

import json
from dataclasses import MISSING, fields
from typing import Any

from controller.plan.calendar import CLOCK
from controller.plan.devices import COMMON
from controller.plan.fields import KINDS, Field, Kind
from controller.plan.links import COSTS, MOST_LINKS
from controller.plan.meanings import meaning
from controller.plan.reading import MOST_PEERS, MOST_TEXT, VERSION
from optimization.quantities import MAX_MAGNITUDE, MAX_MTUS, MTU_MINUTES

Schema = dict[str, Any]


def community_schema() -> str:
    """The JSON Schema (draft 2020-12) of a community file; the reader is stricter than a schema can be."""
    return json.dumps(_root(), indent=2) + "\n"


def _root() -> Schema:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Gridpact community",
        "description": "What gridpact plan reads; docs/communities.md explains every field. Consumption is positive.",
        **_object(
            "community",
            {
                "version": {"const": VERSION},
                "id": _ref("name"),
                "note": {},
                "currency": _ref("name"),
                "horizon": _horizon(),
                "profiles": {"type": "object", "additionalProperties": _ref("any_series")},
                "tariff": {"anyOf": [_ref("any_series"), _tariff()]},
                "peers": {"type": "array", "minItems": 1, "maxItems": MOST_PEERS, "items": _ref("peer")},
                "links": {"anyOf": [_listed_links(), _compact_links("all_pairs"), _compact_links("same_section")]},
                "envelopes": {"type": "array", "items": _ref("envelope")},
                "planned_kw": {"type": "object", "additionalProperties": _ref("any_series")},
                "change_price": _number(0.0, MAX_MAGNITUDE),
            },
            required=("version", "id", "horizon", "tariff", "peers"),
        ),
        "$defs": {
            "name": {"type": "string", "minLength": 1, "maxLength": MOST_TEXT},
            "count": {"type": "integer", "minimum": 0, "maximum": MAX_MTUS},
            "clock": {"type": "string", "pattern": f"^({CLOCK.pattern})$"},
            "time_of_day": {"type": "string", "pattern": r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"},
            "any_series": _series(-MAX_MAGNITUDE, MAX_MAGNITUDE),
            "open_series": _series(-MAX_MAGNITUDE, MAX_MAGNITUDE, none=True),
            "peer": _object(
                "peer",
                {
                    "id": _ref("name"),
                    "note": {},
                    "section": _ref("name"),
                    "devices": {"type": "array", "items": {"oneOf": [_ref(name) for name in KINDS]}},
                },
                required=("id", "devices"),
            ),
            "envelope": _envelope(),
            **{name: _device(name, kind) for name, kind in KINDS.items()},
        },
    }


def _object(part: str, properties: Schema, *, required: tuple[str, ...] = ()) -> Schema:
    """An object that is this part of the format, each of its properties with what it means."""
    return {
        "type": "object",
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
        "properties": {name: {"description": meaning(part, name), **each} for name, each in properties.items()},
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _number(lower: float, upper: float) -> Schema:
    return {"type": "number", "minimum": lower, "maximum": upper}


def _series(lower: float, upper: float, *, none: bool = False) -> Schema:
    """One number, a list with one for each MTU, a shared profile, or periods of the day."""
    one: Schema = _number(lower, upper)
    if none:
        one = {"anyOf": [one, {"type": "null"}]}
    times = {"from": _ref("time_of_day"), "to": _ref("time_of_day"), "value": one}
    period = _object("series", times, required=("from", "to", "value"))
    profile = {"profile": {"type": "string", "minLength": 1}, "times": _number(-1e9, 1e9)}
    periods = {"periods": {"type": "array", "items": period}, "otherwise": one}
    return {
        "anyOf": [
            one,
            {"type": "array", "minItems": 1, "maxItems": MAX_MTUS, "items": one},
            {"type": "string", "minLength": 1},
            _object("series", profile, required=("profile",)),
            _object("series", periods, required=("periods",)),
        ]
    }


def _horizon() -> Schema:
    return _object(
        "horizon",
        {
            "start": {"type": "string", "format": "date-time", "pattern": r"(Z|\+00:00)$"},
            "mtus": {"type": "integer", "minimum": 1, "maximum": MAX_MTUS},
            "mtu_minutes": {"enum": list(MTU_MINUTES)},
            "time_zone": {"type": "string", "minLength": 1},
        },
        required=("start", "mtus"),
    )


def _tariff() -> Schema:
    prices = {"import_price": _ref("any_series"), "export_price": _ref("any_series")}
    return _object("tariff", prices, required=("import_price",))


def _costs() -> Schema:
    return {name: _number(0.0, MAX_MAGNITUDE) for name in COSTS}


def _listed_links() -> Schema:
    one_way = {"seller": _ref("name"), "buyer": _ref("name")}
    ends = {"type": "array", "minItems": 2, "maxItems": 2, "items": _ref("name")}
    return {
        "type": "array",
        "maxItems": MOST_LINKS,
        "items": {
            "oneOf": [
                _object("link", {**one_way, **_costs()}, required=("seller", "buyer")),
                _object("link", {"peers": ends, **_costs()}, required=("peers",)),
            ]
        },
    }


def _compact_links(name: str) -> Schema:
    return _object("link", {name: _object("link", _costs())}, required=(name,))


def _envelope() -> Schema:
    members = {"anyOf": [{"const": "all"}, {"type": "array", "minItems": 1, "items": _ref("name")}]}
    targets = {"peer": _ref("name"), "section": {"type": "string"}, "peers": members}
    bounds = {"lower_kw": _ref("open_series"), "upper_kw": _ref("open_series")}
    return {
        **_object("envelope", {"name": _ref("name"), "note": {}, **targets, **bounds}),
        "oneOf": [{"required": [target]} for target in targets],
    }


def _device(name: str, kind: Kind) -> Schema:
    properties: Schema = {**{key: {} for key in COMMON}, "id": _ref("name"), "kind": {"const": name}}
    standing = {each.name: each.default for each in fields(kind.make) if each.default is not MISSING}
    for key, each in kind.fields.items():
        value = {"anyOf": [_value(each), {"type": "null"}]} if each.none else _value(each)
        properties[key] = {**value, **({"default": standing[key]} if key in standing else {})}
    for index, clock in kind.window:
        properties[index], properties[clock] = _ref("count"), _ref("clock")
    required = ("id", "kind", *(key for key, each in kind.fields.items() if each.required))
    both = [{"not": {"required": [index, clock]}} for index, clock in kind.window]
    return {**_object(name, properties, required=required), **({"allOf": both} if both else {})}


def _value(field: Field) -> Schema:
    match field.form:
        case "number":
            return _number(field.lower, field.upper)
        case "count":
            return {"type": "integer", "minimum": int(field.lower), "maximum": int(field.upper)}
        case "series":
            return _series(field.lower, field.upper)
        case _:
            return _parts()[field.form]


def _parts() -> dict[str, Schema]:
    """Of each form without bounds of its own."""
    power = _number(0.0, MAX_MAGNITUDE)
    level = _object("level", {"lower_kw": power, "upper_kw": power}, required=("lower_kw", "upper_kw"))
    counts = dict.fromkeys(("phase", "elapsed_mtus", "paused_mtus"), _ref("count"))
    return {
        "truth": {"type": "boolean"},
        "text": _ref("name"),
        "phases": {"type": "array", "minItems": 1, "items": {"oneOf": _phases()}},
        "levels": {"type": "array", "minItems": 1, "items": level},
        "progress": _object("progress", counts, required=("phase", "elapsed_mtus")),
    }


def _phases() -> list[Schema]:
    """A phase with one power for so many MTUs, or with a power for each."""
    power = _number(0.0, MAX_MAGNITUDE)
    pauses = {"min_pause_mtus": _ref("count"), "max_pause_mtus": _ref("count")}
    listed = {"type": "array", "minItems": 1, "maxItems": MAX_MTUS, "items": power}
    length = {"type": "integer", "minimum": 1, "maximum": MAX_MTUS}
    return [
        _object("phase", {"power_kw": listed, **pauses}, required=("power_kw",)),
        _object("phase", {"power_kw": power, "mtus": length, **pauses}, required=("power_kw", "mtus")),
    ]
