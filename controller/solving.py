"""Runs the dispatch in other processes, so that answering callers and drivers never waits for a solver."""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Protocol, runtime_checkable

from controller.errors import InputError
from controller.workers import PATIENT, URGENT, WorkerPool
from optimization.clearing import Outcome
from optimization.community import Community
from optimization.quantities import DeviceId, Floats
from optimization.uplift import Standing

STANDING_SHARE = 0.3
"""Of the time for a search, after which what members would pay alone is taken as far as it is proven."""

SEARCH_SHARE = 0.7
"""Of the time until a window's deadline, for its search; the rest is for uplifts, rounding and writing."""

LEAST_S = 0.1
"""What counts as left of a time that is over: a first schedule is always finished."""


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


@runtime_checkable
class Punctual(Protocol):
    """A solver that can be told how long it has."""

    async def solve_within(self, community: Community, seconds: float) -> Outcome:
        """As ``solve``; what is asked with a deadline goes before what has none.

        Raises
        ------
        OptimizationError
            As ``solve`` does.
        """


@runtime_checkable
class Yielding(Protocol):
    """A solver that also answers who can wait, without ever holding up who cannot."""

    async def plan_within(self, community: Community, seconds: float) -> Outcome:
        """As ``Punctual.solve_within``, but it gives way to what is asked there, and begins anew after it.

        Raises
        ------
        OptimizationError
            As ``solve`` does.
        """


@runtime_checkable
class Easer(Protocol):
    """A solver that also tells by how much limits have to give where they cannot be kept."""

    async def least_excess(
        self, community: Community, seconds: float, *, urgent: bool
    ) -> Mapping[str, tuple[Floats, Floats]]:
        """By envelope's name, kW by which its lower and its upper bound have to give in each MTU.

        Raises
        ------
        OptimizationError
            If it cannot be told within so many seconds.
        """


class _PooledSolver:
    """Answers in processes of its own, each started at the first use."""

    def __init__(self, *, deadline_s: float | None = None, workers: int = 1, memory_bytes: int | None = None) -> None:
        if workers < 1:
            raise InputError(f"workers: got {workers}, wanted at least 1")
        self._deadline_s = deadline_s
        self.pool = WorkerPool(workers=workers, memory_bytes=memory_bytes)

    async def standing(self, community: Community, device_kw: Mapping[DeviceId, Floats], mtus: int) -> Standing:
        """What the first MTUs of a plan change for each member."""
        stop_s = None if self._deadline_s is None else STANDING_SHARE * self._deadline_s
        return await self.pool.run(_standing, community, dict(device_kw), mtus, stop_s, urgency=URGENT)

    async def least_excess(
        self, community: Community, seconds: float, *, urgent: bool
    ) -> Mapping[str, tuple[Floats, Floats]]:
        """By how much limits have to give."""
        async with asyncio.timeout(seconds):
            return await self.pool.run(_least_excess, community, urgency=URGENT if urgent else PATIENT)

    def close(self) -> None:
        """End the processes."""
        self.pool.close()


class ReferenceSolver(_PooledSolver):
    """The plainly written model in a worker process, started at the first use.

    Parameters
    ----------
    gap : declared relative gap at which a search may end
    workers, memory_bytes : of the pool
    """

    def __init__(self, *, gap: float = 0.01, workers: int = 1, memory_bytes: int | None = None) -> None:
        super().__init__(workers=workers, memory_bytes=memory_bytes)
        self._gap = gap

    async def solve(self, community: Community) -> Outcome:
        """The clearing of a community within the gap, or the proof that there is none."""
        return await self.pool.run(_dispatch, community, self._gap)


class DecompositionSolver(_PooledSolver):
    """Schedules by decomposition in worker processes, started at the first use.

    Parameters
    ----------
    deadline_s : seconds from the beginning of a search after which it ends with the best schedule so far, whatever its
        gap; None for no deadline, so that equal problems have equal answers
    gap : declared relative gap at which a search may end earlier
    workers : how many problems are solved at a time
    memory_bytes : address space of each process; None for no limit
    """

    def __init__(
        self,
        *,
        deadline_s: float | None = None,
        gap: float = 0.001,
        workers: int = 1,
        memory_bytes: int | None = None,
    ) -> None:
        if deadline_s is not None and not deadline_s > 0:
            raise InputError(f"deadline: got {deadline_s} s, wanted more than 0 s")
        super().__init__(deadline_s=deadline_s, workers=workers, memory_bytes=memory_bytes)
        self._gap = gap

    async def solve(self, community: Community) -> Outcome:
        """The best clearing of a community by the deadline, or the proof that there is none."""
        return await self.pool.run(_schedule, community, self._deadline_s, self._gap)

    async def solve_within(self, community: Community, seconds: float) -> Outcome:
        """The same before what is asked without haste; a search that has a deadline ends within a part of the seconds.

        One without a deadline goes on to its end: whoever asks may stop waiting, which ends the process.
        """
        return await self._within(community, seconds, URGENT)

    async def plan_within(self, community: Community, seconds: float) -> Outcome:
        """The same after all that is in haste, which takes the process away where there is no other."""
        return await self._within(community, seconds, PATIENT)

    async def _within(self, community: Community, seconds: float, urgency: int) -> Outcome:
        if self._deadline_s is None:
            return await self.pool.run(_schedule, community, None, self._gap, urgency=urgency)
        return await self.pool.run_within(
            _schedule_within, community, self._deadline_s, self._gap, seconds=seconds, urgency=urgency
        )


def _least_excess(community: Community) -> Mapping[str, tuple[Floats, Floats]]:
    from optimization.reference.excess import least_excess

    return least_excess(community)


def _dispatch(community: Community, gap: float) -> Outcome:
    from optimization.reference.dispatch import dispatch

    return dispatch(community, gap=gap)


def _schedule(community: Community, deadline_s: float | None, gap: float) -> Outcome:
    from optimization.scheduling import ScheduleOptions, schedule, unlimited

    begun = monotonic()
    spent = unlimited if deadline_s is None else lambda: (monotonic() - begun) / deadline_s
    return schedule(community, options=ScheduleOptions(gap=gap, deadline_s=deadline_s), spent=spent)


def _schedule_within(community: Community, deadline_s: float, gap: float, until: float) -> Outcome:
    import optimization.scheduling  # noqa: F401  # what that takes is no time for the search

    return _schedule(community, min(deadline_s, max(LEAST_S, SEARCH_SHARE * (until - monotonic()))), gap)


def _standing(community: Community, device_kw: Mapping[DeviceId, Floats], mtus: int, stop_s: float | None) -> Standing:
    from optimization.regret import standing

    begun = monotonic()
    stop = None if stop_s is None else lambda: monotonic() - begun >= stop_s
    return standing(community, device_kw, mtus, stop=stop)
