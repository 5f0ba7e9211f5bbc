"""The multi-bilateral economic dispatch as a design: trades over links, each pair with a price of its own.

The seller is paid its marginal value and its preference, the buyer pays its own less its preference and the network
charge: in a cleared market the two are one number, but over a full link, where the middle shares the rent between
both.
"""

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from optimization.market import Market
from optimization.market_clearing import MarketClearing, MarketConflict, Unsolved
from optimization.markets.protocol import DesignResult, Solve, Trades
from optimization.markets.settling import outcome_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Bilateral:
    """The design's options.

    Attributes
    ----------
    solve : clears a market

    References
    ----------
    E. Sorin, L. Bobo, P. Pinson (2019), "Consensus-based approach to peer-to-peer electricity markets with product
    differentiation", eq. (1).
    """

    solve: Solve

    @property
    def name(self) -> str:
        """``bilateral``."""
        return "bilateral"

    def clear(self, market: Market) -> DesignResult:
        """The market's own optimum."""
        answer = self.solve(market)
        match answer:
            case MarketClearing():
                return outcome_of(
                    market,
                    design=self.name,
                    piece=answer.piece,
                    charge=answer.charge,
                    discharge=answer.discharge,
                    trades=_over_links(market, answer),
                    imported=answer.imported,
                    exported=answer.exported,
                    iterations=answer.iterations,
                    clearing=answer,
                )
            case MarketConflict() | Unsolved():
                return answer
            case _:
                assert_never(answer)


def _over_links(market: Market, clearing: MarketClearing) -> Trades:
    links = market.links
    link, mtu = np.nonzero(clearing.trade > 0)
    seller, buyer = links.seller[link], links.buyer[link]
    received = clearing.price[seller, mtu] + links.seller_preference[link]
    worth = clearing.price[buyer, mtu] - links.buyer_preference[link] - links.network_charge[link]
    return Trades(
        seller=seller,
        buyer=buyer,
        mtu=mtu,
        power=clearing.trade[link, mtu],
        price=(received + worth) / 2,
        seller_fee=np.zeros(link.size),
        buyer_fee=links.network_charge[link],
        seller_preference=links.seller_preference[link],
        buyer_preference=links.buyer_preference[link],
    )
