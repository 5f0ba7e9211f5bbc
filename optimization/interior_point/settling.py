"""Balances one MTU of an iterate to rounding, and chooses among its tied trades those of least norm.

What ties is judged by numbers that are only nearly zero. So the least-norm trades count only if they cost no more than
the iterate's own; else links in doubt may carry at most twice what they do, or nothing moves but what rounding left.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from optimization.community import Floats
from optimization.interior_point.least_norm import Mask, Ties, least_norm
from optimization.market import Indices, Market

DEARER = 1e-9
"""Of what trades cost: more than this is no rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One MTU before it is settled, or after.

    Attributes
    ----------
    piece : (P,) kW of each piece of an asset
    stored : (S,) kW of net charging
    trade : (L,) kW
    imported, exported : (N,) kW
    """

    piece: Floats
    stored: Floats
    trade: Floats
    imported: Floats
    exported: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Tied:
    """What seems to tie.

    Attributes
    ----------
    link : (L,) whether a link's reduced cost is nearly zero
    free : (L,) those among them that cost nothing within a group of peers, of whose trades the iterate knows nothing
    imports, exports : (N,) whether a peer's exchange with the grid is off its bound
    """

    link: Mask
    free: Mask
    imports: Mask
    exports: Mask


def settle(market: Market, mtu: int, draft: Draft, tied: Tied, *, accuracy: float) -> Draft | None:
    """The balanced draft, tied trades of least norm; None where no way of balancing it was found.

    Parameters
    ----------
    market, mtu : the problem, and which MTU of it
    draft : what the iterate says, nearly balanced
    tied : what seems to tie
    accuracy : relative, of the iterate: what the trades may cost more
    """
    before, scale = _cost(market, mtu, draft)
    cheapest: tuple[float, Draft] | None = None
    for ties, fixed, back in _ways(market, draft, tied):
        moved, chosen = _carried(market, mtu, draft, ties, fixed)
        if chosen is None:
            continue
        flows, imported, exported = chosen
        trade = fixed.copy()
        np.add.at(trade, back.link, back.sign * flows)
        found = Draft(
            piece=draft.piece - moved,
            stored=draft.stored,
            trade=np.clip(trade, 0.0, market.links.capacity),
            imported=np.where(ties.may_import, imported, draft.imported),
            exported=np.where(ties.may_export, exported, draft.exported),
        )
        cost = _cost(market, mtu, found)[0]
        if cost <= before + max(DEARER, accuracy) * scale:
            return found
        if cheapest is None or cost < cheapest[0]:
            cheapest = cost, found
    return None if cheapest is None else cheapest[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Back:
    """Which link each tied flow belongs to, and whether it adds to its trade (1) or takes from it (-1)."""

    link: Indices
    sign: Floats


def _ways(market: Market, draft: Draft, tied: Tied) -> Iterator[tuple[Ties, Floats, _Back]]:
    """Ways to settle, each as what may flow, what is fixed, and what the flows mean."""
    links = market.links
    kept = np.where(tied.link, 0.0, draft.trade)
    full = ~tied.link & (kept > 0.5 * links.capacity)
    fixed = np.where(full, kept, 0.0)
    for capacity in (
        np.where(tied.link, links.capacity, 0.0),
        np.where(tied.link, links.capacity, np.where(full, 0.0, np.minimum(2.0 * kept, links.capacity))),
    ):
        chosen = np.flatnonzero(capacity > 0.0)
        back = _Back(link=chosen, sign=np.ones(chosen.size))
        yield _ties(links.seller[chosen], links.buyer[chosen], capacity[chosen], tied), fixed, back
    used, free = np.flatnonzero((draft.trade > 0.0) & ~tied.free), np.flatnonzero(tied.free)
    seller, buyer, trade = links.seller[used], links.buyer[used], draft.trade[used]
    none = Tied(
        link=tied.link, free=tied.free, imports=np.zeros_like(tied.imports), exports=np.zeros_like(tied.exports)
    )
    for borders in (none, tied):
        yield (
            _ties(
                np.concatenate([seller, buyer, links.seller[free]]),
                np.concatenate([buyer, seller, links.buyer[free]]),
                np.concatenate([np.minimum(links.capacity[used] - trade, trade), trade, links.capacity[free]]),
                borders,
            ),
            np.where(tied.free, 0.0, draft.trade),
            _Back(
                link=np.concatenate([used, used, free]),
                sign=np.concatenate([np.ones(used.size), -np.ones(used.size), np.ones(free.size)]),
            ),
        )


def _ties(seller: Indices, buyer: Indices, capacity: Floats, tied: Tied) -> Ties:
    return Ties(seller=seller, buyer=buyer, capacity=capacity, may_import=tied.imports, may_export=tied.exports)


def _carried(
    market: Market, mtu: int, draft: Draft, ties: Ties, fixed: Floats
) -> tuple[Floats, tuple[Floats, Floats, Floats] | None]:
    """(P,) kW that pieces give back, and the least-norm flows that carry the rest, if there are any."""
    links, assets, size = market.links, market.assets, len(market.peers)
    grid = np.where(ties.may_import, 0.0, draft.imported) - np.where(ties.may_export, 0.0, draft.exported)
    net = np.zeros(size) - grid
    net += np.bincount(assets.piece_peer, draft.piece, size)
    net += np.bincount(market.stores.peer, draft.stored, size)
    net += np.bincount(links.seller, fixed, size)
    net -= np.bincount(links.buyer, fixed, size)
    room = np.minimum(draft.piece - assets.lower[:, mtu], assets.upper[:, mtu] - draft.piece)
    moved = _rounding(assets.piece_peer, room, ties, net)
    return moved, least_norm(ties, net - np.bincount(assets.piece_peer, moved, size))


def _cost(market: Market, mtu: int, draft: Draft) -> tuple[float, float]:
    """Cost of trades and of the grid in currency per hour, and the sum of its parts' sizes."""
    parts = [
        market.links.cost * draft.trade,
        np.where(draft.imported != 0.0, market.import_price[:, mtu], 0.0) * draft.imported,
        -np.where(draft.exported != 0.0, market.export_price[:, mtu], 0.0) * draft.exported,
    ]
    return sum(float(part.sum()) for part in parts), sum(float(np.abs(part).sum()) for part in parts)


def _rounding(owner: Indices, room: Floats, ties: Ties, net: Floats) -> Floats:
    """(P,) kW that pieces take back, by their room, of what rounding leaves over in each island without a grid."""
    size = net.size
    graph = coo_array((np.ones(ties.seller.size), (ties.seller, ties.buyer)), shape=(size, size))
    _, island = connected_components(graph, directed=False)
    surplus = np.bincount(island, net)
    open_to_grid = np.bincount(island, ties.may_import | ties.may_export) > 0
    rooms = np.bincount(island[owner], room, surplus.size)
    hopeless = open_to_grid | (rooms <= 0.0) | (np.abs(surplus) > 1e-3 * rooms)
    share = np.where(hopeless, 0.0, surplus / np.where(rooms > 0.0, rooms, 1.0))
    moved: Floats = share[island[owner]] * room
    return moved
