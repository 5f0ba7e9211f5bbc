"""One picture of the designs side by side, as SVG that needs nothing else.

A row for each design, a column for each question: how much welfare, how much energy among peers and with the grid, at
which prices, who wins and who loses. What the mouse rests on says its number.
"""

from collections.abc import Callable, Iterator, Sequence
from html import escape

from controller.case.comparing import DesignComparison, DesignFigures

# Okabe, Ito (2008), "Color Universal Design": told apart with every common colour blindness.
BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
ORANGE = "#E69F00"
VERMILION = "#D55E00"
INK = "#1f2a35"
GREY = "#66727e"
PALE = "#dfe5ea"

VERDICTS = {1: GREEN, 0: GREY, -1: VERMILION}

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif'
WIDTH = 1160
TOP = 96
ROW = 58
BOTTOM = 16
LABEL_END = 128
GAP = 34
COLUMN = (WIDTH - LABEL_END - 4 * GAP - 16) / 4
MOST_DOTS = 500
"""Peers drawn one by one; of more, evenly many in the order of what they gain."""

STYLE = f"""
svg {{ font: 13px {FONT}; fill: {INK}; }}
.title {{ font-size: 19px; font-weight: 600; }}
.head {{ font-weight: 600; }}
.note {{ fill: {GREY}; font-size: 11.5px; paint-order: stroke; stroke: #fff; stroke-width: 3px; }}
.end {{ text-anchor: end; }}
.middle {{ text-anchor: middle; }}
.rule {{ stroke: {PALE}; }}
.zero {{ stroke: {GREY}; stroke-width: 1; }}
""".strip()

Scale = Callable[[float], float]


def draw(comparison: DesignComparison) -> str:
    """The picture as an SVG document."""
    height = TOP + ROW * len(comparison.designs) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(_alternative(comparison))}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(16, 30, f"Market designs on {comparison.case}", "title"),
        _text(16, 50, _subtitle(comparison), "note"),
        *_rows(comparison),
        *_welfare(comparison, LABEL_END + GAP),
        *_energy(comparison, LABEL_END + GAP + (COLUMN + GAP)),
        *_prices(comparison, LABEL_END + GAP + 2 * (COLUMN + GAP)),
        *_gains(comparison, LABEL_END + GAP + 3 * (COLUMN + GAP)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _subtitle(comparison: DesignComparison) -> str:
    fee = f", fee {comparison.fee_per_side:g} per side" if comparison.fee_per_side else ""
    proviso = f" {comparison.proviso}." if comparison.proviso else ""
    return f"{comparison.peers} peers{fee}.{proviso}"


def _alternative(comparison: DesignComparison) -> str:
    known = [f"{figures.design} {figures.welfare:.6g}" for figures in comparison.designs if figures.welfare is not None]
    return f"Welfare by market design: {', '.join(known)}"


def _rows(comparison: DesignComparison) -> Iterator[str]:
    for k, figures in enumerate(comparison.designs):
        middle = _middle(k)
        yield f'<line x1="16" x2="{WIDTH - 16}" y1="{middle + ROW / 2:.1f}" y2="{middle + ROW / 2:.1f}" class="rule"/>'
        undone = not figures.compares
        yield _text(16, middle + (-2 if undone else 4), figures.design, "head")
        if undone:
            what = "limits exceeded" if figures.status == "cleared" else figures.status
            if figures.unserved > 0:
                what = f"{figures.unserved:.4g} {comparison.unit}h unserved"
            yield _text(16, middle + 14, what, "note", color=VERMILION, tip=figures.reason)


def _welfare(comparison: DesignComparison, left: float) -> Iterator[str]:
    yield _head(left, _of("Welfare", comparison.currency), "utility less cost")
    known = [one.welfare for one in comparison.designs if one.welfare is not None]
    # Numbers stand beside the bars: room for them on both sides.
    at = _scale([0.0, *known], left + (62 if min([0.0, *known]) < 0 else 0), left + COLUMN - 62)
    yield _zero(at(0.0), comparison)
    for k, figures in enumerate(comparison.designs):
        if figures.welfare is None:
            if figures.answered:
                room = at(0.0) + 110 <= left + COLUMN
                beside, style = (at(0.0) + 5, "note") if room else (at(0.0) - 5, "note end")
                yield _text(beside, _middle(k) + 4, "does not compare", style, tip=figures.reason)
            continue
        x0, x1 = sorted((at(0.0), at(figures.welfare)))
        yield _bar(x0, x1, k, BLUE, tip=f"{figures.design}: {figures.welfare:.9g}")
        end, side = (x1 + 5, "") if figures.welfare >= 0 else (x0 - 5, "end")
        yield _text(end, _middle(k) + 4, f"{figures.welfare:.5g}", f"note {side}".strip())


def _energy(comparison: DesignComparison, left: float) -> Iterator[str]:
    yield _head(left, _of("Energy", f"{comparison.unit}h"), "")
    yield from _key(left, ((GREEN, "among peers", 84.0), (ORANGE, "imported", 64.0), (SKY, "exported", 0.0)))
    largest = max([1e-12, *(max(one.volume, one.imported, one.exported) for one in comparison.designs)])
    at = _scale([0.0, largest], left, left + COLUMN - 52)
    for k, figures in enumerate(comparison.designs):
        if not figures.answered:
            continue
        for line, (value, color, what) in enumerate(
            (
                (figures.volume, GREEN, "among peers"),
                (figures.imported, ORANGE, "imported"),
                (figures.exported, SKY, "exported"),
            )
        ):
            y = _middle(k) - 18 + 12 * line
            tip = f"{figures.design}, {what}: {value:.6g} {comparison.unit}h"
            yield _box(at(0.0), max(at(value), at(0.0) + 1), y, 10, color, tip)
            yield _text(max(at(value), at(0.0) + 1) + 5, y + 9, f"{value:.4g}", "note")


def _prices(comparison: DesignComparison, left: float) -> Iterator[str]:
    yield _head(left, _of("Price", comparison.price_unit), "lowest, mean, highest, without fees")
    known = [price for one in comparison.designs for price in (one.price_low, one.price_high) if price is not None]
    if not known:
        return
    at = _scale(_room(known), left, left + COLUMN)
    for k, figures in enumerate(comparison.designs):
        if figures.price_low is None or figures.price_high is None or figures.price_mean is None:
            yield _text(left, _middle(k) + 4, "no trade", "note")
            continue
        low, mean, high = at(figures.price_low), at(figures.price_mean), at(figures.price_high)
        y = _middle(k) + 4
        tip = f"{figures.design}: {figures.price_low:.6g}, {figures.price_mean:.6g}, {figures.price_high:.6g}"
        if figures.price_borne is not None:
            tip += f"; buyers bear {figures.price_borne:.6g} with fees, network charges and preferences"
        yield (
            f'<g>{_tip(tip)}<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{SKY}" '
            f'stroke-width="7" stroke-linecap="round"/><circle cx="{mean:.1f}" cy="{y:.1f}" r="5" fill="{BLUE}"/></g>'
        )
        anchor = " end" if mean > left + COLUMN - 40 else " middle" if mean > left + 40 else ""
        yield _text(mean, y - 12, f"{figures.price_mean:.4g}", f"note{anchor}")


def _gains(comparison: DesignComparison, left: float) -> Iterator[str]:
    note = f"each peer against {comparison.baseline}" if comparison.baseline else "no design serves everybody"
    yield _head(left, _of("Gains", comparison.currency), note)
    every = [gain.amount for one in comparison.designs for gain in one.gains if gain.amount is not None]
    if not every:
        return
    told = [gain.amount for one in comparison.designs for gain in one.gains if gain.amount is not None and gain.verdict]
    at = _scale(_room([0.0, *told]), left, left + COLUMN)
    for k, figures in enumerate(comparison.designs):
        # The line leaves out where the counts stand.
        top, end, x = _middle(k) - ROW / 2 + 4, _middle(k) + 13, at(0.0)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{end:.1f}" class="zero"/>'
        if figures.design == comparison.baseline:
            yield _text(left + COLUMN, _middle(k) + 25, "the baseline", "note end")
            continue
        known = sorted((gain.amount, gain.peer, gain.verdict) for gain in figures.gains if gain.amount is not None)
        step = max(1, -(-len(known) // MOST_DOTS))
        for place, (amount, peer, verdict) in enumerate(known[::step]):
            # Spread over the row, so that equal gains do not hide each other.
            y = _middle(k) - 4 + 5 * (place % 5 - 2)
            yield (
                f'<circle cx="{at(amount if verdict else 0.0):.1f}" cy="{y:.1f}" r="3.2" fill="{VERDICTS[verdict]}" '
                f'fill-opacity="0.55">{_tip(f"{peer}: {amount:+.6g}")}</circle>'
            )
        if figures.answered:
            yield _text(left + COLUMN, _middle(k) + 25, _count(figures, len(known)), "note end")


def _count(figures: DesignFigures, known: int) -> str:
    if not known and not figures.unserved_peers:
        return "does not compare"
    equal = known - figures.winners - figures.losers
    counts = ((equal, "equal"), (figures.unserved_peers, "unserved"))
    return ", ".join(
        [f"{figures.winners} win", f"{figures.losers} lose", *(f"{count} {what}" for count, what in counts if count)]
    )


def _of(what: str, unit: str) -> str:
    return f"{what} ({unit})" if unit else what


def _key(left: float, entries: Sequence[tuple[str, str, float]]) -> Iterator[str]:
    """Colours and what they stand for, each with the width of its text."""
    for color, what, width in entries:
        yield f'<rect x="{left:.1f}" y="81" width="8" height="8" fill="{color}"/>'
        yield _text(left + 12, 89, what, "note")
        left += width + 12


def _room(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or max(0.1 * abs(high), 1e-9)
    return [low - margin, high + margin]


def _scale(values: Sequence[float], left: float, right: float) -> Scale:
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    return lambda value: left + (right - left) * (value - low) / width


def _middle(row: int) -> float:
    return TOP + ROW * (row + 0.5)


def _head(left: float, title: str, note: str) -> str:
    return _text(left, 74, title, "head") + (_text(left, 89, note, "note") if note else "")


def _zero(x: float, comparison: DesignComparison) -> str:
    end = TOP + ROW * len(comparison.designs)
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP + 4}" y2="{end}" class="zero"/>'


def _bar(x0: float, x1: float, row: int, color: str, *, tip: str) -> str:
    return _box(x0, max(x1, x0 + 1), _middle(row) - 11, 22, color, tip)


def _box(x0: float, x1: float, y: float, height: float, color: str, tip: str) -> str:
    return f'<rect x="{x0:.1f}" y="{y:.1f}" width="{x1 - x0:.1f}" height="{height}" fill="{color}">{_tip(tip)}</rect>'


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _text(x: float, y: float, text: str, style: str, *, color: str = "", tip: str = "") -> str:
    paint = f' style="fill:{color}"' if color else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}"{paint}>{_tip(tip) if tip else ""}{escape(text)}</text>'
