"""What databases complain about, translated once: is it down for now, or was it asked for something wrong?"""

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from controller.errors import StoreError, StoreUnavailableError

_PASSING_SQLITE = frozenset(
    {"BUSY", "CANTOPEN", "FULL", "INTERRUPT", "IOERR", "LOCKED", "NOMEM", "PROTOCOL", "READONLY"}
)
"""Primary result codes that say something about the machine, and nothing about the statement."""
_PASSING_POSTGRESQL = ("08", "25006", "40", "53", "55P03", "57P", "58")
"""Beginnings of SQLSTATEs: connections, read-only servers, rollbacks, resources, locks, shutdowns, the system."""


def translated(name: str, err: SQLAlchemyError | OSError) -> StoreError:
    """The error that callers of the store are told, with the database's name and its own words."""
    kind = StoreUnavailableError if is_passing(err) else StoreError
    return kind(f"database {name}: {cause(err)}")


def cause(err: Exception) -> object:
    """What the database itself said, without the pages of SQL around it."""
    return getattr(err, "orig", None) or err


def is_passing(err: Exception) -> bool:
    """Whether the same statement may well succeed later."""
    if isinstance(err, PoolTimeoutError | OSError):
        return True
    if not isinstance(err, DBAPIError):
        return False
    if err.connection_invalidated:
        return True
    orig = err.orig
    if isinstance(orig, sqlite3.Error):
        code = getattr(orig, "sqlite_errorname", "") or ""
        return code.removeprefix("SQLITE_").split("_")[0] in _PASSING_SQLITE
    state = getattr(orig, "sqlstate", None)
    if state is None:  # psycopg could not connect at all, or lost the connection
        return type(orig).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")
    return str(state).startswith(_PASSING_POSTGRESQL)
