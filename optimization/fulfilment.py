"""Which devices cannot fulfil their own task, whatever the community does.

Such a device stops no plan: it gets the nearest fulfilment, and what it falls short by is stated. But its owner should
know at once, and not from a shortfall.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from optimization.community import (
    Battery,
    Community,
    Curtailable,
    Device,
    DeviceId,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Horizon,
    Interruptible,
    Peer,
    Programme,
    Thermostatic,
)

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpossibleTask:
    """A task that its device cannot fulfil.

    Attributes
    ----------
    device : its id
    task : what was asked of it, in words
    got : how far it can come, with unit
    wanted : what was wanted of it, with unit
    """

    device: DeviceId
    task: str
    got: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.device}: {self.task}: got {self.got}, wanted {self.wanted}"


def impossible_tasks(community: Community) -> tuple[ImpossibleTask, ...]:
    """The tasks that no schedule of their device fulfils, in the order of the devices."""
    found: list[ImpossibleTask] = []
    for peer in community.peers:
        programmes = _impossible_programmes(peer, community.horizon)
        for device in peer.devices:
            if isinstance(device, Programme):
                found += [programmes[device.id]] if device.id in programmes else []
            else:
                found += _impossible(device, community.horizon)
    return tuple(found)


def _impossible(device: Device, horizon: Horizon) -> Iterator[ImpossibleTask]:
    match device:
        case Interruptible():
            return _of_interruptible(device, horizon)
        case ElectricVehicle():
            return _of_vehicle(device, horizon)
        case Battery():
            return _of_battery(device, horizon)
        case Thermostatic():
            return _of_thermostatic(device, horizon)
        case FixedLoad() | Curtailable() | Generator() | Programme():
            return iter(())


def _duration(mtus: int, horizon: Horizon) -> str:
    hours, minutes = divmod(abs(mtus) * horizon.mtu_minutes, 60)
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"


def _of_battery(battery: Battery, horizon: Horizon) -> Iterator[ImpossibleTask]:
    keep, inflow = battery.keep(horizon), horizon.hours * battery.charge_efficiency * battery.max_charge_kw
    if battery.initial_kwh < battery.min_kwh - ROUNDING:
        yield ImpossibleTask(
            device=battery.id,
            task="its reserve at the start",
            got=f"{battery.initial_kwh:g} kWh",
            wanted=f"{battery.min_kwh:g} kWh",
        )
    elif (least := float(battery.floor_kwh(horizon).min())) < battery.min_kwh - ROUNDING:
        yield ImpossibleTask(
            device=battery.id,
            task="its reserve, kept against its own losses by charging at full power",
            got=f"{least:.3g} kWh",
            wanted=f"{battery.min_kwh:g} kWh",
        )
    most = battery.initial_kwh
    for _ in range(horizon.mtus):
        most = min(battery.capacity_kwh, keep * most + inflow)
    if most < battery.final_kwh - ROUNDING:
        yield ImpossibleTask(
            device=battery.id,
            task=f"its energy at the end, after charging at full power for {_duration(horizon.mtus, horizon)}",
            got=f"{most:.3g} kWh",
            wanted=f"{battery.final_kwh:g} kWh",
        )


def _of_vehicle(vehicle: ElectricVehicle, horizon: Horizon) -> Iterator[ImpossibleTask]:
    stay = vehicle.departure_mtu - vehicle.arrival_mtu
    most = vehicle.initial_kwh + _most_charged(vehicle, horizon, stay)
    if most < vehicle.required_kwh - ROUNDING:
        yield ImpossibleTask(
            device=vehicle.id,
            task=f"its energy on departure, after a stay of {_duration(stay, horizon)}",
            got=f"{most:.4g} kWh",
            wanted=f"{vehicle.required_kwh:g} kWh",
        )


def _most_charged(vehicle: ElectricVehicle, horizon: Horizon, stay: int) -> float:
    """The most kWh that charging adds without going over the capacity.

    A charging point that cannot go below some power may have to leave a vehicle not quite full; one that can give back
    makes room for it, and is taken to get there.
    """
    per_kw = horizon.hours * vehicle.charge_efficiency
    room = vehicle.capacity_kwh - vehicle.initial_kwh
    full = stay * per_kw * vehicle.max_charge_kw
    if full <= room:
        return full
    if vehicle.max_discharge_kw > 0.0:
        return room
    levels = [(per_kw * level.lower_kw, per_kw * level.upper_kw) for level in vehicle.levels]
    reached = [(0.0, 0.0)]
    for _ in range(stay):
        sums = reached + [(lo + a, min(hi + b, room)) for lo, hi in reached for a, b in levels if lo + a <= room]
        merged = _merged(sums)
        if merged == reached or merged[-1][1] >= room:
            return merged[-1][1]
        reached = merged
    return reached[-1][1]


def _merged(intervals: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The union of intervals, as disjoint ones, ascending."""
    union: list[tuple[float, float]] = []
    for lower, upper in sorted(intervals):
        if union and lower <= union[-1][1] + ROUNDING:
            union[-1] = (union[-1][0], max(union[-1][1], upper))
        else:
            union.append((lower, upper))
    return union


def _of_interruptible(device: Interruptible, horizon: Horizon) -> Iterator[ImpossibleTask]:
    if device.required_mtus <= min(device.forced_mtus, horizon.mtus) or _fits_in_one_go(device, horizon):
        return
    most = most_mtus(device, horizon)
    if most < device.required_mtus:
        window = _duration(device.end_mtu - device.first_mtu, horizon)
        yield ImpossibleTask(
            device=device.id,
            task=f"its running time, within a window of {window}, its least runs and rests, and its starts per day",
            got=_duration(most, horizon),
            wanted=_duration(device.required_mtus, horizon),
        )


def _fits_in_one_go(device: Interruptible, horizon: Horizon) -> bool:
    """Whether one run, after what is forced at the start, does it: so it is with most, and soon told."""
    going_on = device.running and device.first_mtu <= device.forced_mtus
    if going_on and device.end_mtu >= device.required_mtus:
        return True
    ready = device.forced_mtus + device.min_off_mtus if device.running else device.resting_mtus
    start = max(device.first_mtu, ready)
    if start >= horizon.mtus or (device.max_starts is not None and device.max_starts <= device.starts_today):
        return False
    return device.end_mtu - start >= max(device.min_on_mtus, device.required_mtus - device.forced_mtus)


def most_mtus(device: Interruptible, horizon: Horizon) -> int:
    """The most MTUs that an appliance can run, whatever it owes.

    Dynamic programming over the MTUs. A state is what the appliance does, for how many MTUs more it must, and the
    starts that are left on the day.
    """
    day, limit = horizon.day, device.max_starts
    left = -1 if limit is None else max(0, limit - device.starts_today)
    must = device.forced_mtus if device.running else device.resting_mtus
    states: dict[tuple[bool, int, int], int] = {(device.running, must, left): 0}
    for t in range(horizon.mtus):
        inside = device.first_mtu <= t < device.end_mtu
        if t and day[t] != day[t - 1] and limit is not None:
            states = _best([((on, must, limit), mtus) for (on, must, _), mtus in states.items()])
        following: list[tuple[tuple[bool, int, int], int]] = []
        for (on, must, left), mtus in states.items():
            if on:
                if must or inside:
                    following.append(((True, max(0, must - 1), left), mtus + 1))
                if not must:
                    following.append(((False, device.min_off_mtus - 1, left), mtus))
                continue
            following.append(((False, max(0, must - 1), left), mtus))
            if not must and left and inside and t + device.min_on_mtus <= device.end_mtu:
                following.append(((True, device.min_on_mtus - 1, max(-1, left - 1)), mtus + 1))
        states = _best(following)
    return max(states.values())


def _best(values: list[tuple[tuple[bool, int, int], int]]) -> dict[tuple[bool, int, int], int]:
    """Of each state the most."""
    best: dict[tuple[bool, int, int], int] = {}
    for state, mtus in values:
        best[state] = max(mtus, best.get(state, 0))
    return best


def _of_thermostatic(device: Thermostatic, horizon: Horizon) -> Iterator[ImpossibleTask]:
    """The first MTU in which neither full power nor rest since the start keeps the band."""
    band = f"{device.lower_c[0]:g} to {device.upper_c[0]:g} °C"
    if not device.lower_c[0] - ROUNDING <= device.initial_c <= device.upper_c[0] + ROUNDING:
        yield ImpossibleTask(
            device=device.id, task="its temperature at the start", got=f"{device.initial_c:g} °C", wanted=band
        )
        return
    keep, gain, drift = device.dynamics(horizon)
    coldest = warmest = device.initial_c
    rated = gain * device.rated_kw
    for t in range(horizon.mtus):
        coldest = keep * coldest + float(min(0.0, rated[t]) + drift[t])
        warmest = keep * warmest + float(max(0.0, rated[t]) + drift[t])
        lower, upper = float(device.lower_c[t]), float(device.upper_c[t])
        if lower - ROUNDING <= warmest and coldest <= upper + ROUNDING:
            coldest, warmest = max(coldest, lower), min(warmest, upper)
            continue
        too_cold = warmest < lower
        means = "full power" if too_cold == (device.performance[t] > 0) else "rest"
        yield ImpossibleTask(
            device=device.id,
            task=f"its temperature {_duration(t + 1, horizon)} from the start, by {means}",
            got=f"{warmest:.4g} °C at most" if too_cold else f"{coldest:.4g} °C at least",
            wanted=f"{lower:g} to {upper:g} °C",
        )
        return


def _impossible_programmes(peer: Peer, horizon: Horizon) -> dict[DeviceId, ImpossibleTask]:
    """Those of a peer's programmes that fit nowhere, predecessors first."""
    waiting = [d for d in peer.devices if isinstance(d, Programme)]
    ends: dict[DeviceId, tuple[int, int] | None] = {}
    found: dict[DeviceId, ImpossibleTask] = {}
    while waiting:
        ready = [d for d in waiting if d.follows is None or d.progress is not None or d.follows in ends]
        waiting = [d for d in waiting if d not in ready]
        for device in ready:
            ends[device.id], task = _programme_ends(device, ends, horizon)
            if task is not None:
                found[device.id] = task
    return found


def _programme_ends(
    device: Programme, ends: dict[DeviceId, tuple[int, int] | None], horizon: Horizon
) -> tuple[tuple[int, int] | None, ImpossibleTask | None]:
    """The first and last MTU by which a programme can have ended (any between them too), or why there is none."""
    if device.progress is not None:
        return _continued_ends(device), None
    shortest, longest = _lengths(device, 0)
    window = device.end_mtu - device.first_mtu
    task, got, wanted = "its cycle with least pauses", f"a window of {_duration(window, horizon)}", shortest
    first, last = device.first_mtu, device.end_mtu - shortest
    if first <= last and device.follows is not None:
        before = ends[device.follows]
        if before is None:
            got = f"{device.follows} that cannot run"
            task, first, last = f"its cycle after {device.follows}", 1, 0
        else:
            first, last = max(first, before[0] + device.min_delay_mtus), min(last, before[1] + device.max_delay_mtus)
            task = f"its cycle in its window after {device.follows}"
            begin = max(before[0] + device.min_delay_mtus, device.first_mtu)
            got = f"{_duration(max(0, device.end_mtu - begin), horizon)} left"
            if begin > before[1] + device.max_delay_mtus:
                got = f"a window that begins {_duration(begin - before[1] - device.max_delay_mtus, horizon)} too late"
    if first > last:
        return None, ImpossibleTask(device=device.id, task=task, got=got, wanted=_duration(wanted, horizon))
    return (first + shortest, min(device.end_mtu, last + longest)), None


def _lengths(device: Programme, phase: int) -> tuple[int, int]:
    """The least and most MTUs from the begin of a phase to the end of the last."""
    phases = device.phases[phase:]
    drawn = sum(p.mtus for p in phases)
    return drawn + sum(p.min_pause_mtus for p in phases[1:]), drawn + sum(p.max_pause_mtus for p in phases[1:])


def _continued_ends(device: Programme) -> tuple[int, int] | None:
    """The first and last MTU by which a programme can have ended that has begun already."""
    progress = device.progress
    if progress is None:
        return None
    left = device.phases[progress.phase].mtus - progress.elapsed_mtus
    following = progress.phase + 1
    if following == len(device.phases):
        return (left, left) if left else (-progress.paused_mtus, -progress.paused_mtus)
    pauses = device.phases[following]
    shortest, longest = _lengths(device, following)
    first = left + max(0, pauses.min_pause_mtus - progress.paused_mtus)
    last = left + max(0, pauses.max_pause_mtus - progress.paused_mtus)
    return first + shortest, max(first, last) + longest
