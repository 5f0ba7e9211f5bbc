"""Uniform-price double auction: one price where supply meets demand.

All bids and offers of an MTU meet in one book, whoever made them; preferences and links say nothing here, because
nobody knows whom it trades with. The largest volume that can be traded is; orders that tie at the margin share it in
proportion to their size. Any price between the dearest offer and the cheapest bid accepted, that no order left out
would better, clears the market: the middle is taken. Who paid whom is then paired by name.
"""

from dataclasses import dataclass

import numpy as np

from optimization.canonical import canonical
from optimization.market import Indices, Market
from optimization.markets.orders import NANO, Book, Orders, books, shared
from optimization.markets.positions import Marks, positions
from optimization.markets.protocol import DesignOutcome, restored
from optimization.markets.settling import Row, settled, trades_of


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformPrice:
    """What a book cleared at.

    Attributes
    ----------
    bought, sold : quanta accepted of each bid and each offer; their sums are equal
    lowest, highest : nano-currency/kWh, the prices between which the market clears; None when nothing is accepted
    """

    bought: Indices
    sold: Indices
    lowest: int | None
    highest: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubleAuction:
    """The design's options.

    Attributes
    ----------
    steps : into how many orders a quadratic cost is cut
    fee : currency/kWh that each side pays on a trade, to the DSO
    """

    steps: int = 10
    fee: float = 0.0

    @property
    def name(self) -> str:
        """``double-auction``."""
        return "double-auction"

    def clear(self, market: Market) -> DesignOutcome:
        """The market cleared at one price in each MTU."""
        order = canonical(market)
        curves = positions(order.market)
        rows: list[Row] = []
        prices: list[float | None] = []
        for book in books(curves, steps=self.steps, buyer_fee=self.fee, seller_fee=self.fee):
            result = clear_uniform_price(book.bids, book.offers)
            price = _middle(book, result)
            prices.append(price)
            if price is not None:
                rows += [
                    Row(
                        seller=seller,
                        buyer=buyer,
                        mtu=book.mtu,
                        power=quanta * book.quantum,
                        price=price,
                        seller_fee=self.fee,
                        buyer_fee=self.fee,
                    )
                    for seller, buyer, quanta in _pairs(book, result, len(market.peers))
                ]
        outcome = settled(curves, design=self.name, trades=trades_of(rows), uniform_price=tuple(prices))
        return restored(outcome, order)


def clear_uniform_price(bids: Orders, offers: Orders) -> UniformPrice:
    """The uniform prices at which supply meets demand, and what is accepted there.

    Parameters
    ----------
    bids, offers : orders in any order; of those that tie at the margin the odd quanta go to the first

    Returns
    -------
    UniformPrice
        With the largest volume that can be traded at one price.

    References
    ----------
    K. Chatterjee, W. Samuelson (1983), "Bargaining under incomplete information", Operations Research 31(5): the
    k-double auction of two, here of many, with k = 1/2 and quantities.
    """
    nothing = UniformPrice(
        bought=np.zeros_like(bids.quantity), sold=np.zeros_like(offers.quantity), lowest=None, highest=None
    )
    if not bids.size or not offers.size:
        return nothing
    prices = np.unique(np.concatenate([bids.price, offers.price]))
    demand = _reached(-prices, -bids.price, bids.quantity)
    supply = _reached(prices, offers.price, offers.quantity)
    volume = int(np.minimum(demand, supply).max())
    if volume == 0:
        return nothing
    lowest, highest = int(prices[supply >= volume][0]), int(prices[demand >= volume][-1])
    bought = _accepted(volume, bids.quantity, bids.price > highest, bids.price == highest)
    sold = _accepted(volume, offers.quantity, offers.price < lowest, offers.price == lowest)
    left_bids, left_offers = bids.price[bought < bids.quantity], offers.price[sold < offers.quantity]
    if left_bids.size:
        lowest = max(lowest, int(left_bids.max()))
    if left_offers.size:
        highest = min(highest, int(left_offers.min()))
    return UniformPrice(bought=bought, sold=sold, lowest=lowest, highest=highest)


def _reached(prices: Indices, limits: Indices, quantities: Indices) -> Indices:
    """(K,) quanta whose limit each price has reached."""
    order = np.argsort(limits, kind="stable")
    total = np.concatenate([[0], np.cumsum(quantities[order])])
    reached: Indices = total[np.searchsorted(limits[order], prices, side="right")]
    return reached


def _accepted(volume: int, quantity: Indices, better: Marks, marginal: Marks) -> Indices:
    accepted = np.where(better, quantity, 0)
    tied = np.flatnonzero(marginal)
    accepted[tied] = shared(volume - int(accepted.sum()), [int(q) for q in quantity[tied]])
    return accepted


def _middle(book: Book, result: UniformPrice) -> float | None:
    if result.lowest is None or result.highest is None:
        return None
    return (book.within(result.lowest) + book.within(result.highest)) / 2 / NANO


def _pairs(book: Book, result: UniformPrice, peers: int) -> list[tuple[int, int, int]]:
    """Seller, buyer and quanta: sellers and buyers each in the order of their names, the one served as the other goes.

    A peer whose bid and offer tie at the margin may have had both accepted: what it would sell to itself is taken off.
    """
    net = np.zeros(peers, dtype=np.int64)
    np.add.at(net, book.bids.peer, result.bought)
    np.subtract.at(net, book.offers.peer, result.sold)
    sellers = [[int(n), int(-net[n])] for n in np.flatnonzero(net < 0)]
    buyers = [[int(n), int(net[n])] for n in np.flatnonzero(net > 0)]
    pairs = []
    while sellers and buyers:
        quanta = min(sellers[0][1], buyers[0][1])
        pairs.append((sellers[0][0], buyers[0][0], quanta))
        for side in (sellers, buyers):
            side[0][1] -= quanta
            if side[0][1] == 0:
                side.pop(0)
    return pairs
