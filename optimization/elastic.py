r"""The elastic problem of a market: the least that would have to give for it to have a feasible clearing.

Every market can be cleared, at a price for what gives: peers may consume less than they must (never below nothing) and
produce less than they must, limits may be widened, storages may miss their energy bounds. Without the market's costs

.. math::

    \min\ & \Delta \sum_{nt} (s^+_{nt} + s^-_{nt}) + \omega_g \Delta \sum_{gt} (y^+_{gt} + y^-_{gt})
            + \omega_s \sum_{st} (E^+_{st} + E^-_{st}) \\
    & q_{nt} = p_{nt} - s^+_{nt} + s^-_{nt} + \sum_{s \in n} (c_{st} - d_{st})
             = \sum_{l \to n} e_{lt} - \sum_{n \to l} e_{lt} + i_{nt} - x_{nt} \\
    & \sum_{n \in g} q_{nt} = y_{gt} + y^+_{gt} - y^-_{gt} \\
    & E_{st} + E^+_{st} - E^-_{st} = E_{s,t-1} + E^+_{s,t-1} - E^-_{s,t-1}
      + \Delta (\eta^c_s c_{st} - d_{st} / \eta^d_s)

with :math:`p_{nt}, y_{gt}, E_{st}` within the market's bounds. It is a linear programme, kept small: the pieces of a
peer are one variable, since only their sum matters; peers that can trade with each other freely both ways, directly or
through others, share one balance. Powers are scaled, energies are in power over one MTU.

References
----------
Chinneck, Dravnieks (1991), "Locating minimal infeasible constraint sets in linear programs", ORSA J. Computing 3(2):
elastic programming.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog
from scipy.sparse.csgraph import connected_components

from optimization.community import Floats
from optimization.errors import SolverError
from optimization.market import Indices, Links, Market

LIMIT_WEIGHT = 1 - 1 / 64
STORAGE_WEIGHT = 1 - 1 / 128
"""Where a peer's kWh weighs 1: among equal remedies a limit is named first, then a storage, then a peer."""

TOLERANCE = 1e-9
"""Relative to the scale of powers: what HiGHS is asked for, and below which nothing has to give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticAnswer:
    """What gives, and the duals of the elastic problem over some MTUs, W of them.

    Attributes
    ----------
    peer : (N, W) kW; positive where a peer consumes less than it must, negative where it produces less
    limit : (G, W) kW; positive where more consumption is allowed than a limit has, negative where more production
    storage : (S, W) kWh; positive where a storage holds less than its least energy, negative where more than its most
    price, limit_price, state_price : (N, W), (G, W), (S, W) duals, in the weight of a kWh
    """

    peer: Floats
    limit: Floats
    storage: Floats
    price: Floats
    limit_price: Floats
    state_price: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Variables of one kind: their columns in one MTU's rows, their bounds and their weight.

    Attributes
    ----------
    columns : (rows, n) coefficients in one MTU's balances, limits and storages' dynamics, in this order
    lower, upper : (n, T) kW
    weight : of one unit in the objective
    carried : whether the dynamics of the next MTU start from it
    """

    columns: Any
    lower: Floats
    upper: Floats
    weight: float = 0.0
    carried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """The elastic problem of a market, its matrices built once for all MTUs.

    Attributes
    ----------
    market : the problem
    node : (N,) the balance that each peer has a part in
    rows : of one MTU: balances, limits, storages
    blocks : the variables of one MTU by kind
    """

    market: Market
    node: Indices
    rows: tuple[int, int, int]
    blocks: dict[str, _Block]

    @classmethod
    def of(cls, market: Market) -> "Elastic":
        """The elastic problem of a market."""
        nodes, node = _nodes(market.links, len(market.peers))
        rows = (nodes, len(market.limits), market.stores.size)
        return cls(market=market, node=node, rows=rows, blocks=_blocks(market, node, rows))

    def solve(self, window: Indices, scale: float) -> ElasticAnswer | None:
        """What has to give in consecutive MTUs, or None where nothing does.

        Parameters
        ----------
        window : (W,) MTUs; all of them where the market has storages
        scale : kW, positive: what the powers are divided by

        Raises
        ------
        SolverError
            If HiGHS ends without an optimum.
        """
        blocks = self.blocks.values()
        lower = np.vstack([block.lower[:, window] for block in blocks]).T.ravel() / scale
        upper = np.vstack([block.upper[:, window] for block in blocks]).T.ravel() / scale
        weight = np.tile(np.repeat([b.weight for b in blocks], [b.lower.shape[0] for b in blocks]), window.size)
        before = np.zeros((window.size, sum(self.rows)))
        before[0, sum(self.rows[:2]) :] = self.market.stores.initial / self.market.hours / scale
        kept = (lower < upper) | (lower != 0)
        if not kept.any():
            return None
        result = linprog(
            weight[kept],
            A_eq=self._matrix(window.size)[:, kept],
            b_eq=before.ravel(),
            bounds=np.column_stack([lower, upper])[kept],
            method="highs",
            options={"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE},
        )
        if result.status != 0:
            raise SolverError(f"HiGHS: got {result.message!r} for an elastic problem, which always has an optimum")
        if result.fun <= TOLERANCE:
            return None
        values = np.zeros(kept.size)
        values[kept] = result.x * scale
        return self._answer(values.reshape(window.size, -1), -result.eqlin.marginals.reshape(window.size, -1))

    def _matrix(self, mtus: int) -> Any:
        """The coefficients over several MTUs, in which only what is stored leads from one to the next."""
        one = sp.hstack([block.columns for block in self.blocks.values()])
        stored = sp.hstack([block.columns * float(block.carried) for block in self.blocks.values()])
        whole = sp.kron(sp.eye_array(mtus), one) - sp.kron(sp.eye_array(mtus, k=-1), stored)
        return sp.csc_array(whole)

    def _answer(self, values: Floats, duals: Floats) -> ElasticAnswer:
        """Tables from the programme's values (W, columns) and duals (W, rows)."""
        ends = list(accumulate(block.lower.shape[0] for block in self.blocks.values()))
        tables = np.split(values.T, ends[:-1])
        value = dict(zip(self.blocks, tables, strict=True))
        balances, limits, _ = np.split(np.arange(duals.shape[1]), np.cumsum(self.rows)[:2])
        return ElasticAnswer(
            peer=value["consumed less"] - value["produced less"],
            limit=value["limit raised"] - value["limit lowered"],
            storage=(value["energy missing"] - value["energy beyond"]) * self.market.hours,
            price=duals.T[balances][self.node],
            limit_price=duals.T[limits],
            state_price=duals.T[sum(self.rows[:2]) :],
        )


def consumption_bounds(market: Market) -> tuple[Floats, Floats]:
    """(N, T) kW least and most that the pieces of each peer can consume together."""
    lower, upper = np.zeros((2, len(market.peers), market.mtus))
    np.add.at(lower, market.assets.piece_peer, market.assets.lower)
    np.add.at(upper, market.assets.piece_peer, market.assets.upper)
    return lower, upper


def _nodes(links: Links, peers: int) -> tuple[int, Indices]:
    """Number of balances, and the (N,) balance of each peer: strongly connected components of the uncapped links."""
    free = np.isinf(links.capacity)
    graph = sp.csr_array((np.ones(free.sum()), (links.seller[free], links.buyer[free])), shape=(peers, peers))
    nodes, node = connected_components(graph, directed=True, connection="strong")
    return int(nodes), node.astype(np.int64)


def _links_between(links: Links, node: Indices) -> tuple[Indices, Indices, Floats]:
    """Seller's and buyer's balance and (L',) capacity in kW of the links between balances, parallel ones as one."""
    seller, buyer = node[links.seller], node[links.buyer]
    between = seller != buyer
    key, which = np.unique(seller[between] * node.size + buyer[between], return_inverse=True)
    capacity = np.bincount(which, weights=links.capacity[between], minlength=key.size)
    return key // node.size, key % node.size, capacity.astype(np.float64)


def _selection(rows: Indices, height: int) -> Any:
    """(height, n) a one in each column, in the given row."""
    return sp.csr_array((np.ones(rows.size), (rows, np.arange(rows.size))), shape=(height, rows.size))


def _memberships(market: Market) -> Any:
    """(G, N) ones where a peer is a member of a limit."""
    sizes = [limit.members.size for limit in market.limits]
    rows = np.repeat(np.arange(len(sizes)), sizes)
    members = np.concatenate([np.zeros(0, dtype=np.int64), *(limit.members for limit in market.limits)])
    return sp.csr_array((np.ones(rows.size), (rows, members)), shape=(len(sizes), len(market.peers)))


def _blocks(market: Market, node: Indices, rows: tuple[int, int, int]) -> dict[str, _Block]:
    """The variables of one MTU by kind, their columns being the derivatives of the rows above."""
    stores, mtus = market.stores, market.mtus

    def columns(*, balance: Any = None, limit: Any = None, state: Any = None) -> Any:
        parts = (balance, limit, state)
        width = next(part.shape[1] for part in parts if part is not None)
        return sp.vstack(
            [sp.csr_array((height, width)) if part is None else part for part, height in zip(parts, rows, strict=True)]
        )

    def up_to(upper: Floats, columns: Any, *, weight: float = 0.0, carried: bool = False) -> _Block:
        upper = np.array(np.broadcast_to(upper, (upper.shape[0], mtus)))
        return _Block(columns=columns, lower=np.zeros_like(upper), upper=upper, weight=weight, carried=carried)

    peers = columns(balance=_selection(node, rows[0]), limit=_memberships(market))
    lower, upper = consumption_bounds(market)
    seller, buyer, capacity = _links_between(market.links, node)
    bought = columns(balance=_selection(seller, rows[0]) - _selection(buyer, rows[0]))
    grid = columns(balance=sp.eye_array(rows[0]))
    buys, sells = (np.zeros((rows[0], mtus)) for _ in range(2))
    np.maximum.at(buys, node, np.where(np.isfinite(market.import_price), np.inf, 0.0))
    np.maximum.at(sells, node, np.where(np.isfinite(market.export_price), np.inf, 0.0))
    at_owner = peers @ _selection(stores.peer, len(market.peers))
    stored = columns(state=sp.eye_array(rows[2]))
    charged = stored @ sp.diags_array(stores.charge_efficiency, shape=(rows[2], rows[2]))
    discharged = stored @ sp.diags_array(1 / stores.discharge_efficiency, shape=(rows[2], rows[2]))
    total = columns(limit=-sp.eye_array(rows[1]))
    least = np.array([limit.lower for limit in market.limits]).reshape(rows[1], mtus)
    most = np.array([limit.upper for limit in market.limits]).reshape(rows[1], mtus)
    any_power, any_energy = np.full((rows[1], 1), np.inf), np.full((rows[2], 1), np.inf)
    least_energy, most_energy = stores.lower / market.hours, stores.upper / market.hours
    return {
        "consumption": _Block(columns=peers, lower=lower, upper=upper),
        "consumed less": up_to(np.maximum(lower, 0.0), -peers, weight=1.0),
        "produced less": up_to(np.maximum(-upper, 0.0), peers, weight=1.0),
        "traded": up_to(capacity[:, None], bought),
        "imported": up_to(buys, -grid),
        "exported": up_to(sells, grid),
        "charge": up_to(stores.max_charge[:, None], at_owner - charged),
        "discharge": up_to(stores.max_discharge[:, None], discharged - at_owner),
        "energy": _Block(columns=stored, lower=least_energy, upper=most_energy, carried=True),
        "energy missing": up_to(least_energy, -stored, weight=STORAGE_WEIGHT, carried=True),
        "energy beyond": up_to(any_energy, stored, weight=STORAGE_WEIGHT, carried=True),
        "total": _Block(columns=total, lower=least, upper=most),
        "limit raised": up_to(any_power, total, weight=LIMIT_WEIGHT),
        "limit lowered": up_to(any_power, -total, weight=LIMIT_WEIGHT),
    }
