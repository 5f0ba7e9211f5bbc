"""Why a market cannot be cleared: who would have to give, by how much, and the proof.

The elastic problem (``optimization.elastic``) says what gives; where anything has to, its duals are a Farkas
certificate, which ``market_certificate.check_conflict`` evaluates on its own.
"""

from collections.abc import Iterator

import numpy as np

from optimization.canonical import canonical
from optimization.community import Floats
from optimization.elastic import TOLERANCE, Elastic, ElasticAnswer, consumption_bounds
from optimization.errors import SolverError
from optimization.market import Indices, Market
from optimization.market_bound import bound_cost, without_costs
from optimization.market_certificate import FEASIBILITY_TOLERANCE
from optimization.market_clearing import MarketConflict, Unserved


def find_conflict(market: Market) -> MarketConflict | None:
    """The proof that a market has no feasible clearing, or None where it has one.

    Where several remedies are equal in sum, limits are named before storages, and storages before peers. Of peers only
    those are named that must consume or must produce.

    Parameters
    ----------
    market : the problem; the answer does not depend on the order of its parts

    Returns
    -------
    MarketConflict or None
        Prices are scaled such that the margin is what everything unserved sums to.

    Raises
    ------
    SolverError
        If HiGHS ends without an optimum of the elastic problem, or its duals do not prove what it found.
    """
    ordered = canonical(market)
    forced = _forced(ordered.market)
    if not forced.any():
        return None
    every = np.arange(market.mtus)
    windows = [every] if market.stores.size else [every[t : t + 1] for t in np.flatnonzero(forced)]
    elastic = Elastic.of(ordered.market)
    unserved: list[Unserved] = []
    prices = {
        "price": np.zeros((len(market.peers), market.mtus)),
        "limit_price": np.zeros((len(market.limits), market.mtus)),
        "state_price": np.zeros((market.stores.size, market.mtus)),
    }
    orders = {"price": ordered.peers, "limit_price": ordered.limits, "state_price": ordered.storages}
    for window in windows:
        answer = elastic.solve(window, float(forced[window].max()))
        if answer is not None:
            unserved += _unserved(ordered.market, answer, window)
            for name, table in prices.items():
                table[np.ix_(orders[name], window)] = getattr(answer, name)
    if not unserved:
        return None
    total = _total(market, unserved)
    free = without_costs(market)
    margin = bound_cost(free, **prices)
    if margin > 0:
        scaled = {name: table * (total / margin) for name, table in prices.items()}
        return MarketConflict(unserved=tuple(unserved), margin=bound_cost(free, **scaled), **scaled)
    if total <= FEASIBILITY_TOLERANCE * forced.max() * market.hours:
        return None
    raise SolverError(f"HiGHS: got duals that prove {margin:g} kWh, wanted a proof that {total:g} kWh have to give")


def _forced(market: Market) -> Floats:
    """(T,) kW, the largest bound in each MTU that forbids doing nothing; zero where doing nothing is feasible."""
    lower, upper = consumption_bounds(market)
    stores = market.stores
    missing = np.maximum(stores.lower - stores.initial[:, None], stores.initial[:, None] - stores.upper)
    tables = [lower, -upper, missing / market.hours]
    tables += [bound[None, :] for limit in market.limits for bound in (limit.lower, -limit.upper)]
    return np.asarray(np.max([table.max(axis=0, initial=0.0) for table in tables], axis=0), dtype=np.float64)


def _unserved(market: Market, answer: ElasticAnswer, window: Indices) -> Iterator[Unserved]:
    """Everything that gives, by kind, part and MTU."""
    stores = market.stores
    storages = [f"storage {market.peers[n]}/{name}" for n, name in zip(stores.peer, stores.names, strict=True)]
    for table, names in (
        (answer.limit, [f"limit {limit.name}" for limit in market.limits]),
        (answer.storage, storages),
        (answer.peer, [f"peer {peer}" for peer in market.peers]),
    ):
        for row, column in np.argwhere(np.abs(table) > TOLERANCE * np.abs(table).max(initial=0.0)):
            yield Unserved(what=names[row], mtu=int(window[column]), amount=float(table[row, column]))


def _total(market: Market, unserved: list[Unserved]) -> float:
    """kWh, the sum of everything that gives."""
    return sum(abs(item.amount) * (1.0 if item.what.startswith("storage ") else market.hours) for item in unserved)
