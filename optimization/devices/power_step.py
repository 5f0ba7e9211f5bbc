r"""What power costs in one MTU, and the cheapest power between two bounds.

In one MTU the cost of power and, for what produces, of fuel is

.. math::

    C(p) + \Delta\,(\tfrac12 a p^2 - b p)

with C of ``oracle.PowerCost``. Its slope rises with p, by jumps at the kinks and steadily at the rate w + a between
them; so walking down from the upper bound as long as the slope is positive ends at the least cost.
"""

import numpy as np
from numba import njit

from optimization.devices.oracle import PowerCost
from optimization.quantities import Floats


def kernel_arguments(cost: PowerCost) -> tuple[Floats, Floats, Floats, Floats, float]:
    """Price, kinks, target and weight in the one layout for which kernels are compiled."""
    price, kink_at, kink, target = (
        np.require(array, dtype=np.float64, requirements=["C", "W"])
        for array in (cost.price, cost.kink_at, cost.kink, cost.target)
    )
    return price, kink_at, kink, target, float(cost.weight)


@njit(cache=True)
def step_cost(power, price, kink_at, kink, target, weight):  # type: ignore[no-untyped-def]
    """Currency per hour by which a power costs more than none in one MTU; ``kink_at`` and ``kink`` are (K,)."""
    total = price * power + 0.5 * weight * power * (power - 2.0 * target)
    for k in range(kink.size):
        total += kink[k] * (max(0.0, power - kink_at[k]) - max(0.0, -kink_at[k]))
    return total


@njit(cache=True)
def _slope_below(power, price, kink_at, kink, target, weight):  # type: ignore[no-untyped-def]
    """The slope of C to the left of a power, per hour."""
    slope = price + weight * (power - target)
    for k in range(kink.size):
        if kink_at[k] < power:
            slope += kink[k]
    return slope


@njit(cache=True, error_model="numpy")
def cheapest_power(lower, upper, price, kink_at, kink, target, weight, quadratic, linear, eager):  # type: ignore[no-untyped-def]
    """The power from ``lower`` to ``upper`` of least cost.

    Parameters
    ----------
    lower, upper : kW, lower <= upper
    price, kink_at, kink, target, weight : of the cost of power; kinks (K,)
    quadratic, linear : a, currency/(kW^2 h), and b, currency/kWh, of the fuel of what produces
    eager : of equal costs the lowest power, else the highest
    """
    power = upper
    curvature = weight + quadratic
    while power > lower:
        slope = _slope_below(power, price, kink_at, kink, target, weight) + quadratic * power - linear
        if slope < 0.0 or (slope == 0.0 and (curvature > 0.0 or not eager)):
            return power
        stop = lower
        for k in range(kink.size):
            if stop < kink_at[k] < power and kink[k] > 0.0:
                stop = kink_at[k]
        if curvature > 0.0:
            level = power - slope / curvature
            if level >= power:
                # A slope too small to move a float is none.
                return power
            if level >= stop:
                return level
        power = stop
    return lower


@njit(cache=True)
def cheapest_powers(lower, upper, price, kink_at, kink, target, weight, quadratic, linear, eager, power):  # type: ignore[no-untyped-def]
    """Writes the cheapest (T,) powers; arguments as in ``cheapest_power`` with a first axis over the MTUs."""
    for t in range(power.size):
        power[t] = cheapest_power(
            lower[t], upper[t], price[t], kink_at[t], kink[t], target[t], weight, quadratic, linear, eager
        )
