"""The terminal's side of ``gridpact gas``: what anchoring costs, measured on a chain within the program."""

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

from contracts.gas import DAY, PUBLISHED, PUBLISHED_MARGINAL, PUBLISHED_TOTAL, THRESHOLD, VALIDATORS, GasReport, measure
from controller.case.show import print_table
from controller.exit_codes import BAD_INPUT, INTERRUPTED, OK


def run(arguments: argparse.Namespace) -> int:
    """Measure and show; returns the exit code."""
    if arguments.out is not None and not arguments.out.is_dir():
        print(f"gridpact gas: --out: got {arguments.out}, wanted a folder that is there", file=sys.stderr)
        return BAD_INPUT
    try:
        report = measure()
        if arguments.out is not None:
            _write(report, arguments)
    except OSError as err:
        print(f"gridpact gas: {err}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("gridpact gas: interrupted", file=sys.stderr)
        return INTERRUPTED
    if arguments.json:
        print(json.dumps(report.as_json(), allow_nan=False))
    else:
        _show(Console(highlight=False), report)
    return OK


def _write(report: GasReport, arguments: argparse.Namespace) -> None:
    from controller.gas_page import page
    from controller.gas_picture import draw

    (arguments.out / "gas.md").write_text(page(report), encoding="utf-8")
    (arguments.out / "gas.svg").write_text(draw(report), encoding="utf-8")


def _show(console: Console, report: GasReport) -> None:
    console.print(f"Gas with {THRESHOLD} of {VALIDATORS} validators' signatures, measured on the embedded chain\n")
    operations = _table("operation", "gas")
    for name, gas in report.operations.items():
        operations.add_row(name, f"{gas:,}")
    print_table(console, operations)
    console.print()
    trades = _table("trades in a window", "gas per trade", f"in a batch of {DAY} windows")
    for count, share in report.per_trade.items():
        trades.add_row(f"{count:,}", f"{share:,.1f}", f"{report.per_trade_of_day[count]:,.2f}")
    print_table(console, trades)
    published = ", ".join(f"{name} {gas:,}" for name, gas in PUBLISHED.items())
    console.print(
        f"\nEnergyAuction (Condon et al. 2023, Table 3): {published};"
        f"\none trade in all {PUBLISHED_TOTAL:,}, each further one of a window {PUBLISHED_MARGINAL:,}",
        soft_wrap=True,
    )


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")
    return table
