"""The loop over rounds: when they end, how they are accelerated, and how penalties follow what is heard."""

from collections.abc import Callable
from enum import Enum

import numpy as np

from optimization.peer_to_peer.mixing import Mixing
from optimization.peer_to_peer.options import AdmmOptions
from optimization.peer_to_peer.rounds import Heard, Rounds

TIGHT = 1e-10
"""Default tolerance: root of the sums of squares, relative to that of all proposals."""

SMALLEST_SIZE = 1e-6
"""Proposals whose squares sum to less, kW^2, are measured against this instead of themselves."""

GUARD = 2.0
"""A mixed step is refused that makes the change of the targets longer than this many times the shortest so far."""

FARTHEST = 1e3
"""A mixed step is refused that is longer than this many times the point that it starts from: far away changes may be
short because prices beyond all costs move no asset, and the guard would not see it."""

FIRST_CHECK = 100
"""Round after which it is first asked whether the answer is good enough; then after a quarter more each time."""

PATIENCE = 500
"""Rounds before proposals that have run far away count as diverged."""

QUIET = 10
"""Rounds in a row that must agree where messages were missed: what was not heard may have moved."""

FIRST_ADAPTATION = 12
"""Round after which penalties are first adapted; then after twice as many each time."""

MOST_ADAPTED = 1e5
"""Penalties end within this factor of where they began: in markets where nothing moves the balance says nothing."""


class Ending(Enum):
    """Why rounds ended; the values are for people."""

    CONVERGED = "the proposals agree"
    UNFINISHED = "the proposals still moved after the last round"
    STOPPED = "stopped before the proposals agreed"
    STUCK = "a store cannot keep to its own bounds"
    DIVERGED = "the proposals grow without bound, as they do where no clearing keeps to all bounds"


class Slowness:
    """Mean over some rounds of how fast prices move beside trades, and how penalties should follow.

    In trials over all families rounds were fewest where prices moved about eighteen times as fast as trades, each
    relative to its size, and the ratio fell with the power -1.7 of the penalty.
    """

    AIM = 1.25
    DEAD_BAND = 0.5
    EXPONENT = 0.6
    MOST = 2.0

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0
        self._adapted = 1.0

    def add(self, balance: float) -> None:
        """Takes in a round's balance."""
        if 0.0 < balance < np.inf:
            self._sum += float(np.log10(balance))
            self._count += 1

    def factor(self) -> float:
        """By what penalties should now be multiplied, 1 within the dead band; begins a new mean."""
        if self._count == 0:
            return 1.0
        off = self._sum / self._count - self.AIM
        self._sum, self._count = 0.0, 0
        if abs(off) <= self.DEAD_BAND:
            return 1.0
        wanted = self._adapted * 10.0 ** float(np.clip(self.EXPONENT * off, -self.MOST, self.MOST))
        allowed = float(np.clip(wanted, 1.0 / MOST_ADAPTED, MOST_ADAPTED))
        factor = allowed / self._adapted
        self._adapted = allowed
        return factor


class Acceleration:
    """Where the targets go: on as heard, or to a mixture of the last rounds while that brings them closer to rest.

    A mixture is refused where it makes the change of the targets longer than ``GUARD`` times the shortest so far: the
    plain round never makes it longer, so the way back always leads on. Where mixing led astray all the same, rounds
    begin anew without it.
    """

    def __init__(self, rounds: Rounds, options: AdmmOptions) -> None:
        self._rounds = rounds
        self._mixing = Mixing(rounds.target.size, options.memory)
        self._safe = rounds.target.copy()
        self._mixed = False
        self._shortest = np.inf
        self._adaptive = options.penalty is None
        self._adapt = FIRST_ADAPTATION
        self._slowness = Slowness()
        self._begun = 0
        self.withdrawn = False

    def withdraw(self, iteration: int) -> None:
        """Begins anew after a round, never to mix again."""
        self._rounds.begin_anew()
        self._safe[:] = self._rounds.target
        self._restart()
        self._adapt = FIRST_ADAPTATION
        self._slowness = Slowness()
        self._begun = iteration
        self.withdrawn = True

    def go_on(self, heard: Heard, iteration: int) -> None:
        """Moves the targets."""
        rounds = self._rounds
        if not rounds.complete:
            self._restart()
            rounds.target[:] = rounds.new
            return
        length = float(np.sqrt(heard.length))
        self._slowness.add(heard.balance)
        if self._mixed and not length <= GUARD * self._shortest:
            rounds.target[:] = self._safe
            self._mixing.forget()
            self._mixed = False
            return
        self._shortest = min(self._shortest, length)
        self._safe[:] = rounds.new
        self._mix()
        if self._adaptive and iteration - self._begun >= self._adapt:
            self._adapt *= 2
            factor = self._slowness.factor()
            if factor != 1.0:
                rounds.target[:] = self._safe
                rounds.rescale(factor)
                self._safe[:] = rounds.target
                self._restart()

    def _mix(self) -> None:
        rounds = self._rounds
        if self.withdrawn:
            rounds.target[:] = rounds.new
            return
        self._mixed = self._mixing.mixed(rounds.change.ravel(), rounds.new.ravel(), into=rounds.target.reshape(-1))
        if not self._mixed:
            return
        step = float(np.square(rounds.target - rounds.new).sum())
        if not step <= FARTHEST * FARTHEST * max(float(np.square(rounds.new).sum()), SMALLEST_SIZE):
            rounds.target[:] = rounds.new
            self._mixing.forget()
            self._mixed = False

    def _restart(self) -> None:
        self._mixing.forget()
        self._mixed, self._shortest = False, np.inf


def run(
    rounds: Rounds, options: AdmmOptions, *, good_enough: Callable[[int], bool] | None = None
) -> tuple[Ending, int]:
    """Goes on with rounds until they end; how, and how many there were.

    Parameters
    ----------
    good_enough : asked at times, where no tolerance is given, whether what rounds came to may already be the answer
    """
    acceleration = None if options.plain else Acceleration(rounds, options)
    check = FIRST_CHECK
    quiet = 0
    for iteration in range(1, options.max_iterations + 1):
        if options.stop is not None and options.stop():
            return Ending.STOPPED, iteration - 1
        rounds.answer()
        if rounds.stuck is not None:
            return Ending.STUCK, iteration
        heard = rounds.exchange(options.relaxed)
        checking = options.tolerance is None and iteration == check
        if checking:
            check += check // 4
        finite = bool(np.isfinite(heard.length) and np.isfinite(heard.size))
        enough = options.tolerance
        if enough is None:
            enough = TIGHT * TIGHT * max(heard.size, SMALLEST_SIZE)
        quiet = quiet + 1 if max(heard.apart, heard.moved, 0.0 if options.plain else heard.shift) <= enough else 0
        agreed = bool(quiet) and (rounds.complete or quiet >= QUIET)
        # Where proposals have run away a tolerance relative to them is met by anything.
        if acceleration is not None and not acceleration.withdrawn:
            if not finite or ((agreed or checking) and rounds.diverged):
                acceleration.withdraw(iteration)
                quiet = 0
                continue
        elif not finite or (checking and iteration >= PATIENCE and rounds.diverged):
            return Ending.DIVERGED, iteration
        if agreed:
            return Ending.CONVERGED, iteration
        if checking and good_enough is not None and good_enough(iteration):
            return Ending.CONVERGED, iteration
        if acceleration is None:
            rounds.target, rounds.new = rounds.new, rounds.target
        else:
            acceleration.go_on(heard, iteration)
    return Ending.UNFINISHED, options.max_iterations
