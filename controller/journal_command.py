"""The terminal's side of ``gridpact journal``: whether what the service wrote down is what stands there."""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection

from controller.access_journal import Entry, verify
from controller.config import load_config
from controller.errors import ControllerError, InputError, StoreError
from controller.exit_codes import BAD_INPUT, CHECK_FAILED, OK
from controller.limits.journal import inspect
from controller.store import accesses
from controller.store.looking import looking

LIMITS = "limits.journal"
HEAD = re.compile(r"(?P<number>[1-9]\d{0,17}):(?P<hash>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one journal is found to be.

    Attributes
    ----------
    journal : ``limits``, or ``access`` and a microgrid
    count : of records that were read and hold
    head : number and hash of the last of them as ``NUMBER:HASH``; empty for the limits, and where there is none
    broken : what is wrong with the first record that does not hold; empty where all do
    note : what is worth knowing besides
    """

    journal: str
    count: int
    head: str = ""
    broken: str = ""
    note: str = ""


class _Read:
    """Entries, and the last one that was taken."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = entries
        self.last: Entry | None = None
        self.count = 0

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._entries:
            yield entry
            # Only who asks for the next one was content with this one.
            self.last, self.count = entry, self.count + 1


def run(arguments: argparse.Namespace) -> int:
    """Check and say; returns the exit code."""
    try:
        findings = list(_findings(arguments))
    except ControllerError as err:
        print(f"gridpact journal: {' '.join(str(err).split())}", file=sys.stderr)
        return BAD_INPUT
    if arguments.json:
        print(json.dumps({"journals": [asdict(finding) for finding in findings]}, indent=1, sort_keys=True))
    else:
        print("\n".join(map(_line, findings)) or "nothing is written yet")
    return CHECK_FAILED if any(finding.broken for finding in findings) else OK


def _findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    data: Path = arguments.data
    head = _head(arguments)
    if not data.is_dir():
        raise InputError(f"--data {data}: got no folder, wanted a service's")
    overrides = {"data": data, "pki": Path()}
    if arguments.database is not None:
        overrides["database_url"] = arguments.database
    with looking(load_config(arguments.config, overrides).database) as connection:
        known = accesses.microgrids(connection)
        if arguments.microgrid is not None and arguments.microgrid not in known and head is None:
            raise InputError(f"--microgrid: got {arguments.microgrid!r}, wanted one with a journal: {', '.join(known)}")
        for microgrid in known if arguments.microgrid is None else [arguments.microgrid]:
            yield _access(connection, microgrid, head)
    if (data / LIMITS).exists():
        yield _limits(data / LIMITS)


def _head(arguments: argparse.Namespace) -> tuple[int, bytes] | None:
    if arguments.head is None:
        return None
    match = HEAD.fullmatch(arguments.head)
    if match is None:
        raise InputError(f"--head: got {arguments.head!r}, wanted NUMBER:HASH as it was printed earlier")
    if arguments.microgrid is None:
        raise InputError("--head: got one without --microgrid, wanted to know whose it is")
    return int(match["number"]), bytes.fromhex(match["hash"])


def _access(connection: Connection, microgrid: str, head: tuple[int, bytes] | None) -> Finding:
    read = _Read(accesses.stream(connection, microgrid))
    broken = verify(read, head=head)
    return Finding(
        journal=f"access {microgrid}",
        count=read.count,
        head="" if read.last is None else f"{read.last.number}:{read.last.hash.hex()}",
        broken=broken,
    )


def _limits(path: Path) -> Finding:
    try:
        count, rest = inspect(path)
    except StoreError as err:
        return Finding(journal="limits", count=0, broken=str(err))
    note = f"{rest} bytes after the last record: being written, or torn by a loss of power" if rest else ""
    return Finding(journal="limits", count=count, note=note)


def _line(finding: Finding) -> str:
    if finding.broken:
        return f"BROKEN  {finding.journal}: {finding.broken}"
    records = "record" if finding.count == 1 else "records"
    head = f", head {finding.head}" if finding.head else ""
    note = f" ({finding.note})" if finding.note else ""
    return f"holds   {finding.journal}: {finding.count:,} {records}{head}{note}"
