"""Batteries and vehicles: powers, energies, and what is missing in the end."""

import numpy as np

from optimization.checking.verdict import Claim, Terms, Verdict, worst
from optimization.devices import Battery, ElectricVehicle
from optimization.quantities import Floats


def check_battery(battery: Battery, claim: Claim, terms: Terms) -> Verdict:
    """Whether a battery keeps its powers, its reserve and its capacity, and is as full as is said."""
    hours, power = terms.horizon.hours, claim.power_kw
    keep = (1.0 - battery.self_discharge) ** hours
    stored = _stored(battery, power, hours, keep=keep)
    missing = max(0.0, battery.final_kwh - float(stored[-1]))
    residual = max(
        worst(power - battery.max_charge_kw),
        worst(-power - battery.max_discharge_kw),
        worst(battery.floor_kwh(terms.horizon) - stored) / hours,
        worst(stored - battery.capacity_kwh) / hours,
        abs(missing - claim.shortfall) / hours,
        worst(np.abs(claim.state_kwh - stored)) / hours,
    )
    cost = battery.cycle_cost * hours * float(np.maximum(-power, 0.0).sum())
    cost += battery.waiting_cost * hours * float((battery.capacity_kwh - stored).sum())
    cost += terms.shortfall_price * claim.shortfall - battery.final_value * float(stored[-1])
    return Verdict(residual_kw=residual, cost=cost)


def check_vehicle(vehicle: ElectricVehicle, claim: Claim, terms: Terms) -> Verdict:
    """Whether a vehicle draws power only in its stay, in a mode that it has, and leaves as full as is said."""
    hours, power = terms.horizon.hours, claim.power_kw
    stay = slice(vehicle.arrival_mtu, vehicle.departure_mtu)
    away = np.ones(power.size, dtype=bool)
    away[stay] = False
    during = _stored(vehicle, power[stay], hours, keep=1.0)
    last = float(during[-1]) if during.size else vehicle.initial_kwh
    stored = np.full(power.size, vehicle.initial_kwh)
    stored[stay], stored[vehicle.departure_mtu :] = during, last
    residual = max(
        worst(np.abs(power[away])),
        worst(_distance_to_a_mode(vehicle, power[stay])),
        worst(vehicle.floor_kwh(terms.horizon) - during) / hours,
        worst(during - vehicle.capacity_kwh) / hours,
        abs(max(0.0, vehicle.required_kwh - last) - claim.shortfall) / hours,
        worst(np.abs(claim.state_kwh - stored)) / hours,
    )
    cost = vehicle.cycle_cost * hours * float(np.maximum(-power[stay], 0.0).sum())
    cost += vehicle.waiting_cost * hours * float((vehicle.capacity_kwh - during).sum())
    return Verdict(residual_kw=residual, cost=cost + terms.shortfall_price * claim.shortfall)


def _distance_to_a_mode(vehicle: ElectricVehicle, power: Floats) -> Floats:
    """How far each power is from the nearest that some mode allows; giving back and idling are one range to 0."""
    distance = np.maximum(power, -vehicle.max_discharge_kw - power)
    for level in vehicle.levels:
        distance = np.minimum(distance, np.maximum(level.lower_kw - power, power - level.upper_kw))
    return np.asarray(np.maximum(distance, 0.0))


def _stored(device: Battery | ElectricVehicle, power: Floats, hours: float, *, keep: float) -> Floats:
    """kWh at the end of each MTU, from the power at the terminals."""
    inflow = np.where(power > 0.0, power * device.charge_efficiency, power / device.discharge_efficiency)
    stored, reached = np.empty(power.size), device.initial_kwh
    for t, kilowatts in enumerate(inflow.tolist()):
        reached = keep * reached + hours * kilowatts
        stored[t] = reached
    return stored
