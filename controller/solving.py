"""Runs the dispatch in another process, so that answering callers and drivers never waits for a solver."""

import asyncio
import multiprocessing
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from time import monotonic
from typing import Protocol, TypeVar, runtime_checkable

from threadpoolctl import threadpool_limits

from controller.errors import InputError
from optimization.clearing import Outcome
from optimization.community import Community
from optimization.errors import OptimizationError, SolverError
from optimization.quantities import DeviceId, Floats
from optimization.uplift import Standing

STANDING_SHARE = 0.3
"""Of the time for a search, after which what members would pay alone is taken as far as it is proven."""

T = TypeVar("T")


class Solver(Protocol):
    """Answers dispatch problems."""

    async def solve(self, community: Community) -> Outcome:
        """The clearing of a community, or the proof that there is none.

        Raises
        ------
        OptimizationError
            If there is neither.
        """


@runtime_checkable
class Weigher(Protocol):
    """A solver that also tells where a plan leaves each member: with one, clearings have uplifts."""

    async def standing(self, community: Community, device_kw: Mapping[DeviceId, Floats], mtus: int) -> Standing:
        """What the first MTUs of a plan change for each member.

        Raises
        ------
        OptimizationError
            If it cannot be told.
        """


class _Worker:
    """One process that answers problems, started at the first use."""

    def __init__(self, *, deadline_s: float | None = None) -> None:
        self._deadline_s = deadline_s
        self._pool: ProcessPoolExecutor | None = None

    async def standing(self, community: Community, device_kw: Mapping[DeviceId, Floats], mtus: int) -> Standing:
        """What the first MTUs of a plan change for each member."""
        stop_s = None if self._deadline_s is None else STANDING_SHARE * self._deadline_s
        return await self._run(partial(_standing, device_kw=dict(device_kw), mtus=mtus, stop_s=stop_s), community)

    async def _run(self, answer: Callable[[Community], T], community: Community) -> T:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_settle_in,
            )
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, answer, community)
        except BrokenProcessPool as err:
            self._pool = None
            raise SolverError("worker process: got its end, wanted an answer") from err

    def close(self) -> None:
        """End the worker process."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


class ReferenceSolver(_Worker):
    """The plainly written model in one worker process, started at the first use.

    Parameters
    ----------
    gap : declared relative gap at which a search may end
    """

    def __init__(self, *, gap: float = 0.01) -> None:
        super().__init__()
        self._gap = gap

    async def solve(self, community: Community) -> Outcome:
        """The clearing of a community within the gap, or the proof that there is none."""
        return await self._run(partial(_dispatch, gap=self._gap), community)


class DecompositionSolver(_Worker):
    """Schedules by decomposition in one worker process, started at the first use.

    Parameters
    ----------
    deadline_s : seconds from the beginning of a search after which it ends with the best schedule so far, whatever its
        gap; None for no deadline, so that equal problems have equal answers
    gap : declared relative gap at which a search may end earlier
    """

    def __init__(self, *, deadline_s: float | None = None, gap: float = 0.001) -> None:
        if deadline_s is not None and not deadline_s > 0:
            raise InputError(f"deadline: got {deadline_s} s, wanted more than 0 s")
        super().__init__(deadline_s=deadline_s)
        self._gap = gap

    async def solve(self, community: Community) -> Outcome:
        """The best clearing of a community by the deadline, or the proof that there is none."""
        return await self._run(partial(_schedule, deadline_s=self._deadline_s, gap=self._gap), community)


def _settle_in() -> None:
    """Make this process a worker.

    A person's interrupt reaches the whole group: the service answers it, and ends this process. Matrices are too small
    for several threads to pay: they would spin, and take processors from the kernels that share their work themselves.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(limits=1, user_api="blas")


def _dispatch(community: Community, *, gap: float) -> Outcome:
    from optimization.reference.dispatch import dispatch

    return _answered(lambda: dispatch(community, gap=gap))


def _schedule(community: Community, *, deadline_s: float | None, gap: float) -> Outcome:
    from optimization.scheduling import ScheduleOptions, schedule, unlimited

    begun = monotonic()
    spent = unlimited if deadline_s is None else lambda: (monotonic() - begun) / deadline_s
    return _answered(lambda: schedule(community, options=ScheduleOptions(gap=gap, deadline_s=deadline_s), spent=spent))


def _standing(
    community: Community, *, device_kw: Mapping[DeviceId, Floats], mtus: int, stop_s: float | None
) -> Standing:
    from optimization.regret import standing

    begun = monotonic()
    stop = None if stop_s is None else lambda: monotonic() - begun >= stop_s
    return _answered(lambda: standing(community, device_kw, mtus, stop=stop))


def _answered(solve: Callable[[], T]) -> T:
    """A solver's answer; whatever else it raises is one of ours, so that it can leave the process."""
    try:
        return solve()
    except OptimizationError:
        raise
    except Exception as err:
        raise SolverError(f"{type(err).__name__}: {err}") from err
