r"""Bounds of homes whose devices share what their roof gives: each device with prices of its own.

Between what a home gets for a kilowatt-hour and what it pays for one, which kilowatt-hour of a device is its own and
which is bought depends on all the others. One price for all lets each device run a little on the cheap part; whole
numbers do not. So each block b answers prices of its own and, in each MTU, a second copy z of the powers answers the
difference, out of the few sums that there can be (``mixtures``):

.. math::

    L(\lambda) = \sum_b \min_{x_b} \Big(o_b(x_b) + \Delta \sum_t \lambda_{bt} x_{bt}\Big)
        + \Delta \sum_t \min_{z_{\cdot t} \in Z_t} \Big(F_t\big(\textstyle\sum_b z_{bt}\big)
        - \sum_b \lambda_{bt} z_{bt}\Big)

with F_t what a net power costs at most favourable prices of the neighbours: convex, its slope what the home gets below
zero and what it pays above. At equal prices this is no less than the bound of the community's prices; from there it is
raised along :math:`x - z`, each step as long as the signs of its past agree. Any prices whatever prove a bound.

Where links are dear, or surplus is worth little, this closes most of what convexification leaves open.

References
----------
M. Guignard, S. Kim (1987), "Lagrangean decomposition: a model yielding stronger Lagrangean bounds", Mathematical
Programming 39. D. P. Kingma, J. Ba (2015), "Adam: a method for stochastic optimization", ICLR: the steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimization.certificate import FEASIBILITY_TOLERANCE_KW
from optimization.decomposition.master import Prices
from optimization.decomposition.mixtures import Choices, cheapest_sums
from optimization.decomposition.problem import Problem, block_power
from optimization.devices.oracle import Integers
from optimization.devices.thermostats import FINE
from optimization.quantities import Floats

CELLS = 96
"""Temperature cells of on/off thermostats while prices are sought."""

STEP = 0.03
"""Of a price, at first, relative to the width between what is got and what is paid."""

STEP_ROUNDS = 50
"""After so many rounds steps are half as long."""

SHORTER = 0.25
SHORTEST = 0.01
"""A home that gains nothing goes back to its best prices and on in steps shorter by this, down to so short ones."""

MOMENTUM = 0.9
SCALING = 0.99
LEAST_SCALE_KW = 0.05
"""How much of the past a step remembers, and what it is scaled by at least."""

CHECK_ROUNDS = 10
LEAST_SHARE = 0.01
"""So many rounds that close less than this share of what is open have gained nothing."""

ROUNDING = 1e-9
"""Bounds are lower by this than exact arithmetic would prove, relative to one and themselves."""

_NO_WIDTH = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What each home's net power costs at least, whoever it trades with at the prices of its neighbours.

    Attributes
    ----------
    sell, buy : (N, T) currency/kWh below and above zero, the pressure of shared envelopes included; equal where a
        home's net power cannot be on both sides
    lower, upper : (N, T) kW that envelopes on a home alone let it take
    free : (N, T) where more than one price may be right
    """

    sell: Floats
    buy: Floats
    lower: Floats
    upper: Floats
    free: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, problem: Problem, prices: Prices, choices: Choices) -> "Sides":
        """Those of dual feasible prices: of what a link's cost leaves between two homes each gets half."""
        network, peers = problem.network, len(prices.peer)
        sell = np.tile(network.export_price, (peers, 1))
        buy = np.tile(network.import_price, (peers, 1))
        spare = 0.5 * (network.cost[:, None] - prices.peer[network.buyer] + prices.peer[network.seller])
        np.maximum.at(sell, network.seller, prices.peer[network.seller] - spare)
        np.minimum.at(buy, network.buyer, prices.peer[network.buyer] + spare)
        alone = problem.member.sum(axis=1) == 1
        pressure = problem.member[~alone].T @ prices.envelope[~alone]
        lower, upper = np.full(sell.shape, -np.inf), np.full(sell.shape, np.inf)
        for k in np.flatnonzero(alone):
            n = int(np.argmax(problem.member[k]))
            lower[n] = np.maximum(lower[n], problem.lower_kw[k] - FEASIBILITY_TOLERANCE_KW)
            upper[n] = np.minimum(upper[n], problem.upper_kw[k] + FEASIBILITY_TOLERANCE_KW)
        least, most = _reach(problem, choices)
        both = (least < 0.0) & (most > 0.0)
        one = np.where(most > 0.0, buy, sell)
        limited = (least < lower) | (most > upper)
        return cls(
            sell=np.where(both, sell, one) + pressure,
            buy=np.where(both, buy, one) + pressure,
            lower=np.where(limited, lower, -np.inf),
            upper=np.where(limited, upper, np.inf),
            free=(both & (buy - sell > _NO_WIDTH)) | limited,
        )


def _reach(problem: Problem, choices: Choices) -> tuple[Floats, Floats]:
    """(N, T) kW that each home's net power is at least and at most."""
    available = np.zeros(problem.fixed_kw.shape)
    np.add.at(available, problem.plant_peer, problem.available_kw)
    lowest, highest = choices.extremes(problem.peer, len(available))
    return problem.fixed_kw - available + lowest, problem.fixed_kw + highest


def split_bounds(
    problem: Problem,
    prices: Prices,
    bound: Floats,
    cost: Floats,
    *,
    wanted: float,
    rounds: int,
    stop: Callable[[], bool] | None = None,
) -> Floats:
    """What each home cannot cost less than at a community's prices, its devices' prices apart.

    Parameters
    ----------
    problem : the community
    prices : dual feasible
    bound : (N,) currency that is proven already (``master.home_bounds``)
    cost : (N,) currency that each home costs at these prices as it is planned: beyond this no bound rises
    wanted : currency of all homes together that may stay open
    rounds : at most
    stop : asked before each round; true ends the search

    Returns
    -------
    (N,) currency, at least the bound that was given
    """
    search = _Search(problem, prices, bound, cost)
    for count in range(rounds):
        if stop is not None and stop():
            break
        search.ascend()
        if (count + 1) % CHECK_ROUNDS == 0 and search.settled(wanted):
            break
    return search.refined()


def costs_of(problem: Problem, prices: Prices, power: Floats, own: Floats, produced: Floats) -> Floats:
    """(N,) currency that each home costs at a community's prices, whoever it trades with.

    Parameters
    ----------
    problem, prices : a community and its dual feasible prices
    power, own : (B, T) kW of its blocks and (B,) currency that they cost by themselves
    produced : (D, T) kW of its plants
    """
    sides = Sides.of(problem, prices, Choices.of(problem))
    net = problem.fixed_kw.copy()
    np.add.at(net, problem.peer, power)
    np.subtract.at(net, problem.plant_peer, produced)
    paid = sides.buy * np.maximum(net, 0.0) + sides.sell * np.minimum(net, 0.0)
    cost = problem.community.horizon.hours * paid.sum(axis=1) + problem.unforeseen_cost
    np.add.at(cost, problem.peer, own)
    np.add.at(cost, problem.plant_peer, problem.plant_cost(produced))
    return np.asarray(cost)


class _Search:
    """The state of the ascent; arrays that it writes to."""

    def __init__(self, problem: Problem, prices: Prices, bound: Floats, cost: Floats) -> None:
        peers = len(prices.peer)
        self.problem, self.cost = problem, cost
        self.coarse = problem.refined(CELLS)
        self.choices = Choices.of(problem)
        self.sides = Sides.of(problem, prices, self.choices)
        self.first = np.searchsorted(problem.peer, np.arange(peers + 1)).astype(np.int64)
        self.plants = np.searchsorted(problem.plant_peer, np.arange(peers + 1)).astype(np.int64)
        paid = prices.of_members(problem)[problem.peer]
        sell, buy = self.sides.sell[problem.peer], self.sides.buy[problem.peer]
        # Where a limit binds a price may be beyond what trading says, as far again as it is by the community's.
        limited = (np.isfinite(self.sides.lower) | np.isfinite(self.sides.upper))[problem.peer]
        width = np.maximum(buy, paid) - np.minimum(sell, paid)
        self.low = np.where(limited, np.minimum(sell, paid) - width, sell)
        self.high = np.where(limited, np.maximum(buy, paid) + width, buy)
        self.free = self.sides.free[problem.peer] & self.choices.live
        self.price = np.clip(paid, self.low, self.high)
        self.chosen = self.price.copy()
        self.best, self.start = bound.copy(), bound.copy()
        self.before = bound.copy()
        self.active = self.sides.free.any(axis=1) & (np.diff(self.first) > 0) & (cost > bound)
        self.power = np.zeros(self.price.shape)
        self.drift, self.scale = np.zeros(self.price.shape), np.zeros(self.price.shape)
        self.factor = np.ones(peers)
        self.round = 0

    def ascend(self) -> None:
        """One round: both copies answer; prices follow where they differ."""
        homes = np.flatnonzero(self.active)
        if not homes.size:
            return
        answered, value = self._asked(self.coarse, homes)
        self._keep(homes, value)
        self.round += 1
        rows = self.active[self.problem.peer]
        apart = np.where(self.free[rows], answered[rows] - self.power[rows], 0.0)
        self.drift[rows] = MOMENTUM * self.drift[rows] + (1.0 - MOMENTUM) * apart
        self.scale[rows] = SCALING * self.scale[rows] + (1.0 - SCALING) * apart**2
        drift = self.drift[rows] / (1.0 - MOMENTUM**self.round)
        scale = np.sqrt(self.scale[rows] / (1.0 - SCALING**self.round)) + LEAST_SCALE_KW
        step = STEP / (1.0 + (self.round - 1) / STEP_ROUNDS) * self.factor[self.problem.peer[rows], None]
        step = step * (self.high[rows] - self.low[rows])
        self.price[rows] = np.clip(self.price[rows] + step * drift / scale, self.low[rows], self.high[rows])

    def settled(self, wanted: float) -> bool:
        """Let homes that gain nothing take shorter steps, at last none; whether none is left, or enough is proven."""
        left = np.maximum(self.cost - self.best, 0.0)
        stuck = self.active & (self.best - self.before <= LEAST_SHARE * left)
        self.before = self.best.copy()
        self.factor[stuck] *= SHORTER
        self.active &= (self.factor >= SHORTEST) & (left > wanted / len(left))
        rows = (stuck & self.active)[self.problem.peer]
        self.price[rows] = self.chosen[rows]
        self.drift[rows] = 0.0
        return not self.active.any() or float(left.sum()) <= wanted

    def refined(self) -> Floats:
        """(N,) the best bounds, those of homes that gained at the finest answers."""
        gained = np.flatnonzero(self.best > self.start)
        if gained.size:
            self.price = self.chosen
            self._keep(gained, self._asked(self.problem.refined(FINE), gained)[1])
        return self.best

    def _keep(self, homes: Integers, value: Floats) -> None:
        better = homes[value > self.best[homes]]
        self.best[homes] = np.maximum(self.best[homes], value)
        rows = np.isin(self.problem.peer, better)
        self.chosen[rows] = self.price[rows]

    def _asked(self, problem: Problem, homes: Integers) -> tuple[Floats, Floats]:
        """(B, T) kW that blocks of some homes answer, and the (A,) bounds that the homes' two copies prove."""
        wanted = np.zeros(len(self.cost), dtype=np.bool_)
        wanted[homes] = True
        power = np.zeros(self.price.shape)
        proven = self.problem.unforeseen_cost.copy()
        for part in problem.parts:
            mine = np.flatnonzero(wanted[part.blocks.peer])
            if not mine.size:
                continue
            place, batch = part.place[mine], part.blocks.batch
            response = batch.respond(problem.cost_of(place, self.price[place]), mine)
            block = np.searchsorted(mine, batch.block[np.isin(batch.block, mine)])
            power[place] = block_power(block, response.power_kw, mine.size)
            np.add.at(proven, part.blocks.peer[mine], response.bound + problem.foreseen(place))
        worth = cheapest_sums(
            homes,
            self.first,
            self.plants,
            (self.choices.low_kw, self.choices.high_kw, self.choices.count, self.choices.live),
            problem.fixed_kw,
            problem.available_kw,
            problem.curtailment_cost,
            (self.sides.sell, self.sides.buy, self.sides.lower, self.sides.upper),
            self.sides.free,
            self.price,
            self.power,
        )
        value = proven[homes] + problem.community.horizon.hours * worth
        return power, value - ROUNDING * (1.0 + np.abs(value))
