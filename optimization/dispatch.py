"""The multi-bilateral economic dispatch of a convex market: one trusted operator knows all costs.

A primal-dual interior-point method finds optimal powers and prices with linear systems of the size of the peers. Where
trades tie, because links between the same prices cost the same, those of least norm are chosen: they are unique, and do
not depend on the order of peers or links, nor on the number of threads.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from optimization.canonical import canonical
from optimization.community import Floats
from optimization.conflict import find_conflict
from optimization.errors import ProblemError
from optimization.interior_point import programme as rows
from optimization.interior_point.least_norm import Mask
from optimization.interior_point.method import Iterate
from optimization.interior_point.programme import Layout, lay_out
from optimization.interior_point.reach import within_reach
from optimization.interior_point.settling import Draft, Tied, settle
from optimization.interior_point.sifting import solve
from optimization.market import Market
from optimization.market_clearing import MarketClearing, MarketOutcome, Unsolved

AIM = 1e-10
"""Quality at which the search ends, unless the caller wants another; a little above what doubles allow."""

ACCEPTED = 1e-7
"""Quality that still counts as solved where ``AIM`` was not reached."""

BALANCED = 1e-6
"""Largest imbalance of a peer in a clearing, relative: as the certificate has it."""

MAX_ITERATIONS = 150
CRISP = 1e-8
"""Quality from which on what trades can be told from what does not."""

SNAP = 1e-8
"""Distance from a bound, in typical widths, that is rounding."""


def dispatch(
    market: Market,
    *,
    tolerance: float | None = None,
    max_iterations: int = MAX_ITERATIONS,
    stop: Callable[[], bool] | None = None,
) -> MarketOutcome:
    """The optimal clearing of a market, or what stands in its way.

    Parameters
    ----------
    market : the problem
    tolerance : of the relative primal and dual residuals and of the relative gap; None for as near as double precision
        gets (aimed at 1e-10, accepted up to 1e-7)
    max_iterations : Newton steps at most
    stop : asked once an iteration whether to end early; None never does

    Returns
    -------
    MarketClearing; MarketConflict, where no trades keep to all bounds; Unsolved with the last iterate, where the method
    ended early. Equal inputs give equal outputs, in whatever order peers, assets and links are given.

    Raises
    ------
    ProblemError
        If the tolerance is not a positive number.
    SolverError
        If the search for a conflict fails.

    References
    ----------
    E. Sorin, L. Bobo, P. Pinson (2019), "Consensus-based approach to peer-to-peer electricity markets with product
    differentiation", IEEE Trans. Power Systems 34(2), eq. (1).
    """
    if tolerance is not None and not (np.isfinite(tolerance) and tolerance > 0):
        raise ProblemError(f"tolerance: got {tolerance}, wanted a number above 0, or None")
    sorted_market = canonical(market)
    reached = within_reach(sorted_market.market)
    layout = lay_out(reached)
    # More threads would change the last digits of matrix products with their number, and cost more than they bring.
    with threadpool_limits(limits=1, user_api="blas"):
        iterate = solve(
            layout.programme,
            tolerance=AIM if tolerance is None else tolerance,
            max_iterations=max_iterations,
            stop=stop,
        )
        clearing = _read(reached, layout, iterate)
    restored = sorted_market.restored(clearing)
    wanted = ACCEPTED if tolerance is None else tolerance
    if iterate.quality.worst <= wanted and _imbalance(sorted_market.market, clearing) <= max(BALANCED, wanted):
        return restored
    if stop is not None and stop():
        return Unsolved(reason=f"stopped after {iterate.iterations} iterations", best=restored)
    conflict = find_conflict(market)
    if conflict is not None:
        return conflict
    quality = iterate.quality
    return Unsolved(
        reason=f"after {iterate.iterations} iterations: got relative residuals {quality.primal:.1e} (primal), "
        f"{quality.dual:.1e} (dual) and gap {quality.gap:.1e}, wanted {wanted:.0e}",
        best=restored,
    )


def _imbalance(market: Market, clearing: MarketClearing) -> float:
    """The largest imbalance of a peer, against the largest net consumption, or 1 if that is smaller."""
    net = np.zeros((len(market.peers), market.mtus))
    np.add.at(net, market.assets.piece_peer, clearing.piece)
    np.add.at(net, market.stores.peer, clearing.charge - clearing.discharge)
    scale = max(1.0, float(np.abs(net).max(initial=0.0)))
    np.add.at(net, market.links.seller, clearing.trade)
    np.subtract.at(net, market.links.buyer, clearing.trade)
    return float(np.abs(net - clearing.imported + clearing.exported).max(initial=0.0)) / scale


@dataclass(slots=True)
class _Values:
    """Powers and prices of a sorted market, being put together."""

    piece: Floats
    imported: Floats
    exported: Floats
    charge: Floats
    discharge: Floats
    trade: Floats
    price: Floats
    limit_price: Floats
    state_price: Floats
    free_link: Mask
    tied_link: Mask
    tied_import: Mask
    tied_export: Mask


def _read(market: Market, layout: Layout, iterate: Iterate) -> MarketClearing:
    """The clearing that an iterate stands for, on its bounds where it is near them, balanced, of least norm."""
    values = _values(market, layout, iterate)
    if iterate.quality.worst > CRISP:
        # What ties cannot be told yet: the iterate's trades stay, and only what goes round for free is chosen.
        values.tied_link &= values.free_link[:, None]
        values.tied_import[:] = values.tied_export[:] = False
        if not values.free_link.any():
            return _clearing(values, iterate)
    for mtu in range(market.mtus):
        _settle(market, values, mtu, iterate.quality.worst)
    return _clearing(values, iterate)


def _settle(market: Market, values: _Values, mtu: int, accuracy: float) -> None:
    """Balance one MTU and choose its tied trades, in place; what cannot be balanced better stays as it is."""
    settled = settle(
        market,
        mtu,
        Draft(
            piece=values.piece[:, mtu],
            stored=values.charge[:, mtu] - values.discharge[:, mtu],
            trade=values.trade[:, mtu],
            imported=values.imported[:, mtu],
            exported=values.exported[:, mtu],
        ),
        Tied(
            link=values.tied_link[:, mtu],
            free=values.free_link,
            imports=values.tied_import[:, mtu],
            exports=values.tied_export[:, mtu],
        ),
        accuracy=accuracy,
    )
    if settled is not None:
        values.piece[:, mtu] = settled.piece
        values.trade[:, mtu] = settled.trade
        values.imported[:, mtu] = settled.imported
        values.exported[:, mtu] = settled.exported


def _clearing(values: _Values, iterate: Iterate) -> MarketClearing:
    return MarketClearing(
        piece=values.piece,
        trade=values.trade,
        imported=values.imported,
        exported=values.exported,
        charge=values.charge,
        discharge=values.discharge,
        price=values.price,
        limit_price=values.limit_price,
        state_price=values.state_price,
        iterations=iterate.iterations,
    )


def _values(market: Market, layout: Layout, iterate: Iterate) -> _Values:
    programme, peers, mtus, hours = layout.programme, len(market.peers), market.mtus, market.hours
    width = programme.boxes.width
    kinds = layout.kind[layout.free >= 0]
    finite = width[np.isfinite(width) & (kinds != rows.CAPPED)]
    power = max(1e-9, float(np.median(finite))) if finite.size else 1.0
    # Prices that nothing depends on may be far above all costs, and say nothing about what costs are worth.
    highest = float(np.abs(iterate.price[: programme.balances]).max(initial=0.0))
    per_cost = power / max(1e-12, min(highest, iterate.cost_scale))
    room = np.where(np.isfinite(width), width - iterate.boxes, np.inf)
    empty = _off(iterate.boxes, iterate.reduced, per_cost, power)
    full = _off(room, iterate.upper_reduced, per_cost, power)
    # What a store takes and gives is left as it is: what is stored later hangs on its last digits.
    stores = np.isin(layout.kind[layout.free >= 0], (rows.CHARGE, rows.DISCHARGE, rows.ENERGY))
    near = np.where(stores, 0.0, SNAP * power)
    x = np.where(
        empty & (iterate.boxes <= near), 0.0, np.where(full & (room <= near), np.where(full, width, 0.0), iterate.boxes)
    )
    boxes = layout.shift + np.where(layout.free >= 0, layout.sign * x[layout.free] if x.size else 0.0, 0.0)
    on = np.zeros(boxes.size, dtype=bool)
    on[layout.free >= 0] = ~(empty | full)
    tables: dict[int, tuple[Floats, Mask]] = {}
    sizes = {
        rows.PIECE: market.assets.piece_asset.size,
        rows.IMPORT: peers,
        rows.EXPORT: peers,
        rows.CHARGE: market.stores.size,
        rows.DISCHARGE: market.stores.size,
        rows.CAPPED: market.links.size,
    }
    for kind, size in sizes.items():
        table, active = np.zeros((size, mtus)), np.zeros((size, mtus), dtype=bool)
        chosen = layout.kind == kind
        table[layout.part[chosen], layout.mtu[chosen]] = boxes[chosen]
        active[layout.part[chosen], layout.mtu[chosen]] = on[chosen]
        tables[kind] = table, active
    trade, tied = tables[rows.CAPPED]
    shape = (mtus, layout.arc_link.size)
    off = _off(iterate.arcs, iterate.arc_reduced, per_cost, power)
    trade[layout.arc_link] = iterate.arcs.reshape(shape).T
    tied[layout.arc_link] = ~off.reshape(shape).T
    free = (layout.group[market.links.seller] == layout.group[market.links.buyer]) & (market.links.cost == 0)
    tied[free] = True
    price = iterate.price[: programme.balances].reshape(mtus, layout.groups).T[layout.group] / hours
    price = _within_reach(market, layout, tables[rows.PIECE][0], price)
    limit_price = np.where(layout.limit_row >= 0, iterate.price[layout.limit_row], 0.0).reshape(-1, mtus) / hours
    state_price = iterate.price[programme.first_state :].reshape(market.stores.size, mtus)
    return _Values(
        piece=tables[rows.PIECE][0],
        imported=tables[rows.IMPORT][0],
        exported=tables[rows.EXPORT][0],
        charge=tables[rows.CHARGE][0],
        discharge=tables[rows.DISCHARGE][0],
        trade=trade,
        price=price,
        limit_price=limit_price,
        state_price=state_price,
        free_link=free,
        tied_link=tied,
        tied_import=tables[rows.IMPORT][1],
        tied_export=tables[rows.EXPORT][1],
    )


def _within_reach(market: Market, layout: Layout, piece: Floats, price: Floats) -> Floats:
    """(N, T) prices, those of peers that nothing joins to others kept within their own marginal costs.

    Where bounds leave such a peer no choice, its price has no end: the nearest that its assets agree with says most.
    """
    assets, links, group = market.assets, market.links, layout.group
    alone = np.ones(layout.groups, dtype=bool)
    outside = group[links.seller] != group[links.buyer]
    alone[group[links.seller[outside]]] = alone[group[links.buyer[outside]]] = False
    alone[group[np.isfinite(market.import_price).any(axis=1) | np.isfinite(market.export_price).any(axis=1)]] = False
    alone[group[market.stores.peer]] = False
    for limit in market.limits:
        alone[group[limit.members]] = False
    worth = -(assets.slope + assets.curvature * piece)
    low, high = (np.full((layout.groups, market.mtus), end) for end in (np.inf, -np.inf))
    np.minimum.at(low, group[assets.piece_peer], worth)
    np.maximum.at(high, group[assets.piece_peer], worth)
    empty = low > high
    low[empty] = high[empty] = 0.0
    return np.where(alone[group][:, None], np.clip(price, low[group], high[group]), price)


def _off(value: Floats, dual: Floats, per_cost: float, power: float) -> Mask:
    """Which values are at their bound: tiny, and in units of the market far smaller than their dual."""
    return (value <= 1e-5 * power) & (np.maximum(value, 1e-9 * power) < dual * per_cost)
