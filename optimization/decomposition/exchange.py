r"""The trading side of the consensus: links and the grid answer the homes' net powers.

Given w = q + u for each peer and MTU, with q what the homes mean to take and :math:`\rho u` their prices, the trades
solve

.. math::

    \min_{e, i, x \ge 0}\ \sum c_{nm} e_{nm} + \pi^i i - \pi^x x + \tfrac\rho2 \|z - w\|^2,
    \qquad z_n = \sum_m e_{mn} - \sum_m e_{nm} + i_n - x_n

by coordinates: a link's trade in closed form, the grid's part exactly given the trades. The prices
:math:`\rho(w - z)` lie between export and import price after every sweep.
"""

import numpy as np
from numba import njit, prange


@njit(cache=True, error_model="numpy", parallel=True)
def sweep(traded, traded_net, wanted, seller, buyer, cost, import_price, export_price, price, stiffness, sweeps):  # type: ignore[no-untyped-def]
    """Improve the trades and return nothing: trades, what they bring and prices are written.

    Parameters
    ----------
    traded : (L, T) kW over the links
    traded_net : (N, T) kW that a peer buys less what it sells over them
    wanted : (N, T) kW, w
    seller, buyer, cost : (L,) of the links
    import_price, export_price : (T,) currency/kWh
    price : (N, T) currency/kWh, out
    stiffness : rho
    sweeps : over all links
    """
    links = seller.size
    peers, mtus = wanted.shape
    chunk = 16
    for c in prange((mtus + chunk - 1) // chunk):
        low, high = c * chunk, min(mtus, (c + 1) * chunk)
        for _ in range(sweeps):
            for k in range(links):
                s, b, toll = seller[k], buyer[k], cost[k]
                for t in range(low, high):
                    at_s = min(max(stiffness * (wanted[s, t] - traded_net[s, t]), export_price[t]), import_price[t])
                    at_b = min(max(stiffness * (wanted[b, t] - traded_net[b, t]), export_price[t]), import_price[t])
                    if traded[k, t] == 0.0 and toll >= at_b - at_s:
                        continue
                    move = _trade(
                        traded[k, t],
                        wanted[s, t] - traded_net[s, t],
                        wanted[b, t] - traded_net[b, t],
                        toll,
                        import_price[t],
                        export_price[t],
                        stiffness,
                    )
                    traded[k, t] += move
                    traded_net[b, t] += move
                    traded_net[s, t] -= move
        for n in range(peers):
            for t in range(low, high):
                worth = stiffness * (wanted[n, t] - traded_net[n, t])
                price[n, t] = min(max(worth, export_price[t]), import_price[t])


@njit(cache=True, error_model="numpy", inline="always")
def _trade(now, short_s, short_b, toll, high, low, stiffness):  # type: ignore[no-untyped-def]
    """By how much a link's trade should change: where seller's and buyer's price differ by its cost.

    ``short`` is what each lacks before the grid's part; the grid caps its price between ``low`` and ``high``. The gain
    of one more kW, the buyer's price less the seller's less the toll, falls with the move and is linear between the
    four moves at which a price meets a cap.
    """
    lower = -now
    if toll >= high - low:
        return lower
    # Price of the buyer: clip(stiffness * (short_b - m)); of the seller: clip(stiffness * (short_s + m)).
    knots = np.empty(4)
    knots[0] = short_b - high / stiffness
    knots[1] = short_b - low / stiffness
    knots[2] = low / stiffness - short_s
    knots[3] = high / stiffness - short_s
    left, right = -1e18, 1e18
    for k in range(4):
        at_b = min(max(stiffness * (short_b - knots[k]), low), high)
        at_s = min(max(stiffness * (short_s + knots[k]), low), high)
        if at_b - at_s > toll:
            left = max(left, knots[k])
        else:
            right = min(right, knots[k])
    at_b = min(max(stiffness * (short_b - left), low), high)
    at_s = min(max(stiffness * (short_s + left), low), high)
    gain_left = at_b - at_s - toll
    at_b = min(max(stiffness * (short_b - right), low), high)
    at_s = min(max(stiffness * (short_s + right), low), high)
    gain_right = at_b - at_s - toll
    move = right if gain_left <= gain_right else left + (right - left) * gain_left / (gain_left - gain_right)
    return max(move, lower)
