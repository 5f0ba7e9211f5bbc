r"""Passes over the arcs, fused, on one thread: two would spin against whatever else the machine does.

An arc :math:`l` from row :math:`s` to row :math:`b` has flow :math:`x \ge 0`, its dual :math:`z`, cost :math:`c` and
dual residual :math:`\rho = c + \lambda_s - \lambda_b - z`. With :math:`w = x / z` the Newton system eliminates it to

.. math::

    \frac{dz_a}{z} &= \frac{\rho + d\lambda_s - d\lambda_b}{z}, \qquad \frac{dx_a}{x} = -1 - \frac{dz_a}{z}
    && \text{predictor} \\
    \frac{dx_c}{x} &= \frac{\tau}{xz} - \frac{dx_a}{x}\frac{dz_a}{z} - \frac{d\lambda_s - d\lambda_b}{z}
    && \text{corrector, the prices' directions being its own}

Differences of prices' *directions* are divided by z, never differences of prices: these would lose all digits where z
is small, and with them the balance of what trades. No pass stores a direction: each recomputes it, which costs less
than reading it back.
"""

import numba
import numpy as np
import numpy.typing as npt

from optimization.community import Floats
from optimization.interior_point.programme import Rows

SMALLEST = 1e-300

_jit = numba.njit(cache=True, error_model="numpy", boundscheck=False)
_serial = numba.njit(cache=True, error_model="numpy")


@_serial
def _residual(cost, drop, z, exact):  # type: ignore[no-untyped-def]
    """Dual residual of an arc; exactly zero once all are, so that its rounding is not blown up by small z."""
    return 0.0 if exact else cost - drop - z


@_jit
def weigh(
    seller: Rows, buyer: Rows, cost: Floats, x: Floats, z: Floats, price: Floats, exact: bool, least: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Sums over the arcs at an iterate.

    Parameters
    ----------
    exact : whether dual residuals are at the level of rounding, and count as zero
    least : added to what dual residuals are measured against

    Returns
    -------
    flow : (R,) A x of the arcs
    pull : (R,) A of the predictor's ``-w (z + residual)``
    diagonal : (R,) diagonal of A w A'
    totals : (3,) sum of x z; largest dual residual; largest against the cost, prices and dual that one is made of
    """
    rows = price.size
    flow, pull, diagonal, totals = np.zeros(rows), np.zeros(rows), np.zeros(rows), np.zeros(3)
    for k in range(x.size):
        s, b = seller[k], buyer[k]
        residual = _residual(cost[k], price[b] - price[s], z[k], exact)
        w = x[k] / z[k]
        g = -x[k] - w * residual
        flow[s] += x[k]
        flow[b] -= x[k]
        pull[s] += g
        pull[b] -= g
        diagonal[s] += w
        diagonal[b] += w
        totals[0] += x[k] * z[k]
        totals[1] = max(totals[1], abs(residual))
        totals[2] = max(totals[2], abs(residual) / (least + cost[k] + abs(price[s]) + abs(price[b]) + z[k]))
    return flow, pull, diagonal, totals


@_jit
def predict(
    seller: Rows, buyer: Rows, cost: Floats, x: Floats, z: Floats, price: Floats, move: Floats, exact: bool
) -> tuple[Floats, Floats, Floats]:
    """What the predictor's direction does to the arcs.

    Parameters
    ----------
    move : (R,) the predictor's direction of the prices

    Returns
    -------
    centre, bend : (R,) A of ``1 / z`` and of ``-dx dz / z``: the corrector's right-hand side per unit of each
    totals : (4,) largest steps of x and of z, at most 1; sums of ``x dz + z dx`` and of ``dx dz``
    """
    rows = price.size
    centre, bend = np.zeros(rows), np.zeros(rows)
    fastest_x, fastest_z, linear, quadratic = 1.0, 1.0, 0.0, 0.0
    for k in range(x.size):
        s, b = seller[k], buyer[k]
        inverse = 1.0 / z[k]
        residual = _residual(cost[k], price[b] - price[s], z[k], exact)
        rise = (residual + move[s] - move[b]) * inverse
        dx, dz = -x[k] * (1.0 + rise), z[k] * rise
        fastest_x = max(fastest_x, 1.0 + rise)
        fastest_z = max(fastest_z, -rise)
        linear += x[k] * dz + z[k] * dx
        quadratic += dx * dz
        q = -dx * dz * inverse
        centre[s] += inverse
        centre[b] -= inverse
        bend[s] += q
        bend[b] -= q
    return centre, bend, np.array([1.0 / fastest_x, 1.0 / fastest_z, linear, quadratic])


@_serial
def _directions(x, z, residual, first, second, target):  # type: ignore[no-untyped-def]
    """How fast the predictor lets z rise; what the corrector adds to z and x together and to x, relative to them."""
    inverse = 1.0 / z
    rise = (residual + first) * inverse
    push = target * inverse / x + rise * (1.0 + rise)
    return rise, push, push - second * inverse


@_serial
def _relative(rise, push, turn, weight):  # type: ignore[no-untyped-def]
    """Directions of one arc relative to x and to z, the corrector entering with a weight."""
    forward = -1.0 - rise + weight * turn
    return forward, weight * push - 1.0 - forward


@_jit
def correct(
    seller: Rows,
    buyer: Rows,
    cost: Floats,
    x: Floats,
    z: Floats,
    price: Floats,
    move: Floats,
    second: Floats,
    target: float,
    weights: Floats,
    exact: bool,
) -> Floats:
    """The largest steps of x and of z along the predictor plus a weight times the corrector, for several weights.

    Parameters
    ----------
    move, second : (R,) directions of the prices: the predictor's and the corrector's
    target : what ``x z`` shall be
    weights : (K,) of the corrector

    Returns
    -------
    (K, 2) largest step that keeps x, and z, non-negative; infinity where nothing falls
    """
    fastest = np.zeros((weights.size, 2))
    for k in range(x.size):
        s, b = seller[k], buyer[k]
        residual = _residual(cost[k], price[b] - price[s], z[k], exact)
        rise, push, turn = _directions(x[k], z[k], residual, move[s] - move[b], second[s] - second[b], target)
        for i in range(weights.size):
            dx, dz = _relative(rise, push, turn, weights[i])
            fastest[i, 0] = max(fastest[i, 0], -dx)
            fastest[i, 1] = max(fastest[i, 1], -dz)
    return 1.0 / fastest


@_jit
def step(
    seller: Rows,
    buyer: Rows,
    cost: Floats,
    x: Floats,
    z: Floats,
    price: Floats,
    move: Floats,
    second: Floats,
    target: float,
    weight: float,
    length: float,
    exact: bool,
) -> None:
    """Move x and z, in place, along the predictor plus a weight times the corrector."""
    for k in range(x.size):
        s, b = seller[k], buyer[k]
        residual = _residual(cost[k], price[b] - price[s], z[k], exact)
        rise, push, turn = _directions(x[k], z[k], residual, move[s] - move[b], second[s] - second[b], target)
        dx, dz = _relative(rise, push, turn, weight)
        x[k] = max(x[k] + length * x[k] * dx, SMALLEST)
        z[k] = max(z[k] + length * z[k] * dz, SMALLEST)


@_jit
def multiply(seller: Rows, buyer: Rows, weight: Floats, vector: Floats) -> Floats:
    """(R,) A w A' times a vector, the arcs alone; from differences, which keeps its accuracy where weights are huge."""
    out = np.zeros(vector.size)
    for k in range(weight.size):
        s, b = seller[k], buyer[k]
        moved = weight[k] * (vector[s] - vector[b])
        out[s] += moved
        out[b] -= moved
    return out


@numba.njit(cache=True, error_model="numpy", boundscheck=False)
def scatter(rows: Rows, columns: Rows, x: Floats, z: Floats, target: Floats, first: int, end: int) -> None:
    """Subtract each weight ``x / z`` of arcs ``[first, end)`` from a matrix, in place."""
    for k in range(first, end):
        target[rows[k], columns[k]] -= x[k] / z[k]


@numba.njit(cache=True, error_model="numpy", boundscheck=False)
def heavy(seller: Rows, buyer: Rows, weight: Floats, least: Floats) -> npt.NDArray[np.int64]:
    """Arcs whose weight reaches the (R,) least weight of one of their ends."""
    count = 0
    for k in range(weight.size):
        count += weight[k] >= min(least[seller[k]], least[buyer[k]])
    found = np.empty(count, dtype=np.int64)
    count = 0
    for k in range(weight.size):
        if weight[k] >= min(least[seller[k]], least[buyer[k]]):
            found[count] = k
            count += 1
    return found


@numba.njit(cache=True, error_model="numpy", boundscheck=False)
def gather(place: npt.NDArray[np.int64], x: Floats, z: Floats, target: Floats) -> None:
    """Subtract each arc's weight ``x / z`` from its place in a flat matrix, in place."""
    for k in range(place.size):
        target[place[k]] -= x[k] / z[k]


@numba.njit(cache=True, error_model="numpy", boundscheck=False)
def cheapest(seller: Rows, buyer: Rows, measure: Floats, rows: int, most: int) -> npt.NDArray[np.bool_]:
    """(M,) whether an arc is among the ``most`` of least measure at one of its ends; ties go to earlier arcs."""
    least = np.full((rows, most), np.inf)
    for k in range(measure.size):
        for row in (seller[k], buyer[k]):
            if measure[k] < least[row, most - 1]:
                place = most - 1
                while place > 0 and least[row, place - 1] > measure[k]:
                    least[row, place] = least[row, place - 1]
                    place -= 1
                least[row, place] = measure[k]
    chosen = np.zeros(measure.size, dtype=np.bool_)
    taken = np.zeros(rows, dtype=np.int64)
    for k in range(measure.size):
        for row in (seller[k], buyer[k]):
            if measure[k] <= least[row, most - 1] and taken[row] < 2 * most:
                taken[row] += 1
                chosen[k] = True
    return chosen


@numba.njit(cache=True, error_model="numpy", boundscheck=False)
def eliminate(
    start: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
    column: Rows,
    x: Floats,
    z: Floats,
    pivot: Floats,
    out: Floats,
) -> None:
    """Subtract ``b' b / pivot`` from the lower triangle of a matrix, in place, for each eliminated row b of weights.

    Parameters
    ----------
    start : (E + 1,) where the arcs of each eliminated row begin in ``order``
    order : (M,) arcs by eliminated row, each row's by ascending column
    column : (M,) kept row of each arc
    pivot : (E,) diagonal of the eliminated rows
    """
    for e in range(pivot.size):
        inverse = 1.0 / pivot[e]
        for p in range(start[e], start[e + 1]):
            k = order[p]
            share = x[k] / z[k] * inverse
            row = column[k]
            for q in range(start[e], p + 1):
                j = order[q]
                out[row, column[j]] -= share * (x[j] / z[j])
            # Arcs both ways share a column: their product enters the square of their sum twice.
            q = p - 1
            while q >= start[e] and column[order[q]] == row:
                out[row, row] -= share * (x[order[q]] / z[order[q]])
                q -= 1
