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

MakeCommunity = Callable[..., Community]


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
