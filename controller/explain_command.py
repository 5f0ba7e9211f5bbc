"""The terminal's side of ``gridpact explain``: a plan and a device in, the reasons out."""

import argparse
import json
import sys

from rich.console import Console

from controller.errors import InputError
from controller.exit_codes import BAD_INPUT, INTERRUPTED, OK
from controller.plan.explaining import as_json, explain
from controller.plan.planned import read_plan
from controller.plan.show_explanation import show_explanation


def run(arguments: argparse.Namespace) -> int:
    """Explain a device of a plan; returns the exit code."""
    try:
        plan = read_plan(arguments.path)
        explanation = explain(plan, arguments.device)
    except InputError as err:
        print(f"gridpact explain: {err}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("gridpact explain: interrupted", file=sys.stderr)
        return INTERRUPTED
    if arguments.json:
        print(json.dumps(as_json(plan, explanation), allow_nan=False))
    else:
        show_explanation(Console(highlight=False), plan, explanation)
    return OK
