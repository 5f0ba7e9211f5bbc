r"""The convex hulls of the blocks' schedules, as far as their oracles have shown them.

Each block b has columns: schedules :math:`P_{bj}` with own cost :math:`o_{bj}`, of which it mixes
:math:`x_b = \sum_j \theta_{bj} P_{bj}` with weights on a simplex. A home's blocks together step towards a target
:math:`a` of its net power,

.. math::

    \min_\theta \sum_{bj} o_{bj} \theta_{bj} + \frac{\Delta \kappa}{2} \Big\| \sum_b x_b - a \Big\|^2

by moves of weight from a block's worst column to its best one, each with its exact line search, one block after the
other (pairwise Frank-Wolfe steps in Gauss-Seidel order). Plants that can be curtailed are free in each MTU between
their production and none, and step there in closed form.

References
----------
S. Lacoste-Julien, M. Jaggi (2015), "On the global linear convergence of Frank-Wolfe optimization variants", NeurIPS:
pairwise steps. N. Boland et al. (2018), "Combining progressive hedging with a Frank-Wolfe method to compute Lagrangian
dual bounds in stochastic mixed-integer programming", SIAM J. Optimization 28(2): the inner approximation of the hulls.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from optimization.devices.oracle import Integers
from optimization.quantities import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Hulls:
    """Columns and weights of B blocks; arrays that the steps write to.

    Attributes
    ----------
    column : (B, K, T) kW
    cost : (B, K) currency of their own; infinity where there is no column
    weight : (B, K) non-negative, summing to 1 in each block
    born : (B, K) round in which a column came
    first : (N + 1,) the blocks of home n are ``first[n]`` to ``first[n + 1]``
    """

    column: Floats
    cost: Floats
    weight: Floats
    born: Integers
    first: Integers

    @classmethod
    def of(cls, peer: Integers, *, peers: int, mtus: int, columns: int) -> "Hulls":
        """Empty hulls of blocks in ascending order of their (B,) peers."""
        blocks = peer.size
        return cls(
            column=np.zeros((blocks, columns, mtus)),
            cost=np.full((blocks, columns), np.inf),
            weight=np.zeros((blocks, columns)),
            born=np.full((blocks, columns), -1, dtype=np.int64),
            first=np.searchsorted(peer, np.arange(peers + 1)).astype(np.int64),
        )

    def add(self, power: Floats, cost: Floats, round_: int, blocks: Integers | None = None) -> Integers:
        """Add a (B, T) schedule of each block with its (B,) cost; returns (B,) places taken, -1 where it was known.

        Of given blocks, where there are any given.

        Where all places are taken, the column of the least weight makes room, the oldest of several: its weight goes to
        the heaviest one.
        """
        chosen = np.arange(len(self.weight)) if blocks is None else blocks
        return np.asarray(_add(self.column, self.cost, self.weight, self.born, chosen, power, cost, round_))

    def mixed(self) -> Floats:
        """(B, T) kW of each block."""
        return np.asarray(np.einsum("bk,bkt->bt", self.weight, self.column))

    def mixed_cost(self) -> float:
        """Currency of all blocks by themselves."""
        return float((self.weight * np.where(np.isfinite(self.cost), self.cost, 0.0)).sum())


@njit(cache=True, error_model="numpy", parallel=True)
def _add(column, cost, weight, born, chosen, power, own, round_):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    _, places, mtus = column.shape
    taken = np.full(chosen.size, -1, dtype=np.int64)
    for r in prange(chosen.size):
        b = chosen[r]
        known = False
        place = -1
        for k in range(places):
            if born[b, k] < 0:
                if place < 0:
                    place = k
                continue
            if abs(cost[b, k] - own[r]) > 1e-9:
                continue
            far = 0.0
            for t in range(mtus):
                far = max(far, abs(column[b, k, t] - power[r, t]))
            if far < 1e-9:
                known = True
                break
        if known:
            continue
        if place < 0:
            heaviest = 0
            place = 0
            for k in range(1, places):
                if weight[b, k] > weight[b, heaviest]:
                    heaviest = k
                lighter = weight[b, k] < weight[b, place]
                if lighter or (weight[b, k] == weight[b, place] and born[b, k] < born[b, place]):
                    place = k
            weight[b, heaviest] += weight[b, place]
            weight[b, place] = 0.0
        if round_ == 0:
            weight[b, place] = 1.0
        column[b, place] = power[r]
        cost[b, place] = own[r]
        born[b, place] = round_
        taken[r] = place
    return taken


@njit(cache=True, error_model="numpy", parallel=True)
def step(column, cost, weight, first, net, target, stiffness, hours, passes):  # type: ignore[no-untyped-def]  # noqa: PLR0912
    """Move the weights, and with them the homes' net power, towards the target.

    Parameters
    ----------
    column, cost, weight, first : of the hulls; weights are written
    net : (N, T) kW of the homes, written
    target : (N, T) kW
    stiffness : (N,) kappa of each home, currency/(kW^2 h)
    hours : length of an MTU
    passes : over the blocks of each home
    """
    homes, mtus = net.shape
    places = column.shape[1]
    for n in prange(homes):
        pull = np.empty(mtus)
        gradient = np.empty(places)
        scale = stiffness[n] * hours
        for _ in range(passes):
            moved = False
            for b in range(first[n], first[n + 1]):
                for t in range(mtus):
                    pull[t] = scale * (net[n, t] - target[n, t])
                best, worst = -1, -1
                for k in range(places):
                    if cost[b, k] == np.inf:
                        continue
                    total = 0.0
                    for t in range(mtus):
                        total += pull[t] * column[b, k, t]
                    gradient[k] = cost[b, k] + total
                    if best < 0 or gradient[k] < gradient[best]:
                        best = k
                    if weight[b, k] > 0.0 and (worst < 0 or gradient[k] > gradient[worst]):
                        worst = k
                if best < 0 or worst < 0 or best == worst or gradient[worst] <= gradient[best]:
                    continue
                far = 0.0
                for t in range(mtus):
                    far += (column[b, best, t] - column[b, worst, t]) ** 2
                share = weight[b, worst]
                if far > 0.0:
                    share = min(share, (gradient[worst] - gradient[best]) / (scale * far))
                if share <= 0.0:
                    continue
                moved = True
                if share >= weight[b, worst]:
                    share = weight[b, worst]
                    weight[b, worst] = 0.0
                else:
                    weight[b, worst] -= share
                weight[b, best] += share
                for t in range(mtus):
                    net[n, t] += share * (column[b, best, t] - column[b, worst, t])
            if not moved:
                break


@njit(cache=True, error_model="numpy", parallel=True)
def step_plants(produced, available, cost, peer_first, net, target, stiffness):  # type: ignore[no-untyped-def]
    """Let plants produce towards the target.

    Parameters
    ----------
    produced : (D, T) kW, written
    available : (D, T) kW
    cost : (D,) currency per kWh not produced
    peer_first : (N + 1,) the plants of each home
    net : (N, T) kW, written
    target : (N, T) kW
    stiffness : (N,) currency/(kW^2 h)
    """
    homes, mtus = net.shape
    for n in prange(homes):
        for d in range(peer_first[n], peer_first[n + 1]):
            for t in range(mtus):
                free = net[n, t] + produced[d, t]
                wanted = free - target[n, t] + cost[d] / stiffness[n]
                power = min(max(wanted, 0.0), available[d, t])
                net[n, t] = free - power
                produced[d, t] = power
