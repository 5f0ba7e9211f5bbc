"""Limits as one part of the service: the book, what it needs to know, and the database that catches up."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from controller.clock import Clock, Monotonic
from controller.errors import StoreError
from controller.limits.book import LimitsBook
from controller.limits.directory import Directory
from controller.limits.journal import Journal
from controller.limits.measured import LivePowers
from controller.limits.restoring import restore
from controller.limits.status import Kept, TargetStatus, measured_at
from controller.limits.supervision import Timing
from controller.store import limits as statements
from controller.store.database import Database

log = logging.getLogger(__name__)

PATIENCE_S = 0.2
"""Seconds that an acknowledged limit waits for the database, so that who reads it next finds it there too."""

LAST_PATIENCE_S = 5.0
"""Seconds that a service which stops waits for the same; the next start goes on with it."""


class Keeper(Protocol):
    """Keeps limits at run time, and tells how."""

    def kept(self, microgrid: str) -> Mapping[str, Kept]:
        """What was done about each target, by its name."""


class Limits:
    """Everything about limits.

    Parameters
    ----------
    journal : where they are kept first
    database : catches up with it; read at the start
    clock, monotonic : wall time, and a clock that nobody sets
    timing : of heartbeats

    Raises
    ------
    StoreError
        If journal and database belong apart.
    """

    def __init__(
        self,
        journal: Journal,
        database: Database,
        *,
        clock: Clock,
        monotonic: Monotonic,
        timing: Timing | None = None,
    ) -> None:
        restore(journal, database)
        self.book = LimitsBook(journal, clock=clock, monotonic=monotonic, timing=timing)
        self.directory = Directory(database)
        self.directory.load()
        self.live = LivePowers(monotonic)
        self.calls = asyncio.Lock()
        self.keeper: Keeper | None = None
        self._database = database
        self._catching_up = asyncio.Lock()
        self._behind: set[asyncio.Task[None]] = set()
        self.book.subscribe(self._follow)

    async def catch_up(self) -> None:
        """Let the database take over what the journal has; one that does not answer does so the next time."""
        async with self._catching_up:
            try:
                await self._database.run_async(statements.catch_up, self.book.records())
            except StoreError as err:
                log.warning("limits: the database is behind their journal: %s", err)
        await self.directory.catch_up()

    async def caught_up(self) -> None:
        """Wait until the database has caught up, but not for long: an acknowledgement does not hang on it."""
        if self._behind:
            await asyncio.wait(set(self._behind), timeout=PATIENCE_S)

    def status(self, microgrid: str) -> tuple[TargetStatus, ...]:
        """What holds on each target that anything bounds, in order."""
        known = self.directory.get(microgrid)
        if known is None:
            return ()
        kept = {} if self.keeper is None else self.keeper.kept(microgrid)
        return tuple(
            TargetStatus(
                target=target,
                band=self.book.effective(microgrid, target),
                measured=measured_at(known, self.live, target),
                kept=kept.get(target, Kept()),
            )
            for target in self.book.targets(microgrid)
        )

    async def close(self) -> None:
        """Let the database catch up a last time, where it answers, and let go of the journal."""
        for task in list(self._behind):
            task.cancel()
        self.directory.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_PATIENCE_S):
                with suppress(StoreError):  # the log has said so
                    await self.book.settle()
                await self.catch_up()
        self.book.close()

    def _follow(self, microgrid: str) -> None:
        del microgrid
        task = asyncio.get_running_loop().create_task(self.catch_up())
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
