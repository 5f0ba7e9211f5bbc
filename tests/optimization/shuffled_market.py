"""Markets in another order, of which every answer must be the same in that order."""

from dataclasses import replace

import numpy as np

from optimization.market import Assets, Indices, Market
from optimization.market_clearing import MarketClearing


class Shuffled:
    """A market with its parts in another order.

    Attributes
    ----------
    market : the same in another order
    peers, pieces, links, storages, limits : where each of its parts stood before
    """

    def __init__(self, market: Market, seed: int) -> None:
        random = np.random.default_rng(seed)
        assets, links, stores = market.assets, market.links, market.stores
        self.peers: Indices = random.permutation(len(market.peers))
        self.links: Indices = random.permutation(links.size)
        self.storages: Indices = random.permutation(stores.size)
        self.limits: Indices = random.permutation(len(market.limits))
        asset_order = random.permutation(assets.peer.size)
        place, asset_place = np.argsort(self.peers), np.argsort(asset_order)
        # Pieces of one asset keep their order, which is all that tells them apart; their assets stand otherwise here.
        self.pieces: Indices = np.argsort(random.random(assets.peer.size)[assets.piece_asset], kind="stable")
        tables = ("lower", "upper", "slope", "curvature")
        parts = {name: getattr(assets, name)[self.pieces] for name in tables}
        link_parts = ("seller_preference", "buyer_preference", "network_charge", "capacity")
        store_parts = [f for f in stores.__dataclass_fields__ if f not in {"peer", "names"}]
        self.market = replace(
            market,
            peers=tuple(market.peers[n] for n in self.peers),
            assets=Assets(
                peer=place[assets.peer[asset_order]],
                names=tuple(assets.names[a] for a in asset_order),
                piece_asset=asset_place[assets.piece_asset[self.pieces]],
                **parts,
            ),
            links=replace(
                links,
                seller=place[links.seller[self.links]],
                buyer=place[links.buyer[self.links]],
                **{name: getattr(links, name)[self.links] for name in link_parts},
            ),
            storages=replace(
                stores,
                peer=place[stores.peer[self.storages]],
                names=tuple(stores.names[s] for s in self.storages),
                **{name: getattr(stores, name)[self.storages] for name in store_parts},
            ),
            import_price=market.import_price[self.peers],
            export_price=market.export_price[self.peers],
            limits=tuple(
                replace(market.limits[g], members=random.permutation(place[market.limits[g].members]))
                for g in self.limits
            ),
        )

    def tables(self, clearing: MarketClearing) -> dict[str, np.ndarray]:
        """What the shuffled market should answer, from the answer to the other."""
        return {
            "piece": clearing.piece[self.pieces],
            "trade": clearing.trade[self.links],
            "imported": clearing.imported[self.peers],
            "exported": clearing.exported[self.peers],
            "charge": clearing.charge[self.storages],
            "discharge": clearing.discharge[self.storages],
            "price": clearing.price[self.peers],
            "limit_price": clearing.limit_price[self.limits],
            "state_price": clearing.state_price[self.storages],
        }
