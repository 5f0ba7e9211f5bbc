"""Where rounds begin: penalties and first targets, from what peers say of themselves or from an earlier clearing."""

from dataclasses import dataclass

import numpy as np

from optimization.community import Floats
from optimization.market import Indices
from optimization.market_clearing import MarketClearing
from optimization.peer_to_peer.network import Network
from optimization.peer_to_peer.options import AdmmOptions

FLEXIBLE_SHARE = 0.1
"""A linear piece counts as bent over its width by this share of its price: some curvature sets the step's scale."""

PENALTY_SHARE = 0.3
"""Penalty over the geometric mean of two partners' stiffness. Trials: 0.3 to 0.5 takes the fewest rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What every peer says before the first round: two numbers that set the steps.

    Neither is a cost; both tell something of costs: how much a peer's marginal cost bends, and where its middle lies.

    Attributes
    ----------
    stiffness : (N,) currency/kWh per kW over one link, the nearest power of two: how fast a peer's price moves with
        what it trades; NaN of a peer that cannot move
    opening : (T, N) currency/kWh, a price at which a peer's assets would run midway; NaN of a peer that does not care
    """

    stiffness: Floats
    opening: Floats


def hello(
    peer: Indices,
    *,
    low: Floats,
    high: Floats,
    slope: Floats,
    curve: Floats,
    partners: Indices,
    import_price: Floats,
    export_price: Floats,
) -> Hello:
    """What peers say before the first round, each from its own assets alone.

    Parameters
    ----------
    peer : (P,) owner of each piece
    low, high : (T, P) kW, bounds of its pieces
    slope, curve : (T, P) currency/kWh and currency/kWh per kW
    partners : (N,) number of links of each peer
    import_price, export_price : (T, N) currency/kWh; infinite where a peer has no grid
    """
    peers, mtus = partners.size, low.shape[0]
    width = high - low
    near = np.clip(0.0, low, high)
    far = np.where(np.abs(low) > np.abs(high), low, high)
    edge = -slope - curve * near
    # A bound far beyond what will ever run must not set the price: at most as much again as at the near end.
    middle = edge + np.clip(0.5 * curve * (near - far), -np.abs(edge), np.abs(edge))
    bend = np.maximum(curve * width, FLEXIBLE_SHARE * np.abs(middle))
    loose = (width > 0) & (bend > 0)
    give = np.where(loose, width / np.where(loose, bend, 1.0), 0.0)
    flexibility = np.bincount(peer, weights=give.mean(axis=0), minlength=peers)
    with np.errstate(divide="ignore", invalid="ignore"):
        stiffness = np.exp2(np.round(np.log2(np.maximum(partners, 1) / flexibility)))
    stiffness[~np.isfinite(stiffness)] = np.nan
    opening = np.full((mtus, peers), np.nan)
    for t in range(mtus):
        some = np.bincount(peer, weights=width[t] > 0, minlength=peers)
        total = np.bincount(peer, weights=np.where(width[t] > 0, middle[t], 0.0), minlength=peers)
        opening[t] = np.where(some > 0, total / np.maximum(some, 1), np.nan)
    grid = np.isfinite(import_price) & np.isfinite(export_price)
    midway = 0.5 * (np.where(grid, import_price, 0.0) + np.where(grid, export_price, 0.0))
    opening = np.where(np.isnan(opening) & grid, midway, opening)
    return Hello(stiffness=stiffness, opening=np.clip(opening, export_price, import_price))


def hello_of(net: Network) -> Hello:
    """What all peers say before the first round."""
    market = net.market
    return hello(
        market.assets.piece_peer,
        low=market.assets.lower.T,
        high=market.assets.upper.T,
        slope=market.assets.slope.T,
        curve=market.assets.curvature.T,
        partners=np.diff(net.links_from),
        import_price=market.import_price.T,
        export_price=market.export_price.T,
    )


def known(opening: Floats) -> Floats:
    """(T, N) currency/kWh, opening prices, the median of what others said where a peer said nothing."""
    with np.errstate(all="ignore"):
        known = np.isfinite(opening)
        median = np.median(opening[known]) if known.any() else 0.0
    filled: Floats = np.where(known, opening, median)
    return filled


def steps(net: Network, said: Hello, options: AdmmOptions) -> Floats:
    """(W,) kW per currency/kWh, inverses of the penalties."""
    logs = np.log(said.stiffness[np.isfinite(said.stiffness)])
    typical = float(np.exp(logs.mean())) if logs.size else 1.0
    own = said.stiffness[net.owner]
    own[net.owner < 0] = np.nan
    other = own[net.mate]
    own, other = np.where(np.isnan(own), other, own), np.where(np.isnan(other), own, other)
    pair = np.where(np.isnan(own), typical, np.sqrt(own * other))
    # What a limit's member copies is its whole consumption, not its trade over one link; all copies weigh alike.
    for g in range(len(net.market.limits)):
        members = net.owner[net.copies][net.limit_from[g] : net.limit_from[g + 1]]
        partners = np.maximum(np.diff(net.links_from)[members], 1)
        stiff = np.where(np.isnan(said.stiffness[members]), typical, said.stiffness[members]) / partners
        alike = float(np.exp(np.log(stiff).mean())) if stiff.size else typical
        for side in (net.copies.start, net.copy_mirrors.start):
            pair[side + net.limit_from[g] : side + net.limit_from[g + 1]] = alike
    penalty = PENALTY_SHARE * pair
    if options.penalty is not None:
        penalty[: net.links] = options.penalty
    elif options.plain and net.links:
        penalty[: net.links] = np.exp(np.log(penalty[: net.links]).mean())
    return 1.0 / penalty


def opening_targets(net: Network, step: Floats, said: Hello) -> Floats:
    """(T, W) kW, targets of no trade at the mean of both sides' opening prices."""
    price = known(said.opening)
    target = np.zeros((net.market.mtus, net.slots))
    target[:, : net.links] = (
        -step[: net.links] * 0.5 * (price[:, net.owner[: net.links]] + price[:, net.owner[net.mate[: net.links]]])
    )
    # A store's price is its owner's, who gives energy away where the store takes it.
    owned = step[net.stores] * price[:, net.owner[net.stores]]
    target[:, net.stores] = owned
    target[:, net.store_mirrors] = owned
    return target


def resumed_targets(net: Network, step: Floats, earlier: MarketClearing) -> Floats:
    """(T, W) kW, targets at which an earlier clearing stands still if it is optimal."""
    market = net.market
    price = earlier.price.T
    links = net.links
    net_trade = np.zeros((market.mtus, links))
    net_trade[:, net.forward] += earlier.trade.T
    net_trade[:, net.backward] -= earlier.trade.T
    own, other = net.owner[:links], net.owner[net.mate[:links]]
    # The price of a link at which its owner would rather buy, and rather sell, nothing more.
    buy = price[:, own] - net.buying
    sell = price[:, own] + net.selling
    buy_other, sell_other = (
        price[:, other] - net.buying[net.mate[:links]],
        price[:, other] + net.selling[net.mate[:links]],
    )
    still = 0.5 * (np.maximum(buy, buy_other) + np.minimum(sell, sell_other))
    agreed = np.where(net_trade > 0, 0.5 * (buy + sell_other), np.where(net_trade < 0, 0.5 * (sell + buy_other), still))
    target = np.zeros((market.mtus, net.slots))
    target[:, :links] = net_trade - step[:links] * agreed
    seen = price.copy()
    consumed = np.zeros_like(price)
    np.add.at(consumed.T, market.assets.piece_peer, earlier.piece)
    np.add.at(consumed.T, market.stores.peer, earlier.charge - earlier.discharge)
    for g, limit in enumerate(market.limits):
        seen[:, limit.members] += earlier.limit_price[g][:, np.newaxis]
        at = slice(net.limit_from[g], net.limit_from[g + 1])
        copy, mirror = net.copies.start, net.copy_mirrors.start
        lift = earlier.limit_price[g][:, np.newaxis] * step[copy + at.start : copy + at.stop]
        target[:, copy + at.start : copy + at.stop] = consumed[:, limit.members] - lift
        target[:, mirror + at.start : mirror + at.stop] = -consumed[:, limit.members] - lift
    store = (earlier.charge - earlier.discharge).T
    lift = step[net.stores] * seen[:, market.stores.peer]
    target[:, net.stores] = store + lift
    target[:, net.store_mirrors] = -store + lift
    return target
