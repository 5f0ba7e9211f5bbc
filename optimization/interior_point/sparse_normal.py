r"""Conjugate gradients for a normal matrix with many rows, preconditioned by a sparse factor of its heaviest arcs.

Kept in the preconditioner: all that boxes contribute, a spanning forest of greatest weight, and the arcs that carry a
good share of the weight at one of their ends. Late in the interior-point iteration what trades is nearly a forest, and
the preconditioner nearly exact; early all weights are alike, and the diagonal does. Dropped arcs stay on the diagonal.
Where peers link to neighbours only nothing is dropped: the factor is exact, and fills in little.

References
----------
P. M. Vaidya (1990), unpublished, after M. Bern et al. (2006), "Support-graph preconditioners", SIAM J. Matrix Analysis
27(4), section 5.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import minimum_spanning_tree, reverse_cuthill_mckee
from scipy.sparse.linalg import SuperLU, splu

from optimization.community import Floats
from optimization.interior_point import kernels
from optimization.interior_point.programme import Programme
from optimization.market import Indices

HEAVY = 0.3
"""Share of the weight at an end from which an arc enters the preconditioner."""

ACCURACY = 1e-10
MOST_ITERATIONS = 500
REGULAR = 1e-14

LOCAL = 8.0
"""Mean bandwidth, in square roots of the size, up to which a graph counts as local: in the plane it is 2 to 5, at
random 25 and more."""


class Sparse:
    """Solves to a relative residual of ``ACCURACY``, or as near as ``MOST_ITERATIONS`` come."""

    def __init__(self, programme: Programme) -> None:
        arcs, matrix = programme.arcs, programme.boxes.matrix
        self._rows = programme.target.size
        # Capped links are boxes, but in the graph they are as the other links.
        entries = np.diff(matrix.indptr)
        twice = np.flatnonzero(entries == 2)
        entry = matrix.indptr[twice][:, None] + [0, 1]
        ends, signs = matrix.indices[entry], matrix.data[entry]
        opposite = (np.abs(signs) == 1.0).all(axis=1) & (signs.sum(axis=1) == 0.0)
        linking = opposite & (ends < programme.balances).all(axis=1)
        self._linking = twice[linking]
        self._others = np.setdiff1d(np.arange(matrix.shape[1]), self._linking)
        self._matrix = sp.csr_array(matrix[:, self._others])
        self._transposed = sp.csr_array(self._matrix.T)
        self._seller = np.concatenate([arcs.seller, ends[linking, 0].astype(np.int32)])
        self._buyer = np.concatenate([arcs.buyer, ends[linking, 1].astype(np.int32)])
        low, high = np.minimum(self._seller, self._buyer), np.maximum(self._seller, self._buyer)
        self._pairs = low.astype(np.int64) * self._rows + high
        joined = sp.csr_array((np.ones(low.size), (self._seller, self._buyer)), shape=(self._rows, self._rows))
        self._local = _is_local(sp.csr_array(joined + joined.T + abs(self._matrix) @ abs(self._transposed)))

    def factor(self, weight: Floats, x: Floats, z: Floats, diagonal: Floats, damping: float) -> None:
        """Take new weights: (B,) of the boxes; those of the arcs are ``x / z``, their row sums ``diagonal``."""
        seller, buyer = self._seller, self._buyer
        self._others_weight = weight[self._others]
        self._weight = np.concatenate([x / z, weight[self._linking]])
        boxes = (self._matrix * self._others_weight[None, :]) @ self._transposed
        self._damping = damping
        links: Floats = np.full(self._rows, damping)
        links += np.bincount(seller, self._weight, self._rows)
        links += np.bincount(buyer, self._weight, self._rows)
        total = boxes.diagonal() + links
        if self._local:
            self._factorise(boxes, np.arange(seller.size), links, total)
            return
        graph = sp.csr_array((1.0 / self._weight, (seller, buyer)), shape=boxes.shape)
        forest = minimum_spanning_tree(graph).tocoo()
        low, high = np.minimum(forest.row, forest.col), np.maximum(forest.row, forest.col)
        chosen = np.isin(self._pairs, low.astype(np.int64) * self._rows + high)
        chosen[kernels.heavy(seller, buyer, self._weight, HEAVY * total)] = True
        self._factorise(boxes, np.flatnonzero(chosen), links, total)

    def _factorise(self, boxes: sp.csr_array, kept: Indices, links: Floats, total: Floats) -> None:
        """Factor the boxes' part, the kept arcs and what all arcs put on the diagonal."""
        seller, buyer, rows = self._seller[kept], self._buyer[kept], np.arange(self._rows)
        weights = -self._weight[kept]
        arcs = sp.csr_array(
            (
                np.concatenate([weights, weights, links + REGULAR * np.maximum(total, 1e-300)]),
                (np.concatenate([seller, buyer, rows]), np.concatenate([buyer, seller, rows])),
            ),
            shape=boxes.shape,
        )
        self._factor: SuperLU = splu(
            sp.csc_array(boxes + arcs),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )

    def solve(self, right: Floats) -> Floats:
        """(R,) prices."""
        answer: Floats = self._factor.solve(right)
        residual = right - self._product(answer)
        wanted = ACCURACY * float(np.linalg.norm(right))
        direction, before = np.zeros_like(right), 1.0
        for k in range(MOST_ITERATIONS):
            if float(np.linalg.norm(residual)) <= wanted:
                break
            steered = self._factor.solve(residual)
            now = float(residual @ steered)
            direction = steered + (now / before if k else 0.0) * direction
            product = self._product(direction)
            curvature = float(direction @ product)
            if not curvature > 0.0:
                break
            answer += now / curvature * direction
            residual -= now / curvature * product
            before = now
        return answer

    def _product(self, vector: Floats) -> Floats:
        arcs = kernels.multiply(self._seller, self._buyer, self._weight, vector)
        product: Floats = (
            self._matrix @ (self._others_weight * (self._transposed @ vector)) + arcs + self._damping * vector
        )
        return product


def _is_local(graph: sp.csr_array) -> bool:
    """Whether rows join near ones only, as neighbours in a plane do: then a factor of all of it fills in little."""
    size = graph.shape[0]
    order = reverse_cuthill_mckee(graph, symmetric_mode=True)
    place = np.empty(size, dtype=np.int64)
    place[order] = np.arange(size)
    entries = graph.tocoo()
    first = np.arange(size)
    np.minimum.at(first, place[entries.row], place[entries.col])
    return bool((np.arange(size) - first).mean() <= LOCAL * size**0.5)
