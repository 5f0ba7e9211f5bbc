"""Prices over the day: what the grid takes and pays, and what neighbours agreed on in between."""

from collections.abc import Sequence

from controller.demo.day import DayResult
from controller.demo.report.formatting import format_price, price_scale
from controller.demo.report.picture import (
    BLUE,
    GREEN,
    INK,
    Key,
    Picture,
    base_layout,
    clock_trace,
    label,
    merge,
    narrow_time_axes,
    step_band,
    step_line,
    tightened_shapes,
    time_axes,
)

BAND = "rgba(0,114,178,0.22)"


def draw_prices(day: DayResult) -> Picture:
    """Picture of the tariff and of the neighbours' prices."""
    prices = day["prices"]
    scale = price_scale(day["summary"]["currency"])
    unit = label(scale.unit)

    def scaled(values: Sequence[int | None]) -> list[float | None]:
        return [None if value is None else value / scale.divisor for value in values]

    cheapest, dearest = scaled(prices["trade_min_micro_per_kwh"]), scaled(prices["trade_max_micro_per_kwh"])
    lines = [
        step_line(day, scaled(prices["import_micro_per_kwh"]), "bought from the grid", INK, width=2),
        step_line(day, scaled(prices["trade_mean_micro_per_kwh"]), "neighbours, mean", BLUE, width=3),
        step_line(day, scaled(prices["export_micro_per_kwh"]), "sold to the grid", GREEN, width=2, dash="6px,3px"),
    ]
    for line in lines:
        line["hovertemplate"] = f"%{{y:,.{scale.digits}f}} {unit}"
    spreads = [
        "" if low is None or high is None else f"{low:,.{scale.digits}f} to {high:,.{scale.digits}f}"
        for low, high in zip(cheapest, dearest, strict=True)
    ]
    lines[1]["customdata"] = [spread for spread in spreads for _ in range(2)]
    lines[1]["hovertemplate"] = f"%{{y:,.{scale.digits}f}} {unit} (%{{customdata}})"
    traded = any(price is not None for price in cheapest)
    neighbours = (
        Key(label="Between neighbours: mean", color=BLUE, mark="line"),
        Key(label="cheapest to dearest trade", color=BAND, mark="area"),
    )
    return Picture(
        id="picture-prices",
        title="Prices",
        caption=_caption(day),
        alt=_alt(day),
        keys=(
            Key(label="Bought from the grid", color=INK, mark="line"),
            *(neighbours if traded else ()),
            Key(label="Sold to the grid", color=GREEN, mark="dash"),
        ),
        traces=(clock_trace(), step_band(cheapest, dearest, BAND, edge=BLUE), *lines),
        layout=merge(
            base_layout(340, unit=unit),
            time_axes(day),
            {"yaxis": {"rangemode": "tozero"}, "shapes": tightened_shapes(day)},
        ),
        narrow=narrow_time_axes(day),
    )


def _caption(day: DayResult) -> str:
    prices, currency = day["prices"], day["summary"]["currency"]
    means = [price for price in prices["trade_mean_micro_per_kwh"] if price is not None]
    if not means:
        return "Only the tariff: no neighbour traded with another on this day."
    inside = all(
        mean is None or low <= mean <= high
        for low, mean, high in zip(
            prices["export_micro_per_kwh"],
            prices["trade_mean_micro_per_kwh"],
            prices["import_micro_per_kwh"],
            strict=True,
        )
    )
    reason = (
        "It stays between what the grid pays and what it takes, so that buyer and seller both gain."
        if inside
        else "It is not always between what the grid pays and takes: preferences and limits have a price too."
    )
    span = f"{format_price(min(means), currency)} to {format_price(max(means), currency)}"
    return f"Neighbours paid each other {span} on average. {reason}"


def _alt(day: DayResult) -> str:
    prices, currency = day["prices"], day["summary"]["currency"]
    bought, sold = prices["import_micro_per_kwh"], prices["export_micro_per_kwh"]
    return (
        f"Step lines over the day. The grid takes {format_price(min(bought), currency)} to "
        f"{format_price(max(bought), currency)} and pays {format_price(min(sold), currency)} to "
        f"{format_price(max(sold), currency)}."
    )
