"""One column for each block out of its mixed ones, so that the sums stay near the mixed sums.

Block after block takes the column after which what was chosen so far differs least from what was mixed, in its home and
in the whole community: error diffusion, as pictures are rounded to black and white. Independent draws would leave a
difference that grows with the root of the number of blocks; this one stays within a few blocks' power.
"""

import numpy as np
from numba import njit

from optimization.decomposition.hulls import Hulls
from optimization.devices.oracle import Integers

LEAST_WEIGHT = 1e-3
"""Columns that are mixed in with less than this are not chosen."""


def choose(hulls: Hulls, peer: Integers, order: Integers) -> Integers:
    """(B,) the column taken for each block.

    Parameters
    ----------
    hulls : with the weights to be rounded
    peer : (B,) of each block
    order : (B,) in which blocks are taken; later ones make good what earlier ones left
    """
    peers = int(peer.max(initial=-1)) + 1
    return np.asarray(_choose(hulls.column, hulls.weight, peer, order, peers))


@njit(cache=True, error_model="numpy")
def _choose(column, weight, peer, order, peers):  # type: ignore[no-untyped-def]
    blocks, places, mtus = column.shape
    chosen = np.zeros(blocks, dtype=np.int64)
    whole = np.zeros(mtus)
    home = np.zeros((peers, mtus))
    mixed = np.empty(mtus)
    for b in order:
        mixed[:] = 0.0
        for k in range(places):
            if weight[b, k] > 0.0:
                for t in range(mtus):
                    mixed[t] += weight[b, k] * column[b, k, t]
        best, least = 0, np.inf
        n = peer[b]
        for k in range(places):
            if weight[b, k] < LEAST_WEIGHT:
                continue
            far = 0.0
            for t in range(mtus):
                step = column[b, k, t] - mixed[t]
                far += (whole[t] + step) ** 2 + (home[n, t] + step) ** 2
            # Of equally good ones the heavier.
            far *= 1.0 - 1e-6 * weight[b, k]
            if far < least:
                best, least = k, far
        chosen[b] = best
        for t in range(mtus):
            step = column[b, best, t] - mixed[t]
            whole[t] += step
            home[n, t] += step
    return chosen
