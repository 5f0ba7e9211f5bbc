r"""What a change of one peer's net power costs when only its neighbourhood re-routes: exact for that, and fast.

A peer that needs more, or less, gets it by short detours of what flows already (``detours.py`` lists them). They are
taken in the order of their costs until they are exhausted, so the cost is convex in the net power. Where a way down
saves more than a way up costs, taking both gains at no change of net power; that is done first, and its gain is told.

``curves`` and ``apply`` walk the same ways through the same flows: what one foretells is what the other does.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from optimization.community import Floats
from optimization.detours import sides, ways
from optimization.trading import Network, Trades, cost_of

SEGMENTS = 8
"""Pieces that a curve keeps on each side of the present power; neighbouring ones are merged to their chord."""

KINKS = 2 * SEGMENTS + 1
"""Kinks of a curve: the ends of its pieces."""

_TOLERANCE = 1e-12
"""Currency/kWh by which re-routing must gain, or marginal costs differ, to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """The state of local search: flows that balance every peer, written by ``apply``.

    Not for two threads at once: ``curves`` tries re-routings in place and takes them back, bit for bit.

    Attributes
    ----------
    kwh : (L + 2 N, T) sold over each link, then bought from the grid by each peer, then sold to it
    links : L
    """

    kwh: Floats
    links: int

    @classmethod
    def of(cls, trades: Trades) -> "Flows":
        """A copy of given trades to start from."""
        kwh = np.concatenate([trades.trade_kwh, trades.import_kwh, trades.export_kwh])
        return cls(kwh=np.ascontiguousarray(kwh), links=trades.trade_kwh.shape[0])

    @property
    def trade_kwh(self) -> Floats:
        """(L, T) view."""
        return self.kwh[: self.links]

    @property
    def import_kwh(self) -> Floats:
        """(N, T) view."""
        return self.kwh[self.links : (self.links + self.kwh.shape[0]) // 2]

    @property
    def export_kwh(self) -> Floats:
        """(N, T) view."""
        return self.kwh[(self.links + self.kwh.shape[0]) // 2 :]

    def cost(self, network: Network) -> Floats:
        """(T,) currency of all flows."""
        return cost_of(network, self.trade_kwh, self.import_kwh, self.export_kwh)

    def copy(self) -> "Flows":
        """The same flows, to be changed apart."""
        return Flows(kwh=self.kwh.copy(), links=self.links)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What a peer's net power costs, in the form of ``PowerCost``.

    Attributes
    ----------
    present_kw : (T,) its net power in the flows
    price : (T,) currency/kWh: the export price, which the curve follows below all kinks
    kink_at : (T, KINKS) kW
    kink : (T, KINKS) currency/kWh by which the marginal cost rises there; 0 where there is none
    saving : (T,) currency, non-negative, that re-routing gains at the present power already; moving from the present
        power to q costs C(q) - C(present) - saving, or less where pieces were merged
    """

    present_kw: Floats
    price: Floats
    kink_at: Floats
    kink: Floats
    saving: Floats


def curves(network: Network, flows: Flows, n: int) -> Curve:
    """The cost of peer n's net power in each MTU around what it is, by re-routing as ``apply`` does.

    Parameters
    ----------
    network : who may trade
    flows : the present ones
    n : index of the peer

    Returns
    -------
    Curve
    """
    mtus = network.import_price.size
    present, saving = np.empty(mtus), np.empty(mtus)
    kink_at, kink = np.empty((mtus, KINKS)), np.empty((mtus, KINKS))
    write_curve(
        n, network.hours, sides(network), network.cost, (network.import_price, network.export_price),
        flows.kwh, present, kink_at, kink, saving,
    )  # fmt: skip
    return Curve(present_kw=present, price=network.export_price, kink_at=kink_at, kink=kink, saving=saving)


def apply(network: Network, flows: Flows, n: int, new_net: Floats) -> Floats:
    """Re-routes in place so that peer n has a new net power; every other peer keeps its own.

    Parameters
    ----------
    network : who may trade
    flows : written
    n : index of the peer
    new_net : (T,) kW

    Returns
    -------
    (T,) currency by which the flows' cost changed
    """
    change = np.empty(new_net.size)
    reroute(
        n, network.hours, sides(network), network.cost, (network.import_price, network.export_price),
        flows.kwh, new_net, change,
    )  # fmt: skip
    return change


@njit(cache=True, error_model="numpy")
def write_curve(n, hours, both, cost, prices, kwh, present, kink_at, kink, saving):  # type: ignore[no-untyped-def]
    """Writes a peer's curve; arguments as ``sides`` and the fields of ``Network``, ``Flows`` and ``Curve`` say."""
    import_price, export_price = prices
    (rate_up, cells_up, start_up), (rate_down, cells_down, start_down) = ways(n, both, cost, prices, kwh)
    rows, held = _log(start_up, start_down)
    lower, upper = np.empty((2, rows.size)), np.empty((2, rows.size))
    _write_balance(n, both[0], kwh, present)
    for t in range(present.size):
        balance = present[t]
        gain, up, down, done = _exchange(
            t, kwh, rate_up, cells_up, start_up[t], rate_down, cells_down, start_down[t], rows, held
        )
        below, end = _follow(t, kwh, rate_down, cells_down, down, lower, rows, held, done)
        _take_back(t, kwh, rows, held, done, end)
        above, end = _follow(t, kwh, rate_up, cells_up, up, upper, rows, held, done)
        _take_back(t, kwh, rows, held, 0, end)
        present[t] = balance / hours
        saving[t] = gain
        kink_at[t] = present[t]
        kink[t] = 0.0
        reached, marginal = balance, export_price[t]
        for k in range(below):
            reached -= lower[1, k]
        # From the far end of what can be given up to the far end of what can be had; beyond it, imports.
        for k in range(below + above + 1):
            if k == below:
                reached = balance
            rate, length = import_price[t], 0.0
            if k < below:
                rate, length = -lower[0, below - 1 - k], lower[1, below - 1 - k]
            elif k < below + above:
                rate, length = upper[0, k - below], upper[1, k - below]
            kink_at[t, k] = reached / hours
            kink[t, k] = max(0.0, rate - marginal)
            marginal = max(marginal, rate)
            reached += length


@njit(cache=True, error_model="numpy")
def reroute(n, hours, both, cost, prices, kwh, new_net, change):  # type: ignore[no-untyped-def]
    """Moves a peer to new net powers; writes flows and the change of their cost; arguments as for ``write_curve``."""
    (rate_up, cells_up, start_up), (rate_down, cells_down, start_down) = ways(n, both, cost, prices, kwh)
    rows, held = _log(start_up, start_down)
    present = np.empty(new_net.size)
    _write_balance(n, both[0], kwh, present)
    for t in range(new_net.size):
        rest = hours * new_net[t] - present[t]
        gain, up, down, _ = _exchange(
            t, kwh, rate_up, cells_up, start_up[t], rate_down, cells_down, start_down[t], rows, held
        )
        if rest > 0.0:
            change[t] = _walk(t, kwh, rate_up, cells_up, up, rest, rows, held) - gain
        else:
            change[t] = _walk(t, kwh, rate_down, cells_down, down, -rest, rows, held) - gain


@njit(cache=True, error_model="numpy")
def _walk(t, kwh, rate, cells, way, rest, rows, held):  # type: ignore[no-untyped-def]
    """Moves kWh along the ways from one on; what it costs. The last way, the grid alone, takes any rest."""
    cost = 0.0
    while rest > 0.0:
        amount = min(rest, _left(cells, way, t, kwh))
        _move(cells, way, t, kwh, amount, rows, held, 0)
        cost += amount * rate[way]
        rest -= amount
        way += 1
    return cost


@njit(cache=True, error_model="numpy")
def _write_balance(n, side, kwh, balance):  # type: ignore[no-untyped-def]
    """Writes the kWh that a peer consumes: bought - sold + imported - exported."""
    near_start, near_link, _, far_start, far_link, _ = side
    peers = near_start.size - 1
    balance[:] = kwh[near_link.size + n] - kwh[near_link.size + peers + n]
    for position in range(near_start[n], near_start[n + 1]):
        balance += kwh[near_link[position]]
    for position in range(far_start[n], far_start[n + 1]):
        balance -= kwh[far_link[position]]


@njit(cache=True, error_model="numpy")
def _log(start_up, start_down):  # type: ignore[no-untyped-def]
    """Room to take back the moves of one MTU: rows of cells, and what they held."""
    most = 0
    for t in range(start_up.size - 1):
        most = max(most, start_up[t + 1] - start_up[t] + start_down[t + 1] - start_down[t])
    # Exchanging moves a way each of both directions until one is exhausted; following moves each once more.
    room = 4 * (2 * most + most)
    return np.empty(room, dtype=np.int64), np.empty(room)


@njit(cache=True, error_model="numpy")
def _left(cells, way, t, kwh):  # type: ignore[no-untyped-def]
    """kWh that a way can still move; infinite for the grid alone."""
    left = np.inf
    for part in range(2):
        row = cells[way, part]
        if row >= 0:
            left = min(left, kwh[row, t])
    return left


@njit(cache=True, error_model="numpy")
def _move(cells, way, t, kwh, amount, rows, held, done):  # type: ignore[no-untyped-def]
    """Moves kWh along a way and logs what its cells held; the length of the log."""
    for part in range(4):
        row = cells[way, part]
        if row >= 0:
            rows[done], held[done] = row, kwh[row, t]
            kwh[row, t] += -amount if part < 2 else amount
            done += 1
    return done


@njit(cache=True, error_model="numpy")
def _take_back(t, kwh, rows, held, begin, end):  # type: ignore[no-untyped-def]
    """Restores what the cells held before the moves of a part of the log, the last one first."""
    for k in range(end - 1, begin - 1, -1):
        kwh[rows[k], t] = held[k]


@njit(cache=True, error_model="numpy")
def _exchange(t, kwh, rate_up, cells_up, up, rate_down, cells_down, down, rows, held):  # type: ignore[no-untyped-def]
    """Takes ways up and down at once where that gains; the gain, the first ways that remain, the length of the log."""
    gain, done = 0.0, 0
    while True:
        # The last way of each direction is the grid alone, and buying there to sell there gains nothing.
        rate = rate_up[up] + rate_down[down]
        if rate >= -_TOLERANCE:
            return gain, up, down, done
        first, second = _left(cells_up, up, t, kwh), _left(cells_down, down, t, kwh)
        amount = min(first, second)
        shared = cells_up[up, 0]
        if shared >= 0 and shared == cells_down[down, 0]:
            amount = min(amount, 0.5 * kwh[shared, t])
        if amount > 0.0:
            done = _move(cells_up, up, t, kwh, amount, rows, held, done)
            done = _move(cells_down, down, t, kwh, amount, rows, held, done)
            gain -= amount * rate
        if first <= second:
            up += 1
        else:
            down += 1


@njit(cache=True, error_model="numpy")
def _follow(t, kwh, rate, cells, way, pieces, rows, held, done):  # type: ignore[no-untyped-def]
    """Walks the ways from one on to their ends; writes pieces (rate, kWh); their number, the length of the log."""
    count = 0
    while True:
        left = _left(cells, way, t, kwh)
        if left == np.inf:
            break
        if left > 0.0:
            done = _move(cells, way, t, kwh, left, rows, held, done)
            if count > 0 and rate[way] - pieces[0, count - 1] <= _TOLERANCE:
                pieces[1, count - 1] += left
            else:
                pieces[0, count], pieces[1, count] = rate[way], left
                count += 1
        way += 1
    while count > SEGMENTS:
        count = _merge(pieces[0], pieces[1], count)
    return count, done


@njit(cache=True, error_model="numpy")
def _merge(rates, lengths, count):  # type: ignore[no-untyped-def]
    """Puts the chord in place of the two neighbouring pieces that it departs from least; the number of pieces left."""
    best, least = 0, np.inf
    for k in range(count - 1):
        departs = (rates[k + 1] - rates[k]) * lengths[k] * lengths[k + 1] / (lengths[k] + lengths[k + 1])
        if departs < least:
            best, least = k, departs
    total = lengths[best] + lengths[best + 1]
    rates[best] = (rates[best] * lengths[best] + rates[best + 1] * lengths[best + 1]) / total
    lengths[best] = total
    for k in range(best + 1, count - 1):
        rates[k], lengths[k] = rates[k + 1], lengths[k + 1]
    return count - 1
