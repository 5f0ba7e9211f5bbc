from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from optimization.community import (
    Battery,
    Community,
    Curtailable,
    Device,
    DeviceId,
    Envelope,
    FixedLoad,
    Horizon,
    Interruptible,
    Link,
    Peer,
    PeerId,
    SectionId,
    Tariff,
)
from optimization.market import Assets, Limit, Links, Market, Storages

MakeCommunity = Callable[..., Community]
MakeMarket = Callable[..., Market]


def _community(
    peers: Mapping[str, Sequence[Device]],
    *,
    import_price: Sequence[float],
    export_price: Sequence[float],
    links: Sequence[Link] = (),
    envelopes: Sequence[Envelope] = (),
    mtu_minutes: int = 60,
) -> Community:
    return Community(
        horizon=Horizon(mtus=len(import_price), mtu_minutes=mtu_minutes),
        tariff=Tariff(import_price=np.array(import_price), export_price=np.array(export_price)),
        peers=tuple(
            Peer(id=PeerId(name), section=SectionId("street"), devices=tuple(devices))
            for name, devices in peers.items()
        ),
        links=tuple(links),
        envelopes=tuple(envelopes),
    )


@pytest.fixture(scope="session")
def make_community() -> MakeCommunity:
    """A community of named peers on one street, with one tariff value an MTU."""
    return _community


@pytest.fixture(scope="session")
def make_envelope() -> Callable[..., Envelope]:
    """An envelope over named peers, open on the sides that are not given."""

    def make(*peers: str, name: str = "street", lower_kw: Sequence[float] = (), upper_kw: Sequence[float] = ()) -> Any:
        mtus = max(len(lower_kw), len(upper_kw))
        return Envelope(
            name=name,
            peers=frozenset(PeerId(peer) for peer in peers),
            lower_kw=np.array(lower_kw) if len(lower_kw) else np.full(mtus, -np.inf),
            upper_kw=np.array(upper_kw) if len(upper_kw) else np.full(mtus, np.inf),
        )

    return make


def _series(draw: Any, mtus: int, lowest: int, highest: int, step: float) -> np.ndarray:
    return np.array(draw(st.lists(st.integers(lowest, highest), min_size=mtus, max_size=mtus))) * step


def _devices(draw: Any, peer: str, mtus: int, appliances: bool) -> tuple[Device, ...]:
    devices: list[Device] = [FixedLoad(id=DeviceId(f"{peer}/load"), power_kw=_series(draw, mtus, 0, 12, 0.25))]
    if draw(st.booleans()):
        available = _series(draw, mtus, 0, 20, 0.25)
        devices.append(Curtailable(id=DeviceId(f"{peer}/pv"), available_kw=available))
    if draw(st.booleans()):
        capacity = draw(st.integers(1, 8))
        devices.append(
            Battery(
                id=DeviceId(f"{peer}/battery"),
                max_charge_kw=draw(st.integers(0, 4)),
                max_discharge_kw=draw(st.integers(0, 4)),
                capacity_kwh=capacity,
                initial_kwh=draw(st.integers(0, capacity)),
                final_kwh=draw(st.integers(0, capacity)),
                charge_efficiency=draw(st.sampled_from([0.8, 0.9, 1.0])),
                discharge_efficiency=draw(st.sampled_from([0.8, 0.95])),
                cycle_cost=draw(st.sampled_from([0.0, 0.001, 0.01])),
            )
        )
    if appliances and draw(st.booleans()):
        first = draw(st.integers(0, mtus - 1))
        end = draw(st.integers(first, mtus))
        devices.append(
            Interruptible(
                id=DeviceId(f"{peer}/washer"),
                power_kw=draw(st.integers(1, 4)),
                first_mtu=first,
                end_mtu=end,
                required_mtus=draw(st.integers(0, end - first)),
                running=draw(st.booleans()),
                start_cost=draw(st.sampled_from([0.0, 0.005, 0.1])),
            )
        )
    return tuple(devices)


@st.composite
def _communities(draw: Any, *, appliances: bool = False, max_peers: int = 3, max_mtus: int = 4) -> Community:
    mtus = draw(st.integers(1, max_mtus))
    names = [f"p{k}" for k in range(draw(st.integers(1, max_peers)))]
    export_price = _series(draw, mtus, 0, 20, 0.01)
    pairs = [(a, b) for a in names for b in names if a != b]
    links = [
        Link(
            seller=PeerId(seller),
            buyer=PeerId(buyer),
            seller_preference=draw(st.integers(0, 3)) * 0.01,
            buyer_preference=draw(st.integers(0, 3)) * 0.01,
            network_charge=draw(st.integers(0, 3)) * 0.01,
        )
        for seller, buyer in (draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else [])
    ]
    envelopes = []
    if draw(st.booleans()):
        envelopes.append(
            Envelope(
                name="street",
                peers=frozenset(PeerId(name) for name in names),
                lower_kw=-_series(draw, mtus, 0, 20, 0.5),
                upper_kw=_series(draw, mtus, 4, 30, 0.5),
            )
        )
    return _community(
        {name: _devices(draw, name, mtus, appliances) for name in names},
        import_price=export_price + _series(draw, mtus, 1, 20, 0.01),
        export_price=export_price,
        links=links,
        envelopes=envelopes,
        mtu_minutes=draw(st.sampled_from([15, 60])),
    )


@pytest.fixture(scope="session")
def communities() -> Callable[..., st.SearchStrategy[Community]]:
    """Small random communities whose tariff is never negative; some of them have no feasible schedule."""
    return _communities


Number = float | Sequence[float]

STORAGE = {
    "max_charge": 10.0,
    "max_discharge": 10.0,
    "charge_efficiency": 1.0,
    "discharge_efficiency": 1.0,
    "initial": 0.0,
    "lower": 0.0,
    "upper": 10.0,
    "cycle_cost": 0.0,
    "state_cost": 0.0,
}


def _market(
    peers: Mapping[str, Sequence[tuple[Number, ...]]],
    *,
    links: str | Sequence[tuple[Any, ...]] = "all",
    link_cost: float = 0.0,
    link_capacity: float = np.inf,
    import_price: Number | Mapping[str, Number] = np.inf,
    export_price: Number | Mapping[str, Number] = -np.inf,
    storages: Mapping[str, Mapping[str, Number]] | None = None,
    limits: Sequence[tuple[str, Sequence[str], Number, Number]] = (),
    mtus: int = 1,
    hours: float = 1.0,
) -> Market:
    names = list(peers)
    index = {name: n for n, name in enumerate(names)}
    if links == "all":
        links = [(seller, buyer) for seller in names for buyer in names if seller != buyer]
    full = [(*link, *(link_cost, link_capacity)[len(link) - 2 :]) for link in links]
    free = np.zeros(len(full))
    pieces = [(index[name], piece) for name, pieces in peers.items() for piece in pieces]

    def series(values: Sequence[Number]) -> np.ndarray:
        return np.array([np.broadcast_to(value, mtus) for value in values], dtype=float).reshape(len(values), mtus)

    def prices(given: Number | Mapping[str, Number], none: float) -> np.ndarray:
        return series([given.get(name, none) if isinstance(given, Mapping) else given for name in names])

    stores = {name: STORAGE | dict(changes) for name, changes in (storages or {}).items()}
    return Market(
        peers=tuple(PeerId(name) for name in names),
        mtus=mtus,
        hours=hours,
        assets=Assets(
            peer=np.array([n for n, _ in pieces], dtype=int),
            names=tuple(f"asset {k}" for k in range(len(pieces))),
            piece_asset=np.arange(len(pieces)),
            lower=series([piece[0] for _, piece in pieces]),
            upper=series([piece[1] for _, piece in pieces]),
            slope=series([piece[2] for _, piece in pieces]),
            curvature=series([piece[3] if len(piece) > 3 else 0.0 for _, piece in pieces]),
        ),
        links=Links(
            seller=np.array([index[link[0]] for link in full], dtype=int),
            buyer=np.array([index[link[1]] for link in full], dtype=int),
            seller_preference=free,
            buyer_preference=np.array([link[2] for link in full], dtype=float),
            network_charge=free,
            capacity=np.array([link[3] for link in full], dtype=float),
        ),
        import_price=prices(import_price, np.inf),
        export_price=prices(export_price, -np.inf),
        storages=Storages(
            peer=np.array([index[name.split("/")[0]] for name in stores], dtype=int),
            names=tuple(name.split("/")[1] for name in stores),
            **{
                key: np.array([store[key] for store in stores.values()], dtype=float)
                for key in STORAGE
                if key not in {"lower", "upper", "state_cost"}
            },
            **{key: series([store[key] for store in stores.values()]) for key in ("lower", "upper", "state_cost")},
        ),
        limits=tuple(
            Limit(
                name=name,
                members=np.array([index[member] for member in members], dtype=int),
                lower=np.array(np.broadcast_to(lower, mtus), dtype=float),
                upper=np.array(np.broadcast_to(upper, mtus), dtype=float),
            )
            for name, members, lower, upper in limits
        ),
    )


@pytest.fixture(scope="session")
def make_market() -> MakeMarket:
    """A market from readable arguments; each number may be a list of one value an MTU.

    ``peers``: name to pieces ``(lower, upper, slope, curvature=0)``, consumption positive, each an asset of its own.
    ``links``: "all", or tuples ``(seller, buyer, cost=link_cost, capacity=link_capacity)``.
    ``import_price``, ``export_price``: for every peer, or peer to price.
    ``storages``: "peer/name" to what differs from ``STORAGE``. ``limits``: ``(name, members, lower, upper)``.
    """
    return _market


def _random_market(
    seed: int,
    *,
    peers: int = 4,
    mtus: int = 1,
    linear: bool = False,
    grid: bool = False,
    capped: bool = False,
    storages: bool = False,
    limits: bool = False,
    density: float = 0.7,
    feasible: bool = True,
) -> Market:
    """Bounds are put around hidden powers that balance: there is a feasible clearing, unless it is not asked for."""
    random = np.random.default_rng(seed)
    names = [f"p{n}" for n in range(peers)]
    hours = float(random.choice([0.25, 1.0]))
    pairs = [(s, b) for s in names for b in names if s != b and random.random() < density]
    trade = random.integers(0, 4, (len(pairs), mtus)) * random.integers(0, 2, (len(pairs), 1))
    net = np.zeros((peers, mtus))
    for (seller, buyer), power in zip(pairs, trade, strict=True):
        net[names.index(buyer)] += power
        net[names.index(seller)] -= power
    if not feasible:
        net += random.integers(-3, 4, net.shape)
    below, above = (random.integers(0, 4, (peers, mtus)) * random.integers(0, 2, (peers, 1)) for _ in range(2))
    curvature = np.zeros(peers) if linear else random.integers(0, 4, peers) / 2
    pieces: dict[str, list[tuple[Any, ...]]] = {
        name: [(net[n] - below[n], net[n] + above[n], -random.integers(0, 20, mtus) / 2.0, float(curvature[n]))]
        for n, name in enumerate(names)
    }
    for pieces_of_peer in pieces.values():
        if random.random() < 0.3:
            pieces_of_peer.append((-random.integers(0, 5), random.integers(0, 5), random.integers(-10, 10)))
    stores = {
        f"{name}/battery": {
            "max_charge": random.integers(0, 4),
            "max_discharge": random.integers(0, 4),
            "charge_efficiency": random.choice([0.8, 1.0]),
            "discharge_efficiency": random.choice([0.9, 1.0]),
            "initial": 2.0,
            "lower": random.integers(0, 3, mtus) if feasible else random.integers(0, 6, mtus),
            "upper": random.integers(6, 9, mtus),
            "cycle_cost": random.choice([0.0, 0.5]),
            "state_cost": random.choice([0.0, -0.5], mtus),
        }
        for name in names
        if storages and random.random() < 0.6
    }
    total = net[: max(1, peers // 2)].sum(axis=0)
    members = names[: max(1, peers // 2)]
    room = (total - random.integers(0, 3, mtus), total + random.integers(0, 3, mtus))
    return _market(
        pieces,
        links=[
            (seller, buyer, random.integers(0, 5) / 4.0, trade[k].max() + random.integers(0, 3) if capped else np.inf)
            for k, (seller, buyer) in enumerate(pairs)
        ],
        import_price={names[0]: random.integers(8, 12, mtus)} if grid else np.inf,
        export_price={names[-1]: random.integers(0, 6, mtus)} if grid else -np.inf,
        storages=stores,
        limits=[("feeder", members, *room), ("roof", names[-1:], -np.inf, net[-1] + 1.0)] if limits else (),
        mtus=mtus,
        hours=hours,
    )


@pytest.fixture(scope="session")
def random_market() -> MakeMarket:
    """A small random market by seed, with what is asked for by flags; see ``_random_market``."""
    return _random_market


@st.composite
def _markets(draw: Any, *, feasible: bool = True, max_peers: int = 5, max_mtus: int = 3) -> Market:
    flags = {name: draw(st.booleans()) for name in ("linear", "grid", "capped", "storages", "limits")}
    return _random_market(
        draw(st.integers(0, 2**32 - 1)),
        peers=draw(st.integers(1, max_peers)),
        mtus=draw(st.integers(1, max_mtus)),
        density=draw(st.sampled_from([0.3, 0.7, 1.0])),
        feasible=feasible,
        **flags,
    )


@pytest.fixture(scope="session")
def markets() -> Callable[..., st.SearchStrategy[Market]]:
    """Small random markets of every kind; with ``feasible=False`` some have no feasible clearing."""
    return _markets
