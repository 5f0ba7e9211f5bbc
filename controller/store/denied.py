"""The statements for denials."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from controller.store import schema
from controller.store.rows import upsert


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Who is shut out: an identity's URI or a certificate's serial; ``created`` in Unix seconds."""

    subject: str
    reason: str
    created: int


def deny(connection: Connection, microgrid: str, denial: Denial) -> None:
    """Keep a denial, in the place of an earlier one of the same subject."""
    values = {"subject": denial.subject, "reason": denial.reason, "created": denial.created}
    upsert(connection, schema.denials, {"microgrid": microgrid, **values})


def allow(connection: Connection, microgrid: str, subject: str) -> bool:
    """End a denial; whether there was one."""
    table = schema.denials
    found = connection.execute(delete(table).where(table.c.microgrid == microgrid, table.c.subject == subject))
    return found.rowcount > 0


def denials(connection: Connection, microgrid: str) -> list[Denial]:
    """A microgrid's denials, in order of their subjects."""
    table = schema.denials
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid).order_by(table.c.subject))
    return [Denial(subject=row.subject, reason=row.reason, created=row.created) for row in rows]


def all_denied(connection: Connection) -> list[tuple[str, str]]:
    """Microgrid and subject of every denial."""
    table = schema.denials
    return [(row.microgrid, row.subject) for row in connection.execute(select(table.c.microgrid, table.c.subject))]
