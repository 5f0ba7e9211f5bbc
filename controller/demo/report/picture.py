"""What all pictures share: the value that describes one, the palette, the time axis, step-shaped lines.

A picture's data and layout are written as plotly.js reads them (plotly.com/javascript/reference). Text from
the day goes through ``label``: plotly takes ``<b>`` and ``<a href>`` in any label for markup.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal, TypeAlias

from controller.demo.day import DayResult
from controller.demo.report.formatting import MONTHS, clock, clock_span, local_time, runs

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Tree: TypeAlias = dict[str, Json]

# Okabe, Ito (2008), "Color Universal Design": told apart with every common colour blindness.
BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
ORANGE = "#E69F00"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
INK = "#1f2a35"
GREY = "#7c8894"
PALE = "#dfe5ea"
RULE = "#e9edf0"
LIMIT_TINT = "rgba(213,94,0,0.08)"
EXCESS_TINT = "rgba(213,94,0,0.30)"

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif'


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One entry of a picture's legend.

    Attributes
    ----------
    label : plain text
    color : CSS colour
    mark : how the legend draws it
    """

    label: str
    color: str
    mark: Literal["line", "thin", "dash", "dot", "area", "outline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of the report.

    Attributes
    ----------
    id : fixed id of its element
    title, caption : plain text; the caption says what to see
    alt : plain text for those who cannot see it
    keys : legend
    traces : plotly traces; none at all when there is nothing to draw, which the caption then explains
    layout : plotly layout
    narrow : what differs on a narrow screen, merged into the layout
    """

    id: str
    title: str
    caption: str
    alt: str
    keys: tuple[Key, ...] = ()
    traces: tuple[Tree, ...] = ()
    layout: Tree
    narrow: Tree


def merge(*trees: Tree) -> Tree:
    """One tree out of several: the later wins, key by key at every depth."""
    merged: Tree = {}
    for tree in trees:
        for key, value in tree.items():
            old = merged.get(key)
            merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def base_layout(height: int, *, unit: str = "", notes: Sequence[Tree] = ()) -> Tree:
    """Layout in the report's style; ``unit`` stands above the vertical axis, where it reads unturned."""
    return {
        "height": height,
        "margin": {"l": 48, "r": 22, "t": 46, "b": 42},
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": "#ffffff",
            "bordercolor": GREY,
            "align": "left",
            "font": {"family": FONT, "size": 12, "color": INK},
        },
        "dragmode": False,
        "annotations": [*([label_above(unit, 0, lift=22, color=GREY)] if unit else []), *notes],
        "yaxis": {
            "gridcolor": RULE,
            "zerolinecolor": GREY,
            "zerolinewidth": 1,
            "ticks": "outside",
            "ticklen": 6,
            "tickcolor": "rgba(0,0,0,0)",
            "fixedrange": True,
            "nticks": 7,
            "tickformat": ",~r",
        },
    }


def label_above(text: str, x: float, *, lift: int, color: str) -> Tree:
    """Annotation above the plot: at its left edge for ``x`` 0, else centred over that MTU."""
    return {
        "text": text,
        "x": x,
        "xref": "x" if x else "paper",
        "xanchor": "center" if x else "left",
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "yshift": lift,
        "showarrow": False,
        "font": {"size": 12, "color": color},
    }


def time_axes(day: DayResult, *, every_hours: int = 3) -> Tree:
    """Layout of the horizontal axis: MTUs as positions, wall clock as words: 92 or 100 of them are true too.

    ``xaxis`` shows the few labels that fit. ``xaxis2`` lies over it, carries the traces and names each point
    of theirs for the hover box. An axis without a trace is not drawn: ``xaxis`` has ``clock_trace``.
    """
    mtus = day["mtus"]
    points = [(point, mtu) for mtu in range(mtus) for point in _points(day, mtu)]
    ticks = [mtu for mtu in range(mtus + 1) if _on_the_hour(day, mtu, every_hours)]
    span: Tree = {"range": [0, mtus], "fixedrange": True, "zeroline": False}
    return {
        "xaxis": {
            **span,
            "tickvals": ticks,
            "ticktext": [_tick(day, mtu, first=mtu == ticks[0]) for mtu in ticks],
            "tickangle": 0,
            "ticks": "outside",
            "ticklen": 4,
            "tickcolor": GREY,
            "gridcolor": RULE,
        },
        "xaxis2": {
            **span,
            "overlaying": "x",
            "matches": "x",
            "tickvals": [point for point, _ in points],
            "ticktext": [clock_span(day, mtu, mtu + 1) for _, mtu in points],
            "showticklabels": False,
            "showgrid": False,
        },
    }


def clock_trace() -> Tree:
    """Trace that draws nothing: it brings the labelled axis of ``time_axes`` into being."""
    return {"type": "scatter", "mode": "lines", "x": [0], "y": [0], "hoverinfo": "skip"}


def narrow_time_axes(day: DayResult) -> Tree:
    """What ``time_axes`` leaves out on a narrow screen."""
    return merge(time_axes(day, every_hours=6), {"margin": {"l": 44, "r": 18}})


def tightened(day: DayResult) -> list[tuple[int, int]]:
    """Runs of MTUs in which the upper bound is below the day's highest."""
    upper_w = day["load"]["upper_w"]
    return runs([bound < max(upper_w) for bound in upper_w])


def tightened_shapes(day: DayResult) -> list[Json]:
    """The tightened hours as a tinted stripe, alike in every picture over time."""
    return [
        {
            "type": "rect",
            "x0": first,
            "x1": end,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "fillcolor": LIMIT_TINT,
            "line": {"width": 0},
            "layer": "below",
        }
        for first, end in tightened(day)
    ]


def step_line(day: DayResult, values: Sequence[float | None], name: str, color: str, **line: Json) -> Tree:
    """Trace that holds each value from its MTU's start to its end, with gaps where there is none."""
    ends = [(point, value) for mtu, value in enumerate(values) for point in _points(day, mtu)[::2]]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "xaxis": "x2",
        "x": [point for point, _ in ends],
        "y": [value for _, value in ends],
        "connectgaps": False,
        "line": {"color": color, "width": 2, **line},
    }


def step_band(
    lower: Sequence[float | None], upper: Sequence[float | None], fill: str, *, edge: str = "rgba(0,0,0,0)"
) -> Tree:
    """Trace that fills between two step-shaped lines wherever both have a value."""
    x: list[Json] = []
    y: list[Json] = []
    for first, end in runs([low is not None and high is not None for low, high in zip(lower, upper, strict=True)]):
        borders = [border for mtu in range(first, end) for border in (mtu, mtu + 1)]
        x += [*borders, *reversed(borders), first, None]
        top = [value for value in upper[first:end] for _ in range(2)]
        bottom = [value for value in lower[first:end] for _ in range(2)]
        y += [*top, *reversed(bottom), top[0], None]
    return {
        "type": "scatter",
        "mode": "lines",
        "xaxis": "x2",
        "x": x,
        "y": y,
        "fill": "toself",
        "fillcolor": fill,
        "line": {"width": 0.75, "color": edge},
        "hoverinfo": "skip",
    }


def label(text: str) -> str:
    """Text from the day, made safe for a plotly label, in which ``<b>``, ``$x$`` and ``%{x}`` have a meaning.

    Plotly does not know ``&quot;``; quotes are harmless there.
    """
    return escape(text, quote=False).replace("$", "&#36;").replace("%", "&#37;")


def _points(day: DayResult, mtu: int) -> tuple[float, float, float]:
    """Positions in an MTU that carry a point: just inside its start, its middle, just inside its end.

    Plotly names a point after the first tick within a ten-thousandth of the axis, so points of two MTUs stay
    twice a four-thousandth apart; that is a quarter of a pixel.
    """
    inset = day["mtus"] / 4000
    return mtu + inset, mtu + 0.5, mtu + 1 - inset


def _on_the_hour(day: DayResult, mtu: int, every_hours: int) -> bool:
    time = local_time(day, mtu)
    return time.minute == 0 and time.hour % every_hours == 0


def _tick(day: DayResult, mtu: int, *, first: bool) -> str:
    time = local_time(day, mtu)
    dated = first or time.hour == 0
    return f"{clock(day, mtu)}<br>{time.day} {MONTHS[time.month - 1][:3]}" if dated else clock(day, mtu)
