r"""The systems :math:`(A W A') u = v` of an interior-point iteration, W diagonal and positive.

The rows fall into components that no variable joins: MTUs, where there is no storage, and islands. A component with few
rows is factored densely, after rows that only touch kept ones (one side of a bipartite graph, whose block is diagonal)
are eliminated. The others are solved by conjugate gradients, with a sparse factor of the heavy part as preconditioner:
late in the iteration nearly all weight lies on the few arcs that trade.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import lapack
from scipy.sparse.csgraph import breadth_first_order, connected_components

from optimization.community import Floats
from optimization.errors import SolverError
from optimization.interior_point import kernels
from optimization.interior_point.chain_normal import Chain
from optimization.interior_point.programme import Arcs, Boxes, Programme
from optimization.market import Indices

DENSE_ROWS = 1500
MOST_PARTS = 256
DENSE_GAIN = 10.0
REGULAR = 1e-15


class Normal(Protocol):
    """Solves with the normal matrix of the current weights."""

    def factor(self, weight: Floats, x: Floats, z: Floats, diagonal: Floats, damping: float) -> None:
        """Take new weights: (B,) of the boxes; those of the arcs are ``x / z``, their row sums ``diagonal``.

        ``damping`` is added to the whole diagonal.
        """

    def solve(self, right: Floats) -> Floats:
        """(R,) solution."""


def normal(programme: Programme) -> Normal:
    """The way to solve that fits a programme."""
    chain = Chain.fitting(programme)
    if chain is not None:
        return chain
    parts = Parts.fitting(programme)
    if parts is not None:
        return parts
    dense = Dense.fitting(programme)
    if dense is not None:
        return dense
    from optimization.interior_point.sparse_normal import Sparse

    return Sparse(programme)


class Parts:
    """One way to solve for each MTU, where no storage joins them."""

    def __init__(self, programme: Programme, part: Indices) -> None:
        boxes, arcs = programme.boxes, programme.arcs
        owner = _owner(boxes.matrix, part)
        arc_part = part[arcs.seller]
        place = np.empty(part.size, dtype=np.int32)
        self._parts = []
        for k in range(int(part.max()) + 1):
            rows, columns = np.flatnonzero(part == k), np.flatnonzero(owner == k)
            mine = np.flatnonzero(arc_part == k)
            place[rows] = np.arange(rows.size, dtype=np.int32)
            inner = Programme(
                boxes=Boxes(
                    matrix=sp.csc_array(boxes.matrix[rows][:, columns]),
                    cost=boxes.cost[columns],
                    curvature=boxes.curvature[columns],
                    width=boxes.width[columns],
                ),
                arcs=Arcs(seller=place[arcs.seller[mine]], buyer=place[arcs.buyer[mine]], cost=arcs.cost[mine]),
                target=programme.target[rows],
                constant=0.0,
                balances=int((rows < programme.balances).sum()),
                first_state=rows.size,
                mtu_of_row=np.zeros(rows.size, dtype=np.int64),
                mtus=1,
            )
            self._parts.append((rows, columns, mine, normal(inner)))

    @classmethod
    def fitting(cls, programme: Programme) -> "Parts | None":
        """One part for each set of rows that variables join, where there are several, but not many."""
        if programme.first_state < programme.target.size:
            return None
        matrix = abs(programme.boxes.matrix)
        rows = programme.target.size
        arcs = programme.arcs
        joined = sp.csr_array((np.ones(arcs.seller.size), (arcs.seller, arcs.buyer)), shape=(rows, rows))
        count, part = connected_components(joined + sp.csr_array(matrix @ matrix.T), directed=False)
        return cls(programme, part) if 1 < count <= MOST_PARTS else None

    def factor(self, weight: Floats, x: Floats, z: Floats, diagonal: Floats, damping: float) -> None:
        """Take new weights, as ``Normal`` says."""
        for rows, columns, arcs, inner in self._parts:
            inner.factor(weight[columns], x[arcs], z[arcs], diagonal[rows], damping)

    def solve(self, right: Floats) -> Floats:
        """(R,) solution."""
        out = np.empty_like(right)
        for rows, _, _, inner in self._parts:
            out[rows] = inner.solve(right[rows])
        return out


def _owner(matrix: sp.csc_array, part: Indices) -> Indices:
    """(B,) part of each column; -1 for an empty one."""
    owner = np.full(matrix.shape[1], -1, dtype=np.int64)
    entries = np.diff(matrix.indptr)
    owner[entries > 0] = part[matrix.indices[matrix.indptr[:-1][entries > 0]]]
    return owner


class Dense:
    """Cholesky factors of a matrix with few rows, or with few rows that are not independent of each other."""

    def __init__(self, programme: Programme, eliminated: npt.NDArray[np.bool_]) -> None:
        arcs = programme.arcs
        self._eliminated = np.flatnonzero(eliminated)
        self._kept = np.flatnonzero(~eliminated)
        place = np.empty(eliminated.size, dtype=np.int32)
        place[self._eliminated] = np.arange(self._eliminated.size, dtype=np.int32)
        place[self._kept] = np.arange(self._kept.size, dtype=np.int32)
        if self._eliminated.size:
            first = np.where(eliminated[arcs.seller], arcs.seller, arcs.buyer)
            second = np.where(eliminated[arcs.seller], arcs.buyer, arcs.seller)
        else:
            first, second = np.maximum(arcs.seller, arcs.buyer), np.minimum(arcs.seller, arcs.buyer)
        self._first, self._second = place[first], place[second]
        self._boxes = sp.csr_array(programme.boxes.matrix)
        self._transposed = sp.csr_array(programme.boxes.matrix.T)
        self._order = np.lexsort((self._second, self._first))
        degree = np.bincount(self._first, minlength=self._eliminated.size)[: self._eliminated.size]
        self._ends = np.concatenate([[0], np.cumsum(degree)]).astype(np.int64)
        # Row by row where rows have few arcs; as one product of dense matrices, which run faster, where they have many.
        pairs = float((degree.astype(np.float64) ** 2).sum()) / 2
        self._row_by_row = DENSE_GAIN * pairs < self._eliminated.size * float(self._kept.size) ** 2
        coupled = sp.coo_array(abs(self._boxes) @ abs(self._transposed))
        self._joined = bool((eliminated[coupled.row] & (coupled.row != coupled.col)).any())

    @classmethod
    def fitting(cls, programme: Programme) -> "Dense | None":
        """A dense way, where it fits."""
        rows = programme.target.size
        if rows <= DENSE_ROWS // 3:
            return cls(programme, np.zeros(rows, dtype=np.bool_))
        side = _independent(programme)
        if side is not None and rows - side.sum() <= DENSE_ROWS:
            return cls(programme, side)
        return cls(programme, np.zeros(rows, dtype=np.bool_)) if rows <= DENSE_ROWS else None

    def factor(self, weight: Floats, x: Floats, z: Floats, diagonal: Floats, damping: float) -> None:
        """Take new weights, as ``Normal`` says."""
        boxes = sp.csr_array((self._boxes * weight[None, :]) @ self._transposed)
        kept, eliminated = self._kept, self._eliminated
        own = boxes.diagonal() + diagonal + damping
        matrix = boxes[kept][:, kept].toarray()
        matrix[np.diag_indices(kept.size)] += diagonal[kept] + damping
        self._pivot = own[eliminated]
        self._x, self._z = x, z
        self._side = None
        if not eliminated.size:
            kernels.scatter(self._first, self._second, x, z, matrix, 0, x.size)
        elif self._row_by_row and not self._joined:
            kernels.eliminate(self._ends, self._order, self._second, x, z, self._pivot, matrix)
            w = x[self._order] / z[self._order]
            self._sparse = sp.csr_array((-w, self._second[self._order], self._ends), shape=(eliminated.size, kept.size))
        else:
            side = boxes[eliminated][:, kept].toarray()
            kernels.scatter(self._first, self._second, x, z, side, 0, x.size)
            self._side = side
            matrix -= side.T @ (side / self._pivot[:, None])
        # Rows that nothing moves any more lose their pivots to rounding: a relative shift keeps them.
        shift = REGULAR * np.maximum(own[kept], 1e-300)
        for _ in range(8):
            matrix[np.diag_indices(kept.size)] += shift
            self._factor, failed = lapack.dpotrf(matrix.T, lower=0, clean=0, overwrite_a=0)
            if not failed:
                return
            shift *= 100.0
        raise SolverError("dispatch: got a normal matrix that is not positive definite, even when shifted")

    def solve(self, right: Floats) -> Floats:
        """(R,) solution."""
        out = np.empty_like(right)
        kept, eliminated = self._kept, self._eliminated
        side: Any = self._sparse if self._side is None and eliminated.size else self._side
        reduced = right[kept]
        if eliminated.size:
            reduced = reduced - side.T @ (right[eliminated] / self._pivot)
        if kept.size:
            out[kept] = lapack.dpotrs(self._factor, reduced, lower=0)[0]
        if eliminated.size:
            out[eliminated] = (right[eliminated] - side @ out[kept]) / self._pivot
        return out


def _independent(programme: Programme) -> npt.NDArray[np.bool_] | None:
    """The larger side of the balance rows, where arcs and boxes join them across two sides only; else None."""
    arcs, rows = programme.arcs, programme.target.size
    balances = programme.balances
    matrix = programme.boxes.matrix
    inside = sp.csr_array(matrix[:balances])
    joining = sp.csr_array((np.ones_like(inside.data), inside.indices, inside.indptr), shape=inside.shape)
    coupled = sp.coo_array(joining @ joining.T)
    graph = sp.csr_array(
        (
            np.ones(arcs.seller.size + coupled.nnz),
            (np.concatenate([arcs.seller, coupled.row]), np.concatenate([arcs.buyer, coupled.col])),
        ),
        shape=(balances, balances),
    )
    graph.setdiag(0)
    graph.eliminate_zeros()
    graph = sp.csr_array(graph + graph.T)
    depth = np.full(balances, -1)
    for start in range(balances):
        if depth[start] >= 0:
            continue
        order, parents = breadth_first_order(graph, start, directed=False)
        depth[start] = 0
        for node in order[1:]:
            depth[node] = depth[parents[node]] + 1
    colour = depth % 2
    pairs = graph.tocoo()
    if (colour[pairs.row] == colour[pairs.col]).any():
        return None
    side = colour == 1 if 2 * colour.sum() >= balances else colour == 0
    return np.concatenate([side, np.zeros(rows - balances, dtype=np.bool_)])
