"""The terminal's side of ``gridpact pki``: a development authority, and identities of it."""

import argparse
import sys

from controller.errors import InputError
from controller.exit_codes import BAD_INPUT, OK
from controller.pki_files import init, issue

MOST_DAYS = 3650


def run(arguments: argparse.Namespace) -> int:
    """Make files; returns the exit code."""
    try:
        _check_days(arguments.days)
        if arguments.action == "init":
            written = init(arguments.dir, grid=arguments.grid, days=arguments.days, hosts=arguments.host)
        else:
            written = issue(
                arguments.dir,
                arguments.uri,
                name=arguments.out,
                days=arguments.days,
                hosts=arguments.host,
                replace=arguments.replace,
            )
    except InputError as err:
        print(f"gridpact pki {arguments.action}: {err}", file=sys.stderr)
        return BAD_INPUT
    for path in written:
        print(path)
    return OK


def _check_days(days: int) -> None:
    if not 1 <= days <= MOST_DAYS:
        raise InputError(f"--days: got {days}, wanted 1 to {MOST_DAYS}")
