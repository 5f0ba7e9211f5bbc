"""What a device is told and how far its task is met, from the powers of a clearing."""

import numpy as np
import numpy.typing as npt

from controller.flexibility import Flexibility, Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import SetpointKind
from controller.snapshot import Snapshot
from controller.tasks import bands_c, unfit_wh
from optimization import devices as models
from optimization.clearing import Clearing
from optimization.community import Community, Floats
from optimization.errors import ProblemError
from optimization.rounding import Integers, round_power

CURTAILED_KW = 1e-3
"""A plant is told to curtail where it is to produce at least a watt less than it could."""
RUNNING_W = 0.5
"""What a device takes at less than this, it takes by a solver's tolerance."""
KILO = 1000.0
LEAST_SHORTFALL_WH = 1
LEAST_DISCOMFORT_MILLI_K_H = 1


def told(
    device: models.Device, flexibility: Flexibility, power_kw: Floats, *, up: npt.NDArray[np.bool_]
) -> tuple[Integers, SetpointKind, Integers]:
    """What a device takes and is told in each MTU.

    Parameters
    ----------
    device : as it was dispatched
    flexibility : as it was registered
    power_kw : (T,) kW of the clearing
    up : (T,) whether a power that may be rounded goes up

    Returns
    -------
    watts : (T,) consumption positive
    kind : of the setpoints
    values : (T,) as the kind says
    """
    on = (np.abs(power_kw) * KILO > RUNNING_W).astype(np.int64)
    kind = SetpointKind.POWER
    match device, flexibility:
        case models.Interruptible(), Relay(rated_w=rated_w):
            on = (power_kw > device.power_kw / 2).astype(np.int64)
            watts, kind, values = on * rated_w, SetpointKind.RELAY, on
        case ((models.Programme() | models.FixedLoad()), Programme()):
            watts, kind, values = np.round(power_kw * KILO).astype(np.int64) * on, SetpointKind.RELAY, on
        case models.FixedLoad(), Relay(rated_w=rated_w) | Thermostat(modulating=False, rated_w=rated_w):
            # What its owner decided; of an MTU that this covers in part, the larger part counts.
            watts, kind = np.round(power_kw * KILO).astype(np.int64), SetpointKind.RELAY
            values = (2 * watts > rated_w).astype(np.int64)
        case models.FixedLoad(), Storage() | Vehicle() | Generator() | Thermostat():
            values = watts = np.round(power_kw * KILO).astype(np.int64)
        case models.Thermostatic(), Thermostat(modulating=False, rated_w=rated_w):
            watts, kind, values = on * rated_w, SetpointKind.RELAY, on
        case models.Thermostatic(), Thermostat() as thermostat:
            values = watts = _within(power_kw, up, [(0, 0), (thermostat.min_w, thermostat.rated_w)])
        case models.Battery(), Storage() as storage:
            values = watts = _within(power_kw, up, [(-storage.max_discharge_w, storage.max_charge_w)])
        case models.ElectricVehicle(), Vehicle() as vehicle:
            levels = [(level.lower_w, level.upper_w) for level in vehicle.levels]
            values = watts = _within(power_kw, up, [(-vehicle.max_discharge_w, 0), *levels])
        case models.Generator(), Generator() as generator:
            values = watts = _within(power_kw, up, [(-generator.max_w, -generator.min_w), (0, 0)])
        case models.Curtailable(), Plant(rated_w=rated_w):
            watts, kind = _within(power_kw, up, [(-rated_w, 0)]), SetpointKind.PRODUCTION_LIMIT
            values = np.where(device.available_kw + power_kw > CURTAILED_KW, -watts, rated_w)
        case _:
            kinds = type(device).__name__, type(flexibility).__name__
            raise ProblemError(f"{device.id}: got a {kinds[0]}, wanted what a {kinds[1]} is dispatched as")
    return watts, kind, values


def _within(power_kw: Floats, up: npt.NDArray[np.bool_], ranges: list[tuple[int, int]]) -> Integers:
    """(T,) W, rounded, of a device that may have the powers of some ranges: the nearest where rounding left them.

    Of several ranges, one holds 0.
    """
    watts = round_power(power_kw, up=up, lower_w=ranges[0][0], upper_w=ranges[-1][1])
    if len(ranges) == 1:
        return watts
    choices = np.array([np.clip(watts, lower, upper) for lower, upper in ranges])
    nearest = np.take_along_axis(choices, np.abs(choices - power_kw * KILO).argmin(axis=0)[None], axis=0)[0]
    inside = (choices == watts).any(axis=0)
    return np.where(np.abs(power_kw) * KILO > RUNNING_W, np.where(inside, watts, nearest), 0)


def shortfalls_wh(snapshot: Snapshot, community: Community, clearing: Clearing) -> dict[str, int]:
    """Wh that each device's task falls short by, by device; those of none are left out."""
    own = {device.id: device for device in snapshot.devices}
    shortfall = {}
    for _, model in community.devices():
        if model.id not in own or isinstance(model, models.Thermostatic):
            continue
        short = clearing.shortfall.get(model.id, 0.0)
        if isinstance(model, models.Interruptible):
            short *= model.power_kw * community.horizon.hours
        wh = round(short * KILO) + unfit_wh(snapshot, own[model.id], model)
        if wh >= LEAST_SHORTFALL_WH:
            shortfall[str(model.id)] = wh
    return shortfall


def discomforts_milli_k_h(snapshot: Snapshot, community: Community, clearing: Clearing) -> dict[str, int]:
    """Thousandths of K h outside the band that each thermostat's owner wants, by device; those of none are left out."""
    own = {device.id: device.flexibility for device in snapshot.devices}
    discomfort = {}
    for _, model in community.devices():
        flexibility = own.get(model.id)
        if not isinstance(model, models.Thermostatic) or not isinstance(flexibility, Thermostat):
            continue
        lower_c, upper_c = bands_c(snapshot, flexibility)
        reached_c = model.temperature_c(clearing.device_kw[model.id], community.horizon)
        outside = np.maximum(0.0, lower_c - reached_c) + np.maximum(0.0, reached_c - upper_c)
        amount = round(float(outside.sum()) * community.horizon.hours * KILO)
        if amount >= LEAST_DISCOMFORT_MILLI_K_H:
            discomfort[str(model.id)] = amount
    return discomfort
