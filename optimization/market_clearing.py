"""The answers to a market: a clearing, the proof that there is none, or a search that ended without either."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from optimization.community import Floats
from optimization.market import Market


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketClearing:
    """An answer to a market: powers, trades and prices. What they are worth is for the certificate to say.

    Attributes
    ----------
    piece : (P, T) kW, consumption positive
    trade : (L, T) kW sold over each link, non-negative
    imported, exported : (N, T) kW from and to the grid, non-negative
    charge, discharge : (S, T) kW, non-negative
    price : (N, T) currency/kWh, what one more kWh is worth to each peer: the dual of its balance
    limit_price : (G, T) currency/kWh, positive where the upper bound binds, negative where the lower; a member's assets
        see its price plus the prices of its limits
    state_price : (S, T) currency per kWh, value of one more kWh stored at the end of each MTU: the dual of the dynamics
    iterations : what the solver counts
    """

    piece: Floats
    trade: Floats
    imported: Floats
    exported: Floats
    charge: Floats
    discharge: Floats
    price: Floats
    limit_price: Floats
    state_price: Floats
    iterations: int = 0

    @classmethod
    def zeros(cls, market: Market) -> Self:
        """Nothing traded at no price, assets at the admissible power nearest to zero: where an iteration may begin."""
        peers, mtus = len(market.peers), market.mtus
        storages = market.stores.size
        return cls(
            piece=np.clip(0.0, market.assets.lower, market.assets.upper),
            trade=np.zeros((market.links.size, mtus)),
            imported=np.zeros((peers, mtus)),
            exported=np.zeros((peers, mtus)),
            charge=np.zeros((storages, mtus)),
            discharge=np.zeros((storages, mtus)),
            price=np.zeros((peers, mtus)),
            limit_price=np.zeros((len(market.limits), mtus)),
            state_price=np.zeros((storages, mtus)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """One thing that would have to give before a market can be cleared.

    Attributes
    ----------
    what : ``"peer NAME"``, ``"limit NAME"`` or ``"storage NAME"``
    mtu : in which MTU
    amount : kW (of a storage: kWh) by which it would have to give, in the least sum over all; positive: consume less or
        allow more consumption, negative: produce less or allow more production
    """

    what: str
    mtu: int
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketConflict:
    """The proof that no trades keep to all bounds.

    Attributes
    ----------
    unserved : who would have to give, and by how much
    price, limit_price, state_price : as in MarketClearing, a Farkas certificate: with all costs zero these prices have
        a positive dual value, which no feasible answer could
    margin : that dual value, kWh; what everything unserved sums to
    """

    unserved: tuple[Unserved, ...]
    price: Floats
    limit_price: Floats
    state_price: Floats
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsolved:
    """A search that ended without a solution or a proof that there is none.

    Attributes
    ----------
    reason : for people
    best : the last iterate
    """

    reason: str
    best: MarketClearing


MarketOutcome = MarketClearing | MarketConflict | Unsolved
