"""Cuts bounds to what an island can use, so that a bound meant as "any amount" does not set the scale of a market.

No asset can take more than all others of its island, the peers that links join, can give, nor give more than they can
take, and no link need carry more than that. Bounds further out than a good deal more than this never bind: they are
moved in, and capacities are dropped, which changes neither the optimum nor its prices. A store that burns energy by
charging and discharging at once does so no faster than others can feed it.
"""

from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from optimization.community import Floats
from optimization.market import Market

SPARE = 2.0
"""Of what an island can use: a bound at or beyond it cannot bind."""

ROUNDS = 3


def within_reach(market: Market) -> Market:
    """The market with bounds that cannot bind moved in, and capacities that cannot bind dropped."""
    assets, links, storages, size = market.assets, market.links, market.stores, len(market.peers)
    graph = coo_array((np.ones(links.size), (links.seller, links.buyer)), shape=(size, size))
    count, island = connected_components(graph, directed=False)

    def summed(owner: np.ndarray, values: Floats) -> Floats:
        """(islands, T) sums of rows by the islands of their owners."""
        table = np.zeros((count, market.mtus))
        np.add.at(table, island[owner], values)
        return table

    each = np.ones(market.mtus)
    stores_give = summed(storages.peer, storages.max_discharge[:, None] * each)
    stores_take = summed(storages.peer, storages.max_charge[:, None] * each)
    everyone = np.arange(size)
    gives = stores_give + summed(everyone, np.where(np.isfinite(market.import_price), np.inf, 0.0))
    takes = stores_take + summed(everyone, np.where(np.isfinite(market.export_price), np.inf, 0.0))
    lower, upper, owner = assets.lower, assets.upper, island[assets.piece_peer]
    bounds = np.abs(np.concatenate([lower, upper]))
    # Something must be left to move, or nothing would say what an asset without a partner is worth.
    least = float(bounds[bounds > 0.0].min(initial=np.inf)) if (bounds > 0.0).any() else 1.0
    for _ in range(ROUNDS):
        giving, taking = np.maximum(-lower, 0.0), np.maximum(upper, 0.0)
        most_given = np.maximum((gives + summed(assets.piece_peer, giving))[owner] - giving, least)
        most_taken = np.maximum((takes + summed(assets.piece_peer, taking))[owner] - taking, least)
        # What must be taken or given anyhow stays: whether there is a clearing at all is not for bounds to change.
        upper = np.where(upper > SPARE * most_given, np.maximum(np.maximum(lower, 0.0), SPARE * most_given), upper)
        lower = np.where(-lower > SPARE * most_taken, np.minimum(np.minimum(upper, 0.0), -SPARE * most_taken), lower)
    through = np.minimum(
        gives + summed(assets.piece_peer, np.maximum(-lower, 0.0)),
        takes + summed(assets.piece_peer, np.maximum(upper, 0.0)),
    ).max(axis=1)
    room = SPARE * np.maximum(through, least)[island[links.seller]]
    capacity = np.where(links.capacity > room, np.inf, links.capacity)
    if (lower == assets.lower).all() and (upper == assets.upper).all() and (capacity == links.capacity).all():
        return market
    return replace(market, assets=replace(assets, lower=lower, upper=upper), links=replace(links, capacity=capacity))
