"""A market as agents that agree on proposals: who proposes what, to whom, and with which penalty.

Every quantity on which two agents must agree has two *slots*, one for each side's proposal, and they agree when the
two add up to zero. In one MTU the slots are, in this order:

* two of each unordered pair of peers with a link, sorted by owner: what the owner buys from the other;
* one of each store: what its owner believes it consumes; one of each membership in a limit: what the member consumes;
* and their mirrors, which the stores and the limits propose.

A link that is missing in one direction bounds the slots on one side, its cost and capacity are kinks and bounds of the
owner's step. So peers, stores and limits are agents of one kind: each answers targets with proposals.
"""

from dataclasses import dataclass

import numpy as np

from optimization.community import Floats
from optimization.market import Indices, Market


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The slots of a market and what the peers' steps need to know of them.

    Attributes
    ----------
    market : sorted
    mate : (W,) slot of the other side; W slots in one MTU, D of them of links
    owner : (W,) peer to which a slot belongs; -1 where it belongs to a store or a limit
    links_from : (N + 1,) where each peer's link slots begin
    buying, selling : (D,) currency/kWh that the owner of a link slot bears for what it buys and sells
    least, most : (D,) kW, bounds of what the owner buys, negative for selling
    forward, backward : (L,) link slots of each link: the buyer's, the seller's
    pieces_from : (N + 1,) where each peer's pieces begin, those that stand for its stores behind its own
    piece, store_piece : (P,), (S,) where each piece and store stand among them
    low, high : (T, K) kW, bounds of the K pieces and stores, sorted by peer
    slope, curve : (T, K) currency/kWh and currency/kWh per kW; what a round sets for stores is 0 and 1 here
    copies_from, copy_slot : (N + 1,), (C,) slots of the peers' copies for limits, sorted by peer
    limit_from : (G + 1,) where each limit's memberships begin; copy c of limit g is slot ``links + stores + c``
    """

    market: Market
    mate: Indices
    owner: Indices
    links_from: Indices
    buying: Floats
    selling: Floats
    least: Floats
    most: Floats
    forward: Indices
    backward: Indices
    pieces_from: Indices
    piece: Indices
    store_piece: Indices
    low: Floats
    high: Floats
    slope: Floats
    curve: Floats
    copies_from: Indices
    copy_slot: Indices
    limit_from: Indices

    @property
    def slots(self) -> int:
        """Number of slots in one MTU."""
        return self.mate.size

    @property
    def links(self) -> int:
        """Number of link slots."""
        return self.buying.size

    @property
    def stores(self) -> slice:
        """Owners' slots of the stores."""
        return slice(self.links, self.links + self.market.stores.size)

    @property
    def copies(self) -> slice:
        """Members' slots of the limits."""
        return slice(self.stores.stop, self.stores.stop + self.copy_slot.size)

    @property
    def store_mirrors(self) -> slice:
        """The stores' own slots."""
        return slice(self.copies.stop, self.copies.stop + self.market.stores.size)

    @property
    def copy_mirrors(self) -> slice:
        """The limits' own slots."""
        return slice(self.store_mirrors.stop, self.slots)


def network(market: Market) -> Network:
    """The slots of a sorted market."""
    peers, links, stores = len(market.peers), market.links, market.stores
    first, second = np.minimum(links.seller, links.buyer), np.maximum(links.seller, links.buyer)
    pair, pair_of_link = np.unique(first * peers + second, return_inverse=True)
    left, right = pair // peers, pair % peers
    pairs = pair.size
    owner, other = np.concatenate([left, right]), np.concatenate([right, left])
    order = np.lexsort((other, owner))
    slot = np.empty_like(order)
    slot[order] = np.arange(order.size)
    side = np.concatenate([np.arange(pairs, 2 * pairs), np.arange(pairs)])
    members = np.concatenate([limit.members for limit in market.limits] or [np.zeros(0, dtype=np.int64)])
    extra = stores.size + members.size
    one_way = 2 * pairs + np.arange(extra)
    mate = np.concatenate([slot[side[order]], one_way + extra, one_way])

    forward = slot[np.where(links.buyer == left[pair_of_link], pair_of_link, pair_of_link + pairs)]
    backward = mate[forward]
    buying, selling, least, most = (np.zeros(2 * pairs) for _ in range(4))
    buying[forward] = links.buyer_preference + links.network_charge
    selling[backward] = links.seller_preference
    most[forward] = links.capacity
    least[backward] = -links.capacity

    asset_piece = market.assets.piece_peer
    both = np.concatenate([asset_piece, stores.peer])
    sorted_pieces = np.argsort(both, kind="stable")
    place = np.empty_like(sorted_pieces)
    place[sorted_pieces] = np.arange(sorted_pieces.size)

    def rows(pieces: Floats, of_stores: Floats) -> Floats:
        stacked = np.concatenate([pieces.T, np.broadcast_to(of_stores, (market.mtus, stores.size))], axis=1)
        return np.ascontiguousarray(stacked[:, sorted_pieces])

    copy_order = np.argsort(members, kind="stable")
    return Network(
        market=market,
        mate=mate.astype(np.int32),
        owner=np.concatenate([owner[order], stores.peer, members, np.full(extra, -1)]).astype(np.int64),
        links_from=np.searchsorted(owner[order], np.arange(peers + 1)),
        buying=buying,
        selling=selling,
        least=least,
        most=most,
        forward=forward,
        backward=backward,
        pieces_from=np.searchsorted(both[sorted_pieces], np.arange(peers + 1)),
        piece=place[: asset_piece.size],
        store_piece=place[asset_piece.size :],
        low=rows(market.assets.lower, -stores.max_discharge),
        high=rows(market.assets.upper, stores.max_charge),
        slope=rows(market.assets.slope, np.zeros(stores.size)),
        curve=rows(market.assets.curvature, np.ones(stores.size)),
        copies_from=np.searchsorted(members[copy_order], np.arange(peers + 1)),
        copy_slot=2 * pairs + stores.size + copy_order,
        limit_from=np.cumsum([0, *(limit.members.size for limit in market.limits)]),
    )


def unbalanced(net: Network) -> str | None:
    """Which peer's own bounds admit no balance whatever the others do, for people; None where none's do."""
    market = net.market

    def total(values: Floats, starts: Indices) -> Floats:
        sums = np.zeros((values.shape[0], values.shape[1] + 1))
        np.cumsum(values, axis=1, out=sums[:, 1:])
        difference: Floats = sums[:, starts[1:]] - sums[:, starts[:-1]]
        return difference

    def bound(values: Floats) -> Floats:
        """Sums over links of (D,) bounds, infinities counted apart because they would spoil a running sum."""
        infinite = np.isinf(values)
        sums = total(np.where(infinite, 0.0, values)[np.newaxis], net.links_from)[0]
        signs = total(np.where(infinite, np.sign(values), 0.0)[np.newaxis], net.links_from)[0]
        limits: Floats = np.where(signs != 0, np.copysign(np.inf, signs), sums)
        return limits

    most = np.where(np.isfinite(market.import_price.T), np.inf, bound(net.most))
    least = np.where(np.isfinite(market.export_price.T), -np.inf, bound(net.least))
    needed, able = total(net.low, net.pieces_from), total(net.high, net.pieces_from)
    over = np.maximum(needed - most, least - able)
    size = total(np.maximum(np.abs(net.low), np.abs(net.high)), net.pieces_from)
    wrong = over > 1e-9 * (1.0 + size)
    if not wrong.any():
        return None
    t, n = (int(i) for i in np.argwhere(wrong)[0])
    if needed[t, n] > most[t, n]:
        return f"peer {market.peers[n]} consumes {needed[t, n] - most[t, n]:.6g} kW more than it can buy in MTU {t}"
    return f"peer {market.peers[n]} produces {least[t, n] - able[t, n]:.6g} kW more than it can sell in MTU {t}"
