"""Prices to begin with, from a part of a large community.

What power is worth in an MTU is nearly the same for all peers, since they trade: a hundred neighbours, with their share
of every limit, find it as well as ten thousand, and a hundred times faster.
"""

from dataclasses import replace

import numpy as np

from optimization.community import Community, Envelope
from optimization.decomposition.master import Prices, find_prices
from optimization.decomposition.problem import Problem

PILOT_PEERS = 120
"""Peers of the pilot; a community of less than three times as many does without."""

PILOT_ROUNDS = 40


def pilot(community: Community, *, iterations: int) -> Prices | None:
    """Prices found by some neighbours of a community, for all of it; None where it is small.

    Parameters
    ----------
    community : the problem
    iterations : of the consensus between two rounds
    """
    if len(community.peers) < 3 * PILOT_PEERS:
        return None
    some = _part(community)
    found = find_prices(Problem.of(some), rounds=PILOT_ROUNDS, iterations=iterations).prices
    everyone = np.tile(found.peer.mean(axis=0), (len(community.peers), 1))
    index = {peer.id: n for n, peer in enumerate(community.peers)}
    for n, peer in enumerate(some.peers):
        everyone[index[peer.id]] = found.peer[n]
    pressed = {envelope.name: found.envelope[k] for k, envelope in enumerate(some.envelopes)}
    none = np.zeros(community.horizon.mtus)
    return Prices(
        peer=everyone,
        envelope=np.array([pressed.get(e.name, none) for e in community.envelopes]).reshape(-1, none.size),
    )


def _part(community: Community) -> Community:
    """Stretches of neighbouring peers from all over the community, with their share of its limits."""
    size = len(community.peers)
    stretch = PILOT_PEERS // 4
    begins = np.linspace(0, size - stretch, 4).astype(int)
    kept = [community.peers[n] for begin in begins for n in range(begin, begin + stretch)]
    names = {peer.id for peer in kept}
    envelopes = []
    for envelope in community.envelopes:
        present = envelope.peers & names
        if not present:
            continue
        share = len(present) / len(envelope.peers)
        envelopes.append(
            Envelope(
                name=envelope.name,
                peers=present,
                lower_kw=envelope.lower_kw * share,
                upper_kw=envelope.upper_kw * share,
            )
        )
    return replace(
        community,
        peers=tuple(kept),
        links=tuple(link for link in community.links if link.seller in names and link.buyer in names),
        envelopes=tuple(envelopes),
        planned_kw={
            device.id: community.planned_kw[device.id]
            for peer in kept
            for device in peer.devices
            if device.id in community.planned_kw
        },
    )
