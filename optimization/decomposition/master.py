r"""Prices and mixed schedules of a community: consensus between homes, trades and envelopes.

The whole-number problem, convexified: every block mixes schedules of its hull, and

.. math::

    \min \sum_b o_b(x_b) + F(z) \quad\text{s.t.}\quad q = z,\quad q_k = y_k \in \text{envelope } k,
    \qquad q_n = \sum_{b \in n} x_b + \text{fixed}

with F the cost of trades and grid. Alternating directions on the two copies of the homes' net powers q: homes step
within the hulls that are known, trades (``exchange``) and envelopes answer, prices follow what is left between them.
Between such rounds every block's oracle is asked for its best response to the prices, which is the next column of its
hull and, prices being dual feasible, a term of a proven lower bound: Lagrangian duality needs no convergence.

References
----------
S. Boyd et al. (2011), "Distributed optimization and statistical learning via the alternating direction method of
multipliers", sections 7.3 (sharing) and 3.4.1 (residual balancing). N. Boland et al. (2018), SIAM J. Optimization
28(2): with inner approximations. J. Desrosiers, M. Luebbecke (2005), "A primer in column generation": the bound.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optimization.decomposition.exchange import sweep
from optimization.decomposition.hulls import Hulls, step, step_plants
from optimization.decomposition.problem import Problem
from optimization.decomposition.reservoirs import Reservoirs
from optimization.dual_prices import project
from optimization.quantities import Floats

STIFFNESS = 0.02
"""Pull between the copies at first, currency/(kW^2 h): a kilowatt apart is worth two cents a kWh."""

COLUMNS = 24
"""Schedules that a block's hull remembers."""

LEAST_ROUNDS = 6
"""Rounds that are always run: before, the hulls know too little for a feasible schedule."""

SETTLED_ROUNDS = 20
SETTLED_GAIN = 2e-5
"""The search ends where the value has grown by less than this, relatively, in so many rounds."""

SETTLED_RESIDUAL = 5e-3
"""Residual, relative to the homes' net power, above which the search goes on whatever the value does."""

ENVELOPE_STIFFNESS = 4.0
"""The pull of an envelope's copy, relative to that of the trades."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Dual prices of a community.

    Attributes
    ----------
    peer : (N, T) currency/kWh, dual feasible for the trades
    envelope : (K, T) currency/kWh that members' power costs beside, positive where an upper bound binds
    """

    peer: Floats
    envelope: Floats

    def of_members(self, problem: Problem) -> Floats:
        """(N, T) what power costs each peer in all."""
        return np.asarray(self.peer + problem.member.T @ self.envelope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """Where the rounds ended.

    Attributes
    ----------
    prices : those of the best bound
    value : currency, of the dual function at these prices, as the answers' costs say it; where an oracle answers within
        an interval the proven bound is less
    hulls : of the blocks but the batteries, with the weights of the mixed schedules
    mixed_kw : (B, T) kW of all blocks, as they are mixed
    produced : (D, T) kW of the plants
    net_kw : (N, T) kW
    rounds : how many were run
    history : the dual value after each
    """

    prices: Prices
    value: float
    hulls: Hulls
    mixed_kw: Floats
    produced: Floats
    net_kw: Floats
    rounds: int
    history: tuple[float, ...]


class Master:
    """The state of the rounds; arrays that they write to.

    Parameters
    ----------
    problem : the community
    stiffness : rho at first, currency/(kW^2 h)
    """

    def __init__(self, problem: Problem, *, stiffness: float, start: Prices | None = None) -> None:
        peers, mtus = problem.fixed_kw.shape
        self.problem = problem
        self.rho = stiffness
        self.hulls = Hulls.of(problem.peer, peers=peers, mtus=mtus, columns=COLUMNS)
        self.reservoirs = Reservoirs.of(problem)
        self.switched = np.setdiff1d(np.arange(problem.peer.size), self.reservoirs.place)
        self.produced = np.zeros(problem.available_kw.shape)
        self.plant_first = np.searchsorted(problem.plant_peer, np.arange(peers + 1)).astype(np.int64)
        tariff = problem.community.tariff
        if start is None:
            middle = 0.5 * (tariff.import_price + tariff.export_price)
            start = Prices(peer=np.tile(middle, (peers, 1)), envelope=np.zeros(problem.lower_kw.shape))
        self.price = start.peer.copy()
        self.pressure = start.envelope / (ENVELOPE_STIFFNESS * stiffness)
        self.traded = np.zeros((problem.network.seller.size, mtus))
        self.traded_net = np.zeros((peers, mtus))
        self.agreed = np.zeros((peers, mtus))
        self.net = problem.fixed_kw.copy()
        self.count = problem.member.sum(axis=1)
        self.covered = problem.member.sum(axis=0)
        self.best = (-np.inf, start)
        self.round = 0

    def prices(self) -> Prices:
        """The present prices, made dual feasible."""
        envelope = ENVELOPE_STIFFNESS * self.rho * self.pressure
        upper, lower = self.problem.upper_kw, self.problem.lower_kw
        envelope = np.where((envelope > 0) & np.isinf(upper) | (envelope < 0) & np.isinf(lower), 0.0, envelope)
        return Prices(peer=project(self.problem.network, self.price), envelope=envelope)

    def ask(self) -> float:
        """Ask the oracles for their answers to the present prices: the next columns.

        Returns
        -------
        The dual value, as the answers' costs say it. Where all oracles are exact it is a proven bound.
        """
        prices = self.prices()
        problem = self.problem
        paid = prices.of_members(problem)
        value = float(sum(term.sum() for term in static_bounds(problem, prices, paid)))
        power, cost = np.empty((problem.peer.size, paid.shape[1])), np.empty(problem.peer.size)
        for answer in problem.answers(paid):
            value += float((answer.cost + problem.foreseen(answer.place)).sum())
            power[answer.place] = answer.power_kw
            cost[answer.place] = answer.response.own_cost + problem.change_cost(answer.place, answer.power_kw)
        if self.round == 0:
            self.begin(power, cost, problem.available_kw)
        else:
            self.hulls.add(power[self.switched], cost[self.switched], self.round, self.switched)
        self.round += 1
        if value > self.best[0]:
            self.best = (value, prices)
        return value

    def probe(self) -> None:
        """Ask at the tariff's own prices too: for who trades little they are right, and the answers are columns."""
        tariff, middle = self.problem.community.tariff, self.price.copy()
        self.ask()
        for price in (tariff.import_price, tariff.export_price):
            self.price[:] = price
            self.ask()
        self.price = middle

    def begin(self, power: Floats, cost: Floats, produced: Floats) -> None:
        """Begin with (B, T) schedules of all blocks, their (B,) own costs and the (D, T) production of all plants."""
        self.hulls.add(power[self.switched], cost[self.switched], 0, self.switched)
        self.reservoirs.power_kw[:] = power[self.reservoirs.place]
        np.add.at(self.net, self.problem.peer, power)
        np.subtract.at(self.net, self.problem.plant_peer, produced)
        self.produced[:] = produced
        self.agreed[:] = self.net
        self.round = max(1, self.round)

    def mixed(self) -> Floats:
        """(B, T) kW of all blocks, as they are mixed."""
        power = self.hulls.mixed()
        power[self.reservoirs.place] = self.reservoirs.power_kw
        return power

    def agree(self, iterations: int) -> tuple[float, float]:
        """Alternate between homes, trades and envelopes; returns the primal and dual residual in kW."""
        problem, hulls = self.problem, self.hulls
        network, tariff = problem.network, problem.community.tariff
        hours = problem.community.horizon.hours
        primal = dual = 0.0
        for _ in range(iterations):
            shift = self._pressed()
            # An envelope's copy stands where the net power was, moved by the change of its pressure.
            pulled = self.covered[:, None] * self.net + problem.member.T @ (self.pressure - 2.0 * shift)
            share = 1.0 + ENVELOPE_STIFFNESS * self.covered[:, None]
            target = (self.agreed - self.price / self.rho + ENVELOPE_STIFFNESS * pulled) / share
            stiffness = np.ascontiguousarray(self.rho * share[:, 0])
            self.pressure = shift
            step(hulls.column, hulls.cost, hulls.weight, hulls.first, self.net, target, stiffness, hours, 2)
            self.reservoirs.step(self.net, target, stiffness)
            if len(self.produced):
                step_plants(
                    self.produced,
                    problem.available_kw,
                    problem.curtailment_cost,
                    self.plant_first,
                    self.net,
                    target,
                    stiffness,
                )
            before = self.agreed
            wanted = self.net + self.price / self.rho
            sweep(
                self.traded,
                self.traded_net,
                wanted,
                network.seller,
                network.buyer,
                network.cost,
                tariff.import_price,
                tariff.export_price,
                self.price,
                self.rho,
                2,
            )
            self.agreed = wanted - self.price / self.rho
            primal = float(np.sqrt(((self.net - self.agreed) ** 2).mean()))
            dual = float(np.sqrt(((self.agreed - before) ** 2).mean()))
        return primal, dual

    def _pressed(self) -> Floats:
        """(K, T) the envelopes' next pressure, in kW a member."""
        problem = self.problem
        if not len(self.count):
            return self.pressure
        count = np.maximum(self.count, 1.0)[:, None]
        mean = problem.member @ self.net / count + self.pressure
        return np.asarray(mean - np.clip(mean, problem.lower_kw / count, problem.upper_kw / count))

    def balance(self, primal: float, dual: float) -> None:
        """Let the stiffness follow the residuals; the prices stay."""
        factor = 1.0
        if primal > 4.0 * dual:
            factor = 1.5
        elif dual > 4.0 * primal:
            factor = 1.0 / 1.5
        self.rho *= factor
        self.pressure = self.pressure / factor


def static_bounds(problem: Problem, prices: Prices, paid: Floats) -> tuple[Floats, Floats]:
    """The terms of the bound that no whole number decides: (N,) of loads and plants, (K,) of envelopes."""
    hours = problem.community.horizon.hours
    bound = hours * (paid * problem.fixed_kw).sum(axis=1) + problem.unforeseen_cost
    if len(problem.available_kw):
        np.add.at(bound, problem.plant_peer, _plant_bounds(problem, paid[problem.plant_peer]))
    mu = prices.envelope
    upper = np.where(mu > 0, mu * np.where(np.isfinite(problem.upper_kw), problem.upper_kw, 0.0), 0.0)
    lower = np.where(mu < 0, mu * np.where(np.isfinite(problem.lower_kw), problem.lower_kw, 0.0), 0.0)
    return bound, -hours * (upper + lower).sum(axis=1)


def _plant_bounds(problem: Problem, paid: Floats) -> Floats:
    """(D,) currency that plants cost at least at (D, T) prices: in each MTU the best of ends and what was foreseen."""
    available, foreseen = problem.available_kw, np.clip(-problem.plant_planned_kw, 0.0, problem.available_kw)
    cost, change = problem.curtailment_cost[:, None], problem.plant_change_price[:, None]
    values = [
        cost * (available - produced) - paid * produced + change * np.abs(produced + problem.plant_planned_kw)
        for produced in (np.zeros_like(available), foreseen, available)
    ]
    return np.asarray(problem.community.horizon.hours * np.min(values, axis=0).sum(axis=1))


def home_bounds(problem: Problem, prices: Prices) -> Floats:
    """(N,) what each home cannot cost less than at these prices, envelopes on it alone included.

    What envelopes on several peers are worth belongs to no home and is left out.
    """
    paid = prices.of_members(problem)
    bound, limits = static_bounds(problem, prices, paid)
    for answer in problem.answers(paid):
        np.add.at(bound, answer.peer, answer.response.bound + problem.foreseen(answer.place))
    for k in np.flatnonzero(problem.member.sum(axis=1) == 1):
        bound[int(np.argmax(problem.member[k]))] += limits[k]
    return np.asarray(bound)


def lower_bound(problem: Problem, prices: Prices) -> float:
    """Currency below which no schedule of the community can cost, proven by prices."""
    return float(home_bounds(problem, prices).sum()) + shared_bound(problem, prices)


def shared_bound(problem: Problem, prices: Prices) -> float:
    """Currency of the bound that envelopes on no peer or several are worth."""
    limits = static_bounds(problem, prices, prices.of_members(problem))[1]
    return float(limits[problem.member.sum(axis=1) != 1].sum())


def find_prices(
    problem: Problem,
    *,
    rounds: int = 40,
    iterations: int = 10,
    stiffness: float = STIFFNESS,
    start: Prices | None = None,
    gain: float = SETTLED_GAIN,
    stop: Callable[[], bool] | None = None,
) -> Consensus:
    """Prices of a good lower bound, and schedules mixed at them.

    Parameters
    ----------
    problem : the community
    rounds : times that the oracles are asked
    iterations : of alternating directions in between
    stiffness : rho at first
    start : prices to begin with, as of an earlier plan
    gain : the search ends where the value has grown by less, relatively, in ``SETTLED_ROUNDS`` rounds
    stop : asked before each round; true ends the search
    """
    master = Master(problem, stiffness=stiffness, start=start)
    if start is None:
        master.probe()
    history: list[float] = []
    for _ in range(rounds):
        master.ask()
        history.append(master.best[0])
        primal, dual = master.agree(iterations)
        master.balance(primal, dual)
        size = float(np.sqrt((master.net**2).mean()))
        settled = _settled(history, gain, max(primal, dual), size)
        if len(history) >= LEAST_ROUNDS and (settled or (stop is not None and stop())):
            break
    return Consensus(
        prices=master.best[1],
        value=master.best[0],
        hulls=master.hulls,
        mixed_kw=master.mixed(),
        produced=master.produced,
        net_kw=master.net,
        rounds=master.round,
        history=tuple(history),
    )


def _settled(history: list[float], gain: float, residual: float, size: float) -> bool:
    """Whether the best of the dual values hardly grows any more, and not because the consensus is far off still."""
    if len(history) <= SETTLED_ROUNDS or residual > SETTLED_RESIDUAL * (1.0 + size):
        return False
    best, before = history[-1], history[-1 - SETTLED_ROUNDS]
    return best - before <= gain * abs(best)
