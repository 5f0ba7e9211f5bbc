r"""Cholesky factors of a market with storages: dense within an MTU, block-tridiagonal over time.

Only storages join MTUs. With :math:`G_t` the rows of MTU t, :math:`C_t` their coupling to the storages' dynamics,
:math:`D_t` and :math:`O_t` the diagonal blocks of these within an MTU and towards the next, all of it is

.. math:: G_t = L_t L_t', \quad Y_t = L_t^{-1} C_t, \quad R_t = D_t - Y_t' Y_t - O_{t-1}' R_{t-1}^{-1} O_{t-1}
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import lapack, solve_triangular

from optimization.community import Floats
from optimization.errors import SolverError
from optimization.interior_point import kernels
from optimization.interior_point.programme import Programme
from optimization.market import Indices

MOST_ENTRIES = 60_000_000
MOST_ROWS = 1500
REGULAR = 1e-15


class Chain:
    """Solves for all MTUs, storages eliminated last."""

    def __init__(self, programme: Programme) -> None:
        rows, first, mtus = programme.target.size, programme.first_state, programme.mtus
        self._mtus, self._storages = mtus, (rows - first) // mtus
        self._rows = [np.flatnonzero(programme.mtu_of_row[:first] == t) for t in range(mtus)]
        self._states = first + np.arange(self._storages) * mtus
        size = self._size = max(part.size for part in self._rows)
        place = np.zeros(rows, dtype=np.int64)
        for part in self._rows:
            place[part] = np.arange(part.size)
        storage = (np.arange(rows) - first) // mtus
        mtu = programme.mtu_of_row
        one, other, column, value = _products(programme.boxes.matrix)
        self._value, self._column = value, column
        state_one, state_other = one >= first, other >= first
        within = ~state_one & ~state_other
        self._within = within
        self._block = mtu[one[within]] * size * size + place[one[within]] * size + place[other[within]]
        self._coupling = ~state_one & state_other
        o, p = one[self._coupling], other[self._coupling]
        self._coupled = (mtu[o] * size + place[o]) * self._storages + storage[p]
        self._same = state_one & (one == other)
        self._held = mtu[one[self._same]] * self._storages + storage[one[self._same]]
        self._next = state_one & (other == one + 1)
        self._passed = mtu[one[self._next]] * self._storages + storage[one[self._next]]
        arcs = programme.arcs
        low, high = np.maximum(arcs.seller, arcs.buyer), np.minimum(arcs.seller, arcs.buyer)
        self._arc = mtu[low] * size * size + place[low] * size + place[high]
        self._padding = [np.arange(part.size, size) for part in self._rows]

    @classmethod
    def fitting(cls, programme: Programme) -> "Chain | None":
        """A chain, where there are storages and its blocks fit."""
        mtus, first = programme.mtus, programme.first_state
        if first == programme.target.size or mtus == 1:
            return None
        size = int(np.bincount(programme.mtu_of_row[:first]).max(initial=0))
        fits = size <= MOST_ROWS and mtus * size**2 <= MOST_ENTRIES
        return cls(programme) if fits and (programme.target.size - first) // mtus <= MOST_ROWS else None

    def factor(self, weight: Floats, x: Floats, z: Floats, diagonal: Floats, damping: float) -> None:
        """Take new weights, as ``Normal`` says."""
        size, mtus, storages = self._size, self._mtus, self._storages
        products = self._value * weight[self._column]
        blocks: Floats = np.zeros(mtus * size * size)
        blocks += np.bincount(self._block, products[self._within], mtus * size * size)
        kernels.gather(self._arc, x, z, blocks)
        matrices = blocks.reshape(mtus, size, size)
        couplings = np.bincount(self._coupled, products[self._coupling], mtus * size * storages)
        columns = couplings.reshape(mtus, size, storages)
        held: Floats = np.full((mtus, storages), damping)
        held += np.bincount(self._held, products[self._same], mtus * storages).reshape(mtus, storages)
        self._off = np.bincount(self._passed, products[self._next], mtus * storages).reshape(mtus, storages)
        self._factors, self._coupled_factors, self._links = [], [], []
        carried = np.zeros((storages, storages))
        for t, part in enumerate(self._rows):
            matrix = matrices[t, : part.size, : part.size]
            matrix[np.diag_indices(part.size)] += diagonal[part] + damping
            lower = _cholesky(matrix)
            coupled = solve_triangular(lower, columns[t, : part.size], lower=True, check_finite=False)
            rest = np.diag(held[t]) - coupled.T @ coupled - carried
            link = _cholesky(rest, floor=held[t])
            self._factors.append(lower)
            self._coupled_factors.append(coupled)
            self._links.append(link)
            passed = solve_triangular(link, np.diag(self._off[t]), lower=True, check_finite=False)
            carried = passed.T @ passed

    def solve(self, right: Floats) -> Floats:
        """(R,) solution."""
        mtus, out = self._mtus, np.empty_like(right)
        inner: list[Floats] = []
        forward: list[Floats] = []
        carried = np.zeros(self._storages)
        for t, part in enumerate(self._rows):
            inner.append(solve_triangular(self._factors[t], right[part], lower=True, check_finite=False))
            state = right[self._states + t] - self._coupled_factors[t].T @ inner[t] - carried
            forward.append(solve_triangular(self._links[t], state, lower=True, check_finite=False))
            carried = self._off[t] * _back(self._links[t], forward[t])
        later = np.zeros(self._storages)
        for t in reversed(range(mtus)):
            rest = (
                forward[t] - solve_triangular(self._links[t], self._off[t] * later, lower=True, check_finite=False)
                if t < mtus - 1
                else forward[t]
            )
            later = _back(self._links[t], rest)
            out[self._states + t] = later
            out[self._rows[t]] = _back(self._factors[t], inner[t] - self._coupled_factors[t] @ later)
        return out


def _back(lower: Floats, right: Floats) -> Floats:
    answer: Floats = solve_triangular(lower, right, lower=True, trans=1, check_finite=False)
    return answer


def _cholesky(matrix: Floats, floor: Floats | None = None) -> Floats:
    """The lower factor, of a matrix shifted as little as makes it positive definite."""
    scale = np.maximum(matrix.diagonal() if floor is None else floor, 1e-300)
    shift = REGULAR
    for _ in range(8):
        shifted = matrix + np.diag(shift * scale)
        lower, failed = lapack.dpotrf(shifted, lower=1, clean=1)
        if not failed:
            return np.asarray(lower)
        shift *= 100.0
    raise SolverError("dispatch: got a normal matrix that is not positive definite, even when shifted")


def _products(matrix: sp.csc_array) -> tuple[Indices, Indices, Indices, Floats]:
    """All pairs of entries of each column: rows ``one`` and ``other``, the column, the product of the entries."""
    counts = np.diff(matrix.indptr)
    column = np.repeat(np.arange(counts.size), counts**2)
    position = np.arange(column.size) - np.repeat(np.cumsum(counts**2) - counts**2, counts**2)
    start = matrix.indptr[:-1][column].astype(np.int64)
    width: npt.NDArray[np.int64] = counts[column].astype(np.int64)
    first, second = start + position // width, start + position % width
    indices = matrix.indices.astype(np.int64)
    return indices[first], indices[second], column, matrix.data[first] * matrix.data[second]
