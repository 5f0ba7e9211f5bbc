r"""The cheapest schedules of stores, exactly, by dynamic programming on piecewise-linear value functions.

A store has one number as its state, stored energy or a temperature, that follows

.. math::

    s_t = \kappa s_{t-1} + r_t f_m p_t + d_t, \qquad p_t \in [\underline p_m, \overline p_m]

where m is the mode of the MTU (discharging, idle, charging in one of several ranges), one at a time. With the cost of
power :math:`C_t`, the wear of the mode :math:`w_m` and a convex piecewise-linear cost of the state :math:`h_t`, the
value of being in state s at the end of t is

.. math::

    H_t(s) = h_t(s) + \min_m \min_p\ C_{t+1}(p) + w_m p + H_{t+1}(\kappa s + r_{t+1} f_m p + d_{t+1})

an infimal convolution for each mode (``piecewise``). Modes that touch and whose costs together are convex count as one
(``store_moves``). Where one mode is left in each MTU the problem is convex, and ``store_relaxation`` solves it.

Elsewhere it gives value functions that are too low. Following those, with the modes as they are, gives a schedule of
cost U, most often a good one. H is then kept where it is needed: on states that can be reached, from which the bounds
of later MTUs can be kept, and through which a schedule could cost less than U.

A store with minimum times has a value function for each number of MTUs that it has been on or off.

Going forwards, each MTU chooses the power that attains the minimum, found among the breakpoints within reach.

References
----------
R. Bellman (1957), "Dynamic Programming", Princeton University Press: the recursion.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from optimization.devices.piecewise import convex_run, convolved, lessen, moved, settled
from optimization.devices.store_moves import between, cost_above_idle, idle_cost, room_for_moves, write_moves
from optimization.devices.store_relaxation import follow_places, narrow, relaxed_value, room_for_convex
from optimization.devices.store_state import Integers, change, own_cost, state_cost
from optimization.quantities import Floats

SLACK = 1e-12
"""By how much, relative to one and the state, a bound may be missed: what rounding moves."""

ALIKE = 1e-10
"""A schedule dearer than a bound by no more than this, relative to one and itself, is cheapest."""

MARGIN = 1e-9
"""By how much, relative to one and what it costs, a schedule may be dearer than one through a state left out."""

CHUNKS = 64
"""Chunks of blocks that threads share."""


class Values(NamedTuple):
    """Room for the value functions of one store with Q counts of running over T MTUs.

    Attributes
    ----------
    x, y : (N,) the breakpoints of all functions, one after the other
    begin, length : (T, Q) where each is
    worth_x, worth_y, worth_count : (Q, N') and (Q,) the functions of the MTU at work
    other : (4, N') functions while their least is sought
    low, high : (T,) states of interest
    """

    x: Floats
    y: Floats
    begin: Integers
    length: Integers
    worth_x: Floats
    worth_y: Floats
    worth_count: Integers
    other: Floats
    low: Floats
    high: Floats


@njit(cache=True, error_model="numpy")
def _room(mtus, counts, breakpoints):  # type: ignore[no-untyped-def]
    return Values(
        np.empty(mtus * counts * breakpoints),
        np.empty(mtus * counts * breakpoints),
        np.empty((mtus, counts), dtype=np.int64),
        np.empty((mtus, counts), dtype=np.int64),
        np.empty((counts, 8 * breakpoints)),
        np.empty((counts, 8 * breakpoints)),
        np.empty(counts, dtype=np.int64),
        np.empty((4, 8 * breakpoints)),
        np.empty(mtus),
        np.empty(mtus),
    )


@njit(cache=True, error_model="numpy")
def _bound_states(stores, r, values):  # type: ignore[no-untyped-def]
    """Writes the states of interest: those that can be reached, and from which later bounds can be kept."""
    low, high = values.low, values.high
    first, end, keep = stores.first[r], stores.end[r], stores.keep[r]
    need = -np.inf
    for t in range(end - 1, first - 1, -1):
        need = max(stores.floor[r, t], need)
        low[t] = need
        most = -np.inf
        for m in range(stores.modes[r]):
            rate = stores.rate[r, t] * stores.factor[r, m]
            most = max(most, rate * stores.low_kw[r, m], rate * stores.high_kw[r, m])
        need = (need - stores.drift[r, t] - most) / keep
    lowest = highest = stores.initial[r]
    for t in range(first, end):
        least_change, most_change = np.inf, -np.inf
        for m in range(stores.modes[r]):
            rate = stores.rate[r, t] * stores.factor[r, m]
            least_change = min(least_change, rate * stores.low_kw[r, m], rate * stores.high_kw[r, m])
            most_change = max(most_change, rate * stores.low_kw[r, m], rate * stores.high_kw[r, m])
        highest = min(stores.cap[r], keep * highest + stores.drift[r, t] + most_change)
        lowest = min(highest, max(low[t], keep * lowest + stores.drift[r, t] + least_change))
        slack = SLACK * (1.0 + max(abs(lowest), abs(highest)))
        low[t] = lowest - slack
        high[t] = highest + slack


@njit(cache=True, error_model="numpy")
def _include(xs, ys, count, fall, cost, pieces, extra, low, high, least_x, least_y, have, other):  # type: ignore[no-untyped-def]
    """Lessens a function to a value function after a move of a row; its number of breakpoints, -1 for no room."""
    room = least_x.size
    start = 0
    while True:
        end = count - 1 if pieces == 1 else convex_run(xs, ys, count, start)
        if have + 4 * (have + end - start + pieces + 4) > room:
            return -1
        new_x = other[0] if have > 1 else least_x
        new_y = other[1] if have > 1 else least_y
        if pieces == 1:
            new = moved(xs, ys, count, fall[0], cost[0], low, high, new_x, new_y)
        else:
            new = convolved(xs, ys, start, end, fall, cost, pieces, low, high, new_x, new_y)
        for i in range(new):
            new_y[i] += extra
        if have <= 1:
            have = max(have, new)
        elif new > 1:
            have = lessen(least_x, least_y, have, new_x, new_y, new, other[2], other[3])
        if end == count - 1:
            return have
        start = end if end > start and xs[end + 1] > xs[end] else end + 1


@njit(cache=True, error_model="numpy")
def _carry(stores, r, t, moves, values, q, low, high):  # type: ignore[no-untyped-def]
    """Writes the value of beginning an MTU with a count of running; number of breakpoints, -1 for no room."""
    have = 0
    on, count = _counted(q, stores.min_on[r])
    for row in range(moves.rows[t]):
        allowed, nxt, extra = _step(
            stores.timed[r], stores.min_on[r], stores.min_off[r], stores.start_cost[r],
            on, count, moves.mode[t, row] > 0,
        )  # fmt: skip
        if not allowed:
            continue
        begin, number = values.begin[t, nxt], values.length[t, nxt]
        if number == 0:
            continue
        first, end = moves.begin[t, row], moves.begin[t, row + 1]
        have = _include(
            values.x[begin : begin + number], values.y[begin : begin + number], number,
            moves.fall[first:end], moves.cost[first:end], end - first, extra, low, high,
            values.worth_x[q], values.worth_y[q], have, values.other,
        )  # fmt: skip
        if have < 0:
            break
    return have


@njit(cache=True, error_model="numpy")
def _counted(q, least_on):  # type: ignore[no-untyped-def]
    """Whether a count of running says on, and for how many MTUs."""
    if q < least_on:
        return True, q + 1
    return False, q - least_on + 1


@njit(cache=True, error_model="numpy")
def _step(timed, least_on, least_off, start_cost, on, count, to_on):  # type: ignore[no-untyped-def]
    """Whether a store may be on (or off) in the next MTU, its count of running then, and what it costs to start."""
    if not timed:
        return True, 0, 0.0
    if to_on:
        if on:
            return True, min(count + 1, least_on) - 1, 0.0
        return count >= least_off, 0, start_cost
    if on:
        return count >= least_on, least_on, 0.0
    return True, least_on + min(count + 1, least_off) - 1, 0.0


@njit(cache=True, error_model="numpy")
def _evaluate(stores, r, moves, values):  # type: ignore[no-untyped-def]
    """Writes the value functions after every MTU of the stay, last one first; False where room is too small."""
    first, end = stores.first[r], stores.end[r]
    counts = stores.min_on[r] + stores.min_off[r] if stores.timed[r] else 1
    used = 0
    for q in range(counts):
        values.worth_count[q] = 2
        values.worth_x[q, 0], values.worth_x[q, 1] = values.low[end - 1], values.high[end - 1]
        values.worth_y[q, 0] = values.worth_y[q, 1] = 0.0
    for t in range(end - 1, first - 1, -1):
        keep = stores.keep[r] if t < end - 1 else 1.0
        drift = stores.drift[r, t + 1] if t < end - 1 else 0.0
        for q in range(counts):
            number = values.worth_count[q]
            if used + number + 2 > values.x.size:
                return False
            values.begin[t, q] = used
            values.length[t, q] = settled(
                values.worth_x[q], values.worth_y[q], number, keep, drift, stores.slope[r, t],
                stores.under[r, t], stores.lower[r, t], stores.over[r, t], stores.upper[r, t],
                values.x[used:], values.y[used:],
            )  # fmt: skip
            used += values.length[t, q]
        if t == first:
            break
        low = stores.keep[r] * values.low[t - 1] + stores.drift[r, t]
        high = stores.keep[r] * values.high[t - 1] + stores.drift[r, t]
        for q in range(counts):
            have = _carry(stores, r, t, moves, values, q, low, high)
            if have < 0:
                return False
            values.worth_count[q] = have
    return True


@njit(cache=True, error_model="numpy")
def _best_move(xs, ys, count, moves, begin, end, state, slack):  # type: ignore[no-untyped-def]
    """The least value after a move between breakpoints from a state, and cost and power of the move."""
    best, best_cost, best_power = np.inf, 0.0, 0.0
    fall, cost, power = moves.fall, moves.cost, moves.power
    for i in range(begin, max(begin + 1, end - 1)):
        j = min(i + 1, end - 1)
        width = fall[j] - fall[i]
        low = max(state - fall[j] - slack, xs[0])
        high = min(state - fall[i] + slack, xs[count - 1])
        if low > high:
            continue
        at = np.searchsorted(xs, low)
        x = low
        y = ys[at] if at == 0 or xs[at] == low else ys[at - 1] + (ys[at] - ys[at - 1]) * (
            (low - xs[at - 1]) / (xs[at] - xs[at - 1])
        )  # fmt: skip
        while True:
            share = min(max((state - x - fall[i]) / width, 0.0), 1.0) if width > 0.0 else 0.0
            paid = cost[i] + (cost[j] - cost[i]) * share
            if y + paid < best:
                best = y + paid
                best_cost = paid
                best_power = between(power[i], power[j], share)
            if x >= high and (at >= count or xs[at] > high):
                break
            if at < count and xs[at] <= high:
                x, y = xs[at], ys[at]
                at += 1
            else:
                y += (ys[at] - y) * ((high - x) / (xs[at] - x)) if at < count else 0.0
                x = high
    return best, best_cost, best_power


@njit(cache=True, error_model="numpy")
def _follow(stores, r, moves, values, mixed, power):  # type: ignore[no-untyped-def]
    """Writes the powers of the stay that values make cheapest, those of mixed modes if so asked.

    Returns the value of the first of them and what all of them cost; infinite where mixed modes lead nowhere. A cost
    that is taken as linear between powers is counted so.
    """
    state, worth, total = stores.initial[r], 0.0, 0.0
    on = bool(stores.running[r])
    count = min(stores.elapsed[r], stores.min_on[r] if on else stores.min_off[r])
    for t in range(stores.first[r], stores.end[r]):
        state = stores.keep[r] * state + stores.drift[r, t]
        slack = SLACK * (1.0 + abs(state))
        best, best_cost, best_power, best_next = np.inf, 0.0, 0.0, 0
        for row in range(moves.rows[t]):
            allowed, nxt, extra = _step(
                stores.timed[r], stores.min_on[r], stores.min_off[r], stores.start_cost[r],
                on, count, moves.mode[t, row] > 0,
            )  # fmt: skip
            if not allowed:
                continue
            begin = values.begin[t, 0 if mixed else nxt]
            number = values.length[t, 0 if mixed else nxt]
            if number == 0:
                continue
            xs, ys = values.x[begin : begin + number], values.y[begin : begin + number]
            value, paid, chosen = _best_move(
                xs, ys, number, moves, moves.begin[t, row], moves.begin[t, row + 1], state, slack
            )  # fmt: skip
            if value + extra < best:
                best, best_cost, best_power, best_next = value + extra, paid + extra, chosen, nxt
        if t == stores.first[r]:
            worth = best
        if best == np.inf:
            return best, best
        power[t] = best_power
        state += change(stores, r, t, best_power)[0]
        total += best_cost + state_cost(stores, r, t, state)
        if stores.timed[r]:
            on, count = _counted(best_next, stores.min_on[r])
    return worth, total


@njit(cache=True, error_model="numpy")
def _priced(stores, r, prices, b, power):  # type: ignore[no-untyped-def]
    """Currency of a schedule by itself, and by which its power is dearer than none."""
    cost = 0.0
    for t in range(stores.first[r], stores.end[r]):
        cost += cost_above_idle(power[t], prices, b, t)
    return own_cost(stores, r, power), prices.hours * cost


@njit(cache=True, error_model="numpy")
def _more_room(stores, r, values, room):  # type: ignore[no-untyped-def]
    """Twice the room for values."""
    counts = stores.min_on[r] + stores.min_off[r] if stores.timed[r] else 1
    more = _room(values.low.size, counts, 2 * room)
    more.low[:] = values.low
    more.high[:] = values.high
    return more


@njit(cache=True, error_model="numpy")
def _cheapest_whole(stores, r, prices, b, moves, convex, values, room, power):  # type: ignore[no-untyped-def]
    """Writes the cheapest powers of a store with modes that mixing would leave out; value, and room as it has grown."""
    done = False
    while not done:
        least, done = relaxed_value(stores, r, moves, convex, values, True)
        if not done:
            values, room = _more_room(stores, r, values, room), 2 * room
    total = _follow(stores, r, moves, values, True, power)[1]
    if total < np.inf:
        if total - least <= ALIKE * (1.0 + abs(total)):
            return least, values, room
        narrow(stores, r, moves, convex, values, total + MARGIN * (1.0 + abs(total)), MARGIN)
    while not _evaluate(stores, r, moves, values):
        values, room = _more_room(stores, r, values, room), 2 * room
    return _follow(stores, r, moves, values, False, power)[0], values, room


@njit(cache=True, parallel=True, error_model="numpy")
def cheapest(stores, rows, prices, breakpoints):  # type: ignore[no-untyped-def]
    """The cheapest schedules of some stores.

    Parameters
    ----------
    stores : Stores
    rows : (B,) which of them
    prices : PowerPrices, of those
    breakpoints : of a value function, for which room is made at first

    Returns
    -------
    power : (B, T) kW
    value : (B,) currency that no schedule goes below, but for what is constant and what no power costs
    own, paid : (B,) currency of the schedule by itself, but for what is constant, and of its power above none
    idle : (B,) currency that no power costs
    """
    blocks, mtus = prices.price.shape
    power = np.zeros((blocks, mtus))
    value, own, paid, idle = np.empty(blocks), np.empty(blocks), np.empty(blocks), np.empty(blocks)
    widest = stores.low_kw.shape[1]
    bends = prices.kink.shape[2] + prices.bend_kw.shape[2]
    counts = 1
    for i in range(blocks):
        r = rows[i]
        if stores.timed[r]:
            counts = max(counts, stores.min_on[r] + stores.min_off[r])
    chunks = min(CHUNKS, blocks)
    for chunk in prange(chunks):
        moves = room_for_moves(mtus, widest, bends)
        convex = room_for_convex(mtus, widest, bends)
        room = breakpoints
        values = _room(mtus, counts, room)
        for i in range(chunk, blocks, chunks):
            r = rows[i]
            value[i] = 0.0
            idle[i] = idle_cost(prices, i)
            if stores.first[r] < stores.end[r]:
                _bound_states(stores, r, values)
                if write_moves(stores, r, prices, i, moves) and not stores.timed[r]:
                    value[i] = relaxed_value(stores, r, moves, convex, values, False)[0]
                    follow_places(stores, r, moves, convex, power[i])
                else:
                    value[i], values, room = _cheapest_whole(
                        stores, r, prices, i, moves, convex, values, room, power[i]
                    )  # fmt: skip
            own[i], paid[i] = _priced(stores, r, prices, i, power[i])
    return power, value, own, paid, idle
