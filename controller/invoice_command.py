"""The terminal's side of ``gridpact invoice``: what a member owes and is owed, as JSON or as a page to print."""

import argparse
import calendar
import json
import os
import re
import sys
from pathlib import Path

from controller.errors import ControllerError, InputError
from controller.exit_codes import BAD_INPUT, CHECK_FAILED, OK
from controller.status_command import check_service


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print or write; returns the exit code."""
    # What gRPC itself would write arrives as an error, which is said in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from controller.invoice_page import render
    from controller.pki_files import read_client, read_identity
    from controller.services.invoice_client import as_json, ask

    try:
        check_service(arguments)
        first, last = _days(arguments)
        files = read_client(arguments.pki, arguments.identity)
        grid = read_identity(arguments.pki, arguments.identity).grid
        invoice = ask(
            arguments.listen,
            files,
            f"microgrids/{grid}/members/{arguments.member}",
            first_day=first,
            last_day=last,
            by_mtu=arguments.by_mtu,
            timeout_s=arguments.timeout,
        )
        if arguments.html is not None:
            _write(arguments.html, render(invoice))
    except InputError as err:
        print(f"gridpact invoice: {err}", file=sys.stderr)
        return BAD_INPUT
    except ControllerError as err:
        print(f"gridpact invoice: {' '.join(str(err).split())}", file=sys.stderr)
        return CHECK_FAILED
    if arguments.html is None:
        print(json.dumps(as_json(invoice), indent=1, sort_keys=True))
    return OK


def _days(arguments: argparse.Namespace) -> tuple[str, str]:
    first, last, month = arguments.from_, arguments.to, arguments.month
    if (month is None) is (first is None) or (first is None) is not (last is None):
        raise InputError("days: got neither or both, wanted --month YYYY-MM, or --from and --to YYYY-MM-DD")
    if month is None:
        return str(first), str(last)
    match = re.fullmatch(r"(20\d\d)-(0[1-9]|1[0-2])", month)
    if match is None:
        raise InputError(f"--month: got {month!r}, wanted YYYY-MM")
    return f"{month}-01", f"{month}-{calendar.monthrange(int(match[1]), int(match[2]))[1]}"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as err:
        raise InputError(f"--html {path}: cannot be written: {err.strerror or err}") from err
