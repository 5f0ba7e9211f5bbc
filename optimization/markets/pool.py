r"""Community pool: members trade with a manager, who also stands between them and the grid.

With :math:`q_j` what member :math:`j` sells to the community, :math:`\alpha_j` and :math:`\beta_j` its import and
export through the manager, the members' costs, :math:`\gamma |q_j|` for every trade and the fees on import and export
are least subject to :math:`\sum_j q_j = 0` and each member's balance. That is a market on a star: a hub without
assets, linked both ways with every member at the trading fee; so limits and storages hold here as in any market. The
pool's price is the hub's.
"""

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from optimization.community import Floats, PeerId
from optimization.errors import ProblemError
from optimization.market import Assets, Limit, Links, Market
from optimization.market_clearing import MarketClearing, MarketConflict, Unsolved
from optimization.markets.protocol import MANAGER, DesignOutcome, DesignResult, Solve, Trades
from optimization.markets.settling import bought_less_sold, joined, outcome_of, scale_of

TRADED = 1e-9
"""Share of a market's largest power that the pool must move in an MTU before it has a price there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The design's options.

    Attributes
    ----------
    solve : clears a market
    trading_fee : currency/kWh that a member pays the manager on what it sells to the pool, and on what it buys
    import_fee, export_fee : currency/kWh on top of the grid's import price and off its export price

    References
    ----------
    F. Moret, P. Pinson (2019), "Energy collectives: a community and fairness based approach to future electricity
    markets", IEEE Transactions on Power Systems 34(5).
    """

    solve: Solve
    trading_fee: float = 0.0
    import_fee: float = 0.0
    export_fee: float = 0.0

    def __post_init__(self) -> None:
        for name in ("trading_fee", "import_fee", "export_fee"):
            fee = getattr(self, name)
            if not (np.isfinite(fee) and fee >= 0):
                raise ProblemError(f"{name}: got {fee}, wanted a finite number of at least 0")

    @property
    def name(self) -> str:
        """``pool``."""
        return "pool"

    def clear(self, market: Market) -> DesignResult:
        """The community's optimum with a manager."""
        return self.complete(market, design=self.name)

    def complete(self, market: Market, *, design: str, agreed: Trades | None = None) -> DesignResult:
        """What the pool and the grid make of a market whose peers have agreed on some trades before."""
        peers, mtus = len(market.peers), market.mtus
        held = np.zeros((peers, mtus)) if agreed is None else bought_less_sold(agreed, peers, mtus)
        answer = self.solve(self._star(market, held))
        match answer:
            case MarketClearing():
                return self._outcome(market, answer, design, agreed)
            case MarketConflict():
                return replace(answer, price=answer.price[:peers])
            case Unsolved():
                return answer
            case _:
                assert_never(answer)

    def _star(self, market: Market, held: Floats) -> Market:
        """The market with a hub as its last peer and no other links; what is held already enters as fixed supply."""
        peers, mtus = len(market.peers), market.mtus
        member = np.arange(peers)
        hub = np.full(peers, peers)
        fee = np.full(2 * peers, self.trading_fee)
        nothing = np.zeros(2 * peers)
        return Market(
            peers=(*market.peers, _unused("pool manager", market.peers)),
            hours=market.hours,
            mtus=mtus,
            assets=with_fixed(market.assets, held) if held.any() else market.assets,
            links=Links(
                seller=np.concatenate([member, hub]),
                buyer=np.concatenate([hub, member]),
                seller_preference=nothing,
                buyer_preference=nothing,
                network_charge=fee,
                capacity=np.full(2 * peers, np.inf),
            ),
            storages=market.storages,
            import_price=np.vstack([market.import_price + self.import_fee, np.full((1, mtus), np.inf)]),
            export_price=np.vstack([market.export_price - self.export_fee, np.full((1, mtus), -np.inf)]),
            limits=tuple(shifted(limit, held) for limit in market.limits),
        )

    def _outcome(self, market: Market, answer: MarketClearing, design: str, agreed: Trades | None) -> DesignOutcome:
        peers = len(market.peers)
        price = answer.price[peers]
        drawn = answer.trade[peers:] - answer.trade[:peers]
        trades = self._with_manager(drawn, price)
        moved = np.abs(drawn).sum(axis=0) > TRADED * scale_of(market)
        pieces = market.assets.piece_asset.size
        return outcome_of(
            market,
            design=design,
            piece=answer.piece[:pieces],
            charge=answer.charge,
            discharge=answer.discharge,
            trades=trades if agreed is None else joined(agreed, trades),
            imported=answer.imported[:peers],
            exported=answer.exported[:peers],
            import_fee=self.import_fee,
            export_fee=self.export_fee,
            uniform_price=tuple(float(p) if some else None for p, some in zip(price, moved, strict=True)),
            iterations=answer.iterations,
        )

    def _with_manager(self, drawn: Floats, price: Floats) -> Trades:
        """Rows of what members draw from the pool (N, T) kW, negative for what they put in."""
        member, mtu = np.nonzero(drawn)
        power = drawn[member, mtu]
        buys = power > 0
        manager = np.full(member.size, MANAGER)
        nothing = np.zeros(member.size)
        return Trades(
            seller=np.where(buys, manager, member),
            buyer=np.where(buys, member, manager),
            mtu=mtu,
            power=np.abs(power),
            price=price[mtu],
            seller_fee=np.where(buys, 0.0, self.trading_fee),
            buyer_fee=np.where(buys, self.trading_fee, 0.0),
            seller_preference=nothing,
            buyer_preference=nothing,
        )


def with_fixed(assets: Assets, supply: Floats) -> Assets:
    """Assets and one more for each peer that supplies so many kW (N, T), at no cost; theirs are the last pieces."""
    peers = supply.shape[0]
    return Assets(
        peer=np.concatenate([assets.peer, np.arange(peers)]),
        names=(*assets.names, *[_unused("agreed trades", assets.names)] * peers),
        piece_asset=np.concatenate([assets.piece_asset, assets.peer.size + np.arange(peers)]),
        lower=np.vstack([assets.lower, -supply]),
        upper=np.vstack([assets.upper, -supply]),
        slope=np.vstack([assets.slope, np.zeros_like(supply)]),
        curvature=np.vstack([assets.curvature, np.zeros_like(supply)]),
    )


def shifted(limit: Limit, supply: Floats) -> Limit:
    """A limit on the same meters, where fixed supply (N, T) counts as consumption's opposite."""
    moved = supply[limit.members].sum(axis=0)
    return replace(limit, lower=limit.lower - moved, upper=limit.upper - moved)


def _unused(name: str, taken: tuple[str, ...]) -> PeerId:
    while name in taken:
        name += "'"
    return PeerId(name)
