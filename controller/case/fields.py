"""What the fields of a case have in common: known names, printable names, numbers and profiles within bounds."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from controller.demo.strict import Reader
from controller.errors import InputError
from optimization.community import Floats
from optimization.market import LARGEST


def check_fields(reader: Reader, known: Sequence[str]) -> None:
    """Refuse what is no object or has a field of another name: a misspelt one would go unnoticed."""
    if not isinstance(reader.value, Mapping):
        raise reader.wrong("an object")
    for name in reader.value:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{reader.place}: got field {name!r}, wanted one of {', '.join(known)}{hint}")


def name_of(reader: Reader) -> str:
    """A text without control characters, which a terminal would obey."""
    text = reader.text()
    if not text.isprintable() or not text.strip():
        raise reader.wrong("a printable text")
    return text


def number(reader: Reader, *, lower: float = -LARGEST, upper: float = LARGEST) -> float:
    """A finite number within bounds."""
    return reader.number(lower=lower, upper=upper)


def number_at(
    reader: Reader, name: str, default: float | None = None, *, lower: float = -LARGEST, upper: float = LARGEST
) -> float:
    """A field's number; its default where it is left out, if there is one."""
    if default is not None and not reader.has(name):
        return default
    return number(reader.field(name), lower=lower, upper=upper)


def profile(reader: Reader, mtus: int, *, lower: float = -LARGEST, upper: float = LARGEST) -> Floats:
    """(T,) one number for all MTUs, or a list of one for each."""
    if not isinstance(reader.value, list):
        return np.full(mtus, number(reader, lower=lower, upper=upper))
    items = reader.items()
    if len(items) != mtus:
        raise InputError(f"{reader.place}: got {len(items)} values, wanted one number, or {mtus}, one for each MTU")
    return np.array([number(item, lower=lower, upper=upper) for item in items])


def profile_at(
    reader: Reader,
    name: str,
    mtus: int,
    default: float | None = None,
    *,
    lower: float = -LARGEST,
    upper: float = LARGEST,
) -> Floats:
    """A field's profile; its default where it is left out, if there is one."""
    if default is not None and not reader.has(name):
        return np.full(mtus, default)
    return profile(reader.field(name), mtus, lower=lower, upper=upper)


def open_profile_at(reader: Reader, name: str, mtus: int, none: float) -> Floats:
    """A field's profile where leaving it out, or null, in all MTUs or in one, means that there is none."""
    if not reader.has(name) or reader.field(name).value is None:
        return np.full(mtus, none)
    field = reader.field(name)
    if not isinstance(field.value, list):
        return profile(field, mtus)
    items = field.items()
    if len(items) != mtus:
        raise InputError(f"{field.place}: got {len(items)} values, wanted one number, or {mtus}, one for each MTU")
    return np.array([none if item.value is None else number(item) for item in items])


def check_order(reader: Reader, lower: Floats, upper: Floats, names: tuple[str, str]) -> None:
    """Refuse a lower bound above its upper one."""
    wrong = lower > upper
    if wrong.any():
        t = int(np.argmax(wrong))
        when = f" in MTU {t}" if lower.size > 1 else ""
        raise InputError(
            f"{reader.place}.{names[0]}: got {lower[t]:g} above {names[1]} {upper[t]:g}{when}, wanted at most that"
        )
