"""JSON read without mercy and written in one way only, so that equal values are equal bytes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from contracts.errors import EvidenceError

LARGEST_BYTES = 2**30
"""Of one file of evidence: a gibibyte holds millions of records."""

_DEEPEST = 16
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|$)|[\[{]|[\]}]', re.DOTALL)


def render(value: object) -> str:
    """Canonical JSON: keys sorted, no spaces, nothing escaped that need not be."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def parse(text: str) -> object:
    """The value of a JSON text.

    Raises
    ------
    EvidenceError
        If it is no JSON, nests deeper than 16, repeats a key of an object, or has NaN or an infinity.
    """
    _check_depth(text)
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except ValueError as err:
        raise EvidenceError(f"JSON ({err})", got=text) from err


def read_lines(path: Path) -> Iterator[tuple[int, object]]:
    """Number, from one, and value of each line of a JSON Lines file.

    Raises
    ------
    EvidenceError
        If the file is missing or not UTF-8, a line is no JSON, or the last one does not end.
    """
    text = read_text(path)
    if text and not text.endswith("\n"):
        number = text.count("\n") + 1
        raise EvidenceError("a line feed at its end: the file is truncated", got=text[-40:]).at(path.name, number)
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            yield number, parse(line)
        except EvidenceError as err:
            raise err.at(path.name, number) from err


def read_value(path: Path) -> object:
    """The value of a JSON file, with the errors of `read_lines`."""
    try:
        return parse(read_text(path))
    except EvidenceError as err:
        raise err.at(path.name) from err


def read_text(path: Path) -> str:
    """Text of a UTF-8 file; an `EvidenceError` names the file that cannot be read."""
    try:
        if path.exists() and not path.is_file():
            raise EvidenceError("a file", got="something else", file=path.name)
        if (size := path.stat().st_size) > LARGEST_BYTES:
            raise EvidenceError(f"at most {LARGEST_BYTES} bytes", got=size, file=path.name)
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as err:
        raise EvidenceError("this file", got="nothing", file=path.name) from err
    except UnicodeDecodeError as err:
        raise EvidenceError(f"UTF-8 ({err})", got=err.object[err.start : err.end], file=path.name) from err
    except OSError as err:
        raise EvidenceError("a readable file", got=str(err), file=path.name) from err


def write_lines(path: Path, values: Iterable[object]) -> None:
    """Write one value a line, the whole file or nothing of it: a reader never sees a part."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(render(value) + "\n" for value in values)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _check_depth(text: str) -> None:
    # py-evm raises the interpreter's recursion limit so far that the decoder would overflow the stack.
    if text.count("[") + text.count("{") <= _DEEPEST:
        return
    depth = 0
    for token in _TOKEN.findall(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token, 0)
        if depth > _DEEPEST:
            raise EvidenceError(f"JSON nested at most {_DEEPEST} deep", got=text[:80])


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError(f"an object repeats one of its keys {sorted(key for key, _ in pairs)}")
    return unique


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
