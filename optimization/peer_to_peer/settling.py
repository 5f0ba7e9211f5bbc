"""What is settled: trades that every peer can live with, and the cheapest way in which each then does."""

from dataclasses import replace

import numpy as np

from optimization.community import Floats
from optimization.market import LARGEST, Assets, Indices, Market, no_storages
from optimization.peer_to_peer.peer_step import answer_all
from optimization.peer_to_peer.recovery import Balance, repaired


def settled(
    market: Market, *, trade: Floats, grid: Floats, lowest: Floats, highest: Floats, silent: Indices | None = None
) -> tuple[Balance, float]:
    """The feasible trades nearest to those proposed, and the kW by which a balance or limit is still missed.

    Parameters
    ----------
    market : of which links, limits and grid count
    trade, grid : (L, T), (N, T) kW proposed; import less export
    lowest, highest : (N, T) kW between which each peer can consume in all
    silent : peers whose links and grid are cut off

    Returns
    -------
    balance : one piece a peer, its net consumption
    """
    peers, links = len(market.peers), market.links
    quiet = np.zeros(peers, dtype=np.bool_)
    if silent is not None:
        quiet[silent] = True
    gone = quiet[links.seller] | quiet[links.buyer]
    apart = quiet[:, np.newaxis]
    lowest = np.where(apart, 0.0, np.clip(lowest, -LARGEST, LARGEST))
    highest = np.where(apart, 0.0, np.clip(highest, lowest, LARGEST))
    everyone = np.arange(peers)
    reduced = replace(
        market,
        assets=Assets(
            peer=everyone,
            names=("net",) * peers,
            piece_asset=everyone,
            lower=lowest,
            upper=highest,
            slope=np.zeros_like(lowest),
            curvature=np.zeros_like(lowest),
        ),
        links=replace(links, capacity=np.where(gone, 0.0, links.capacity)),
        storages=no_storages(market.mtus),
        import_price=np.where(apart, np.inf, market.import_price),
        export_price=np.where(apart, -np.inf, market.export_price),
    )
    nothing = Balance(
        piece=np.zeros_like(lowest),
        store=np.zeros((0, market.mtus)),
        trade=np.where(gone[:, np.newaxis], 0.0, trade),
        grid=np.where(apart, 0.0, grid),
    )
    supplied = -nothing.residual(reduced)
    return repaired(reduced, replace(nothing, piece=np.clip(supplied, lowest, highest)))


def cheapest(
    total: Floats, *, pieces_from: Indices, low: Floats, high: Floats, slope: Floats, curve: Floats, price: Floats
) -> Floats:
    """(T, K) powers of pieces that add up to each peer's total at the least cost, as near as their bounds allow.

    Parameters
    ----------
    total : (T, N) kW
    pieces_from : (N + 1,) where each peer's pieces begin
    low, high, slope, curve : (T, K)
    price : (T, N) where the search begins
    """
    mtus, peers = total.shape
    power = np.zeros_like(low)
    one, zero = np.ones(peers), np.zeros(peers)
    never = np.full((1, peers), np.inf)
    for t in range(mtus):
        # The step of a peer whose only link has no choice.
        fixed = np.ascontiguousarray(total[t])
        answer_all(
            np.arange(peers + 1), pieces_from, np.zeros(peers + 1, dtype=np.int64), np.zeros(0, dtype=np.int64),
            np.zeros((1, peers)), one, zero, zero, fixed, fixed, np.zeros((1, peers)),
            low[t : t + 1], high[t : t + 1], slope[t : t + 1], curve[t : t + 1], power[t : t + 1],
            price[t : t + 1].copy(), np.zeros((1, peers)), np.zeros((1, peers)), never, -never,
        )  # fmt: skip
    return power
