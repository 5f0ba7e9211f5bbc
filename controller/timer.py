"""Does what is due again and again, whatever goes wrong in between."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 15.0
"""Between two tries, however often it failed: gates close and leases end meanwhile."""


def wait_s(period_s: float, failures: int) -> float:
    """How long to wait after so many failures in a row: twice as long each time, up to a bound."""
    return min(max(period_s, LONGEST_WAIT_S), period_s * 2.0 ** min(failures, 30))


class Timer:
    """Calls something every so often until it is told to stop.

    Parameters
    ----------
    name : what the log calls it
    act : what is due
    period_s : between the end of one call and the begin of the next
    on_round : told after each round how long it took, and of its exception, which was logged
    """

    def __init__(
        self,
        name: str,
        act: Callable[[], Awaitable[object]],
        *,
        period_s: float,
        on_round: Callable[[str, float, Exception | None], None],
    ) -> None:
        self._name = name
        self._act = act
        self._period_s = period_s
        self._on_round = on_round
        self._failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until ``stop``; a call that has begun is finished first."""
        while not stop.is_set():
            await self._once()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s(self._period_s, self._failures))

    async def _once(self) -> None:
        began = perf_counter()
        failed: Exception | None = None
        try:
            await self._act()
            self._failures = 0
        except Exception as err:  # whatever it is, the next round may do better, and the rest goes on
            self._failures += 1
            log.exception("%s failed, %d in a row", self._name, self._failures)
            failed = err
        self._on_round(self._name, perf_counter() - began, failed)
