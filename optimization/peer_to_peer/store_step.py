r"""What a store does in a round: the schedule nearest to its target under its costs and bounds, exactly.

With energies in kW over one MTU, :math:`F = E / \Delta`, a store solves

.. math::

    \min\ \sum_t k d_t + v_t F_t + \tfrac\rho2 (c_t - d_t - s_t)^2 \quad\text{s.t.}\quad
    F_t = F_{t-1} + \eta^c c_t - d_t / \eta^d,\quad \underline F_t \le F_t \le \overline F_t

with bounds on c and d. Let :math:`\Phi_t(\lambda)` be the energy at the end of t that is best when a unit of it is
worth :math:`\lambda` from then on, and :math:`G_t(\lambda)` the best gain in t. Both are non-decreasing and piecewise
linear, and dynamic programming over their inverses adds them up:

.. math::

    \Phi_t(\lambda) = \mathrm{clip}\big((\Phi_{t-1} + G_t)(\lambda - v_t);\ \underline F_t, \overline F_t\big)

Only the two prices at which the sum meets its bounds need to be kept: backwards from :math:`\lambda = 0` after the end
the worth in t is :math:`\lambda - v_t` clipped between them. (Johnson 2013 solves total-variation denoising this way;
the same holds for any sum of convex costs along a chain.)

Where energy is worth less than :math:`\lambda^* = -k / (1/\eta^d - \eta^c)`, charging and discharging at once burns it.
G jumps there; a ramp over ``BURN_RAMP`` of that price stands for the jump, so that every worth has one schedule.

References
----------
N. A. Johnson (2013), "A dynamic programming algorithm for the fused lasso and L0-segmentation", J. Computational and
Graphical Statistics 22(2).
"""

from typing import Any

import numpy as np
from numba import njit, prange

from optimization.community import Floats
from optimization.peer_to_peer.chunks import CHUNKS, SMALL

BURN_RAMP = 1e-6
"""Width of the ramp beside the price at which burning energy begins, relative to it."""

_MOST_KINKS = 10
"""Kinks of the gain of one MTU: four each of charging and discharging with and without burning, two of the ramp."""


@njit(cache=True, error_model="numpy")
def _schedule(worth, target, weight, charge_most, discharge_most, gain, loss, cycle, burning):  # type: ignore[no-untyped-def]
    """Charge and discharge of one MTU at a worth, with burning or without."""
    if burning:
        charge = min(max(discharge_most + target + gain * worth / weight, 0.0), charge_most)
        if charge < charge_most:
            return charge, discharge_most
        return charge, min(max(charge_most - target - (cycle + worth * loss) / weight, 0.0), discharge_most)
    charge = min(max(target + gain * worth / weight, 0.0), charge_most)
    discharge = min(max(-target - (cycle + worth * loss) / weight, 0.0), discharge_most)
    return charge, discharge


@njit(cache=True, error_model="numpy")
def _mixed(worth, burn, ramp, target, weight, charge_most, discharge_most, gain, loss, cycle):  # type: ignore[no-untyped-def]
    """Charge and discharge at a worth, the ramp beside the burning price included."""
    if worth >= burn:
        return _schedule(worth, target, weight, charge_most, discharge_most, gain, loss, cycle, False)
    if worth <= burn - ramp:
        return _schedule(worth, target, weight, charge_most, discharge_most, gain, loss, cycle, True)
    share = (burn - worth) / ramp
    c0, d0 = _schedule(burn, target, weight, charge_most, discharge_most, gain, loss, cycle, False)
    c1, d1 = _schedule(burn - ramp, target, weight, charge_most, discharge_most, gain, loss, cycle, True)
    return c0 + share * (c1 - c0), d0 + share * (d1 - d0)


@njit(cache=True, error_model="numpy")
def _kinks(kinks, burn, ramp, target, weight, charge_most, discharge_most, gain, loss, cycle):  # type: ignore[no-untyped-def]
    """Writes the sorted worths between which the gain is linear; their number."""
    count = 0
    for part in range(2):
        shift_c = discharge_most if part else 0.0
        shift_d = charge_most if part else 0.0
        for value in (
            -weight * (target + shift_c) / gain,
            weight * (charge_most - target - shift_c) / gain,
            (weight * (shift_d - target) - cycle) / loss,
            (weight * (shift_d - target - discharge_most) - cycle) / loss,
        ):
            if (part == 0 and value > burn) or (part == 1 and value < burn - ramp):
                kinks[count] = value
                count += 1
    if np.isfinite(burn):
        kinks[count] = burn
        kinks[count + 1] = burn - ramp
        count += 2
    kinks[:count].sort()
    return count


@njit(cache=True, error_model="numpy")
def _crossing(worth, energy, count, level, rising):  # type: ignore[no-untyped-def]
    """Least worth at which a function reaches a level from below, or (falling) largest at which it is not above it."""
    if rising:
        if energy[0] >= level:
            return -np.inf
        for i in range(1, count):
            if energy[i] >= level:
                width = energy[i] - energy[i - 1]
                return worth[i - 1] + (worth[i] - worth[i - 1]) * ((level - energy[i - 1]) / width)
        return worth[count - 1]
    if energy[count - 1] <= level:
        return np.inf
    for i in range(count - 2, -1, -1):
        if energy[i] <= level:
            width = energy[i + 1] - energy[i]
            return worth[i] + (worth[i + 1] - worth[i]) * ((level - energy[i]) / width)
    return worth[0]


@njit(cache=True, error_model="numpy")
def _added(old_worth, old_energy, old_count, kinks, gains, kink_count, worth, energy):  # type: ignore[no-untyped-def]
    """Writes the sum of two piecewise-linear functions, constant outside their kinks; the number of its kinks."""
    i = 0
    j = 0
    count = 0
    while i < old_count or j < kink_count:
        take_old = j >= kink_count or (i < old_count and old_worth[i] <= kinks[j])
        at = old_worth[i] if take_old else kinks[j]
        if take_old:
            first = old_energy[i]
        elif i == 0:
            first = old_energy[0]
        elif i == old_count:
            first = old_energy[old_count - 1]
        else:
            span = old_worth[i] - old_worth[i - 1]
            first = old_energy[i - 1] + (old_energy[i] - old_energy[i - 1]) * ((at - old_worth[i - 1]) / span)
        if not take_old:
            second = gains[j]
        elif j == 0:
            second = gains[0]
        elif j == kink_count:
            second = gains[kink_count - 1]
        else:
            span = kinks[j] - kinks[j - 1]
            second = gains[j - 1] + (gains[j] - gains[j - 1]) * ((at - kinks[j - 1]) / span)
        worth[count] = at
        energy[count] = first + second
        count += 1
        if take_old:
            i += 1
        else:
            j += 1
    return count


@njit(cache=True, error_model="numpy")
def store_step(  # type: ignore[no-untyped-def]
    target, weight, initial, least, most, worth_of_state, limits, gain, loss, cycle, keep, charge, discharge, worth
):
    """Writes a store's schedule and the worth of its energy; the kW by which its bounds cannot be met, else 0.

    Parameters
    ----------
    target : (T,) kW, consumption positive
    weight : penalty, currency/kWh per kW
    initial, least, most : energy in kW over one MTU; the bounds (T,)
    worth_of_state : (T,) cost of energy at the end of each MTU, currency/kWh
    limits : most charge and discharge, kW
    gain, loss : what is stored of a unit charged, what is taken out of the store for a unit discharged
    cycle : currency/kWh discharged
    keep : part of the energy that is left after an MTU; a unit before it is worth that part of a unit after it
    charge, discharge, worth : (T,) written
    """
    mtus = target.size
    charge_most, discharge_most = limits
    burn = -np.inf
    if loss > gain:
        burn = -cycle / (loss - gain)
    scale = weight * (charge_most + discharge_most + 1e-9)
    ramp = BURN_RAMP * (abs(burn) + scale) if np.isfinite(burn) else 0.0
    size = (_MOST_KINKS + 2) * mtus + 2
    old_worth, old_energy = np.empty(size), np.empty(size)
    new_worth, new_energy = np.empty(size), np.empty(size)
    kinks, gains = np.empty(_MOST_KINKS), np.empty(_MOST_KINKS)
    low, high = np.empty(mtus), np.empty(mtus)
    old_worth[0] = 0.0
    old_energy[0] = initial
    count = 1
    missed = 0.0
    for t in range(mtus):
        for i in range(count):
            old_worth[i] /= keep
            old_energy[i] *= keep
        kink_count = _kinks(kinks, burn, ramp, target[t], weight, charge_most, discharge_most, gain, loss, cycle)
        for j in range(kink_count):
            c, d = _mixed(kinks[j], burn, ramp, target[t], weight, charge_most, discharge_most, gain, loss, cycle)
            gains[j] = gain * c - loss * d
        total = _added(old_worth, old_energy, count, kinks, gains, kink_count, new_worth, new_energy)
        missed = max(missed, least[t] - new_energy[total - 1], new_energy[0] - most[t])
        low[t] = _crossing(new_worth, new_energy, total, least[t], True)
        high[t] = max(_crossing(new_worth, new_energy, total, most[t], False), low[t])
        count = 0
        if np.isfinite(low[t]):
            old_worth[0] = low[t] + worth_of_state[t]
            old_energy[0] = min(max(least[t], new_energy[0]), new_energy[total - 1])
            count = 1
        for i in range(total):
            if low[t] < new_worth[i] < high[t]:
                old_worth[count] = new_worth[i] + worth_of_state[t]
                old_energy[count] = new_energy[i]
                count += 1
        if np.isfinite(high[t]):
            old_worth[count] = high[t] + worth_of_state[t]
            old_energy[count] = max(min(most[t], new_energy[total - 1]), new_energy[0])
            count += 1
        if count == 0:
            old_worth[0] = new_worth[0] + worth_of_state[t]
            old_energy[0] = new_energy[0]
            count = 1
    later = 0.0
    for t in range(mtus - 1, -1, -1):
        later = min(max(later - worth_of_state[t], low[t]), high[t])
        worth[t] = later
        charge[t], discharge[t] = _mixed(
            later, burn, ramp, target[t], weight, charge_most, discharge_most, gain, loss, cycle
        )
        later *= keep
    return missed


@njit(cache=True, error_model="numpy")
def _answer(  # type: ignore[no-untyped-def]
    begin, stop, target, step, initial, least, most, worth_of_state, charge_most, discharge_most, gain, loss, cycle,
    charge, discharge, worth, missed,
):  # fmt: skip
    """The schedules of some stores."""
    for s in range(begin, stop):
        missed[s] = store_step(
            target[:, s].copy(), 1.0 / step[s], initial[s], least[s], most[s], worth_of_state[s],
            (charge_most[s], discharge_most[s]), gain[s], loss[s], cycle[s], 1.0, charge[s], discharge[s], worth[s],
        )  # fmt: skip


@njit(cache=True, parallel=True, error_model="numpy")
def _answer_in_chunks(count, *rest):  # type: ignore[no-untyped-def]
    for chunk in prange(CHUNKS):
        _answer(chunk * count // CHUNKS, (chunk + 1) * count // CHUNKS, *rest)


def answer_stores(
    target: Floats, step: Floats, initial: Floats, least: Floats, most: Floats, worth_of_state: Floats,
    charge_most: Floats, discharge_most: Floats, gain: Floats, loss: Floats, cycle: Floats,
    charge: Floats, discharge: Floats, worth: Floats, missed: Floats,
) -> None:  # fmt: skip
    """Writes every store's schedule; arrays as in ``store_step`` with a first axis over the stores, target (T, S)."""
    rest: tuple[Any, ...] = (
        target, step, initial, least, most, worth_of_state, charge_most, discharge_most, gain, loss, cycle,
        charge, discharge, worth, missed,
    )  # fmt: skip
    # A schedule costs about a hundred operations for each of its numbers.
    if 100 * target.size < SMALL:
        _answer(0, initial.size, *rest)
    else:
        _answer_in_chunks(initial.size, *rest)
