"""Opens, migrates and runs transactions on the database."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError

from controller.errors import StoreError

P = ParamSpec("P")
R = TypeVar("R")

Statement = Callable[Concatenate[Connection, P], R]


class Database:
    """A database at the newest schema, with one writer.

    Parameters
    ----------
    url : SQLAlchemy URL; ``sqlite:///PATH`` needs nothing installed

    Raises
    ------
    StoreError
        If it cannot be opened or migrated; names the URL without its password.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = _open(url)
            self._name = self._engine.url.render_as_string(hide_password=True)
            with self._engine.begin() as connection:
                _migrate(connection)
        # Alembic knows no such version; SQLAlchemy lets a missing driver and a port that is no number through.
        except (SQLAlchemyError, CommandError, ImportError, OSError, ValueError) as err:
            raise StoreError(f"database {url.rsplit('@', maxsplit=1)[-1]}: cannot be opened: {_cause(err)}") from err
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    def run(self, statement: "Statement[P, R]", *args: P.args, **kwargs: P.kwargs) -> R:
        """What ``statement(connection, ...)`` returns, in one transaction that is on disk afterwards."""
        try:
            with self._engine.begin() as connection:
                return statement(connection, *args, **kwargs)
        except SQLAlchemyError as err:
            raise StoreError(f"database {self._name}: {_cause(err)}") from err

    async def run_async(self, statement: "Statement[P, R]", *args: P.args, **kwargs: P.kwargs) -> R:
        """The same from a coroutine; transactions queue up for the one writer."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, lambda: self.run(statement, *args, **kwargs))

    def close(self) -> None:
        """Finish the running transaction and let go of the file."""
        self._writer.shutdown(wait=True)
        self._engine.dispose()


def _cause(err: Exception) -> object:
    """What the database itself said, without the pages of SQL around it."""
    return getattr(err, "orig", None) or err


def _open(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _harden)
        event.listen(engine, "begin", _begin_immediately)
    return engine


def _harden(connection: DBAPIConnection, _: object) -> None:
    """WAL for readers beside the writer, FULL so that a commit survives the loss of power."""
    connection.isolation_level = None  # pysqlite would begin too late by itself
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediately(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _migrate(connection: Connection) -> None:
    with as_file(files("controller.store") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def row(result: Any) -> dict[str, Any]:
    """A result row as a plain dict."""
    return dict(result._mapping)
