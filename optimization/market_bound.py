r"""A lower bound on what any clearing of a market costs, from any prices, valid whatever the prices are.

Pricing the balances at :math:`\lambda`, the limits at :math:`\mu`, the storages' dynamics at :math:`\sigma` leaves a
Lagrangian that splits over the variables. With :math:`w_{nt} = \lambda_{nt} + \sum_{g \ni n} \mu_{gt}` its minimum is

.. math::

    D = \Delta \sum_t \Big( & \sum_k \min_{\underline p \le p \le \overline p} \tfrac12 a p^2 + (b + w_{nt}) p
        + \sum_l \min_{0 \le e \le \overline e} (c_l + \lambda_{\mathrm{seller}} - \lambda_{\mathrm{buyer}}) e
        - \sum_g \max_{\underline y \le y \le \overline y} \mu_{gt} y \\
      & + \sum_s \min_{0 \le c \le \overline c} (w_{nt} - \eta^c_s \sigma_{st}) c
        + \min_{0 \le d \le \overline d} (k_s - w_{nt} + \sigma_{st} / \eta^d_s) d \Big) \\
      & + \sum_{st} \min_{\underline E \le E \le \overline E} (v_{st} + \sigma_{st} - \sigma_{s,t+1}) E
        - \sum_s \sigma_{s1} E_{s0}, \qquad \sigma_{s,T+1} = 0,

and by weak duality no feasible clearing costs less (Boyd, Vandenberghe 2004, section 5.1.3). A variable without a bound
makes it minus infinity unless its reduced cost is non-negative: trades over uncapped links ask for
:math:`\lambda_{\mathrm{buyer}} \le \lambda_{\mathrm{seller}} + c_l`, the grid for
:math:`\pi^x \le \lambda \le \pi^i`. So prices are moved to where that holds, before the minimum is taken.
"""

from dataclasses import replace

import numpy as np

from optimization.community import Floats
from optimization.market import Indices, Market

LARGEST_PRICE = 1e12
"""Prices beyond are cut: three orders above any cost, and still far from overflow."""

ROUNDING = 8 * np.finfo(np.float64).eps
"""Relative to the sizes of the summands: what the arithmetic of a bound may be wrong by, and is lowered by."""


def bound_cost(market: Market, price: Floats, limit_price: Floats, state_price: Floats) -> float:
    """Lower bound on the objective of every feasible clearing of a market.

    Parameters
    ----------
    market : the problem
    price : (N, T) currency/kWh, any finite numbers
    limit_price : (G, T) currency/kWh, likewise
    state_price : (S, T) currency per kWh stored, likewise

    Returns
    -------
    Currency; finite. The best of the dual values at the given prices lowered to dual feasibility, raised to it, and
    half-way between, which is feasible too.
    """
    price, limit_price, state_price = (
        np.clip(table, -LARGEST_PRICE, LARGEST_PRICE) for table in (price, limit_price, state_price)
    )
    lowered, raised = project_prices(market, price)
    candidates = [lowered] if np.array_equal(lowered, raised) else [lowered, raised, (lowered + raised) / 2]
    return max(_dual_value(market, candidate, limit_price, state_price) for candidate in candidates)


def without_costs(market: Market) -> Market:
    """The same market with all costs zero: its bound is positive only where it has no feasible clearing."""
    assets, links, storages = market.assets, market.links, market.stores
    free = np.zeros(links.size)
    return replace(
        market,
        assets=replace(assets, slope=np.zeros_like(assets.slope), curvature=np.zeros_like(assets.curvature)),
        links=replace(links, seller_preference=free, buyer_preference=free, network_charge=free),
        import_price=np.where(np.isfinite(market.import_price), 0.0, np.inf),
        export_price=np.where(np.isfinite(market.export_price), 0.0, -np.inf),
        storages=replace(
            storages, cycle_cost=np.zeros_like(storages.cycle_cost), state_cost=np.zeros_like(storages.state_cost)
        ),
    )


def project_prices(market: Market, price: Floats) -> tuple[Floats, Floats]:
    """Prices next to given ones at which no unbounded trade pays: once by lowering, once by raising.

    Uncapped links ask that the buyer's price is at most the seller's and the link's cost, the grid that prices lie
    between export and import price. Prices are first raised to what selling to the grid is worth along links, then
    lowered to what can be had from the grid and from each other (or the other way about). The second step keeps what
    the first brought, because a market refuses a path from the grid to the grid at a profit.

    Parameters
    ----------
    market : the problem
    price : (N, T) currency/kWh, finite

    Returns
    -------
    lowered, raised : (N, T) currency/kWh
    """
    links = market.links
    free = np.isinf(links.capacity)
    seller, buyer, cost = links.seller[free], links.buyer[free], links.cost[free]

    def down(values: Floats) -> Floats:
        return _shortest(values, seller, buyer, cost)

    def up(values: Floats) -> Floats:
        return -_shortest(-values, buyer, seller, cost)

    lowered = down(np.minimum(np.maximum(price, up(market.export_price)), market.import_price))
    raised = up(np.maximum(np.minimum(price, down(market.import_price)), market.export_price))
    return lowered, raised


def _shortest(values: Floats, tail: Indices, head: Indices, cost: Floats) -> Floats:
    """The largest table not above ``values`` (N, T) in which no head is above its tail by more than the link's cost.

    Shortest paths by Bellman's relaxation, in rounds over the links out of what the last round lowered: costs are
    non-negative, so that at most N rounds change anything.
    """
    if not tail.size or not np.isfinite(values).any():
        return values
    order = np.argsort(tail, kind="stable")
    tail, head, cost = tail[order], head[order], cost[order]
    first = np.searchsorted(tail, np.arange(values.shape[0] + 1))
    shortest = np.ascontiguousarray(values.T).copy()
    for row in shortest:
        # The first round looks at every link at once, and mostly finds nothing to do.
        to, offer = head, row[tail] + cost
        for _ in range(values.shape[0]):
            lower = offer < row[to]
            if not lower.any():
                break
            to = to[lower]
            np.minimum.at(row, to, offer[lower])
            changed = np.unique(to)
            count = first[changed + 1] - first[changed]
            link = np.repeat(first[changed] - np.cumsum(count) + count, count) + np.arange(count.sum())
            to, offer = head[link], np.repeat(row[changed], count) + cost[link]
    return np.ascontiguousarray(shortest.T)


def _dual_value(market: Market, price: Floats, limit_price: Floats, state_price: Floats) -> float:
    """The dual function at prices that are dual feasible for what is unbounded, less what rounding may have added."""
    seen = price.copy()
    for limit, priced in zip(market.limits, limit_price, strict=True):
        seen[limit.members] += _held(priced, limit.lower, limit.upper)
    parts = [
        _pieces_part(market, seen),
        _links_part(market, price),
        _limits_part(market, limit_price),
        _storages_part(market, seen, state_price),
    ]
    return float(sum(value for value, _ in parts) - ROUNDING * sum(size for _, size in parts))


Part = tuple[float, float]
"""A summand of the dual function, and the sum of the sizes of what was added up for it: the scale of its rounding."""


def _box(slope: Floats, size: Floats, lower: Floats, upper: Floats) -> Part:
    """The minimum of a linear function over a box; ``size`` bounds the numbers that ``slope`` was computed from."""
    at = np.where(slope > 0, lower, upper)
    return float(np.sum(slope * at)), float(np.sum(size * np.abs(at)))


def _pieces_part(market: Market, seen: Floats) -> Part:
    assets = market.assets
    priced = seen[assets.piece_peer]
    slope, curvature = assets.slope + priced, assets.curvature
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        flat = np.clip(-slope / curvature, assets.lower, assets.upper)
    at = np.where(curvature > 0, flat, np.where(slope > 0, assets.lower, assets.upper))
    bent = curvature * at**2 / 2
    size = (np.abs(assets.slope) + np.abs(priced)) * np.abs(at) + bent
    return market.hours * float(np.sum(slope * at + bent)), market.hours * float(np.sum(size))


def _links_part(market: Market, price: Floats) -> Part:
    links = market.links
    capped = np.isfinite(links.capacity)
    if not capped.any():
        return 0.0, 0.0
    cost, capacity = links.cost[capped, None], links.capacity[capped, None]
    from_seller, to_buyer = price[links.seller[capped]], price[links.buyer[capped]]
    reduced = cost + from_seller - to_buyer
    value, size = _box(reduced, cost + np.abs(from_seller) + np.abs(to_buyer), np.zeros_like(capacity), capacity)
    return market.hours * value, market.hours * size


def _held(priced: Floats, lower: Floats, upper: Floats) -> Floats:
    """A limit's price, zero where it pays for a bound that there is not."""
    unpriced = ((priced > 0) & np.isinf(upper)) | ((priced < 0) & np.isinf(lower))
    return np.where(unpriced, 0.0, priced)


def _limits_part(market: Market, limit_price: Floats) -> Part:
    value = size = 0.0
    for limit, given in zip(market.limits, limit_price, strict=True):
        priced = _held(given, limit.lower, limit.upper)
        binding = np.where(priced > 0, limit.upper, limit.lower)
        cost = priced * np.where(priced == 0, 0.0, binding)
        value -= float(np.sum(cost))
        size += float(np.sum(np.abs(cost)))
    return market.hours * value, market.hours * size


def _storages_part(market: Market, seen: Floats, state_price: Floats) -> Part:
    stores, hours = market.stores, market.hours
    if not stores.size:
        return 0.0, 0.0
    priced = seen[stores.peer]
    none = np.zeros((stores.size, 1))
    charged = stores.charge_efficiency[:, None] * state_price
    discharged = state_price / stores.discharge_efficiency[:, None]
    cycle = stores.cycle_cost[:, None]
    later = np.hstack([state_price[:, 1:], none])
    power_parts = [
        _box(priced - charged, np.abs(priced) + np.abs(charged), none, stores.max_charge[:, None]),
        _box(
            cycle - priced + discharged,
            cycle + np.abs(priced) + np.abs(discharged),
            none,
            stores.max_discharge[:, None],
        ),
    ]
    energy_part = _box(
        stores.state_cost + state_price - later,
        np.abs(stores.state_cost) + np.abs(state_price) + np.abs(later),
        stores.lower,
        stores.upper,
    )
    initial = state_price[:, 0] * stores.initial
    value = hours * sum(part[0] for part in power_parts) + energy_part[0] - float(np.sum(initial))
    size = hours * sum(part[1] for part in power_parts) + energy_part[1] + float(np.sum(np.abs(initial)))
    return value, size
