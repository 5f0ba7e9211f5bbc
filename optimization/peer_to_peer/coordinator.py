"""Clears a market by messages, without ever seeing a cost, and goes on without those that do not answer.

The coordinator runs the same rounds as ``optimization.admm.clear``: it holds what is agreed and at which prices, and
peers answer for themselves. A round ends at its deadline with the answers that came. What a peer did not answer moves
nothing on its links (a random-activation form of the same fixed-point iteration); a peer that misses ``patience``
rounds in a row, or never spoke, counts as silent: its trades end at zero, and its partners find others.

References
----------
P. L. Combettes, J.-C. Pesquet (2015), "Stochastic quasi-Fejér block-coordinate fixed point iterations with random
sweeping", SIAM J. Optimization 25(2): random activation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimization.canonical import canonical
from optimization.community import Floats, PeerId
from optimization.market import Assets, Indices, Market
from optimization.peer_to_peer.iteration import Ending, run
from optimization.peer_to_peer.messages import Answer, Ask, Transport
from optimization.peer_to_peer.network import Network, network
from optimization.peer_to_peer.opening import Hello, known, opening_targets, steps
from optimization.peer_to_peer.options import AdmmOptions
from optimization.peer_to_peer.rounds import Heard, Rounds
from optimization.peer_to_peer.settling import settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a coordinator makes of the last round, in the order of its market.

    Attributes
    ----------
    ending : how rounds ended
    rounds : how many there were
    trade : (L, T) kW
    imported, exported : (N, T) kW
    price : (N, T) currency/kWh
    limit_price : (G, T) currency/kWh
    silent : who did not answer, and trades nothing: what they must consume or produce is not known
    rests_on : (N,) round of the last answer that was heard of each peer, 0 of one never heard
    missed : kW by which the balance of a peer that answered is missed at most
    """

    ending: Ending
    rounds: int
    trade: Floats
    imported: Floats
    exported: Floats
    price: Floats
    limit_price: Floats
    silent: tuple[PeerId, ...]
    rests_on: Indices
    missed: float


def public(market: Market) -> Market:
    """What the coordinator may know of a market: who may trade with whom, who has stores, limits and tariffs."""
    stores, links = market.stores, market.links
    nothing = np.zeros((0, market.mtus))
    free = np.zeros(links.size)
    return replace(
        market,
        assets=Assets(
            peer=np.zeros(0, dtype=np.int64),
            names=(),
            piece_asset=np.zeros(0, dtype=np.int64),
            lower=nothing,
            upper=nothing,
            slope=nothing,
            curvature=nothing,
        ),
        links=replace(links, seller_preference=free, buyer_preference=free, network_charge=free),
        storages=replace(
            stores,
            max_charge=np.zeros(stores.size),
            max_discharge=np.zeros(stores.size),
            charge_efficiency=np.ones(stores.size),
            discharge_efficiency=np.ones(stores.size),
            initial=np.zeros(stores.size),
            lower=np.zeros((stores.size, market.mtus)),
            upper=np.zeros((stores.size, market.mtus)),
            cycle_cost=np.zeros(stores.size),
            state_cost=np.zeros((stores.size, market.mtus)),
        ),
    )


class Coordinator:
    """Drives rounds over a transport until proposals agree or rounds run out.

    Parameters
    ----------
    market : only its public part is kept
    options : as for ``optimization.admm.clear``; ``max_iterations`` and ``stop`` are the deadline
    patience : rounds in a row that a peer may miss before it counts as silent
    """

    def __init__(self, market: Market, *, options: AdmmOptions | None = None, patience: int = 10) -> None:
        self._options = AdmmOptions(max_iterations=500) if options is None else options
        self._ordered = canonical(public(market))
        self._net = network(self._ordered.market)
        self._patience = patience

    def clear(self, transport: Transport) -> Settlement:
        """Greets, asks and settles."""
        net, options = self._net, self._options
        said = self._greeted(transport)
        step = steps(net, said, options)
        plain = np.zeros((net.market.mtus, net.slots))
        rounds = _MessageRounds(
            net,
            step=step,
            target=plain if options.plain else opening_targets(net, step, said),
            price=known(said.opening),
            transport=transport,
            patience=self._patience,
        )
        ending, count = run(rounds, options)
        return self._settled(rounds, ending, count)

    def _greeted(self, transport: Transport) -> Hello:
        """What peers say before the first round; asked again while some are missing, up to the patience."""
        market = self._net.market
        index = {peer: n for n, peer in enumerate(market.peers)}
        stiffness = np.full(len(index), np.nan)
        opening = np.full((market.mtus, len(index)), np.nan)
        missing = set(index)
        for _ in range(self._patience):
            for peer, greeting in transport.greet(sorted(missing)).items():
                if peer in missing and np.shape(greeting.opening) == (market.mtus,):
                    missing.discard(peer)
                    stiffness[index[peer]] = greeting.stiffness if greeting.stiffness > 0 else np.nan
                    opening[:, index[peer]] = greeting.opening
            if not missing:
                break
        return Hello(stiffness=stiffness, opening=opening)

    def _settled(self, rounds: "_MessageRounds", ending: Ending, count: int) -> Settlement:
        """The feasible trades nearest to the last proposals, within what peers said that they could consume."""
        net, market = self._net, self._net.market
        # Rounds may end before the patience does; of who never spoke nothing can be settled.
        silent = rounds.silent | (rounds.heard_in == 0)
        agreed = 0.5 * (rounds.proposal - rounds.proposal[:, net.mate])
        balance, missed = settled(
            market,
            trade=np.maximum(agreed[:, net.forward].T, 0.0),
            grid=rounds.imported.T,
            lowest=rounds.lowest.T,
            highest=rounds.highest.T,
            silent=np.flatnonzero(silent),
        )

        def back(values: Any, order: Indices) -> Any:
            restored = np.empty_like(values)
            restored[order] = values
            return restored

        ordered = self._ordered
        return Settlement(
            ending=ending,
            rounds=count,
            trade=back(balance.trade, ordered.links),
            imported=back(np.maximum(balance.grid, 0.0), ordered.peers),
            exported=back(np.maximum(-balance.grid, 0.0), ordered.peers),
            price=back(rounds.price.T, ordered.peers),
            limit_price=back(rounds.limit_price, ordered.limits),
            silent=tuple(peer for peer, quiet in zip(market.peers, silent, strict=True) if quiet),
            rests_on=back(rounds.heard_in, ordered.peers),
            missed=missed,
        )


class _MessageRounds(Rounds):
    """Rounds whose answers come as messages, or do not come."""

    def __init__(
        self, net: Network, *, step: Floats, target: Floats, price: Floats, transport: Transport, patience: int
    ) -> None:
        super().__init__(net, step=step, target=target, price=price)
        peers, mtus = len(net.market.peers), net.market.mtus
        self._transport = transport
        self._patience = patience
        self._round = 0
        self._slots = tuple(self._slots_of(n) for n in range(peers))
        self._missed_rounds = np.zeros(peers, dtype=np.int64)
        self._fresh = np.ones(net.slots, dtype=np.bool_)
        self._changed = False
        self.heard_in = np.zeros(peers, dtype=np.int64)
        self.silent = np.zeros(peers, dtype=np.bool_)
        self.lowest, self.highest = np.zeros((mtus, peers)), np.zeros((mtus, peers))

    def _slots_of(self, n: int) -> Indices:
        """A peer's slots in the order of its messages."""
        net = self._net
        own = np.flatnonzero(net.market.stores.peer == n)
        return np.concatenate(
            [
                np.arange(net.links_from[n], net.links_from[n + 1]),
                net.stores.start + own,
                net.copy_slot[net.copies_from[n] : net.copies_from[n + 1]],
                net.store_mirrors.start + own,
            ]
        )

    @property
    def complete(self) -> bool:
        """Whether everybody who is not silent answered, and those are the same as in the last round."""
        return bool(self._fresh.all()) and not self._changed

    @property
    def diverged(self) -> bool:
        """Unknown to who knows no costs; rounds go on to their deadline."""
        return False

    def answer(self) -> None:
        """One round of messages."""
        net, peers = self._net, self._net.market.peers
        self._round += 1
        self.previous, self.proposal = self.proposal, self.previous
        self.proposal[:] = self.previous
        answers = self._transport.ask(self._asks())
        self._fresh[:] = True
        before = self.silent.copy()
        for n, peer in enumerate(peers):
            slots = self._slots[n]
            answer = answers.get(peer)
            if answer is not None and self._valid(answer, slots.size):
                self._take(n, answer)
                continue
            self._missed_rounds[n] += 1
            if self._missed_rounds[n] >= self._patience:
                self.silent[n] = True
                self.proposal[:, slots] = 0.0
            else:
                self._fresh[slots] = False
        self._changed = bool((before != self.silent).any())
        for g in range(len(net.market.limits)):
            self._answer_limit(g)

    def _asks(self) -> Mapping[PeerId, Ask]:
        mirrored = self.target[:, self._net.mate]
        agreed = 0.5 * (self.target - mirrored)
        price = -0.5 * (self.target + mirrored) / self.step
        return {
            peer: Ask(round=self._round, agreed=agreed[:, slots], price=price[:, slots], penalty=1.0 / self.step[slots])
            for peer, slots in zip(self._net.market.peers, self._slots, strict=True)
        }

    def _valid(self, answer: Answer, slots: int) -> bool:
        """Whether an answer is to this round's question and made of finite numbers of the right shapes."""
        mtus = self._net.market.mtus
        each = (answer.lowest, answer.highest, answer.imported, answer.price)
        return (
            answer.round == self._round
            and np.shape(answer.proposed) == (mtus, slots)
            and all(np.shape(values) == (mtus,) for values in each)
            and bool(np.isfinite(answer.proposed).all())
            and all(bool(np.isfinite(values).all()) for values in each)
        )

    def _take(self, n: int, answer: Answer) -> None:
        self.proposal[:, self._slots[n]] = answer.proposed
        self.lowest[:, n], self.highest[:, n] = answer.lowest, answer.highest
        self.imported[:, n], self.price[:, n] = answer.imported, answer.price
        self.heard_in[n] = self._round
        self._missed_rounds[n] = 0
        self.silent[n] = False

    def exchange(self, relaxation: float) -> Heard:
        """The next targets; those of slots whose other side did not answer stay."""
        if self._fresh.all():
            return super().exchange(relaxation)
        heard = super().exchange(1.0)
        stale = ~self._fresh[self._net.mate]
        self.new[:, stale] = self.target[:, stale]
        self.change[:, stale] = 0.0
        return heard
