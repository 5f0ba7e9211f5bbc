"""Power out of a station's meter values."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

IMPORT, EXPORT = "Power.Active.Import", "Power.Active.Export"
_SIGNS = {IMPORT: 1.0, EXPORT: -1.0}
_PHASES = {"L1": "L1", "L2": "L2", "L3": "L3", "L1-N": "L1", "L2-N": "L2", "L3-N": "L3"}
_MOST_W = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One value of a meter.

    Attributes
    ----------
    measurand : str
        What was measured, in the protocol's words.
    phase : str or None
        On which; None on all of them.
    value : float
        In W where it is a power; NaN where it cannot be read.
    """

    measurand: str
    phase: str | None
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a meter said at one time.

    Attributes
    ----------
    at : float
        s on the driver's clock at which it arrived.
    power_w : float or None
        Consumption positive; None where it said none that can be read.
    said : str
        What it said instead.
    """

    at: float
    power_w: float | None
    said: str


def power_of(values: Iterable[Sampled]) -> tuple[float | None, str]:
    """W, what is fed back taken off, and what was said where that gives none.

    A value for all phases goes before the sum of those of each.
    """
    values = tuple(values)
    parts = [(_SIGNS[measurand], _total([one for one in values if one.measurand == measurand])) for measurand in _SIGNS]
    if parts[0][1] is None and parts[1][1] is None:
        return None, ", ".join(sorted({one.measurand for one in values})) or "nothing"
    power_w = sum(sign * total for sign, total in parts if total is not None)
    if not abs(power_w) <= _MOST_W:
        return None, f"{power_w} W"
    return power_w, ""


def _total(values: Sequence[Sampled]) -> float | None:
    whole = [one.value for one in values if one.phase is None]
    if whole:
        return whole[-1]
    phases = {_PHASES[one.phase]: one.value for one in values if one.phase in _PHASES}
    return sum(phases.values()) if phases else None


def in_watts(value: object, unit: str | None, multiplier: int = 0) -> float:
    """A value in W; NaN where it is no number, or not in W or kW."""
    scale = {None: 1.0, "W": 1.0, "kW": 1000.0}.get(unit)
    try:
        # float() also takes what Python writes as 1_000, and infinity, which no meter means.
        number = math.nan if isinstance(value, bool) or "_" in str(value) else float(str(value))
    except ValueError:
        return math.nan
    if scale is None or not abs(multiplier) <= 9:
        return math.nan
    return number * scale * 10.0**multiplier


def instant(text: object) -> datetime | None:
    """A time that a station says, in UTC; None where it cannot be read."""
    try:
        told = datetime.fromisoformat(str(text))
        return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
