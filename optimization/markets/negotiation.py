"""Bounded bilateral negotiation: linked peers concede in rounds, between production cost and the grid's price.

Every buyer opens at the lowest price in the book (what the grid pays), every seller at the highest (what the grid
asks), and both move towards their own limit by equal parts of the way, to reach it in the last round. In each round a
seller takes the highest price offered to it and a buyer the lowest asked of it, over the links that they have, each
side's preference and the network charge on top; the best offer in the market is agreed first, equal ones in the order
of names. They meet in the middle of what is offered and what is asked at that moment. What is not agreed when time is
up goes to the grid.

A peer negotiates its best order first and the next one when that is filled. Who must run and has no grid concedes as
far as any link's cost may need.
"""

from dataclasses import dataclass

import numpy as np

from optimization.canonical import canonical
from optimization.community import Floats
from optimization.errors import ProblemError
from optimization.market import Indices, Links, Market
from optimization.markets.orders import NANO, Book, Orders, books, nano
from optimization.markets.positions import positions
from optimization.markets.protocol import DesignOutcome, restored
from optimization.markets.settling import Row, settled, trades_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Negotiation:
    """The design's options.

    Attributes
    ----------
    rounds : over how many rounds a peer concedes from its opening to its limit
    time_out : after how many of them the talks end; None for all
    steps : into how many orders a quadratic cost is cut

    References
    ----------
    Y. Mezquita et al. (2022), "Towards a blockchain-based peer-to-peer energy marketplace", Energies 15(9): bounded
    negotiation, sellers taking the highest price and buyers the lowest, with a time-out. The linear concession and the
    middle price are choices made here.
    """

    rounds: int = 20
    time_out: int | None = None
    steps: int = 10

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ProblemError(f"rounds: got {self.rounds}, wanted at least 1")
        if self.time_out is not None and not 0 <= self.time_out <= self.rounds:
            raise ProblemError(f"time_out: got {self.time_out}, wanted 0 to {self.rounds} rounds")

    @property
    def name(self) -> str:
        """``negotiation``."""
        return "negotiation"

    def clear(self, market: Market) -> DesignOutcome:
        """The market as it is after the talks, the rest with the grid."""
        order = canonical(market)
        curves = positions(order.market)
        links = order.market.links
        ends = self.rounds if self.time_out is None else self.time_out
        rows: list[Row] = []
        for book in books(curves, steps=self.steps):
            talks = _Talks.opened(book, links, len(market.peers))
            for done in range(1, ends + 1):
                if talks.over:
                    break
                rows += talks.hold(done, self.rounds)
        outcome = settled(curves, design=self.name, trades=trades_of(rows), iterations=ends)
        return restored(outcome, order)


@dataclass(slots=True, kw_only=True)
class _Side:
    """Where each peer stands in its own orders: the one under negotiation and what is left of it."""

    orders: Orders
    limit: Indices
    opening: int
    at: Indices
    end: Indices
    left: Indices

    @classmethod
    def opened(cls, orders: Orders, limit: Indices, opening: int, peers: int) -> "_Side":
        every = np.arange(peers)
        at = np.searchsorted(orders.peer, every, side="left")
        end = np.searchsorted(orders.peer, every, side="right")
        left = np.zeros(peers, dtype=np.int64)
        some = at < end
        left[some] = orders.quantity[at[some]]
        return cls(orders=orders, limit=limit, opening=opening, at=at, end=end, left=left)

    def advance(self) -> None:
        """Moves every peer whose order is filled to its next."""
        self.at = np.where((self.left == 0) & (self.at < self.end), self.at + 1, self.at)
        fresh = (self.left == 0) & (self.at < self.end)
        self.left[fresh] = self.orders.quantity[self.at[fresh]]

    def price(self, done: int, rounds: int) -> Indices:
        """(N,) nano-currency/kWh at which each peer stands in a round; its opening where it has no order."""
        if not self.limit.size:
            return np.full(self.at.size, self.opening)
        way = self.limit[np.minimum(self.at, self.limit.size - 1)] - self.opening
        # Split so that the way times the rounds cannot overflow: the last round stands exactly at the limit.
        conceded = way // rounds * done + way % rounds * done // rounds
        return np.where(self.at < self.end, self.opening + conceded, self.opening)


@dataclass(slots=True, kw_only=True)
class _Talks:
    """The negotiations of one MTU."""

    book: Book
    links: Links
    seller_cost: Indices
    buyer_cost: Indices
    capacity: Floats
    buying: _Side
    selling: _Side

    @classmethod
    def opened(cls, book: Book, links: Links, peers: int) -> "_Talks":
        dearest = int(nano(links.cost).max(initial=0))
        buyers, sellers = book.bids, book.offers
        bid = np.minimum(buyers.price, book.ceiling + dearest)
        asked = np.maximum(sellers.price, book.floor - dearest)
        return cls(
            book=book,
            links=links,
            seller_cost=nano(links.seller_preference),
            buyer_cost=nano(links.buyer_preference + links.network_charge),
            capacity=np.minimum(np.floor(links.capacity / book.quantum), 2.0**62),
            buying=_Side.opened(buyers, bid, book.floor, peers),
            selling=_Side.opened(sellers, asked, book.ceiling, peers),
        )

    @property
    def over(self) -> bool:
        """Whether one side has nothing left to negotiate."""
        return not (self.buying.left.any() and self.selling.left.any())

    def hold(self, done: int, rounds: int) -> list[Row]:
        """What is agreed in one round."""
        agreed: list[Row] = []
        while True:
            rows = self._agree(done, rounds)
            if not rows:
                return agreed
            agreed += rows
            self.buying.advance()
            self.selling.advance()

    def _agree(self, done: int, rounds: int) -> list[Row]:
        """Agreements on the orders now under negotiation, the highest offer first, then the lowest asked price."""
        seller, buyer = self.links.seller, self.links.buyer
        offered = self.buying.price(done, rounds)[buyer] - self.buyer_cost
        asked = self.selling.price(done, rounds)[seller] + self.seller_cost
        able = (self.selling.left[seller] > 0) & (self.buying.left[buyer] > 0) & (self.capacity >= 1)
        possible = np.flatnonzero(able & (offered >= asked))
        rows = []
        for k in possible[np.lexsort((buyer[possible], seller[possible], asked[possible], -offered[possible]))]:
            s, b = int(seller[k]), int(buyer[k])
            quanta = int(min(self.selling.left[s], self.buying.left[b], self.capacity[k]))
            if quanta == 0:
                continue
            self.selling.left[s] -= quanta
            self.buying.left[b] -= quanta
            self.capacity[k] -= quanta
            rows.append(
                Row(
                    seller=s,
                    buyer=b,
                    mtu=self.book.mtu,
                    power=quanta * self.book.quantum,
                    price=(int(offered[k]) + int(asked[k])) / 2 / NANO,
                    buyer_fee=float(self.links.network_charge[k]),
                    seller_preference=float(self.links.seller_preference[k]),
                    buyer_preference=float(self.links.buyer_preference[k]),
                )
            )
        return rows
