"""The terminal's side of ``gridpact backup`` and ``gridpact restore``."""

import argparse
import sys
from pathlib import Path

from controller.clock import SystemClock
from controller.config import load_config
from controller.errors import ControllerError
from controller.exit_codes import BAD_INPUT, OK
from controller.store.backup import Summary, back_up, restore


def run(arguments: argparse.Namespace) -> int:
    """Back up or restore; returns the exit code."""
    try:
        overrides = {"data": arguments.data, "pki": Path()}
        if arguments.database is not None:
            overrides["database_url"] = arguments.database
        url = load_config(arguments.config, overrides).database
        now = int(SystemClock().now())
        if arguments.command == "backup":
            _say(arguments.out, back_up(arguments.data, url, arguments.out, instant=now))
        else:
            _say(arguments.data, restore(arguments.file, arguments.data, url, instant=now))
    except ControllerError as err:
        print(f"gridpact {arguments.command}: {' '.join(str(err).split())}", file=sys.stderr)
        return BAD_INPUT
    return OK


def _say(place: Path, summary: Summary) -> None:
    for name, size in summary.parts.items():
        print(f"{size:>14,} bytes  {name}")
    print(f"{place} {summary.digest}")
