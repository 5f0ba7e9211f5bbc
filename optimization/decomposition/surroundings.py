"""What a block's power costs beside everybody else's, written for one block at a time and often."""

import numpy as np
from numba import njit

from optimization.marginal import KINKS, write_curve


@njit(cache=True, error_model="numpy")
def write_cost(n, hours, both, toll, prices, kwh, net, power, limits, plan, price, kink_at, kink):  # type: ignore[no-untyped-def]
    """Write the costs of a block's power, in the form of ``PowerCost``.

    Parameters
    ----------
    n, hours, both, toll, prices, kwh : as for ``marginal.write_curve``
    net : (T,) kW of the peer
    power : (T,) kW of the block at present, within it
    limits : indices of the envelopes on the peer, (K, T) sums of their members' power, lower and upper bounds, and
        what a kWh beyond them costs
    plan : (T,) kW that was foreseen for the block, and what departing from it costs
    price : (T,) out
    kink_at, kink : (T, KINKS + 2 envelopes + 1) out
    """
    members, sums, lower, upper, penalty = limits
    planned, change = plan
    mtus = power.size
    present, saving = np.empty(mtus), np.empty(mtus)
    curve_at, curve_kink = np.empty((mtus, KINKS)), np.empty((mtus, KINKS))
    write_curve(n, hours, both, toll, prices, kwh, present, curve_at, curve_kink, saving)
    export_price = prices[1]
    for t in range(mtus):
        rest = net[t] - power[t]
        price[t] = export_price[t] - change
        for k in range(KINKS):
            kink_at[t, k] = curve_at[t, k] - rest
            kink[t, k] = curve_kink[t, k]
        k = KINKS
        for m in members:
            beside = sums[m, t] - power[t]
            kink_at[t, k], kink[t, k] = 0.0, 0.0
            kink_at[t, k + 1], kink[t, k + 1] = 0.0, 0.0
            if upper[m, t] < np.inf:
                kink_at[t, k], kink[t, k] = upper[m, t] - beside, penalty
            if lower[m, t] > -np.inf:
                price[t] -= penalty
                kink_at[t, k + 1], kink[t, k + 1] = lower[m, t] - beside, penalty
            k += 2
        kink_at[t, k], kink[t, k] = planned[t], 2.0 * change


@njit(cache=True, error_model="numpy")
def spent_on(price, kink_at, kink, power, hours):  # type: ignore[no-untyped-def]
    """Currency of (T,) kW under costs as ``write_cost`` writes them."""
    total = 0.0
    for t in range(power.size):
        total += price[t] * power[t]
        for k in range(kink.shape[1]):
            if power[t] > kink_at[t, k]:
                total += kink[t, k] * (power[t] - kink_at[t, k])
    return hours * total
