"""The controller's own SQLite database beside the evidence, compared with it row for row."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from contracts.errors import EvidenceError
from contracts.evidence import Evidence, file_of
from contracts.leaves import Leaf
from contracts.report import Check
from contracts.runs import KINDS

DATABASE = Path("run", "gridpact.sqlite")
"""Where the database is, when there is one, below the evidence's directory."""


def columns_compared(kind: type[Leaf]) -> dict[str, str]:
    """Database column of each compared field: the same name, but ``ix`` for the index; never the salt."""
    return {name: "ix" if name == "index" else name for name in kind.columns() if name != "salt"}


def check_database(directory: Path, evidence: Evidence) -> Check:
    """The database has exactly the records of the evidence.

    Raises
    ------
    EvidenceError
        If it is no database, or lacks a table or a column.
    """
    path = directory / DATABASE
    failures: list[str] = []
    unread = path.with_name(path.name + "-wal")
    if unread.exists() and unread.stat().st_size:
        failures.append(f"{DATABASE}-wal holds changes that are not in {DATABASE}: close the database first")
    uri = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            for kind in KINDS:
                failures.extend(_table_failures(database, kind, evidence))
    except (sqlite3.Error, UnicodeDecodeError) as err:
        raise EvidenceError("a database of Gridpact", got=str(err), file=str(DATABASE)) from err
    return Check(name=f"records of {DATABASE}", failures=tuple(failures))


def _table_failures(database: sqlite3.Connection, kind: type[Leaf], evidence: Evidence) -> Iterator[str]:
    table, names = f"{kind.kind_name}s", columns_compared(kind)
    rows: dict[tuple[object, object], list[dict[str, object]]] = defaultdict(list)
    for values in database.execute(f"SELECT {', '.join(names.values())} FROM {table}"):
        row = dict(zip(names, values, strict=True))
        rows[row["window"], row["index"]].append(row)
    for stated in evidence.of_kind(kind):
        record = stated.record
        found = rows.pop((record.window, record.index), [])
        if not found:
            yield f"{DATABASE}: {record.name}: missing from table {table}"
        if len(found) > 1:
            yield f"{DATABASE}: {record.name}: {len(found)} rows of table {table}"
        for row in found:
            for name in names:
                wanted = getattr(record, name)
                if row[name] != wanted or type(row[name]) is not type(wanted):
                    yield f"{DATABASE}: {record.name}: {name}: got {row[name]!r}, wanted {wanted!r}"
    for window, index in rows:
        yield f"{DATABASE}: {kind.kind_name} {index!r} of window {window!r}: not in {file_of(kind)}"
