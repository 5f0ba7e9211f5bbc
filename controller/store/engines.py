"""Connections to SQLite and PostgreSQL, hardened: what one of them promises the other keeps as well."""

import logging
import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection

from controller.errors import StoreError, StoreUnavailableError

log = logging.getLogger(__name__)

READERS = 4
"""Connections for what only reads."""
BUSY_MS = 2000
"""How long SQLite waits for another process that holds the file."""
CONNECT_S = 3
LOCK_MS = 5000
"""How long a start waits for the end of a service that was killed: its server may not know yet."""
FILE_MODE = 0o600
"""Of SQLite's file; what SQLite puts beside it gets the same."""
ONE_SERVICE = 0x47524944
"""The key of the advisory lock that the one service on a PostgreSQL database holds."""


def writing_engine(address: str) -> Engine:
    """The engine of the one writer.

    Raises
    ------
    StoreUnavailableError
        From its connections, while another service holds the database (PostgreSQL).
    StoreError
        If the address is that of another kind of database, or what speaks to its kind is not installed.
    OSError
        If SQLite's file cannot be made, or kept from others.
    """
    url = _url(address)
    if url.get_backend_name() != "postgresql":
        if url.get_backend_name() == "sqlite" and url.database:
            _own(Path(url.database))
        engine = create_engine(url)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _harden_sqlite)
            event.listen(engine, "begin", _begin_immediately)
        return engine
    engine = _postgresql(url, connections=1)
    # On the writer's own connection: who has lost it has lost the right to write at the same moment.
    event.listen(engine, "connect", _be_the_only_service)
    return engine


def reading_engine(writer: Engine) -> Engine | None:
    """An engine whose transactions see one state and write nothing; None where the writer must read as well."""
    if writer.dialect.name == "postgresql":
        return _postgresql(writer.url, connections=READERS).execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
    if writer.dialect.name != "sqlite" or not writer.url.database or writer.url.database == ":memory:":
        return None
    engine = create_engine(writer.url, pool_size=READERS, max_overflow=0)
    event.listen(engine, "connect", _harden_sqlite)
    event.listen(engine, "connect", _forbid_writing)
    event.listen(engine, "begin", _begin)
    return engine


def looking_engine(address: str) -> Engine:
    """An engine for somebody beside the service: it writes nothing, and leaves the database's settings alone."""
    url = _url(address)
    if url.get_backend_name() == "postgresql":
        return _postgresql(url, connections=1).execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _only_look)
        event.listen(engine, "begin", _begin)
    return engine


def _url(address: str) -> URL:
    url = make_url(address)
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"database: got {url.get_backend_name()}, wanted sqlite or postgresql")
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _postgresql(url: URL, *, connections: int) -> Engine:
    arguments: dict[str, Any] = {"options": "-c timezone=UTC -c synchronous_commit=on -c search_path=public"}
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = CONNECT_S
    try:
        return create_engine(
            url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=CONNECT_S,
            pool_pre_ping=True,
            connect_args=arguments,
        )
    except ModuleNotFoundError as err:
        raise StoreError(f"database: {err}; pip install 'gridpact[postgres]'") from err


def _own(file: Path) -> None:
    """Make the file where it is missing, and let its owner alone read it and what stands beside it."""
    if str(file) == ":memory:" or str(file).startswith("file:"):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    for path in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
        if path.exists() and path.stat().st_mode & ~FILE_MODE & 0o777:
            try:
                path.chmod(FILE_MODE)
            except PermissionError as err:  # another user's file, which this one may write
                log.warning("database %s: others can read it: %s", path, err.strerror)


def _harden_sqlite(connection: DBAPIConnection, _: object) -> None:
    """WAL for readers beside the writer, FULL so that a commit survives the loss of power."""
    connection.isolation_level = None  # pysqlite would begin too late by itself
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _only_look(connection: DBAPIConnection, _: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    cursor.close()


def _forbid_writing(connection: DBAPIConnection, _: object) -> None:
    connection.execute("PRAGMA query_only=ON")


def _begin_immediately(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _be_the_only_service(connection: DBAPIConnection, _: object) -> None:
    """Take the advisory lock, which PostgreSQL gives back when the connection ends, however it ends."""
    import psycopg

    cursor = connection.cursor()
    try:
        cursor.execute(f"SET lock_timeout = {LOCK_MS}")
        cursor.execute(f"SELECT pg_advisory_lock({ONE_SERVICE})")
        cursor.execute("SET lock_timeout = 0")
        connection.commit()
    except psycopg.errors.LockNotAvailable as err:
        raise StoreUnavailableError("database: got one that another service uses, wanted one of our own") from err
    except psycopg.Error as err:
        raise StoreError(f"database: {err}") from err
    finally:
        cursor.close()
