"""What tests put in the place of a machine that holds and of a solver that answers."""

import pickle
from collections import deque
from collections.abc import Callable
from typing import Any

from sqlalchemy import Dialect, text

from controller.store.database import Database
from optimization.clearing import Outcome
from optimization.community import Community
from optimization.errors import SolverError
from optimization.reference.dispatch import dispatch

FAULT = SolverError("HiGHS: got nothing, wanted something")
"""What a solver says that has given up."""


class Crash(Exception):  # noqa: N818  # no error, an end
    """The machine stops."""


class FragileDatabase(Database):
    """Lets the machine stop after a commit: armed with n, after the n-th from then on.

    What SQLAlchemy has compiled for one of them serves all others: it is most of what a service's start costs.
    """

    commits_left: int | None = None
    compiled: list[tuple[Dialect, dict[Any, Any]]] = []  # noqa: RUF012  # of all tests

    def __init__(self, url: str) -> None:
        super().__init__(url)
        if self.dialect == "sqlite":
            for engine in filter(None, (self._engine, self._reading_engine)):
                # Statements are compiled for a dialect, of which each engine has one of its own, equal to all others.
                if not self.compiled:
                    self.compiled.append((engine.dialect, {}))
                engine.dialect, engine._compiled_cache = self.compiled[0]

    def run(self, statement, *args, **kwargs):
        watched = _Watched(statement, args, kwargs)
        result = super().run(watched)
        self._stop_after(watched)
        return result

    async def run_async(self, statement, *args, **kwargs):
        watched = _Watched(statement, args, kwargs)
        result = await super().run_async(watched)
        self._stop_after(watched)
        return result

    async def run_then(self, statement, then):
        watched = _Watched(statement, (), {})
        result = await super().run_then(watched, then)
        self._stop_after(watched)
        return result

    def _stop_after(self, watched):
        if watched.changed and self.commits_left is not None:
            self.commits_left -= 1
            if self.commits_left <= 0:
                self.commits_left = None
                raise Crash


class _Watched:
    """A statement that knows afterwards whether it has changed anything."""

    def __init__(self, statement, args, kwargs):
        self._statement, self._args, self._kwargs = statement, args, kwargs
        self.changed = False

    def __call__(self, connection):
        before = _changes(connection)
        result = self._statement(connection, *self._args, **self._kwargs)
        self.changed = _changes(connection) != before
        return result


def _changes(connection):
    if connection.dialect.name == "sqlite":
        return connection.connection.dbapi_connection.total_changes
    return connection.execute(text("SELECT pg_current_xact_id_if_assigned()::text")).scalar()


class ScriptedSolver:
    """Answers by its script first, one entry for each problem, then as the reference does.

    An entry is an exception to raise, or what makes the answer of a community. Equal problems are solved once.
    """

    answers: dict[bytes, Outcome] = {}  # noqa: RUF012  # of all tests

    def __init__(self) -> None:
        self.script: deque[Exception | Callable[[Community], Outcome]] = deque()
        self.asked = 0

    async def solve(self, community: Community) -> Outcome:
        self.asked += 1
        if self.script:
            entry = self.script.popleft()
            if isinstance(entry, Exception):
                raise entry
            return entry(community)
        return self.reference(community)

    def reference(self, community: Community) -> Outcome:
        key = pickle.dumps(community)
        if key not in self.answers:
            self.answers[key] = dispatch(community)
        return self.answers[key]
