r"""What it costs to change the state of a store in one MTU: convex piecewise-linear costs, one or a few.

Each mode changes the state by :math:`r f_m p` at a cost that is convex in p. Modes that touch are joined where their
costs together are convex: a battery's charge and discharge are but for prices so negative that energy would be burnt,

.. math::

    \eta^d (\pi - w) > \pi / \eta^c
"""

from typing import NamedTuple

from numba import njit

from optimization.devices.store_state import Integers
from optimization.quantities import Floats

_ALIKE = 1e-12
"""Slopes that differ by less, relative to themselves, count as one slope."""


class PowerPrices(NamedTuple):
    """What power costs, for B blocks; as in ``oracle.PowerCost``, with the powers at which a pull to a target bends.

    Attributes
    ----------
    price, target : (B, T)
    kink_at, kink : (B, T, K)
    bend_kw : (B, T, G) kW; between them a quadratic cost is taken as linear; G is 0 without a pull
    weight, hours : as there, and hours of an MTU
    """

    price: Floats
    target: Floats
    kink_at: Floats
    kink: Floats
    bend_kw: Floats
    weight: float
    hours: float


@njit(cache=True, error_model="numpy")
def cost_at(power, price, kink_at, kink, b, t, weight, target):  # type: ignore[no-untyped-def]
    """Currency per hour of a power in an MTU."""
    cost = price * power
    for k in range(kink.shape[2]):
        cost += kink[b, t, k] * max(0.0, power - kink_at[b, t, k])
    return cost + 0.5 * weight * (power - target) ** 2


@njit(cache=True, error_model="numpy")
def _insert(values, count, value):  # type: ignore[no-untyped-def]
    """Inserts a number into a sorted list, once; the length of the list."""
    i = count
    while i > 0 and values[i - 1] > value:
        i -= 1
    if i > 0 and values[i - 1] == value:
        return count
    for j in range(count, i, -1):
        values[j] = values[j - 1]
    values[i] = value
    return count + 1


@njit(cache=True, error_model="numpy")
def _bends(kink_at, kink, bend_kw, b, t, low, high, out):  # type: ignore[no-untyped-def]
    """Writes the powers between which the cost of power is linear; their number."""
    out[0] = low
    count = 1
    if high > low:
        out[1] = high
        count = 2
        for k in range(kink.shape[2]):
            at = kink_at[b, t, k]
            if kink[b, t, k] > 0.0 and low < at < high:
                count = _insert(out, count, at)
        for k in range(bend_kw.shape[2]):
            at = bend_kw[b, t, k]
            if low < at < high:
                count = _insert(out, count, at)
    return count


class Moves(NamedTuple):
    """What changing the state costs in one MTU: a convex piecewise-linear cost for each row, in order of the modes.

    Attributes
    ----------
    breakpoints : (M,) number of each row
    fall : (M, P) fall of the state at each breakpoint, ascending
    cost : (M, P) currency
    power : (M, P) kW
    """

    breakpoints: Integers
    fall: Floats
    cost: Floats
    power: Floats


@njit(cache=True, error_model="numpy")
def _touches(high, low, moves, row, count):  # type: ignore[no-untyped-def]
    """Whether a mode begins where the row before it ends, and their costs together are convex."""
    if low != high:
        return False
    before = moves.breakpoints[row - 1]
    if before == 1 or count == 1:
        return True
    rise = (moves.cost[row - 1, before - 1] - moves.cost[row - 1, before - 2]) * (
        moves.fall[row, 1] - moves.fall[row, 0]
    )
    after = (moves.cost[row, 1] - moves.cost[row, 0]) * (
        moves.fall[row - 1, before - 1] - moves.fall[row - 1, before - 2]
    )
    return rise <= after + _ALIKE * (abs(rise) + abs(after))


@njit(cache=True, error_model="numpy")
def write_moves(stores, r, prices, b, t, moves):  # type: ignore[no-untyped-def]
    """Writes the moves of an MTU; the number of rows."""
    rows = 0
    rate = stores.rate[r, t]
    price, target, weight, hours = prices.price[b, t], prices.target[b, t], prices.weight, prices.hours
    kink_at, kink, bend_kw = prices.kink_at, prices.kink, prices.bend_kw
    for m in range(stores.modes[r]):
        count = _bends(kink_at, kink, bend_kw, b, t, stores.low_kw[r, m], stores.high_kw[r, m], moves.power[rows])
        factor, wear = abs(rate) * stores.factor[r, m], stores.wear[r, m]
        for i in range(count):
            power = moves.power[rows, i]
            moves.fall[rows, i] = factor * power
            moves.cost[rows, i] = hours * cost_at(power, price, kink_at, kink, b, t, weight, target) + wear * power
        joins = rows > 0 and not (stores.timed[r] and m == 1)
        if joins and _touches(stores.high_kw[r, m - 1], stores.low_kw[r, m], moves, rows, count):
            before = moves.breakpoints[rows - 1]
            for i in range(1, count):
                moves.fall[rows - 1, before + i - 1] = moves.fall[rows, i]
                moves.cost[rows - 1, before + i - 1] = moves.cost[rows, i]
                moves.power[rows - 1, before + i - 1] = moves.power[rows, i]
            moves.breakpoints[rows - 1] = before + count - 1
        else:
            moves.breakpoints[rows] = count
            rows += 1
    if rate > 0.0:
        for row in range(rows):
            count = moves.breakpoints[row]
            for i in range((count + 1) // 2):
                j = count - 1 - i
                moves.fall[row, i], moves.fall[row, j] = -moves.fall[row, j], -moves.fall[row, i]
                moves.cost[row, i], moves.cost[row, j] = moves.cost[row, j], moves.cost[row, i]
                moves.power[row, i], moves.power[row, j] = moves.power[row, j], moves.power[row, i]
    return rows
