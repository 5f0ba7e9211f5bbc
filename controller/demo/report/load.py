"""The load of the microgrid, before and after, against its operating envelope."""

from collections.abc import Sequence

from controller.demo.day import DayResult
from controller.demo.report.formatting import clock_span, count_mtus, format_power
from controller.demo.report.picture import (
    BLUE,
    EXCESS_TINT,
    GREY,
    INK,
    PURPLE,
    VERMILION,
    Key,
    Picture,
    Tree,
    base_layout,
    clock_trace,
    label_above,
    merge,
    narrow_time_axes,
    step_band,
    step_line,
    tightened,
    tightened_shapes,
    time_axes,
)

LOWER_SHOWN_FROM = 0.5
"""Share of the lower bound that the load must reach for the picture to go down to it."""


def draw_load(day: DayResult) -> Picture:
    """Picture of the load before and after, the plan without the limit, and the envelope."""
    load = day["load"]
    planned_before_limit = any(power is not None for power in load["without_limit_w"])
    upper_kw = _kw(load["upper_w"])
    before_kw = _kw(load["before_w"])
    over_kw = [
        before if before is not None and limit is not None and before > limit else None
        for before, limit in zip(before_kw, upper_kw, strict=True)
    ]
    traces: list[Tree] = [clock_trace(), step_band(upper_kw, over_kw, EXCESS_TINT)]
    traces.append(step_line(day, upper_kw, "upper limit", VERMILION, width=2))
    if _shows_lower(day):
        traces.append(step_line(day, _kw(load["lower_w"]), "lower limit", VERMILION, width=2))
    traces.append(step_line(day, before_kw, "before", GREY, width=1.75))
    if planned_before_limit:
        without_kw = _kw(load["without_limit_w"])
        traces.append(step_line(day, without_kw, "planned without the limit", PURPLE, width=2, dash="5px,3px"))
    traces.append(step_line(day, _kw(load["metered_w"]), "metered", BLUE, width=3))
    traces.append(step_line(day, _kw(load["scheduled_w"]), "scheduled", INK, width=1, dash="1px,2px"))
    for trace in traces[2:]:
        trace["hovertemplate"] = "%{y:,.1f} kW"

    keys = [
        Key(label="Before: each appliance at once", color=GREY, mark="line"),
        Key(label="Metered", color=BLUE, mark="line"),
        Key(label="Scheduled", color=INK, mark="dot"),
        Key(label="Operating envelope", color=VERMILION, mark="line"),
    ]
    if any(power is not None for power in over_kw):
        keys.append(Key(label="Would have broken it", color=EXCESS_TINT, mark="area"))
    if planned_before_limit:
        keys.append(Key(label="Planned without the evening limit", color=PURPLE, mark="dash"))
    return Picture(
        id="picture-load",
        title="Load at the connection point",
        caption=_caption(day),
        alt=_alt(day),
        keys=tuple(keys),
        traces=tuple(traces),
        layout=_layout(day),
        narrow=narrow_time_axes(day),
    )


def _layout(day: DayResult) -> Tree:
    load = day["load"]
    limits = [
        label_above(
            f"limit {format_power(min(load['upper_w'][first:end]))}",
            (first + end) / 2,
            lift=2,
            color=VERMILION,
        )
        for first, end in tightened(day)
    ]
    shown = [*load["before_w"], *load["metered_w"], *load["scheduled_w"], *load["upper_w"]]
    shown += [power for power in load["without_limit_w"] if power is not None]
    shown += load["lower_w"] if _shows_lower(day) else []
    top, bottom = max(0, *shown) / 1000, min(0, *shown) / 1000
    margin = 0.06 * (top - bottom)
    return merge(
        base_layout(400, unit="kW, negative is feeding in", notes=limits),
        time_axes(day),
        {
            "yaxis": {"range": [bottom - margin if bottom < 0 else 0, top + margin]},
            "shapes": tightened_shapes(day),
        },
    )


def _caption(day: DayResult) -> str:
    load, summary = day["load"], day["summary"]
    sentences = [
        f"The highest load is {format_power(summary['peak_metered_w'])} at the meters; had every appliance "
        f"started as soon as it could, it would have been {format_power(summary['peak_before_w'])}."
    ]
    for first, end in tightened(day):
        limit = format_power(min(load["upper_w"][first:end]))
        sentences.append(
            f"In the shaded hours, {clock_span(day, first, end)}, the grid operator allows {limit} at most."
        )
    if any(power is not None for power in load["without_limit_w"]):
        planned = format_power(summary["peak_without_limit_w"])
        sentences.append(f"The dashed line is what was planned before that limit came: up to {planned}.")
    over = excess_mtus(day)
    sentences.append(
        f"The metered load left the envelope in {count_mtus(day, over)}."
        if over
        else "The metered load stays inside the envelope all day."
    )
    if not _shows_lower(day):
        lowest = format_power(max(load["lower_w"]))
        sentences.append(f"The lower limit is never above {lowest} and lies below the picture.")
    return " ".join(sentences)


def _alt(day: DayResult) -> str:
    summary = day["summary"]
    return (
        f"Step lines over the day. Highest load before: {format_power(summary['peak_before_w'])}; scheduled: "
        f"{format_power(summary['peak_scheduled_w'])}; metered: {format_power(summary['peak_metered_w'])}. "
        f"Lowest metered load: {format_power(min(day['load']['metered_w']))}."
    )


def excess_mtus(day: DayResult) -> int:
    """Number of MTUs in which the metered load was outside its envelope."""
    load = day["load"]
    bounds = zip(load["lower_w"], load["metered_w"], load["upper_w"], strict=True)
    return sum(not lower <= metered <= upper for lower, metered, upper in bounds)


def _shows_lower(day: DayResult) -> bool:
    load = day["load"]
    lowest = min(*load["before_w"], *load["metered_w"], *load["scheduled_w"])
    return lowest < LOWER_SHOWN_FROM * max(load["lower_w"])


def _kw(power_w: Sequence[int | None]) -> list[float | None]:
    return [None if power is None else power / 1000 for power in power_w]
