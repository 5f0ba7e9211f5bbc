"""Numbers and instants of the day in words. What leaves here is plain text: escape it where it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from controller.demo.day import DayResult

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
"""Not ``strftime``'s: its names follow the locale of whoever runs it."""


def format_power(power_w: int) -> str:
    """Power such as ``62.1 kW``."""
    return _signed(f"{power_w / 1000:,.1f} kW" if abs(power_w) >= 1000 else f"{power_w} W")


def format_rating(power_w: int) -> str:
    """Power of one device, to the digits that its plate has: ``3.65 kW``."""
    return f"{power_w / 1000:.3g} kW"


def format_energy(energy_wh: int) -> str:
    """Energy such as ``312.4 kWh``, or ``1,781 kWh``."""
    if abs(energy_wh) < 1000:
        return _signed(f"{energy_wh} Wh")
    return _signed(f"{energy_wh / 1000:,.{0 if abs(energy_wh) >= 1_000_000 else 1}f} kWh")


def format_money(amount_micro: int, currency: str = "") -> str:
    """Amount such as ``13.10 EUR``, or the bare number where the currency is clear."""
    return _signed(f"{_rounded(amount_micro / 1e6, 2):,.2f} {currency}".rstrip())


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceScale:
    """How prices of one currency are shown.

    Attributes
    ----------
    unit : such as ``ct/kWh``
    divisor : micro-currency/kWh per unit
    digits : after the point
    """

    unit: str
    divisor: float
    digits: int


def price_scale(currency: str) -> PriceScale:
    """Scale in which a household reads its tariff."""
    if currency == "EUR":
        return PriceScale(unit="ct/kWh", divisor=1e4, digits=2)
    return PriceScale(unit=f"{currency}/kWh", divisor=1e6, digits=4)


def format_price(price_micro_per_kwh: float, currency: str) -> str:
    """Price such as ``6.65 ct/kWh``."""
    scale = price_scale(currency)
    return _signed(f"{_rounded(price_micro_per_kwh / scale.divisor, scale.digits):,.{scale.digits}f} {scale.unit}")


def count(number: int, noun: str) -> str:
    """Number and noun, such as ``1 window`` and ``96 windows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def count_mtus(day: DayResult, number: int) -> str:
    """Number of MTUs, such as ``9 quarter-hours``."""
    return count(number, "quarter-hour" if day["mtu_minutes"] == 15 else f"{day['mtu_minutes']}-minute interval")


def begin_sentence(text: str) -> str:
    """Text with its first letter in upper case and the rest as it was."""
    return text[:1].upper() + text[1:]


def shorten(text: str, length: int = 16) -> str:
    """Text cut to at most ``length`` characters, its middle left out: ids differ at both ends."""
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - head - 1) :]}"


def local_time(day: DayResult, mtu: int) -> datetime:
    """Wall clock at the start of an MTU; ``mtus`` itself gives the end of the day."""
    instant = datetime.fromtimestamp(day["start"], ZoneInfo("UTC")) + timedelta(minutes=mtu * day["mtu_minutes"])
    return instant.astimezone(ZoneInfo(day["time_zone"]))


def clock(day: DayResult, mtu: int) -> str:
    """Wall clock such as ``17:15``."""
    return f"{local_time(day, mtu):%H:%M}"


def clock_span(day: DayResult, first: int, end: int) -> str:
    """Wall clock of MTUs ``[first, end)``, such as ``17:00–24:00``."""
    closing = clock(day, end)
    return f"{clock(day, first)}–{'24:00' if closing == '00:00' else closing}"


def date_in_words(day: DayResult) -> str:
    """Local date of the first MTU, such as ``20 January 2016``."""
    date = local_time(day, 0)
    return f"{date.day} {MONTHS[date.month - 1]} {date.year}"


def runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Maximal half-open index ranges over which the flags hold."""
    return [
        (group[0], group[-1] + 1)
        for held, indices in groupby(range(len(flags)), key=lambda index: flags[index])
        if held and (group := list(indices))
    ]


def _rounded(value: float, digits: int) -> float:
    """Rounded as it is shown; a nothing from below is a nothing, and not ``-0.00``."""
    return round(value, digits) + 0.0


def _signed(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text
