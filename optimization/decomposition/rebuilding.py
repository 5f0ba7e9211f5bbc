"""Homes torn out and put back: what descent cannot see, because several blocks would have to move at once.

A few blocks, of one home or of two that may trade, leave together and come back one after the other in a random order,
each as it then likes best, until none of them wants to move. Their homes' plants move with them, now and then from
producing all or nothing. The result is kept where it is cheaper, else undone.
(Ruin and recreate, with exact recreation.)

References
----------
G. Schrimpf et al. (2000), "Record breaking optimization results using the ruin and recreate principle", J.
Computational Physics 159(2).
"""

from collections.abc import Callable

import numpy as np

from optimization.certificate import relative_gap
from optimization.decomposition.descent import Descent
from optimization.devices.oracle import Integers

MOST_BLOCKS = 10
MOST_SETTLING = 3
PLANTS_CHANCE = 0.25
PATIENCE = 12
"""Failed attempts per home after which the search ends."""

LEAST_PATIENCE = 150


def rebuild(
    descent: Descent,
    *,
    limit: int,
    bound: float,
    gap: float,
    seed: int = 0,
    stop: Callable[[], bool] | None = None,
) -> int:
    """Tear out and put back until nothing gains for long; returns how many attempts gained.

    Parameters
    ----------
    descent : the schedules, which get cheaper in place
    limit : most attempts
    bound : currency below which nothing can cost
    gap : relative gap at which it ends, as of ``certificate.relative_gap``
    seed : of the choice of blocks and orders
    stop : asked before each attempt
    """
    random = np.random.default_rng(seed)
    problem = descent.problem
    homes = np.unique(problem.peer)
    if not homes.size:
        return 0
    value = descent.value()
    gained = failed = 0
    for attempt in range(limit):
        if (
            relative_gap(value, bound) <= gap
            or failed > max(LEAST_PATIENCE, PATIENCE * homes.size)
            or (stop is not None and stop())
        ):
            break
        chosen = _blocks(descent, random, homes)
        kept = descent.saved(chosen)
        plants = np.flatnonzero(np.isin(problem.plant_peer, problem.peer[chosen]))
        share = float(random.integers(0, 2)) if plants.size and random.random() < PLANTS_CHANCE else None
        now = value + descent.rearrange(random.permutation(chosen), MOST_SETTLING, plants=plants, share=share)
        if now < value - 1e-9:
            value, failed = now, 0
            gained += 1
        else:
            descent.restore(kept)
            failed += 1
        if attempt % 256 == 255:
            descent.refresh()
            value = descent.value()
    descent.refresh()
    return gained


def _blocks(descent: Descent, random: np.random.Generator, homes: Integers) -> Integers:
    """Some blocks of a random home, and of a neighbour's."""
    peer = descent.problem.peer
    home = int(random.choice(homes))
    mine = np.flatnonzero(peer == home)
    if random.random() < 0.5:
        others = _neighbours(descent, home)
        pool = others if others.size and random.random() < 0.7 else homes
        mine = np.union1d(mine, np.flatnonzero(peer == int(random.choice(pool))))
    size = min(mine.size, int(random.integers(2, MOST_BLOCKS + 1)))
    return np.asarray(random.choice(mine, size=size, replace=False))


def _neighbours(descent: Descent, home: int) -> Integers:
    """Who may trade with a home."""
    network = descent.problem.network
    sold = network.out_link[network.out_start[home] : network.out_start[home + 1]]
    bought = network.in_link[network.in_start[home] : network.in_start[home + 1]]
    return np.union1d(network.buyer[sold], network.seller[bought])
