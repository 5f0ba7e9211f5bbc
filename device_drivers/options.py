"""Options of a driver, from a URL's query or a table of the configuration file, read one by one.

A driver asks for each option that it knows and says `done` at last, so that a key that nobody asked for is refused.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from device_drivers.errors import InvalidValueError

_SECRET = frozenset({"password", "token"})
"""Options whose value no message repeats."""
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


class Options:
    """Reads options and remembers which were asked for.

    Parameters
    ----------
    values : mapping
        By key; from a URL they are texts, from a file numbers and truth values too.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._asked: set[str] = set()

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty; required where there is no default."""
        value = self._take(key, default, "a text")
        if not isinstance(value, str) or not value:
            raise _wrong(key, value, "a text that is not empty")
        return value

    def choice(self, key: str, choices: Collection[str], default: str | None = None) -> str:
        """One of some words; required where there is no default."""
        wanted = "one of " + ", ".join(sorted(choices))
        value = self._take(key, default, wanted)
        if value not in choices:
            raise _wrong(key, value, wanted)
        return str(value)

    def integer(
        self, key: str, default: int | None = None, *, least: int | None = None, most: int | None = None
    ) -> int:
        """A whole number within bounds; required where there is no default."""
        wanted = "a whole number" + _band(least, most)
        value = self._take(key, default, wanted)
        if isinstance(value, str):
            try:
                value = int(value)
            except ValueError:
                raise _wrong(key, value, wanted) from None
        if isinstance(value, bool) or not isinstance(value, int) or not _within(value, least, most):
            raise _wrong(key, value, wanted)
        return value

    def number(
        self, key: str, default: float | None = None, *, least: float | None = None, most: float | None = None
    ) -> float:
        """A finite number within bounds; required where there is no default."""
        wanted = "a number" + _band(least, most)
        value = self._take(key, default, wanted)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise _wrong(key, value, wanted) from None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _wrong(key, value, wanted)
        if not _within(value, least, most):
            raise _wrong(key, value, wanted)
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """A truth value: true or false, 1 or 0, yes or no."""
        value = self._take(key, default, "true or false")
        if isinstance(value, str):
            value = _TRUTH.get(value.lower(), value)
        if not isinstance(value, bool):
            raise _wrong(key, value, "true or false")
        return value

    def has(self, key: str) -> bool:
        """Whether an option is named at all; it is one that the driver knows."""
        self._asked.add(key)
        return key in self._values

    def done(self) -> None:
        """Refuse whatever nobody asked for.

        Raises
        ------
        InvalidValueError
            If there is such a key; names it and those that are known.
        """
        unknown = sorted(set(self._values) - self._asked)
        if unknown:
            raise InvalidValueError(f"option: got {', '.join(unknown)}, wanted {_listed(self._asked)}")

    def _take(self, key: str, default: Any, wanted: str) -> Any:
        self._asked.add(key)
        if key not in self._values and default is None:
            raise InvalidValueError(f"option {key}: got none, wanted {wanted}")
        return self._values.get(key, default)


def _wrong(key: str, value: object, wanted: str) -> InvalidValueError:
    got = f"another kind of value ({type(value).__name__})" if key in _SECRET and value != "" else repr(str(value)[:80])
    return InvalidValueError(f"option {key}: got {got}, wanted {wanted}")


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _band(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    if least is not None:
        return f", {least:g} or more"
    return "" if most is None else f", at most {most:g}"


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(sorted(keys)) or "none"
