"""The message form within one process: agents beside their coordinator, and messages that may be lost on the way."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from enum import Enum

import numpy as np

from optimization.community import PeerId
from optimization.market import Market
from optimization.market_clearing import MarketClearing
from optimization.peer_to_peer.agents import REMEMBERED, PeerAgent, views
from optimization.peer_to_peer.coordinator import Coordinator, Settlement
from optimization.peer_to_peer.messages import Answer, Ask, Greeting
from optimization.peer_to_peer.options import AdmmOptions


class Way(Enum):
    """Which way a message goes."""

    TO_PEER = "to the peer"
    FROM_PEER = "from the peer"


Lost = Callable[[PeerId, int, Way], bool]
"""Whether a message to or from a peer in a round is lost; a greeting is one from the peer in round 0."""


def nothing_lost(_peer: PeerId, _number: int, _way: Way) -> bool:
    """Every message arrives."""
    return False


class InProcess:
    """A transport that calls agents.

    A question that is lost is never answered; an answer that is lost was given. Each is asked about apart.
    """

    def __init__(self, agents: Mapping[PeerId, PeerAgent], *, lost: Lost = nothing_lost) -> None:
        self._agents = agents
        self._lost = lost

    def greet(self, peers: Collection[PeerId]) -> Mapping[PeerId, Greeting]:
        """What those say whose messages arrive."""
        return {peer: self._agents[peer].greeting() for peer in peers if not self._lost(peer, 0, Way.FROM_PEER)}

    def ask(self, asks: Mapping[PeerId, Ask]) -> Mapping[PeerId, Answer]:
        """What those answer whose messages arrive."""
        answers = {}
        for peer, ask in asks.items():
            if self._lost(peer, ask.round, Way.TO_PEER):
                continue
            answer = self._agents[peer].answer(ask)
            if not self._lost(peer, ask.round, Way.FROM_PEER):
                answers[peer] = answer
        return answers


def without(market: Market, silent: Collection[PeerId]) -> Market:
    """A market in which some peers neither consume nor trade: what a coordinator clears that does not hear them."""
    gone = np.array([peer in silent for peer in market.peers])
    assets, links, stores = market.assets, market.links, market.stores
    cut = gone[links.seller] | gone[links.buyer]
    still = gone[assets.piece_peer][:, np.newaxis]
    dead = gone[stores.peer]
    return replace(
        market,
        assets=replace(
            assets,
            lower=np.where(still, 0.0, assets.lower),
            upper=np.where(still, 0.0, assets.upper),
        ),
        links=replace(links, capacity=np.where(cut, 0.0, links.capacity)),
        import_price=np.where(gone[:, np.newaxis], np.inf, market.import_price),
        export_price=np.where(gone[:, np.newaxis], -np.inf, market.export_price),
        storages=replace(
            stores,
            max_charge=np.where(dead, 0.0, stores.max_charge),
            max_discharge=np.where(dead, 0.0, stores.max_discharge),
            lower=np.where(dead[:, np.newaxis], 0.0, stores.lower),
            upper=np.where(dead[:, np.newaxis], np.maximum(stores.upper, stores.initial[:, np.newaxis]), stores.upper),
        ),
    )


def clear_by_messages(
    market: Market, *, options: AdmmOptions | None = None, patience: int = 10, lost: Lost = nothing_lost
) -> tuple[MarketClearing, Settlement]:
    """A market cleared by messages, with everybody's plan: what only somebody who sees all can put together.

    Nothing is known of silent peers, whose powers are left at zero: ``without`` is the market that was cleared.

    Parameters
    ----------
    market : the problem
    options, patience : as for ``Coordinator``
    lost : which messages do not arrive
    """
    remembered = max(REMEMBERED, patience)
    agents = {view.peer: PeerAgent(view, remembered=remembered) for view in views(market)}
    settlement = Coordinator(market, options=options, patience=patience).clear(InProcess(agents, lost=lost))
    clearing = MarketClearing.zeros(market)
    piece, charge, discharge, worth = (
        np.array(a) for a in (clearing.piece, clearing.charge, clearing.discharge, clearing.state_price)
    )
    links, stores = market.links, market.stores
    names = np.array(market.assets.names, dtype=object)
    for n, peer in enumerate(market.peers):
        if peer in settlement.silent:
            piece[market.assets.piece_peer == n] = 0.0
            continue
        agent = agents[peer]
        bought = settlement.trade[links.buyer == n].sum(axis=0) - settlement.trade[links.seller == n].sum(axis=0)
        plan = agent.plan(
            number=int(settlement.rests_on[n]),
            bought=bought[:, np.newaxis],
            grid=settlement.imported[n] - settlement.exported[n],
        )
        # Agents hold pieces in the order of their assets' names, and stores in that of theirs.
        own = np.flatnonzero(market.assets.piece_peer == n)
        own = own[np.argsort(names[market.assets.piece_asset[own]].astype(str), kind="stable")]
        piece[own] = plan.piece
        mine = np.array(sorted(np.flatnonzero(stores.peer == n), key=lambda s: stores.names[s]), dtype=np.int64)
        charge[mine], discharge[mine], worth[mine] = plan.charge, plan.discharge, plan.worth
    return (
        MarketClearing(
            piece=piece,
            trade=settlement.trade,
            imported=settlement.imported,
            exported=settlement.exported,
            charge=charge,
            discharge=discharge,
            price=settlement.price,
            limit_price=settlement.limit_price,
            state_price=worth,
            iterations=settlement.rounds,
        ),
        settlement,
    )
