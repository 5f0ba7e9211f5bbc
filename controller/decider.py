"""Finds what a clearing decides, in the time that there is for it: by the solver, recomputed, with its uplifts."""

import asyncio
import logging
from dataclasses import dataclass, replace

from controller import planning, uplifts
from controller.clock import Clock
from controller.deciding import solve_relaxed
from controller.snapshot import Snapshot
from controller.solving import Punctual, Solver, Weigher
from controller.witness import Witness, pack
from optimization.clearing import Clearing, Infeasible, Outcome
from optimization.community import Community
from optimization.errors import OptimizationError

log = logging.getLogger(__name__)

TOO_LATE = "its start had passed before it was cleared"
PAST_DEADLINE = "its deadline had passed before it was cleared"
NO_ANSWER = "solver: got no answer"
LEAST_WAIT_S = 1.0
"""Seconds that an answer is waited for even where the deadline is now."""
RESERVE_S = 10.0
"""Seconds before its deadline at which a solver is given up, so that the fallback is there in time."""
RESERVE_SHARE = 0.1
"""The same, at most, as a part of the time from gate closure to the deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The instants of a clearing, Unix seconds.

    Attributes
    ----------
    closes : when its gate closed
    deadline : it is decided by then
    start : what it decides begins then
    """

    closes: int
    deadline: int
    start: int

    def missed(self, now: float) -> str | None:
        """Why a clearing would decide what has begun already, or comes after its deadline; None where it does not."""
        if now > self.start:
            return TOO_LATE
        return PAST_DEADLINE if now > self.deadline else None

    def left_s(self, now: float) -> float:
        """Seconds for an answer, so that the fallback can still be declared in time."""
        reserve = min(RESERVE_S, RESERVE_SHARE * (self.deadline - self.closes))
        return max(LEAST_WAIT_S, self.deadline - now - reserve)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Decides what was frozen.

    Attributes
    ----------
    solver, clock : as their classes say
    """

    solver: Solver
    clock: Clock

    async def decide(self, snapshot: Snapshot, due: Due, *, weigh: bool = True) -> planning.Decision | str:
        """What a clearing decides, feasible as recomputed and in time; or why there is none.

        Parameters
        ----------
        snapshot : what it is decided on
        due : by when
        weigh : whether members are made whole who pay more than alone
        """
        missed = due.missed(self.clock.now())
        if missed is not None:
            return missed
        decision = await self._decide(snapshot, due, weigh=weigh)
        if isinstance(decision, str):
            return decision
        return due.missed(self.clock.now()) or decision

    async def _decide(self, snapshot: Snapshot, due: Due, *, weigh: bool) -> planning.Decision | str:
        left_s = due.left_s(self.clock.now())
        try:
            async with asyncio.timeout(left_s) as limit:
                solved = await solve_relaxed(self._solve, self.solver, snapshot, left_s, urgent=True)
                community, outcome = solved.community, solved.outcome
                if isinstance(outcome, Infeasible):
                    return outcome.reason
                decision = await asyncio.to_thread(_decided, solved.snapshot, community, outcome)
        except OptimizationError as err:
            return str(err)
        except Exception as err:  # whatever it is, the fallback acts and the others go on
            if isinstance(err, TimeoutError) and limit.expired():
                return f"{NO_ANSWER} within {left_s:.0f} s, wanted one by the window's deadline"
            log.exception("clearing %s", snapshot.window.name)
            return f"{type(err).__name__}: {err}"
        for relaxation in decision.relaxations:
            log.warning("%s: %s", snapshot.window.name, relaxation)
        if not weigh:
            return decision
        return replace(decision, uplifts=await self._weigh(snapshot, due, community, outcome, decision))

    async def _solve(self, community: Community, seconds: float) -> Outcome:
        if isinstance(self.solver, Punctual):
            return await self.solver.solve_within(community, seconds)
        return await self.solver.solve(community)

    async def _weigh(
        self, snapshot: Snapshot, due: Due, community: Community, clearing: Clearing, decision: planning.Decision
    ) -> tuple[uplifts.Uplift, ...]:
        """Who is made whole and who contributes.

        Nobody where that cannot be told in time: a clearing that keeps every limit does not fail for it.
        """
        if not isinstance(self.solver, Weigher):
            return ()
        try:
            async with asyncio.timeout(due.left_s(self.clock.now())):
                standing = await self.solver.standing(community, clearing.device_kw, len(snapshot.window_mtus()))
            members = [peer.id for peer in community.peers]
            return uplifts.uplifts_of(snapshot, members, decision.trades, standing)
        except Exception:  # whatever it is, the clearing acts all the same
            log.exception("uplifts of %s", snapshot.window.name)
            return ()


def _decided(snapshot: Snapshot, community: Community, clearing: Clearing) -> planning.Decision:
    """What follows from a clearing, with what it takes to compute that again."""
    decision = planning.decide(snapshot, community, clearing)
    return replace(decision, witness=pack(Witness(clearing=clearing, relaxed=snapshot.relaxed)))
