"""What every market design is asked and answers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from optimization.canonical import Canonical
from optimization.community import Floats
from optimization.market import Indices, Market
from optimization.market_clearing import MarketClearing, MarketConflict, MarketOutcome, Unserved, Unsolved
from optimization.markets.positions import Marks

GRID = -1
"""Stands for the grid among sellers and buyers."""

MANAGER = -2
"""Stands for the pool's manager among sellers and buyers."""

NEGLIGIBLE = 1e-6
"""Share of a market's largest power below which nothing is called unserved or exceeded."""

Solve = Callable[[Market], MarketOutcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trades:
    """Rows of who sold to whom, trades with the grid and the pool among them.

    Attributes
    ----------
    seller, buyer : (K,) peers, ``GRID`` or ``MANAGER``
    mtu : (K,)
    power : (K,) kW, positive
    price : (K,) currency/kWh that the buyer pays the seller
    seller_fee, buyer_fee : (K,) currency/kWh that each side pays on top, to the manager or the DSO
    seller_preference, buyer_preference : (K,) currency/kWh of disutility that each side feels; never paid
    """

    seller: Indices
    buyer: Indices
    mtu: Indices
    power: Floats
    price: Floats
    seller_fee: Floats
    buyer_fee: Floats
    seller_preference: Floats
    buyer_preference: Floats

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.seller.size

    @property
    def among_peers(self) -> Marks:
        """(K,) whether the grid has no part in a row."""
        among: Marks = (self.seller != GRID) & (self.buyer != GRID)
        return among


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A limit or a storage's bound that a design did not keep, because its orders cannot say it.

    Attributes
    ----------
    what : ``"limit NAME"`` or ``"storage PEER/NAME"``
    mtu : in which MTU
    amount : kW (of a storage: kWh) beyond the bound; positive above the upper, negative below the lower
    """

    what: str
    mtu: int
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignOutcome:
    """What a market design made of a market.

    For each peer and MTU: pieces + charge - discharge = bought - sold + imported - exported + shortfall.

    Attributes
    ----------
    design : name of the design
    piece : (P, T) kW, consumption positive, within bounds
    charge, discharge : (S, T) kW
    trades : rows among peers, and with the manager and the grid
    imported, exported : (N, T) kW with the grid
    shortfall : (N, T) kW that must run and was not served; negative: that must be produced and was not taken
    unserved : the same by name, without what is negligible
    violations : limits and storage bounds not kept
    payments : (N, T) currency, positive where the peer pays: price and fees of its trades, energy from and to the grid
    fees : (N, T) currency, the part of the payments that goes to the manager or the DSO
    peer_cost : (N, T) currency: cost of the peer's assets, its preferences and its payments
    objective : currency; sum of ``peer_cost`` and the worth of stored energy, which is the market's own objective. It
        counts ``shortfall`` as served for nothing: while there is any, designs do not compare.
    uniform_price : one for each MTU, None where nothing was traded; empty where the design has no such price
    iterations : what the design or its solver counts
    clearing : the solver's own answer where the design is the market's own problem: what a certificate checks
    """

    design: str
    piece: Floats
    charge: Floats
    discharge: Floats
    trades: Trades
    imported: Floats
    exported: Floats
    shortfall: Floats
    unserved: tuple[Unserved, ...]
    violations: tuple[Exceeded, ...]
    payments: Floats
    fees: Floats
    peer_cost: Floats
    objective: float
    uniform_price: tuple[float | None, ...] = ()
    iterations: int = 0
    clearing: MarketClearing | None = None

    @property
    def welfare(self) -> float:
        """Currency; the negative of the objective."""
        return -self.objective

    @property
    def feasible(self) -> bool:
        """Whether everything that must run is served and every limit kept: only then do designs compare."""
        return not self.unserved and not self.violations

    def volume(self, market: Market) -> float:
        """The kWh sold by peers to each other or to the pool."""
        rows = self.trades.among_peers & (self.trades.seller >= 0)
        return float(market.hours * self.trades.power[rows].sum())

    def prices_paid(self, market: Market) -> Floats:
        """(N,) currency/kWh, mean that each peer paid peers or the pool, fees included; NaN where it bought none."""
        rows = self.trades.among_peers
        return _mean(market, self.trades.buyer, self.trades.price + self.trades.buyer_fee, self.trades.power, rows)

    def prices_received(self, market: Market) -> Floats:
        """(N,) currency/kWh, mean that each peer got from peers or the pool, fees taken off; NaN where it sold none."""
        rows = self.trades.among_peers
        return _mean(market, self.trades.seller, self.trades.price - self.trades.seller_fee, self.trades.power, rows)


DesignResult = DesignOutcome | MarketConflict | Unsolved
"""A conflict or a search without end comes only from the designs that a solver clears."""


class Design(Protocol):
    """A way to clear a market."""

    @property
    def name(self) -> str:
        """The design's name for people and for the command."""
        ...

    def clear(self, market: Market) -> DesignResult:
        """What this design makes of a market; whatever the order of the market's parts."""
        ...


def restored(outcome: DesignOutcome, order: Canonical) -> DesignOutcome:
    """An outcome of the sorted market in the order of the original."""

    def back(values: Floats, index: Indices) -> Floats:
        placed = np.empty_like(values)
        placed[index] = values
        return placed

    def original(sides: Indices) -> Indices:
        return np.where(sides >= 0, order.peers[np.maximum(sides, 0)], sides)

    return replace(
        outcome,
        piece=back(outcome.piece, order.pieces),
        charge=back(outcome.charge, order.storages),
        discharge=back(outcome.discharge, order.storages),
        trades=replace(outcome.trades, seller=original(outcome.trades.seller), buyer=original(outcome.trades.buyer)),
        clearing=None if outcome.clearing is None else order.restored(outcome.clearing),
        imported=back(outcome.imported, order.peers),
        exported=back(outcome.exported, order.peers),
        shortfall=back(outcome.shortfall, order.peers),
        payments=back(outcome.payments, order.peers),
        fees=back(outcome.fees, order.peers),
        peer_cost=back(outcome.peer_cost, order.peers),
    )


def _mean(market: Market, side: Indices, price: Floats, power: Floats, rows: Marks) -> Floats:
    taking = rows & (side >= 0)
    peers = len(market.peers)
    weight = np.bincount(side[taking], weights=power[taking], minlength=peers)
    total = np.bincount(side[taking], weights=power[taking] * price[taking], minlength=peers)
    mean = np.full(peers, np.nan)
    np.divide(total, weight, out=mean, where=weight > 0)
    return mean
