"""The terminal's side of ``gridpact clear``: a case and options in, one clearing out."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from controller.case.answer import as_json
from controller.case.expected import TOLERANCE, Comparison, compare
from controller.case.format import BILATERAL, Case
from controller.case.reading import read_case
from controller.case.result import Result
from controller.case.show import conflict_lines, show
from controller.case.solving import Options, Solved, solve_case, solver_of
from controller.case.start import read_start
from controller.errors import InputError
from controller.exit_codes import BAD_INPUT, CHECK_FAILED, INFEASIBLE, INTERRUPTED, NO_CERTIFIED_RESULT, OK
from optimization.market import LARGEST, Market
from optimization.market_clearing import MarketClearing

ADMM_ONLY = ("scheme", "penalty", "max_iterations", "start")


def run(arguments: argparse.Namespace) -> int:
    """Clear a case; returns the exit code."""
    try:
        case = read_case(arguments.path, arguments.case)
        check_scenario(arguments)
        options = _options(arguments, case)
        result, compared = _clear(case, arguments, options)
    except InputError as err:
        print(f"gridpact clear: {err}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("gridpact clear: interrupted", file=sys.stderr)
        return INTERRUPTED
    if arguments.json:
        print(json.dumps({**as_json(result), "expected": compared}, allow_nan=False))
        for line in [*conflict_lines(result), *([result.reason] if result.reason else [])]:
            print(f"gridpact clear: {line}", file=sys.stderr)
    else:
        show(Console(highlight=False), result, compared)
    return exit_code(result, compared)


def exit_code(result: Result, compared: list[Comparison]) -> int:
    """The exit code that says what came out."""
    match result.status:
        case "infeasible":
            return INFEASIBLE
        case "unsolved":
            return NO_CERTIFIED_RESULT
        case _ if result.reason:
            return NO_CERTIFIED_RESULT
        case _:
            return OK if all(entry["ok"] for entry in compared) else CHECK_FAILED


def check_scenario(arguments: argparse.Namespace) -> None:
    """Refuse options that are no numbers of their kind."""
    for name, lowest, highest in (
        ("fee", 0.0, LARGEST),
        ("link_limit", 0.0, LARGEST),
        ("tolerance", 1e-14, 0.1),
        ("penalty", 1e-12, 1e12),
        ("max_iterations", 1, 10**9),
    ):
        value = getattr(arguments, name, None)
        if value is not None and not lowest <= value <= highest:
            raise InputError(f"--{name.replace('_', '-')}: got {value:g}, wanted {lowest:g} to {highest:g}")


def fee_of(case: Case, arguments: argparse.Namespace) -> float:
    """The fee per side that is meant: the option's, else the case's."""
    return case.fee_per_side if arguments.fee is None else float(arguments.fee)


def _options(arguments: argparse.Namespace, case: Case) -> Options:
    for name in ADMM_ONLY:
        if getattr(arguments, name) is not None and arguments.solver != "admm":
            raise InputError(f"--{name.replace('_', '-')}: got it without --solver admm, wanted both or neither")
    if arguments.start is not None and arguments.market != BILATERAL:
        raise InputError(f"--start: got it with --market {arguments.market}, wanted it with {BILATERAL}")
    return Options(
        solver=arguments.solver,
        tolerance=arguments.tolerance,
        scheme=arguments.scheme,
        penalty=arguments.penalty,
        max_iterations=arguments.max_iterations,
        start=None if arguments.start is None else read_start(Path(arguments.start), case),
    )


def _clear(case: Case, arguments: argparse.Namespace, options: Options) -> tuple[Result, list[Comparison]]:
    fee = fee_of(case, arguments)
    limit = np.inf if arguments.link_limit is None else arguments.link_limit
    if arguments.market != BILATERAL:
        from controller.case.designing import clear_design

        result = clear_design(case, arguments.market, fee_per_side=fee, link_limit=limit, options=options)
        solved = Solved(result=result, clearing=None)
    else:
        market = case.scenario(fee_per_side=fee, link_limit=limit)
        solved = solve_case(case, market, options)
        result = solved.result
    if result.status not in {"optimal", "cleared"}:
        return result, []
    warm = _warm_start(case.scenario(fee_per_side=fee, link_limit=limit), options, solved.clearing)
    compared: list[Comparison] = []
    for expected in case.expected:
        if expected.belongs_to(fee_per_side=fee, link_limit=limit, market=arguments.market):
            tolerance = max(TOLERANCE, options.tolerance or 0.0)
            compared += compare(case, expected, result, tolerance=tolerance, warm_start=warm)
    return result, compared


def _warm_start(market: Market, options: Options, clearing: MarketClearing | None) -> Callable[[], int] | None:
    """Counts the iterations from a clearing; None for a solver that starts from nothing."""
    if options.solver != "admm" or clearing is None:
        return None

    def iterations() -> int:
        again = solver_of(replace(options, start=clearing))(market)
        return again.iterations if isinstance(again, MarketClearing) else -1

    return iterations
