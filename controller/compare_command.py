"""The terminal's side of ``gridpact compare``: one case in, the market designs side by side out."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controller.case.comparing import DesignComparison, DesignFigures, compare_designs, served
from controller.case.reading import read_case
from controller.case.show import print_table
from controller.case.solving import Options
from controller.clear_command import check_scenario, fee_of
from controller.errors import InputError
from controller.exit_codes import BAD_INPUT, INFEASIBLE, INTERRUPTED, NO_CERTIFIED_RESULT, OK

MOST_NAMED = 5


def run(arguments: argparse.Namespace) -> int:
    """Compare the designs on a case; returns the exit code."""
    try:
        _check_out(arguments.out)
        case = read_case(arguments.path, arguments.case)
        check_scenario(arguments)
        comparison = compare_designs(
            case,
            fee_per_side=fee_of(case, arguments),
            link_limit=np.inf if arguments.link_limit is None else arguments.link_limit,
            options=Options(solver=arguments.solver, tolerance=arguments.tolerance),
        )
        if arguments.out is not None:
            _write(comparison, arguments.out)
    except (InputError, OSError) as err:
        print(f"gridpact compare: {err}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("gridpact compare: interrupted", file=sys.stderr)
        return INTERRUPTED
    if arguments.json:
        print(json.dumps(comparison.as_json(), allow_nan=False))
    else:
        _show(Console(highlight=False), comparison)
        if arguments.out is not None:
            print(f"picture in {arguments.out}")
    return _exit_code(comparison)


def _exit_code(comparison: DesignComparison) -> int:
    if any(figures.status == "unsolved" for figures in comparison.designs):
        return NO_CERTIFIED_RESULT
    if served(comparison.designs):
        return OK
    return NO_CERTIFIED_RESULT if any(figures.status == "cleared" for figures in comparison.designs) else INFEASIBLE


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix not in {".html", ".svg"}:
        raise InputError(f"--out: got {str(out)!r}, wanted a name that ends in .html or .svg")
    if not out.parent.is_dir():
        raise InputError(f"--out: got {str(out)!r}, wanted a file in a folder that exists")


def _write(comparison: DesignComparison, out: Path) -> None:
    from controller.case.page import page
    from controller.case.picture import draw

    text = draw(comparison) if out.suffix == ".svg" else page(comparison)
    out.write_text(text, encoding="utf-8", newline="\n")


def _show(console: Console, comparison: DesignComparison) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("design", "welfare", "traded", "import", "export", "price", "borne", "win", "lose"):
        table.add_column(heading, justify="left" if heading == "design" else "right", no_wrap=True)
    for figures in comparison.designs:
        table.add_row(*_row(figures))
    money = f", welfare in {comparison.currency}" if comparison.currency else ""
    price = f", prices in {comparison.price_unit}" if comparison.price_unit else ""
    console.print(
        f"{escape(comparison.case)}: {comparison.peers} peers, fee {comparison.fee_per_side:g} per side, energy in "
        f"{comparison.unit}h{escape(money + price)}",
        soft_wrap=True,
    )
    print_table(console, table)
    console.print(_against(comparison), soft_wrap=True)
    console.print("borne: what buyers bear, with fees, network charges and preferences", soft_wrap=True)
    if comparison.proviso:
        console.print(comparison.proviso, soft_wrap=True)
    for figures in comparison.designs:
        if figures.reason:
            console.print(f"{figures.design}: {escape(figures.reason)}", soft_wrap=True)
        if figures.design != comparison.baseline and (known := _extremes(figures)):
            console.print(f"{figures.design}: {escape(known)}", soft_wrap=True)


def _row(figures: DesignFigures) -> tuple[str, ...]:
    if not figures.answered:
        return figures.design, f"[red]{figures.status}[/]", *[""] * 7
    known = any(gain.amount is not None for gain in figures.gains)
    return (
        figures.design,
        "*" if figures.welfare is None else f"{figures.welfare:.6g}",
        _amount(figures.volume),
        _amount(figures.imported),
        _amount(figures.exported),
        "" if figures.price_mean is None else f"{figures.price_mean:.5g}",
        "" if figures.price_borne is None else f"{figures.price_borne:.5g}",
        str(figures.winners) if known else "",
        str(figures.losers) if known else "",
    )


def _amount(value: float) -> str:
    return f"{value:.5g}" if value > 1e-9 else "0"


def _against(comparison: DesignComparison) -> str:
    starred = any(figures.answered and not figures.compares for figures in comparison.designs)
    note = "; * somebody is unserved or a limit exceeded, so the welfare does not compare" if starred else ""
    if not comparison.baseline:
        return f"no design serves everybody and keeps every limit, so nobody wins or loses{note}"
    return f"winners and losers against {comparison.baseline}{note}"


def _extremes(figures: DesignFigures) -> str:
    """Who wins and loses most."""
    known = sorted(
        ((gain.amount, gain.peer) for gain in figures.gains if gain.amount is not None),
        key=lambda one: (-one[0], one[1]),
    )
    parts = []
    if figures.winners:
        best = [f"{peer} {amount:+.4g}" for amount, peer in known[: min(MOST_NAMED, figures.winners)]]
        parts.append(f"most won: {', '.join(best)}")
    if figures.losers:
        worst = [f"{peer} {amount:+.4g}" for amount, peer in known[::-1][: min(MOST_NAMED, figures.losers)]]
        parts.append(f"most lost: {', '.join(worst)}")
    return "; ".join(parts)
