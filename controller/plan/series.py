"""Reading a value for each MTU: one number, a list, a shared profile, or periods of the day."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np

from controller.case.fields import check_fields
from controller.demo.strict import Reader
from controller.errors import InputError
from controller.plan.calendar import CLOCK, MINUTES_A_DAY, Calendar
from optimization.community import Floats

PROFILE = ("profile", "times")
PERIODS = ("periods", "otherwise")
PERIOD = ("from", "to", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What each value of a series may be.

    Attributes
    ----------
    lower, upper : bounds
    none : what ``null`` stands for; None where it is refused
    """

    lower: float
    upper: float
    none: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesReader:
    """Reads series over one horizon.

    Attributes
    ----------
    calendar : the horizon
    profiles : (T,) each, shared by name
    """

    calendar: Calendar
    profiles: Mapping[str, Floats]

    def read(self, reader: Reader, bounds: Bounds) -> Floats:
        """(T,) the series that stands here.

        Raises
        ------
        InputError
            If it has another length, or an entry that is no number within the bounds.
        """
        match reader.value:
            case list():
                return self._listed(reader, bounds)
            case str():
                return _within(reader, self._profile(reader), bounds)
            case Mapping() if reader.has("periods"):
                return self._periods(reader, bounds)
            case Mapping() if not reader.has("profile"):
                raise reader.wrong("a number, a list, the name of a profile, or an object with 'profile' or 'periods'")
            case Mapping():
                check_fields(reader, PROFILE)
                times = reader.field("times").number(lower=-1e9) if reader.has("times") else 1.0
                return _within(reader, times * self._profile(reader.field("profile")), bounds)
            case _:
                return np.full(self.calendar.mtus, _one(reader, bounds))

    def _listed(self, reader: Reader, bounds: Bounds) -> Floats:
        mtus = self.calendar.mtus
        if len(reader.value) != mtus:
            raise InputError(f"{reader.place}: got {len(reader.value)} values, wanted {mtus}, one for each MTU")
        # Comparing needs no float: a whole number may be larger than any.
        plain = set(map(type, reader.value)) <= {int, float}
        if plain and bounds.lower <= min(reader.value) and max(reader.value) <= bounds.upper:
            return np.array(reader.value, dtype=np.float64)
        return np.array([_one(item, bounds) for item in reader.items()])

    def _profile(self, reader: Reader) -> Floats:
        name = reader.text()
        if name not in self.profiles:
            raise reader.wrong(
                f"a number, a list, or one of the profiles {', '.join(sorted(self.profiles)) or '(none)'}"
            )
        return self.profiles[name]

    def _periods(self, reader: Reader, bounds: Bounds) -> Floats:
        check_fields(reader, PERIODS)
        minutes = np.array(self.calendar.minute_of_day())
        values = np.full(self.calendar.mtus, np.nan)
        if reader.has("otherwise"):
            values[:] = _one(reader.field("otherwise"), bounds)
        # The first period that holds a time is the one that counts, so the last is written first.
        for item in reversed(reader.field("periods").items()):
            check_fields(item, PERIOD)
            first, end = clock_minute(item.field("from")), clock_minute(item.field("to"))
            inside = (first <= minutes) & (minutes < end)
            if end <= first:
                inside = (first <= minutes) | (minutes < end)
            values[inside] = _one(item.field("value"), bounds)
        if np.isnan(values).any():
            mtu = int(np.argmax(np.isnan(values)))
            raise InputError(f"{reader.place}: got no value for {self.calendar.label(mtu)}, wanted 'otherwise'")
        return values


def clock_minute(reader: Reader) -> int:
    """Minutes after midnight of a time of day without a day: 0 to 1440."""
    text = reader.text()
    if not CLOCK.fullmatch(text) or len(text) != 5:
        raise reader.wrong("a time of day such as '07:30'")
    return min(int(text[:2]) * 60 + int(text[3:]), MINUTES_A_DAY)


def _one(reader: Reader, bounds: Bounds) -> float:
    if reader.value is None and bounds.none is not None:
        return bounds.none
    return reader.number(lower=bounds.lower, upper=bounds.upper)


def _within(reader: Reader, values: Floats, bounds: Bounds) -> Floats:
    if values.min(initial=inf) < bounds.lower or values.max(initial=-inf) > bounds.upper:
        raise reader.wrong(f"a profile from {bounds.lower:g} to {bounds.upper:g}")
    return values
