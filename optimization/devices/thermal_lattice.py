r"""A lattice of temperatures on which switching a thermostatic load on or off moves by whole cells.

In each MTU the temperature decays, and rises by a lift where the load is on (for loads that cool, temperatures are
mirrored):

.. math::

    \theta_t = \alpha \theta_{t-1} + d_t + g_t u_t, \qquad u_t \in \{0, 1\}

Temperatures are written as :math:`\theta = \beta_t + y h_t` with the temperature of a load that is never on,
:math:`\beta_t = \alpha \beta_{t-1} + d_t`, and a cell width that decays with it, :math:`h_t = \alpha h_{t-1}`. Then
being off leaves y alone, and being on adds :math:`g_t / h_t`, whatever the temperature is. On the lattice y is whole
and :math:`g_t / h_t` is rounded to :math:`a_t`: the exact model of a load with lifts :math:`a_t h_t`. Under the same
switching the real temperature is at most :math:`E^-_t` below the lattice's and :math:`E^+_t` above it, with

.. math::

    E^\pm_t = \alpha E^\pm_{t-1} + \max\big(0, \pm(g_t - a_t h_t)\big)

Of some cell widths the one is taken for which these are smallest; the window is wider than the real one by them.
Where :math:`\alpha` would shrink the cells below half their width, y moves over to wider ones, which rounds by half a
cell at most; both deviations take that in.
"""

import numpy as np
from numba import njit

TOLERANCE_K = 1e-6
"""Kelvins outside the band that do not count as outside."""

ATTEMPTS = 4
"""Windows that are tried: the band with a margin, then with wider ones, at last all that can be reached."""

CANDIDATES = 24
"""Cell widths that are tried for the one whose whole multiples come nearest to the lifts."""

_SLACK_K = 1e-10
"""Kelvins an MTU by which deviations are rounded up against floating point."""


@njit(cache=True, error_model="numpy", inline="always")
def discomfort(least, most, lower, upper, comfort):  # type: ignore[no-untyped-def]
    """The least currency that a temperature between two costs in an MTU.

    Parameters
    ----------
    least, most : between which the temperature lies
    lower, upper : the band
    comfort : currency per K outside, and for being outside
    """
    outside = max(lower - most, least - upper)
    if outside <= 0.0:
        return 0.0
    if outside <= TOLERANCE_K:
        return outside * comfort[0]
    return outside * comfort[0] + comfort[1]


@njit(cache=True, error_model="numpy")
def look_around(attempt, load, least, running, forced, comfort, bottom, top, pain):  # type: ignore[no-untyped-def]
    """Writes the window of temperatures that good schedules stay within, and the discomfort that none can avoid.

    Parameters
    ----------
    attempt : 0 for the narrowest window, ``ATTEMPTS - 1`` for all that can be reached
    load : keep, and (T,) lift, drift, lower, upper, and the temperature before
    least : MTUs of the shortest run and rest
    running, forced : whether it was on before, and the MTUs for which it must stay so
    comfort : as in ``discomfort``
    bottom, top, pain : (T,) written
    """
    keep, lift, drift, lower, upper, initial = load
    swing = (upper - lower).min()
    rise = lift.max()
    fall = max(0.0, (lower - keep * lower - drift).max())
    below = above = np.inf
    if attempt < ATTEMPTS - 1:
        below = 4.0**attempt * (max(0.0, least[1] * fall - swing) + 0.25 * fall)
        above = 4.0**attempt * (max(0.0, least[0] * rise - swing) + 0.25 * rise)
    coldest = warmest = low = high = initial
    for t in range(lift.size):
        must = lift[t] if running and t < forced else 0.0
        may = lift[t] if running or t >= forced else 0.0
        coldest = keep * coldest + drift[t] + must
        warmest = keep * warmest + drift[t] + may
        low = min(lower[t], keep * low + drift[t] + may)
        high = max(upper[t], keep * high + drift[t] + must)
        bottom[t] = min(max(low - below, coldest), warmest)
        top[t] = max(min(high + above, warmest), coldest)
        pain[t] = discomfort(coldest, warmest, lower[t], upper[t], comfort)


@njit(cache=True, error_model="numpy")
def _deviate(cell, keep, lift, width, jump, step, less, more):  # type: ignore[no-untyped-def]
    """Writes a lattice with cells at most so wide, and how far its temperatures may be off; the mean of that."""
    total = 0.0
    wide = cell
    below = above = 0.0
    for t in range(lift.size):
        wide *= keep
        below = keep * below + _SLACK_K
        above = keep * above + _SLACK_K
        jump[t] = -1.0
        if wide < 0.5 * cell:
            jump[t] = wide / cell
            wide = cell
            below += 0.5 * cell
            above += 0.5 * cell
        step[t] = np.int64(np.floor(lift[t] / wide + 0.5))
        error = lift[t] - step[t] * wide
        below += max(0.0, -error)
        above += max(0.0, error)
        width[t] = wide
        less[t] = below
        more[t] = above
        total += below + above
    return total / lift.size


@njit(cache=True, error_model="numpy")
def lay(resolution, load, bottom, top):  # type: ignore[no-untyped-def]
    """The lattice of a window.

    Parameters
    ----------
    resolution : cells across the window, at least; less than twice as many come out, and some at the borders
    load, bottom, top : as in ``look_around``

    Returns
    -------
    cells : the most that the lattice has in an MTU
    base : (T,) temperature of cell 0
    width : (T,) K between cells
    jump : (T,) factor by which y shrinks because the cells become wider then, before the MTU's move; else -1
    step : (T,) whole cells by which being on rises
    first : (T,) first cell of the window
    """
    keep, lift, drift, _, _, initial = load
    mtus = lift.size
    base, width, jump = np.empty(mtus), np.empty(mtus), np.empty(mtus)
    less, more = np.empty(mtus), np.empty(mtus)
    step, first = np.empty(mtus, np.int64), np.empty(mtus, np.int64)
    widest = max((top - bottom).max(), 1e-6) / resolution
    best, cell = np.inf, widest
    for k in range(CANDIDATES):
        tried = widest * (1.0 - k / (3.0 * CANDIDATES))
        mean = _deviate(tried, keep, lift, width, jump, step, less, more)
        if mean < best:
            best, cell = mean, tried
    _deviate(cell, keep, lift, width, jump, step, less, more)
    cells, reached = 1, initial
    for t in range(mtus):
        reached = keep * reached + drift[t]
        base[t] = reached
        first[t] = np.int64(np.floor((bottom[t] - more[t] - reached) / width[t])) - 1
        last = np.int64(np.ceil((top[t] + less[t] - reached) / width[t])) + 1
        cells = max(cells, last - first[t] + 1)
    return cells, base, width, jump, step, first


@njit(cache=True, error_model="numpy")
def state_before(state, entered, runs, rests):  # type: ignore[no-untyped-def]
    """The state an MTU earlier, of one that was entered or stayed in.

    States are runs of 1, 2, ... MTUs, of which the last stands for all that are long enough, then rests likewise.
    """
    full, idle = runs - 1, runs + rests - 1
    if not entered:
        return state
    if state == 0:
        return idle
    if state == runs:
        return full
    return state - 1


@njit(cache=True, error_model="numpy")
def origins(jump, first):  # type: ignore[no-untyped-def]
    """(T,) the first cell of the window before each MTU's move, and the number of the cells' widenings until then."""
    origin, count = np.zeros(first.size, np.int64), np.zeros(first.size, np.int64)
    for t in range(first.size):
        if t > 0:
            origin[t], count[t] = first[t - 1], count[t - 1]
        if jump[t] >= 0.0:
            origin[t] = np.int64(np.floor(origin[t] * jump[t] + 0.5))
            count[t] += 1
    return origin, count
