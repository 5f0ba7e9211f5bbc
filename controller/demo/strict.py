"""Strict reading of JSON files from people: every complaint names file, field, what was got and what was wanted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import EvidenceError
from contracts.strict_json import parse
from controller.errors import InputError

SHOWN = 60


class Reader:
    """A place in a JSON document.

    Parameters
    ----------
    value : what stands there
    place : file and path to it, for messages
    """

    def __init__(self, value: Any, place: str) -> None:
        self.value = value
        self.place = place

    @classmethod
    def of_file(cls, path: Path) -> "Reader":
        """The root of a file.

        Raises
        ------
        InputError
            If it cannot be read or is not JSON.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise InputError(f"{path}: cannot be read: {err}") from err
        try:
            return cls(parse(text), str(path))
        except EvidenceError as err:
            raise InputError(f"{path}: {err}") from err

    def wrong(self, wanted: str) -> InputError:
        """The complaint that something else was wanted here."""
        shown = repr(self.value)
        return InputError(f"{self.place}: got {shown[:SHOWN]}{'…' * (len(shown) > SHOWN)}, wanted {wanted}")

    def field(self, name: str) -> "Reader":
        """A field of an object."""
        if not isinstance(self.value, Mapping):
            raise self.wrong("an object")
        if name not in self.value:
            raise InputError(f"{self.place}: field {name!r}: got none beside {sorted(self.value)[:12]}, wanted one")
        return Reader(self.value[name], f"{self.place}: {name}" if ": " not in self.place else f"{self.place}.{name}")

    def has(self, name: str) -> bool:
        """Whether an object has a field."""
        return isinstance(self.value, Mapping) and name in self.value

    def items(self) -> list["Reader"]:
        """The elements of a list."""
        if not isinstance(self.value, Sequence) or isinstance(self.value, str):
            raise self.wrong("a list")
        return [Reader(item, f"{self.place}[{k}]") for k, item in enumerate(self.value)]

    def entries(self) -> dict[str, "Reader"]:
        """The fields of an object."""
        if not isinstance(self.value, Mapping):
            raise self.wrong("an object")
        return {name: self.field(name) for name in self.value}

    def text(self) -> str:
        """A string that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("a text")
        return self.value

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def integer(self, *, lower: int = 0, upper: int = 10**9) -> int:
        """A whole number within bounds."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not lower <= self.value <= upper:
            raise self.wrong(f"a whole number from {lower} to {upper}")
        return self.value

    def number(self, *, lower: float = 0.0, upper: float = 1e9) -> float:
        """A finite number within bounds."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.wrong("a number")
        if not lower <= self.value <= upper:
            raise self.wrong(f"a number from {lower:g} to {upper:g}")
        return float(self.value)

    def watts(self, count: int, *, upper: int = 10**9) -> tuple[int, ...]:
        """A profile of so many whole W up to a bound, none missing."""
        items = self.items()
        if len(items) != count:
            raise InputError(f"{self.place}: got {len(items)} values, wanted {count}")
        return tuple(item.integer(upper=upper) for item in items)
