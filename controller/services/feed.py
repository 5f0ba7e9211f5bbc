"""Tells who watches when there is something new in the store."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from controller.errors import StoreError
from controller.store import events
from controller.store.database import Database

log = logging.getLogger(__name__)

POLL_S = 0.2
"""How often the store is asked while somebody watches: once for all."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    microgrid: str
    sequence: int
    found: "asyncio.Future[None]"


class EventFeed:
    """Wakes those who watch. It asks the store, so that it hears of every process that writes to it.

    Parameters
    ----------
    database : with the events
    poll_s : seconds between two looks
    """

    def __init__(self, database: Database, *, poll_s: float = POLL_S) -> None:
        self._database = database
        self._poll_s = poll_s
        self._waiters: set[_Waiter] = set()
        self._looking: asyncio.Task[None] | None = None

    async def after(self, microgrid: str, sequence: int, *, wait_s: float) -> bool:
        """Whether something happens in a microgrid after a number, within so many seconds."""
        waiter = _Waiter(microgrid, sequence, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(wait_s):
                await waiter.found
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True

    async def _look(self) -> None:
        """Until nobody waits any more."""
        while self._waiters:
            microgrids = {waiter.microgrid for waiter in self._waiters}
            try:
                newest = await self._database.read_async(_newest(microgrids))
            except StoreError as err:
                log.warning("watching: %s", err)
                newest = {}
            for waiter in self._waiters:
                if newest.get(waiter.microgrid, 0) > waiter.sequence and not waiter.found.done():
                    waiter.found.set_result(None)
            await asyncio.sleep(self._poll_s)


def _newest(microgrids: set[str]) -> Callable[[Connection], dict[str, int]]:
    return lambda connection: {microgrid: events.newest(connection, microgrid) for microgrid in microgrids}
