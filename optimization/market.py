r"""The data of a convex market in arrays: assets, links, storages, limits and grid prices. Built once, validated once.

Power is positive when it flows into an asset or a peer; a link's trade is non-negative and runs from seller to buyer.
With peers :math:`n`, MTUs :math:`t` of :math:`\Delta` hours, pieces of assets :math:`k`, links :math:`l`, storages
:math:`s` and limits :math:`g` a market is the problem

.. math::

    \min\ & \Delta \sum_t \Big( \sum_k \tfrac12 a_{kt} p_{kt}^2 + b_{kt} p_{kt} + \sum_l c_l e_{lt}
            + \sum_n \pi^i_{nt} i_{nt} - \pi^x_{nt} x_{nt} + \sum_s k_s d_{st} \Big) + \sum_{st} v_{st} E_{st} \\
    & q_{nt} = \sum_{k \in n} p_{kt} + \sum_{s \in n} (c_{st} - d_{st})
             = \sum_{l \to n} e_{lt} - \sum_{n \to l} e_{lt} + i_{nt} - x_{nt} \\
    & E_{st} = E_{s,t-1} + \Delta (\eta^c_s c_{st} - d_{st} / \eta^d_s), \qquad
      \underline y_{gt} \le \sum_{n \in g} q_{nt} \le \overline y_{gt}

with bounds on all variables. One period without storages, limits and grid is the multi-bilateral economic dispatch of
Sorin, Bobo, Pinson (2019), eq. (1). An asset is one piece, or several whose powers add up: so a convex piecewise-linear
cost is one linear piece for each of its segments.

The unit of power is kW unless a case says otherwise; then all of it is in that unit.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from optimization.community import MAX_MTUS, Floats, PeerId
from optimization.errors import ProblemError

Indices = npt.NDArray[np.int64]

LARGEST = 1e9
"""No power, energy, price, slope or curvature is larger: a bigger number is a unit mixed up."""


def _frozen(values: Any, dtype: Any) -> Any:
    """A read-only array that nobody else can write: a copy where the caller's own memory could still change."""
    array = np.ascontiguousarray(values, dtype=dtype)
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if owner.flags.writeable and (array is values or owner is not array):
        array = array.copy()
    array.flags.writeable = False
    return array


def _index(name: str, values: Any, end: int) -> Indices:
    """A read-only vector of indices in ``[0, end)``."""
    raw = np.asarray(values)
    if raw.ndim != 1 or (raw.size and raw.dtype.kind not in "iu"):
        raise ProblemError(f"{name}: got {raw.dtype} of shape {raw.shape}, wanted a vector of integers")
    array: Indices = _frozen(raw, np.int64)
    wrong = (array < 0) | (array >= end)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ProblemError(f"{name}[{at}]: got {array[at]}, wanted 0 to {end - 1}")
    return array


def _table(
    name: str,
    values: Any,
    shape: tuple[int, ...],
    *,
    lower: float = -LARGEST,
    upper: float = LARGEST,
    also: float = 0.0,
) -> Floats:
    """A read-only float array of a shape whose entries lie within ``[lower, upper]`` or equal ``also``."""
    try:
        array: Floats = _frozen(np.broadcast_to(np.asarray(values, dtype=np.float64), shape), np.float64)
    except ValueError as err:
        raise ProblemError(f"{name}: got shape {np.shape(values)}, wanted {shape}") from err
    wrong = ~((array >= lower) & (array <= upper)) & (array != also if also else True)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        infinite = f" or {also}" if also else ""
        raise ProblemError(f"{name}{list(at)}: got {array[at]}, wanted {lower:g} to {upper:g}{infinite}")
    return array


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """What peers consume and produce, and what it costs or is worth to them.

    Attributes
    ----------
    peer : (A,) owner of each asset
    names : A names, unique within a peer
    piece_asset : (P,) asset of each piece
    lower, upper : (P, T) kW, consumption positive, ``lower <= upper``
    slope : (P, T) currency/kWh, marginal cost of consuming at zero power; the negative of a generator's linear cost
        and of a consumer's utility
    curvature : (P, T) currency/kWh per kW, non-negative; 0 for a linear cost
    """

    peer: Indices
    names: tuple[str, ...]
    piece_asset: Indices
    lower: Floats
    upper: Floats
    slope: Floats
    curvature: Floats

    @property
    def piece_peer(self) -> Indices:
        """(P,) owner of each piece."""
        return self.peer[self.piece_asset]


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Ordered pairs of peers of which the first may sell to the second.

    Attributes
    ----------
    seller, buyer : (L,) peers, different; each ordered pair at most once
    seller_preference, buyer_preference : (L,) currency/kWh of disutility that each side feels; never paid
    network_charge : (L,) currency/kWh that the buyer pays the DSO
    capacity : (L,) kW that a trade cannot exceed; infinity for no bound
    """

    seller: Indices
    buyer: Indices
    seller_preference: Floats
    buyer_preference: Floats
    network_charge: Floats
    capacity: Floats

    @property
    def cost(self) -> Floats:
        """(L,) currency/kWh that a trade adds to the objective."""
        return self.seller_preference + self.buyer_preference + self.network_charge

    @property
    def size(self) -> int:
        """Number of links."""
        return self.seller.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Storages:
    """Stores of energy with losses, convex: charging and discharging at once is allowed, and never pays at prices >= 0.

    Attributes
    ----------
    peer : (S,) owner
    names : S names, unique within a peer
    max_charge, max_discharge : (S,) kW at the terminals
    charge_efficiency, discharge_efficiency : (S,) 0.01 to 1
    initial : (S,) kWh at the start
    lower, upper : (S, T) kWh bounds of what is stored at the end of each MTU; a wanted final level is a lower one
    cycle_cost : (S,) currency per kWh discharged, non-negative
    state_cost : (S, T) currency per kWh stored at the end of each MTU; negative for an end-of-horizon value
    """

    peer: Indices
    names: tuple[str, ...]
    max_charge: Floats
    max_discharge: Floats
    charge_efficiency: Floats
    discharge_efficiency: Floats
    initial: Floats
    lower: Floats
    upper: Floats
    cycle_cost: Floats
    state_cost: Floats

    @property
    def size(self) -> int:
        """Number of storages."""
        return self.peer.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """An operating envelope on the summed net consumption of some peers.

    Attributes
    ----------
    name : for messages
    members : (M,) peers, each once
    lower, upper : (T,) kW; minus infinity and infinity where there is no bound
    """

    name: str
    members: Indices
    lower: Floats
    upper: Floats


def no_storages(mtus: int) -> Storages:
    """The storages of a market without any."""
    none = np.zeros(0)
    index = np.zeros(0, dtype=np.int64)
    return Storages(
        peer=index,
        names=(),
        max_charge=none,
        max_discharge=none,
        charge_efficiency=none,
        discharge_efficiency=none,
        initial=none,
        lower=np.zeros((0, mtus)),
        upper=np.zeros((0, mtus)),
        cycle_cost=none,
        state_cost=np.zeros((0, mtus)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One whole market; what exists is consistent.

    Attributes
    ----------
    hours : length of an MTU
    mtus : number of MTUs, 1 to 192
    peers : N ids, unique
    assets, links, storages : as their classes say
    import_price : (N, T) currency/kWh that a peer pays the grid; infinity where it cannot buy there
    export_price : (N, T) currency/kWh that the grid pays; minus infinity where it cannot sell there. No path of
        uncapped links may lead from the grid back to it at a profit.
    limits : any number; each binds
    """

    peers: tuple[PeerId, ...]
    assets: Assets
    links: Links
    hours: float = 1.0
    mtus: int = 1
    import_price: Floats = field(default_factory=lambda: np.array(np.inf))
    export_price: Floats = field(default_factory=lambda: np.array(-np.inf))
    storages: Storages | None = None
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        if not self.peers:
            raise ProblemError("market.peers: got none, wanted at least one")
        _once("peer", self.peers)
        if not 1 <= self.mtus <= MAX_MTUS:
            raise ProblemError(f"market.mtus: got {self.mtus}, wanted 1 to {MAX_MTUS}")
        if not (np.isfinite(self.hours) and 0 < self.hours <= 24):
            raise ProblemError(f"market.hours: got {self.hours}, wanted above 0 and at most 24")
        each = (len(self.peers), self.mtus)
        put("import_price", _table("import_price", self.import_price, each, also=np.inf))
        put("export_price", _table("export_price", self.export_price, each, also=-np.inf))
        put("assets", _checked_assets(self.assets, self.peers, self.mtus))
        put("links", _checked_links(self.links, self.peers))
        storages = no_storages(self.mtus) if self.storages is None else self.storages
        put("storages", _checked_storages(storages, self.peers, self.mtus))
        put("limits", tuple(_checked_limit(limit, self.peers, self.mtus) for limit in self.limits))
        _refuse_free_money(self)

    @property
    def stores(self) -> Storages:
        """The storages, of size 0 where there are none."""
        assert self.storages is not None
        return self.storages


def _once(kind: str, names: Sequence[str]) -> None:
    if len(set(names)) == len(names):
        return
    for name, count in Counter(names).items():
        if count > 1:
            raise ProblemError(f"{kind} {name}: got {count} times, wanted once")


def _checked_assets(assets: Assets, peers: tuple[PeerId, ...], mtus: int) -> Assets:
    owner = _index("assets.peer", assets.peer, len(peers))
    if len(assets.names) != owner.size:
        raise ProblemError(f"assets.names: got {len(assets.names)}, wanted {owner.size}")
    if owner.size > len(set(zip(owner.tolist(), assets.names, strict=True))):
        _once("asset", [f"{peers[n]}/{name}" for n, name in zip(owner, assets.names, strict=True)])
    piece_asset = _index("assets.piece_asset", assets.piece_asset, owner.size)
    shape = (piece_asset.size, mtus)
    lower = _table("assets.lower", assets.lower, shape)
    upper = _table("assets.upper", assets.upper, shape)
    if (lower > upper).any():
        k, t = (int(i) for i in np.argwhere(lower > upper)[0])
        a = int(piece_asset[k])
        raise ProblemError(
            f"asset {peers[owner[a]]}/{assets.names[a]}: got lower bound {lower[k, t]} above upper bound {upper[k, t]} "
            f"in MTU {t}"
        )
    return replace(
        assets,
        peer=owner,
        piece_asset=piece_asset,
        lower=lower,
        upper=upper,
        slope=_table("assets.slope", assets.slope, shape),
        curvature=_table("assets.curvature", assets.curvature, shape, lower=0.0),
    )


def _checked_links(links: Links, peers: tuple[PeerId, ...]) -> Links:
    seller = _index("links.seller", links.seller, len(peers))
    buyer = _index("links.buyer", links.buyer, len(peers))
    if seller.size != buyer.size:
        raise ProblemError(f"links.buyer: got {buyer.size}, wanted {seller.size}, one for each seller")
    own = seller == buyer
    if own.any():
        raise ProblemError(f"link {peers[seller[np.argmax(own)]]}: got a link to itself, wanted two different peers")
    key = np.sort(seller * len(peers) + buyer)
    twice = key[1:] == key[:-1]
    if twice.any():
        s, b = divmod(int(key[np.argmax(twice)]), len(peers))
        raise ProblemError(f"link {peers[s]} -> {peers[b]}: got it more than once, wanted it once")
    costs = {
        name: _table(f"links.{name}", getattr(links, name), (seller.size,), lower=0.0)
        for name in ("seller_preference", "buyer_preference", "network_charge")
    }
    capacity = _table("links.capacity", links.capacity, (seller.size,), lower=0.0, also=np.inf)
    return Links(seller=seller, buyer=buyer, capacity=capacity, **costs)


def _checked_storages(storages: Storages, peers: tuple[PeerId, ...], mtus: int) -> Storages:
    owner = _index("storages.peer", storages.peer, len(peers))
    if len(storages.names) != owner.size:
        raise ProblemError(f"storages.names: got {len(storages.names)}, wanted {owner.size}")
    _once("storage", [f"{peers[n]}/{name}" for n, name in zip(owner, storages.names, strict=True)])
    one, each = (owner.size,), (owner.size, mtus)
    lower = _table("storages.lower", storages.lower, each, lower=0.0)
    upper = _table("storages.upper", storages.upper, each, lower=0.0)
    if (lower > upper).any():
        s, t = (int(i) for i in np.argwhere(lower > upper)[0])
        raise ProblemError(
            f"storage {peers[owner[s]]}/{storages.names[s]}: got least energy {lower[s, t]} above most {upper[s, t]} "
            f"in MTU {t}"
        )
    kept: dict[str, Any] = {"peer": owner, "names": storages.names, "lower": lower, "upper": upper}
    for name in ("max_charge", "max_discharge", "initial", "cycle_cost"):
        kept[name] = _table(f"storages.{name}", getattr(storages, name), one, lower=0.0)
    for name in ("charge_efficiency", "discharge_efficiency"):
        kept[name] = _table(f"storages.{name}", getattr(storages, name), one, lower=0.01, upper=1.0)
    kept["state_cost"] = _table("storages.state_cost", storages.state_cost, each)
    return Storages(**kept)


def _checked_limit(limit: Limit, peers: tuple[PeerId, ...], mtus: int) -> Limit:
    members = _index(f"limit {limit.name}.members", limit.members, len(peers))
    if np.unique(members).size != members.size:
        raise ProblemError(f"limit {limit.name}.members: got a peer more than once, wanted each once")
    lower = _table(f"limit {limit.name}.lower", limit.lower, (mtus,), also=-np.inf)
    upper = _table(f"limit {limit.name}.upper", limit.upper, (mtus,), also=np.inf)
    if (lower > upper).any():
        t = int(np.argmax(lower > upper))
        raise ProblemError(f"limit {limit.name}: got lower {lower[t]} above upper {upper[t]} in MTU {t}")
    return replace(limit, members=members, lower=lower, upper=upper)


def _refuse_free_money(market: Market) -> None:
    """Refuses an export price above what energy costs to import somewhere and to bring here over uncapped links."""
    buying, selling = market.import_price, market.export_price
    if not (np.isfinite(buying).any() and np.isfinite(selling).any()):
        return
    if (selling.max(axis=0) <= buying.min(axis=0)).all():
        return
    links = market.links
    free = np.isinf(links.capacity)
    seller, buyer, cost = links.seller[free], links.buyer[free], links.cost[free]
    for t in range(market.mtus):
        landed = buying[:, t].copy()
        for _ in range(len(market.peers)):
            before = landed.copy()
            np.minimum.at(landed, buyer, landed[seller] + cost)
            if (landed == before).all():
                break
        profit = selling[:, t] > landed
        if profit.any():
            n = int(np.argmax(profit))
            raise ProblemError(
                f"peer {market.peers[n]}, MTU {t}: got export price {selling[n, t]} above {landed[n]}, for which "
                "energy can be imported and brought here: wanted no source of free money"
            )
