"""Group commit: whoever waits for the disk waits together.

One thread writes. It begins a transaction with the first statement in the queue and goes on with the others that are
waiting, each in a savepoint of its own: one that fails leaves nothing, and fails alone. One commit puts them all on
disk, and only then is anybody answered. The order of the queue is the order of the effects.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from controller.errors import StoreUnavailableError
from controller.store.faults import is_passing

LARGEST_GROUP = 256
LONGEST_GROUP_S = 0.05
"""A group takes no more statements after this long, so that a slow one holds up few others."""

Statement = Callable[[Connection], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A statement and whoever waits for it."""

    statement: Statement
    answer: "Future[Any]"


class Writer:
    """The one writer of a database.

    Parameters
    ----------
    engine : whose transactions write
    on_commit : told how many seconds each transaction took until it was on disk
    """

    def __init__(self, engine: Engine, on_commit: Callable[[float], None] | None = None) -> None:
        self._engine = engine
        self._on_commit = on_commit
        self._closed = False
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, statement: Statement) -> "Future[Any]":
        """What the statement returns, once it is on disk; a future that is cancelled in time is never begun."""
        answer: Future[Any] = Future()
        if self._closed:
            answer.set_exception(StoreUnavailableError("database: got a statement after its end, wanted none"))
        else:
            self._queue.put(_Job(statement=statement, answer=answer))
        return answer

    def close(self) -> None:
        """Finish what is queued, then end."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            if not self._write_group(job):
                return

    def _write_group(self, first: _Job) -> bool:
        """Write this job and those that wait behind it; False when the end was among them."""
        group = _Group()
        go_on = True
        began = time.perf_counter()
        try:
            with self._engine.begin() as connection:
                job: _Job | None = first
                ends = time.monotonic() + LONGEST_GROUP_S
                while job is not None:
                    group.act(connection, job)
                    job = None
                    if len(group.done) < LARGEST_GROUP and time.monotonic() < ends:
                        job, go_on = self._next()
                _require_transaction(connection)
        except _OnlyOneFailedError:
            return go_on
        except Exception as err:
            if not group.begun:
                return self._refuse_all(first, err)
            if isinstance(err, IntegrityError) and len(group.done) > 1:
                # A rule that is checked at the commit: it may concern one of them only.
                for job, _ in group.done:
                    self._write_alone(job)
            else:
                for job, _ in group.done:
                    job.answer.set_exception(err)
            return go_on
        if self._on_commit is not None:
            self._on_commit(time.perf_counter() - began)
        for job, result in group.done:
            job.answer.set_result(result)
        return go_on

    def _next(self) -> tuple[_Job | None, bool]:
        """The next job that is waiting already; and whether the end was not."""
        try:
            job = self._queue.get_nowait()
        except queue.Empty:
            return None, True
        return job, job is not None

    def _refuse_all(self, first: _Job, err: Exception) -> bool:
        """The database cannot be reached: nobody waits in the queue for learning the same."""
        job: _Job | None = first
        go_on = True
        while job is not None:
            if job.answer.set_running_or_notify_cancel():
                job.answer.set_exception(err)
            job, go_on = self._next()
        return go_on

    def _write_alone(self, job: _Job) -> None:
        try:
            with self._engine.begin() as connection:
                result = job.statement(connection)
                _require_transaction(connection)
        except Exception as err:
            job.answer.set_exception(err)
        else:
            job.answer.set_result(result)


class _Group:
    """The statements of one transaction.

    Attributes
    ----------
    begun : whether the transaction was
    done : who waits for its commit, and for what answer
    """

    def __init__(self) -> None:
        self.begun = False
        self.done: list[tuple[_Job, Any]] = []

    def act(self, connection: Connection, job: _Job) -> None:
        """Run a statement in the transaction."""
        self.begun = True
        if not job.answer.set_running_or_notify_cancel():
            return
        if self.done:
            self._act_beside_others(connection, job)
            return
        try:  # the first needs no savepoint, since nothing is lost with it
            result = job.statement(connection)
        except Exception as err:
            job.answer.set_exception(err)
            raise _OnlyOneFailedError from err
        self.done.append((job, result))

    def _act_beside_others(self, connection: Connection, job: _Job) -> None:
        savepoint = connection.begin_nested()
        try:
            result = job.statement(connection)
            savepoint.commit()
        except Exception as err:
            self.done.append((job, None))
            if is_passing(err):  # what fails for the machine's sake may have ended the transaction of all
                raise
            savepoint.rollback()  # fails, and all of them with it, where the transaction has ended
            self.done.pop()
            job.answer.set_exception(err)
            return
        self.done.append((job, result))


def _require_transaction(connection: Connection) -> None:
    """Refuse to commit what the database has rolled back by itself: it would answer that all is well.

    Raises
    ------
    StoreUnavailableError
    """
    raw: Any = connection.connection.dbapi_connection
    # psycopg is idle where no statement has asked anything of the database.
    is_open = raw.info.transaction_status.name in ("INTRANS", "IDLE") if hasattr(raw, "info") else raw.in_transaction
    if not is_open:
        raise StoreUnavailableError("database: got a transaction that it rolled back, wanted one to commit")


class _OnlyOneFailedError(Exception):
    """Ends a transaction in which only a statement has run that failed and was answered."""
