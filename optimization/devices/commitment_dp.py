r"""When something is on: the cheapest runs and rests under minimum times, owed MTUs and starts per day. Exact.

Two value functions run backwards over the MTUs. With k MTUs served and s starts left on the day, :math:`O_t` is the
least cost from t on where it is off and may start, :math:`A_t` where it is on and may stop; :math:`\delta_t` is what
being on costs in t, M what an owed MTU costs that is not served, u and d the minimum times, e the cost of a start:

.. math::

    O_t(k, s) &= \min\{O_{t+1}(k, s),\; e + \textstyle\sum_{\tau=t}^{t+u-1} \delta_\tau + A_{t+u}(k + u, s - 1)\} \\
    A_t(k, s) &= \min\{O_{t+d}(k, s),\; \delta_t + A_{t+1}(k + 1, s)\}, \qquad
    O_T(k, s) = A_T(k, s) = M \max(0, R - k)

where s is full again when a day begins. A run's minimum is served in one step, so no state counts it. Something that
owes nothing is the same with k held at 0 and runs that the horizon may cut.

Ties go to the earlier run, and to none where nothing is owed any more.
"""

from typing import NamedTuple

import numpy as np
from numba import njit


class Terms(NamedTuple):
    """What binds one device's runs.

    Attributes
    ----------
    first, end : half-open window of MTUs in which it may be on
    owes : 1 where MTUs are counted, runs end inside the window and no more are served than ``most``; 0 where runs may
        reach beyond the horizon
    required, most : MTUs owed, and the most that it is on; without meaning where it owes nothing
    min_on, min_off : least length of a run and of a rest, at least 1
    starts : starts allowed on a day; negative for any number
    starts_first : those left on the first day
    running : 1 where it is on when the horizon begins
    held : MTUs at the start for which it must stay as it is
    """

    first: int
    end: int
    owes: int
    required: int
    most: int
    min_on: int
    min_off: int
    starts: int
    starts_first: int
    running: int
    held: int


@njit(cache=True)
def _run_costs(delta, min_on):  # type: ignore[no-untyped-def]
    """(T,) cost of a minimal run from each MTU, cut at the horizon's end."""
    mtus = delta.size
    costs = np.zeros(mtus)
    for t in range(mtus):
        for s in range(t, min(t + min_on, mtus)):
            costs[t] += delta[s]
    return costs


@njit(cache=True)
def _left(left, earlier, later, day, full):  # type: ignore[no-untyped-def]
    """Starts left at an MTU of those left at an earlier one."""
    last = day.size - 1
    return full if day[min(later, last)] != day[earlier] else left


@njit(cache=True)
def cheapest_runs(delta, day, missing_cost, start_cost, terms, on):  # type: ignore[no-untyped-def]
    """Writes in which MTUs something is on at least cost.

    Parameters
    ----------
    delta : (T,) currency that each MTU on costs more than off
    day : (T,) the day of each
    missing_cost : currency per owed MTU that is not served
    start_cost : currency per start
    terms : what binds the runs
    on : (T,) uint8, written
    """
    mtus = delta.size
    step = terms.owes
    most = terms.most * step
    unlimited = terms.starts < 0
    full = 0 if unlimited else terms.starts
    run = _run_costs(delta, terms.min_on)
    # Values are kept as far ahead as a choice can reach, in a ring that stays in the cache.
    ring = min(max(terms.min_on, terms.min_off), mtus) + 1
    idle = np.empty((ring, full + 1, most + 1))
    busy = np.empty((ring, full + 1, most + 1))
    starts = np.zeros((mtus, full + 1, most + 1), dtype=np.uint8)
    goes_on = np.zeros((mtus, full + 1, most + 1), dtype=np.uint8)
    for k in range(most + 1):
        idle[mtus % ring, :, k] = missing_cost * max(0, terms.required - k)
        busy[mtus % ring, :, k] = missing_cost * max(0, terms.required - k)
    for t in range(mtus - 1, -1, -1):
        inside = terms.first <= t < terms.end
        served = min(t + terms.min_on, mtus)
        rested = min(t + terms.min_off, mtus)
        startable = inside and (step == 0 or t + terms.min_on <= terms.end)
        reached = min(most, t)
        for left in range(full + 1):
            tomorrow = _left(left, t, t + 1, day, full)
            wait = idle[(t + 1) % ring, tomorrow]
            further = busy[(t + 1) % ring, tomorrow]
            stop = idle[rested % ring, _left(left, t, rested, day, full)]
            may_start = startable and (unlimited or left > 0)
            fewer = left if unlimited else max(left - 1, 0)
            started = busy[served % ring, _left(fewer, t, served, day, full)]
            idle_now, busy_now = idle[t % ring, left], busy[t % ring, left]
            for k in range(reached + 1):
                idle_now[k] = wait[k]
                busy_now[k] = stop[k]
                wanted = k < terms.required
                if may_start and k + terms.min_on * step <= most:
                    cost = start_cost + run[t] + started[k + terms.min_on * step]
                    if cost < wait[k] or (wanted and cost == wait[k]):
                        idle_now[k] = cost
                        starts[t, left, k] = 1
                if inside and k + step <= most:
                    cost = delta[t] + further[k + step]
                    if cost < stop[k] or (wanted and cost == stop[k]):
                        busy_now[k] = cost
                        goes_on[t, left, k] = 1
    _follow(starts, goes_on, day, terms, on)


@njit(cache=True)
def _follow(starts, goes_on, day, terms, on):  # type: ignore[no-untyped-def]
    """Writes the runs to which the choices of the value functions lead."""
    mtus = on.size
    unlimited = terms.starts < 0
    full = 0 if unlimited else terms.starts
    t = min(terms.held, mtus)
    on[:] = 0
    busy = terms.running == 1
    k = 0
    if busy:
        on[:t] = 1
        k = t * terms.owes
    left = _left(0 if unlimited else terms.starts_first, 0, t, day, full)
    while t < mtus:
        if busy:
            going = goes_on[t, left, k] == 1
            later = t + 1 if going else min(t + terms.min_off, mtus)
            busy = going
            after = left
        else:
            going = starts[t, left, k] == 1
            later = min(t + terms.min_on, mtus) if going else t + 1
            busy = going
            after = left - 1 if going and not unlimited else left
        if going:
            on[t:later] = 1
            k += (later - t) * terms.owes
        left = _left(after, t, later, day, full)
        t = later
