"""The terminal's side of ``gridpact audit``: whether the store is what its headers and batches commit to."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection

from contracts.chain import Chain
from contracts.chain_evidence import read_address
from contracts.errors import ContractsError
from contracts.report import Check, Report
from contracts.rpc_chain import RpcChain
from controller.audit_chain import audit_anchors, audit_blocks, audit_rotations, audit_signatures
from controller.audit_sources import audit_sources
from controller.auditing import audit_books
from controller.beginning import CHAIN_FILE, Beginning, read_beginning, replayed
from controller.config import load_config
from controller.errors import ControllerError, InputError
from controller.exit_codes import BAD_INPUT, CHECK_FAILED, OK
from controller.store import registry
from controller.store.looking import looking
from controller.store.outbox import all_attempts

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
    beginning = _beginning(data, arguments)
    with looking(config.database) as connection:
        known = registry.microgrid_ids(connection)
        if arguments.microgrid is not None and arguments.microgrid not in known:
            raise InputError(f"--microgrid: got {arguments.microgrid!r}, wanted one of {', '.join(known) or 'none'}")
        chain = None if beginning is None else _chain(connection, beginning, arguments.rpc)
        for microgrid in known if arguments.microgrid is None else [arguments.microgrid]:
            checks = [*audit_books(connection, microgrid), *audit_sources(connection, microgrid)]
            if beginning is not None:
                checks.append(audit_signatures(connection, microgrid, beginning.registry.domain))
                checks.append(audit_rotations(connection, beginning.registry.domain))
            if beginning is not None and chain is not None:
                checks.append(audit_anchors(connection, microgrid, chain, beginning.registry))
                if beginning.genesis is None:
                    checks.append(audit_blocks(connection, microgrid, chain))
            yield Report(subject=f"microgrids/{microgrid}", checks=tuple(checks), caveat=_unasked(beginning, chain))


def _beginning(data: Path, arguments: argparse.Namespace) -> Beginning | None:
    """What the service's chain starts from; None where nothing was ever anchored."""
    path = data / CHAIN_FILE
    beginning = read_beginning(path) if path.exists() else None
    if arguments.contract is not None:
        wanted = read_address(arguments.contract.lower(), "--contract")
        if beginning is None or beginning.registry.address != wanted:
            got = "none" if beginning is None else beginning.registry.address
            raise InputError(f"--contract: got {wanted}, and the service anchors in {got}")
    if arguments.rpc is not None and (beginning is None or beginning.genesis is not None):
        got = f"no {path}" if beginning is None else f"{path} of an embedded chain"
        raise InputError(f"--rpc: got {got}, wanted that of a service which anchors behind a URL")
    return beginning


def _chain(connection: Connection, beginning: Beginning, rpc: str | None) -> Chain | None:
    """The chain to ask; None for one behind a URL that was not given."""
    if beginning.genesis is not None:
        return replayed(beginning.genesis, beginning.deployment, all_attempts(connection))
    if rpc is None:
        return None
    chain = RpcChain(rpc)
    if chain.block_hash(0) != beginning.genesis_hash:
        raise InputError(f"--rpc {rpc}: got another chain than the service anchors on: its first block differs")
    return chain


def _unasked(beginning: Beginning | None, chain: Chain | None) -> str:
    """What the checks rest on besides."""
    if beginning is None:
        return "nothing was anchored yet: there is no chain to compare with"
    if chain is None:
        return f"contract {beginning.registry.address} holds these batches: give --rpc to ask it"
    if beginning.genesis is not None:
        return "the chain is the service's own, rebuilt from its store"
    return ""


def _object(report: Report) -> dict[str, object]:
    return {
        "microgrid": report.subject,
        "ok": report.ok,
        "caveat": report.caveat,
        "first": report.failures[0] if report.failures else None,
        "checks": [{"name": check.name, "differences": check.failures} for check in report.checks],
    }


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.subject}:"
    for check in report.checks:
        yield from _check_lines(check)
    if report.ok:
        rests = f"; {report.caveat}" if report.caveat else ""
        yield f"HOLDS: {report.subject}: all {len(report.checks)} checks passed{rests}"
    else:
        count = len(report.failures)
        yield f"DIFFERS: {report.subject}: {count:,} difference{'s' * (count != 1)}, the first: {report.failures[0]}"


def _check_lines(check: Check) -> Iterator[str]:
    yield f"{'DIFFERS' if check.failures else 'holds':8}{check.name}"
    for failure in check.failures[:SHOWN]:
        yield f"        {failure}"
    if len(check.failures) > SHOWN:
        yield f"        and {len(check.failures) - SHOWN:,} more"
