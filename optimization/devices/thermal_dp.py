"""The cheapest switching of on/off thermostatic loads, within a proven interval.

The bound comes from ``thermal_bound``. The schedule comes from dynamic programming with real temperatures: of all that
arrive in a cell with the same time on or off the cheapest goes on, at its own temperature. So what it costs is true,
but it may not be the cheapest. The switchings behind the bounds are candidates as well.

References
----------
D. Bertsekas (2017), "Dynamic Programming and Optimal Control" I, section 6.6: continuous states on a grid.
"""

import numpy as np
from numba import njit, prange

from optimization.devices.thermal_bound import look_ahead, relax
from optimization.devices.thermal_lattice import ATTEMPTS, discomfort, lay, look_around, origins, state_before


@njit(cache=True, error_model="numpy")
def switching_cost(on, load, comfort, start, running):  # type: ignore[no-untyped-def]
    """Currency of discomfort and starts that a switching costs by itself.

    Parameters
    ----------
    on : (T,) bool
    load, comfort, running : as in ``thermal_lattice.look_around``
    start : currency per start
    """
    keep, lift, drift, lower, upper, temperature = load
    total = 0.0
    before = running
    for t in range(on.size):
        temperature = keep * temperature + (lift[t] if on[t] else 0.0) + drift[t]
        if on[t] and not before:
            total += start
        total += discomfort(temperature, temperature, lower[t], upper[t], comfort)
        before = on[t]
    return total


@njit(cache=True, error_model="numpy")
def _carry(source, place, target, landed, back, rise, add, entered, shift, at, band, comfort):  # type: ignore[no-untyped-def]
    """Moves real temperatures to their next cells, in each of which the cheapest, then the warmest stays."""
    base, first, width = at
    size = source.size
    for p in range(size):
        if source[p] == np.inf:
            continue
        y = place[p] + rise
        q = np.int64(np.floor(y + 0.5)) - first
        if q < 0 or q >= size:
            continue
        temperature = base + y * width
        value = source[p] + add + discomfort(temperature, temperature, band[0], band[1], comfort)
        if value < target[q] or (value == target[q] and y > landed[q]):
            target[q] = value
            landed[q] = y
            # Rounding moves by the whole part of the rise or a cell more; floating point may add one on either side.
            back[q] = 2 * (p - shift - q + 3) + entered


@njit(cache=True, error_model="numpy")
def _widen(before, after, wider, factor, origin):  # type: ignore[no-untyped-def]
    """Moves real temperatures to wider cells, in each of which the cheapest stays; writes where it comes from."""
    cost, place = before
    moved, landed = after
    moved[:] = np.inf
    for s in range(cost.shape[0]):
        for p in range(cost.shape[1]):
            if cost[s, p] < np.inf:
                y = place[s, p] * factor
                q = np.int64(np.floor(y + 0.5)) - origin
                if 0 <= q < cost.shape[1] and cost[s, p] < moved[s, q]:
                    moved[s, q] = cost[s, p]
                    landed[s, q] = y
                    wider[s, q] = p


@njit(cache=True, error_model="numpy")
def _walk(lattice, case, on):  # type: ignore[no-untyped-def]
    """Writes a switching that is cheapest but for merged temperatures; False where all left the window."""
    cells, base, width, jump, _, first = lattice
    charge, load, comfort, start, least, running, forced = case
    lift, lower, upper = load[1], load[3], load[4]
    mtus = charge.size
    runs, rests = least
    states = runs + rests
    full, idle = runs - 1, states - 1
    origin, count = origins(jump, first)
    cost, moved = np.full((states, cells), np.inf), np.empty((states, cells))
    place, landed = np.zeros((states, cells)), np.zeros((states, cells))
    back = np.zeros((mtus, states, cells), np.uint8)
    wider = np.zeros((count[mtus - 1], states, cells), np.int32)
    cost[full if running else idle, 0] = 0.0
    for t in range(mtus):
        if jump[t] >= 0.0:
            _widen((cost, place), (moved, landed), wider[count[t] - 1], jump[t], origin[t])
            cost, moved, place, landed = moved, cost, landed, place
        moved[:] = np.inf
        at = (base[t], first[t], width[t])
        inside = (lower[t], upper[t])
        for s in range(states):
            active = s < runs
            if t < forced and active != running:
                continue
            rise = lift[t] / width[t] if active else 0.0
            shift = first[t] - origin[t] - np.int64(np.floor(rise))
            add = charge[t] if active else 0.0
            if s in (full, idle):
                _carry(cost[s], place[s], moved[s], landed[s], back[t, s], rise, add, 0, shift, at, inside, comfort)
            if s == 0:
                add += start
            b = state_before(s, True, runs, rests)
            _carry(cost[b], place[b], moved[s], landed[s], back[t, s], rise, add, 1, shift, at, inside, comfort)
        cost, moved, place, landed = moved, cost, landed, place
    state = 0
    for s in range(states):
        if cost[s].min() < cost[state].min():
            state = s
    p = cost[state].argmin()
    if cost[state, p] == np.inf:
        return False
    for t in range(mtus - 1, -1, -1):
        on[t] = state < runs
        code = back[t, state, p]
        rise = lift[t] / width[t] if on[t] else 0.0
        p += code // 2 - 3 + first[t] - origin[t] - np.int64(np.floor(rise))
        state = state_before(state, code % 2, runs, rests)
        if jump[t] >= 0.0:
            p = wider[count[t] - 1, state, p]
    return True


@njit(cache=True, error_model="numpy")
def _improve(case, tried, on, own, total):  # type: ignore[no-untyped-def]
    """Writes a switching over a dearer one; own and whole cost of what stands then."""
    charge, load, comfort, start, _, running, _ = case
    other = switching_cost(tried, load, comfort, start, running)
    if other + (charge * tried).sum() < total:
        on[:] = tried
        return other, other + (charge * tried).sum()
    return own, total


@njit(cache=True, error_model="numpy")
def _first_bound(cells, case, bottom, top, rest, on):  # type: ignore[no-untyped-def]
    """Lattice, its discomfort, bound, and cost of what left the window; writes the window and a switching."""
    charge, load, comfort, _, least, running, forced = case
    mtus = charge.size
    unavoidable = np.empty(mtus)
    none = np.empty((0, 0, 0))
    attempt = 0
    while True:
        look_around(attempt, load, least, running, forced, comfort, bottom, top, unavoidable)
        for t in range(mtus - 2, -1, -1):
            rest[t] = rest[t + 1] + unavoidable[t + 1] + min(0.0, charge[t + 1])
        lattice = lay(cells, load, bottom, top)
        pain = np.empty((mtus + 1, least[0] + least[1], lattice[0]))
        bound, left = relax(lattice, case, rest, np.inf, pain, none, on)
        attempt += 1
        if (bound <= left and bound < np.inf) or attempt == ATTEMPTS:
            return lattice, pain, bound, left


@njit(cache=True, error_model="numpy")
def switch(charge, load, comfort, start, least, running, forced, effort, on):  # type: ignore[no-untyped-def]
    """Writes a switching; what it costs by itself, and what with the charges no switching costs less than.

    Parameters
    ----------
    charge : (T,) currency of being on
    load, comfort, least, running, forced : as in ``thermal_lattice.look_around``
    start : currency per start
    effort : cells for the bound at first and at last, four times as many a stage; cells for the schedule; rounds a
        stage that narrow the bound; width of the interval, relative to the cost, at which all ends
    on : (T,) bool, written
    """
    cells, last, schedule_cells, rounds, enough = effort
    case = (charge, load, comfort, start, least, running, forced)
    mtus = charge.size
    bottom, top, rest = np.empty(mtus), np.empty(mtus), np.zeros(mtus)
    tried = np.zeros(mtus, np.bool_)
    own, total, bound = np.inf, np.inf, -np.inf
    while True:
        lattice, pain, raised, left = _first_bound(cells, case, bottom, top, rest, tried)
        bound = max(bound, min(raised, left))
        if raised < np.inf:
            own, total = _improve(case, tried, on, own, total)
        exact = 1e-9 * (1.0 + abs(total))
        if bound >= total - exact:
            return own, total
        if cells == effort[0] and _walk(lay(schedule_cells, load, bottom, top), case, tried):
            own, total = _improve(case, tried, on, own, total)
        togo = np.empty_like(pain)
        for _ in range(rounds):
            if total - bound <= enough * abs(total) or left <= bound:
                break
            look_ahead(lattice, case, pain, togo)
            raised, _ = relax(lattice, case, rest, total - exact, pain, togo, tried)
            if raised == np.inf:
                raised = total
            else:
                own, total = _improve(case, tried, on, own, total)
            bound = max(bound, min(raised, left))
        if total - bound <= enough * abs(total) or cells >= last:
            return own, min(bound, total)
        cells = min(4 * cells, last)


@njit(cache=True, parallel=True, error_model="numpy")
def switch_all(charge, keep, lift, drift, lower, upper, initial, pay, start, least, running, forced, effort, on):  # type: ignore[no-untyped-def]
    """Own cost and bound (B,) of the switchings that it writes; arrays as in ``switch``, with a first axis of B loads.

    Parameters
    ----------
    charge, keep, lift, drift, lower, upper, initial, start, running, forced : a load's in each row
    pay : (B, 2) the ``comfort`` of each
    least : (B, 2)
    effort : one for all
    on : (B, T) bool, written
    """
    own, bound = np.empty(initial.size), np.empty(initial.size)
    for b in prange(initial.size):
        own[b], bound[b] = switch(
            charge[b],
            (keep[b], lift[b], drift[b], lower[b], upper[b], initial[b]),
            (pay[b, 0], pay[b, 1]),
            start[b],
            (least[b, 0], least[b, 1]),
            running[b],
            forced[b],
            effort,
            on[b],
        )
    return own, bound


@njit(cache=True, error_model="numpy")
def cost_all(on, keep, lift, drift, lower, upper, initial, pay, start, running):  # type: ignore[no-untyped-def]
    """Own cost (B,) of given switchings (B, T); arrays as in ``switch_all``."""
    own = np.empty(initial.size)
    for b in range(initial.size):
        load = (keep[b], lift[b], drift[b], lower[b], upper[b], initial[b])
        own[b] = switching_cost(on[b], load, (pay[b, 0], pay[b, 1]), start[b], running[b])
    return own
