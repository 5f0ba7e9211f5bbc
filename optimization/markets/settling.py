"""Who pays what to whom after a clearing, and what the clearing did not keep: the same arithmetic for every design."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from optimization.community import Floats
from optimization.market import Indices, Market
from optimization.market_clearing import MarketClearing, Unserved
from optimization.markets.orders import quantum_of
from optimization.markets.positions import Positions, summed
from optimization.markets.protocol import GRID, NEGLIGIBLE, DesignOutcome, Exceeded, Trades


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of ``Trades``, whose fields it has."""

    seller: int
    buyer: int
    mtu: int
    power: float
    price: float
    seller_fee: float = 0.0
    buyer_fee: float = 0.0
    seller_preference: float = 0.0
    buyer_preference: float = 0.0


def trades_of(rows: Sequence[Row]) -> Trades:
    """Rows as arrays."""
    columns = list(zip(*(astuple(row) for row in rows), strict=True)) or [()] * 9
    seller, buyer, mtu = (np.array(column, dtype=np.int64) for column in columns[:3])
    power, price, seller_fee, buyer_fee, seller_preference, buyer_preference = (
        np.array(column, dtype=np.float64) for column in columns[3:]
    )
    return Trades(
        seller=seller,
        buyer=buyer,
        mtu=mtu,
        power=power,
        price=price,
        seller_fee=seller_fee,
        buyer_fee=buyer_fee,
        seller_preference=seller_preference,
        buyer_preference=buyer_preference,
    )


def joined(first: Trades, second: Trades) -> Trades:
    """The rows of both."""
    return Trades(
        **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in Trades.__dataclass_fields__}
    )


def bought_less_sold(trades: Trades, peers: int, mtus: int) -> Floats:
    """(N, T) kW that each peer bought less what it sold, over all rows."""
    net = np.zeros((peers, mtus))
    buying, selling = trades.buyer >= 0, trades.seller >= 0
    np.add.at(net, (trades.buyer[buying], trades.mtu[buying]), trades.power[buying])
    np.subtract.at(net, (trades.seller[selling], trades.mtu[selling]), trades.power[selling])
    return net


def settled(
    curves: Positions, *, design: str, trades: Trades, uniform_price: tuple[float | None, ...] = (), iterations: int = 0
) -> DesignOutcome:
    """The outcome of a design of orders: trades are made, each peer then does its best with its assets and the grid.

    Storages stand idle. What must run and finds neither partner nor grid is left as shortfall.
    """
    market = curves.market
    traded = bought_less_sold(trades, len(market.peers), market.mtus)
    net = curves.beside_grid(traded)
    # A quantum's rounding is no reason to go to the grid.
    close = np.abs(net - traded) <= 2 * quantum_of(curves)
    net = np.where(close, np.clip(traded, curves.lower, curves.upper), net)
    missing = np.where(close, 0.0, net - traded)
    imported = np.where(np.isfinite(market.import_price), np.maximum(missing, 0.0), 0.0)
    exported = np.where(np.isfinite(market.export_price), np.maximum(-missing, 0.0), 0.0)
    idle = np.zeros((market.stores.size, market.mtus))
    return outcome_of(
        market,
        design=design,
        piece=curves.powers(net),
        charge=idle,
        discharge=idle,
        trades=trades,
        imported=imported,
        exported=exported,
        uniform_price=uniform_price,
        iterations=iterations,
    )


def outcome_of(
    market: Market,
    *,
    design: str,
    piece: Floats,
    charge: Floats,
    discharge: Floats,
    trades: Trades,
    imported: Floats,
    exported: Floats,
    import_fee: float = 0.0,
    export_fee: float = 0.0,
    uniform_price: tuple[float | None, ...] = (),
    iterations: int = 0,
    clearing: MarketClearing | None = None,
) -> DesignOutcome:
    """Everything that follows from powers and trades.

    Parameters
    ----------
    market : with its own cost functions
    trades : among peers and with the manager; rows with the grid are added here
    import_fee, export_fee : currency/kWh on what is imported and exported
    others : as in DesignOutcome
    """
    peers, mtus, hours = len(market.peers), market.mtus, market.hours
    trades = joined(trades, _grid_rows(market, imported, exported, import_fee, export_fee))
    owner = market.assets.piece_peer
    net = summed(owner, piece, peers) + summed(market.stores.peer, charge - discharge, peers)
    shortfall = net - bought_less_sold(trades, peers, mtus)
    paid = np.zeros((peers, mtus))
    fees, felt = np.zeros((peers, mtus)), np.zeros((peers, mtus))
    for side, sign, fee, preference in (
        (trades.buyer, 1.0, trades.buyer_fee, trades.buyer_preference),
        (trades.seller, -1.0, trades.seller_fee, trades.seller_preference),
    ):
        own = side >= 0
        where = (side[own], trades.mtu[own])
        energy = hours * trades.power[own]
        np.add.at(paid, where, energy * (sign * trades.price + fee)[own])
        np.add.at(fees, where, energy * fee[own])
        np.add.at(felt, where, energy * preference[own])
    assets, stores = market.assets, market.stores
    cost = summed(owner, hours * piece * (assets.slope + assets.curvature * piece / 2), peers)
    cost += summed(stores.peer, hours * stores.cycle_cost[:, None] * discharge, peers)
    energy = stored_energy(market, charge, discharge)
    peer_cost = cost + felt + paid
    return DesignOutcome(
        design=design,
        piece=piece,
        charge=charge,
        discharge=discharge,
        trades=trades,
        imported=imported,
        exported=exported,
        shortfall=shortfall,
        unserved=_unserved(market, shortfall),
        violations=_violations(market, net - shortfall, energy),
        payments=paid,
        fees=fees,
        peer_cost=peer_cost,
        objective=float(peer_cost.sum() + (stores.state_cost * energy).sum()),
        uniform_price=uniform_price,
        iterations=iterations,
        clearing=clearing,
    )


def stored_energy(market: Market, charge: Floats, discharge: Floats) -> Floats:
    """(S, T) kWh at the end of each MTU."""
    stores = market.stores
    change = stores.charge_efficiency[:, None] * charge - discharge / stores.discharge_efficiency[:, None]
    return stores.initial[:, None] + market.hours * np.cumsum(change, axis=1)


def scale_of(market: Market) -> float:
    """The kW that a share of the market's powers is measured by: the largest bound of a piece, at least 1."""
    bounds = np.abs(np.concatenate([market.assets.lower.ravel(), market.assets.upper.ravel()]))
    return max(1.0, float(bounds.max(initial=0.0)))


def _grid_rows(market: Market, imported: Floats, exported: Floats, import_fee: float, export_fee: float) -> Trades:
    parts: list[tuple[Indices, ...]] = [np.nonzero(imported > 0), np.nonzero(exported > 0)]
    (buyer, bought_at), (seller, sold_at) = parts
    ins, outs = np.full(buyer.size, GRID), np.full(seller.size, GRID)
    nothing = np.zeros(buyer.size + seller.size)
    return Trades(
        seller=np.concatenate([ins, seller]),
        buyer=np.concatenate([buyer, outs]),
        mtu=np.concatenate([bought_at, sold_at]),
        power=np.concatenate([imported[parts[0]], exported[parts[1]]]),
        price=np.concatenate([market.import_price[parts[0]], market.export_price[parts[1]]]),
        seller_fee=np.concatenate([np.zeros(buyer.size), np.full(seller.size, export_fee)]),
        buyer_fee=np.concatenate([np.full(buyer.size, import_fee), np.zeros(seller.size)]),
        seller_preference=nothing,
        buyer_preference=nothing,
    )


def _unserved(market: Market, shortfall: Floats) -> tuple[Unserved, ...]:
    named = np.argwhere(np.abs(shortfall) > NEGLIGIBLE * scale_of(market))
    return tuple(Unserved(what=f"peer {market.peers[n]}", mtu=int(t), amount=float(shortfall[n, t])) for n, t in named)


def _violations(market: Market, net: Floats, energy: Floats) -> tuple[Exceeded, ...]:
    found = []
    for limit in market.limits:
        total = net[limit.members].sum(axis=0)
        found += _beyond(f"limit {limit.name}", total, limit.lower, limit.upper, scale_of(market))
    stores = market.stores
    for s in range(stores.size):
        what = f"storage {market.peers[stores.peer[s]]}/{stores.names[s]}"
        scale = max(1.0, float(np.abs(energy[s]).max()))
        found += _beyond(what, energy[s], stores.lower[s], stores.upper[s], scale)
    return tuple(found)


def _beyond(what: str, values: Floats, lower: Floats, upper: Floats, scale: float) -> list[Exceeded]:
    beyond = np.where(values > upper, values - upper, np.where(values < lower, values - lower, 0.0))
    return [
        Exceeded(what=what, mtu=int(t), amount=float(beyond[t]))
        for t in np.flatnonzero(np.abs(beyond) > NEGLIGIBLE * scale)
    ]
