"""Random communities that real ones rarely are: every kind of device, every carry-in, prices of either sign."""

from collections.abc import Callable

import numpy as np

from optimization.community import Community, Device, Envelope, Link, Peer, Tariff
from optimization.devices import (
    Battery,
    Curtailable,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Phase,
    PowerRange,
    Programme,
    Progress,
    Thermostatic,
)
from optimization.quantities import DeviceId, Floats, Horizon, PeerId, SectionId

Random = np.random.Generator
Draw = Callable[[Random, str, Horizon], list[Device]]


def harsh_community(seed: int, *, most_mtus: int = 10, envelopes: bool = True, planned: bool = True) -> Community:
    """A community of up to three peers; some limits conflict, and some tasks cannot be fulfilled.

    Parameters
    ----------
    seed : of everything that chance decides
    most_mtus : longest horizon; one in eight has a single MTU
    envelopes, planned : whether there may be limits, and an earlier plan
    """
    random = np.random.default_rng(seed)
    mtus = 1 if random.random() < 0.125 else int(random.integers(2, most_mtus + 1))
    minutes = int(random.choice([15, 30, 60]))
    days = (int(random.integers(1, mtus)),) if mtus > 1 and random.random() < 0.5 else ()
    horizon = Horizon(mtus=mtus, mtu_minutes=minutes, day_starts=days)
    names = [f"p{n}" for n in range(int(random.integers(1, 4)))]
    peers = tuple(
        Peer(id=PeerId(name), section=SectionId("street"), devices=tuple(_devices(random, name, horizon)))
        for name in names
    )
    pairs = [(s, b) for s in names for b in names if s != b and random.random() < 0.6]
    toll = float(random.choice([0.0, 0.02, 0.3]))
    bare = Community(
        horizon=horizon,
        tariff=_tariff(random, mtus),
        peers=peers,
        links=tuple(
            Link(seller=PeerId(s), buyer=PeerId(b), network_charge=toll, buyer_preference=0.01 * random.integers(0, 3))
            for s, b in pairs
        ),
    )
    return Community(
        horizon=horizon,
        tariff=bare.tariff,
        peers=peers,
        links=bare.links,
        envelopes=tuple(_envelopes(random, names, mtus)) if envelopes and random.random() < 0.6 else (),
        planned_kw=_planned(random, bare) if planned and random.random() < 0.4 else {},
        change_price=float(random.choice([0.001, 0.05, 0.5])),
    )


def _tariff(random: Random, mtus: int) -> Tariff:
    export = random.integers(-20, 30, mtus) * 0.01 if random.random() < 0.4 else np.full(mtus, 0.08)
    spread = np.zeros(mtus) if random.random() < 0.25 else random.integers(0, 30, mtus) * 0.01
    return Tariff(import_price=export + spread, export_price=export)


def _devices(random: Random, peer: str, horizon: Horizon) -> list[Device]:
    """Each kind with its own chance; now and then none at all."""
    if random.random() < 0.1:
        return []
    kinds: tuple[Draw, ...] = (_load, _roof, _generator, _battery, _vehicle, _programmes, _appliance, _relay, _pump)
    return [device for draw in kinds if random.random() < 0.4 for device in draw(random, peer, horizon)]


def _load(random: Random, peer: str, horizon: Horizon) -> list[Device]:
    return [FixedLoad(id=DeviceId(f"{peer}/load"), power_kw=random.integers(0, 8, horizon.mtus) * 0.25)]


def _roof(random: Random, peer: str, horizon: Horizon) -> list[Device]:
    available = random.integers(0, 20, horizon.mtus) * 0.25
    cost = float(random.choice([0.0, 0.03]))
    return [Curtailable(id=DeviceId(f"{peer}/pv"), available_kw=available, curtailment_cost=cost)]


def _elapsed(random: Random) -> int | None:
    return None if random.random() < 0.4 else int(random.integers(0, 4))


def _generator(random: Random, peer: str, horizon: Horizon) -> list[Device]:
    most = float(random.integers(1, 5))
    return [
        Generator(
            id=DeviceId(f"{peer}/generator"),
            min_kw=float(random.choice([0.0, 0.3, 1.0])) * most,
            max_kw=most,
            linear_cost=float(random.choice([-0.05, 0.05, 0.2])),
            running_cost=float(random.choice([0.0, 0.05])),
            start_cost=float(random.choice([0.0, 0.1])),
            min_up_mtus=int(random.integers(1, 4)),
            min_down_mtus=int(random.integers(1, 4)),
            running=bool(random.random() < 0.5),
            elapsed_mtus=_elapsed(random),
        )
    ]


def _battery(random: Random, peer: str, horizon: Horizon) -> list[Device]:
    capacity = float(random.integers(1, 8))
    return [
        Battery(
            id=DeviceId(f"{peer}/battery"),
            max_charge_kw=float(random.integers(0, 4)),
            max_discharge_kw=float(random.integers(0, 4)),
            capacity_kwh=capacity,
            initial_kwh=float(random.random() * capacity),
            final_kwh=float(random.choice([0.0, 0.5, 1.0])) * capacity,
            min_kwh=float(random.choice([0.0, 0.3])) * capacity,
            charge_efficiency=float(random.choice([0.8, 1.0])),
            discharge_efficiency=float(random.choice([0.9, 1.0])),
            self_discharge=float(random.choice([0.0, 0.05])),
            final_value=float(random.choice([0.0, 0.2])),
        )
    ]


def _vehicle(random: Random, peer: str, horizon: Horizon) -> list[Device]:
    arrival = int(random.integers(0, horizon.mtus + 1))
    capacity = float(random.integers(4, 20))
    levels = (PowerRange(lower_kw=1.4, upper_kw=3.7), PowerRange(lower_kw=4.1, upper_kw=11.0))
    return [
        ElectricVehicle(
            id=DeviceId(f"{peer}/car"),
            arrival_mtu=arrival,
            departure_mtu=int(random.integers(arrival, horizon.mtus + 1)),
            capacity_kwh=capacity,
            initial_kwh=float(random.random() * capacity),
            required_kwh=float(random.choice([0.0, 0.5, 1.0])) * capacity,
            levels=levels[: int(random.integers(1, 3))],
            max_discharge_kw=float(random.choice([0.0, 3.0])),
            min_kwh=float(random.choice([0.0, 0.3])) * capacity,
        )
    ]


def _phases(random: Random, most: int) -> tuple[Phase, ...]:
    return tuple(
        Phase(
            power_kw=random.integers(0, 5, int(random.integers(1, 3))) * 0.5,
            min_pause_mtus=(least := int(random.integers(0, 2))),
            max_pause_mtus=least + int(random.integers(0, 2)),
        )
        for _ in range(int(random.integers(1, most + 1)))
    )


def _programmes(random: Random, peer: str, horizon: Horizon) -> list[Device]:
    """A washer that may have begun, and a dryer that may follow it."""
    first = int(random.integers(0, horizon.mtus))
    washer = Programme(
        id=DeviceId(f"{peer}/washer"),
        phases=_phases(random, 3),
        first_mtu=first,
        end_mtu=int(random.integers(first, horizon.mtus + 1)),
        progress=None,
    )
    if random.random() < 0.4:
        phase = int(random.integers(0, len(washer.phases)))
        length = washer.phases[phase].mtus
        elapsed = int(random.integers(1, length + 1))
        paused = int(random.integers(0, 3)) if elapsed == length else 0
        progress = Progress(phase=phase, elapsed_mtus=elapsed, paused_mtus=paused)
        washer = Programme(
            id=washer.id, phases=washer.phases, first_mtu=first, end_mtu=washer.end_mtu, progress=progress
        )
    if random.random() < 0.5:
        return [washer]
    delay = int(random.integers(0, 2))
    begin = int(random.integers(0, horizon.mtus))
    dryer = Programme(
        id=DeviceId(f"{peer}/dryer"),
        phases=_phases(random, 2),
        first_mtu=begin,
        end_mtu=int(random.integers(begin, horizon.mtus + 1)),
        follows=washer.id,
        min_delay_mtus=delay,
        max_delay_mtus=delay + int(random.integers(0, 4)),
    )
    return [dryer, washer] if random.random() < 0.3 else [washer, dryer]


def _appliance(random: Random, peer: str, horizon: Horizon) -> list[Device]:
    first = int(random.integers(0, horizon.mtus))
    return [
        Interruptible(
            id=DeviceId(f"{peer}/appliance"),
            power_kw=float(random.integers(1, 4)),
            first_mtu=first,
            end_mtu=int(random.integers(first, horizon.mtus + 1)),
            required_mtus=int(random.integers(0, horizon.mtus + 1)),
            min_on_mtus=int(random.integers(1, 4)),
            min_off_mtus=int(random.integers(1, 4)),
            max_starts=None if random.random() < 0.5 else int(random.integers(0, 3)),
            starts_today=int(random.integers(0, 2)),
            running=bool(random.random() < 0.5),
            elapsed_mtus=_elapsed(random),
        )
    ]


def _relay(random: Random, peer: str, horizon: Horizon) -> list[Device]:
    return [_thermostat(random, f"{peer}/fridge", horizon, cools=True, modulating=False)]


def _pump(random: Random, peer: str, horizon: Horizon) -> list[Device]:
    return [_thermostat(random, f"{peer}/pump", horizon, cools=False, modulating=bool(random.random() < 0.6))]


def _thermostat(random: Random, name: str, horizon: Horizon, *, cools: bool, modulating: bool) -> Thermostatic:
    mtus = horizon.mtus
    lower = 5.0 if cools else 20.0
    return Thermostatic(
        id=DeviceId(name),
        rated_kw=2.0,
        heat_capacity_kwh_per_k=float(random.choice([0.5, 2.0])),
        loss_kw_per_k=float(random.choice([0.0, 0.1])),
        performance=np.full(mtus, -2.0 if cools else 3.0),
        ambient_c=np.full(mtus, 25.0 if cools else 5.0),
        draw_kw=random.integers(-2 if cools else 0, 1 if cools else 3, mtus) * 0.5,
        lower_c=np.full(mtus, lower),
        upper_c=np.full(mtus, lower + float(random.choice([0.0, 1.0, 4.0]))),
        initial_c=lower + float(random.uniform(-2.0, 5.0)),
        modulating=modulating,
        min_kw=float(random.choice([0.0, 0.8])) if modulating else 0.0,
        min_on_mtus=int(random.integers(1, 3)),
        min_off_mtus=int(random.integers(1, 3)),
        running=bool(random.random() < 0.5),
        elapsed_mtus=_elapsed(random),
        discomfort_cost=float(random.choice([1.0, 100.0])),
        start_cost=float(random.choice([0.0, 0.05])),
    )


def _envelopes(random: Random, names: list[str], mtus: int) -> list[Envelope]:
    """The whole street, or one peer, or some, from either side."""
    found = []
    for k in range(int(random.integers(1, 3))):
        members = [name for name in names if random.random() < 0.7]
        upper = random.integers(2, 16, mtus) * 0.5 if random.random() < 0.7 else np.full(mtus, np.inf)
        below = random.integers(0, 16, mtus) * -0.5 if random.random() < 0.6 else np.full(mtus, -np.inf)
        if random.random() < 0.1:
            below = np.minimum(upper, 0.5)
        found.append(
            Envelope(
                name=f"section {k}", peers=frozenset(PeerId(name) for name in members), lower_kw=below, upper_kw=upper
            )
        )
    return found


def _planned(random: Random, community: Community) -> dict[DeviceId, Floats]:
    """What some devices were planned to do; seldom what they can."""
    mtus = community.horizon.mtus
    return {device.id: random.integers(-4, 8, mtus) * 0.5 for _, device in community.devices() if random.random() < 0.6}
