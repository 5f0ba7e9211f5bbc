"""JSON that a device sent: read only as deep as any honest one nests.

The interpreter's own limit is no help where another library has raised it: its decoder would then overflow the stack,
and end the process with every other device in it.
"""

import json
import re
from collections.abc import Callable
from typing import Any

DEEPEST = 64

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|$)|[\[{]|[\]}]', re.DOTALL)


def loads(text: str | bytes, *, parse_constant: Callable[[str], object] | None = None) -> Any:
    """The value of a JSON text, UTF-8 where it is bytes; ``parse_constant`` is as in `json.loads`.

    Raises
    ------
    ValueError
        If it is none, or nests deeper than `DEEPEST`.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    check_depth(text)
    return json.loads(text, parse_constant=parse_constant)


def check_depth(text: str) -> None:
    """Refuse a JSON text that nests deeper than `DEEPEST`.

    Raises
    ------
    ValueError
        If it does.
    """
    depth = 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                depth += 1
                if depth > DEEPEST:
                    raise ValueError(f"got JSON nested more than {DEEPEST} deep")
            case "]" | "}":
                depth -= 1
