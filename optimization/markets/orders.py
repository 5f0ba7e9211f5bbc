"""Bids and offers cut from what peers would consume at each price.

A peer's net curve (``positions``) says what it bids: the part above zero net consumption are its bids, the part below
its offers, so that no peer trades with itself. Where the curve is level, as a linear piece makes it, it is one order at
its marginal value. Where it slopes, as a quadratic piece makes it, it is cut into equal steps, each at the marginal
value of its middle, at which a whole step is worth exactly what it costs: so many where trades are possible (``band``),
and as many beyond on either side.

Nobody bids above the price at which the grid sells to it, or asks less than the grid pays. What must run is bid at the
grid's price; without a grid it takes any price, and comes first.

Powers are whole quanta and prices whole nano-currency/kWh, so that sums and ties are exact. Storages make no orders.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optimization.community import Floats
from optimization.errors import ProblemError
from optimization.market import Indices
from optimization.markets.band import Band, band
from optimization.markets.positions import Positions

NANO = 1_000_000_000
"""In one: prices of orders are whole nano-currency/kWh, so that equal ones are equal."""

PRICE_TAKER = 4 * 10**18
"""Limit of a bid that takes any price, above all others; its negative is that of such an offer."""

SMALLEST_QUANTUM = 1e-9
"""kW in which quantities of orders are counted, where a market's powers sum to at most a million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """One side of a book: by peer, best price first.

    Attributes
    ----------
    peer : (K,) whose order
    quantity : (K,) quanta, positive
    price : (K,) nano-currency/kWh, highest to pay or lowest to receive; ``PRICE_TAKER`` or its negative for any
    """

    peer: Indices
    quantity: Indices
    price: Indices

    @property
    def size(self) -> int:
        """Number of orders."""
        return self.peer.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The orders of one MTU.

    Attributes
    ----------
    mtu : which
    quantum : kW of one quantum
    bids, offers : the two sides
    floor, ceiling : nano-currency/kWh, the band within which trades can lie, fees taken off; 0 where there is none.
        Who takes any price trades within it.
    """

    mtu: int
    quantum: float
    bids: Orders
    offers: Orders
    floor: int
    ceiling: int

    def within(self, price: int) -> int:
        """The nearest price in the band: what a price taker trades at."""
        return min(max(price, self.floor), self.ceiling)


def quantum_of(positions: Positions) -> float:
    """The kW of one quantum: a millionth of a W, more by powers of ten where all powers together pass a million kW."""
    total = math.fsum(np.abs(positions.lower).ravel()) + math.fsum(np.abs(positions.upper).ravel())
    return float(SMALLEST_QUANTUM * 10.0 ** max(0, math.ceil(math.log10(max(total, 1.0))) - 6))


def books(positions: Positions, *, steps: int = 10, buyer_fee: float = 0.0, seller_fee: float = 0.0) -> list[Book]:
    """The orders of every MTU.

    Parameters
    ----------
    positions : the peers' net curves
    steps : into how many equal steps each sloping part of a net curve is cut
    buyer_fee, seller_fee : currency/kWh that each side pays on top of a trade's price: limits leave room for it

    Raises
    ------
    ProblemError
        If there are no steps, or a fee is negative or not finite.
    """
    if steps < 1:
        raise ProblemError(f"steps: got {steps}, wanted at least 1")
    for side, fee in (("buyer_fee", buyer_fee), ("seller_fee", seller_fee)):
        if not (math.isfinite(fee) and fee >= 0):
            raise ProblemError(f"{side}: got {fee}, wanted a finite number of at least 0")
    quantum = quantum_of(positions)
    possible = band(positions)
    fees = Fees(buyer=buyer_fee, seller=seller_fee)
    return [_book(positions, t, steps, quantum, possible, fees) for t in range(positions.market.mtus)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """What each side pays on top of a trade's price, currency/kWh."""

    buyer: float
    seller: float


def nano(price: Floats) -> Indices:
    """(K,) nano-currency/kWh, infinities as price takers."""
    limited = np.clip(price * NANO, -PRICE_TAKER, PRICE_TAKER)
    return np.rint(limited).astype(np.int64)


def _book(positions: Positions, t: int, steps: int, quantum: float, possible: Band, fees: Fees) -> Book:
    market = positions.market
    buying, selling = market.import_price[:, t], market.export_price[:, t]
    lowest, highest = possible.lowest[t] + fees.seller, possible.highest[t] - fees.buyer
    curve = _net_steps(positions, t, steps, (lowest + fees.buyer, highest - fees.seller))
    floor, ceiling = positions.lower[:, t], positions.upper[:, t]
    every = np.arange(floor.size)
    bids = curve.between(np.maximum(floor, 0.0), np.maximum(ceiling, 0.0))
    offers = curve.between(np.minimum(floor, 0.0), np.minimum(ceiling, 0.0))
    ends = [price for price in (lowest, highest) if np.isfinite(price)] or [0.0]
    return Book(
        mtu=t,
        quantum=quantum,
        bids=_side(
            peer=np.concatenate([every, bids.peer]),
            start=np.concatenate([np.zeros(every.size), bids.start]),
            end=np.concatenate([np.maximum(floor, 0.0), bids.end]),
            price=nano(np.concatenate([buying, np.minimum(bids.middle, buying[bids.peer])]) - fees.buyer),
            quantum=quantum,
            descending=True,
        ),
        offers=_side(
            peer=np.concatenate([every, offers.peer]),
            start=np.concatenate([np.minimum(ceiling, 0.0), offers.start]),
            end=np.concatenate([np.zeros(every.size), offers.end]),
            price=nano(np.concatenate([selling, np.maximum(offers.middle, selling[offers.peer])]) + fees.seller),
            quantum=quantum,
            descending=False,
        ),
        floor=int(nano(np.array(min(ends)))),
        ceiling=int(nano(np.array(max(ends)))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """Straight parts of net curves: who, from and to how many kW, and currency/kWh at either end."""

    peer: Indices
    start: Floats
    end: Floats
    first: Floats
    last: Floats

    @property
    def middle(self) -> Floats:
        """Currency/kWh that each part is worth on average."""
        return (self.first + self.last) / 2

    def between(self, lower: Floats, upper: Floats) -> "_Steps":
        """What of each part lies within bounds (N,) of its peer's net consumption."""
        start = np.clip(self.start, lower[self.peer], upper[self.peer])
        end = np.clip(self.end, lower[self.peer], upper[self.peer])
        kept = end > start
        width, fall = (self.end - self.start)[kept], (self.first - self.last)[kept]
        return _Steps(
            peer=self.peer[kept],
            start=start[kept],
            end=end[kept],
            first=self.first[kept] - fall * ((start - self.start)[kept] / width),
            last=self.last[kept] + fall * ((self.end - end)[kept] / width),
        )


def _net_steps(positions: Positions, t: int, steps: int, cuts: tuple[float, float]) -> _Steps:
    """The net curves of all peers in straight parts.

    A net curve is straight between the marginal values at which a piece of the peer reaches a bound. It is cut there,
    and at the given prices and the grid's, so that no part is partly worth more and partly less than what the grid
    takes for it; every sloping part then into equal steps.
    """
    prices = _turning_prices(positions, t, cuts)
    least, most = (np.empty_like(prices) for _ in range(2))
    for j in range(prices.shape[1]):
        for table, more in ((least, False), (most, True)):
            table[:, j] = positions.net_at(prices[:, j], t, most=more)
    # At a curvature near zero rounding would leave the ends of a curve out.
    nowhere = np.full(prices.shape[0], np.inf)
    least = np.where(prices == prices[:, :1], positions.net_at(nowhere, t, most=False)[:, None], least)
    most = np.where(prices == prices[:, -1:], positions.net_at(-nowhere, t, most=True)[:, None], most)
    once = np.column_stack([np.ones(prices.shape[0], dtype=bool), prices[:, 1:] < prices[:, :-1]])
    edge = np.linspace(0.0, 1.0, steps + 1)
    start, drop = most[:, :-1, None], (least[:, 1:] - most[:, :-1])[:, :, None]
    quantity = start + np.maximum(drop, 0.0) * edge
    value = prices[:, :-1, None] + (prices[:, 1:] - prices[:, :-1])[:, :, None] * edge
    flat, sloped = (most > least) & once, np.diff(quantity, axis=2) > 0
    return _Steps(
        peer=np.concatenate([np.nonzero(flat)[0], np.nonzero(sloped)[0]]),
        start=np.concatenate([least[flat], quantity[:, :, :-1][sloped]]),
        end=np.concatenate([most[flat], quantity[:, :, 1:][sloped]]),
        first=np.concatenate([prices[flat], value[:, :, :-1][sloped]]),
        last=np.concatenate([prices[flat], value[:, :, 1:][sloped]]),
    )


def _turning_prices(positions: Positions, t: int, cuts: tuple[float, float]) -> Floats:
    """(N, J) prices, descending, at which each net curve turns or is to be cut; some stand more than once."""
    market, owner = positions.market, positions.owner
    assets, peers = market.assets, len(market.peers)
    slope, curvature = assets.slope[:, t], assets.curvature[:, t]
    order = np.argsort(owner, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(owner.size) - np.searchsorted(owner[order], owner[order])
    most = int(rank.max(initial=-1)) + 1
    prices = np.full((peers, 2 * most + 4), np.nan)
    prices[owner, rank] = -slope - curvature * assets.lower[:, t]
    prices[owner, most + rank] = -slope - curvature * assets.upper[:, t]
    prices[:, -4:-2] = cuts
    prices[:, -2], prices[:, -1] = market.import_price[:, t], market.export_price[:, t]
    prices[~np.isfinite(prices)] = np.nan
    some = np.nan_to_num(np.nanmax(prices, axis=1, initial=-np.inf), neginf=0.0)
    return -np.sort(-np.where(np.isnan(prices), some[:, None], prices), axis=1)


def _side(*, peer: Indices, start: Floats, end: Floats, price: Indices, quantum: float, descending: bool) -> Orders:
    """The orders of one side, those of a peer at the same price as one; edges are rounded, so a peer's total is too."""
    quantity = np.rint(end / quantum).astype(np.int64) - np.rint(start / quantum).astype(np.int64)
    kept = quantity > 0
    peer, quantity, price = peer[kept], quantity[kept], price[kept]
    order = np.lexsort((-price if descending else price, peer))
    peer, quantity, price = peer[order], quantity[order], price[order]
    if not peer.size:
        return Orders(peer=peer, quantity=quantity, price=price)
    new = np.concatenate([[True], (peer[1:] != peer[:-1]) | (price[1:] != price[:-1])])
    firsts = np.flatnonzero(new)
    return Orders(peer=peer[firsts], quantity=np.add.reduceat(quantity, firsts), price=price[firsts])


def shared(total: int, quantities: Sequence[int]) -> list[int]:
    """A total in proportion to quantities: the largest remainders get the odd quanta, the first first.

    Parameters
    ----------
    total : at most the sum of the quantities
    quantities : positive
    """
    whole = sum(quantities)
    shares = [total * quantity // whole for quantity in quantities]
    remainders = [total * quantity % whole for quantity in quantities]
    order = sorted(range(len(shares)), key=lambda k: (-remainders[k], k))
    for k in order[: total - sum(shares)]:
        shares[k] += 1
    return shares
