"""A device and its state as the dispatch sees them, and what of its task fits nowhere.

A task that a device cannot fulfil by itself any more is replaced by the nearest one that it can, and what is missing is
stated beside the plan: so that nobody's impossible wish stops the community, or drowns its costs.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from controller.flexibility import Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import Device, DeviceState, ThermalForecast
from controller.programmes import chained, deferred, progress, unfit
from controller.projecting import surroundings
from controller.snapshot import Snapshot
from controller.wishes import Decided, Mode, mean_power_w
from optimization import devices as models
from optimization.devices.thermostatic import DISCOMFORT_COST
from optimization.quantities import MAX_MAGNITUDE, MAX_MTUS, DeviceId, Floats, Horizon

MICRO = 1_000_000
KILO = 1000.0
MILLI = 1000.0
PPM = 1e6
SECONDS_PER_HOUR = 3600
LONG_AGO_MTUS = 10**6
BAND_TOLERANCE_K = 1e-6


def horizon_of(snapshot: Snapshot) -> Horizon:
    """The MTUs from the window's start on, with the days of the microgrid's time zone."""
    mtu, start, mtus = snapshot.microgrid.mtu_seconds, snapshot.window.start, len(snapshot.mtus())
    days = sorted({-(-(midnight - start) // mtu) for midnight in snapshot.microgrid.midnights()})
    return Horizon(
        mtus=mtus,
        mtu_minutes=snapshot.microgrid.mtu_minutes,
        day_starts=tuple(day for day in days if 0 < day < mtus),
    )


def devices_of(snapshot: Snapshot, member: str) -> tuple[models.Device, ...]:
    """What a member has, in order of the ids: the uncontrolled load first."""
    mtus = len(snapshot.mtus())
    order = snapshot.orders.get(member)
    load = order.load_w if order else (0,) * mtus
    own = [_rested(device, snapshot.overrides) for device in snapshot.devices if device.member == member]
    fixed = {device.id: power for device in own if (power := _decided_kw(snapshot, device)) is not None}
    programmes = {d.id: d.flexibility for d in own if isinstance(d.flexibility, Programme)}
    chains = chained(programmes, snapshot.states)
    left_out = unfit(snapshot, programmes, chains)
    devices: list[models.Device] = [
        # What was bought before comes in whatever its buyer does now, and what was sold goes out.
        _fixed(f"{member}/uncontrolled", (np.array(load) - np.array(snapshot.bought_w(member))) / KILO)
    ]
    for device in own:
        if device.id in fixed:
            devices.append(_fixed(device.id, fixed[device.id]))
        elif device.id in left_out:
            devices.append(models.FixedLoad(id=DeviceId(device.id), power_kw=np.zeros(mtus)))
        elif isinstance(device.flexibility, Programme):
            devices.append(_programme(snapshot, device, device.flexibility, chains.get(device.id)))
        else:
            devices.append(_device(snapshot, device, device.flexibility))
    return tuple(devices)


def _fixed(id_: str, power_kw: Floats) -> models.FixedLoad:
    """Power that nobody controls; of either sign where it gives anywhere."""
    kind = models.FixedExchange if (power_kw < 0.0).any() else models.FixedLoad
    return kind(id=DeviceId(id_), power_kw=power_kw)


def _rested(device: Device, overrides: Mapping[str, Decided]) -> Device:
    """The device, whose task begins no earlier than its owner lets it."""
    decided = overrides.get(device.id)
    if decided is None or decided.mode is Mode.RUN_NOW:
        return device
    match device.flexibility:
        case Relay(start=start) | Programme(start=start) as task:
            return replace(device, flexibility=replace(task, start=max(start, decided.until)))
        case Vehicle(arrival=arrival) as vehicle:
            return replace(device, flexibility=replace(vehicle, arrival=max(arrival, decided.until)))
        case _:
            return device


def _decided_kw(snapshot: Snapshot, device: Device) -> Floats | None:
    """(T,) kW of a device whose owner decided what it does in the window; None where the plan decides.

    It does nothing after that in this plan: the first window after the override plans it from what it did.
    """
    decided = snapshot.overrides.get(device.id)
    if decided is None:
        return None
    if decided.mode is not Mode.RUN_NOW and isinstance(device.flexibility, Relay | Programme | Vehicle | Plant):
        return None
    mtu = snapshot.microgrid.mtu_seconds
    return np.array([mean_power_w(decided.steps, start, start + mtu) for start in snapshot.mtus()]) / KILO


def _available_w(snapshot: Snapshot, device: Device, plant: Plant) -> Floats:
    """(T,) W that a plant can produce: as forecast, at most its rating, nothing while its owner curtails it."""
    order = snapshot.orders.get(device.member)
    forecast = order.production.get(device.id) if order else None
    available = np.minimum(forecast or (0,) * len(snapshot.mtus()), plant.rated_w).astype(np.float64)
    if (decided := snapshot.overrides.get(device.id)) is not None:
        available[np.array(snapshot.mtus()) < decided.until] = 0.0
    return available


def _device(
    snapshot: Snapshot, device: Device, flexibility: Relay | Storage | Plant | Vehicle | Thermostat | Generator
) -> models.Device:
    order = snapshot.orders.get(device.member)
    match flexibility:
        case Relay() as relay:
            return _relay(snapshot, device, relay)
        case Storage() as storage:
            return _storage(snapshot, device, storage)
        case Plant() as plant:
            return models.Curtailable(
                id=DeviceId(device.id),
                available_kw=_available_w(snapshot, device, plant) / KILO,
                curtailment_cost=plant.curtailment_cost_micro_per_kwh / MICRO,
            )
        case Vehicle() as vehicle:
            return _vehicle(snapshot, device, vehicle)
        case Thermostat() as thermostat:
            thermal = order.thermal.get(device.id) if order else None
            return _thermostat(snapshot, device, thermostat, thermal or ThermalForecast())
        case Generator() as generator:
            return _generator(snapshot, device, generator)


def _relay(snapshot: Snapshot, device: Device, relay: Relay) -> models.Interruptible:
    state = snapshot.states.get(device.id)
    first, end = allowed(snapshot, relay.start, relay.end)
    return models.Interruptible(
        id=DeviceId(device.id),
        power_kw=relay.rated_w / KILO,
        first_mtu=first,
        end_mtu=end,
        required_mtus=min(_due_mtus(snapshot, relay, state), end - first),
        min_on_mtus=_least_mtus(snapshot, relay.min_on_s),
        min_off_mtus=_least_mtus(snapshot, relay.min_off_s),
        max_starts=None if relay.max_starts_per_day is None else min(relay.max_starts_per_day, MAX_MTUS),
        starts_today=_starts_today(state),
        running=state is not None and state.on,
        elapsed_mtus=_elapsed_mtus(snapshot, state),
    )


def _due_mtus(snapshot: Snapshot, relay: Relay, state: DeviceState | None) -> int:
    """What an appliance owes within the planning: not what can be done after it."""
    return max(0, _owed_mtus(snapshot, relay, state) - later_mtus(snapshot, relay.start, relay.end))


def later_mtus(snapshot: Snapshot, start: int, end: int) -> int:
    """The whole MTUs of ``[start, end)`` after the planning; none where it ends with the microgrid."""
    if not snapshot.microgrid.rolling:
        return 0
    return max(0, (end - max(start, snapshot.microgrid.end)) // snapshot.microgrid.mtu_seconds)


def _owed_mtus(snapshot: Snapshot, relay: Relay, state: DeviceState | None) -> int:
    owed_s = max(0, relay.required_s - (state.task_closed_s if state else 0))
    return -(-owed_s // snapshot.microgrid.mtu_seconds)


def _storage(snapshot: Snapshot, device: Device, storage: Storage) -> models.Battery:
    """The battery; of the wanted energy, what charging all the time reaches."""
    state = snapshot.states.get(device.id)
    known_wh = storage.stored_wh if state is None or state.stored_wh is None else state.stored_wh
    capacity = _kilo(storage.capacity_wh)
    initial = min(max(known_wh / KILO, 0.0), capacity)
    battery = models.Battery(
        id=DeviceId(device.id),
        max_charge_kw=storage.max_charge_w / KILO,
        max_discharge_kw=storage.max_discharge_w / KILO,
        capacity_kwh=capacity,
        initial_kwh=initial,
        final_kwh=0.0,
        min_kwh=min(_kilo(storage.reserve_wh), capacity),
        charge_efficiency=storage.charge_efficiency_ppm / PPM,
        discharge_efficiency=storage.discharge_efficiency_ppm / PPM,
        self_discharge=storage.self_discharge_ppm_per_hour / PPM,
        final_value=storage.final_value_micro_per_kwh / MICRO,
        cycle_cost=storage.cycle_cost_micro_per_kwh / MICRO,
    )
    horizon = horizon_of(snapshot)
    keep, inflow = battery.keep(horizon), horizon.hours * battery.charge_efficiency * battery.max_charge_kw
    reached = initial
    for _ in range(horizon.mtus):
        reached = min(capacity, keep * reached + inflow)
    return replace(battery, final_kwh=min(_kilo(storage.final_wh), reached))


def _vehicle(snapshot: Snapshot, device: Device, vehicle: Vehicle) -> models.ElectricVehicle:
    """The stay, or what is left of it; of the wanted energy, what charging all the time reaches."""
    state = snapshot.states.get(device.id)
    known_wh = vehicle.stored_wh if state is None or state.stored_wh is None else state.stored_wh
    capacity = _kilo(vehicle.capacity_wh)
    initial = min(max(known_wh / KILO, 0.0), capacity)
    arrival, departure = allowed(snapshot, vehicle.arrival, vehicle.departure)
    levels = tuple(
        models.PowerRange(lower_kw=level.lower_w / KILO, upper_kw=level.upper_w / KILO) for level in vehicle.levels
    )
    efficiency = vehicle.charge_efficiency_ppm / PPM
    hours = snapshot.microgrid.mtu_minutes / 60
    reached = min(capacity, initial + (departure - arrival) * hours * efficiency * levels[-1].upper_kw)
    return models.ElectricVehicle(
        id=DeviceId(device.id),
        arrival_mtu=arrival,
        departure_mtu=departure,
        capacity_kwh=capacity,
        initial_kwh=initial,
        required_kwh=min(_due_kwh(snapshot, vehicle), reached),
        levels=levels,
        charge_efficiency=efficiency,
        discharge_efficiency=vehicle.discharge_efficiency_ppm / PPM,
        max_discharge_kw=vehicle.max_discharge_w / KILO,
        min_kwh=min(_kilo(vehicle.reserve_wh), capacity),
        cycle_cost=vehicle.cycle_cost_micro_per_kwh / MICRO,
    )


def _due_kwh(snapshot: Snapshot, vehicle: Vehicle) -> float:
    """What a vehicle shall hold when the planning ends, or at its departure: not what can be charged after it."""
    hours = later_mtus(snapshot, vehicle.arrival, vehicle.departure) * snapshot.microgrid.mtu_minutes / 60
    later = hours * vehicle.charge_efficiency_ppm / PPM * vehicle.levels[-1].upper_w / KILO
    return max(0.0, _kilo(vehicle.required_wh) - later)


def _programme(snapshot: Snapshot, device: Device, programme: Programme, follows: str | None) -> models.Programme:
    mtu = snapshot.microgrid.mtu_seconds
    first, end = allowed(snapshot, programme.start, programme.end)
    least = min(programme.min_delay_s // mtu, MAX_MTUS)
    most = MAX_MTUS if programme.max_delay_s is None else min(programme.max_delay_s // mtu, MAX_MTUS)
    return models.Programme(
        id=DeviceId(device.id),
        phases=tuple(
            models.Phase(
                power_kw=np.array(phase.power_w) / KILO,
                min_pause_mtus=min(phase.min_pause_s // mtu, MAX_MTUS),
                max_pause_mtus=min(phase.max_pause_s // mtu, MAX_MTUS),
            )
            for phase in programme.phases
        ),
        first_mtu=first,
        end_mtu=end,
        follows=None if follows is None else DeviceId(follows),
        min_delay_mtus=least,
        max_delay_mtus=max(least, most),
        progress=progress(programme, snapshot.states.get(device.id), mtu),
    )


def _thermostat(
    snapshot: Snapshot, device: Device, thermostat: Thermostat, thermal: ThermalForecast
) -> models.Thermostatic:
    """The load; its band is widened by what neither running nor resting all the time could keep it in."""
    state = snapshot.states.get(device.id)
    known = thermostat.temperature_milli_c
    if state is not None and state.temperature_milli_c is not None:
        known = state.temperature_milli_c
    around = np.array([surroundings(thermostat, thermal, mtu) for mtu in range(len(snapshot.mtus()))])
    lower_c, upper_c = bands_c(snapshot, thermostat)
    discomfort = thermostat.discomfort_cost_micro_per_k_h
    load = models.Thermostatic(
        id=DeviceId(device.id),
        rated_kw=thermostat.rated_w / KILO,
        heat_capacity_kwh_per_k=thermostat.heat_capacity_wh_per_k / KILO,
        loss_kw_per_k=thermostat.loss_milli_w_per_k / MILLI / KILO,
        performance=around[:, 2] / PPM,
        ambient_c=around[:, 0] / MILLI,
        draw_kw=around[:, 1] / KILO,
        lower_c=lower_c,
        upper_c=upper_c,
        initial_c=min(max(known / MILLI, -1000.0), 1000.0),
        modulating=thermostat.modulating,
        min_kw=thermostat.min_w / KILO,
        min_on_mtus=_least_mtus(snapshot, thermostat.min_on_s),
        min_off_mtus=_least_mtus(snapshot, thermostat.min_off_s),
        running=state is not None and state.on,
        elapsed_mtus=_elapsed_mtus(snapshot, state),
        discomfort_cost=discomfort / MICRO if discomfort else DISCOMFORT_COST,
        start_cost=thermostat.start_cost_micro / MICRO,
    )
    horizon = horizon_of(snapshot)
    resting = load.temperature_c(np.zeros(horizon.mtus), horizon)
    running = load.temperature_c(np.full(horizon.mtus, load.rated_kw), horizon)
    return replace(
        load,
        lower_c=np.minimum(lower_c, np.maximum(resting, running) - BAND_TOLERANCE_K),
        upper_c=np.maximum(upper_c, np.minimum(resting, running) + BAND_TOLERANCE_K),
    )


def bands_c(snapshot: Snapshot, thermostat: Thermostat) -> tuple[Floats, Floats]:
    """(T,) lower and (T,) upper degrees that a thermostat's owner wants at the end of each MTU."""
    starts = np.array(snapshot.mtus())
    lower, upper = np.full(starts.size, thermostat.lower_milli_c), np.full(starts.size, thermostat.upper_milli_c)
    for period in thermostat.comfort:
        inside = (starts >= period.start) & (starts < period.end)
        lower[inside], upper[inside] = period.lower_milli_c, period.upper_milli_c
    return lower / MILLI, upper / MILLI


def _generator(snapshot: Snapshot, device: Device, generator: Generator) -> models.Generator:
    state = snapshot.states.get(device.id)
    return models.Generator(
        id=DeviceId(device.id),
        min_kw=generator.min_w / KILO,
        max_kw=generator.max_w / KILO,
        quadratic_cost=generator.quadratic_cost_micro_per_kw2_h / MICRO,
        linear_cost=generator.linear_cost_micro_per_kwh / MICRO,
        running_cost=generator.running_cost_micro_per_h / MICRO,
        start_cost=generator.start_cost_micro / MICRO,
        min_up_mtus=_least_mtus(snapshot, generator.min_up_s),
        min_down_mtus=_least_mtus(snapshot, generator.min_down_s),
        running=state is not None and state.on,
        elapsed_mtus=_elapsed_mtus(snapshot, state),
    )


def unfit_wh(snapshot: Snapshot, device: Device, model: models.Device) -> int:
    """Wh of a device's task that fit nowhere, and that its model was therefore not asked for."""
    match device.flexibility, model:
        case Relay() as relay, models.Interruptible():
            missing = _due_mtus(snapshot, relay, snapshot.states.get(device.id)) - model.required_mtus
            return missing * relay.rated_w * snapshot.microgrid.mtu_seconds // SECONDS_PER_HOUR
        case Storage() as storage, models.Battery():
            return max(0, storage.final_wh - round(model.final_kwh * KILO))
        case Vehicle() as vehicle, models.ElectricVehicle():
            coming = vehicle.departure > snapshot.window.start
            due_wh = round(_due_kwh(snapshot, vehicle) * KILO)
            return max(0, due_wh - round(model.required_kwh * KILO)) * coming
        case Programme() as programme, models.FixedLoad():
            if deferred(snapshot, programme) or device.id in snapshot.overrides:
                return 0
            return sum(programme.profile_w) * snapshot.microgrid.mtu_seconds // SECONDS_PER_HOUR
        case _:
            return 0


def allowed(snapshot: Snapshot, start: int, end: int) -> tuple[int, int]:
    """The whole MTUs of the horizon inside ``[start, end)``, half-open."""
    mtu, now = snapshot.microgrid.mtu_seconds, snapshot.window.start
    mtus = len(snapshot.mtus())
    first = min(max(-(-(start - now) // mtu), 0), mtus)
    last = min(max((end - now) // mtu, 0), mtus)
    return first, max(first, last)


def _least_mtus(snapshot: Snapshot, seconds: int) -> int:
    return min(max(1, -(-seconds // snapshot.microgrid.mtu_seconds)), MAX_MTUS)


def _elapsed_mtus(snapshot: Snapshot, state: DeviceState | None) -> int | None:
    """To the nearest MTU: drivers switch a second or two late."""
    if state is None or state.held_s is None:
        return None
    mtu = snapshot.microgrid.mtu_seconds
    return min((state.held_s + mtu // 2) // mtu, LONG_AGO_MTUS)


def _starts_today(state: DeviceState | None) -> int:
    return 0 if state is None or state.starts_today is None else state.starts_today


def _kilo(wh: int) -> float:
    return min(wh / KILO, MAX_MAGNITUDE)
