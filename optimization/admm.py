"""Peer-to-peer clearing: consensus ADMM on reciprocity, in one process.

Peers, stores and limits answer each other's proposals until these agree (Moret et al. 2018; Baroche et al. 2019). Every
answer is exact, see ``optimization.peer_to_peer``. By default penalties follow the peers' stiffness, the first prices
are asked for, rounds are over-relaxed, and Anderson mixing with a safeguard accelerates them; the plain scheme is the
textbook's, to which published iteration counts belong. ``optimization.peer_to_peer.coordinator`` runs the same rounds
by messages.

References
----------
F. Moret, T. Baroche, E. Sorin, P. Pinson (2018), "Negotiation algorithms for peer-to-peer electricity markets:
computational properties", Power Systems Computation Conference.
T. Baroche, F. Moret, P. Pinson (2019), "Prosumer markets: a unified formulation", IEEE PowerTech.
"""

from dataclasses import replace

import numpy as np

from optimization.canonical import canonical
from optimization.market import Market
from optimization.market_clearing import MarketClearing, MarketOutcome, Unsolved
from optimization.peer_to_peer.iteration import Ending, run
from optimization.peer_to_peer.network import Network, network, unbalanced
from optimization.peer_to_peer.opening import hello_of, known, opening_targets, resumed_targets, steps
from optimization.peer_to_peer.options import AdmmOptions
from optimization.peer_to_peer.recovery import GOOD_ENOUGH
from optimization.peer_to_peer.result import gap_of, recovered
from optimization.peer_to_peer.rounds import Rounds

__all__ = ["ACCEPTED_GAP", "AdmmOptions", "clear"]

ACCEPTED_GAP = 1e-4
"""Largest relative gap with which an answer counts as one where no tolerance was given, whether the proposals agreed or
rounds ran out. It is wide: who wants better asks the certificate, or gives a tolerance."""

FIRST_GAP = 1e-12
"""Relative gap at which rounds end although trades still move, as among ties they may for long."""

FIRST_GAP_UNTIL = 500
"""Round after which that gap is widened, with the cube of the round: to 6e-8 in the last of the default."""


def clear(market: Market, *, options: AdmmOptions | None = None, start: MarketClearing | None = None) -> MarketOutcome:
    """The clearing on which all proposals agree, or why the search ended without.

    Parameters
    ----------
    market : the problem; the answer does not depend on the order of its parts
    options : how rounds go and when they end, ``tolerance`` in kW^2; None for the defaults
    start : any earlier clearing of a market of the same shape, to begin from

    Returns
    -------
    outcome : with a tolerance, a clearing where the proposals agree to it, whatever its gap; without, where its gap is
        at most ``ACCEPTED_GAP``. Its balances hold to ``recovery.GOOD_ENOUGH`` either way. ``Unsolved`` where rounds
        or time ran out, or an agent's own bounds admit nothing: infeasible markets among them, which only a
        ``MarketConflict`` proves
    """
    options = AdmmOptions() if options is None else options
    ordered = canonical(market)
    net = network(ordered.market)
    impossible = unbalanced(net)
    if impossible is not None:
        return Unsolved(reason=impossible, best=ordered.restored(MarketClearing.zeros(net.market)))
    rounds = _first(net, options, None if start is None else ordered.sorted(start))

    def good_enough(iteration: int) -> bool:
        best, missed = recovered(net, rounds)
        return missed <= GOOD_ENOUGH and gap_of(net.market, best) <= _small_gap(iteration)

    ending, iterations = run(rounds, options, good_enough=good_enough)
    best, missed = recovered(net, rounds)
    answer = ordered.restored(replace(best, iterations=iterations))
    reason = ending.value
    if ending is Ending.STUCK:
        reason = f"{rounds.stuck} cannot keep to its own bounds"
    elif missed > GOOD_ENOUGH:
        reason += f", and miss a balance by {missed:.3g} of the largest power"
    elif options.tolerance is None and ending in (Ending.CONVERGED, Ending.UNFINISHED):
        gap = gap_of(net.market, best)
        if gap <= ACCEPTED_GAP:
            return answer
        reason += f", and leave a gap of {gap:.3g}"
    elif ending is Ending.CONVERGED:
        return answer
    return Unsolved(reason=reason, best=answer)


def _first(net: Network, options: AdmmOptions, start: MarketClearing | None) -> Rounds:
    """The rounds before the first: from an earlier clearing, from zero, or from what peers say."""
    said = hello_of(net)
    step = steps(net, said, options)
    if start is not None:
        return Rounds(net, step=step, target=resumed_targets(net, step, start), price=start.price.T)
    if options.plain:
        zero = np.zeros((net.market.mtus, net.slots))
        return Rounds(net, step=step, target=zero, price=np.zeros_like(said.opening))
    return Rounds(net, step=step, target=opening_targets(net, step, said), price=known(said.opening))


def _small_gap(iteration: int) -> float:
    """Relative gap at which rounds end although trades still move."""
    return FIRST_GAP * max(1.0, iteration / FIRST_GAP_UNTIL) ** 3
