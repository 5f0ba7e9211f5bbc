"""Order book at average prices: every matched pair trades at the mean of what the one bid and the other asked.

Orders of an MTU are taken one after the other, first come first served or the highest bid first, each served by the
offers that it can pay: first come first served by the offers too, or the cheapest first. Nobody knows its partner, so
links and preferences say nothing here. A market's data have no time of arrival: unless the case says who came when,
peers come in the order of their names, each with its best order first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from optimization.canonical import canonical
from optimization.community import Floats, PeerId
from optimization.errors import ProblemError
from optimization.market import Indices, Market
from optimization.markets.orders import NANO, Book, Orders, books
from optimization.markets.positions import positions
from optimization.markets.protocol import DesignOutcome, restored
from optimization.markets.settling import Row, settled, trades_of


class Priority(Enum):
    """Which bid is served first."""

    FIRST_COME = "fifo"
    HIGHEST_BID = "highest-bid"


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePrice:
    """The design's options.

    Attributes
    ----------
    priority : which bid, and which offer, is served first
    arrivals : when each peer's orders came, smaller is earlier; peers not named come after all that are, by name
    steps : into how many orders a quadratic cost is cut
    fee : currency/kWh that each side pays on a trade, to the DSO

    References
    ----------
    M. Casquiço et al. (2021), "Blockchain and Internet of Things for electrical energy decentralization: a review and
    system architecture", Energies 14(23): average-price matching of bids and asks, first-in-first-out and highest bid
    first, after M. Pipattanasomporn, M. Kuzlu, S. Rahman (2018), "A blockchain-based platform for exchange of solar
    energy: laboratory-scale implementation".
    """

    priority: Priority = Priority.FIRST_COME
    arrivals: Mapping[PeerId, float] = field(default_factory=dict)
    steps: int = 10
    fee: float = 0.0

    @property
    def name(self) -> str:
        """``average-price``."""
        return "average-price"

    def clear(self, market: Market) -> DesignOutcome:
        """The market cleared pair by pair."""
        unknown = sorted(set(self.arrivals) - set(market.peers))
        if unknown:
            raise ProblemError(f"arrivals: got {unknown[0]}, wanted a peer of the market")
        order = canonical(market)
        curves = positions(order.market)
        arrival = np.array([self.arrivals.get(peer, np.inf) for peer in order.market.peers])
        rows = [
            Row(
                seller=seller,
                buyer=buyer,
                mtu=book.mtu,
                power=quanta * book.quantum,
                price=price / NANO,
                seller_fee=self.fee,
                buyer_fee=self.fee,
            )
            for book in books(curves, steps=self.steps, buyer_fee=self.fee, seller_fee=self.fee)
            for seller, buyer, quanta, price in _matched(
                book,
                self._ordered(book.bids, arrival, descending=True),
                self._ordered(book.offers, arrival, descending=False),
            )
        ]
        return restored(settled(curves, design=self.name, trades=trades_of(rows)), order)

    def _ordered(self, orders: Orders, arrival: Floats, *, descending: bool) -> Indices:
        """(K,) orders in the order in which they are served; a peer's own stand best first in the book."""
        came = arrival[orders.peer]
        if self.priority is Priority.FIRST_COME:
            return np.lexsort((orders.peer, came))
        return np.lexsort((orders.peer, came, -orders.price if descending else orders.price))


def _matched(book: Book, bids: Indices, offers: Indices) -> list[tuple[int, int, int, float]]:
    """Seller, buyer, quanta and nano-currency/kWh of every match; bids and offers are served in the orders given."""
    left = book.offers.quantity[offers].copy()
    asked, seller = book.offers.price[offers], book.offers.peer[offers]
    matches = []
    for k in bids:
        buyer, bid, wanted = int(book.bids.peer[k]), int(book.bids.price[k]), int(book.bids.quantity[k])
        served = np.flatnonzero((left > 0) & (asked <= bid) & (seller != buyer))
        taken = np.minimum(left[served], np.maximum(wanted - np.cumsum(left[served]) + left[served], 0))
        left[served] -= taken
        for j, quanta in zip(served[taken > 0], taken[taken > 0], strict=True):
            price = (book.within(bid) + book.within(int(asked[j]))) / 2
            matches.append((int(seller[j]), buyer, int(quanta), price))
    return matches
