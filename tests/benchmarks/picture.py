"""A log-log chart as SVG text: time over size, one line for each solver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 74, 170, 48, 58
COLOURS = ("#0b6e4f", "#c1272d", "#1f5fa8", "#8a5a00", "#6a3d9a", "#555555", "#c2185b", "#00838f")
DASHES = ("", "7 4", "2 3", "9 3 2 3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line of a chart.

    Attributes
    ----------
    name : in the legend
    points : (x, y), positive, by ascending x
    """

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """A logarithmic scale from data to pixels.

    Attributes
    ----------
    first, last : decimal exponents at its ends
    begin, end : pixels
    """

    first: float
    last: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        """Pixel of a positive value."""
        return self.begin + (log10(value) - self.first) / (self.last - self.first) * (self.end - self.begin)

    def decades(self) -> list[float]:
        """Powers of ten within the scale."""
        return [10.0**k for k in range(ceil(self.first - 1e-9), floor(self.last + 1e-9) + 1)]


def chart(curves: Sequence[Curve], *, title: str, across: str, up: str, notes: Mapping[float, str]) -> str:
    """The SVG of a chart.

    Parameters
    ----------
    curves : at least one with a point
    title, across, up : what stands above, below and beside
    notes : words under values of x, as "250,000 links" under 1,000 peers
    """
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [y for curve in curves for _, y in curve.points]
    if not xs:
        raise ValueError("curves: got no point, wanted at least one")
    pad = 0.08
    wide = _Axis(first=log10(min(xs)) - pad, last=log10(max(xs)) + pad, begin=LEFT, end=WIDTH - RIGHT)
    lowest = floor(log10(min(ys)))
    high = _Axis(first=lowest, last=max(ceil(log10(max(ys))), lowest + 1), begin=HEIGHT - BOTTOM, end=TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="13" '
        'font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="28" font-size="16" font-weight="bold">{escape(title)}</text>',
        *_grid(wide, high, sorted(set(xs)), notes),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>',
        f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(up)}</text>",
    ]
    drawn = [curve for curve in curves if curve.points]
    reach = [k for k, curve in enumerate(drawn) if curve.points[-1][0] == max(xs)]
    labels = dict(zip(reach, _spread([high.at(drawn[k].points[-1][1]) for k in reach]), strict=True))
    for k, curve in enumerate(drawn):
        parts += _line(curve, wide, high, COLOURS[k % len(COLOURS)], DASHES[k // len(COLOURS) % len(DASHES)])
        parts += _label(curve, wide, high, labels.get(k), COLOURS[k % len(COLOURS)])
    return "\n".join([*parts, "</svg>", ""])


def _grid(wide: _Axis, high: _Axis, xs: Sequence[float], notes: Mapping[float, str]) -> list[str]:
    parts = []
    for value in high.decades():
        y = high.at(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    last = float("-inf")
    for value in xs:
        x = wide.at(value)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eeeeee"/>')
        # labels nearer than this would run into each other
        if x - last < 64:
            continue
        last = x
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{value:,.0f}</text>')
        if value in notes:
            parts.append(
                f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 32}" text-anchor="middle" font-size="11" fill="#666666">'
                f"{escape(notes[value])}</text>"
            )
    return parts


def _line(curve: Curve, wide: _Axis, high: _Axis, colour: str, dash: str) -> list[str]:
    places = [(wide.at(x), high.at(y)) for x, y in curve.points]
    route = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return [
        f'<polyline points="{route}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places),
    ]


def _label(curve: Curve, wide: _Axis, high: _Axis, height: float | None, colour: str) -> list[str]:
    """The name at a height beside the chart, or above the last point where a curve ends before the others."""
    x, y = wide.at(curve.points[-1][0]), high.at(curve.points[-1][1])
    name = escape(curve.name)
    if height is None:
        return [f'<text x="{x:.1f}" y="{y - 9:.1f}" text-anchor="middle" fill="{colour}">{name}</text>']
    right = WIDTH - RIGHT
    return [
        f'<path d="M{x + 5:.1f} {y:.1f}L{right + 12} {height:.1f}" stroke="{colour}" stroke-width="0.7"/>',
        f'<text x="{right + 16}" y="{height + 4:.1f}" fill="{colour}">{name}</text>',
    ]


def _spread(heights: Sequence[float], least: float = 17.0) -> list[float]:
    """Heights of labels near those given, in the same order, no two nearer than they can be read."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = list(heights)
    for before, after in pairwise(order):
        placed[after] = max(placed[after], placed[before] + least)
    beyond = placed[order[-1]] - (HEIGHT - BOTTOM) if order else 0.0
    if beyond > 0:
        placed[order[-1]] -= beyond
        for after, before in pairwise(reversed(order)):
            placed[before] = min(placed[before], placed[after] - least)
    return placed
