"""Writing rows, in the dialect of the database at hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import StatementError


def insert(connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, if there are any."""
    if rows:
        connection.execute(table.insert(), [dict(r) for r in rows])


def upsert(connection: Connection, table: Any, values: Mapping[str, Any]) -> None:
    """Insert, or replace the row with the same primary key."""
    upsert_all(connection, table, [values])


def upsert_all(
    connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]], *, newest: str | None = None
) -> None:
    """Insert rows of the same columns, or replace those with the same primary key.

    With ``newest`` only where that column does not go back. It is one statement, run for all: for thousands of rows,
    building one for each would take longer than running them.
    """
    if rows:
        keys = [column.name for column in table.primary_key.columns]
        statement = _dialect(connection).insert(table)
        others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        where = None if newest is None else statement.excluded[newest] >= table.c[newest]
        replacing = statement.on_conflict_do_update(index_elements=keys, set_=others, where=where)
        _run_for_all(connection, replacing, rows)


def add_up(connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of the same columns, or add what is no key to the row with the same primary key."""
    if rows:
        keys = [column.name for column in table.primary_key.columns]
        statement = _dialect(connection).insert(table)
        sums = {name: table.c[name] + statement.excluded[name] for name in rows[0] if name not in keys}
        _run_for_all(connection, statement.on_conflict_do_update(index_elements=keys, set_=sums), rows)


def insert_new(connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those of which there is no row with the same primary key."""
    if rows:
        keys = [column.name for column in table.primary_key.columns]
        statement = _dialect(connection).insert(table).on_conflict_do_nothing(index_elements=keys)
        _run_for_all(connection, statement, rows)


def _run_for_all(connection: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run a statement for rows of the same columns; each value is checked by its column's type.

    Where parameters are told by their places SQLAlchemy puts each row together anew, which takes three times as long
    as running it, and holds up whoever else computes in this process.

    Raises
    ------
    StatementError
        If a value is none of its column.
    """
    compiled = statement.compile(dialect=connection.dialect, column_keys=list(rows[0]))
    if compiled.positiontup is None:
        connection.execute(statement, [dict(row) for row in rows])
        return
    names = compiled.positiontup
    types = [statement.table.c[name].type.dialect_impl(connection.dialect) for name in names]
    checks = [kind.bind_processor(connection.dialect) or _as_it_is for kind in types]
    text = str(compiled)
    try:
        values = [tuple(check(row[name]) for name, check in zip(names, checks, strict=True)) for row in rows]
    except ValueError as err:
        raise StatementError(str(err), text, None, err) from err
    connection.exec_driver_sql(text, values)


def _as_it_is(value: Any) -> Any:
    return value


def _dialect(connection: Connection) -> Any:
    return postgresql if connection.dialect.name == "postgresql" else sqlite
