r"""Batteries and vehicles: energy that is charged, kept and given back.

.. math::

    s_t = \kappa s_{t-1} + \Delta (\eta^c p^+_t - p^-_t / \eta^d), \qquad \underline s_t \le s_t \le \overline s

A battery that charges and discharges at once would lose energy without anything else changing. That is forbidden by a
whole number, unless it costs wear and cannot pay (``Setting.may_pay_to_waste``), or nothing is lost. A vehicle spends
each MTU in one mode: idle, at one of its levels, or giving back.
"""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimization.community import Battery, ElectricVehicle
from optimization.reference.devices.written import Schedule, Setting, Written

LEAST_WEAR = 1e-5
"""Currency per kWh discharged from which on a solver, whose costs are exact to 1e-7, sees that waste does not pay."""


def write_battery(block: Any, device: Battery, setting: Setting) -> Written:
    """A battery over the whole horizon."""
    horizon, hours = setting.horizon, setting.horizon.hours
    mtus, last = range(horizon.mtus), horizon.mtus - 1
    keep, floor = device.keep(horizon), device.floor_kwh(horizon)
    block.charged = pyo.Var(mtus, bounds=(0.0, device.max_charge_kw))
    block.discharged = pyo.Var(mtus, bounds=(0.0, device.max_discharge_kw))
    block.stored = pyo.Var(mtus, bounds=lambda b, t: (float(floor[t]), device.capacity_kwh))
    block.short = pyo.Var(within=pyo.NonNegativeReals)
    block.dynamics = pyo.Constraint(
        mtus,
        rule=lambda b, t: (
            b.stored[t]
            == keep * (b.stored[t - 1] if t else device.initial_kwh)
            + hours * device.charge_efficiency * b.charged[t]
            - hours / device.discharge_efficiency * b.discharged[t]
        ),
    )
    block.final = pyo.Constraint(expr=block.stored[last] + block.short >= device.final_kwh)
    lossless = device.charge_efficiency * device.discharge_efficiency == 1.0
    doubtful = setting.may_pay_to_waste | (device.cycle_cost < LEAST_WEAR)
    block.one_way = [t for t in mtus if doubtful[t] and not lossless]
    block.charging = pyo.Var(block.one_way, within=pyo.Binary)
    block.charges = pyo.Constraint(
        block.one_way, rule=lambda b, t: b.charged[t] <= device.max_charge_kw * b.charging[t]
    )
    block.discharges = pyo.Constraint(
        block.one_way, rule=lambda b, t: b.discharged[t] <= device.max_discharge_kw * (1 - b.charging[t])
    )
    cost = (
        sum(hours * device.cycle_cost * block.discharged[t] for t in mtus)
        + sum(hours * device.waiting_cost * (device.capacity_kwh - block.stored[t]) for t in mtus)
        + setting.shortfall_price * block.short
        - device.final_value * block.stored[last]
    )

    def read() -> Schedule:
        return Schedule(
            power_kw=np.array([pyo.value(block.charged[t]) - pyo.value(block.discharged[t]) for t in mtus]),
            state_kwh=np.array([pyo.value(block.stored[t]) for t in mtus]),
            shortfall=float(pyo.value(block.short)),
        )

    return Written(power=[block.charged[t] - block.discharged[t] for t in mtus], cost=cost, read=read)


def write_vehicle(block: Any, device: ElectricVehicle, setting: Setting) -> Written:
    """A vehicle over its stay; before and after it there is no power, and its energy does not change."""
    horizon, hours = setting.horizon, setting.horizon.hours
    arrival, departure = device.arrival_mtu, device.departure_mtu
    stay, levels = range(arrival, departure), range(len(device.levels))
    floor = device.floor_kwh(horizon)
    block.at_level = pyo.Var(levels, stay, within=pyo.Binary)
    block.giving = pyo.Var(stay, within=pyo.Binary, bounds=(0, 1 if device.max_discharge_kw else 0))
    block.charged = pyo.Var(levels, stay, within=pyo.NonNegativeReals)
    block.discharged = pyo.Var(stay, bounds=(0.0, device.max_discharge_kw))
    block.stored = pyo.Var(stay, bounds=lambda b, t: (float(floor[t - arrival]), device.capacity_kwh))
    block.short = pyo.Var(within=pyo.NonNegativeReals)
    block.one_mode = pyo.Constraint(stay, rule=lambda b, t: sum(b.at_level[k, t] for k in levels) + b.giving[t] <= 1)
    block.at_least = pyo.Constraint(
        levels, stay, rule=lambda b, k, t: b.charged[k, t] >= device.levels[k].lower_kw * b.at_level[k, t]
    )
    block.at_most = pyo.Constraint(
        levels, stay, rule=lambda b, k, t: b.charged[k, t] <= device.levels[k].upper_kw * b.at_level[k, t]
    )
    block.gives = pyo.Constraint(stay, rule=lambda b, t: b.discharged[t] <= device.max_discharge_kw * b.giving[t])
    block.dynamics = pyo.Constraint(
        stay,
        rule=lambda b, t: (
            b.stored[t]
            == (b.stored[t - 1] if t > arrival else device.initial_kwh)
            + hours * device.charge_efficiency * sum(b.charged[k, t] for k in levels)
            - hours / device.discharge_efficiency * b.discharged[t]
        ),
    )
    leaves_with = block.stored[departure - 1] if stay else device.initial_kwh
    block.needed = pyo.Constraint(expr=block.short + leaves_with >= device.required_kwh)
    power = {t: sum(block.charged[k, t] for k in levels) - block.discharged[t] for t in stay}
    cost = (
        sum(hours * device.cycle_cost * block.discharged[t] for t in stay)
        + sum(hours * device.waiting_cost * (device.capacity_kwh - block.stored[t]) for t in stay)
        + setting.shortfall_price * block.short
    )

    def read() -> Schedule:
        state = np.full(horizon.mtus, device.initial_kwh)
        if stay:
            state[arrival:departure] = [pyo.value(block.stored[t]) for t in stay]
            state[departure:] = state[departure - 1]
        return Schedule(
            power_kw=np.array([float(pyo.value(power.get(t, 0.0))) for t in range(horizon.mtus)]),
            state_kwh=state,
            shortfall=float(pyo.value(block.short)),
        )

    return Written(power=[power.get(t, 0.0) for t in range(horizon.mtus)], cost=cost, read=read)
