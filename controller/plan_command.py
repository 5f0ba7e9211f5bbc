"""The terminal's side of ``gridpact plan``: a community in, its certified plan out."""

import argparse
import json
import sys
from time import monotonic

from rich.console import Console

from controller.compiling import COMPILING, telling
from controller.errors import InputError
from controller.exit_codes import BAD_INPUT, INFEASIBLE, INTERRUPTED, NO_CERTIFIED_RESULT, OK
from controller.plan.planning import PlanOptions, find_impossible, plan_community
from controller.plan.reading import CommunityFile, read_community
from controller.plan.result import Plan, as_json
from controller.plan.show import shortfall_lines, show

LONGEST_DEADLINE = 86_400.0
MOST_NAMED = 20


def run(arguments: argparse.Namespace) -> int:
    """Plan a community; returns the exit code."""
    began = monotonic()
    try:
        _check(arguments)
        given = read_community(arguments.path)
        if not _check_tasks(given, arguments):
            return BAD_INPUT
        deadline = arguments.deadline
        left = None if deadline is None else (lambda: float(deadline) - (monotonic() - began))
        with telling(_say_compiling):
            plan = plan_community(given, PlanOptions(solver=arguments.solver, gap=arguments.gap, left=left))
    except InputError as err:
        print(f"gridpact plan: {err}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("gridpact plan: interrupted", file=sys.stderr)
        return INTERRUPTED
    if arguments.json:
        json.dump(as_json(plan), sys.stdout, allow_nan=False, separators=(",", ":"))
        print()
        for line in [*([plan.reason] if plan.reason else []), *shortfall_lines(plan)]:
            print(f"gridpact plan: {line}", file=sys.stderr)
    else:
        show(Console(highlight=False), plan, everything=arguments.all)
    return exit_code(plan)


def exit_code(plan: Plan) -> int:
    """The exit code that says what came out."""
    match plan.status:
        case "INFEASIBLE":
            return INFEASIBLE
        case "UNSOLVED":
            return NO_CERTIFIED_RESULT
        case _:
            return OK


def _say_compiling() -> None:
    """To whoever waits, at a terminal or in a log: without it a minute of silence looks like a failure."""
    print(f"gridpact plan: {COMPILING}", file=sys.stderr, flush=True)


def _check(arguments: argparse.Namespace) -> None:
    for name, lowest, highest in (("deadline", 0.0, LONGEST_DEADLINE), ("gap", 0.0, 1.0)):
        value = getattr(arguments, name)
        if value is not None and not lowest <= value <= highest:
            raise InputError(f"--{name}: got {value:g}, wanted {lowest:g} to {highest:g}")


def _check_tasks(given: CommunityFile, arguments: argparse.Namespace) -> bool:
    """Name what devices cannot do; returns whether planning goes on."""
    impossible = find_impossible(given.community)
    goes_on = arguments.allow_shortfall or not impossible.tasks
    for task in impossible.reserves[:MOST_NAMED]:
        print(f"gridpact plan: {arguments.path}: {task}; it is not drawn on", file=sys.stderr)
    for task in impossible.tasks[:MOST_NAMED]:
        print(f"gridpact plan: {arguments.path}: {task}", file=sys.stderr)
    if (more := len(impossible.tasks) - MOST_NAMED) > 0:
        print(f"gridpact plan: {arguments.path}: and {more} more impossible tasks", file=sys.stderr)
    return goes_on
