"""Everybody with the grid alone: what every other design is measured against.

Each peer does its best with its assets at the grid's prices. Where there is no grid nobody trades, and what must run
is unserved. Limits on one peer are kept; those on sums are not, and are listed: without a market nobody keeps them.
"""

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from optimization.canonical import canonical
from optimization.market import Links, Market
from optimization.market_clearing import MarketClearing, MarketConflict, Unsolved
from optimization.markets.emergency import with_last_resort
from optimization.markets.positions import positions
from optimization.markets.protocol import DesignResult, Solve, restored
from optimization.markets.settling import outcome_of, settled, trades_of


@dataclass(frozen=True, slots=True, kw_only=True)
class GridOnly:
    """The design's options.

    Attributes
    ----------
    solve : clears a market; used where there are storages. None leaves storages idle
    """

    solve: Solve | None = None

    @property
    def name(self) -> str:
        """``grid-only``."""
        return "grid-only"

    def clear(self, market: Market) -> DesignResult:
        """Each peer's own optimum."""
        if self.solve is None or not market.stores.size:
            order = canonical(market)
            return restored(settled(positions(order.market), design=self.name, trades=trades_of([])), order)
        answer = self.solve(with_last_resort(_apart(market)))
        match answer:
            case MarketClearing():
                return outcome_of(
                    market,
                    design=self.name,
                    piece=answer.piece[: market.assets.piece_asset.size],
                    charge=answer.charge,
                    discharge=answer.discharge,
                    trades=trades_of([]),
                    imported=answer.imported[: len(market.peers)],
                    exported=answer.exported[: len(market.peers)],
                    iterations=answer.iterations,
                )
            case MarketConflict() | Unsolved():
                return answer
            case _:
                assert_never(answer)


def _apart(market: Market) -> Market:
    """The market without links, and without the limits that bind several peers together."""
    none, index = np.zeros(0), np.zeros(0, dtype=np.int64)
    return replace(
        market,
        links=Links(
            seller=index,
            buyer=index,
            seller_preference=none,
            buyer_preference=none,
            network_charge=none,
            capacity=none,
        ),
        limits=tuple(limit for limit in market.limits if limit.members.size == 1),
    )
