"""The configuration as text: the effective one as TOML, and the reference of all keys."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from controller.config import Section, ServeConfig, variable

HEAD = """# Configuration

`gridpact serve` takes its settings from the command line, else from the environment, else from the TOML file that
`--config` names, else these defaults. Every key can be set on the command line by `--set KEY=VALUE`; `--data`, `--pki`
and `--listen` are short for theirs. Unknown keys are refused. Paths are relative to where the service is started.
`gridpact serve --print-config` prints what is in effect, without passwords, in the file's own format.

This page is made from `controller/config.py` by `python -m controller.config_text > docs/configuration.md`.

```toml
# gridpact.toml
data = "/var/lib/gridpact"
pki = "/etc/gridpact/pki"
listen = "0.0.0.0:50051"

[log]
format = "json"

[metrics]
listen = "127.0.0.1:9464"
```

```sh
GRIDPACT_LOG__LEVEL=debug gridpact serve --config gridpact.toml --set solver.deadline_s=30
```
"""


def reference() -> str:
    """The page that describes every key."""
    return "\n".join([HEAD, *_tables()]) + "\n"


def as_toml(config: ServeConfig) -> str:
    """The effective configuration as a TOML file; passwords are stars, what is not set is a comment."""
    plain = [(name, getattr(config, name)) for name in ServeConfig.model_fields]
    lines = [_assign(name, value) for name, value in plain if not isinstance(value, Section)]
    for name, section in plain:
        if isinstance(section, Section):
            lines += ["", f"[{name}]"]
            lines += [_assign(key, getattr(section, key)) for key in type(section).model_fields]
    return "\n".join(lines) + "\n"


def _assign(key: str, value: object) -> str:
    match value:
        case None:
            return f"# {key} is not set"
        case bool() | int() | float():
            return f"{key} = {json.dumps(value)}"
        case tuple():
            return f"{key} = {json.dumps(value)}"
        case SecretStr():
            return f"{key} = {json.dumps(without_secrets(value.get_secret_value()))}"
        case _:
            return f"{key} = {json.dumps(str(value), ensure_ascii=False)}"


def without_secrets(url: str) -> str:
    """A URL as it may be shown: of a database without its password, of a server no more than its host."""
    if url.startswith(("http://", "https://")):
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{'/***' if parts.path.strip('/') else ''}"
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "***"


def _tables() -> Iterator[str]:
    sections = {name: field for name, field in ServeConfig.model_fields.items() if _section(field) is not None}
    yield from _table("", {name: field for name, field in ServeConfig.model_fields.items() if name not in sections})
    for name, field in sections.items():
        section = _section(field)
        if section is not None:
            yield from ("", f"## `[{name}]`", "", (section.__doc__ or "").strip(), "")
            yield from _table(name, section.model_fields)


def _section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _table(section: str, fields: dict[str, FieldInfo]) -> Iterator[str]:
    yield from ("| key | environment | default | bounds | meaning |", "|---|---|---|---|---|")
    for name, field in fields.items():
        name_in_env = variable(section, name) if section else variable(name)
        yield f"| `{name}` | `{name_in_env}` | {_default(field)} | {_bounds(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be given"
    if field.default is None:
        return "not set"
    shown = json.dumps(field.default) if not isinstance(field.default, Path) else str(field.default)
    return f"`{shown}`"


def _bounds(field: FieldInfo) -> str:
    bounds: list[str] = []
    for limit in field.metadata:
        match limit:
            case Ge(ge=least):
                bounds.append(f"≥ {_number(least)}")
            case Gt(gt=above):
                bounds.append(f"> {_number(above)}")
            case Le(le=most):
                bounds.append(f"≤ {_number(most)}")
            case Lt(lt=below):
                bounds.append(f"< {_number(below)}")
            case _:
                pass
    choices = getattr(field.annotation, "__args__", ())
    bounds += [f"`{choice}`" for choice in choices if isinstance(choice, str)]
    return ", ".join(bounds)


def _number(value: Any) -> str:
    return f"{value:,}".replace(",", " ")


if __name__ == "__main__":
    print(reference(), end="")
