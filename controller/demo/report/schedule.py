"""When each appliance ran: one row per appliance, its allowed window behind its running time."""

from collections.abc import Sequence
from dataclasses import dataclass

from controller.demo.day import DayResult, DeviceEntry
from controller.demo.report.formatting import begin_sentence, clock_span, count, format_rating, runs, shorten
from controller.demo.report.picture import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    Key,
    Picture,
    Tree,
    base_layout,
    clock_trace,
    label,
    merge,
    tightened_shapes,
    time_axes,
)

GROUP_COLORS = (BLUE, GREEN, ORANGE, PURPLE, SKY, GREY)
TOP, BOTTOM = 42, 42
"""Margins that hold the wall clock, px."""
NAMED_FROM = 12
"""Height of a row, px, from which the name beside it is readable."""
HEADING = 24
"""Height of a group's heading, px. Vertical positions are pixels from the top: rows may have any height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Where one appliance is drawn.

    Attributes
    ----------
    device : the appliance
    color : its group's
    middle : px from the top
    height : px, the gap to the next row included
    """

    device: DeviceEntry
    color: str
    middle: float
    height: int


def draw_schedule(day: DayResult) -> Picture:
    """Picture of every interruptible appliance; its height grows with their number."""
    groups = _groups(day)
    rows, headings, height = _place(groups)
    named = bool(rows) and rows[0].height >= NAMED_FROM
    missed = [
        _bar(day, row, span, "was planned, did not run", INK) for row in rows for span in _missed(day, row.device)
    ]
    ran = [_bar(day, row, span, "ran", row.color) for row in rows for span in _ran(day, row.device)]
    windows = [_bar(day, row, _window(row.device), "may run", PALE) for row in rows]
    traces = [clock_trace(), _trace(windows), _trace(ran)]
    keys = [
        Key(label="May run", color=PALE, mark="area"),
        Key(label="Ran, one colour per kind", color=BLUE, mark="area"),
    ]
    if missed:
        traces.append(_trace(missed, outline=True))
        keys.append(Key(label="Planned, did not run", color=INK, mark="outline"))
    return Picture(
        id="picture-schedule",
        title="When the appliances ran",
        caption=_caption(groups, missed=len(missed)),
        alt=f"One row per appliance: {'; '.join(count(len(group), name) for name, group in groups.items())}.",
        keys=tuple(keys) if rows else (),
        traces=tuple(traces) if rows else (),
        layout=_layout(day, height, rows if named else (), headings),
        narrow=merge(_clock_axes(day, every_hours=6), {"margin": {"l": 64 if named else 24, "r": 20}}),
    )


def _groups(day: DayResult) -> dict[str, list[DeviceEntry]]:
    """Appliances by name, in the order of the day; within a group the one that ran first is on top."""
    groups: dict[str, list[DeviceEntry]] = {}
    for device in day["devices"]:
        if device["kind"] == "interruptible":
            groups.setdefault(device["name"], []).append(device)

    def first_run(device: DeviceEntry) -> int:
        spans = _ran(day, device)
        return spans[0][0] if spans else day["mtus"]

    return {name: sorted(group, key=first_run) for name, group in groups.items()}


def _row_height(appliances: int) -> int:
    """Pixels per row: names are readable up to 60 rows, 400 rows are still three screens at most."""
    return 17 if appliances <= 60 else 13 if appliances <= 100 else max(4, 1200 // appliances)


def _place(groups: dict[str, list[DeviceEntry]]) -> tuple[list[Row], list[Tree], int]:
    """Rows and group headings from the top down, and the height of it all, px."""
    height = _row_height(sum(len(group) for group in groups.values()))
    rows: list[Row] = []
    headings: list[Tree] = []
    top = 0
    for index, (name, group) in enumerate(groups.items()):
        color = GROUP_COLORS[index % len(GROUP_COLORS)]
        headings.append(_heading(name, group, top))
        top += HEADING
        for device in group:
            rows.append(Row(device=device, color=color, middle=top + height / 2, height=height))
            top += height
        top += height // 2
    return rows, headings, top


def _window(device: DeviceEntry) -> tuple[int, int]:
    first, end = device["first_mtu"], device["end_mtu"]
    return (0, 0) if first is None or end is None else (first, end)


def _ran(day: DayResult, device: DeviceEntry) -> list[tuple[int, int]]:
    return runs([power > 0 for power in day["acted"][device["id"]]])


def _missed(day: DayResult, device: DeviceEntry) -> list[tuple[int, int]]:
    planned = day["schedule"][device["id"]]
    acted = day["acted"][device["id"]]
    return runs([plan > 0 and act <= 0 for plan, act in zip(planned, acted, strict=True)])


def _bar(day: DayResult, row: Row, span: tuple[int, int], verb: str, color: str) -> Tree:
    first, end = span
    device = row.device
    return {
        "base": first,
        "x": end - first,
        "y": row.middle,
        "width": row.height * 0.76,
        "color": color,
        "text": f"{label(device['peer'])}, {label(device['name'])}, {format_rating(device['power_w'])}<br>"
        f"{verb} {clock_span(day, first, end)}",
    }


def _trace(bars: Sequence[Tree], *, outline: bool = False) -> Tree:
    colors = [bar["color"] for bar in bars]
    return {
        "type": "bar",
        "orientation": "h",
        "xaxis": "x2",
        "base": [bar["base"] for bar in bars],
        "x": [bar["x"] for bar in bars],
        "y": [bar["y"] for bar in bars],
        "width": [bar["width"] for bar in bars],
        "hovertext": [bar["text"] for bar in bars],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {
            "color": "rgba(0,0,0,0)" if outline else colors,
            "line": {"width": 1.5 if outline else 0, "color": INK},
        },
    }


def _heading(name: str, group: Sequence[DeviceEntry], top: int) -> Tree:
    text = f"<b>{label(begin_sentence(shorten(name, 32)))}</b>  {len(group)} × {_powers(group)}"
    return {
        "text": text,
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": top + HEADING - 4,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12, "color": INK},
    }


def _powers(group: Sequence[DeviceEntry]) -> str:
    lowest = min(device["power_w"] for device in group)
    highest = max(device["power_w"] for device in group)
    return format_rating(lowest) if lowest == highest else f"{format_rating(lowest)} to {format_rating(highest)}"


def _layout(day: DayResult, height: int, named: Sequence[Row], headings: Sequence[Tree]) -> Tree:
    return merge(
        base_layout(height + TOP + BOTTOM, notes=headings),
        _clock_axes(day),
        {
            "margin": {"l": 96 if named else 28, "t": TOP, "b": BOTTOM},
            "barmode": "overlay",
            "hovermode": "closest",
            "shapes": tightened_shapes(day),
            "yaxis": {
                "range": [height, 0],
                "tickvals": [row.middle for row in named],
                "ticktext": [label(shorten(row.device["peer"], 14)) for row in named],
                "tickfont": {"size": 10.5, "color": GREY},
                "showgrid": False,
                "zeroline": False,
            },
        },
    )


def _clock_axes(day: DayResult, *, every_hours: int = 3) -> Tree:
    """The wall clock below and once more on top: the picture may be taller than the screen."""
    axes = time_axes(day, every_hours=every_hours)
    return merge(
        axes,
        {"xaxis2": axes["xaxis"]},
        {"xaxis2": {"side": "top", "showticklabels": True, "showgrid": False}},
    )


def _caption(groups: dict[str, list[DeviceEntry]], *, missed: int) -> str:
    if not groups:
        return "No appliance could be moved on this day."
    sentences = [
        "One row per appliance: pale where its owner allows it to run, solid where it ran. Within a group "
        "the earliest is on top. In the shaded hours the grid operator's limit was tightened."
    ]
    if missed:
        sentences.append(f"Outlined: {count(missed, 'planned run')} that did not happen.")
    return " ".join(sentences)
