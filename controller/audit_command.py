"""The terminal's side of ``gridpact audit``: whether the store is what its headers and batches commit to."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from contracts.errors import ContractsError
from contracts.report import Check, Report
from controller.audit_sources import audit_sources
from controller.auditing import audit_books
from controller.config import load_config
from controller.errors import ControllerError, InputError
from controller.exit_codes import BAD_INPUT, CHECK_FAILED, OK
from controller.store import registry
from controller.store.looking import looking

SHOWN = 20
"""As many differences of a check are printed; all of them with ``--json``."""


def run(arguments: argparse.Namespace) -> int:
    """Rebuild, compare and say; returns the exit code."""
    try:
        reports = list(_reports(arguments))
    except (ControllerError, ContractsError) as err:
        print(f"gridpact audit: {' '.join(str(err).split())}", file=sys.stderr)
        return BAD_INPUT
    if arguments.json:
        print(json.dumps({"microgrids": [_object(report) for report in reports]}, indent=1, sort_keys=True))
    else:
        print("\n".join(line for report in reports for line in _lines(report)) or "nothing is settled yet")
    return OK if all(report.ok for report in reports) else CHECK_FAILED


def _reports(arguments: argparse.Namespace) -> Iterator[Report]:
    data: Path = arguments.data
    if not data.is_dir():
        raise InputError(f"--data {data}: got no folder, wanted a service's")
    overrides = {"data": data, "pki": Path()}
    if arguments.database is not None:
        overrides["database_url"] = arguments.database
    config = load_config(arguments.config, overrides)
    with looking(config.database) as connection:
        known = registry.microgrid_ids(connection)
        if arguments.microgrid is not None and arguments.microgrid not in known:
            raise InputError(f"--microgrid: got {arguments.microgrid!r}, wanted one of {', '.join(known) or 'none'}")
        for microgrid in known if arguments.microgrid is None else [arguments.microgrid]:
            checks = (*audit_books(connection, microgrid), *audit_sources(connection, microgrid))
            yield Report(subject=f"microgrids/{microgrid}", checks=checks)


def _object(report: Report) -> dict[str, object]:
    return {
        "microgrid": report.subject,
        "ok": report.ok,
        "first": report.failures[0] if report.failures else None,
        "checks": [{"name": check.name, "differences": check.failures} for check in report.checks],
    }


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.subject}:"
    for check in report.checks:
        yield from _check_lines(check)
    if report.ok:
        yield f"HOLDS: {report.subject}: all {len(report.checks)} checks passed"
    else:
        count = len(report.failures)
        yield f"DIFFERS: {report.subject}: {count:,} difference{'s' * (count != 1)}, the first: {report.failures[0]}"


def _check_lines(check: Check) -> Iterator[str]:
    yield f"{'DIFFERS' if check.failures else 'holds':8}{check.name}"
    for failure in check.failures[:SHOWN]:
        yield f"        {failure}"
    if len(check.failures) > SHOWN:
        yield f"        and {len(check.failures) - SHOWN:,} more"
