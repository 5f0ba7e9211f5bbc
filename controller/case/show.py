"""A result for people: what each peer does at which price, who trades with whom, and what is certain about it."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controller.case.expected import Comparison
from controller.case.result import Result
from optimization.community import Floats

NEGLIGIBLE = 1e-6
"""Of the largest: a power below is shown as zero, numbers closer than that as one."""

DUST = 1e-12
"""In the case's unit of power: below this a power is shown as zero, however small the others are."""

MOST_PEERS = 60
MOST_TRADES = 20
MOST_NAMED = 20


def show(console: Console, result: Result, compared: Sequence[Comparison]) -> None:
    """Print a result."""
    by = f" by {result.solver}" if result.solver else ""
    took = "" if result.iterations is None else f", {result.iterations} iterations"
    console.print(
        f"{escape(result.case)}: {result.market} market, [bold]{result.status}[/]{by} in {result.seconds:.3g} s{took}",
        soft_wrap=True,
    )
    if result.reason:
        doubt = "limit not kept" if result.violations else "not certified"
        console.print(f"[red]{doubt}:[/] {escape(result.reason)}", soft_wrap=True)
    for line in conflict_lines(result):
        console.print(escape(line), soft_wrap=True)
    if result.powers:
        _show_totals(console, result)
        _show_peers(console, result)
        _show_trades(console, result)
        _show_limits(console, result)
    for entry in compared:
        mark = "[green]agrees[/]" if entry["ok"] else "[red]DIFFERS[/]"
        got = "none" if entry["got"] is None else f"{entry['got']:.9g}"
        console.print(f"{mark}  {escape(entry['key'])}: expected {entry['wanted']:.9g}, got {got}", soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """A table without blanks at the ends of its lines."""
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.out(line.rstrip(), highlight=False)


def conflict_lines(result: Result) -> list[str]:
    """What would have to give before there could be a clearing, a line each."""
    lines = []
    for entry in result.conflict[:MOST_NAMED]:
        what, amount = str(entry["what"]), float(entry["amount"])
        when = f" in MTU {entry['mtu']}" if result.mtus > 1 else ""
        size = f"{abs(amount):.6g} {result.unit}"
        if what.startswith("limit "):
            gives = f"would have to allow {size} more {'consumption' if amount > 0 else 'production'}"
        elif what.startswith("storage "):
            gives = f"cannot keep its bounds on stored energy, by {abs(amount):.6g} {result.unit}h"
        else:
            gives = f"would have to {'consume' if amount > 0 else 'produce'} {size} less"
        lines.append(f"infeasible: {what} {gives}{when}")
    if len(result.conflict) > MOST_NAMED:
        lines.append(f"infeasible: and {len(result.conflict) - MOST_NAMED} more (--json lists all)")
    return lines


def _show_totals(console: Console, result: Result) -> None:
    scale = _largest(result)
    lines = []
    if result.objective is not None:
        lines.append(("objective", f"{result.objective:.9g} (welfare {0.0 - result.objective:.9g})"))
    sold = np.maximum(result.net_sold, 0.0).sum(axis=0)
    lines.append(("sold among peers", f"{_span(sold, scale)} {result.unit}"))
    if (result.imported > NEGLIGIBLE * scale).any() or (result.exported > NEGLIGIBLE * scale).any():
        imported, exported = result.imported.sum(axis=0), result.exported.sum(axis=0)
        lines.append(("grid", f"imports {_span(imported, scale)}, exports {_span(exported, scale)} {result.unit}"))
    if (known := result.certificate) is not None:
        text = (
            f"gap {known.gap:.2g}, lower bound {known.lower_bound:.9g}, primal residual {known.primal_residual:.2g}, "
            f"dual residual {known.dual_residual:.2g}"
        )
        lines.append(("certificate", text))
    for name, text in lines:
        console.print(f"{name:<18}{text}", soft_wrap=True)


def _show_peers(console: Console, result: Result) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    least_to_most = ", least to most" if result.mtus > 1 else ""
    for heading in ("peer", "asset", f"power{least_to_most} ({result.unit})", f"price{least_to_most}"):
        table.add_column(heading, justify="left" if heading in {"peer", "asset"} else "right", overflow="fold")
    scale = _largest(result)
    for n, peer in enumerate(result.peers[:MOST_PEERS]):
        price = _span(result.price[n])
        assets: list[tuple[str, Floats | None]] = [*result.powers.get(peer, {}).items()] or [("", None)]
        for k, (asset, power) in enumerate(assets):
            first = k == 0
            table.add_row(
                escape(peer) if first else "",
                escape(asset),
                "" if power is None else _span(power, scale),
                price if first else "",
            )
    print_table(console, table)
    _show_rest(console, len(result.peers) - MOST_PEERS, "peers")


def _show_trades(console: Console, result: Result) -> None:
    if not result.trades:
        console.print("no trades")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    several = result.mtus > 1
    for heading in ("seller", "buyer", *(["MTU"] if several else []), f"power ({result.unit})", "Wh", "price"):
        table.add_column(heading, justify="left" if heading in {"seller", "buyer"} else "right", overflow="fold")
    largest = sorted(result.trades, key=lambda row: (-row.energy_wh, row.mtu, row.seller, row.buyer))
    for row in largest[:MOST_TRADES]:
        table.add_row(
            escape(row.seller),
            escape(row.buyer),
            *([str(row.mtu)] if several else []),
            f"{row.power:.6g}",
            str(row.energy_wh),
            "" if row.price is None else f"{row.price:.6g}",
        )
    print_table(console, table)
    _show_rest(console, len(result.trades) - MOST_TRADES, "smaller trades")


def _show_rest(console: Console, count: int, what: str) -> None:
    if count > 0:
        console.print(f"and {count} {what} more (--json lists all)")


def _show_limits(console: Console, result: Result) -> None:
    for name, price in result.limit_price.items():
        if (np.abs(price) > 1e-9).any():
            console.print(f"limit {escape(name)} binds, price {_span(price)}", soft_wrap=True)


def _span(values: Floats, scale: float = 0.0) -> str:
    """One number, or the least and the largest of several."""
    known = values[~np.isnan(values)]
    if not known.size:
        return ""
    low, high = (float(np.where(abs(end) < NEGLIGIBLE * scale, 0.0, end)) + 0.0 for end in (known.min(), known.max()))
    if high - low <= NEGLIGIBLE * max(abs(low), abs(high)):
        return f"{low:.6g}"
    return f"{low:.6g} to {high:.6g}"


def _largest(result: Result) -> float:
    """The largest power."""
    largest = max(
        (float(np.abs(row).max()) for assets in result.powers.values() for row in assets.values()), default=0.0
    )
    return max(largest, DUST / NEGLIGIBLE)
