r"""The short detours by which energy can reach a peer that needs more, or leave one that needs less.

Energy flows over links, from and to the grid. A peer that needs more gets it by one of these, each a short path of the
residual network, with what one kWh costs (:math:`\pi^+, \pi^-` import and export price, c link costs):

====================================================================  ==============================
it exports less                                                       :math:`\pi^-`
a seller m exports less and sells it the energy                       :math:`\pi^- + c_{mn}`
a seller m sells less to b, which imports instead                     :math:`\pi^+ + c_{mn} - c_{mb}`
it sells less to b, which imports instead                             :math:`\pi^+ - c_{nb}`
it sells less to b, which buys from m, which exports less             :math:`\pi^- + c_{mb} - c_{nb}`
it imports                                                            :math:`\pi^+`
====================================================================  ==============================

One that needs less saves by the mirror images: export and import, seller and buyer change places. So one function finds
both: near peers are the sellers of a peer that needs more and the buyers of one that needs less, far peers the others.
"""

import numpy as np
from numba import njit

from optimization.devices.oracle import Integers
from optimization.trading import Network

Side = tuple[Integers, Integers, Integers, Integers, Integers, Integers]
"""Near peers' links (start of each peer's, links, their other ends), then those of far peers."""


def sides(network: Network) -> tuple[Side, Side]:
    """The links as a peer sees them that needs more (its sellers near, its buyers far), and one that needs less."""
    sellers = (network.in_start, network.in_link, network.seller)
    buyers = (network.out_start, network.out_link, network.buyer)
    return (*sellers, *buyers), (*buyers, *sellers)


@njit(cache=True, error_model="numpy")
def ways(n, both, cost, prices, kwh):  # type: ignore[no-untyped-def]
    """The ways up, for a peer that needs more, and the ways down, for one that needs less.

    Parameters
    ----------
    n : the peer
    both : as ``sides`` gives them
    cost : (L,) currency/kWh of the links
    prices : import and export price, (T,)
    kwh : (L + 2 N, T) flows, as in ``Flows``

    Returns
    -------
    up, down : each a tuple of
        rate : currency/kWh of each way
        cells : two rows of flows that fall and two that rise, -1 for none
        start : (T + 1,) those of MTU t begin at ``start[t]``, cheapest first, the grid alone last
    """
    bought, sold = prices
    imports, exports = cost.size, (cost.size + kwh.shape[0]) // 2
    # Multiplied so that both are writable arrays, and one compiled function does.
    up = _find(n, both[0], cost, (1.0 * sold, 1.0 * bought), kwh, exports, imports)
    down = _find(n, both[1], cost, (-bought, -sold), kwh, imports, exports)
    return up, down


@njit(cache=True, error_model="numpy")
def _find(n, side, cost, prices, kwh, falling, rising):  # type: ignore[no-untyped-def]
    """The ways in one direction that are not dearer than the grid alone, of all MTUs.

    Parameters
    ----------
    side : links to near peers (up: sellers) and far ones (up: buyers)
    prices : (T,) currency/kWh of lessening one of the grid's flows (up: an export), and of raising the other
    falling, rising : where the rows of these two flows begin

    Returns
    -------
    rate, cells, start : as ``ways`` says
    """
    less, more = prices
    mtus = less.size
    found, count = _room(16 * mtus), 0
    for t in range(mtus):
        if kwh[falling + n, t] > 0.0:
            count = _note(found, count, t, less[t], -1, falling + n, -1, -1)
    found, count = _find_near(n, side, cost, prices, kwh, falling, rising, found, count)
    found, count = _find_far(n, side, cost, prices, kwh, falling, rising, found, count)
    found = _roomier(found, count, mtus)
    for t in range(mtus):
        count = _note(found, count, t, more[t], -1, -1, -1, rising + n)
    return _sorted(found[0][:count], found[1], found[2], mtus)


@njit(cache=True, error_model="numpy")
def _find_near(n, side, cost, prices, kwh, falling, rising, found, count):  # type: ignore[no-untyped-def]
    """Adds the ways over links to near peers: from the grid's flow of one, or from what it trades with others."""
    near_start, near_link, near, far_start, far_link, far = side
    less, more = prices
    mtus = less.size
    for position in range(near_start[n], near_start[n + 1]):
        link = near_link[position]
        m = near[link]
        found = _roomier(found, count, mtus)
        for t in range(mtus):
            if kwh[falling + m, t] > 0.0 and less[t] + cost[link] < more[t]:
                count = _note(found, count, t, less[t] + cost[link], -1, falling + m, link, -1)
        for other_position in range(far_start[m], far_start[m + 1]):
            other = far_link[other_position]
            if cost[other] <= cost[link]:
                continue
            found = _roomier(found, count, mtus)
            for t in range(mtus):
                if kwh[other, t] > 0.0:
                    rate = more[t] + cost[link] - cost[other]
                    count = _note(found, count, t, rate, other, -1, link, rising + far[other])
    return found, count


@njit(cache=True, error_model="numpy")
def _find_far(n, side, cost, prices, kwh, falling, rising, found, count):  # type: ignore[no-untyped-def]
    """Adds the ways that lessen a trade with a far peer, which turns to the grid or to a near peer of its own."""
    near_start, near_link, near, far_start, far_link, far = side
    less, more = prices
    mtus = less.size
    busy = np.empty(mtus, dtype=np.int64)
    for position in range(far_start[n], far_start[n + 1]):
        link = far_link[position]
        b = far[link]
        found = _roomier(found, count, mtus)
        times = 0
        for t in range(mtus):
            if kwh[link, t] > 0.0:
                busy[times] = t
                times += 1
                count = _note(found, count, t, more[t] - cost[link], link, -1, -1, rising + b)
        for other_position in range(near_start[b], near_start[b + 1]):
            other = near_link[other_position]
            if other == link or times == 0:
                continue
            found = _roomier(found, count, mtus)
            row = falling + near[other]
            for k in range(times):
                t = busy[k]
                rate = less[t] + cost[other] - cost[link]
                if kwh[row, t] > 0.0 and rate < more[t]:
                    count = _note(found, count, t, rate, link, row, other, -1)
    return found, count


@njit(cache=True, error_model="numpy")
def _room(size):  # type: ignore[no-untyped-def]
    """Room for ways: their rates, cells and MTUs."""
    return np.empty(size), np.empty((size, 4), dtype=np.int64), np.empty(size, dtype=np.int64)


@njit(cache=True, error_model="numpy")
def _roomier(found, count, more):  # type: ignore[no-untyped-def]
    """Room with space for some ways more."""
    if count + more <= found[0].size:
        return found
    larger = _room(2 * found[0].size + more)
    larger[0][:count] = found[0][:count]
    larger[1][:count] = found[1][:count]
    larger[2][:count] = found[2][:count]
    return larger


@njit(cache=True, error_model="numpy")
def _note(found, count, t, rate, less_link, less_grid, more_link, more_grid):  # type: ignore[no-untyped-def]
    """Writes a way; the number of ways."""
    rates, cells, when = found
    rates[count], when[count] = rate, t
    cells[count, 0], cells[count, 1], cells[count, 2], cells[count, 3] = less_link, less_grid, more_link, more_grid
    return count + 1


@njit(cache=True, error_model="numpy")
def _sorted(rates, cells, when, mtus):  # type: ignore[no-untyped-def]
    """Ways by MTU, then by rate, then as they were found; where each MTU's begin."""
    start = np.zeros(mtus + 1, dtype=np.int64)
    for way in range(rates.size):
        start[when[way] + 1] += 1
    for t in range(mtus):
        start[t + 1] += start[t]
    order = np.empty(rates.size, dtype=np.int64)
    end = start[:-1].copy()
    for way in range(rates.size):
        t = when[way]
        position = end[t]
        end[t] += 1
        while position > start[t] and rates[order[position - 1]] > rates[way]:
            order[position] = order[position - 1]
            position -= 1
        order[position] = way
    sorted_rates, sorted_cells = np.empty(rates.size), np.empty((rates.size, 4), dtype=np.int64)
    for position in range(rates.size):
        way = order[position]
        sorted_rates[position] = rates[way]
        for part in range(4):
            sorted_cells[position, part] = cells[way, part]
    return sorted_rates, sorted_cells, start
