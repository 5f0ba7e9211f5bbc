"""Random families of markets by seed: what benchmarks time and what the solvers' tests draw from.

A family is a graph of links, drawn by ``_GRAPHS``, and what its peers own. Every market is feasible by construction. A
*plan* of trades is drawn first: each buying peer's wanted power is split over its links in proportion to the sellers'
sizes. Loads and generators are then given bounds around what that plan makes them consume and produce, capacities lie
above its trades, and so the plan keeps to every bound. Families with a grid do without: there a peer without a
connection to the grid can stand still, all others can be served by it, stores can idle, and limits admit loads at
their least beside PV that is curtailed and idle stores.

Powers are in kW, prices in currency/kWh, sized like households and small businesses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from optimization.community import Floats, PeerId
from optimization.market import Assets, Indices, Limit, Links, Market, Storages

Rng = np.random.Generator

DEFAULT_DEGREE = 20
QUARTER_HOUR = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graph:
    """Who may sell to whom, and what is planned.

    Attributes
    ----------
    links : with costs, still without capacities
    trade : (L,) kW of the plan
    """

    links: Links
    trade: Floats

    def consumed(self, peers: int) -> Floats:
        """(N,) kW that the plan brings to each peer."""
        return np.bincount(self.links.buyer, weights=self.trade, minlength=peers).astype(np.float64)

    def produced(self, peers: int) -> Floats:
        """(N,) kW that the plan takes from each peer."""
        return np.bincount(self.links.seller, weights=self.trade, minlength=peers).astype(np.float64)


def family(
    name: str,
    *,
    peers: int,
    seed: int,
    links_per_peer: int | None = None,
    mtus: int | None = None,
    infeasible: bool = False,
) -> Market:
    """One market of a family; the same arguments give the same market.

    Parameters
    ----------
    name : one of ``FAMILIES``
    peers : at least 4
    seed : of the one generator from which all is drawn
    links_per_peer : sellers that each peer can buy from; as many as there are if that is fewer. Exact for consumers in
        bipartite graphs, the least among neighbours in the plane, nearly the average in random graphs. None: all in
        "bipartite" and "bipartite-resale", 6 in "grid" and "storage", else 20.
    mtus : None: 8 in "grid", 16 in "storage", else 1. A family without time repeats its one MTU.
    infeasible : leave loads that cannot be served. Without a grid all production is cut to 0.9 of what must be
        consumed; in "grid" one peer must consume more than its links can carry; in "storage" the limit of one MTU
        lies under what all peers can do, and one store must end above its capacity to charge.

    Raises
    ------
    ValueError
        For an unknown family or fewer than 4 peers.
    """
    if name not in FAMILIES:
        raise ValueError(f"family: got {name}, wanted one of {', '.join(FAMILIES)}")
    if peers < 4:
        raise ValueError(f"peers: got {peers}, wanted at least 4")
    rng = np.random.default_rng([seed, *name.encode()])
    chosen = FAMILIES[name]
    degree = chosen.degree if links_per_peer is None else links_per_peer
    graph = _GRAPHS[chosen.graph](rng, peers, degree)
    if chosen.free:
        graph = replace(graph, links=_repriced(graph.links, np.zeros(graph.links.size)))
    if chosen.wide:
        graph = replace(graph, links=_repriced(graph.links, _nine_orders(rng, graph.links.size)))
    periods = chosen.mtus if mtus is None else mtus
    if chosen.grid:
        return _with_grid(rng, graph, peers=peers, mtus=periods, storage=chosen.storage, infeasible=infeasible)
    return Market(
        peers=_names(peers),
        mtus=periods,
        assets=_repeated(_planned_assets(rng, graph, chosen, peers=peers, infeasible=infeasible), periods),
        links=_capped(rng, graph) if chosen.capped else graph.links,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What tells one family from another.

    Attributes
    ----------
    graph : key of ``_GRAPHS``
    about : for people
    degree : default of links_per_peer; None for all
    mtus : default number
    width : widest bounds around the plan, as a share of it; 0 for fixed loads
    pieces : linear pieces of each asset; None for one quadratic piece
    wide : costs span nine orders of magnitude
    free : links cost nothing
    capped : a third of the links have a capacity
    grid, storage : as said in ``family``
    """

    graph: str
    about: str
    degree: int | None = DEFAULT_DEGREE
    mtus: int = 1
    width: float = 0.8
    pieces: int | None = None
    wide: bool = False
    free: bool = False
    capped: bool = False
    grid: bool = False
    storage: bool = False


FAMILIES: Mapping[str, Family] = MappingProxyType({
    "bipartite": Family(graph="bipartite", degree=None, about="every producer may sell to every consumer"),
    "bipartite-resale": Family(graph="resale", degree=None, about="the same pairs, both ways"),
    "k-nearest": Family(graph="nearest", capped=True, about="neighbours in the plane, some links capped"),
    "prosumers": Family(graph="random", about="everybody consumes and produces, random sparse graph"),
    "linear": Family(graph="bipartite", pieces=1, about="linear costs and utilities"),
    "pieces": Family(graph="random", pieces=3, about="piecewise-linear costs and utilities, three pieces each"),
    "fixed": Family(graph="bipartite", width=0.0, about="loads fixed, generators flexible"),
    "free": Family(graph="random", free=True, about="links without cost, both ways: trades tie"),
    "wide": Family(graph="bipartite", wide=True, about="costs spanning nine orders of magnitude"),
    "grid": Family(graph="nearest", degree=6, mtus=8, grid=True, about="neighbours, a grid to buy from and sell to"),
    "storage": Family(graph="nearest", degree=6, mtus=16, grid=True, storage=True, about="grid, stores and limits"),
})  # fmt: skip
"""The families by name."""


def _names(peers: int) -> tuple[PeerId, ...]:
    digits = len(str(peers - 1))
    return tuple(PeerId(f"p{n:0{digits}d}") for n in range(peers))


def _stratified(rng: Rng, rows: int, choices: int, degree: int) -> Indices:
    """(rows, degree) distinct numbers below ``choices`` in each row: one out of each of ``degree`` even strata."""
    start = np.arange(degree + 1) * choices // degree
    return start[:-1] + (rng.random((rows, degree)) * np.diff(start)).astype(np.int64)


def _costed(rng: Rng, seller: Indices, buyer: Indices, distance: Floats | float = 0.0) -> Links:
    size = seller.size
    return Links(
        seller=seller,
        buyer=buyer,
        seller_preference=rng.uniform(0.0, 0.02, size),
        buyer_preference=rng.uniform(0.0, 0.04, size),
        network_charge=np.broadcast_to(np.asarray(distance, dtype=np.float64) * 0.05, (size,)),
        capacity=np.full(size, np.inf),
    )


def _nine_orders(rng: Rng, size: int) -> Floats:
    return 10.0 ** rng.uniform(-6.0, 3.0, size)


def _repriced(links: Links, cost: Floats) -> Links:
    """The links with a third of a cost on each of its three parts."""
    return replace(links, seller_preference=cost / 3, buyer_preference=cost / 3, network_charge=cost / 3)


def _planned(rng: Rng, links: Links, *, buys: Floats, sells: Floats) -> _Graph:
    """The graph with a plan: ``buys`` is the power that each peer wants, ``sells`` its weight as a seller."""
    peers = buys.size
    weight = sells[links.seller] * rng.uniform(0.5, 1.5, links.size)
    offered = np.bincount(links.buyer, weights=weight, minlength=peers)
    share = buys / np.where(offered > 0, offered, 1.0)
    return _Graph(links=links, trade=weight * share[links.buyer])


def _demand(rng: Rng, peers: int) -> Floats:
    return rng.lognormal(0.0, 0.6, peers)


def _bipartite(rng: Rng, peers: int, degree: int | None) -> _Graph:
    """Producers come first; each consumer chooses among them."""
    producers = peers // 2
    consumers = peers - producers
    chosen = min(degree or producers, producers)
    seller = _stratified(rng, consumers, producers, chosen).ravel()
    buyer = np.repeat(np.arange(producers, peers), chosen)
    buys, sells = _demand(rng, peers), _demand(rng, peers)
    buys[:producers] = 0.0
    sells[producers:] = 0.0
    return _planned(rng, _costed(rng, seller, buyer), buys=buys, sells=sells)


def _resale(rng: Rng, peers: int, degree: int | None) -> _Graph:
    """The links of ``_bipartite`` and their opposites, over which nothing is planned."""
    forward = _bipartite(rng, peers, degree)
    seller, buyer = forward.links.seller, forward.links.buyer
    links = _costed(rng, np.concatenate([seller, buyer]), np.concatenate([buyer, seller]))
    return _Graph(links=links, trade=np.concatenate([forward.trade, np.zeros(seller.size)]))


def _both_ways(first: Indices, second: Indices, peers: int) -> tuple[Indices, Indices]:
    """Sellers and buyers of the links both ways between pairs, of which some may be given twice."""
    key = np.unique(np.minimum(first, second) * peers + np.maximum(first, second))
    low, high = np.divmod(key, peers)
    return np.concatenate([low, high]), np.concatenate([high, low])


def _random(rng: Rng, peers: int, degree: int | None) -> _Graph:
    """Everybody chooses half its partners at random, and is chosen by as many; links run both ways."""
    chosen = min((degree or 2 * peers) // 2 or 1, peers - 1)
    first = np.repeat(np.arange(peers), chosen)
    second = (first + 1 + _stratified(rng, peers, peers - 1, chosen).ravel()) % peers
    seller, buyer = _both_ways(first, second, peers)
    return _planned(rng, _costed(rng, seller, buyer), buys=_demand(rng, peers), sells=_demand(rng, peers))


def _nearest(rng: Rng, peers: int, degree: int | None) -> _Graph:
    """Everybody chooses the nearest in the unit square; a third only consume, a third only produce."""
    chosen = min(degree or peers - 1, peers - 1)
    place = rng.random((peers, 2))
    near = cKDTree(place).query(place, k=chosen + 1)[1][:, 1:]
    seller, buyer = _both_ways(np.repeat(np.arange(peers), chosen), near.ravel().astype(np.int64), peers)
    # in units of the distance at which one neighbour is to be expected
    distance = np.linalg.norm(place[seller] - place[buyer], axis=1) * np.sqrt(peers)
    links = _costed(rng, seller, buyer, np.minimum(distance / np.sqrt(chosen), 3.0))
    role = rng.permutation(peers) % 3
    buys = np.where(role == 0, 0.0, _demand(rng, peers))
    sells = np.where(role == 1, 0.0, _demand(rng, peers))
    return _planned(rng, links, buys=buys, sells=sells)


_GRAPHS: Mapping[str, Callable[[Rng, int, int | None], _Graph]] = MappingProxyType({
    "bipartite": _bipartite,
    "resale": _resale,
    "random": _random,
    "nearest": _nearest,
})  # fmt: skip


def _capped(rng: Rng, graph: _Graph) -> Links:
    """The links, a third of them with a capacity at or somewhat above what is planned."""
    size = graph.links.size
    capacity = np.where(rng.random(size) < 1 / 3, graph.trade * rng.uniform(1.0, 2.0, size), np.inf)
    return replace(graph.links, capacity=capacity)


def _planned_assets(rng: Rng, graph: _Graph, kind: Family, *, peers: int, infeasible: bool) -> Assets:
    """One MTU of loads and generators around the plan, beside which prosumers serve themselves a little."""
    consumed, produced = graph.consumed(peers), graph.produced(peers)
    itself = np.where((consumed > 0) & (produced > 0), rng.uniform(0.0, 0.5, peers), 0.0)
    loads, generators = np.flatnonzero(consumed + itself), np.flatnonzero(produced + itself)
    load, made = (consumed + itself)[loads], (produced + itself)[generators]
    least = load * (1 - kind.width * rng.random(loads.size))
    most = load * (1 + kind.width * rng.random(loads.size))
    able = made * rng.uniform(1.0, 1.8, generators.size)
    if infeasible:
        able *= 0.9 * least.sum() / able.sum()
    size = np.concatenate([load, made])
    worth = np.concatenate([rng.uniform(0.2, 0.45, loads.size), rng.uniform(0.03, 0.3, generators.size)])
    # price swings by 0.02 to 0.2 as the whole asset's power is used
    bend = rng.uniform(0.02, 0.2, size.size)
    if kind.wide:
        worth, bend = _nine_orders(rng, size.size), _nine_orders(rng, size.size)
    whole = Assets(
        peer=np.concatenate([loads, generators]),
        names=("load",) * loads.size + ("generator",) * generators.size,
        piece_asset=np.arange(size.size),
        lower=np.concatenate([least, -able])[:, None],
        upper=np.concatenate([most, np.zeros(generators.size)])[:, None],
        slope=-worth[:, None],
        curvature=(bend / size)[:, None],
    )
    return whole if kind.pieces is None else _in_pieces(rng, whole, kind.pieces)


def _in_pieces(rng: Rng, whole: Assets, pieces: int) -> Assets:
    """Each asset with its range cut into linear pieces, of which a later one is worth less to consume."""
    count = whole.peer.size
    cut = np.sort(rng.random((count, pieces - 1)), axis=1)
    share = np.diff(np.hstack([np.zeros((count, 1)), cut, np.ones((count, 1))]), axis=1)
    # a load's least and a generator's most belong to the first piece; the others begin at zero
    lower = np.hstack([whole.lower, np.zeros((count, pieces - 1))])
    upper = (whole.upper - whole.lower) * share
    upper[:, :1] += whole.lower
    rise = np.cumsum(rng.uniform(0.005, 0.05, (count, pieces)), axis=1)
    return replace(
        whole,
        piece_asset=np.repeat(np.arange(count), pieces),
        lower=lower.reshape(-1, 1),
        upper=upper.reshape(-1, 1),
        slope=(whole.slope + rise - rise[:, :1]).reshape(-1, 1),
        curvature=np.zeros((count * pieces, 1)),
    )


def _repeated(assets: Assets, mtus: int) -> Assets:
    """The same in every MTU."""
    if mtus == 1:
        return assets
    tables: dict[str, Any] = {
        name: np.repeat(getattr(assets, name), mtus, axis=1) for name in ("lower", "upper", "slope", "curvature")
    }
    return replace(assets, **tables)


def _with_grid(rng: Rng, graph: _Graph, *, peers: int, mtus: int, storage: bool, infeasible: bool) -> Market:
    """A market of loads and PV through a day, every fifth peer without a contract with the grid."""
    hour = (np.arange(mtus) + 0.5) * 24 / mtus
    evening = 0.6 + 0.4 * np.exp(-(((hour - 19) / 3) ** 2))
    sun = np.clip(np.cos((hour - 13) / 14 * 2 * np.pi), 0.0, None)
    contract = rng.permutation(peers) % 5 > 0
    load = (_demand(rng, peers)[:, None] * evening) * rng.uniform(0.7, 1.3, (peers, mtus))
    least = load * np.where(contract, rng.uniform(0.2, 1.0, peers), 0.0)[:, None]
    owners = np.flatnonzero(rng.random(peers) < 0.5)
    sunny = rng.uniform(1.0, 6.0, owners.size)[:, None] * sun
    links = graph.links
    if infeasible and not storage:
        links = replace(links, capacity=np.where(links.buyer == 0, 1e-3, links.capacity))
        contract[0] = False
        owners, sunny = owners[owners > 0], sunny[owners > 0]
        least[0] = load[0]
    pieces = peers + owners.size
    assets = Assets(
        peer=np.concatenate([np.arange(peers), owners]),
        names=("load",) * peers + ("pv",) * owners.size,
        piece_asset=np.arange(pieces),
        lower=np.vstack([least, -sunny]),
        upper=np.vstack([load, np.zeros_like(sunny)]),
        slope=np.vstack([-rng.uniform(0.2, 0.45, (peers, mtus)), np.zeros_like(sunny)]),
        curvature=np.repeat(rng.uniform(0.01, 0.1, pieces)[:, None], mtus, axis=1),
    )
    buying = 0.24 + 0.1 * evening + rng.uniform(0.0, 0.04, (peers, 1))
    selling = np.broadcast_to(rng.uniform(0.04, 0.1, (peers, 1)), (peers, mtus))
    stores = _stores(rng, peers=peers, mtus=mtus, infeasible=infeasible) if storage else None
    return Market(
        peers=_names(peers),
        hours=QUARTER_HOUR if mtus > 24 else 24.0 / mtus,
        mtus=mtus,
        assets=assets,
        links=links,
        import_price=np.where(contract[:, None], buying, np.inf),
        export_price=np.where(contract[:, None], selling, -np.inf),
        storages=stores,
        limits=_limits(rng, least, sunny, stores, infeasible=infeasible) if stores else (),
    )


def _stores(rng: Rng, *, peers: int, mtus: int, infeasible: bool) -> Storages:
    """A battery at every third peer, which must end no emptier than it began."""
    owners = np.sort(rng.permutation(peers)[: max(1, peers // 3)])
    capacity = rng.uniform(4.0, 12.0, owners.size)
    initial = capacity * rng.uniform(0.2, 0.8, owners.size)
    lower = np.zeros((owners.size, mtus))
    lower[:, -1] = initial
    able = capacity * rng.uniform(0.2, 0.5, owners.size)
    if infeasible:
        initial[0] = able[0] = 0.0
    return Storages(
        peer=owners,
        names=("battery",) * owners.size,
        max_charge=able,
        max_discharge=able,
        charge_efficiency=rng.uniform(0.9, 0.98, owners.size),
        discharge_efficiency=rng.uniform(0.9, 0.98, owners.size),
        initial=initial,
        lower=lower,
        upper=np.repeat(capacity[:, None], mtus, axis=1),
        cycle_cost=rng.uniform(0.005, 0.02, owners.size),
        state_cost=np.zeros((owners.size, mtus)),
    )


def _limits(rng: Rng, least: Floats, sunny: Floats, stores: Storages, *, infeasible: bool) -> tuple[Limit, ...]:
    """The transformer's limit on all peers and a feeder's on half of them, little above what must be consumed."""
    peers, mtus = least.shape
    feeder = np.sort(rng.permutation(peers)[: peers // 2])
    whole = np.full(mtus, 1.05 * least.sum(axis=0).max())
    part = np.full(mtus, 1.05 * least[feeder].sum(axis=0).max())
    export = -0.3 * sunny.sum(axis=0).max(initial=1.0)
    if infeasible:
        whole[-1] = (least.sum(axis=0) - sunny.sum(axis=0))[-1] - stores.max_discharge.sum() - 1.0
        export = min(export, whole[-1] - 1.0)
    return (
        Limit(name="transformer", members=np.arange(peers), lower=np.full(mtus, export), upper=whole),
        Limit(name="feeder", members=feeder, lower=np.full(mtus, -np.inf), upper=part),
    )
