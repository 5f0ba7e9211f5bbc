"""Checks a market's clearing, or the proof that there is none, from the problem alone, with no code of the solvers.

Everything is recomputed: each bound, each balance, what is stored, each limit, the objective; and from the prices how
far each variable is from its best, and a lower bound that no clearing can beat.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from optimization.community import Floats
from optimization.market import Indices, Limit, Market
from optimization.market_bound import bound_cost, without_costs
from optimization.market_clearing import MarketClearing, MarketConflict

FEASIBILITY_TOLERANCE = 1e-6
"""Relative to the market's power scale: a milliwatt of a kilowatt, below what a setpoint or a meter can express."""

LEAST_PRICE = 1e-3
"""Currency/kWh: where energy is worth less than this, or nothing, money's rounding is still relative to this."""

INFINITY = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketCertificate:
    """What is known about the quality of a market's clearing.

    Attributes
    ----------
    primal_residual : kW, the largest violation of any rule (of energies: as power over one MTU); infinity where
        anything is NaN
    violated : the rule that is violated most, for people; empty where none is beyond the tolerance
    tolerance : kW up to which a violation counts as rounding: ``FEASIBILITY_TOLERANCE`` times the power scale
    dual_residual : currency/kWh, the largest reduced cost that pays for moving a variable further than its bounds let
        it, weighted with the distance that is left to the bound, in units of the power scale and at most 1; so zero
        exactly at an optimum. At the prices as they are given, before any projection.
    objective : currency, recomputed
    lower_bound : currency below which no feasible clearing can cost, from the prices; minus infinity where they are
        not numbers
    gap : distance between objective and lower bound over max(|objective|, 1e-9); infinity where either is not a
        number. A clearing within the tolerance, yet not exactly feasible, may lie below the bound: then this says how
        far.
    stake : currency, the largest power over one MTU at the highest price: what money's rounding is relative to where
        the objective is next to zero
    """

    primal_residual: float
    violated: str
    tolerance: float
    dual_residual: float
    objective: float
    lower_bound: float
    gap: float
    stake: float

    @property
    def feasible(self) -> bool:
        """Whether every rule holds within the tolerance."""
        return self.primal_residual <= self.tolerance

    def optimal(self, tolerance: float) -> bool:
        """Whether a feasible clearing is proven to be within a relative tolerance of the best.

        The gap is relative to the objective, so that where costs and utilities cancel it says nothing: there the
        distance to the bound is held against the stake.
        """
        distance = abs(self.objective - self.lower_bound)
        return self.feasible and (self.gap <= tolerance or distance <= tolerance * self.stake)


def certify(market: Market, clearing: MarketClearing) -> MarketCertificate:
    """The certificate of a clearing.

    Parameters
    ----------
    market : the problem that was to be solved
    clearing : the answer; tables of the wrong shape or with NaN make the residuals infinite

    Returns
    -------
    MarketCertificate
    """
    if misshapen := _misshapen(market, clearing):
        return MarketCertificate(
            primal_residual=INFINITY,
            violated=misshapen,
            tolerance=FEASIBILITY_TOLERANCE,
            dual_residual=INFINITY,
            objective=float("nan"),
            lower_bound=-INFINITY,
            gap=INFINITY,
            stake=0.0,
        )
    scale = _power_scale(market, clearing)
    tolerance = FEASIBILITY_TOLERANCE * scale
    with np.errstate(invalid="ignore", over="ignore"):
        stake = market.hours * scale * _price_scale(market, clearing)
        name, worst = _worst_rule(market, clearing)
        objective = cost_of(market, clearing)
        dual_residual = max(_worst(table) for table in _reduced_cost_violations(market, clearing, scale))
    priced = all(np.isfinite(t).all() for t in (clearing.price, clearing.limit_price, clearing.state_price))
    lower_bound = (
        bound_cost(market, clearing.price, clearing.limit_price, clearing.state_price) if priced else -INFINITY
    )
    return MarketCertificate(
        primal_residual=worst,
        violated=name if worst > tolerance else "",
        tolerance=tolerance,
        dual_residual=dual_residual,
        objective=objective,
        lower_bound=lower_bound,
        gap=_gap(objective, lower_bound),
        stake=stake,
    )


def check_conflict(market: Market, conflict: MarketConflict) -> float:
    """The margin by which a market is proven to have no feasible clearing.

    Farkas' lemma by duality: with all costs zero any feasible clearing costs nothing, so that a positive lower bound
    is a proof that there is none.

    Parameters
    ----------
    market : the problem
    conflict : the alleged proof; of it only the prices count

    Returns
    -------
    kWh times the unit of the prices; the proof stands where it is positive. Minus infinity where the prices are
    misshapen or not numbers.
    """
    tables = (conflict.price, conflict.limit_price, conflict.state_price)
    rows = (len(market.peers), len(market.limits), market.stores.size)
    if not all(
        table.shape == (count, market.mtus) and np.isfinite(table).all()
        for table, count in zip(tables, rows, strict=True)
    ):
        return -INFINITY
    return bound_cost(without_costs(market), *tables)


def cost_of(market: Market, clearing: MarketClearing) -> float:
    """The objective of a clearing in currency; what cannot be imported or exported counts nothing here."""
    assets, stores = market.assets, market.stores
    power_cost = (
        np.sum(assets.slope * clearing.piece)
        + np.sum(assets.curvature * clearing.piece**2) / 2
        + np.sum(market.links.cost[:, None] * clearing.trade)
        + np.sum(np.where(np.isfinite(market.import_price), market.import_price, 0.0) * clearing.imported)
        - np.sum(np.where(np.isfinite(market.export_price), market.export_price, 0.0) * clearing.exported)
        + np.sum(stores.cycle_cost[:, None] * clearing.discharge)
    )
    return float(market.hours * power_cost + np.sum(stores.state_cost * _stored(market, clearing)))


def _misshapen(market: Market, clearing: MarketClearing) -> str:
    """The first table that has not one row for each part and one column for each MTU; empty where all have."""
    peers, limits, storages = len(market.peers), len(market.limits), market.stores.size
    for name, rows in (
        ("piece", market.assets.piece_asset.size),
        ("trade", market.links.size),
        ("imported", peers),
        ("exported", peers),
        ("charge", storages),
        ("discharge", storages),
        ("price", peers),
        ("limit_price", limits),
        ("state_price", storages),
    ):
        if getattr(clearing, name).shape != (rows, market.mtus):
            return f"shape of {name}"
    return ""


def _power_scale(market: Market, clearing: MarketClearing) -> float:
    """kW: the largest bound or, where that is smaller, the largest power; at least 1.

    A bound that stands for "any amount" says nothing about how exact the powers should be; nor do trades, which may go
    round in circles where links cost nothing. Of stores and the grid only what they take or give counts: who charges
    and discharges, or imports and exports, any amount at once moves no more power by it.
    """
    assets, links, stores = market.assets, market.links, market.stores
    bounds = [assets.lower, assets.upper, links.capacity, stores.max_charge, stores.max_discharge]
    bounds += [bound for limit in market.limits for bound in (limit.lower, limit.upper)]
    with np.errstate(invalid="ignore", over="ignore"):
        powers = [clearing.piece, clearing.imported - clearing.exported, clearing.charge - clearing.discharge]
    return max(1.0, min(_largest(bounds), _largest(powers)))


def _price_scale(market: Market, clearing: MarketClearing) -> float:
    """Currency/kWh: the highest price or, where that is smaller, the highest marginal cost or utility of an asset."""
    marginal = market.assets.slope + market.assets.curvature * clearing.piece
    return max(LEAST_PRICE, min(_largest([clearing.price]), _largest([marginal])))


def _largest(tables: list[Floats]) -> float:
    return max(float(np.max(np.abs(t), initial=0.0, where=np.isfinite(t))) for t in tables)


def _worst(table: Floats) -> float:
    """The largest entry, at least 0; infinity where anything is NaN."""
    worst = float(np.max(table, initial=0.0))
    return INFINITY if np.isnan(worst) else worst


def _net(market: Market, clearing: MarketClearing) -> Floats:
    """(N, T) kW, net consumption of each peer."""
    net = _summed(clearing.piece, market.assets.piece_peer, market)
    return net + _summed(clearing.charge - clearing.discharge, market.stores.peer, market)


def _summed(rows: Floats, peer: Indices, market: Market) -> Floats:
    """(N, T) sums of the rows of each peer."""
    columns = [np.bincount(peer, weights=column, minlength=len(market.peers)) for column in rows.T]
    return np.array(columns, dtype=np.float64).T


def _stored(market: Market, clearing: MarketClearing) -> Floats:
    """(S, T) kWh in each storage at the end of each MTU."""
    stores = market.stores
    inflow = (
        stores.charge_efficiency[:, None] * clearing.charge - clearing.discharge / stores.discharge_efficiency[:, None]
    )
    return stores.initial[:, None] + market.hours * np.cumsum(inflow, axis=1)


Rule = tuple[Floats, Callable[[int], str]]
"""By how many kW each row breaks a rule in each MTU (negative where it does not), and the name of a row."""


def _worst_rule(market: Market, clearing: MarketClearing) -> tuple[str, float]:
    """Name and violation in kW of the rule that is violated most."""
    worst, where = 0.0, ""
    for table, name in _rules(market, clearing):
        excess = np.where(np.isnan(table), INFINITY, table)
        if excess.size and excess.max() > worst:
            row, mtu = np.unravel_index(np.argmax(excess), excess.shape)
            worst, where = float(excess[row, mtu]), f"{name(int(row))}, MTU {mtu}"
    return where, worst


def _rules(market: Market, clearing: MarketClearing) -> Iterator[Rule]:
    assets, links, stores, peers = market.assets, market.links, market.stores, market.peers

    def asset(k: int) -> str:
        a = assets.piece_asset[k]
        return f"bounds of asset {peers[assets.peer[a]]}/{assets.names[a]}"

    def link(kind: str) -> Callable[[int], str]:
        return lambda row: f"{kind} of link {peers[links.seller[row]]} -> {peers[links.buyer[row]]}"

    def peer(kind: str) -> Callable[[int], str]:
        return lambda row: f"{kind} of peer {peers[row]}"

    def storage(kind: str) -> Callable[[int], str]:
        return lambda row: f"{kind} of storage {peers[stores.peer[row]]}/{stores.names[row]}"

    net = _net(market, clearing)
    bought = _summed(clearing.trade, links.buyer, market) - _summed(clearing.trade, links.seller, market)
    yield np.abs(net - bought - clearing.imported + clearing.exported), peer("balance")
    yield np.maximum(assets.lower - clearing.piece, clearing.piece - assets.upper), asset
    yield -clearing.trade, link("sign")
    yield clearing.trade - links.capacity[:, None], link("capacity")
    yield _outside_grid(clearing.imported, market.import_price), peer("import")
    yield _outside_grid(clearing.exported, market.export_price), peer("export")
    yield np.maximum(-clearing.charge, clearing.charge - stores.max_charge[:, None]), storage("charging power")
    yield (
        np.maximum(-clearing.discharge, clearing.discharge - stores.max_discharge[:, None]),
        storage("discharging power"),
    )
    stored = _stored(market, clearing)
    yield np.maximum(stores.lower - stored, stored - stores.upper) / market.hours, storage("stored energy")
    for limit, total in zip(market.limits, _totals(market, net), strict=True):
        yield np.maximum(limit.lower - total, total - limit.upper)[None, :], _named(limit)


def _named(limit: Limit) -> Callable[[int], str]:
    return lambda _: f"limit {limit.name}"


def _totals(market: Market, net: Floats) -> Iterator[Floats]:
    """(T,) kW for each limit: what its members consume together."""
    return (net[limit.members].sum(axis=0) for limit in market.limits)


def _outside_grid(power: Floats, price: Floats) -> Floats:
    """kW by which a flow to or from the grid is negative, or is at all where there is no price for it."""
    return np.where(np.isfinite(price), -power, np.abs(power))


def _gap(objective: float, lower_bound: float) -> float:
    if not (np.isfinite(objective) and np.isfinite(lower_bound)):
        return INFINITY
    return abs(objective - lower_bound) / max(abs(objective), 1e-9)


def _pays(reduced: Floats, below: Floats, above: Floats) -> Floats:
    """What moving a variable on would still pay, in currency/kWh, by complementarity.

    A positive reduced cost calls for the lower bound and a negative one for the upper, so each counts with the
    distance that is left to that bound, cut at one.

    Parameters
    ----------
    reduced : currency/kWh, derivative of the Lagrangian
    below, above : distance to the lower and the upper bound in units of the power scale, infinity without a bound
    """
    left = np.where(reduced > 0, below, above)
    return np.asarray(np.abs(reduced) * np.clip(left, 0.0, 1.0))


def _reduced_cost_violations(market: Market, clearing: MarketClearing, scale: float) -> Iterator[Floats]:
    """What each kind of variable could still gain at the clearing's prices, in currency/kWh; zero at an optimum."""
    assets, links, stores = market.assets, market.links, market.stores
    price, state = clearing.price, clearing.state_price
    seen = price.copy()
    for limit, priced in zip(market.limits, clearing.limit_price, strict=True):
        seen[limit.members] += priced
    net = _net(market, clearing)

    def violation(reduced: Floats, value: Floats, lower: Floats | float, upper: Floats | float) -> Floats:
        return _pays(reduced, (value - lower) / scale, (upper - value) / scale)

    marginal = assets.slope + assets.curvature * clearing.piece
    yield violation(marginal + seen[assets.piece_peer], clearing.piece, assets.lower, assets.upper)
    difference = price[links.seller] - price[links.buyer]
    yield violation(links.cost[:, None] + difference, clearing.trade, 0.0, links.capacity[:, None])
    buys, sells = np.isfinite(market.import_price), np.isfinite(market.export_price)
    yield violation(np.where(buys, market.import_price, price) - price, clearing.imported, 0.0, INFINITY)
    yield violation(price - np.where(sells, market.export_price, price), clearing.exported, 0.0, INFINITY)
    for limit, priced, total in zip(market.limits, clearing.limit_price, _totals(market, net), strict=True):
        yield violation(-priced, total, limit.lower, limit.upper)
    if not stores.size:
        return
    at_peer = seen[stores.peer]
    charged = at_peer - stores.charge_efficiency[:, None] * state
    yield violation(charged, clearing.charge, 0.0, stores.max_charge[:, None])
    discharged = stores.cycle_cost[:, None] - at_peer + state / stores.discharge_efficiency[:, None]
    yield violation(discharged, clearing.discharge, 0.0, stores.max_discharge[:, None])
    later = np.hstack([state[:, 1:], np.zeros((stores.size, 1))])
    stored = _stored(market, clearing)
    slack = (stored - stores.lower) / market.hours, (stores.upper - stored) / market.hours
    yield _pays(stores.state_cost + state - later, slack[0] / scale, slack[1] / scale)
