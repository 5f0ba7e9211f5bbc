"""Writing rows, in the dialect of the database at hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite


def insert(connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, if there are any."""
    if rows:
        connection.execute(table.insert(), [dict(r) for r in rows])


def upsert(connection: Connection, table: Any, values: Mapping[str, Any], *, newest: str | None = None) -> None:
    """Insert, or replace the row with the same primary key; with ``newest`` only where that column does not go back."""
    keys = [column.name for column in table.primary_key.columns]
    others = {name: value for name, value in values.items() if name not in keys}
    statement = _dialect(connection).insert(table).values(**values)
    where = None if newest is None else statement.excluded[newest] >= table.c[newest]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=others, where=where))


def insert_new(connection: Connection, table: Any, values: Mapping[str, Any]) -> None:
    """Insert, unless there is a row with the same primary key."""
    keys = [column.name for column in table.primary_key.columns]
    statement = _dialect(connection).insert(table).values(**values)
    connection.execute(statement.on_conflict_do_nothing(index_elements=keys))


def _dialect(connection: Connection) -> Any:
    return postgresql if connection.dialect.name == "postgresql" else sqlite
