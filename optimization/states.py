"""What schedules lead to: energies stored, temperatures, and what each task falls short by.

Planning fills a clearing with these. The certificate recomputes them on its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from optimization.community import (
    Battery,
    Community,
    Curtailable,
    Device,
    DeviceId,
    ElectricVehicle,
    FixedLoad,
    Floats,
    Generator,
    Horizon,
    Interruptible,
    Programme,
    Thermostatic,
)

NEGLIGIBLE = 1e-9
"""Shortfalls below this (kWh, MTUs, K h) are a solver's rounding, and count as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """What devices hold at the end of each MTU.

    Attributes
    ----------
    state_kwh : (T,) kWh of each battery, and of each vehicle (constant outside its stay)
    temperature_c : (T,) degrees of each thermostatic load
    """

    state_kwh: Mapping[DeviceId, Floats]
    temperature_c: Mapping[DeviceId, Floats]


def states_of(community: Community, device_kw: Mapping[DeviceId, Floats]) -> States:
    """What batteries, vehicles and thermostatic loads hold under the (T,) kW of each device."""
    horizon = community.horizon
    stored: dict[DeviceId, Floats] = {}
    temperature: dict[DeviceId, Floats] = {}
    for _, device in community.devices():
        match device:
            case Battery() | ElectricVehicle():
                stored[device.id] = stored_kwh(device, device_kw[device.id], horizon)
            case Thermostatic():
                temperature[device.id] = device.temperature_c(device_kw[device.id], horizon)
            case FixedLoad() | Curtailable() | Generator() | Interruptible() | Programme():
                pass
    return States(state_kwh=stored, temperature_c=temperature)


def stored_kwh(device: Battery | ElectricVehicle, power_kw: Floats, horizon: Horizon) -> Floats:
    """(T,) kWh stored at the end of each MTU under (T,) kW at the terminals; a vehicle's changes in its stay alone."""
    inflow = np.maximum(power_kw, 0.0) * device.charge_efficiency
    inflow += np.minimum(power_kw, 0.0) / device.discharge_efficiency
    keep = 1.0
    if isinstance(device, ElectricVehicle):
        inflow[: device.arrival_mtu] = 0.0
        inflow[device.departure_mtu :] = 0.0
    else:
        keep = device.keep(horizon)
    if keep == 1.0:
        return np.asarray(device.initial_kwh + horizon.hours * np.cumsum(inflow))
    stored, reached = np.empty(horizon.mtus), device.initial_kwh
    for t, gained in enumerate((horizon.hours * inflow).tolist()):
        reached = keep * reached + gained
        stored[t] = reached
    return stored


def shortfall_of(
    community: Community, device_kw: Mapping[DeviceId, Floats], states: States | None = None
) -> dict[DeviceId, float]:
    """What each device falls short by, where it does, in the units of ``Clearing.shortfall``.

    Parameters
    ----------
    community : the problem
    device_kw : (T,) kW of each device, which keeps its rules
    states : what ``states_of`` says of them, where it is known already
    """
    known = states_of(community, device_kw) if states is None else states
    short = {
        device.id: _shortfall(device, device_kw[device.id], known, community.horizon)
        for _, device in community.devices()
    }
    return {device: amount for device, amount in short.items() if amount > NEGLIGIBLE}


def shortfall_price(community: Community, device: Device) -> float:
    """Currency that the objective counts for each unit of ``Clearing.shortfall`` that a device falls short by.

    That each MTU outside its band costs an on/off thermostat something beside the kelvins is left out.
    """
    match device:
        case Thermostatic():
            return device.discomfort_cost
        case Interruptible():
            return community.shortfall_price * device.power_kw * community.horizon.hours
        case Battery() | ElectricVehicle() | Programme():
            return community.shortfall_price
        case FixedLoad() | Curtailable() | Generator():
            return 0.0


def shortfall_cost(community: Community, shortfall: Mapping[DeviceId, float]) -> float:
    """Currency that the objective counts for what devices fall short by, by their `shortfall_price`."""
    return sum(shortfall_price(community, device) * shortfall.get(device.id, 0.0) for _, device in community.devices())


def _shortfall(device: Device, power: Floats, states: States, horizon: Horizon) -> float:
    match device:
        case Battery():
            return device.final_kwh - float(states.state_kwh[device.id][-1])
        case ElectricVehicle():
            return device.required_kwh - float(states.state_kwh[device.id][-1])
        case Interruptible():
            return device.required_mtus - float(np.count_nonzero(power > device.power_kw / 2))
        case Programme():
            left_out = device.progress is None and not (power > NEGLIGIBLE).any()
            return device.energy_kwh(horizon.hours) if left_out else 0.0
        case Thermostatic():
            reached = states.temperature_c[device.id]
            outside = np.maximum(np.maximum(device.lower_c - reached, reached - device.upper_c), 0.0)
            return horizon.hours * float(outside.sum())
        case FixedLoad() | Curtailable() | Generator():
            return 0.0
