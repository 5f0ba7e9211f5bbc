"""What each member pays under a clearing, against what it would pay alone, and the uplift that closes the difference.

Prices of whole-number problems support no schedule exactly: a member's appliances may run when they are worth most to
the neighbourhood and not to it. No member shall lose by that: where it pays more than its own best plan at the tariff
alone would cost, under its own limits, an uplift makes it whole, paid by the members that gain, in proportion to their
gains.

Alone means: no links, and of the envelopes only those on the member itself. Its best plan there is counted at its
proven lower bound, so that nobody pays more than its best plan even where that best plan is not known exactly.

References
----------
R. P. O'Neill et al. (2005), "Efficient market-clearing prices in markets with nonconvexities", European J. Operational
Research 164(1): make-whole payments.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from optimization.clearing import Clearing
from optimization.community import Community, Link
from optimization.decomposition.master import find_prices, home_bounds
from optimization.decomposition.problem import Problem, block_power
from optimization.decomposition.splitting import split_bounds
from optimization.devices.thermostats import FINE
from optimization.quantities import DeviceId, Floats, PeerId

CELLS = 96
"""Of on/off thermostats' temperatures in the searches: with fewer, prices are those of a slacker problem."""

SPLITS = 60
"""Rounds in which devices of a member that seems to pay more than alone are asked at prices of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member's money over the horizon.

    Attributes
    ----------
    id : peer
    cost : currency paid under the clearing: energy from grid and neighbours with network charges, less what is sold,
        and what its devices cost themselves; preferences are felt and not paid
    alone : currency below which no plan of its own at the tariff can cost, proven
    uplift : currency received (positive) or contributed (negative)
    """

    id: PeerId
    cost: float
    alone: float
    uplift: float

    @property
    def pays(self) -> float:
        """Currency paid in the end."""
        return self.cost - self.uplift


def members_of(
    community: Community,
    clearing: Clearing,
    *,
    rounds: int = 80,
    stop: Callable[[], bool] | None = None,
) -> tuple[Member, ...]:
    """Each member's costs and uplift, in the order of the peers.

    Parameters
    ----------
    community, clearing : a problem and its answer
    rounds : of the oracles in the search for what each would pay alone
    stop : asked between rounds
    """
    cost = member_costs(community, clearing)
    alone = alone_bounds(community, rounds=rounds, cost=cost, stop=stop)
    uplift = _uplift(cost, alone)
    return tuple(
        Member(id=peer.id, cost=float(cost[n]), alone=float(alone[n]), uplift=float(uplift[n]))
        for n, peer in enumerate(community.peers)
    )


def alone_bounds(
    community: Community, *, rounds: int, cost: Floats | None = None, stop: Callable[[], bool] | None = None
) -> Floats:
    """(N,) currency below which no member's own plan at the tariff can cost.

    Parameters
    ----------
    community : of the members
    rounds : of the oracles in the search
    cost : (N,) currency that members pay; bounds of those that pay more are sought once more, device by device, so that
        what a search leaves open is not taken for a loss
    stop : asked between rounds
    """
    problem = Problem.of(standalone(community))
    prices = find_prices(problem.refined(CELLS), rounds=rounds, stop=stop).prices
    bounds = home_bounds(problem.refined(FINE), prices)
    if cost is None or not (cost > bounds).any():
        return bounds
    return split_bounds(problem, prices, bounds, cost, wanted=0.0, rounds=SPLITS, stop=stop)


def standalone(community: Community) -> Community:
    """The same members, each by itself: no links, and of the envelopes only those on one member."""
    own = tuple(envelope for envelope in community.envelopes if len(envelope.peers) == 1)
    return replace(community, links=(), envelopes=own)


def member_costs(community: Community, clearing: Clearing) -> Floats:
    """(N,) currency that each member pays over the horizon, its devices' own costs included."""
    index = {peer.id: n for n, peer in enumerate(community.peers)}
    tariff = community.tariff
    cost = (clearing.import_kwh * tariff.import_price - clearing.export_kwh * tariff.export_price).sum(axis=1)
    cost = cost + own_costs(community, clearing.device_kw)
    for link, energy in zip(community.links, clearing.trade_kwh, strict=True):
        seller, buyer = index[link.seller], index[link.buyer]
        paid = float(energy @ trade_price(community, clearing, seller, link))
        cost[seller] -= paid
        cost[buyer] += paid + link.network_charge * float(energy.sum())
    return np.asarray(cost)


def trade_price(community: Community, clearing: Clearing, seller: int, link: Link) -> Floats:
    """(T,) currency/kWh that a buyer pays the seller of a link: the seller's price and preference, within the tariff.

    Never below what the grid would pay the seller, nor above what it would ask the buyer, network charge included.
    """
    tariff = community.tariff
    highest = np.maximum(tariff.import_price - link.network_charge, tariff.export_price)
    wanted = clearing.price[seller] + link.seller_preference
    return np.asarray(np.clip(wanted, tariff.export_price, highest))


def own_costs(community: Community, device_kw: Mapping[DeviceId, Floats]) -> Floats:
    """(N,) currency that each member's devices cost by themselves, under the (T,) kW of each."""
    problem = Problem.of(community)
    mtus = community.horizon.mtus
    power = np.array([device_kw[device.id] for _, device in community.devices()]).reshape(-1, mtus)
    cost = problem.unforeseen_cost.copy()
    np.add.at(cost, problem.plant_peer, problem.plant_cost(-power[problem.plant_row]))
    for part in problem.parts:
        rows = power[part.blocks.rows]
        changed = problem.change_cost(part.place, block_power(part.blocks.batch.block, rows, part.place.size))
        np.add.at(cost, part.blocks.peer, part.blocks.batch.own_cost(rows) + changed)
    return cost


def _uplift(cost: Floats, alone: Floats) -> Floats:
    """(N,) what makes losers whole, and what gainers contribute to it."""
    gain = alone - cost
    lost, won = np.maximum(0.0, -gain), np.maximum(0.0, gain)
    # Where gains do not suffice, the rest is the community account's, and the sum of the uplifts says how much.
    share = min(1.0, float(lost.sum()) / float(won.sum())) if won.any() else 0.0
    return np.asarray(lost - share * won)
