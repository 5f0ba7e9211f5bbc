"""The terminal's side of ``gridpact schema``: the JSON Schema of a format."""

import argparse

from controller.case.schema import case_schema
from controller.exit_codes import OK


def run(arguments: argparse.Namespace) -> int:
    """Print the schema of a format; returns the exit code."""
    if arguments.format == "case":
        print(case_schema(), end="")
    else:
        # The community's tables bring the optimisation along, which a case's schema does not need.
        from controller.plan.schema import community_schema

        print(community_schema(), end="")
    return OK
