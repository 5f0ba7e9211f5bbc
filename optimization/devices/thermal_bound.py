r"""A bound on what the cheapest switching of an on/off thermostatic load costs.

Forward dynamic programming over the lattice's cells and the time that the load has been on or off. Where several
switchings meet in a cell the cheapest counts, and the cell keeps the span of all their real temperatures; discomfort is
that of the best temperature in the span. So each switching costs at least what its cells say, and the cheapest path
through the cells is a bound. Where that path's own real cost is the same, it is the optimum.

The same from the end says what at least must follow each cell. A cell through which no path is cheaper than a known
switching is emptied, the spans of the others become narrower, and a second pass gives a higher bound: in a few rounds
the two mostly meet. When every cell is empty, nothing is cheaper than what is known.

What leaves the window of temperatures takes along what it has cost until then and the least that must follow.

References
----------
A. Geoffrion, R. Marsten (1972), "Integer programming algorithms: a framework and state-of-the-art survey", Management
Science 18(9): fathoming by bounds. The spans of temperatures are ours.
"""

import numpy as np
from numba import njit

from optimization.devices.thermal_lattice import TOLERANCE_K, discomfort, origins, state_before

NOWHERE = 1e18
"""Cells, up or down, at which the temperatures of empty cells lie."""


@njit(cache=True, error_model="numpy")
def _lower(source, target, shift, add):  # type: ignore[no-untyped-def]
    """Lowers ``target[p]`` to ``source[p + shift] + add`` where that is less."""
    begin, end = max(0, -shift), min(source.size, source.size - shift)
    if begin >= end:
        return
    # Slices, so that the indices are known not to wrap around and the loop is vectorised.
    old, new = source[begin + shift : end + shift], target[begin:end]
    for p in range(new.size):
        value = old[p] + add
        new[p] = value if value < new[p] else new[p]


@njit(cache=True, error_model="numpy")
def _raise(source, target, shift, add):  # type: ignore[no-untyped-def]
    """Raises ``target[p]`` to ``source[p + shift] + add`` where that is more."""
    begin, end = max(0, -shift), min(source.size, source.size - shift)
    if begin >= end:
        return
    # Slices, so that the indices are known not to wrap around and the loop is vectorised.
    old, new = source[begin + shift : end + shift], target[begin:end]
    for p in range(new.size):
        value = old[p] + add
        new[p] = value if value > new[p] else new[p]


@njit(cache=True, error_model="numpy")
def _leave(cost, low, high, shift, rise, at, band, comfort):  # type: ignore[no-untyped-def]
    """The least cost of the cells that move out of the window."""
    size = cost.size
    base, width = at
    least = np.inf
    for side in range(2):
        begin, end = (0, min(size, shift)) if side == 0 else (max(0, size + shift), size)
        for p in range(begin, end):
            if cost[p] < least:
                coldest, warmest = base + (low[p] + rise) * width, base + (high[p] + rise) * width
                least = min(least, cost[p] + discomfort(coldest, warmest, band[0], band[1], comfort))
    return least


@njit(cache=True, error_model="numpy")
def _suffer(cost, low, high, pain, at, band, comfort):  # type: ignore[no-untyped-def]
    """Adds to cells the discomfort of their temperatures, and writes it."""
    base, width = at
    for p in range(cost.size):
        under = band[0] - (base + high[p] * width)
        over = base + low[p] * width - band[1]
        outside = under if under > over else over
        pain[p] = (outside if outside > 0.0 else 0.0) * comfort[0] + (comfort[1] if outside > TOLERANCE_K else 0.0)
        cost[p] += pain[p]


@njit(cache=True, error_model="numpy")
def _prune(cost, low, high, pain, togo, ceiling):  # type: ignore[no-untyped-def]
    """Empties the cells through which no switching is cheaper than the ceiling."""
    for p in range(cost.size):
        if cost[p] + togo[p] >= ceiling:
            cost[p] = pain[p] = np.inf
            low[p] = NOWHERE
            high[p] = -NOWHERE


@njit(cache=True, error_model="numpy")
def _widen(before, after, wider, factor, earlier, origin):  # type: ignore[no-untyped-def]
    """Joins cells into wider ones, and notes from which of them the cost comes."""
    cost, low, high = before
    moved, lowest, highest = after
    moved[:] = np.inf
    lowest[:] = NOWHERE
    highest[:] = -NOWHERE
    for s in range(cost.shape[0]):
        for p in range(cost.shape[1]):
            if cost[s, p] < np.inf:
                q = np.int64(np.floor((earlier + p) * factor + 0.5)) - origin
                # Any cell would do, as each keeps the span of its real temperatures.
                q = min(max(q, 0), cost.shape[1] - 1)
                if cost[s, p] < moved[s, q]:
                    moved[s, q] = cost[s, p]
                    wider[s, q] = p
                lowest[s, q] = min(lowest[s, q], low[s, p] * factor)
                highest[s, q] = max(highest[s, q], high[s, p] * factor)


@njit(cache=True, error_model="numpy")
def _trace(lattice, case, cost, wider, on):  # type: ignore[no-untyped-def]
    """Writes the switching behind the cheapest cell at the end; its cost, infinite where every cell is empty."""
    _, _, _, jump, step, first = lattice
    _, _, _, start, (runs, rests), _, _ = case
    full, idle = runs - 1, runs + rests - 1
    origin, count = origins(jump, first)
    state, p = 0, 0
    for s in range(runs + rests):
        best = cost[-1, s].argmin()
        if cost[-1, s, best] < cost[-1, state, p]:
            state, p = s, best
    bound = cost[-1, state, p]
    if bound == np.inf:
        return bound
    for t in range(on.size - 1, -1, -1):
        on[t] = state < runs
        p += first[t] - origin[t] - (step[t] if on[t] else 0)
        kept, came = state_before(state, 0, runs, rests), state_before(state, 1, runs, rests)
        fee = start if state == 0 else 0.0
        if state not in (full, idle) or cost[t, came, p] + fee < cost[t, kept, p]:
            state = came
        if jump[t] >= 0.0:
            p = wider[count[t] - 1, state, p]
    return bound


@njit(cache=True, error_model="numpy")
def relax(lattice, case, rest, ceiling, pain, togo, on):  # type: ignore[no-untyped-def]
    """Writes the cheapest switching on the lattice; its cost, and the least cost of what left the window.

    Parameters
    ----------
    lattice : as ``lay`` gives it
    case : charge, load, comfort, start, least, running, forced, as in ``thermal_dp.switch``
    rest : (T,) currency that at least must follow each MTU
    ceiling : currency that a switching is known for; infinity for none
    pain, togo : (T + 1, S, cells) the discomfort that comes with each cell, written; what at least must follow it,
        looked at where there is a ceiling
    on : (T,) bool, written
    """
    cells, base, width, jump, step, first = lattice
    charge, load, comfort, start, least, running, forced = case
    lift, lower, upper = load[1], load[3], load[4]
    mtus = charge.size
    runs, rests = least
    states = runs + rests
    full, idle = runs - 1, states - 1
    origin, count = origins(jump, first)
    # Before each MTU's move, after the cells' widening where there is one.
    cost = np.empty((mtus + 1, states, cells))
    wider = np.empty((count[mtus - 1], states, cells), np.int32)
    low, lowest = np.full((states, cells), NOWHERE), np.empty((states, cells))
    high, highest = np.full((states, cells), -NOWHERE), np.empty((states, cells))
    cost[0] = np.inf
    s = full if running else idle
    cost[0, s, 0] = low[s, 0] = high[s, 0] = 0.0
    left = np.inf
    for t in range(mtus):
        if jump[t] >= 0.0:
            earlier = first[t - 1] if t else 0
            narrow = cost[t].copy()
            _widen((narrow, low, high), (cost[t], lowest, highest), wider[count[t] - 1], jump[t], earlier, origin[t])
            low, lowest, high, highest = lowest, low, highest, high
        moved = cost[t + 1]
        moved[:] = np.inf
        lowest[:] = NOWHERE
        highest[:] = -NOWHERE
        at = (base[t], width[t])
        band = (lower[t], upper[t])
        for s in range(states):
            active = s < runs
            if t < forced and active != running:
                pain[t + 1, s] = np.inf
                continue
            shift = first[t] - origin[t] - (step[t] if active else 0)
            rise = lift[t] / width[t] if active else 0.0
            for entered in range(0 if s in (full, idle) else 1, 2):
                b = state_before(s, entered, runs, rests)
                add = (charge[t] if active else 0.0) + (start if entered and s == 0 else 0.0)
                _lower(cost[t, b], moved[s], shift, add)
                _lower(low[b], lowest[s], shift, rise)
                _raise(high[b], highest[s], shift, rise)
                gone = _leave(cost[t, b], low[b], high[b], shift, rise, at, band, comfort)
                left = min(left, gone + add + rest[t])
            _suffer(moved[s], lowest[s], highest[s], pain[t + 1, s], at, band, comfort)
            if ceiling < np.inf:
                _prune(moved[s], lowest[s], highest[s], pain[t + 1, s], togo[t + 1, s], ceiling)
        low, lowest, high, highest = lowest, low, highest, high
    bound = _trace(lattice, case, cost, wider, on)
    return bound, left


@njit(cache=True, error_model="numpy")
def look_ahead(lattice, case, pain, togo):  # type: ignore[no-untyped-def]
    """Writes what at least must follow each cell: the same dynamic programming from the end."""
    cells, _, _, jump, step, first = lattice
    charge, _, _, start, least, running, forced = case
    mtus = charge.size
    runs, rests = least
    states = runs + rests
    full, idle = runs - 1, states - 1
    origin, _ = origins(jump, first)
    arrived, wide = np.empty(cells), np.empty((states, cells))
    togo[mtus] = 0.0
    for t in range(mtus - 1, -1, -1):
        after = wide if jump[t] >= 0.0 else togo[t]
        after[:] = np.inf
        for s in range(states):
            active = s < runs
            if t < forced and active != running:
                continue
            shift = first[t] - origin[t] - (step[t] if active else 0)
            for p in range(cells):
                arrived[p] = togo[t + 1, s, p] + pain[t + 1, s, p]
            for entered in range(0 if s in (full, idle) else 1, 2):
                add = (charge[t] if active else 0.0) + (start if entered and s == 0 else 0.0)
                _lower(arrived, after[state_before(s, entered, runs, rests)], -shift, add)
        if jump[t] >= 0.0:
            togo[t] = np.inf
            earlier = first[t - 1] if t else 0
            for p in range(cells):
                q = np.int64(np.floor((earlier + p) * jump[t] + 0.5)) - origin[t]
                if 0 <= q < cells:
                    for s in range(states):
                        togo[t, s, p] = wide[s, q]
