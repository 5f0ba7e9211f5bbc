"""What happened to windows and plans, numbered, written in the transaction that made it happen.

Append-only but for the oldest: who follows with a token finds what came after it, or learns that too much did.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select

from controller.store import schema

RETAINED = 20_000
"""So many events of a microgrid are kept at least: about three months of quarter-hourly windows."""
PRUNED_EVERY = 256
BATCH = 100
"""As many are read at once."""
CLEARING = "CLEARING"
PLAN = "PLAN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The newest event of a subject.

    Attributes
    ----------
    sequence : its number within the microgrid
    subject : resource name of the window or plan
    """

    sequence: int
    subject: str


def add(connection: Connection, microgrid: str, kind: str, subject: str, *, audience: str = "") -> None:
    """Note that something happened to a subject; ``audience`` is the identity that may know, empty for all."""
    table = schema.events
    sequence = newest(connection, microgrid) + 1
    connection.execute(
        table.insert().values(microgrid=microgrid, sequence=sequence, kind=kind, subject=subject, audience=audience)
    )
    if sequence % PRUNED_EVERY == 0:
        connection.execute(delete(table).where(table.c.microgrid == microgrid, table.c.sequence <= sequence - RETAINED))


def newest(connection: Connection, microgrid: str) -> int:
    """The number of the newest event; 0 before the first."""
    table = schema.events
    found = connection.execute(select(func.max(table.c.sequence)).where(table.c.microgrid == microgrid)).scalar()
    return int(found or 0)


def covers(connection: Connection, microgrid: str, sequence: int) -> bool:
    """Whether all events after a number are kept."""
    table = schema.events
    oldest = connection.execute(select(func.min(table.c.sequence)).where(table.c.microgrid == microgrid)).scalar()
    return (oldest or 1) - 1 <= sequence <= newest(connection, microgrid)


def since(
    connection: Connection, microgrid: str, kind: str, sequence: int, *, audience: str = "", limit: int | None = BATCH
) -> list[Event]:
    """The newest event of each subject to which something happened after a number, in order of these."""
    table = schema.events
    last = func.max(table.c.sequence).label("last")
    rows = connection.execute(
        select(table.c.subject, last)
        .where(
            table.c.microgrid == microgrid,
            table.c.sequence > sequence,
            table.c.kind == kind,
            table.c.audience.in_(["", audience]),
        )
        .group_by(table.c.subject)
        .order_by(last)
        .limit(limit)
    )
    return [Event(sequence=row.last, subject=row.subject) for row in rows]
