r"""A market as one sparse quadratic program, as general solvers take it, and how far an answer is from optimal.

.. math:: \min\ \tfrac12 x^T P x + q^T x, \quad b^l \le A x \le b^u, \quad x^l \le x \le x^u

with diagonal :math:`P`. It is written from the formulas in ``optimization.market`` and shares no code with any solver.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from optimization.community import Floats
from optimization.market import Indices, Market
from optimization.market_clearing import MarketClearing


@dataclass(frozen=True, slots=True, kw_only=True)
class QuadraticProgram:
    """The program of a market.

    Attributes
    ----------
    diagonal : (V,) of P
    linear : (V,) q
    rows : (R, V) A: the balance of every peer, the dynamics of every storage, then the limits
    row_lower, row_upper : (R,) equal in all rows but those of limits
    lower, upper : (V,) bounds of variables
    equations : number of rows before the limits
    market : what it is the program of
    """

    diagonal: Floats
    linear: Floats
    rows: sp.csc_array
    row_lower: Floats
    row_upper: Floats
    lower: Floats
    upper: Floats
    equations: int
    market: Market

    def objective(self, x: Floats) -> float:
        """Currency; consumption's utility counts negative."""
        return float(0.5 * (self.diagonal * x) @ x + self.linear @ x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """How far an answer is from the conditions of Karush, Kuhn and Tucker, recomputed from the program alone.

    Attributes
    ----------
    primal : largest violation of a row or a bound over 1 + the largest power in the answer or the rows
    dual : largest reduced cost that no bound can carry over 1 + the largest linear cost
    gap : difference of the primal and the dual objective over 1 + the absolute objective
    """

    primal: float
    dual: float
    gap: float

    @property
    def worst(self) -> float:
        """The largest of the three; not a number counts as infinite."""
        values = (self.primal, self.dual, self.gap)
        return max(values) if np.isfinite(values).all() else float("inf")


def quadratic_program(market: Market) -> QuadraticProgram:
    """The program of a market: pieces, trades, imports, exports, charge, discharge and energy, each by MTU."""
    assets, links, stores, mtus = market.assets, market.links, market.stores, market.mtus
    balance, dynamics, limits = _rows(market)
    start = np.zeros((stores.size, mtus))
    start[:, 0] = stores.initial
    equal = np.concatenate([np.zeros(balance.shape[0]), start.ravel()])
    none = np.zeros(0)
    imports, exports = np.isfinite(market.import_price), np.isfinite(market.export_price)
    cost = _by_mtu(
        mtus,
        assets.slope,
        links.cost,
        np.where(imports, market.import_price, 0.0),
        np.where(exports, -market.export_price, 0.0),
        np.zeros(stores.size),
        stores.cycle_cost,
        # stored energy is priced by the kWh, all other variables by the kW during an MTU
        stores.state_cost / market.hours,
    )
    idle = np.zeros(links.size + 2 * len(market.peers) + 2 * stores.size)
    return QuadraticProgram(
        diagonal=market.hours * np.concatenate([assets.curvature.ravel(), np.zeros(cost.size - assets.curvature.size)]),
        linear=market.hours * cost,
        rows=sp.csc_array(sp.vstack([balance, dynamics, limits])),
        row_lower=np.concatenate([equal, *(limit.lower for limit in market.limits), none]),
        row_upper=np.concatenate([equal, *(limit.upper for limit in market.limits), none]),
        lower=_by_mtu(mtus, assets.lower, idle, stores.lower),
        upper=_by_mtu(
            mtus,
            assets.upper,
            links.capacity,
            np.where(imports, np.inf, 0.0),
            np.where(exports, np.inf, 0.0),
            stores.max_charge,
            stores.max_discharge,
            stores.upper,
        ),
        equations=equal.size,
        market=market,
    )


def _by_mtu(mtus: int, *parts: Floats) -> Floats:
    """Tables of things by MTU, and vectors of things that are the same in all, one after the other."""
    return np.concatenate([part.ravel() if part.ndim == 2 else np.repeat(part, mtus) for part in parts])


def _rows(market: Market) -> tuple[sp.csr_array, sp.csr_array, sp.csr_array]:
    """What balances peers, what moves stores and what limits sums of peers."""
    assets, links, stores, peers, mtus = market.assets, market.links, market.stores, len(market.peers), market.mtus
    own, sold, bought = (_incidence(owner, peers) for owner in (assets.piece_peer, links.seller, links.buyer))
    terminal = _incidence(stores.peer, peers)
    grid, each = sp.eye_array(peers), sp.eye_array(stores.size)
    net = [own, 0 * sold, 0 * grid, 0 * grid, terminal, -terminal, 0 * terminal]
    flows = [own, sold - bought, -grid, grid, terminal, -terminal, 0 * terminal]
    gained = [-market.hours * stores.charge_efficiency, market.hours / stores.discharge_efficiency]
    elsewhere = sp.csr_array((stores.size, own.shape[1] + links.size + 2 * peers))
    now, before = sp.eye_array(mtus), sp.eye_array(mtus, k=-1)
    moved = sp.hstack([elsewhere, *(sp.diags_array(part) for part in gained), 0 * each]) if stores.size else None
    level = sp.kron(each, now - before)
    ahead = sp.csr_array((level.shape[0], (elsewhere.shape[1] + 2 * stores.size) * mtus))
    members = np.zeros((len(market.limits), peers))
    for g, limit in enumerate(market.limits):
        members[g, limit.members] = 1.0
    width = (elsewhere.shape[1] + 3 * stores.size) * mtus
    dynamics = sp.csr_array((0, width)) if moved is None else sp.kron(moved, now) + sp.hstack([ahead, level])
    limits = sp.csr_array(members) @ sp.hstack(net, format="csr")
    return (
        sp.csr_array(sp.kron(sp.hstack(flows), now)),
        sp.csr_array(dynamics),
        sp.csr_array(sp.kron(limits, now)) if market.limits else sp.csr_array((0, width)),
    )


def _incidence(rows: Indices, size: int) -> sp.csr_array:
    """(size, K) matrix with a one in the given row of each column."""
    return sp.csr_array((np.ones(rows.size), (rows, np.arange(rows.size))), shape=(size, rows.size))


def point(program: QuadraticProgram, clearing: MarketClearing) -> tuple[Floats, Floats]:
    """The variables and the rows' multipliers of a clearing; stored energy follows from charge and discharge."""
    market = program.market
    stores, hours = market.stores, market.hours
    gained = hours * (
        stores.charge_efficiency[:, None] * clearing.charge - clearing.discharge / stores.discharge_efficiency[:, None]
    )
    energy = stores.initial[:, None] + np.cumsum(gained, axis=1)
    parts = (clearing.piece, clearing.trade, clearing.imported, clearing.exported, clearing.charge, clearing.discharge)
    x = np.concatenate([*(part.ravel() for part in parts), energy.ravel()])
    priced = (hours * clearing.price, clearing.state_price, hours * clearing.limit_price)
    return x, np.concatenate([part.ravel() for part in priced])


def residual(program: QuadraticProgram, x: Floats, multiplier: Floats) -> Residual:
    r"""How far variables and rows' multipliers are from optimal, with the best multipliers of the bounds.

    A positive multiplier belongs to a row at its upper side. What is left of the gradient,
    :math:`r = P x + q + A^T y`, is carried by the lower bound where it is positive, else by the upper: that leaves
    :math:`r_j` where there is no such bound, and the gap :math:`\sum r_j (x_j - bound_j)` where there is one.
    """
    if not (np.isfinite(x).all() and np.isfinite(multiplier).all()):
        return Residual(primal=np.inf, dual=np.inf, gap=np.inf)
    activity = program.rows @ x
    outside = max(
        float(np.max(part, initial=0.0))
        for part in (
            program.row_lower - activity,
            activity - program.row_upper,
            program.lower - x,
            x - program.upper,
        )
    )
    rows = np.concatenate([program.row_lower, program.row_upper])
    scale = max(float(np.abs(x).max()), float(np.abs(rows[np.isfinite(rows)]).max(initial=0.0)))
    reduced = program.diagonal * x + program.linear + program.rows.T @ multiplier
    unpaid_bounds, gap_bounds = _carried(reduced, x, program.lower, program.upper)
    unpaid_rows, gap_rows = _carried(-multiplier, activity, program.row_lower, program.row_upper)
    return Residual(
        primal=outside / (1.0 + scale),
        dual=max(unpaid_bounds, unpaid_rows) / (1.0 + float(np.abs(program.linear).max())),
        gap=abs(gap_bounds + gap_rows) / (1.0 + abs(program.objective(x))),
    )


def _carried(force: Floats, value: Floats, lower: Floats, upper: Floats) -> tuple[float, float]:
    """Largest force towards a missing bound, and the sum of forces times distances to the bounds that carry them."""
    bound = np.where(force > 0, lower, upper)
    there = np.isfinite(bound)
    unpaid = float(np.abs(force[~there]).max(initial=0.0))
    return unpaid, float(force[there] @ (value[there] - bound[there]))
