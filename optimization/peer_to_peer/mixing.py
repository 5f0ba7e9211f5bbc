r"""Anderson mixing of a fixed-point iteration: the next point combines the last ones so that their changes cancel.

With the last changes :math:`f_j = g(s_j) - s_j` it takes

.. math::

    s_{k+1} = g(s_k) - \sum_j \theta_j (g(s_{j+1}) - g(s_j)), \qquad
    \theta = \arg\min \big\| f_k - \sum_j \theta_j (f_{j+1} - f_j) \big\|

in the norm in which the iteration is non-expansive (Walker and Ni 2011, type II). Sums run over fixed chunks, added in
order, so that the number of threads changes no bit.

References
----------
H. F. Walker, P. Ni (2011), "Anderson acceleration for fixed-point iterations", SIAM J. Numerical Analysis 49(4).
"""

from typing import Any

import numpy as np
from numba import njit, prange

from optimization.community import Floats
from optimization.peer_to_peer.chunks import SMALL

_CHUNK = 8192
"""Numbers summed up at a time."""

_RIDGE = 1e-10
"""Share of the trace added to the normal equations: the memory's directions are nearly dependent at the end."""


@njit(cache=True, error_model="numpy")
def _remember(begin, stop, change, last_change, new, last_new, changes, news, at, count, partial):  # type: ignore[no-untyped-def]
    """Stores the newest differences; writes each chunk's products of all with the newest and with the change."""
    size = change.size
    for chunk in range(begin, stop):
        first = chunk * _CHUNK
        last = min(first + _CHUNK, size)
        for i in range(first, last):
            changes[at, i] = change[i] - last_change[i]
            news[at, i] = new[i] - last_new[i]
        for j in range(count):
            with_newest = 0.0
            with_change = 0.0
            for i in range(first, last):
                with_newest += changes[j, i] * changes[at, i]
                with_change += changes[j, i] * change[i]
            partial[chunk, 0, j] = with_newest
            partial[chunk, 1, j] = with_change


@njit(cache=True, parallel=True, error_model="numpy")
def _remember_in_chunks(count, *rest):  # type: ignore[no-untyped-def]
    for chunk in prange(count):
        _remember(chunk, chunk + 1, *rest)


@njit(cache=True, error_model="numpy")
def _combine(begin, stop, new, news, weights, count, mixed):  # type: ignore[no-untyped-def]
    """Writes the new point less the weighted differences."""
    size = new.size
    for chunk in range(begin, stop):
        first = chunk * _CHUNK
        last = min(first + _CHUNK, size)
        for i in range(first, last):
            mixed[i] = new[i]
        for j in range(count):
            w = weights[j]
            for i in range(first, last):
                mixed[i] -= w * news[j, i]


@njit(cache=True, parallel=True, error_model="numpy")
def _combine_in_chunks(count, *rest):  # type: ignore[no-untyped-def]
    for chunk in prange(count):
        _combine(chunk, chunk + 1, *rest)


class Mixing:
    """The memory of a fixed-point iteration.

    Parameters
    ----------
    size : length of a point
    memory : differences kept
    """

    def __init__(self, size: int, memory: int) -> None:
        self._memory = memory
        self._small = size * memory < SMALL
        self._changes = np.zeros((memory, size))
        self._news = np.zeros((memory, size))
        self._gram = np.zeros((memory, memory))
        self._last_change = np.zeros(size)
        self._last_new = np.zeros(size)
        self._partial = np.zeros(((size + _CHUNK - 1) // _CHUNK, 2, memory))
        self._seen = 0

    def forget(self) -> None:
        """Begins anew, as after a step that was refused."""
        self._seen = 0

    def mixed(self, change: Floats, new: Floats, *, into: Floats) -> bool:
        """Takes in an evaluation and writes the next point; whether it differs from the new one.

        Parameters
        ----------
        change : (size,) weighted such that the plain iteration does not expand its length
        new : (size,) where the plain iteration would go
        into : (size,) written: the next point
        """
        seen, chunks = self._seen, self._partial.shape[0]
        self._seen += 1
        if seen:
            at = (seen - 1) % self._memory
            count = min(seen, self._memory)
            rest: tuple[Any, ...] = (
                change, self._last_change, new, self._last_new, self._changes, self._news, at, count, self._partial
            )  # fmt: skip
            if self._small:
                _remember(0, chunks, *rest)
            else:
                _remember_in_chunks(chunks, *rest)
            row, right = self._partial[:, :, :count].sum(axis=0)
            self._gram[at, :count] = row
            self._gram[:count, at] = row
        self._last_change[:] = change
        self._last_new[:] = new
        if not seen:
            into[:] = new
            return False
        gram = self._gram[:count, :count]
        trace = float(np.trace(gram))
        if trace <= 0.0:
            into[:] = new
            return False
        try:
            weights = np.linalg.solve(gram + _RIDGE * trace * np.eye(count), right)
        except np.linalg.LinAlgError:
            # The last changes vanish below what floats resolve.
            into[:] = new
            return False
        if self._small:
            _combine(0, chunks, new, self._news, weights, count, into)
        else:
            _combine_in_chunks(chunks, new, self._news, weights, count, into)
        return True
