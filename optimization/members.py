"""What each member pays under a clearing, against what it would pay alone, and the uplift that closes the difference.

Prices of whole-number problems support no schedule exactly: a member's appliances may run when they are worth most to
the neighbourhood and not to it. No member shall lose by that: where it pays more than its own best plan at the tariff
alone would cost, under its own limits, an uplift makes it whole, paid by the members that gain, in proportion to their
gains. What stands for tasks that fall short is no money, and no part of uplifts (``undone``).

Alone means: no links, and of the envelopes only those on the member itself. Its best plan there is counted at its
proven lower bound, so that nobody pays more than its best plan even where that best plan is not known exactly. Who has
no links, and could not have met a limit that it shares, has its own plan already: what the search for it left open, and
what the bound leaves open, the community has not brought about.

References
----------
R. P. O'Neill et al. (2005), "Efficient market-clearing prices in markets with nonconvexities", European J. Operational
Research 164(1): make-whole payments.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optimization.clearing import Clearing
from optimization.community import Community, Link
from optimization.decomposition.master import Prices, find_prices, home_bounds
from optimization.decomposition.problem import Problem
from optimization.decomposition.splitting import split_bounds
from optimization.devices.thermostats import FINE
from optimization.quantities import DeviceId, Floats, PeerId
from optimization.reach import least_and_most_kw
from optimization.undone import undone_at, undone_costs
from optimization.uplift import loss_of

CELLS = 96
"""Of on/off thermostats' temperatures in the searches: with fewer, prices are those of a slacker problem."""

SPLITS = 60
"""Rounds in which devices of a member that seems to pay more than alone are asked at prices of their own."""

WITHIN_KW = 1e-6
"""By so much a shared limit may be passed before it is met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member's costs over the horizon; all members' costs are the objective without preferences.

    Attributes
    ----------
    id : peer
    cost : currency under the clearing: energy from grid and neighbours with network charges, less what is sold, what
        its devices cost themselves, their departures from an earlier plan, and what stands for tasks that fall short;
        preferences are felt and not paid
    undone : currency of the cost that stands for tasks that fall short, discomfort included; nobody pays it
    alone : currency below which no plan of its own at the tariff can cost, proven; of the same costs
    uplift : currency received (positive) or contributed (negative); of money alone, without what stands for tasks
    """

    id: PeerId
    cost: float
    undone: float
    alone: float
    uplift: float

    @property
    def pays(self) -> float:
        """Currency that is the member's in the end, what stands for tasks that fall short included."""
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
    cost, undone = member_costs(community, clearing), undone_costs(community, clearing.device_kw)
    alone, prices = _alone(community, rounds=rounds, cost=cost, stop=stop)
    short = undone - undone_at(Problem.of(standalone(community)), prices)
    loss = np.array([loss_of(*each) for each in zip((cost - alone - short).tolist(), short.tolist(), strict=True)])
    loss[by_themselves(community, clearing.device_kw)] = 0.0
    uplift = _uplift(loss)
    return tuple(
        Member(id=peer.id, cost=float(cost[n]), undone=float(undone[n]), alone=float(alone[n]), uplift=float(uplift[n]))
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
    return _alone(community, rounds=rounds, cost=cost, stop=stop)[0]


def _alone(
    community: Community, *, rounds: int, cost: Floats | None, stop: Callable[[], bool] | None
) -> tuple[Floats, Prices]:
    """(N,) bounds of members by themselves, and the prices that each home as a whole was asked at."""
    problem = Problem.of(standalone(community))
    prices = find_prices(problem.refined(CELLS), rounds=rounds, stop=stop).prices
    bounds = home_bounds(problem.refined(FINE), prices)
    if cost is not None and (cost > bounds).any():
        bounds = split_bounds(problem, prices, bounds, cost, wanted=0.0, rounds=SPLITS, stop=stop)
    return bounds, prices


def standalone(community: Community) -> Community:
    """The same members, each by itself: no links, and of the envelopes only those on one member."""
    own = tuple(envelope for envelope in community.envelopes if len(envelope.peers) == 1)
    return replace(community, links=(), envelopes=own)


def by_themselves(community: Community, device_kw: Mapping[DeviceId, Floats]) -> npt.NDArray[np.bool_]:
    """(N,) whether a member has its own plan: no links, and no limit shared with others that it could have met.

    A limit that is not met can still have kept a whole appliance from an hour. So what counts is whether the member,
    beside what the others take, could meet it with anything that its devices can do.

    Parameters
    ----------
    community : of the members
    device_kw : (T,) kW of each device, as planned
    """
    linked = {peer for link in community.links for peer in (link.seller, link.buyer)}
    index = {peer.id: n for n, peer in enumerate(community.peers)}
    planned, least, most = np.zeros((3, len(index), community.horizon.mtus))
    for peer, device in community.devices():
        low, high = least_and_most_kw(device, community.horizon)
        n = index[peer.id]
        planned[n] += device_kw[device.id]
        least[n] += low
        most[n] += high
    alone = np.array([peer.id not in linked for peer in community.peers])
    for envelope in community.envelopes:
        within = sorted(index[peer] for peer in envelope.peers)
        if len(within) == 1:
            continue
        others = planned[within].sum(axis=0) - planned[within]
        over = others + most[within] > envelope.upper_kw + WITHIN_KW
        under = others + least[within] < envelope.lower_kw - WITHIN_KW
        alone[within] &= ~(over | under).any(axis=1)
    return alone


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
    # The problem sees a chain of programmes as one, of which an earlier plan may know some: each counts by itself.
    problem = Problem.of(replace(community, planned_kw={}, change_price=0.0))
    mtus = community.horizon.mtus
    power = np.array([device_kw[device.id] for _, device in community.devices()]).reshape(-1, mtus)
    cost = departure_costs(community, device_kw)
    np.add.at(cost, problem.plant_peer, problem.plant_cost(-power[problem.plant_row]))
    for part in problem.parts:
        np.add.at(cost, part.blocks.peer, part.blocks.batch.own_cost(power[part.blocks.rows]))
    return cost


def departure_costs(community: Community, device_kw: Mapping[DeviceId, Floats]) -> Floats:
    """(N,) currency for what each member's devices, under the (T,) kW of each, depart from an earlier plan."""
    departed = [
        sum(
            float(np.abs(device_kw[device.id] - community.planned_kw[device.id]).sum())
            for device in peer.devices
            if device.id in community.planned_kw
        )
        for peer in community.peers
    ]
    return community.change_price * community.horizon.hours * np.array(departed, dtype=np.float64)


def _uplift(loss: Floats) -> Floats:
    """(N,) what makes losers whole, and what gainers contribute to it."""
    lost, won = np.maximum(0.0, loss), np.maximum(0.0, -loss)
    # Where gains do not suffice, the rest is the community account's, and the sum of the uplifts says how much.
    share = min(1.0, float(lost.sum()) / float(won.sum())) if won.any() else 0.0
    return np.asarray(lost - share * won)
