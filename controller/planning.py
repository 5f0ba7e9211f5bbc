"""From a snapshot to a dispatch problem, and from its clearing back to integers. The one crossing of the two worlds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.microgrid import (
    GRID_ACCOUNT,
    DeviceSetpoint,
    Flexibility,
    Microgrid,
    Plant,
    Relay,
    SetpointKind,
    Storage,
    Trade,
)
from controller.snapshot import Snapshot
from optimization.certificate import FEASIBILITY_TOLERANCE_KW, Certificate, certify, net_kw
from optimization.clearing import Clearing
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
from optimization.errors import SolverError
from optimization.rounding import (
    UNBOUNDED_WH,
    EnergyBounds,
    Integers,
    round_energy,
    round_power,
    round_trades,
)

SELLERS_PER_BUYER = 4
CURTAILED_KW = 1e-3
"""A plant is told to curtail where it is to produce at least a watt less than it could."""
MICRO = 1_000_000
KILO = 1000.0
PPM = 1e6
LEAST_INTEGER = -(2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is meant to happen from the window's start to the horizon's end.

    Attributes
    ----------
    start : Unix seconds of the first MTU
    net_w : the connection point's net power in each MTU
    power_w : each controllable device's power in each MTU, consumption positive
    setpoints : what each device is told in each MTU: kind and values
    shortfall_wh : what tasks fall short by, by device
    """

    start: int
    net_w: tuple[int, ...]
    power_w: Mapping[str, tuple[int, ...]]
    setpoints: Mapping[str, tuple[SetpointKind, tuple[int, ...]]]
    shortfall_wh: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a clearing decides about its window.

    Attributes
    ----------
    certificate : what is known about its quality
    trades : in order of MTU, seller, buyer; those with the grid included
    positions : Wh each member takes, by member and MTU
    setpoints : of the window's MTUs
    plan : of the whole rest of the horizon
    carry : remainders of rounding for the next window
    """

    certificate: Certificate
    trades: tuple[Trade, ...]
    positions: Mapping[tuple[str, int], int]
    setpoints: tuple[DeviceSetpoint, ...]
    plan: Plan
    carry: Mapping[str, int]


def problem(snapshot: Snapshot) -> Community:
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
        Envelope(name=target, peers=_bounded(snapshot, target), lower_kw=lower / KILO, upper_kw=upper / KILO)
        for target, (lower, upper) in sorted(bounds_w(snapshot).items())
    )


def _bounded(snapshot: Snapshot, target: str) -> frozenset[PeerId]:
    """The members whose power an envelope on this target sums."""
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
    members = _bounded(snapshot, target)
    return [
        sum(order.load_w[k] for member, order in snapshot.orders.items() if member in members)
        + sum(
            power_w[device.id][offset + k]
            for device in snapshot.devices
            if device.member in members and device.id in power_w
        )
        for k in range(len(snapshot.window_mtus()))
    ]


def decide(snapshot: Snapshot, community: Community, clearing: Clearing) -> Decision:
    """The integers that follow from a clearing.

    Raises
    ------
    SolverError
        If the clearing breaks a rule of its problem: what was not found feasible, recomputed, never acts.
    """
    certificate = certify(community, clearing)
    if not certificate.feasible:
        raise SolverError(
            f"recomputed feasibility: {certificate.violated} off by {certificate.primal_residual_kw:.3g} kW, "
            f"wanted {FEASIBILITY_TOLERANCE_KW:g}"
        )
    plan, net_w = _plan(snapshot, community, clearing)
    positions, carry = _positions(snapshot, net_w)
    trades, link_carry = _trades(snapshot, community, clearing, positions)
    mtus = snapshot.window_mtus()
    return Decision(
        certificate=certificate,
        trades=trades,
        positions=positions,
        setpoints=tuple(
            DeviceSetpoint(device=device, mtu_start=mtu, kind=kind, value=values[k])
            for device, (kind, values) in sorted(plan.setpoints.items())
            for k, mtu in enumerate(mtus)
        ),
        plan=plan,
        carry=carry | link_carry,
    )


def stated(certificate: Certificate) -> dict[str, float]:
    """A certificate as the API states it, in W and micro-currency; a bound that is not known is the least integer."""
    bound = certificate.lower_bound
    return {
        "primal_residual_w": certificate.primal_residual_kw * KILO,
        "objective_micro": round(certificate.objective * MICRO),
        "lower_bound_micro": round(bound * MICRO) if np.isfinite(bound) else LEAST_INTEGER,
        "gap": certificate.gap,
    }


def _plan(snapshot: Snapshot, community: Community, clearing: Clearing) -> tuple[Plan, Integers]:
    """The plan in W, and the (N, T) net power of each peer that it means."""
    flexibility = {device.id: device.flexibility for device in snapshot.devices}
    up = _round_up(snapshot, community, clearing)
    power_w: dict[str, tuple[int, ...]] = {}
    setpoints: dict[str, tuple[SetpointKind, tuple[int, ...]]] = {}
    net_w = np.zeros((len(community.peers), community.horizon.mtus), dtype=np.int64)
    for n, peer in enumerate(community.peers):
        for device in peer.devices:
            power = clearing.device_kw[device.id]
            match device, flexibility.get(device.id):
                case Interruptible(), Relay(rated_w=rated_w):
                    on = (power > device.power_kw / 2).astype(np.int64)
                    watts, kind, values = on * rated_w, SetpointKind.RELAY, on
                case Battery(), Storage() as storage:
                    watts = round_power(power, up=up[n], lower_w=-storage.max_discharge_w, upper_w=storage.max_charge_w)
                    kind, values = SetpointKind.POWER, watts
                case Curtailable(), Plant(rated_w=rated_w):
                    watts = round_power(power, up=up[n], lower_w=-rated_w, upper_w=0)
                    curtailed = device.available_kw + power > CURTAILED_KW
                    kind, values = SetpointKind.PRODUCTION_LIMIT, np.where(curtailed, -watts, rated_w)
                case _:
                    net_w[n] += np.round(power * KILO).astype(np.int64)
                    continue
            net_w[n] += watts
            power_w[device.id] = tuple(int(w) for w in watts)
            setpoints[device.id] = (kind, tuple(int(v) for v in values))
    plan = Plan(
        start=snapshot.window.start,
        net_w=tuple(int(w) for w in net_w.sum(axis=0)),
        power_w=power_w,
        setpoints=setpoints,
        shortfall_wh=_shortfall_wh(community, clearing),
    )
    return plan, net_w


def _round_up(snapshot: Snapshot, community: Community, clearing: Clearing) -> npt.NDArray[np.bool_]:
    """(N, T) whether a peer's setpoints are rounded up: where the limit nearest to it is one on feeding in."""
    index = {peer.id: n for n, peer in enumerate(community.peers)}
    net_w = net_kw(community, clearing) * KILO
    up = np.zeros(net_w.shape, dtype=bool)
    nearest = np.full(net_w.shape, np.inf)
    for target, (lower, upper) in sorted(bounds_w(snapshot).items()):
        rows = [index[peer] for peer in sorted(_bounded(snapshot, target))]
        total = net_w[rows].sum(axis=0)
        for slack, side in ((upper - total, False), (total - lower, True)):
            nearer = slack < nearest[rows]
            up[rows] = np.where(nearer, side, up[rows])
            nearest[rows] = np.where(nearer, slack, nearest[rows])
    return up


def _shortfall_wh(community: Community, clearing: Clearing) -> dict[str, int]:
    hours = community.horizon.hours
    shortfall = {}
    for _, device in community.devices():
        short = clearing.shortfall.get(device.id, 0.0)
        if short and isinstance(device, Interruptible):
            shortfall[str(device.id)] = round(short * device.power_kw * hours * KILO)
        elif short:
            shortfall[str(device.id)] = round(short * KILO)
    return shortfall


def _positions(snapshot: Snapshot, net_w: Integers) -> tuple[dict[tuple[str, int], int], dict[str, int]]:
    """Whole Wh of each member and MTU of the window, and the remainders."""
    ids = [member.id for member in snapshot.members]
    sections = sorted({member.section for member in snapshot.members})
    minutes = snapshot.microgrid.mtu_minutes
    carry = np.array([snapshot.carry.get(f"peer {member}", 0) for member in ids], dtype=np.int64)
    limits = bounds_w(snapshot)
    positions: dict[tuple[str, int], int] = {}
    for k, mtu in enumerate(snapshot.window_mtus()):

        def within(target: str, k: int = k) -> tuple[int, int]:
            lower, upper = limits.get(target, (None, None))
            low = -UNBOUNDED_WH if lower is None or np.isinf(lower[k]) else -(-int(lower[k]) * minutes // 60)
            high = UNBOUNDED_WH if upper is None or np.isinf(upper[k]) else int(upper[k]) * minutes // 60
            # A band without a whole Wh in it is kept by the powers; whole Wh come as near as they can.
            return min(low, high), max(low, high)

        grid = snapshot.microgrid.name
        bounds = EnergyBounds(
            section=np.array([sections.index(member.section) for member in snapshot.members]),
            total_wh=within(grid),
            section_wh=np.array([within(f"{grid}/sections/{section}") for section in sections]),
            peer_wh=np.array([within(f"{grid}/members/{member}") for member in ids]),
        )
        energy, carry = round_energy(net_w[:, k], minutes=minutes, carry=carry, bounds=bounds, ties=ids)
        positions |= {(member, mtu): int(wh) for member, wh in zip(ids, energy, strict=True)}
    return positions, {f"peer {member}": int(rest) for member, rest in zip(ids, carry, strict=True)}


def _trades(
    snapshot: Snapshot, community: Community, clearing: Clearing, positions: Mapping[tuple[str, int], int]
) -> tuple[tuple[Trade, ...], dict[str, int]]:
    """The window's trades among neighbours, and with the grid what is left of each position."""
    index = {peer.id: n for n, peer in enumerate(community.peers)}
    names = [f"link {link.seller} {link.buyer}" for link in community.links]
    carry = np.array([snapshot.carry.get(name, 0) for name in names], dtype=np.int64)
    trades: list[Trade] = []
    bought: dict[tuple[str, int], int] = defaultdict(int)
    for k, mtu in enumerate(snapshot.window_mtus()):
        energy, carry = round_trades(clearing.trade_kwh[:, k], carry)
        tariff = snapshot.microgrid.prices(mtu)
        for link, wh in zip(community.links, energy, strict=True):
            if wh == 0:
                continue
            value = clearing.price[index[link.seller], k] + link.seller_preference
            charge = snapshot.microgrid.network_charge_micro_per_kwh
            highest = max(tariff.import_price_micro_per_kwh - charge, tariff.export_price_micro_per_kwh)
            price = min(max(round(value * MICRO), tariff.export_price_micro_per_kwh), highest)
            trades.append(
                Trade(
                    seller=link.seller,
                    buyer=link.buyer,
                    mtu_start=mtu,
                    energy_wh=int(wh),
                    price_micro_per_kwh=price,
                )
            )
            bought[link.buyer, mtu] += int(wh)
            bought[link.seller, mtu] -= int(wh)
    trades += _grid_trades(snapshot.microgrid, positions, bought)
    trades.sort(key=lambda t: (t.mtu_start, t.seller, t.buyer))
    return tuple(trades), {name: int(rest) for name, rest in zip(names, carry, strict=True)}


def _grid_trades(
    microgrid: Microgrid, positions: Mapping[tuple[str, int], int], bought: Mapping[tuple[str, int], int]
) -> list[Trade]:
    """What each member takes beyond its trades with neighbours, bought from or sold to the grid at the tariff."""
    trades = []
    for (member, mtu), net in positions.items():
        rest = net - bought.get((member, mtu), 0)
        tariff = microgrid.prices(mtu)
        if rest > 0:
            price = tariff.import_price_micro_per_kwh
            trades.append(
                Trade(
                    seller=GRID_ACCOUNT,
                    buyer=member,
                    mtu_start=mtu,
                    energy_wh=rest,
                    price_micro_per_kwh=price,
                )
            )
        elif rest < 0:
            price = tariff.export_price_micro_per_kwh
            trades.append(
                Trade(
                    seller=member,
                    buyer=GRID_ACCOUNT,
                    mtu_start=mtu,
                    energy_wh=-rest,
                    price_micro_per_kwh=price,
                )
            )
    return trades
