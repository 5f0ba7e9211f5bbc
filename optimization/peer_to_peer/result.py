"""What rounds came to: the feasible clearing next to the last proposals, and how far from the best it can be."""

import numpy as np

from optimization.market import Market
from optimization.market_clearing import MarketClearing
from optimization.peer_to_peer.bound import cost, energy, lower_bound, smallest_cost
from optimization.peer_to_peer.network import Network
from optimization.peer_to_peer.recovery import GOOD_ENOUGH, Balance, repaired, summed
from optimization.peer_to_peer.rounds import Rounds
from optimization.peer_to_peer.settling import cheapest, settled


def recovered(net: Network, rounds: Rounds) -> tuple[MarketClearing, float]:
    """The clearing nearest to the last proposals, and the largest share of the powers by which a balance is missed."""
    market, assets = net.market, net.market.assets
    pieces_from = np.searchsorted(assets.piece_peer, np.arange(len(market.peers) + 1))
    stored = np.nan_to_num(rounds.charge - rounds.discharge)
    net_stored = summed(market.stores.peer, stored, len(market.peers))
    agreed = 0.5 * (rounds.proposal - rounds.proposal[:, net.mate])
    trade = np.clip(np.nan_to_num(agreed[:, net.forward].T), 0.0, None)
    balance, missed = settled(
        market,
        trade=trade,
        grid=np.nan_to_num(rounds.imported.T),
        lowest=summed(assets.piece_peer, assets.lower, len(market.peers)) + net_stored,
        highest=summed(assets.piece_peer, assets.upper, len(market.peers)) + net_stored,
    )
    table = {name: np.ascontiguousarray(getattr(assets, name).T) for name in ("lower", "upper", "slope", "curvature")}
    piece = cheapest(
        (balance.piece - net_stored).T,
        pieces_from=pieces_from,
        low=table["lower"],
        high=table["upper"],
        slope=table["slope"],
        curve=table["curvature"],
        price=rounds.seen,
    ).T
    scale = 1.0 + max(np.abs(p).max(initial=0.0) for p in (balance.piece, piece, stored))
    if missed > GOOD_ENOUGH * scale and market.stores.size:
        # Where nothing else can give, stores must.
        proposed = Balance(
            piece=np.clip(rounds.power[:, net.piece].T, assets.lower, assets.upper),
            store=stored,
            trade=trade,
            grid=rounds.imported.T,
        )
        balance, missed = repaired(market, proposed)
        piece = balance.piece
        stored = balance.store
    discharge = np.maximum(rounds.discharge - np.maximum(stored - (rounds.charge - rounds.discharge), 0.0), 0.0)
    clearing = MarketClearing(
        piece=np.ascontiguousarray(piece),
        trade=balance.trade,
        imported=np.maximum(balance.grid, 0.0),
        exported=np.maximum(-balance.grid, 0.0),
        charge=stored + discharge,
        discharge=discharge,
        price=rounds.price.T.copy(),
        limit_price=rounds.limit_price.copy(),
        state_price=rounds.worth.copy(),
    )
    held = energy(market, clearing)
    outside = np.maximum(market.stores.lower - held, held - market.stores.upper)
    missed = max(missed, float(outside.max(initial=0.0)) / market.hours)
    return clearing, missed / float(scale)


def gap_of(market: Market, clearing: MarketClearing) -> float:
    """Relative gap of a clearing whose balances hold."""
    value = cost(market, clearing)
    return (value - lower_bound(market, clearing)) / max(abs(value), smallest_cost(market, clearing))
