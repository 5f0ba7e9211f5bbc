"""A market sorted by name: solvers see the same arrays however the parts of a market were ordered."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from optimization.community import Floats
from optimization.market import Assets, Indices, Market
from optimization.market_clearing import MarketClearing


def canonical(market: Market) -> "Canonical":
    """The same market with everything sorted by name, so that no result depends on the order of its parts."""
    by_name = np.array(sorted(range(len(market.peers)), key=market.peers.__getitem__), dtype=np.int64)
    rank = np.empty_like(by_name)
    rank[by_name] = np.arange(by_name.size)
    assets, links, storages = market.assets, market.links, market.stores
    asset_order = np.array(
        sorted(range(assets.peer.size), key=lambda a: (rank[assets.peer[a]], assets.names[a])), dtype=np.int64
    )
    asset_rank = np.empty_like(asset_order)
    asset_rank[asset_order] = np.arange(asset_order.size)
    piece_order = np.argsort(asset_rank[assets.piece_asset], kind="stable")
    link_order = np.lexsort((rank[links.buyer], rank[links.seller]))
    storage_order = np.array(
        sorted(range(storages.size), key=lambda s: (rank[storages.peer[s]], storages.names[s])), dtype=np.int64
    )
    limits = [replace(limit, members=np.sort(rank[limit.members])) for limit in market.limits]
    limit_order = sorted(
        range(len(limits)),
        key=lambda g: (
            limits[g].name,
            limits[g].members.tobytes(),
            limits[g].lower.tobytes(),
            limits[g].upper.tobytes(),
        ),
    )
    taken_storages = _taken(storages, storage_order)
    taken_links = _taken(links, link_order)
    return Canonical(
        market=Market(
            peers=tuple(market.peers[n] for n in by_name),
            hours=market.hours,
            mtus=market.mtus,
            assets=Assets(
                peer=rank[assets.peer[asset_order]],
                names=tuple(assets.names[a] for a in asset_order),
                piece_asset=asset_rank[assets.piece_asset[piece_order]],
                lower=assets.lower[piece_order],
                upper=assets.upper[piece_order],
                slope=assets.slope[piece_order],
                curvature=assets.curvature[piece_order],
            ),
            links=replace(taken_links, seller=rank[taken_links.seller], buyer=rank[taken_links.buyer]),
            storages=replace(taken_storages, peer=rank[taken_storages.peer]),
            import_price=market.import_price[by_name],
            export_price=market.export_price[by_name],
            limits=tuple(limits[g] for g in limit_order),
        ),
        peers=by_name,
        pieces=piece_order,
        links=link_order,
        storages=storage_order,
        limits=np.array(limit_order, dtype=np.int64),
    )


def _taken(rows: Any, order: Indices) -> Any:
    """A value whose every field is reordered."""
    values = {f.name: getattr(rows, f.name) for f in fields(rows)}
    return type(rows)(
        **{name: tuple(v[i] for i in order) if isinstance(v, tuple) else v[order] for name, v in values.items()}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """A sorted market, and where each of its parts stood before.

    Attributes
    ----------
    market : the sorted one
    peers, pieces, links, storages, limits : index in the original of each part of the sorted
    """

    market: Market
    peers: Indices
    pieces: Indices
    links: Indices
    storages: Indices
    limits: Indices

    def restored(self, clearing: MarketClearing) -> MarketClearing:
        """A clearing of the sorted market in the order of the original."""

        def back(values: Floats, order: Indices) -> Floats:
            restored = np.empty_like(values)
            restored[order] = values
            restored.flags.writeable = False
            return restored

        return replace(
            clearing,
            piece=back(clearing.piece, self.pieces),
            trade=back(clearing.trade, self.links),
            imported=back(clearing.imported, self.peers),
            exported=back(clearing.exported, self.peers),
            charge=back(clearing.charge, self.storages),
            discharge=back(clearing.discharge, self.storages),
            price=back(clearing.price, self.peers),
            limit_price=back(clearing.limit_price, self.limits),
            state_price=back(clearing.state_price, self.storages),
        )

    def sorted(self, clearing: MarketClearing) -> MarketClearing:
        """A clearing of the original in the order of the sorted market."""
        return replace(
            clearing,
            piece=clearing.piece[self.pieces],
            trade=clearing.trade[self.links],
            imported=clearing.imported[self.peers],
            exported=clearing.exported[self.peers],
            charge=clearing.charge[self.storages],
            discharge=clearing.discharge[self.storages],
            price=clearing.price[self.peers],
            limit_price=clearing.limit_price[self.limits],
            state_price=clearing.state_price[self.storages],
        )
