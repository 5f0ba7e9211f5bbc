"""The statements for the access journal."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from controller.access_journal import EVERYBODY, Access, Entry, link
from controller.store import schema
from controller.store.rows import insert


def append(connection: Connection, accesses: Iterable[Access]) -> None:
    """Enter accesses, each after the last one of its microgrid."""
    last: dict[str, Entry | None] = {}
    rows = []
    for access in accesses:
        if access.microgrid not in last:
            last[access.microgrid] = newest(connection, access.microgrid)
        entry = link(access, last[access.microgrid])
        last[access.microgrid] = entry
        rows.append(
            {
                "microgrid": access.microgrid,
                "number": entry.number,
                "instant": access.instant,
                "identity": access.identity,
                "method": access.method,
                "resource": access.resource,
                "subject": access.subject,
                "code": access.code,
                "digest": access.digest,
                "count": access.count,
                "previous": entry.previous,
                "hash": entry.hash,
            }
        )
    insert(connection, schema.accesses, rows)


def newest(connection: Connection, microgrid: str) -> Entry | None:
    """The last entry of a microgrid's journal."""
    table = schema.accesses
    found = connection.execute(
        select(table).where(table.c.microgrid == microgrid).order_by(table.c.number.desc()).limit(1)
    ).first()
    return None if found is None else _entry(found)


def entries(
    connection: Connection, microgrid: str, *, after: int = 0, count: int | None = None, member: str | None = None
) -> list[Entry]:
    """Entries in order, those of one member's data or its own calls where ``member`` is given."""
    table = schema.accesses
    wanted = select(table).where(table.c.microgrid == microgrid, table.c.number > after).order_by(table.c.number)
    if member is not None:
        own = f"spiffe://{microgrid}/participant/{member}"
        wanted = wanted.where(or_(table.c.subject.in_((member, EVERYBODY)), table.c.identity == own))
    return [_entry(row) for row in connection.execute(wanted if count is None else wanted.limit(count))]


def microgrids(connection: Connection) -> list[str]:
    """Everything that has a journal, in order; identities that belong to no microgrid have one of theirs, too."""
    return list(connection.execute(select(schema.accesses.c.microgrid).distinct().order_by("microgrid")).scalars())


def stream(connection: Connection, microgrid: str) -> Iterator[Entry]:
    """All entries of a microgrid's journal in order, of which there may be more than memory holds."""
    table = schema.accesses
    wanted = select(table).where(table.c.microgrid == microgrid).order_by(table.c.number)
    for row in connection.execution_options(yield_per=1000).execute(wanted):
        yield _entry(row)


def _entry(row: Row[Any]) -> Entry:
    access = Access(
        microgrid=row.microgrid,
        instant=row.instant,
        identity=row.identity,
        method=row.method,
        resource=row.resource,
        subject=row.subject,
        code=row.code,
        digest=bytes(row.digest),
        count=row._mapping["count"],
    )
    return Entry(number=row.number, access=access, previous=bytes(row.previous), hash=bytes(row.hash))
