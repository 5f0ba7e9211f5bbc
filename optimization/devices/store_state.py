"""Stores in arrays, and what schedules of them lead to: their states, and what they cost by themselves."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from optimization.quantities import Floats

Integers = npt.NDArray[np.int64]


class Stores(NamedTuple):
    """R stores over T MTUs with up to M modes each, in arrays.

    Attributes
    ----------
    first, end : (R,) half-open stay in MTUs; power is zero outside
    initial : (R,) state when the stay begins
    keep : (R,) part of the state that is left after an MTU, positive
    rate, drift : (R, T) change of the state per kW of factor one, never zero; without power
    floor, cap : (R, T), (R,) bounds of the state; infinite where there are none
    slope : (R, T) currency per unit of state
    lower, under : (R, T) state below which it costs, and currency per unit below, non-negative
    upper, over : (R, T) state above which it costs, and currency per unit above, non-negative
    modes : (R,) number of modes; their powers ascend
    low_kw, high_kw, factor : (R, M) range of power; change of state per kW, relative to the rate, positive
    wear : (R, M) currency per kW of one MTU
    timed : (R,) whether running is counted: mode 0 is off then, the others are on
    min_on, min_off : (R,) least MTUs of a run and of a rest, at least 1
    start_cost : (R,) currency per start
    running : (R,) whether it is on at first
    elapsed : (R,) MTUs for which it has been so
    """

    first: Integers
    end: Integers
    initial: Floats
    keep: Floats
    rate: Floats
    drift: Floats
    floor: Floats
    cap: Floats
    slope: Floats
    lower: Floats
    under: Floats
    upper: Floats
    over: Floats
    modes: Integers
    low_kw: Floats
    high_kw: Floats
    factor: Floats
    wear: Floats
    timed: npt.NDArray[np.bool_]
    min_on: Integers
    min_off: Integers
    start_cost: Floats
    running: npt.NDArray[np.bool_]
    elapsed: Integers


@njit(cache=True, error_model="numpy")
def change(stores, r, t, power):  # type: ignore[no-untyped-def]
    """By how much a power changes the state in an MTU, and currency of its wear."""
    m = 0
    while m < stores.modes[r] - 1 and power > stores.high_kw[r, m]:
        m += 1
    return stores.rate[r, t] * stores.factor[r, m] * power, stores.wear[r, m] * power


@njit(cache=True, error_model="numpy")
def states(stores, rows, power):  # type: ignore[no-untyped-def]
    """(B, T) state at the end of each MTU of some stores under (B, T) powers; constant outside the stay."""
    state = np.empty(power.shape)
    for i in range(rows.size):
        r = rows[i]
        now = stores.initial[r]
        for t in range(power.shape[1]):
            if stores.first[r] <= t < stores.end[r]:
                now = stores.keep[r] * now + stores.drift[r, t] + change(stores, r, t, power[i, t])[0]
            state[i, t] = now
    return state


@njit(cache=True, error_model="numpy")
def _starts(stores, r, power):  # type: ignore[no-untyped-def]
    """Starts in a schedule; where there is no least power, the fewest that it can be read as."""
    on = bool(stores.running[r])
    starts = 0
    for t in range(power.size):
        now = power[t] > 0.5 * stores.low_kw[r, 1]
        if now and not on:
            starts += 1
        on = now or (on and stores.low_kw[r, 1] == 0.0)
    return starts


@njit(cache=True, error_model="numpy")
def state_cost(stores, r, t, state):  # type: ignore[no-untyped-def]
    """Currency that a state at the end of an MTU costs."""
    cost = stores.slope[r, t] * state
    cost += stores.under[r, t] * max(0.0, stores.lower[r, t] - state)
    return cost + stores.over[r, t] * max(0.0, state - stores.upper[r, t])


@njit(cache=True, error_model="numpy")
def own_cost(stores, r, power):  # type: ignore[no-untyped-def]
    """Currency that a feasible (T,) schedule of a store costs by itself, but for what is constant."""
    cost = 0.0
    now = stores.initial[r]
    for t in range(stores.first[r], stores.end[r]):
        by, wear = change(stores, r, t, power[t])
        now = stores.keep[r] * now + stores.drift[r, t] + by
        cost += state_cost(stores, r, t, now) + wear
    if stores.timed[r]:
        cost += stores.start_cost[r] * _starts(stores, r, power)
    return cost


@njit(cache=True, error_model="numpy")
def own_costs(stores, rows, power):  # type: ignore[no-untyped-def]
    """(B,) currency that feasible (B, T) schedules of some stores cost by themselves, but for what is constant."""
    cost = np.empty(rows.size)
    for i in range(rows.size):
        cost[i] = own_cost(stores, rows[i], power[i])
    return cost
