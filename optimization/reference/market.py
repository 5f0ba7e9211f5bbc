r"""A convex market as ``optimization.market`` states it, written plainly in cvxpy.

One variable for each symbol of the problem, one constraint for each of its lines; the prices are the constraints'
multipliers. With :math:`\Delta` the length of an MTU, cvxpy's Lagrangian of ``minimise f subject to lhs == rhs`` being
:math:`f + \nu^T (lhs - rhs)`, the balances written as consumption minus supply have :math:`\nu = \Delta \lambda`.

References
----------
Sorin, Bobo, Pinson (2019), "Consensus-based approach to peer-to-peer electricity markets with product
differentiation", IEEE Trans. Power Systems 34(2), eq. (1).
"""

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp

from optimization.community import Floats
from optimization.conflict import find_conflict
from optimization.market import Indices, Market
from optimization.market_clearing import MarketClearing, MarketOutcome, Unsolved


def solve(market: Market, *, solver: str = "CLARABEL", tolerance: float = 1e-9) -> MarketOutcome:
    """The cheapest clearing of a market by a general solver.

    Parameters
    ----------
    market : the problem
    solver : a name that cvxpy knows: CLARABEL for any market; HIGHS for those whose costs are all linear
    tolerance : for feasibility and gap, as the solver understands them

    Returns
    -------
    MarketClearing when the solver reports an optimum to that tolerance; MarketConflict when it does not and the elastic
    problem proves that there is no feasible clearing; Unsolved otherwise, an optimum to a lower accuracy included.

    Raises
    ------
    SolverError
        If the solver fails and the elastic problem cannot be solved either.
    """
    import cvxpy as cp

    status, clearing = _attempt(_Model(market, cp), solver, tolerance)
    if clearing is None:
        # The proof of a conflict stands on its own, whatever made the solver stop.
        conflict = find_conflict(market)
        if conflict is not None:
            return conflict
        # Clarabel takes some feasible markets of large powers for infeasible, but not in a unit that makes them small.
        unit = _typical_power(market)
        if unit > 1.0:
            status, clearing = _attempt(_Model(market, cp, unit=unit), solver, tolerance)
    if status == cp.OPTIMAL and clearing is not None:
        return clearing
    best = MarketClearing.zeros(market) if clearing is None else clearing
    return Unsolved(reason=f"{solver}: got {status!r}, wanted an optimum to {tolerance:g}", best=best)


def _attempt(model: "_Model", solver: str, tolerance: float) -> tuple[str, MarketClearing | None]:
    """A solver's status and what it found, even where that is not accurate."""
    try:
        with warnings.catch_warnings():
            # cvxpy warns of what the status says as well, and the outcome with it.
            warnings.simplefilter("ignore", UserWarning)
            model.problem.solve(solver=solver, **_options(solver, tolerance))
    except model.cp.error.SolverError as err:
        return str(err), None
    status = str(model.problem.status)
    found = status in {model.cp.OPTIMAL, model.cp.OPTIMAL_INACCURATE}
    return status, model.read() if found else None


def _typical_power(market: Market) -> float:
    """kW, the median of the bounds of assets that are not zero; 1 where all are."""
    bounds = np.abs(np.concatenate([market.assets.lower.ravel(), market.assets.upper.ravel()]))
    return float(np.median(bounds[bounds > 0])) if bounds.any() else 1.0


def _options(solver: str, tolerance: float) -> dict[str, Any]:
    """Accuracy in the words of a solver; of others than these the defaults hold."""
    match solver:
        case "CLARABEL":
            return {
                "tol_gap_abs": tolerance,
                "tol_gap_rel": tolerance,
                "tol_feas": tolerance,
                "max_iter": 400,
                "max_threads": 1,
            }
        case "HIGHS":
            least = max(tolerance, 1e-10)
            return {"primal_feasibility_tolerance": least, "dual_feasibility_tolerance": least, "threads": 1}
        case _:
            return {}


class _Model:
    """The problem in cvxpy, powers in ``unit`` kW; ``read`` gives its solution as a clearing.

    The objective is divided by the unit too, which leaves the prices as they are.
    """

    def __init__(self, market: Market, cp: Any, *, unit: float = 1.0) -> None:
        self.market, self.cp, self.unit = market, cp, unit
        peers, mtus, hours = len(market.peers), market.mtus, market.hours
        self.constraints: list[Any] = []
        self.net: Any = np.zeros((peers, mtus))
        self.supply: Any = np.zeros((peers, mtus))
        cost = self._assets() + self._links() + self._grid() + self._storages()
        self.balance = self.net - self.supply == cp.Constant(np.zeros((peers, mtus)))
        self.constraints.append(self.balance)
        self._limits()
        stored: Any = cp.sum(cp.multiply(market.stores.state_cost, self.energy)) if market.stores.size else 0.0
        self.problem = cp.Problem(cp.Minimize(hours * cost + stored), self.constraints)

    def _power(self, rows: int) -> Any:
        """A variable (rows, T); of no rows a constant, because cvxpy has no empty variables."""
        return self.cp.Variable((rows, self.market.mtus)) if rows else np.zeros((0, self.market.mtus))

    def _assets(self) -> Any:
        cp, assets, peers = self.cp, self.market.assets, len(self.market.peers)
        self.piece = self._power(assets.piece_asset.size)
        if not assets.piece_asset.size:
            return 0.0
        self.net = self.net + _owned(assets.piece_peer, peers) @ self.piece
        self.constraints += _within(self.piece, assets.lower / self.unit, assets.upper / self.unit)
        cost = cp.sum(cp.multiply(assets.slope, self.piece))
        if assets.curvature.any():
            cost = cost + cp.sum_squares(cp.multiply(np.sqrt(self.unit * assets.curvature / 2), self.piece))
        return cost

    def _links(self) -> Any:
        cp, links, peers, mtus = self.cp, self.market.links, len(self.market.peers), self.market.mtus
        self.trade = self._power(links.size)
        if not links.size:
            return 0.0
        self.supply = self.supply + (_owned(links.buyer, peers) - _owned(links.seller, peers)) @ self.trade
        self.constraints.append(self.trade >= 0)
        capped = np.flatnonzero(np.isfinite(links.capacity))
        if capped.size:
            capacity = np.repeat(links.capacity[capped, None], mtus, axis=1) / self.unit
            self.constraints.append(_above(capacity, self.trade[capped]))
        return links.cost @ cp.sum(self.trade, axis=1)

    def _grid(self) -> Any:
        cp, market, peers = self.cp, self.market, len(self.market.peers)
        self.buys, self.sells = np.isfinite(market.import_price), np.isfinite(market.export_price)
        self.imported = self._power(peers if self.buys.any() else 0)
        self.exported = self._power(peers if self.sells.any() else 0)
        cost: Any = 0.0
        for flow, allowed, price, sign in (
            (self.imported, self.buys, market.import_price, 1.0),
            (self.exported, self.sells, market.export_price, -1.0),
        ):
            if allowed.any():
                self.supply = self.supply + sign * flow
                self.constraints += [flow >= 0, cp.multiply(~allowed, flow) == 0]
                cost = cost + sign * cp.sum(cp.multiply(np.where(allowed, price, 0.0), flow))
        return cost

    def _storages(self) -> Any:
        cp, stores, mtus = self.cp, self.market.stores, self.market.mtus
        self.charge, self.discharge, self.energy = (self._power(stores.size) for _ in range(3))
        if not stores.size:
            return 0.0
        none = np.zeros((stores.size, mtus))
        self.net = self.net + _owned(stores.peer, len(self.market.peers)) @ (self.charge - self.discharge)
        self.constraints += _within(self.charge, none, none + stores.max_charge[:, None] / self.unit)
        self.constraints += _within(self.discharge, none, none + stores.max_discharge[:, None] / self.unit)
        self.constraints += _within(self.energy, stores.lower / self.unit, stores.upper / self.unit)
        inflow = sp.diags_array(stores.charge_efficiency) @ self.charge
        inflow = inflow - sp.diags_array(1 / stores.discharge_efficiency) @ self.discharge
        initial = np.hstack([stores.initial[:, None] / self.unit, none[:, 1:]])
        before = self.energy @ sp.eye_array(mtus, k=1) + initial
        self.dynamics = self.energy - before - self.market.hours * inflow == 0
        self.constraints.append(self.dynamics)
        return stores.cycle_cost @ cp.sum(self.discharge, axis=1)

    def _limits(self) -> None:
        """Each bound that is finite is a constraint, kept with its MTUs for its multiplier."""
        cp, mtus = self.cp, self.market.mtus
        self.bounds: list[tuple[int, Any, Any, Floats]] = []
        for g, limit in enumerate(self.market.limits):
            total = cp.sum(self.net[limit.members], axis=0) if limit.members.size else cp.Constant(np.zeros(mtus))
            for bound, sign in ((limit.upper / self.unit, 1), (limit.lower / self.unit, -1)):
                finite = np.flatnonzero(np.isfinite(bound))
                if finite.size:
                    kept = _above(sign * bound[finite], sign * total[finite])
                    self.bounds.append((g, finite, kept, sign / _size(bound[finite])))
                    self.constraints.append(kept)

    def read(self) -> MarketClearing:
        """The solution, powers cut to their bounds, which a solver keeps to its tolerance only."""
        market, hours = self.market, self.market.hours
        assets, links, stores = market.assets, market.links, market.stores
        limit_price = np.zeros((len(market.limits), market.mtus))
        for g, finite, kept, sign in self.bounds:
            limit_price[g, finite] += sign * _multiplier(kept) / hours
        state_price = _multiplier(self.dynamics) if stores.size else np.zeros((0, market.mtus))
        return MarketClearing(
            piece=np.clip(self._power_of(self.piece), assets.lower, assets.upper),
            trade=np.clip(self._power_of(self.trade), 0.0, links.capacity[:, None]),
            imported=_allowed(self._power_of(self.imported), self.buys),
            exported=_allowed(self._power_of(self.exported), self.sells),
            charge=np.clip(self._power_of(self.charge), 0.0, stores.max_charge[:, None]),
            discharge=np.clip(self._power_of(self.discharge), 0.0, stores.max_discharge[:, None]),
            price=_multiplier(self.balance) / hours,
            limit_price=limit_price,
            state_price=state_price,
            iterations=int(self.problem.solver_stats.num_iters or 0),
        )

    def _power_of(self, variable: Any) -> Floats:
        """The values of a variable, or of the constant that stands for none, in kW."""
        return self.unit * np.asarray(getattr(variable, "value", variable), dtype=np.float64)


def _allowed(flow: Floats, allowed: Any) -> Floats:
    """(N, T) kW, the flow where there may be one, and not below zero; ``flow`` has no rows where there may be none."""
    table = np.zeros(allowed.shape)
    if flow.size:
        table[allowed] = np.maximum(flow[allowed], 0.0)
    return table


def _owned(owner: Indices, peers: int) -> Any:
    """(N, n) a one where a column belongs to a peer."""
    return sp.csr_array((np.ones(owner.size), (owner, np.arange(owner.size))), shape=(peers, owner.size))


def _size(bound: Floats) -> Floats:
    """What the two sides of a bound are divided by: Clarabel takes bounds of 1e9 beside ones of 1 for unbounded."""
    return np.maximum(1.0, np.abs(bound))


def _above(upper: Floats, expression: Any) -> Any:
    return expression / _size(upper) <= upper / _size(upper)


def _within(variable: Any, lower: Floats, upper: Floats) -> list[Any]:
    return [_above(upper, variable), _above(-lower, -variable)]


def _multiplier(constraint: Any) -> Floats:
    """The dual of a constraint; zero where it holds no variable."""
    if constraint.dual_value is None:
        return np.zeros(constraint.shape)
    return np.asarray(constraint.dual_value, dtype=np.float64)
