r"""Stores that may mix their modes: a convex problem, solved on sorted slopes.

With each MTU's cost of moves replaced by its hull, and minimum times and start costs left out, all value functions of
``store_dp`` are convex. A convex piecewise-linear function is kept as its value at its left end and its segments in
order of their slopes; an infimal convolution then merges two lists, and bounds cut off their ends.

The least after a move from x is attained where piece j of the hull, of slope :math:`c_j` and with falls
:math:`[u_j, u_{j+1}]`, is used for

.. math::

    \min\big(\max(0, x - z_j - u_j),\ u_{j+1} - u_j\big)

with :math:`z_j` the last state at which the value's slope does not exceed :math:`c_j`. These places are all that going
forwards needs.

The answer is the store's own where no mode is left out by mixing; elsewhere what it costs is a lower bound. Backwards,
:math:`H_t(s)` is the least cost from s on; forwards, :math:`F_t(s)` the least of having come to s. A schedule that
costs U is bettered only by schedules whose states all keep

.. math::

    F_t(s_t) + H_t(s_t) \le U

References
----------
R. T. Rockafellar (1970), "Convex Analysis", theorem 5.4 and section 16: infimal convolution.
R. Bellman (1957), "Dynamic Programming", Princeton University Press: the recursion.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from optimization.devices.store_moves import between
from optimization.devices.store_state import change
from optimization.quantities import Floats

_ALIKE = 1e-14
"""Neighbours whose slopes differ by less, relative to themselves, are one segment."""


class Convex(NamedTuple):
    """Room for a convex function.

    Attributes
    ----------
    slope, width : (N,) its segments, slopes ascending
    new_slope, new_width : (N',) segments of a hull, backwards
    place : (N,) as far as breakpoints of hulls go: where each piece of a hull begins to be used
    """

    slope: Floats
    width: Floats
    new_slope: Floats
    new_width: Floats
    place: Floats


@njit(cache=True, error_model="numpy")
def room_for_convex(mtus, modes, bends):  # type: ignore[no-untyped-def]
    """Room for the functions of a store with some modes, and some kinks and bends in each MTU."""
    pieces = modes * (bends + 2)
    most = mtus * (pieces + 2) + 2
    return Convex(np.empty(most), np.empty(most), np.empty(pieces), np.empty(pieces), np.empty(mtus * pieces))


@njit(cache=True, error_model="numpy")
def _merged(convex, count, end, new_slope, new_width, pieces, place):  # type: ignore[no-untyped-def]
    """Merges new segments in; writes the place of the old function after which each comes; number of segments."""
    slope, width = convex.slope, convex.width
    i = count - 1
    k = count + pieces - 1
    for j in range(pieces - 1, -1, -1):
        new = new_slope[j]
        while i >= 0 and slope[i] > new:
            slope[k] = slope[i]
            width[k] = width[i]
            end -= width[i]
            i -= 1
            k -= 1
        place[j] = end
        slope[k] = new
        width[k] = new_width[j]
        k -= 1
    return count + pieces


@njit(cache=True, error_model="numpy")
def _cut(convex, count, x, end, y, low, high):  # type: ignore[no-untyped-def]
    """Cuts a function off outside bounds, and joins segments alike; number of segments, ends and left value."""
    slope, width = convex.slope, convex.width
    while count > 0 and end - width[count - 1] >= high:
        end -= width[count - 1]
        count -= 1
    if end > high and count > 0:
        width[count - 1] -= end - high
        end = high
    i = 0
    while i < count and x + width[i] <= low:
        x += width[i]
        y += slope[i] * width[i]
        i += 1
    if x < low and i < count:
        y += slope[i] * (low - x)
        width[i] -= low - x
        x = low
    kept = 0
    rest = end - x
    for j in range(i, count):
        if width[j] <= 0.0:
            continue
        rest -= width[j]
        if kept > 0 and slope[j] - slope[kept - 1] <= _ALIKE * abs(slope[j]):
            width[kept - 1] += width[j]
        else:
            slope[kept] = slope[j]
            width[kept] = width[j]
            kept += 1
    if kept > 0:
        # What rounding lost to the ends would grow with each MTU by what the store does not keep.
        width[kept - 1] = max(0.0, width[kept - 1] + rest)
    return kept, x, end, y


@njit(cache=True, error_model="numpy")
def _with_state_cost(convex, count, x, y, slope, under, lower, over, upper):  # type: ignore[no-untyped-def]
    """Adds the cost of the state; number of segments and left value."""
    slopes, width = convex.slope, convex.width
    y += slope * x + under * max(0.0, lower - x) + over * max(0.0, x - upper)
    if slope != 0.0:
        for i in range(count):
            slopes[i] += slope
    if under > 0.0:
        i = 0
        at = x
        while i < count and at + width[i] <= lower:
            slopes[i] -= under
            at += width[i]
            i += 1
        if i < count and at < lower:
            count = _split(convex, count, i, lower - at)
            slopes[i] -= under
    if over > 0.0:
        i = 0
        at = x
        while i < count and at + width[i] <= upper:
            at += width[i]
            i += 1
        if i < count and at < upper:
            count = _split(convex, count, i, upper - at)
            i += 1
        for k in range(i, count):
            slopes[k] += over
    return count, y


@njit(cache=True, error_model="numpy")
def _split(convex, count, i, left):  # type: ignore[no-untyped-def]
    """Splits a segment in two; the number of segments."""
    for k in range(count, i, -1):
        convex.slope[k] = convex.slope[k - 1]
        convex.width[k] = convex.width[k - 1]
    convex.width[i] = left
    convex.width[i + 1] -= left
    return count + 1


@njit(cache=True, error_model="numpy")
def _scale(convex, count, by):  # type: ignore[no-untyped-def]
    """Stretches a function along its argument."""
    if by != 1.0:
        inverse = 1.0 / by
        for i in range(count):
            convex.width[i] *= by
            convex.slope[i] *= inverse


@njit(cache=True, error_model="numpy")
def _store(convex, count, x, y, values, t, used):  # type: ignore[no-untyped-def]
    """Writes the breakpoints of a function to the values of an MTU; the place after them, -1 for no room."""
    if used + count + 1 > values.x.size:
        return -1
    values.begin[t, 0] = used
    values.length[t, 0] = count + 1
    values.x[used] = x
    values.y[used] = y
    for i in range(count):
        x += convex.width[i]
        y += convex.slope[i] * convex.width[i]
        values.x[used + i + 1] = x
        values.y[used + i + 1] = y
    return used + count + 1


@njit(cache=True, error_model="numpy")
def relaxed_value(stores, r, moves, convex, values, stored):  # type: ignore[no-untyped-def]
    """The least cost of a store that may mix its modes; whether there was room to store the value functions if asked.

    Writes where each piece of each hull begins to be used.
    """
    first, end, keep = stores.first[r], stores.end[r], stores.keep[r]
    x, right, y = values.low[end - 1], values.high[end - 1], 0.0
    convex.slope[0] = 0.0
    convex.width[0] = right - x
    count, used = 1, 0
    for t in range(end - 1, first - 1, -1):
        count, y = _with_state_cost(
            convex, count, x, y, stores.slope[r, t],
            stores.under[r, t], stores.lower[r, t], stores.over[r, t], stores.upper[r, t],
        )  # fmt: skip
        if stored:
            used = _store(convex, count, x, y, values, t, used)
            if used < 0:
                return 0.0, False
        begin, last, pieces = moves.begin[t, 0], moves.begin[t, moves.rows[t]] - 1, moves.hull_count[t]
        count = _merged(
            convex, count, right, moves.hull_slope[begin:], moves.hull_width[begin:], pieces, convex.place[begin:]
        )
        x += moves.fall[begin]
        y += moves.cost[begin]
        right += moves.fall[last]
        before = stores.initial[r] if t == first else values.low[t - 1]
        after = stores.initial[r] if t == first else values.high[t - 1]
        low, high = keep * before + stores.drift[r, t], keep * after + stores.drift[r, t]
        if t == first:
            return _at(convex, count, x, y, low), True
        count, x, right, y = _cut(convex, count, x, right, y, low, high)
        _scale(convex, count, 1.0 / keep)
        x = (x - stores.drift[r, t]) / keep
        right = (right - stores.drift[r, t]) / keep
    return y, True


@njit(cache=True, error_model="numpy")
def _at(convex, count, x, y, at):  # type: ignore[no-untyped-def]
    """The value of a function at a place, taken to be within its domain."""
    for i in range(count):
        if x + convex.width[i] >= at:
            return y + convex.slope[i] * max(0.0, at - x)
        x += convex.width[i]
        y += convex.slope[i] * convex.width[i]
    return y


@njit(cache=True, error_model="numpy")
def follow_places(stores, r, moves, convex, power):  # type: ignore[no-untyped-def]
    """Writes the cheapest powers of a store whose hulls mix no modes."""
    state = stores.initial[r]
    for t in range(stores.first[r], stores.end[r]):
        state = stores.keep[r] * state + stores.drift[r, t]
        begin = moves.begin[t, 0]
        a = begin
        chosen = moves.power[a]
        for j in range(moves.hull_count[t]):
            while moves.fall[a + 1] <= moves.fall[a]:
                a += 1
            width = moves.fall[a + 1] - moves.fall[a]
            share = min(max(0.0, state - convex.place[begin + j] - moves.fall[a]), width) / width
            if share < 1.0:
                chosen = between(moves.power[a], moves.power[a + 1], share)
                break
            a += 1
            chosen = moves.power[a]
        power[t] = chosen
        state += change(stores, r, t, chosen)[0]


@njit(cache=True, error_model="numpy")
def narrow(stores, r, moves, convex, values, most, slack):  # type: ignore[no-untyped-def]
    """Narrows the states of interest to those on schedules that, modes mixed, cost no more than a sum."""
    first, end, keep = stores.first[r], stores.end[r], stores.keep[r]
    x = right = keep * stores.initial[r] + stores.drift[r, first]
    y = 0.0
    count = 0
    for t in range(first, end):
        begin, last, pieces = moves.begin[t, 0], moves.begin[t, moves.rows[t]] - 1, moves.hull_count[t]
        for j in range(pieces):
            convex.new_slope[j] = -moves.hull_slope[begin + pieces - 1 - j]
            convex.new_width[j] = moves.hull_width[begin + pieces - 1 - j]
        count = _merged(convex, count, right, convex.new_slope, convex.new_width, pieces, convex.place[begin:])
        x -= moves.fall[last]
        y += moves.cost[last]
        right -= moves.fall[begin]
        count, x, right, y = _cut(convex, count, x, right, y, values.low[t], values.high[t])
        low, high = _within(convex, count, x, y, values, t, most)
        if low <= high:
            # Bounds of states are never equal, or the function between them would be none.
            margin = slack * (1.0 + max(abs(low), abs(high)))
            values.low[t] = max(values.low[t], low - margin)
            values.high[t] = min(values.high[t], high + margin)
        if t + 1 < end:
            count, y = _with_state_cost(
                convex, count, x, y, stores.slope[r, t],
                stores.under[r, t], stores.lower[r, t], stores.over[r, t], stores.upper[r, t],
            )  # fmt: skip
            _scale(convex, count, keep)
            x = keep * x + stores.drift[r, t + 1]
            right = keep * right + stores.drift[r, t + 1]


@njit(cache=True, error_model="numpy")
def _within(convex, count, x, y, values, t, most):  # type: ignore[no-untyped-def]
    """The interval in which a function and the stored one of an MTU together are no more than a sum; none: inverted."""
    xs, ys = values.x, values.y
    k = values.begin[t, 0]
    last = k + values.length[t, 0] - 1
    i = 0
    if x < xs[k]:
        while i < count and x + convex.width[i] <= xs[k]:
            x += convex.width[i]
            y += convex.slope[i] * convex.width[i]
            i += 1
    low, high = np.inf, -np.inf
    at = max(x, xs[k])
    while k < last and xs[k + 1] <= at:
        k += 1
    before_at, before = at, np.inf
    while True:
        mine = y + (convex.slope[i] * (at - x) if i < count else 0.0)
        theirs = ys[k] if k == last else ys[k] + (ys[k + 1] - ys[k]) * ((at - xs[k]) / (xs[k + 1] - xs[k]))
        now = mine + theirs
        if now <= most:
            if low > high:
                low = at if before == np.inf else before_at + (at - before_at) * ((before - most) / (before - now))
            high = at
        elif low <= high:
            high = before_at + (at - before_at) * ((most - before) / (now - before))
            break
        if i >= count or k >= last:
            break
        before_at, before = at, now
        step = min(x + convex.width[i], xs[k + 1])
        if x + convex.width[i] <= step:
            x += convex.width[i]
            y += convex.slope[i] * convex.width[i]
            i += 1
        if xs[k + 1] <= step:
            k += 1
        at = step
    return low, high
