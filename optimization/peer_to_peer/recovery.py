r"""The feasible answer nearest to what the agents last proposed.

Trades are the antisymmetric part of the proposals, so reciprocity holds by construction. What is left of the balances
is removed by the least change of powers p, trades e, grid powers g and limited sums y,

.. math::

    \min\ \tfrac12 |p - p^0|^2 + \tfrac12 |e - e^0|^2 + \tfrac12 |g - g^0|^2 + \tfrac12 |y - y^0|^2
    \quad\text{s.t. balances, bounds and limits,}

whose dual has one unknown a peer and one a limit in every MTU. Newton's method with conjugate gradients solves it: the
matrix is the Laplacian of the parts that can give. Links and grids that stand still, and stores, stay as they are
where that suffices: the former would cost, the latter have to keep to their energies.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from optimization.community import Floats
from optimization.market import Indices, Market

BALANCED = 1e-13
"""Residual, relative to the largest power, at which a repair is done."""

GOOD_ENOUGH = 1e-9
"""Residual, relative to the largest power, up to which a repair counts as one."""

_NEWTON_STEPS = 50
"""Most steps of a projection; it ends before where no step brings the balances closer."""

_GRADIENT_STEPS = 500
"""Most conjugate gradients for one of them."""


def summed(at: Indices, rows: Floats, count: int) -> Floats:
    """(count, T) sums of the rows that belong to each index."""
    mtus = rows.shape[1]
    flat = (at[:, np.newaxis] * mtus + np.arange(mtus)).ravel()
    sums: Floats = np.bincount(flat, weights=rows.ravel(), minlength=count * mtus).astype(float).reshape(count, mtus)
    return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Everything that enters the balances of a market, as one value.

    Attributes
    ----------
    piece : (P, T) kW
    store : (S, T) kW, charge less discharge
    trade : (L, T) kW
    grid : (N, T) kW, import less export
    """

    piece: Floats
    store: Floats
    trade: Floats
    grid: Floats

    def residual(self, market: Market) -> Floats:
        """(N, T) kW that peers consume beyond what they get."""
        peers = len(market.peers)
        short = summed(market.assets.piece_peer, self.piece, peers) + summed(market.stores.peer, self.store, peers)
        short += summed(market.links.seller, self.trade, peers) - summed(market.links.buyer, self.trade, peers)
        difference: Floats = short - self.grid
        return difference


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What may give, each within bounds: ``(V, T)`` values with the node that consumes and the one that supplies.

    Node N stands for outside the peers, nodes above it for the limits.
    """

    start: Floats
    lower: Floats
    upper: Floats
    consumer: Indices
    supplier: Indices


def repaired(market: Market, proposed: Balance) -> tuple[Balance, float]:
    """The nearest feasible answer, and the largest kW by which a balance or limit of it is still missed."""
    scale = 1.0 + max(np.abs(a).max(initial=0.0) for a in (proposed.piece, proposed.trade, proposed.grid))
    best, missed = proposed, np.inf
    for still in (True, False):
        answer, left = _projected(market, best, still=still, enough=BALANCED * scale)
        if left < missed:
            best, missed = answer, left
        if missed <= GOOD_ENOUGH * scale:
            break
    return best, missed


def _parts(market: Market, proposed: Balance, *, still: bool) -> _Parts:
    """Pieces, stores, trades, grid and limited sums as parts; what stands still held there if wanted."""
    peers, mtus, stores = len(market.peers), market.mtus, market.stores
    limits = len(market.limits)

    def held(values: Floats, lower: Floats, upper: Floats, hold: bool | Floats) -> tuple[Floats, Floats]:
        return np.where(hold, values, lower), np.where(hold, values, upper)

    full = (mtus,)
    store = held(
        proposed.store,
        np.broadcast_to(-stores.max_discharge[:, np.newaxis], (stores.size, *full)),
        np.broadcast_to(stores.max_charge[:, np.newaxis], (stores.size, *full)),
        still,
    )
    trade = held(
        proposed.trade,
        np.zeros_like(proposed.trade),
        np.broadcast_to(market.links.capacity[:, np.newaxis], proposed.trade.shape),
        still & (proposed.trade == 0.0),
    )
    grid = held(
        proposed.grid,
        np.where(np.isfinite(market.export_price), -np.inf, 0.0),
        np.where(np.isfinite(market.import_price), np.inf, 0.0),
        still & (proposed.grid == 0.0),
    )
    net = market_sums(market, proposed)
    bounds = [np.array([getattr(g, side) for g in market.limits]).reshape(limits, mtus) for side in ("lower", "upper")]
    everyone = np.arange(peers)
    outside = np.full(peers, peers)
    return _Parts(
        start=np.concatenate([proposed.piece, proposed.store, proposed.trade, proposed.grid, np.clip(net, *bounds)]),
        lower=np.concatenate([market.assets.lower, store[0], trade[0], grid[0], bounds[0]]),
        upper=np.concatenate([market.assets.upper, store[1], trade[1], grid[1], bounds[1]]),
        consumer=np.concatenate(
            [market.assets.piece_peer, stores.peer, market.links.seller, outside, np.full(limits, peers)]
        ),
        supplier=np.concatenate(
            [
                np.full(market.assets.piece_peer.size + stores.size, peers),
                market.links.buyer,
                everyone,
                peers + 1 + np.arange(limits),
            ]
        ),
    )


def market_sums(market: Market, balance: Balance) -> Floats:
    """(G, T) kW that the members of each limit consume."""
    peers = len(market.peers)
    net = summed(market.assets.piece_peer, balance.piece, peers) + summed(market.stores.peer, balance.store, peers)
    return np.array([net[limit.members].sum(axis=0) for limit in market.limits]).reshape(-1, market.mtus)


class _Dual:
    """The dual of the projection: prices of nodes to values of parts, and those to what nodes miss."""

    def __init__(self, market: Market, parts: _Parts) -> None:
        self._market = market
        self._parts = parts
        self._peers = len(market.peers)
        self._own = market.assets.piece_peer.size + market.stores.size
        self.nodes = self._peers + 1 + len(market.limits)

    def along(self, price: Floats) -> Floats:
        """(V, T) price difference that drives each part up."""
        seen = price.copy()
        for g, limit in enumerate(self._market.limits):
            seen[limit.members] += price[self._peers + 1 + g]
        parts, own = self._parts, self._own
        rise = price[parts.supplier] - price[parts.consumer]
        rise[:own] = -seen[parts.consumer[:own]]
        return rise

    def missing(self, values: Floats) -> Floats:
        """(nodes, T) kW consumed at each node beyond what it gets; what limits' members exceed their sums by."""
        parts, own = self._parts, self._own
        short = summed(parts.consumer, values, self.nodes) - summed(parts.supplier[own:], values[own:], self.nodes)
        short[self._peers] = 0.0
        if self._market.limits:
            net = summed(parts.consumer[:own], values[:own], self._peers)
            for g, limit in enumerate(self._market.limits):
                short[self._peers + 1 + g] += net[limit.members].sum(axis=0)
        return short

    def values(self, price: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """(V, T) values at prices of nodes, and where they can give."""
        free = self._parts.start + self.along(price)
        inside = (free >= self._parts.lower) & (free <= self._parts.upper) & (self._parts.lower < self._parts.upper)
        return np.clip(free, self._parts.lower, self._parts.upper), inside


def _projected(market: Market, proposed: Balance, *, still: bool, enough: float) -> tuple[Balance, float]:
    """The projection by Newton's method, and the largest kW that is missed."""
    parts = _parts(market, proposed, still=still)
    dual = _Dual(market, parts)
    price = np.zeros((dual.nodes, market.mtus))
    values, free = dual.values(price)
    short = dual.missing(values)
    for _ in range(_NEWTON_STEPS):
        left = float(np.abs(short).max(initial=0.0))
        if left <= enough:
            break
        step = _newton_step(dual, free, short, enough=0.1 * enough)
        length = 1.0
        while True:
            candidate = price + length * step
            new_values, new_free = dual.values(candidate)
            new_short = dual.missing(new_values)
            better = np.linalg.norm(new_short) < np.linalg.norm(short)
            if better or length < 1e-3:
                break
            length *= 0.5
        if not better:
            break
        price, values, free, short = candidate, new_values, new_free, new_short
    ends = np.cumsum([0, proposed.piece.shape[0], proposed.store.shape[0], proposed.trade.shape[0], len(market.peers)])
    piece, store, trade, grid = (values[a:b] for a, b in pairwise(ends))
    return replace(proposed, piece=piece, store=store, trade=trade, grid=grid), float(np.abs(short).max(initial=0.0))


def _newton_step(dual: _Dual, free: npt.NDArray[np.bool_], short: Floats, *, enough: float) -> Floats:
    """Conjugate gradients on the Laplacian of the parts that can give."""
    ridge = 1e-10

    def times(vector: Floats) -> Floats:
        product: Floats = ridge * vector - dual.missing(dual.along(vector) * free)
        return product

    step = np.zeros_like(short)
    rest = short.copy()
    direction = rest.copy()
    length = float(np.vdot(rest, rest))
    enough = max(enough, 1e-6 * float(np.sqrt(length)))
    for _ in range(_GRADIENT_STEPS):
        if length <= enough * enough:
            break
        image = times(direction)
        curvature = float(np.vdot(direction, image))
        if curvature <= 0.0:
            break
        size = length / curvature
        step += size * direction
        rest -= size * image
        new_length = float(np.vdot(rest, rest))
        direction = rest + (new_length / length) * direction
        length = new_length
    return step
