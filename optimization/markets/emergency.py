"""A market in which must-run power is never without an answer: a last resort at a price beyond all others."""

from dataclasses import replace

import numpy as np

from optimization.community import PeerId
from optimization.market import LARGEST, Assets, Links, Market

DEARER = 1e3
"""Times the largest price or cost known: what the last resort asks."""


def with_last_resort(market: Market) -> Market:
    """The market with more peers after its own, each beside a peer that cannot import, or export, and serving it alone.

    They ask a thousand times more than anything else costs. They stand behind no meter of the market, so limits hold
    for the market's own peers alone.
    """
    peers, mtus = len(market.peers), market.mtus
    assets, links = market.assets, market.links
    no_import, no_export = np.isinf(market.import_price), np.isinf(market.export_price)
    helped = np.flatnonzero((no_import | no_export).any(axis=1))
    helper = peers + np.arange(helped.size)
    price = np.full((helped.size, mtus), _beyond_all(market))
    most = _most(market)
    nothing = np.zeros((helped.size, mtus))
    none = np.zeros(2 * helped.size)
    return replace(
        market,
        peers=(*market.peers, *_names(market, helped.size)),
        assets=Assets(
            peer=np.concatenate([assets.peer, helper]),
            names=(*assets.names, *["last resort"] * helped.size),
            piece_asset=np.concatenate([assets.piece_asset, np.tile(assets.peer.size + np.arange(helped.size), 2)]),
            lower=np.vstack([assets.lower, np.where(no_import[helped], -most, 0.0), nothing]),
            upper=np.vstack([assets.upper, nothing, np.where(no_export[helped], most, 0.0)]),
            slope=np.vstack([assets.slope, -price, price]),
            curvature=np.vstack([assets.curvature, nothing, nothing]),
        ),
        links=Links(
            seller=np.concatenate([links.seller, helper, helped]),
            buyer=np.concatenate([links.buyer, helped, helper]),
            seller_preference=np.concatenate([links.seller_preference, none]),
            buyer_preference=np.concatenate([links.buyer_preference, none]),
            network_charge=np.concatenate([links.network_charge, none]),
            capacity=np.concatenate([links.capacity, np.full(2 * helped.size, np.inf)]),
        ),
        import_price=np.vstack([market.import_price, np.full((helped.size, mtus), np.inf)]),
        export_price=np.vstack([market.export_price, np.full((helped.size, mtus), -np.inf)]),
    )


def _beyond_all(market: Market) -> float:
    """Currency/kWh."""
    assets = market.assets
    known = np.concatenate(
        [
            np.abs(assets.slope).ravel(),
            (assets.curvature * np.maximum(np.abs(assets.lower), np.abs(assets.upper))).ravel(),
            np.abs(market.import_price[np.isfinite(market.import_price)]),
            np.abs(market.export_price[np.isfinite(market.export_price)]),
            market.links.cost,
        ]
    )
    return min(LARGEST, DEARER * max(1e-3, float(known.max(initial=0.0))))


def _most(market: Market) -> float:
    """The kW that nobody can need more than."""
    power = np.maximum(np.abs(market.assets.lower), np.abs(market.assets.upper)).sum()
    return min(LARGEST, float(power + market.stores.max_charge.sum() + market.stores.max_discharge.sum()))


def _names(market: Market, count: int) -> list[PeerId]:
    name = "last resort"
    while any(peer.startswith(name) for peer in market.peers):
        name += "'"
    return [PeerId(f"{name} {k}") for k in range(count)]
