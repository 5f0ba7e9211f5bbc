"""The picture ``docs/gas.svg``: gas per trade over the number of trades of a window, both by powers of ten."""

from collections.abc import Iterator, Mapping
from math import log10

from contracts.gas import DAY, PUBLISHED_MARGINAL, PUBLISHED_TOTAL, GasReport
from controller.case.picture import BLUE, FONT, GREEN, GREY, INK, ORANGE, PALE, VERMILION

WIDTH, HEIGHT = 900, 460
LEFT, RIGHT, TOP, BOTTOM = 84, 620, 56, 410
MOST_TRADES, LEAST_GAS, MOST_GAS = 4, -2, 6
"""Powers of ten at the ends of the axes."""


def draw(report: GasReport) -> str:
    """The picture as an SVG document."""
    counts = list(report.per_trade)
    lines: list[tuple[str, str, Mapping[int, float]]] = [
        ("EnergyAuction, one trade in all", VERMILION, dict.fromkeys(counts, PUBLISHED_TOTAL)),
        ("EnergyAuction, each further trade", ORANGE, dict.fromkeys(counts, PUBLISHED_MARGINAL)),
        ("each window anchored alone", BLUE, report.per_trade),
        (f"{DAY} windows in a batch", GREEN, report.per_trade_of_day),
    ]
    alternative = "Gas per trade falls with the number of trades, and is published as constant for EnergyAuction"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{alternative}" '
        f'font-family=\'{FONT}\' font-size="13" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="28" font-size="17" font-weight="600">Gas per trade</text>',
        *_axes(),
    ]
    for place, (label, colour, figures) in enumerate(lines):
        parts.extend(_line(label, colour, figures, lift=-6 if place == 0 else 14 if place == 1 else 4))
    return "\n".join((*parts, "</svg>", ""))


def _axes() -> Iterator[str]:
    for power in range(LEAST_GAS, MOST_GAS + 1):
        y = _y(10.0**power)
        yield f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{PALE}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:,.10g}</text>'
    for power in range(MOST_TRADES + 1):
        x = _x(10**power)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{BOTTOM}" stroke="{PALE}"/>'
        yield f'<text x="{x:.1f}" y="{BOTTOM + 18}" text-anchor="middle">{10**power:,}</text>'
    middle = (LEFT + RIGHT) / 2
    yield f'<text x="{middle:.1f}" y="{BOTTOM + 38}" text-anchor="middle" fill="{GREY}">trades in a window</text>'


def _line(label: str, colour: str, figures: Mapping[int, float], *, lift: int) -> Iterator[str]:
    points = [(_x(trades), _y(gas)) for trades, gas in figures.items()]
    spelled = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{spelled}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
    for (x, y), (trades, gas) in zip(points, figures.items(), strict=True):
        title = f"<title>{label}, {trades:,} trades: {gas:,.4g} gas per trade</title>"
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">{title}</circle>'
    x, y = points[-1]
    yield f'<text x="{x + 12:.1f}" y="{y + lift:.1f}" fill="{colour}">{label}</text>'


def _x(trades: int) -> float:
    return LEFT + (RIGHT - LEFT) * log10(trades) / MOST_TRADES


def _y(gas: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * (log10(gas) - LEAST_GAS) / (MOST_GAS - LEAST_GAS)
