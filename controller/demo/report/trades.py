"""Who traded with whom: buyers in rows, sellers in columns, their totals along the edges."""

from collections import Counter

from controller.demo.day import DayResult, TradeTotal
from controller.demo.report.formatting import count, format_energy, format_money, format_price, shorten
from controller.demo.report.picture import (
    GREY,
    RULE,
    Key,
    Picture,
    Tree,
    base_layout,
    label,
    label_above,
    merge,
)

SHADES = ("#d6e6f2", "#9cc4e0", "#5a9fce", "#2070b0", "#08306b")
"""One hue, darker is more: read in print and with every colour blindness."""
TOTAL = "#b4bcc3"
TOTALS = 64
"""Height of the bars along the top, px."""
GAP = 10
NAMED_ROWS = 45
NAMED_COLUMNS = 45
NAMED_COLUMNS_NARROW = 14
LEVEL_COLUMNS = 10


def draw_trades(day: DayResult) -> Picture:
    """Picture of the energy from every seller to every buyer."""
    trades = [trade for trade in day["trades"] if trade["energy_wh"] > 0]
    sold = _totals(trades, "seller")
    bought = _totals(trades, "buyer")
    return Picture(
        id="picture-trades",
        title="Who traded with whom",
        caption=_caption(day, sold, bought),
        alt=_alt(trades),
        keys=_keys(trades),
        traces=_traces(day, trades, sold, bought) if trades else (),
        layout=_layout(sold, bought),
        narrow=_narrow(sold, bought),
    )


def _totals(trades: list[TradeTotal], role: str) -> dict[str, int]:
    """Wh by peer, largest first."""
    totals: Counter[str] = Counter()
    for trade in trades:
        totals[trade["seller"] if role == "seller" else trade["buyer"]] += trade["energy_wh"]
    return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))


def _traces(day: DayResult, trades: list[TradeTotal], sold: dict[str, int], bought: dict[str, int]) -> tuple[Tree, ...]:
    currency = day["summary"]["currency"]
    energy = {(trade["buyer"], trade["seller"]): trade for trade in trades}
    cells = [[energy.get((buyer, seller)) for seller in sold] for buyer in bought]
    heat: Tree = {
        "type": "heatmap",
        "x": list(range(len(sold))),
        "y": list(range(len(bought))),
        "z": [[cell["energy_wh"] / 1000 if cell else None for cell in row] for row in cells],
        "text": [[_cell_text(cell, currency) if cell else "" for cell in row] for row in cells],
        "hovertemplate": "%{text}<extra></extra>",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "zmin": 0,
        "zmax": max(trade["energy_wh"] for trade in trades) / 1000,
        "colorscale": [[index / (len(SHADES) - 1), shade] for index, shade in enumerate(SHADES)],
        "showscale": False,
    }
    bars: Tree = {"type": "bar", "marker": {"color": TOTAL}, "hovertemplate": "%{hovertext}<extra></extra>"}
    sellers = bars | {
        "x": list(range(len(sold))),
        "y": [energy_wh / 1000 for energy_wh in sold.values()],
        "yaxis": "y2",
        "hovertext": [f"{label(peer)} sold {format_energy(energy_wh)}" for peer, energy_wh in sold.items()],
    }
    buyers = bars | {
        "orientation": "h",
        "x": [energy_wh / 1000 for energy_wh in bought.values()],
        "y": list(range(len(bought))),
        "xaxis": "x2",
        "hovertext": [f"{label(peer)} bought {format_energy(energy_wh)}" for peer, energy_wh in bought.items()],
    }
    return heat, sellers, buyers


def _cell_text(trade: TradeTotal, currency: str) -> str:
    price = format_price(1000 * trade["amount_micro"] / trade["energy_wh"], currency)
    return (
        f"{label(trade['seller'])} → {label(trade['buyer'])}<br>{format_energy(trade['energy_wh'])} "
        f"for {format_money(trade['amount_micro'], currency)}, {price}"
    )


def _layout(sold: dict[str, int], bought: dict[str, int]) -> Tree:
    columns, rows = len(sold), len(bought)
    named_rows, named_columns = rows <= NAMED_ROWS, columns <= NAMED_COLUMNS
    plot = _plot_height(bought)
    bottom = 24 if not named_columns else 78 if columns > LEVEL_COLUMNS else 34
    split = 1 - (GAP + TOTALS) / plot
    name: Tree = {
        "tickfont": {"size": 10.5, "color": GREY},
        "ticks": "",
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
    }
    total: Tree = {
        "showticklabels": False,
        "ticks": "",
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
        "rangemode": "tozero",
    }
    return merge(
        base_layout(plot + 26 + bottom, notes=[label_above("Rows buy, columns sell", 0, lift=4, color=GREY)]),
        {
            "margin": {"l": 96 if named_rows else 14, "t": 26, "b": bottom},
            "hovermode": "closest",
            "bargap": 0.15,
            "xaxis": name
            | {
                "domain": [0, 0.86],
                "range": [-0.5, columns - 0.5],
                "tickvals": list(range(columns)) if named_columns else [],
                "ticktext": [label(shorten(peer, 12)) for peer in sold] if named_columns else [],
                "tickangle": -90 if columns > LEVEL_COLUMNS else 0,
            },
            "yaxis": name
            | {
                "domain": [0, split],
                "range": [rows - 0.5, -0.5],
                "tickvals": list(range(rows)) if named_rows else [],
                "ticktext": [label(shorten(peer, 14)) for peer in bought] if named_rows else [],
            },
            "xaxis2": total | {"domain": [0.87, 1], "anchor": "y"},
            "yaxis2": total | {"domain": [1 - TOTALS / plot, 1], "anchor": "x"},
            "shapes": [
                {
                    "type": "rect",
                    "xref": "x domain",
                    "yref": "y domain",
                    "x0": 0,
                    "x1": 1,
                    "y0": 0,
                    "y1": 1,
                    "line": {"color": RULE, "width": 1},
                    "layer": "below",
                }
            ],
        },
    )


def _plot_height(bought: dict[str, int]) -> int:
    """Pixels without the margins: rows with names, or as many as fit a screen."""
    rows = len(bought)
    return rows * (17 if rows <= NAMED_ROWS else max(5, 900 // rows)) + GAP + TOTALS


def _narrow(sold: dict[str, int], bought: dict[str, int]) -> Tree:
    named = len(sold) <= NAMED_COLUMNS_NARROW
    bottom = 78 if named else 24
    return {
        "height": _plot_height(bought) + 26 + bottom,
        "margin": {"l": 64 if len(bought) <= NAMED_ROWS else 14, "r": 4, "b": bottom},
        "xaxis": {"tickangle": -90} if named else {"tickvals": [], "ticktext": []},
    }


def _keys(trades: list[TradeTotal]) -> tuple[Key, ...]:
    if not trades:
        return ()
    largest_wh = max(trade["energy_wh"] for trade in trades)
    return (
        Key(label="little", color=SHADES[0], mark="area"),
        Key(label=format_energy(largest_wh // 2), color=SHADES[2], mark="area"),
        Key(label=format_energy(largest_wh), color=SHADES[-1], mark="area"),
        Key(label="Total of a peer", color=TOTAL, mark="area"),
    )


def _caption(day: DayResult, sold: dict[str, int], bought: dict[str, int]) -> str:
    if not sold:
        return "No neighbour sold to another on this day: everything was bought from the grid and sold to it."
    top_seller, top_wh = next(iter(sold.items()))
    share = top_wh / sum(sold.values())
    return (
        f"{count(len(sold), 'peer')} sold and {len(bought):,} bought, of {len(day['peers']):,}. The darker a "
        "cell, the more went from its column's seller to its row's buyer; white pairs did not trade. The "
        f"largest seller, {shorten(top_seller, 40)}, supplied {share:.0%} of what neighbours traded."
    )


def _alt(trades: list[TradeTotal]) -> str:
    largest = sorted(trades, key=lambda trade: (-trade["energy_wh"], trade["seller"], trade["buyer"]))[:3]
    named = "; ".join(f"{t['seller']} to {t['buyer']}: {format_energy(t['energy_wh'])}" for t in largest)
    return f"Heat map of energy by seller and buyer. The largest: {named}."
