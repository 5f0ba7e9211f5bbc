"""Runs the dispatch in another process, so that answering callers and drivers never waits for a solver."""

import asyncio
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from optimization.clearing import Outcome
from optimization.community import Community
from optimization.errors import OptimizationError, SolverError


class Solver(Protocol):
    """Answers dispatch problems."""

    async def solve(self, community: Community) -> Outcome:
        """The clearing of a community, or the proof that there is none.

        Raises
        ------
        OptimizationError
            If there is neither.
        """


class ReferenceSolver:
    """The plainly written model in one worker process, started at the first use.

    Parameters
    ----------
    gap : declared relative gap at which a search may end
    """

    def __init__(self, *, gap: float = 0.01) -> None:
        self._gap = gap
        self._pool: ProcessPoolExecutor | None = None

    async def solve(self, community: Community) -> Outcome:
        """The clearing of a community within the gap, or the proof that there is none."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                # A person's interrupt reaches the whole group: the service answers it, and ends this process.
                initializer=signal.signal,
                initargs=(signal.SIGINT, signal.SIG_IGN),
            )
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _dispatch, community, self._gap)
        except BrokenProcessPool as err:
            self._pool = None
            raise SolverError("worker process: got its end, wanted an answer") from err

    def close(self) -> None:
        """End the worker process."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _dispatch(community: Community, gap: float) -> Outcome:
    from optimization.reference.dispatch import dispatch

    try:
        return dispatch(community, gap=gap)
    except OptimizationError:
        raise
    except Exception as err:
        raise SolverError(f"{type(err).__name__}: {err}") from err
