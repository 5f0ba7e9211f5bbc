r"""The least-norm trades among tied ones, in one MTU.

With the peers' net consumption q fixed, trades e over tied links and grid exchanges i, x over tied borders solve

.. math::

    \min\ \tfrac12 (\|e\|^2 + \|i\|^2 + \|x\|^2) \quad
    \text{s.t. each peer balances},\ 0 \le e \le \bar e,\ i, x \ge 0

whose dual is one potential :math:`\varphi` a peer:
:math:`e_{nm} = \mathrm{clip}(\varphi_m - \varphi_n, 0, \bar e_{nm})`, :math:`i_n = \max(\varphi_n, 0)`,
:math:`x_n = \max(-\varphi_n, 0)`. A semismooth Newton method with line search minimises the dual, which is convex and
piecewise quadratic; it ends at an exact zero of the balances, up to rounding.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse.linalg import splu

from optimization.community import Floats
from optimization.market import Indices

MOST_STEPS = 80
BALANCED = 1e-12
ACCEPTED = 1e-8
DENSE, SMALL, SPARSE = 1200, 60, 10
REGULAR = 1e-12
LONG = 1e3
FLAT = 1e-6

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """What may carry a given net consumption at no difference in cost.

    Attributes
    ----------
    seller, buyer : (K,) peers of the tied links
    capacity : (K,) kW, infinity for none
    may_import, may_export : (N,) whether the grid is tied at a peer
    """

    seller: Indices
    buyer: Indices
    capacity: Floats
    may_import: Mask
    may_export: Mask


def least_norm(ties: Ties, net: Floats) -> tuple[Floats, Floats, Floats] | None:
    """Trades, imports and exports, in kW, of least norm; None where the net consumption cannot be carried.

    Parameters
    ----------
    ties : as its class says
    net : (N,) kW of net consumption of each peer
    """
    scale = max(1.0, float(np.abs(net).max(initial=0.0)))
    potential = np.zeros_like(net)
    value, unbalanced = _dual(ties, net, potential)
    for step in range(MOST_STEPS):
        worst = float(np.abs(unbalanced).max(initial=0.0))
        if worst <= BALANCED * scale:
            break
        direction = _newton(ties, potential, unbalanced, every=step == 0)
        trial = potential + direction
        reached, rest = _dual(ties, net, trial)
        falls = reached <= value + 1e-4 * float(unbalanced @ direction) or float(np.abs(rest).max()) <= 0.5 * worst
        # A potential far above all trades has no digits left for them.
        if not falls or float(np.abs(direction).max()) > LONG * max(scale, float(np.abs(potential).max())):
            trial = potential + _least(ties, net, potential, direction) * direction
            reached, rest = _dual(ties, net, trial)
        potential, value, unbalanced = trial, reached, rest
    if float(np.abs(unbalanced).max(initial=0.0)) > ACCEPTED * scale:
        return None
    difference = potential[ties.buyer] - potential[ties.seller]
    return (
        np.clip(difference, 0.0, ties.capacity),
        np.where(ties.may_import, np.maximum(potential, 0.0), 0.0),
        np.where(ties.may_export, np.maximum(-potential, 0.0), 0.0),
    )


def _dual(ties: Ties, net: Floats, potential: Floats) -> tuple[float, Floats]:
    """Value and gradient of the dual; the gradient is each peer's surplus."""
    difference = potential[ties.buyer] - potential[ties.seller]
    trade = np.clip(difference, 0.0, ties.capacity)
    grid = np.where(ties.may_import, np.maximum(potential, 0.0), 0.0) + np.where(
        ties.may_export, np.minimum(potential, 0.0), 0.0
    )
    value = float((trade * (difference - 0.5 * trade)).sum() + 0.5 * (grid @ grid) - net @ potential)
    size = net.size
    surplus = np.bincount(ties.buyer, trade, size) - np.bincount(ties.seller, trade, size) + grid - net
    return value, surplus


def _least(ties: Ties, net: Floats, potential: Floats, direction: Floats) -> float:
    """The step at which the dual is least along a direction.

    Its derivative rises, and is linear between the steps at which a trade reaches a bound. Steps may differ by many
    orders: where what moves leaves a peer cut off, the direction is as long as ``REGULAR`` lets it be.
    """
    rise, start = direction[ties.buyer] - direction[ties.seller], potential[ties.buyer] - potential[ties.seller]
    grid = ties.may_import | ties.may_export
    with np.errstate(divide="ignore", invalid="ignore"):
        bends = np.concatenate([-start / rise, (ties.capacity - start) / rise, (-potential / direction)[grid]])
    bends = np.unique(bends[np.isfinite(bends) & (bends > 0.0)])

    def derivative(step: float) -> float:
        return float(_dual(ties, net, potential + step * direction)[1] @ direction)

    # Where the dual is flat its derivative is rounding, and so are the bends further on.
    flat = FLAT * derivative(0.0)
    low, high = 0, bends.size
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if derivative(bends[middle]) >= flat else (middle + 1, high)
    first = float(bends[low - 1]) if low else 0.0
    second = float(bends[low]) if low < bends.size else 2.0 * first if low else 1.0
    before, after = derivative(first), derivative(second)
    if after <= before:
        return first if low else second
    least = first - before * (second - first) / (after - before)
    return min(least, second) if low < bends.size else least


def _newton(ties: Ties, potential: Floats, unbalanced: Floats, *, every: bool) -> Floats:
    """The Newton direction; at the start with every link taken to move."""
    size = potential.size
    difference = potential[ties.buyer] - potential[ties.seller]
    moving = (difference >= 0.0) & (difference < ties.capacity)
    grid = (ties.may_import & (potential >= 0.0)) | (ties.may_export & (potential <= 0.0))
    if every:
        moving, grid = np.ones_like(moving), ties.may_import | ties.may_export
    s, b = ties.seller[moving], ties.buyer[moving]
    diagonal = np.bincount(s, minlength=size) + np.bincount(b, minlength=size) + grid
    shifted = diagonal + REGULAR * max(1.0, float(diagonal.max(initial=0.0)))
    off = sp.coo_array((np.full(s.size, -1.0), (s, b)), shape=(size, size)).tocsr()
    matrix = off + off.T + sp.diags_array(shifted)
    if size <= SMALL or (size <= DENSE and s.size > SPARSE * size):
        try:
            factor = cho_factor(matrix.toarray(), lower=True, check_finite=False)
        except LinAlgError:
            return -unbalanced
        answer: Floats = cho_solve(factor, -unbalanced, check_finite=False)
        answer += cho_solve(factor, -unbalanced - matrix @ answer, check_finite=False)
        return answer
    sparse = splu(
        sp.csc_array(matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    answer = sparse.solve(-unbalanced)
    answer += sparse.solve(-unbalanced - matrix @ answer)
    return answer
