"""The terminal's side of ``gridpact journal``: whether what the service wrote down is what stands there."""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from controller.access_journal import Entry, verify
from controller.config import load_config
from controller.errors import ControllerError, InputError, StoreError
from controller.exit_codes import BAD_INPUT, CHECK_FAILED, OK
from controller.limits.journal import inspect
from controller.limits.restoring import first_other
from controller.store import accesses, limits
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
    head : number and hash of the last of them as ``NUMBER:HASH``; empty where there is none
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
    head = _head("--head", arguments.head)
    limits_head = _head("--limits-head", arguments.limits_head)
    if head is not None and arguments.microgrid is None:
        raise InputError("--head: got one without --microgrid, wanted to know whose it is")
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
        copied = limits.journaled(connection)
    # After the database, which knows nothing that the journal did not hold before.
    if copied or limits_head is not None or (data / LIMITS).exists():
        yield _limits(data / LIMITS, copied, limits_head)


def _head(option: str, stated: str | None) -> tuple[int, bytes] | None:
    if stated is None:
        return None
    match = HEAD.fullmatch(stated)
    if match is None:
        raise InputError(f"{option}: got {stated!r}, wanted NUMBER:HASH as it was printed earlier")
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


def _limits(path: Path, copied: Sequence[Mapping[str, Any]], head: tuple[int, bytes] | None) -> Finding:
    try:
        found = inspect(path)
    except StoreError as err:
        return Finding(journal="limits", count=0, broken=str(err))
    count = len(found.records)
    other = first_other(found.records, copied)
    broken = ""
    if other is not None:
        broken = f"record {other}: not the one that the database knows"
    elif count < len(copied):
        broken = f"record {count + 1}: missing at the end, the database knows {len(copied):,}"
    elif head is not None and head[0] > count:
        broken = f"record {head[0]}: missing at the end, and was seen earlier"
    elif head is not None and found.digests[head[0] - 1] != head[1].hex():
        broken = f"record {head[0]}: another than was seen earlier"
    note = f"{found.rest} bytes after the last record: being written, or torn by a loss of power" if found.rest else ""
    last = f"{count}:{found.digests[-1]}" if count else ""
    return Finding(journal="limits", count=count, head=last, broken=broken, note=note)


def _line(finding: Finding) -> str:
    if finding.broken:
        return f"BROKEN  {finding.journal}: {finding.broken}"
    records = "record" if finding.count == 1 else "records"
    head = f", head {finding.head}" if finding.head else ""
    note = f" ({finding.note})" if finding.note else ""
    return f"holds   {finding.journal}: {finding.count:,} {records}{head}{note}"
