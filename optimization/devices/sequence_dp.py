r"""When the phases of programmes begin: chains of them at least cost, exactly.

Let :math:`c_j(t)` be the cost of phase j begun at t, of length :math:`l_j`, and :math:`\underline g_j, \overline g_j`
the pause before it. Backwards from the last phase of a programme,

.. math::

    W_j(t) = c_j(t) + \min_{\underline g_{j+1} \le s - t - l_j \le \overline g_{j+1}} W_{j+1}(s), \qquad
    W_J(t) = c_J(t) + R(t + l_J)

where R(e) is the least cost of the programmes that follow on one that ends at e: of beginning the next within its
delays, or of leaving it out with all that follow on it. The minimum over all delays is a window sliding over s, so each
phase costs a pass over the MTUs. All that lies beyond the horizon is one and the same time, T, and costs nothing; only
programmes begun before the horizon get there. Of equal costs the earlier begin is chosen.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from optimization.devices.oracle import Integers
from optimization.devices.power_step import step_cost
from optimization.quantities import Floats


class Chains(NamedTuple):
    """Programmes with their phases, those of a chain one after the other.

    Attributes
    ----------
    level_kw : kW in each MTU of each phase, one phase after the other
    phase : (P + 1, 3) of each phase the index of its first level, least and most pause before it; the last row ends the
        levels
    programme : (R + 1, 8) of each programme the index of its first phase, first and end MTU, least and most delay,
        phase in progress or -1, its elapsed MTUs, MTUs paused; the last row ends the phases
    price_later : (R,) currency by which a kW in an MTU costs more for each MTU that it is later
    left_out_cost : (R,) currency of leaving it out
    chain : (B + 1,) index of the first programme of each chain; the last ends the programmes
    """

    level_kw: Floats
    phase: Integers
    programme: Integers
    price_later: Floats
    left_out_cost: Floats
    chain: Integers


@njit(cache=True)
def _later_minima(value, least, most, best, at):  # type: ignore[no-untyped-def]
    """Writes the least value ``least`` to ``most`` MTUs later than each, and where it is first; T is the latest."""
    last = value.size - 1
    queue = np.empty(value.size, dtype=np.int64)
    head, tail = 0, 0
    entered = last + 1
    for e in range(last, -1, -1):
        start = min(e + least, last)
        while entered > start:
            entered -= 1
            while tail > head and value[queue[tail - 1]] >= value[entered]:
                tail -= 1
            queue[tail] = entered
            tail += 1
        while queue[head] > min(e + most, last):
            head += 1
        best[e] = value[queue[head]]
        at[e] = queue[head]


@njit(cache=True)
def _run_cost(levels, t, later, hours, price, kink_at, kink, target, weight):  # type: ignore[no-untyped-def]
    """Currency by which levels from MTU t on cost more than nothing, as far as the horizon goes."""
    total = 0.0
    for i in range(min(levels.size, price.size - t)):
        s = t + i
        level = levels[i]
        total += hours * step_cost(level, price[s], kink_at[s], kink[s], target[s], weight) + later * level * s
    return total


@njit(cache=True)
def _phase_values(d, chains, rest, hours, price, kink_at, kink, target, weight, value, after, begin_next):  # type: ignore[no-untyped-def]
    """Writes W of the phases of a programme that are still to begin.

    Parameters
    ----------
    d : the programme
    rest : (T + 1,) R, of those that follow on it
    value : (P, T + 1) W of each phase begun at t, written; infinite where it cannot be
    after : (P, T + 1) least cost of what comes after each phase that ends at e, written
    begin_next : (P, T + 1) when the next phase then begins, written
    """
    mtus = price.size
    row = chains.programme[d]
    begun = row[5] >= 0
    first_phase, last_phase = row[0], chains.programme[d + 1, 0] - 1
    to_begin = first_phase + (row[5] + 1 if begun else 0)
    for j in range(last_phase, first_phase + max(row[5], 0) - 1, -1):
        if j == last_phase:
            after[j] = rest
            if not begun:
                after[j, row[2] + 1 :] = np.inf
        else:
            _later_minima(value[j + 1], chains.phase[j + 1, 1], chains.phase[j + 1, 2], after[j], begin_next[j])
        if j < to_begin:
            continue
        levels = chains.level_kw[chains.phase[j, 0] : chains.phase[j + 1, 0]]
        value[j] = np.inf
        earliest = 0 if begun else row[1]
        latest = mtus if begun else row[2] - levels.size
        for t in range(earliest, latest + 1):
            later = after[j, min(t + levels.size, mtus)]
            if later < np.inf:
                cost = _run_cost(levels, t, chains.price_later[d], hours, price, kink_at, kink, target, weight)
                value[j, t] = cost + later


@njit(cache=True)
def _first_least(value, least, most):  # type: ignore[no-untyped-def]
    """The first place of the least of the values from ``least`` to ``most``, -1 where all are infinite."""
    place = -1
    lowest = np.inf
    for t in range(max(least, 0), min(most, value.size - 1) + 1):
        if value[t] < lowest:
            lowest = value[t]
            place = t
    return place


@njit(cache=True)
def _write(levels, t, power):  # type: ignore[no-untyped-def]
    """Writes levels from MTU t on, as far as the horizon goes; when they end."""
    for i in range(min(levels.size, power.size - t)):
        power[t + i] = levels[i]
    return min(t + levels.size, power.size)


@njit(cache=True)
def _write_phases(j, t, last_phase, chains, begin_next, power):  # type: ignore[no-untyped-def]
    """Writes the phases from j, begun at t, to the last; when it ends."""
    while True:
        t = _write(chains.level_kw[chains.phase[j, 0] : chains.phase[j + 1, 0]], t, power)
        if j == last_phase:
            return t
        t = begin_next[j, t]
        j += 1


@njit(cache=True)
def _write_begun(d, chains, value, begin_next, power):  # type: ignore[no-untyped-def]
    """Writes what is left of a programme that was begun; when it ends, not positive where that was before."""
    mtus = power.size
    row = chains.programme[d]
    j, last_phase = row[0] + row[5], chains.programme[d + 1, 0] - 1
    levels = chains.level_kw[chains.phase[j, 0] : chains.phase[j + 1, 0]]
    if row[6] < levels.size:
        t = _write(levels[row[6] :], 0, power)
        if j == last_phase:
            return t
        return _write_phases(j + 1, begin_next[j, t], last_phase, chains, begin_next, power)
    if j == last_phase:
        return -row[7]
    least = max(0, chains.phase[j + 1, 1] - row[7])
    most = max(least, chains.phase[j + 1, 2] - row[7])
    t = _first_least(value[j + 1], min(least, mtus), most)
    return _write_phases(j + 1, t, last_phase, chains, begin_next, power)


@njit(cache=True)
def cheapest_sequence(b, chains, hours, price, kink_at, kink, target, weight, power):  # type: ignore[no-untyped-def]
    """Writes the cheapest schedule of a chain.

    Parameters
    ----------
    b : the chain
    chains : of all
    hours : of an MTU
    price, kink_at, kink, target, weight : of the cost of power; (T,) and (T, K)
    power : (D, T) kW of the chain's programmes, written
    """
    mtus = price.size
    head, end = chains.chain[b], chains.chain[b + 1]
    phases = chains.programme[end, 0]
    base = chains.programme[head, 0]
    # Rows are indexed by phase; those of earlier chains are left out by shifting the chain's own to the front.
    value = np.empty((phases - base, mtus + 1))
    after = np.empty((phases - base, mtus + 1))
    begin_next = np.zeros((phases - base, mtus + 1), dtype=np.int64)
    own = Chains(
        chains.level_kw,
        chains.phase[base : phases + 1],
        chains.programme[head : end + 1].copy(),
        chains.price_later[head:end],
        chains.left_out_cost[head:end],
        chains.chain,
    )
    own.programme[:, 0] -= base
    count = end - head
    rest = np.zeros((count + 1, mtus + 1))
    begin = np.zeros((count + 1, mtus + 1), dtype=np.int64)
    out_cost = 0.0
    for d in range(count - 1, -1, -1):
        _phase_values(d, own, rest[d + 1], hours, price, kink_at, kink, target, weight, value, after, begin_next)
        out_cost += own.left_out_cost[d]
        first = own.programme[d, 0]
        if d > 0:
            _later_minima(value[first], own.programme[d, 3], own.programme[d, 4], rest[d], begin[d])
            for e in range(mtus + 1):
                if rest[d, e] > out_cost:
                    rest[d, e] = out_cost
                    begin[d, e] = -1
    _write_chain(own, count, out_cost, value, begin, begin_next, power)


@njit(cache=True)
def _write_chain(own, count, out_cost, value, begin, begin_next, power):  # type: ignore[no-untyped-def]
    """Writes the schedule to which the value functions lead; ``out_cost`` is that of leaving out the whole chain."""
    power[:] = 0.0
    out = 0.0
    ended = 0
    for d in range(count):
        row = own.programme[d]
        last_phase = own.programme[d + 1, 0] - 1
        if row[5] >= 0:
            ended = _write_begun(d, own, value, begin_next, power[d])
            out = own.left_out_cost[d]
            continue
        if d == 0:
            t = _first_least(value[row[0]], 0, power.shape[1])
            if t >= 0 and value[row[0], t] > out_cost:
                t = -1
        elif ended >= 0:
            t = begin[d, ended]
        else:
            t = _first_least(value[row[0]], ended + row[3], ended + row[4])
            if t >= 0 and value[row[0], t] > out_cost - out:
                t = -1
        if t < 0:
            return
        ended = _write_phases(row[0], t, last_phase, own, begin_next, power[d])
