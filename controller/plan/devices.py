"""Reading one device of a community file by its kind's table."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from controller.case.fields import check_fields, name_of
from controller.demo.strict import Reader
from controller.errors import InputError
from controller.plan.calendar import CLOCK, DAYLESS, Calendar
from controller.plan.fields import KINDS, Field, Kind
from controller.plan.series import Bounds, SeriesReader
from optimization.devices import Device, Phase, PowerRange, Progress
from optimization.quantities import MAX_MAGNITUDE, MAX_MTUS, DeviceId

COMMON = ("id", "kind", "note")
PHASE = ("power_kw", "mtus", "min_pause_mtus", "max_pause_mtus")
LEVEL = ("lower_kw", "upper_kw")
PROGRESS = ("phase", "elapsed_mtus", "paused_mtus")

_SHOWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: (*COMMON, *kind.fields, *(each for pair in kind.window for each in pair)) for name, kind in KINDS.items()}
)


def read_device(reader: Reader, series: SeriesReader) -> Device:
    """The device that stands here.

    Raises
    ------
    InputError
        If its kind is unknown, it lacks a field or has one too many, or a value is out of bounds.
    ProblemError
        If its values contradict each other.
    """
    name = reader.field("kind").text()
    if name not in KINDS:
        raise reader.field("kind").wrong(f"one of {', '.join(KINDS)}")
    kind = KINDS[name]
    check_fields(reader, _SHOWN[name])
    values: dict[str, Any] = {"id": DeviceId(name_of(reader.field("id")))}
    for key, each in kind.fields.items():
        if each.required or reader.has(key):
            values[key] = _value(reader.field(key), each, series)
    values |= _window(reader, kind, series.calendar)
    return kind.make(**values)


def _value(reader: Reader, field: Field, series: SeriesReader) -> Any:
    if reader.value is None and field.none:
        return None
    match field.form:
        case "number":
            return reader.number(lower=field.lower, upper=field.upper)
        case "count":
            return reader.integer(lower=int(field.lower), upper=int(field.upper))
        case "series":
            return series.read(reader, Bounds(lower=field.lower, upper=field.upper))
        case _:
            return _PARTS[field.form](reader)


def _phase(reader: Reader) -> Phase:
    check_fields(reader, PHASE)
    power = reader.field("power_kw")
    if isinstance(power.value, list):
        if reader.has("mtus"):
            raise reader.field("mtus").wrong("none beside a list of powers")
        values = np.array([item.number(upper=MAX_MAGNITUDE) for item in power.items()])
    else:
        length = reader.field("mtus").integer(lower=1, upper=MAX_MTUS)
        values = np.full(length, power.number(upper=MAX_MAGNITUDE))
    pauses = {
        name: reader.field(name).integer(upper=MAX_MTUS)
        for name in ("min_pause_mtus", "max_pause_mtus")
        if reader.has(name)
    }
    return Phase(power_kw=values, **pauses)


def _level(reader: Reader) -> PowerRange:
    check_fields(reader, LEVEL)
    return PowerRange(**{name: reader.field(name).number(upper=MAX_MAGNITUDE) for name in LEVEL})


def _progress(reader: Reader) -> Progress:
    check_fields(reader, PROGRESS)
    paused = reader.field("paused_mtus").integer(upper=MAX_MTUS) if reader.has("paused_mtus") else 0
    return Progress(
        phase=reader.field("phase").integer(upper=MAX_MTUS),
        elapsed_mtus=reader.field("elapsed_mtus").integer(lower=1, upper=MAX_MTUS),
        paused_mtus=paused,
    )


_PARTS: Mapping[str, Callable[[Reader], Any]] = MappingProxyType(
    {
        "truth": Reader.truth,
        "text": lambda reader: DeviceId(name_of(reader)),
        "phases": lambda reader: tuple(_phase(item) for item in reader.items()),
        "levels": lambda reader: tuple(_level(item) for item in reader.items()),
        "progress": _progress,
    }
)


def _window(reader: Reader, kind: Kind, calendar: Calendar) -> dict[str, int]:
    """The half-open window in MTUs, from MTUs or from clock times; what lies outside the horizon is cut off."""
    if not kind.window:
        return {}
    (first_mtu, first), (end_mtu, end) = kind.window
    for index, clock in kind.window:
        if reader.has(index) and reader.has(clock):
            raise InputError(f"{reader.place}: got both {index!r} and {clock!r}, wanted one of them")
    begin = reader.field(first_mtu).integer(upper=calendar.mtus) if reader.has(first_mtu) else 0
    finish = reader.field(end_mtu).integer(upper=calendar.mtus) if reader.has(end_mtu) else calendar.mtus
    if reader.has(first) and reader.has(end):
        opens, closes = calendar.window(_clock(reader.field(first)), _clock(reader.field(end)))
        # Two times that the clocks skip are one instant: that is a short window, and no mistake.
        if closes < opens or reader.value[first] == reader.value[end] != reader.value[end][:DAYLESS]:
            raise reader.field(end).wrong(f"a time after {reader.value[first]!r}")
        finish = calendar.end_mtu(closes)
        return {first_mtu: min(calendar.first_mtu(opens), finish), end_mtu: finish}
    if reader.has(first):
        begin = calendar.first_mtu(calendar.time_after_start(_clock(reader.field(first))))
    if reader.has(end):
        finish = calendar.end_mtu(calendar.time_after_start(_clock(reader.field(end))))
    return {first_mtu: begin, end_mtu: finish}


def _clock(reader: Reader) -> str:
    text = reader.text()
    if not CLOCK.fullmatch(text):
        raise reader.wrong("a local time such as '18:30', or '07:00+1' on the day after the one the horizon begins in")
    return text
