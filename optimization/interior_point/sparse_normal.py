r"""Conjugate gradients for a normal matrix with many rows, preconditioned by a sparse factor of its heaviest arcs.

Kept in the preconditioner: all that boxes contribute, a spanning forest of greatest weight, and the arcs that carry a
good share of the weight at one of their ends. Late in the interior-point iteration what trades is nearly a forest, and
the preconditioner nearly exact; early all weights are alike, and the diagonal does. Dropped arcs stay on the diagonal.

References
----------
P. M. Vaidya (1990), unpublished, after M. Bern et al. (2006), "Support-graph preconditioners", SIAM J. Matrix Analysis
27(4), section 5.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.sparse.linalg import SuperLU, splu

from optimization.community import Floats
from optimization.interior_point import kernels
from optimization.interior_point.programme import Programme

HEAVY = 0.3
"""Share of the weight at an end from which an arc enters the preconditioner."""

ACCURACY = 1e-10
MOST_ITERATIONS = 500
REGULAR = 1e-14


class Sparse:
    """Solves to a relative residual of ``ACCURACY``, or as near as ``MOST_ITERATIONS`` come."""

    def __init__(self, programme: Programme) -> None:
        self._arcs = programme.arcs
        self._matrix = sp.csr_array(programme.boxes.matrix)
        self._transposed = sp.csr_array(programme.boxes.matrix.T)
        self._rows = programme.target.size
        self._pairs = np.minimum(self._arcs.seller, self._arcs.buyer).astype(np.int64) * self._rows + np.maximum(
            self._arcs.seller, self._arcs.buyer
        )

    def factor(self, weight: Floats, x: Floats, z: Floats, diagonal: Floats) -> None:
        """Take new weights: (B,) of the boxes; those of the arcs are ``x / z``, their row sums ``diagonal``."""
        self._weight, self._x, self._z = weight, x, z
        boxes = (self._matrix * weight[None, :]) @ self._transposed
        seller, buyer = self._arcs.seller, self._arcs.buyer
        total = boxes.diagonal() + diagonal
        forest = minimum_spanning_tree(sp.csr_array((z / x, (seller, buyer)), shape=boxes.shape)).tocoo()
        low, high = np.minimum(forest.row, forest.col), np.maximum(forest.row, forest.col)
        chosen = np.isin(self._pairs, low.astype(np.int64) * self._rows + high)
        chosen[kernels.heavy(seller, buyer, x, z, HEAVY * total)] = True
        kept = np.flatnonzero(chosen)
        weights, rows = -x[kept] / z[kept], np.arange(self._rows)
        arcs = sp.csr_array(
            (
                np.concatenate([weights, weights, diagonal + REGULAR * np.maximum(total, 1e-300)]),
                (np.concatenate([seller[kept], buyer[kept], rows]), np.concatenate([buyer[kept], seller[kept], rows])),
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
        """(R,) solution."""
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
        arcs = kernels.multiply(self._arcs.seller, self._arcs.buyer, self._x, self._z, vector)
        return self._matrix @ (self._weight * (self._transposed @ vector)) + arcs
