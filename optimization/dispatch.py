"""The multi-bilateral economic dispatch of a convex market: one trusted operator knows all costs.

A primal-dual interior-point method finds optimal powers and prices with linear systems of the size of the peers. Where
trades tie, because links between the same prices cost the same, those of least norm are chosen: they are unique, and do
not depend on the order of peers or links, nor on the number of threads.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from optimization.canonical import canonical
from optimization.community import Floats
from optimization.conflict import find_conflict
from optimization.interior_point import programme as rows
from optimization.interior_point.least_norm import Mask, Ties, least_norm
from optimization.interior_point.method import Iterate, solve
from optimization.interior_point.programme import Layout, lay_out
from optimization.market import Market
from optimization.market_clearing import MarketClearing, MarketOutcome, Unsolved

AIM = 1e-10
ACCEPTED = 1e-7
MAX_ITERATIONS = 150


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

    References
    ----------
    E. Sorin, L. Bobo, P. Pinson (2019), "Consensus-based approach to peer-to-peer electricity markets with product
    differentiation", IEEE Trans. Power Systems 34(2), eq. (1).
    """
    sorted_market = canonical(market)
    layout = lay_out(sorted_market.market)
    # More threads would change the last digits of matrix products with their number, and cost more than they bring.
    with threadpool_limits(limits=1, user_api="blas"):
        iterate = solve(
            layout.programme,
            tolerance=AIM if tolerance is None else tolerance,
            max_iterations=max_iterations,
            stop=stop,
        )
        clearing = _read(sorted_market.market, layout, iterate)
    restored = sorted_market.restored(clearing)
    if iterate.quality.worst <= (ACCEPTED if tolerance is None else tolerance):
        return restored
    if stop is not None and stop():
        return Unsolved(reason=f"stopped after {iterate.iterations} iterations", best=restored)
    conflict = find_conflict(market)
    if conflict is not None:
        return conflict
    quality = iterate.quality
    return Unsolved(
        reason=f"after {iterate.iterations} iterations: got relative residuals {quality.primal:.1e} (primal), "
        f"{quality.dual:.1e} (dual) and gap {quality.gap:.1e}, wanted {tolerance or ACCEPTED:.0e}",
        best=restored,
    )


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
    tied_link: Mask
    tied_import: Mask
    tied_export: Mask


def _read(market: Market, layout: Layout, iterate: Iterate) -> MarketClearing:
    """The clearing that an iterate stands for, on its bounds where it is near them, balanced, of least norm."""
    values = _values(market, layout, iterate)
    for mtu in range(market.mtus):
        _settle(market, values, mtu, _room(market, values.piece[:, mtu], mtu))
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
    finite = width[np.isfinite(width)]
    power = max(1e-9, float(np.median(finite))) if finite.size else 1.0
    per_cost = power / max(1e-12, float(np.abs(iterate.price[: programme.balances]).max(initial=0.0)))
    room = np.where(np.isfinite(width), width - iterate.boxes, np.inf)
    empty = _off(iterate.boxes, iterate.reduced, per_cost, power)
    full = _off(room, iterate.upper_reduced, per_cost, power)
    # What a store takes and gives is left as it is: what is stored later hangs on its last digits.
    snapped = ~np.isin(layout.kind[layout.free >= 0], (rows.CHARGE, rows.DISCHARGE, rows.ENERGY))
    x = np.where(snapped & empty, 0.0, np.where(snapped & full, width, iterate.boxes))
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
    trade[layout.arc_link] = np.where(off, 0.0, iterate.arcs).reshape(shape).T
    tied[layout.arc_link] = ~off.reshape(shape).T
    inside = layout.group[market.links.seller] == layout.group[market.links.buyer]
    tied[inside & (market.links.cost == 0)] = True
    price = iterate.price[: programme.balances].reshape(mtus, layout.groups).T[layout.group] / hours
    limit_price = np.where(layout.limit_row >= 0, iterate.price[layout.limit_row], 0.0).reshape(-1, mtus) / hours
    state_price = iterate.price[layout.first_state :].reshape(market.stores.size, mtus)
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
        tied_link=tied,
        tied_import=tables[rows.IMPORT][1],
        tied_export=tables[rows.EXPORT][1],
    )


def _off(value: Floats, dual: Floats, per_cost: float, power: float) -> Mask:
    """Which values are at their bound: tiny, and in units of the market far smaller than their dual."""
    return (value <= 1e-5 * power) & (value < dual * per_cost)


def _room(market: Market, piece: Floats, mtu: int) -> Floats:
    """(P,) kW by which each piece could move both ways."""
    return np.minimum(piece - market.assets.lower[:, mtu], market.assets.upper[:, mtu] - piece)


def _settle(market: Market, values: _Values, mtu: int, room: Floats) -> None:
    """Balance one MTU to rounding and choose its tied trades, in place."""
    links, assets, storages, size = market.links, market.assets, market.stores, len(market.peers)
    tied = np.flatnonzero(values.tied_link[:, mtu])
    settled = np.where(values.tied_link[:, mtu], 0.0, values.trade[:, mtu])
    ties = Ties(
        seller=links.seller[tied],
        buyer=links.buyer[tied],
        capacity=links.capacity[tied],
        may_import=values.tied_import[:, mtu],
        may_export=values.tied_export[:, mtu],
    )
    net = np.bincount(assets.piece_peer, values.piece[:, mtu], size)
    net += np.bincount(storages.peer, values.charge[:, mtu] - values.discharge[:, mtu], size)
    net += np.bincount(links.seller, settled, size) - np.bincount(links.buyer, settled, size)
    # What an interior piece's last digits leave over in an island is given back to such pieces, by their room.
    island = _islands(ties, size)
    surplus = np.bincount(island, net)
    open_to_grid = np.bincount(island, ties.may_import | ties.may_export) > 0
    owner = island[assets.piece_peer]
    rooms = np.bincount(owner, room, surplus.size)
    share = np.where(open_to_grid | (rooms <= 0) | (np.abs(surplus) > 1e-3 * rooms), 0.0, surplus / np.maximum(rooms, 1e-300))
    moved = share[owner] * room
    values.piece[:, mtu] -= moved
    net -= np.bincount(assets.piece_peer, moved, size)
    chosen = least_norm(ties, net)
    if chosen is not None:
        values.trade[tied, mtu], values.imported[:, mtu], values.exported[:, mtu] = chosen


def _islands(ties: Ties, size: int) -> npt.NDArray[np.int64]:
    """(N,) number of each peer's island: peers joined by tied links."""
    graph = coo_array((np.ones(ties.seller.size), (ties.seller, ties.buyer)), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    return label.astype(np.int64)
