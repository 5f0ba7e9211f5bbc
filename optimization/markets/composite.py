"""Composite market: bilateral first, the rest to the pool, the rest to the grid.

The peers first trade over their links as the inner design has it, with their own grid prices in mind. Those trades
stand; what each peer then still wants or has goes to the pool, whose manager trades with the grid. Where the links
alone cannot serve what must run, the bilateral stage leaves it to the pool.
"""

from dataclasses import dataclass

import numpy as np

from optimization.market import Market
from optimization.market_clearing import MarketConflict, Unsolved
from optimization.markets.emergency import with_last_resort
from optimization.markets.pool import Pool
from optimization.markets.protocol import Design, DesignResult, Trades


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """The design's options.

    Attributes
    ----------
    bilateral : the first stage, any design whose trades are between peers
    pool : the second, with its fees

    References
    ----------
    T. Sousa et al. (2019), "Peer-to-peer and community-based markets: a comprehensive review", Renewable and
    Sustainable Energy Reviews 104: the hybrid design. Its stages are cleared here one after the other.
    """

    bilateral: Design
    pool: Pool

    @property
    def name(self) -> str:
        """``composite``."""
        return "composite"

    def clear(self, market: Market) -> DesignResult:
        """Both stages, one after the other."""
        first = self.bilateral.clear(market)
        if isinstance(first, MarketConflict):
            first = self.bilateral.clear(with_last_resort(market))
        if isinstance(first, (MarketConflict, Unsolved)):
            return first
        return self.pool.complete(market, design=self.name, agreed=_among(first.trades, len(market.peers)))


def _among(trades: Trades, peers: int) -> Trades:
    """The rows between the market's own peers."""
    own = (trades.seller >= 0) & (trades.buyer >= 0) & (trades.seller < peers) & (trades.buyer < peers)
    kept = np.flatnonzero(own)
    return Trades(**{name: getattr(trades, name)[kept] for name in Trades.__dataclass_fields__})
