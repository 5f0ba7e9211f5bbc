"""A database at the newest schema: one writer that commits in groups, readers beside it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Concatenate, ParamSpec, TypeVar

from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from controller.errors import StoreError, StoreUnavailableError
from controller.store.engines import READERS, reading_engine, writing_engine
from controller.store.faults import cause, translated
from controller.store.migrating import migrate
from controller.store.writer import Writer

P = ParamSpec("P")
R = TypeVar("R")

Statement = Callable[Concatenate[Connection, P], R]

PATIENCE_S = 10.0
"""How long a coroutine waits for the database before its caller is told that it does not answer."""


class Database:
    """A database at the newest schema, with one writer.

    It may stop at any time: whoever asks is told so quickly, and it is connected to again when it is back.

    Parameters
    ----------
    url : SQLAlchemy URL; ``sqlite:///PATH`` needs nothing installed, ``postgresql://HOST/NAME`` needs psycopg
    patience_s : seconds after which coroutines wait no longer
    on_commit : told, in the writer's thread, how many seconds each transaction took until it was on disk

    Raises
    ------
    StoreError
        If it cannot be opened or migrated, or another service uses it; names the URL without its password.
    """

    def __init__(
        self, url: str, *, patience_s: float = PATIENCE_S, on_commit: Callable[[float], None] | None = None
    ) -> None:
        name = url.rsplit("@", maxsplit=1)[-1]
        try:
            self._engine = writing_engine(url)
            self._name = self._engine.url.render_as_string(hide_password=True)
            with self._engine.begin() as connection:
                migrate(connection)
            self._reading_engine = reading_engine(self._engine)
        except StoreError as err:
            raise StoreError(f"database {name}: cannot be opened: {str(err).removeprefix('database: ')}") from err
        # Alembic knows no such version; SQLAlchemy lets a missing driver and a port that is no number through.
        except (SQLAlchemyError, CommandError, ImportError, OSError, ValueError) as err:
            raise StoreError(f"database {name}: cannot be opened: {cause(err)}") from err
        self._patience_s = patience_s
        self._writer = Writer(self._engine, on_commit)
        self._readers = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="store-reader")

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def run(self, statement: "Statement[P, R]", *args: P.args, **kwargs: P.kwargs) -> R:
        """What ``statement(connection, ...)`` returns, in a transaction that is on disk afterwards.

        Statements take their places in one queue. Those that wait share a commit, and each fails alone; one may be run
        again where a rule that is checked at the commit has failed its group.

        Raises
        ------
        StoreUnavailableError
            If the database does not answer for now.
        StoreError
            If it refuses the statement.
        """
        answer: Future[R] = self._writer.submit(lambda connection: statement(connection, *args, **kwargs))
        return self._answer(answer.result)

    async def run_async(self, statement: "Statement[P, R]", *args: P.args, **kwargs: P.kwargs) -> R:
        """The same from a coroutine, which waits for a while only; what had begun by then may still be committed."""
        return await self._wait(self._writer.submit(lambda connection: statement(connection, *args, **kwargs)))

    async def run_then(self, statement: Callable[[Connection], R], then: Callable[[R], None]) -> R:
        """The same, and ``then`` is called on the loop's thread with what was returned, once that is on disk.

        It is called in the order of the commits and before the caller goes on; also where the caller has gone
        meanwhile, or waits no longer.
        """
        loop = asyncio.get_running_loop()
        answer: Future[R] = self._writer.submit(statement)

        def committed(done: "Future[R]") -> None:
            if not done.cancelled() and done.exception() is None:
                with suppress(RuntimeError):  # the loop has ended, and with it what would be told
                    loop.call_soon_threadsafe(then, done.result())

        answer.add_done_callback(committed)
        return await self._wait(answer)

    def read(self, statement: "Statement[P, R]", *args: P.args, **kwargs: P.kwargs) -> R:
        """What a statement returns that writes nothing: it sees one state, and everything that was acknowledged."""
        if self._reading_engine is None:
            return self.run(statement, *args, **kwargs)
        engine = self._reading_engine

        def act() -> R:
            with engine.begin() as connection:
                return statement(connection, *args, **kwargs)

        return self._answer(act)

    async def read_async(self, statement: "Statement[P, R]", *args: P.args, **kwargs: P.kwargs) -> R:
        """The same from a coroutine, beside the writer."""
        return await self._wait(self._readers.submit(lambda: self.read(statement, *args, **kwargs)))

    def close(self) -> None:
        """Finish what was asked for and let go of the database."""
        self._writer.close()
        self._readers.shutdown(wait=True)
        self._engine.dispose()
        if self._reading_engine is not None:
            self._reading_engine.dispose()

    async def _wait(self, answer: "Future[R]") -> R:
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.wrap_future(answer)
        except TimeoutError as err:
            raise StoreUnavailableError(f"database {self._name}: no answer within {self._patience_s:g} s") from err
        except SQLAlchemyError as err:
            raise translated(self._name, err) from err

    def _answer(self, ask: Callable[[], R]) -> R:
        try:
            return ask()
        except SQLAlchemyError as err:
            raise translated(self._name, err) from err
