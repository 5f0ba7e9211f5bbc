"""From a snapshot to a dispatch problem: integers and resource names become floats and arrays.

The way back is ``planning``; nowhere else do the two worlds meet.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from controller.microgrid import (
    Flexibility,
    Plant,
    Relay,
    Storage,
)
from controller.snapshot import Snapshot
from optimization.community import (
    Battery,
    Community,
    Curtailable,
    DeviceId,
    Envelope,
    FixedLoad,
    Floats,
    Horizon,
    Interruptible,
    Link,
    Peer,
    PeerId,
    SectionId,
    Tariff,
)
from optimization.community import Device as ProblemDevice

SELLERS_PER_BUYER = 4
MICRO = 1_000_000
KILO = 1000.0
PPM = 1e6


def build(snapshot: Snapshot) -> Community:
    """The dispatch problem over the rest of the horizon.

    A device whose owed hours no longer fit its window is asked for what still fits.
    """
    starts = snapshot.mtus()
    prices = [snapshot.microgrid.prices(start) for start in starts]
    return Community(
        horizon=Horizon(mtus=len(starts), mtu_minutes=snapshot.microgrid.mtu_minutes),
        tariff=Tariff(
            import_price=np.array([p.import_price_micro_per_kwh for p in prices]) / MICRO,
            export_price=np.array([p.export_price_micro_per_kwh for p in prices]) / MICRO,
        ),
        peers=tuple(
            Peer(
                id=PeerId(member.id),
                section=SectionId(member.section),
                devices=_devices_of(snapshot, member.id),
            )
            for member in snapshot.members
        ),
        links=_links(snapshot),
        envelopes=_envelopes(snapshot),
    )


def _devices_of(snapshot: Snapshot, member: str) -> tuple[ProblemDevice, ...]:
    mtus = len(snapshot.mtus())
    order = snapshot.orders.get(member)
    load = order.load_w if order else (0,) * mtus
    devices: list[ProblemDevice] = [FixedLoad(id=DeviceId(f"{member}/uncontrolled"), power_kw=np.array(load) / KILO)]
    for device in snapshot.devices:
        if device.member != member:
            continue
        available = order.production.get(device.id, (0,) * mtus) if order else (0,) * mtus
        devices.append(_device(snapshot, DeviceId(device.id), device.flexibility, available))
    return tuple(devices)


def _device(snapshot: Snapshot, id_: DeviceId, flexibility: Flexibility, available_w: tuple[int, ...]) -> ProblemDevice:
    state = snapshot.states.get(id_)
    match flexibility:
        case Plant(rated_w=rated_w):
            return Curtailable(id=id_, available_kw=np.minimum(available_w, rated_w) / KILO)
        case Storage() as storage:
            stored = storage.stored_wh if state is None or state.stored_wh is None else state.stored_wh
            return Battery(
                id=id_,
                max_charge_kw=storage.max_charge_w / KILO,
                max_discharge_kw=storage.max_discharge_w / KILO,
                capacity_kwh=storage.capacity_wh / KILO,
                initial_kwh=min(stored, storage.capacity_wh) / KILO,
                final_kwh=storage.final_wh / KILO,
                charge_efficiency=storage.charge_efficiency_ppm / PPM,
                discharge_efficiency=storage.discharge_efficiency_ppm / PPM,
                cycle_cost=storage.cycle_cost_micro_per_kwh / MICRO,
            )
        case Relay() as relay:
            first, end = _allowed(snapshot, relay)
            owed_s = max(0, relay.required_s - (state.closed_s if state else 0))
            owed = -(-owed_s // snapshot.microgrid.mtu_seconds)
            return Interruptible(
                id=id_,
                power_kw=relay.rated_w / KILO,
                first_mtu=first,
                end_mtu=end,
                required_mtus=min(owed, end - first),
                running=state is not None and state.power_w > 0,
            )


def _allowed(snapshot: Snapshot, relay: Relay) -> tuple[int, int]:
    """The whole MTUs of the horizon in which an appliance may run, half-open."""
    mtu, start = snapshot.microgrid.mtu_seconds, snapshot.window.start
    mtus = len(snapshot.mtus())
    first = min(max(-(-(relay.start - start) // mtu), 0), mtus)
    end = min(max((relay.end - start) // mtu, 0), mtus)
    return first, max(first, end)


def _links(snapshot: Snapshot) -> tuple[Link, ...]:
    """Links between members who name each other, of each buyer the cheapest few sellers."""
    can_sell = {d.member for d in snapshot.devices if isinstance(d.flexibility, Plant | Storage)}
    charge = snapshot.microgrid.network_charge_micro_per_kwh
    links = []
    for buyer, order in sorted(snapshot.orders.items()):
        offers = [
            (other.partners[buyer] + preference, seller)
            for seller, preference in order.partners.items()
            if seller in can_sell and (other := snapshot.orders.get(seller)) and buyer in other.partners
        ]
        for _, seller in sorted(offers)[:SELLERS_PER_BUYER]:
            links.append(
                Link(
                    seller=PeerId(seller),
                    buyer=PeerId(buyer),
                    seller_preference=snapshot.orders[seller].partners[buyer] / MICRO,
                    buyer_preference=order.partners[seller] / MICRO,
                    network_charge=charge / MICRO,
                )
            )
    return tuple(links)


def bounds_w(snapshot: Snapshot) -> dict[str, tuple[Floats, Floats]]:
    """The intersection of all limits by target, as lower and upper W of each MTU to the end of the horizon.

    Rounded inwards to what makes whole Wh in an MTU, so that rounding energies leaves nothing behind for good; a band
    too narrow for that is kept as it is.
    """
    step = 60 // snapshot.microgrid.mtu_minutes
    starts = np.array(snapshot.mtus())
    bounds: dict[str, tuple[Floats, Floats]] = {}
    for limit in snapshot.limits:
        lower, upper = bounds.setdefault(limit.target, (np.full(len(starts), -np.inf), np.full(len(starts), np.inf)))
        for period in limit.periods:
            inside = (starts >= period.start) & (starts < period.end)
            if period.lower_w is not None:
                lower[inside] = np.maximum(lower[inside], period.lower_w)
            if period.upper_w is not None:
                upper[inside] = np.minimum(upper[inside], period.upper_w)
    for lower, upper in bounds.values():
        low, high = np.ceil(lower / step) * step, np.floor(upper / step) * step
        lower[:], upper[:] = np.where(low <= high, low, lower), np.where(low <= high, high, upper)
    return bounds


def _envelopes(snapshot: Snapshot) -> tuple[Envelope, ...]:
    return tuple(
        Envelope(name=target, peers=members_under(snapshot, target), lower_kw=lower / KILO, upper_kw=upper / KILO)
        for target, (lower, upper) in sorted(bounds_w(snapshot).items())
    )


def members_under(snapshot: Snapshot, target: str) -> frozenset[PeerId]:
    """The members whose power an envelope on a target sums: the connection point, a section, or one of them."""
    parts = target.split("/")
    match parts[2:]:
        case ["sections", section]:
            return frozenset(PeerId(m.id) for m in snapshot.members if m.section == section)
        case ["members", member]:
            return frozenset({PeerId(member)})
        case _:
            return frozenset(PeerId(m.id) for m in snapshot.members)


def net_of_tail(snapshot: Snapshot, target: str, power_w: Mapping[str, Sequence[int]], offset: int) -> list[int]:
    """Net W in the window's MTUs of the members under a target, were an earlier plan's powers to act.

    Parameters
    ----------
    snapshot : forecasts of now
    target : resource name of an envelope's target
    power_w : the earlier plan's device powers
    offset : MTUs between that plan's start and the window's
    """
    members = members_under(snapshot, target)
    return [
        sum(order.load_w[k] for member, order in snapshot.orders.items() if member in members)
        + sum(
            power_w[device.id][offset + k]
            for device in snapshot.devices
            if device.member in members and device.id in power_w
        )
        for k in range(len(snapshot.window_mtus()))
    ]
