"""The reference of a driver's settings: ``python -m device_drivers.config_text`` prints it for docs/drivers.md."""

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from device_drivers.config import DriverConfig, Section

BEGIN, END = "<!-- keys -->", "<!-- end of keys -->"


def reference() -> str:
    """A table of every key with its default."""
    return "\n".join(["| key | default | what it is |", "|---|---|---|", *_rows(DriverConfig, "")]) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        many = get_origin(field.annotation) is tuple and section is not None
        key = f"{prefix}{name}{'[]' if many else ''}"
        default = "" if isinstance(field.default, Section) else _shown(field.default)
        yield f"| `{key}` | {default} | {field.description} |"
        if section is not None:
            yield from _rows(section, f"{key}.")


def _section(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, Section) else None
    found = [_section(argument) for argument in get_args(annotation)]
    return next((one for one in found if one is not None), None)


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if default is None or default in ((), {}):
        return "none"
    return f"`{json.dumps(str(default) if isinstance(default, Path) else default)}`"


if __name__ == "__main__":
    print(reference(), end="")
