r"""Conjugate gradients for a normal matrix with many rows, preconditioned by a sparse factor of its heavy part.

Kept in the preconditioner: all that boxes contribute, the diagonal, and the arcs that carry a good share of the weight at
one of their ends. Dropped arcs stay on the diagonal, so that the preconditioner is never the lighter of the two.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import SuperLU, splu

from optimization.community import Floats
from optimization.interior_point import kernels
from optimization.interior_point.programme import Programme

HEAVY = 0.1
"""Share of the weight at an end from which an arc enters the preconditioner."""

ACCURACY = 1e-10
MOST_ITERATIONS = 400
REGULAR = 1e-14


class Sparse:
    """Solves to a relative residual of ``ACCURACY``, or as near as ``MOST_ITERATIONS`` come."""

    def __init__(self, programme: Programme) -> None:
        self._arcs = programme.arcs
        self._matrix = sp.csr_array(programme.boxes.matrix)
        self._transposed = sp.csr_array(programme.boxes.matrix.T)
        self._rows = programme.target.size
        self.products = 0

    def factor(self, weight: Floats, x: Floats, z: Floats, diagonal: Floats) -> None:
        self._weight, self._x, self._z = weight, x, z
        boxes = (self._matrix * weight[None, :]) @ self._transposed
        seller, buyer = self._arcs.seller, self._arcs.buyer
        total = boxes.diagonal() + diagonal
        heavy = kernels.heavy(seller, buyer, x, z, HEAVY * total)
        w = x[heavy] / z[heavy]
        s, b = seller[heavy], buyer[heavy]
        shifted = diagonal + REGULAR * np.maximum(total, 1e-300)
        matrix = boxes + sp.csr_array(
            (np.concatenate([-w, -w, shifted]), (np.concatenate([s, b, np.arange(self._rows)]), np.concatenate([b, s, np.arange(self._rows)]))),
            shape=boxes.shape,
        )
        self._factor: SuperLU = splu(
            sp.csc_array(matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        self.fill = self._factor.L.nnz if False else 0
        self.heavy = heavy.size

    def _product(self, vector: Floats) -> Floats:
        self.products += 1
        arcs = kernels.multiply(self._arcs.seller, self._arcs.buyer, self._x, self._z, vector)
        return self._matrix @ (self._weight * (self._transposed @ vector)) + arcs

    def solve(self, right: Floats) -> Floats:
        answer = self._factor.solve(right)
        residual = right - self._product(answer)
        wanted = ACCURACY * float(np.linalg.norm(right))
        direction = np.zeros_like(right)
        before = 1.0
        for k in range(MOST_ITERATIONS):
            if float(np.linalg.norm(residual)) <= wanted:
                break
            steered = self._factor.solve(residual)
            now = float(residual @ steered)
            direction = steered + (now / before if k else 0.0) * direction
            product = self._product(direction)
            curvature = float(direction @ product)
            if curvature <= 0.0 or not np.isfinite(curvature):
                break
            length = now / curvature
            answer += length * direction
            residual -= length * product
            before = now
        return answer
