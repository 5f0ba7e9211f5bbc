r"""What it costs to change the state of a store in one MTU: convex piecewise-linear costs, one or a few.

Each mode changes the state by :math:`r f_m p` at a cost that is convex in p. Modes that touch are joined where their
costs together are convex: a battery's charge and discharge are but for prices so negative that energy would be burnt,

.. math::

    \eta^d (\pi - w) > \pi / \eta^c

The greatest convex function below all modes of an MTU is their hull: what the store would pay if it could mix them.

References
----------
M. Ayer, H. D. Brunk, G. M. Ewing, W. T. Reid, E. Silverman (1955), "An empirical distribution function for sampling
with incomplete information", Annals of Mathematical Statistics 26: pooling adjacent violators, which the hull is of
slopes.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from optimization.devices.store_state import Integers
from optimization.quantities import Floats

_ALIKE = 1e-14
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


class Moves(NamedTuple):
    """What changing the state costs in each MTU: rows of breakpoints, each row a convex piecewise-linear cost.

    Attributes
    ----------
    begin : (T + 1, M + 1) where each row of an MTU begins among the breakpoints; one entry more ends the last
    rows : (T,) number of rows
    mode : (T, M) the first mode of each
    fall : (N,) fall of the state at each breakpoint, ascending within an MTU
    cost : (N,) currency above what no power costs
    power : (N,) kW
    slope : (N,) currency per fall from each breakpoint to the next of its row
    hull_slope, hull_width : (N,) segments of each MTU's hull, from where its first row begins, and their falls
    hull_count : (T,) number of segments
    at, rise : (G + K + 2,) room to put kinks in order
    """

    begin: Integers
    rows: Integers
    mode: Integers
    fall: Floats
    cost: Floats
    power: Floats
    slope: Floats
    hull_slope: Floats
    hull_width: Floats
    hull_count: Integers
    at: Floats
    rise: Floats


@njit(cache=True, error_model="numpy")
def room_for_moves(mtus, modes, bends):  # type: ignore[no-untyped-def]
    """Room for the moves of a store with some modes, and some kinks and bends in each MTU."""
    most = mtus * modes * (bends + 2)
    return Moves(
        np.empty((mtus, modes + 1), dtype=np.int64),
        np.empty(mtus, dtype=np.int64),
        np.empty((mtus, modes), dtype=np.int64),
        np.empty(most),
        np.empty(most),
        np.empty(most),
        np.empty(most),
        np.empty(most),
        np.empty(most),
        np.empty(mtus, dtype=np.int64),
        np.empty(bends + 2),
        np.empty(bends + 2),
    )


@njit(cache=True, error_model="numpy")
def between(start, end, share):  # type: ignore[no-untyped-def]
    """A power between two others, not beyond them by rounding either."""
    power = start + (end - start) * share
    return min(max(power, min(start, end)), max(start, end))


@njit(cache=True, error_model="numpy")
def cost_above_idle(power, prices, b, t):  # type: ignore[no-untyped-def]
    """Currency per hour by which a power in an MTU is dearer than none.

    What none costs may be vast, where penalties count from far away: kept apart, it does not drown the rest.
    """
    cost = prices.price[b, t] * power
    for k in range(prices.kink.shape[2]):
        at = prices.kink_at[b, t, k]
        cost += prices.kink[b, t, k] * (max(0.0, power - at) - max(0.0, -at))
    return cost + 0.5 * prices.weight * power * (power - 2.0 * prices.target[b, t])


@njit(cache=True, error_model="numpy")
def idle_cost(prices, b):  # type: ignore[no-untyped-def]
    """Currency that no power costs over all MTUs."""
    cost = 0.0
    for t in range(prices.price.shape[1]):
        for k in range(prices.kink.shape[2]):
            cost += prices.kink[b, t, k] * max(0.0, -prices.kink_at[b, t, k])
        cost += 0.5 * prices.weight * prices.target[b, t] ** 2
    return prices.hours * cost


@njit(cache=True, error_model="numpy")
def _insert(at, rise, count, value, by):  # type: ignore[no-untyped-def]
    """Inserts a rise of the slope into a sorted list, places once; the length of the list."""
    i = count
    while i > 0 and at[i - 1] > value:
        i -= 1
    if i > 0 and at[i - 1] == value:
        rise[i - 1] += by
        return count
    for j in range(count, i, -1):
        at[j] = at[j - 1]
        rise[j] = rise[j - 1]
    at[i] = value
    rise[i] = by
    return count + 1


@njit(cache=True, error_model="numpy")
def _bends(prices, b, t, low, high, at, rise):  # type: ignore[no-untyped-def]
    """Writes the powers between which the cost of power is linear; their number, cost above idle and slope at first."""
    slope = prices.price[b, t]
    passed = beyond = 0.0
    at[0] = low
    rise[0] = 0.0
    count = 1
    if high > low:
        at[1] = high
        rise[1] = 0.0
        count = 2
    for k in range(prices.kink.shape[2]):
        kink, place = prices.kink[b, t, k], prices.kink_at[b, t, k]
        if kink > 0.0 and place < high:
            if place > low:
                count = _insert(at, rise, count, place, kink)
                passed += kink * min(0.0, place)
            elif place <= 0.0:
                slope += kink
            else:
                beyond += kink
                passed += kink * (low - place)
    cost = slope * low + passed
    slope += beyond
    if high > low:
        for k in range(prices.bend_kw.shape[2]):
            place = prices.bend_kw[b, t, k]
            if low < place < high:
                count = _insert(at, rise, count, place, 0.0)
    return count, cost, slope


@njit(cache=True, error_model="numpy")
def _write_mode(stores, r, prices, b, t, m, moves, used):  # type: ignore[no-untyped-def]
    """Writes the breakpoints of a mode, of ascending fall; the place after them."""
    at = moves.at
    count, cost, slope = _bends(prices, b, t, stores.low_kw[r, m], stores.high_kw[r, m], at, moves.rise)
    rate, wear = stores.rate[r, t] * stores.factor[r, m], stores.wear[r, m]
    weight, target, hours = prices.weight, prices.target[b, t], prices.hours
    for i in range(count):
        if i > 0:
            cost += slope * (at[i] - at[i - 1])
            slope += moves.rise[i]
        k = used + (count - 1 - i if rate > 0.0 else i)
        moves.fall[k] = -rate * at[i]
        moves.cost[k] = hours * (cost + 0.5 * weight * at[i] * (at[i] - 2.0 * target)) + wear * at[i]
        moves.power[k] = at[i]
        if i + 1 < count:
            # Not from the costs' differences, in which what is between two kinks side by side would be lost.
            steepness = hours * (slope + weight * (0.5 * (at[i] + at[i + 1]) - target)) + wear
            moves.slope[k - 1 if rate > 0.0 else k] = -steepness / rate
    return used + count


@njit(cache=True, error_model="numpy")
def _ascend(slope, after):  # type: ignore[no-untyped-def]
    """Whether slopes are in order, but for rounding."""
    return slope <= after + _ALIKE * (abs(slope) + abs(after))


@njit(cache=True, error_model="numpy")
def write_moves(stores, r, prices, b, moves):  # type: ignore[no-untyped-def]
    """Writes the moves of all MTUs of the stay, and their hulls; whether each MTU's are one row."""
    used = 0
    whole = False
    number = stores.modes[r]
    for t in range(stores.first[r], stores.end[r]):
        rows = 0
        for i in range(number):
            m = number - 1 - i if stores.rate[r, t] > 0.0 else i
            start = used
            used = _write_mode(stores, r, prices, b, t, m, moves, used)
            if rows > 0 and not stores.timed[r] and moves.power[start] == moves.power[start - 1]:
                before, count = start - moves.begin[t, rows - 1], used - start
                if before == 1 or count == 1 or _ascend(moves.slope[start - 2], moves.slope[start]):
                    moves.slope[start - 1] = moves.slope[start]
                    for k in range(start, used - 1):
                        moves.fall[k] = moves.fall[k + 1]
                        moves.cost[k] = moves.cost[k + 1]
                        moves.power[k] = moves.power[k + 1]
                        moves.slope[k] = moves.slope[k + 1]
                    used -= 1
                    continue
            moves.begin[t, rows] = start
            moves.mode[t, rows] = m
            rows += 1
        moves.begin[t, rows] = used
        moves.rows[t] = rows
        whole = whole or rows > 1
        _write_hull(moves, t)
    return not whole


@njit(cache=True, error_model="numpy")
def _write_hull(moves, t):  # type: ignore[no-untyped-def]
    """Writes the segments of the hull of all rows of an MTU."""
    first = moves.begin[t, 0]
    count = 0
    for row in range(moves.rows[t]):
        begin, end = moves.begin[t, row], moves.begin[t, row + 1]
        for k in range(begin if row == 0 else begin - 1, end - 1):
            width = moves.fall[k + 1] - moves.fall[k]
            if width <= 0.0:
                continue
            slope = moves.slope[k] if k >= begin else (moves.cost[k + 1] - moves.cost[k]) / width
            while moves.rows[t] > 1 and count > 0 and moves.hull_slope[first + count - 1] > slope:
                count -= 1
                before = moves.hull_width[first + count]
                slope = (slope * width + moves.hull_slope[first + count] * before) / (width + before)
                width += before
            moves.hull_slope[first + count] = slope
            moves.hull_width[first + count] = width
            count += 1
    moves.hull_count[t] = count
