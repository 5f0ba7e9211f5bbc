r"""A market as one convex programme: rows, boxes and arcs.

.. math:: \min\ c'x + \tfrac12 x' H x \quad \text{s.t.}\ A x = b,\ 0 \le x \le w

Each row is a balance of a group of peers in one MTU, a limit in one MTU, or a storage's dynamics over one MTU. An arc
is an uncapped link in one MTU: :math:`A`'s column is +1 at the seller's row and -1 at the buyer's. Everything else is a
box: a piece of an asset, charging, discharging, stored energy, grid import and export, a limit's slack, a capped link;
their columns are kept as one sparse matrix. Lower bounds are shifted to zero; what cannot move is moved to :math:`b`.

Peers that links without cost or capacity join both ways have one price, and trades that go round among them are free:
they are one group here, which leaves the optimal trades bounded.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from optimization.community import Floats
from optimization.market import Indices, Market

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Variables that are not arcs.

    Attributes
    ----------
    matrix : (R, B) sparse columns of :math:`A`
    cost, curvature : (B,) linear and quadratic cost
    width : (B,) upper bound after the shift; infinity for none
    """

    matrix: sp.csc_array
    cost: Floats
    curvature: Floats
    width: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Arcs:
    """Uncapped links in every MTU, MTU by MTU in the order of the links.

    Attributes
    ----------
    seller, buyer : (M,) rows
    cost : (M,) currency per kW over an MTU
    """

    seller: Rows
    buyer: Rows
    cost: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """What the interior-point method solves.

    Attributes
    ----------
    boxes, arcs : the variables
    target : (R,) right-hand side b
    constant : currency, cost at zero: of the lower bounds that were shifted there
    balances : number of balance rows, the first ones: MTU by MTU, group by group
    first_state : the first of the storages' rows, the last ones: storage by storage, MTU by MTU
    mtu_of_row : (R,) MTU of each row
    mtus : number of MTUs
    """

    boxes: Boxes
    arcs: Arcs
    target: Floats
    constant: float
    balances: int
    first_state: int
    mtu_of_row: Indices
    mtus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A programme, and where each part of its market stands in it.

    Attributes
    ----------
    programme : what is solved
    group : (N,) group of each peer
    groups : their number
    limit_row : (G, T) row of each limit, -1 where it does not bind
    arc_link : link of each arc of one MTU
    capped_link : links that are boxes
    kind, part, mtu : (V,) of every box variable before fixed ones are left out: what it is, ``PIECE`` to ``CAPPED``,
        which, when
    shift, sign : (V,) its market value is ``shift + sign * x``
    free : (V,) index among the boxes, -1 for what cannot move
    """

    programme: Programme
    group: Indices
    groups: int
    limit_row: Indices
    arc_link: Indices
    capped_link: Indices
    kind: npt.NDArray[np.int8]
    part: Indices
    mtu: Indices
    shift: Floats
    sign: Floats
    free: Indices


PIECE, IMPORT, EXPORT, CHARGE, DISCHARGE, ENERGY, SLACK, CAPPED = range(8)


@dataclass(slots=True)
class _Columns:
    """Collects box variables and their entries in the matrix."""

    kind: list[npt.NDArray[np.int8]]
    part: list[Indices]
    mtu: list[Indices]
    lower: list[Floats]
    upper: list[Floats]
    cost: list[Floats]
    curvature: list[Floats]
    rows: list[Indices]
    columns: list[Indices]
    values: list[Floats]
    count: int = 0

    def add(
        self,
        kind: int,
        *,
        parts: Indices,
        mtus: int,
        lower: Floats,
        upper: Floats,
        cost: Floats,
        curvature: Floats | float = 0.0,
    ) -> Indices:
        """(parts, T) column numbers of new variables."""
        shape = (parts.size, mtus)
        for store, values in (
            (self.lower, lower),
            (self.upper, upper),
            (self.cost, cost),
            (self.curvature, curvature),
        ):
            store.append(np.broadcast_to(values, shape).ravel().astype(np.float64))
        self.kind.append(np.full(parts.size * mtus, kind, dtype=np.int8))
        self.part.append(np.repeat(parts, mtus))
        self.mtu.append(np.tile(np.arange(mtus), parts.size))
        numbers = (self.count + np.arange(parts.size * mtus)).reshape(shape)
        self.count += parts.size * mtus
        return numbers

    def enter(self, rows: Indices, columns: Indices, values: Floats | float) -> None:
        """Entries of the matrix."""
        rows, columns = np.broadcast_arrays(rows, columns)
        self.rows.append(rows.ravel())
        self.columns.append(columns.ravel())
        self.values.append(np.broadcast_to(np.asarray(values, dtype=np.float64), rows.shape).ravel())


def lay_out(market: Market) -> Layout:
    """The programme of a market."""
    mtus, hours = market.mtus, market.hours
    groups, group = _free_groups(market)
    binding = np.array([np.isfinite(g.lower) | np.isfinite(g.upper) for g in market.limits], dtype=bool).reshape(
        -1, mtus
    )
    storages = market.stores
    first_limit = groups * mtus
    first_state = first_limit + int(binding.sum())
    limit_row = np.where(binding, first_limit + np.cumsum(binding).reshape(binding.shape) - 1, -1).astype(np.int64)
    row_count = first_state + storages.size * mtus
    at = np.arange(mtus)

    def balance(peers: Indices) -> Indices:
        """(peers, T) rows of the peers' groups."""
        return group[peers][:, None] + groups * at

    columns = _Columns([], [], [], [], [], [], [], [], [], [])

    def consume(peers: Indices, numbers: Indices, sign: float) -> None:
        """Enters variables as consumption of peers, into their balances and limits."""
        columns.enter(balance(peers), numbers, sign)
        for limit, rows in zip(market.limits, limit_row, strict=True):
            inside, bound = np.isin(peers, limit.members), rows >= 0
            columns.enter(rows[bound], numbers[np.ix_(inside, bound)], sign)

    _add_pieces(market, columns, consume)
    for kind, price, sign in ((IMPORT, market.import_price, 1.0), (EXPORT, market.export_price, -1.0)):
        peers = np.flatnonzero(np.isfinite(price).any(axis=1))
        numbers = columns.add(
            kind,
            parts=peers,
            mtus=mtus,
            lower=np.zeros(1),
            upper=np.where(np.isfinite(price[peers]), np.inf, 0.0),
            cost=hours * sign * np.where(np.isfinite(price[peers]), price[peers], 0.0),
        )
        columns.enter(balance(peers), numbers, -sign)
    _add_storages(market, columns, consume, first_state)
    for g, (limit, rows) in enumerate(zip(market.limits, limit_row, strict=True)):
        bound = rows >= 0
        numbers = columns.add(
            SLACK,
            parts=np.array([g]),
            mtus=mtus,
            lower=np.where(bound, limit.lower, 0.0),
            upper=np.where(bound, limit.upper, 0.0),
            cost=np.zeros(1),
        )
        columns.enter(rows[bound], numbers[0, bound], -1.0)
    links = market.links
    outside = group[links.seller] != group[links.buyer]
    capped = np.flatnonzero(outside & np.isfinite(links.capacity))
    arc_link = np.flatnonzero(outside & np.isinf(links.capacity))
    numbers = columns.add(
        CAPPED,
        parts=capped,
        mtus=mtus,
        lower=np.zeros(1),
        upper=links.capacity[capped][:, None],
        cost=hours * links.cost[capped][:, None],
    )
    columns.enter(balance(links.seller[capped]), numbers, 1.0)
    columns.enter(balance(links.buyer[capped]), numbers, -1.0)
    arcs = Arcs(
        seller=balance(links.seller[arc_link]).T.ravel().astype(np.int32),
        buyer=balance(links.buyer[arc_link]).T.ravel().astype(np.int32),
        cost=np.tile(hours * links.cost[arc_link], mtus),
    )
    target = np.zeros(row_count)
    target[first_state::mtus] = storages.initial
    return _close(
        columns,
        arcs,
        target,
        limit_row=limit_row,
        first_state=first_state,
        group=group,
        groups=groups,
        arc_link=arc_link,
        capped_link=capped,
        mtus=mtus,
    )


def _add_pieces(market: Market, columns: _Columns, consume: object) -> None:
    assets, hours = market.assets, market.hours
    numbers = columns.add(
        PIECE,
        parts=np.arange(assets.piece_asset.size),
        mtus=market.mtus,
        lower=assets.lower,
        upper=assets.upper,
        cost=hours * assets.slope,
        curvature=hours * assets.curvature,
    )
    consume(assets.piece_peer, numbers, 1.0)  # type: ignore[operator]


def _add_storages(market: Market, columns: _Columns, consume: object, first_state: int) -> None:
    storages, hours, mtus = market.stores, market.hours, market.mtus
    if not storages.size:
        return
    parts = np.arange(storages.size)
    state = first_state + parts[:, None] * mtus + np.arange(mtus)
    charge = columns.add(
        CHARGE, parts=parts, mtus=mtus, lower=np.zeros(1), upper=storages.max_charge[:, None], cost=np.zeros(1)
    )
    consume(storages.peer, charge, 1.0)  # type: ignore[operator]
    columns.enter(state, charge, -hours * storages.charge_efficiency[:, None])
    discharge = columns.add(
        DISCHARGE,
        parts=parts,
        mtus=mtus,
        lower=np.zeros(1),
        upper=storages.max_discharge[:, None],
        cost=hours * storages.cycle_cost[:, None],
    )
    consume(storages.peer, discharge, -1.0)  # type: ignore[operator]
    columns.enter(state, discharge, hours / storages.discharge_efficiency[:, None])
    energy = columns.add(
        ENERGY, parts=parts, mtus=mtus, lower=storages.lower, upper=storages.upper, cost=storages.state_cost
    )
    columns.enter(state, energy, 1.0)
    columns.enter(state[:, 1:], energy[:, :-1], -1.0)


def _close(
    columns: _Columns,
    arcs: Arcs,
    target: Floats,
    *,
    limit_row: Indices,
    first_state: int,
    group: Indices,
    groups: int,
    arc_link: Indices,
    capped_link: Indices,
    mtus: int,
) -> Layout:
    """Shifts lower bounds to zero and moves what cannot move to the right-hand side."""
    lower, upper, cost, curvature = (
        np.concatenate(parts) for parts in (columns.lower, columns.upper, columns.cost, columns.curvature)
    )
    matrix = sp.csc_array(
        (np.concatenate(columns.values), (np.concatenate(columns.rows), np.concatenate(columns.columns))),
        shape=(target.size, columns.count),
    )
    # A limit with no lower bound is measured from its upper one.
    sign = np.where(np.isinf(lower), -1.0, 1.0)
    shift = np.where(np.isinf(lower), upper, lower)
    width = upper - lower
    movable = width > 0
    free = np.where(movable, np.cumsum(movable) - 1, -1)
    shifted = cost + curvature * shift
    kept = matrix[:, movable] @ sp.diags_array(sign[movable])
    boxes = Boxes(
        matrix=sp.csc_array(kept),
        cost=(sign * shifted)[movable],
        curvature=curvature[movable],
        width=width[movable],
    )
    return Layout(
        programme=Programme(
            boxes=boxes,
            arcs=arcs,
            target=target - matrix @ shift,
            constant=float((cost * shift + 0.5 * curvature * shift**2).sum()),
            balances=groups * mtus,
            first_state=first_state,
            mtu_of_row=np.concatenate(
                [
                    np.repeat(np.arange(mtus), groups),
                    np.broadcast_to(np.arange(mtus), limit_row.shape)[limit_row >= 0],
                    np.tile(np.arange(mtus), (target.size - first_state) // mtus),
                ]
            ),
            mtus=mtus,
        ),
        group=group,
        groups=groups,
        limit_row=limit_row,
        arc_link=arc_link,
        capped_link=capped_link,
        kind=np.concatenate(columns.kind),
        part=np.concatenate(columns.part),
        mtu=np.concatenate(columns.mtu),
        shift=shift,
        sign=sign,
        free=free,
    )


def _free_groups(market: Market) -> tuple[int, Indices]:
    """Number of groups and group of each peer, numbered in the order of their first peers."""
    links, size = market.links, len(market.peers)
    free = np.isinf(links.capacity) & (links.cost == 0)
    graph = sp.coo_array((np.ones(free.sum()), (links.seller[free], links.buyer[free])), shape=(size, size))
    count, label = connected_components(graph.tocsr(), directed=True, connection="strong")
    first = np.full(count, size)
    np.minimum.at(first, label, np.arange(size))
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(count)
    return int(count), rank[label]
