"""How far an answer can at most be from the best: its cost against the dual value of its prices."""

import numpy as np

from optimization.community import Floats
from optimization.market import Indices, Market
from optimization.market_clearing import MarketClearing


def cost(market: Market, clearing: MarketClearing) -> float:
    """The objective, as ``optimization.market`` writes it."""
    assets, stores = market.assets, market.stores
    power = (0.5 * assets.curvature * clearing.piece + assets.slope) * clearing.piece
    trade = market.links.cost @ clearing.trade
    grid = np.where(clearing.imported > 0, market.import_price, 0.0) * clearing.imported
    grid -= np.where(clearing.exported > 0, market.export_price, 0.0) * clearing.exported
    running = (
        float(power.sum())
        + float(trade.sum())
        + float(grid.sum())
        + float(stores.cycle_cost @ clearing.discharge.sum(axis=1))
    )
    return market.hours * running + float((stores.state_cost * energy(market, clearing)).sum())


def smallest_cost(market: Market, clearing: MarketClearing) -> float:
    """Costs below this are rounding, whatever they sum to: a millionth of the turnover, or of a thousandth of a kW."""
    assets = market.assets
    price = np.abs(assets.slope + assets.curvature * clearing.piece)
    size = 1.0 + np.abs(clearing.piece).max(initial=0.0)
    turnover = float((price * np.abs(clearing.piece)).sum())
    dearest = float(price.max(initial=0.0))
    return market.hours * (1e-6 * turnover + 1e-9 * float(size) * dearest) + 1e-300


def energy(market: Market, clearing: MarketClearing) -> Floats:
    """(S, T) kWh stored at the end of each MTU."""
    stores = market.stores
    gain = stores.charge_efficiency[:, np.newaxis] * clearing.charge
    gain -= clearing.discharge / stores.discharge_efficiency[:, np.newaxis]
    energy: Floats = stores.initial[:, np.newaxis] + market.hours * np.cumsum(gain, axis=1)
    return energy


def lower_bound(market: Market, clearing: MarketClearing) -> float:
    """The dual value of a clearing's prices, no peer's price above what it can buy for over uncapped links."""
    links, assets, stores = market.links, market.assets, market.stores
    price = _affordable(market, clearing.price)
    seen = price.copy()
    value = 0.0
    for g, limit in enumerate(market.limits):
        dual = np.where(np.isinf(limit.upper), np.minimum(clearing.limit_price[g], 0.0), clearing.limit_price[g])
        dual = np.where(np.isinf(limit.lower), np.maximum(dual, 0.0), dual)
        seen[limit.members] += dual
        bound = np.where(dual > 0, limit.upper, np.where(dual < 0, limit.lower, 0.0))
        value -= float(dual @ bound)
    slope = assets.slope + seen[assets.piece_peer]
    curved = assets.curvature > 0
    best = np.where(slope > 0, assets.lower, assets.upper)
    best = np.where(curved, np.clip(-slope / np.where(curved, assets.curvature, 1.0), assets.lower, assets.upper), best)
    value += float(((0.5 * assets.curvature * best + slope) * best).sum())
    margin = np.minimum(links.cost[:, np.newaxis] + price[links.seller] - price[links.buyer], 0.0)
    capped = np.isfinite(links.capacity)
    value += float((margin[capped] * links.capacity[capped, np.newaxis]).sum())
    if stores.size == 0:
        return market.hours * value
    worth, at = clearing.state_price, seen[stores.peer]
    charge = np.minimum(at - stores.charge_efficiency[:, np.newaxis] * worth, 0.0) * stores.max_charge[:, np.newaxis]
    discharge = stores.cycle_cost[:, np.newaxis] - at + worth / stores.discharge_efficiency[:, np.newaxis]
    value += float(charge.sum()) + float((np.minimum(discharge, 0.0) * stores.max_discharge[:, np.newaxis]).sum())
    state = stores.state_cost + worth - np.concatenate([worth[:, 1:], np.zeros((stores.size, 1))], axis=1)
    held = np.minimum(state * stores.lower, state * stores.upper)
    return market.hours * value + float(held.sum()) - float(worth[:, 0] @ stores.initial)


def _affordable(market: Market, price: Floats) -> Floats:
    """Prices raised to what peers can sell for, then lowered to what they can buy for, along uncapped links."""
    links = market.links
    free = np.isinf(links.capacity)
    seller, buyer, extra = links.seller[free], links.buyer[free], links.cost[free, np.newaxis]
    floor = _closed(np.maximum, market.export_price, sink=seller, source=buyer, add=-extra)
    within = np.minimum(np.maximum(price, floor), market.import_price)
    return _closed(np.minimum, within, sink=buyer, source=seller, add=extra)


def _closed(tighten: np.ufunc, price: Floats, *, sink: Indices, source: Indices, add: Floats) -> Floats:
    """Prices tightened along links until nothing changes; a shortest path has fewer links than there are peers."""
    price = np.array(price)
    for _ in range(price.shape[0]):
        before = price.copy()
        tighten.at(price, sink, before[source] + add)
        if np.array_equal(price, before):
            break
    return price
