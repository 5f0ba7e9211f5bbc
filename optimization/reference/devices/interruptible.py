"""Appliances on a relay that owe a running time."""

from typing import Any

import pyomo.environ as pyo

from optimization.community import Interruptible
from optimization.reference.devices.switching import add_switching, read_on
from optimization.reference.devices.written import Schedule, Setting, Written


def write_interruptible(block: Any, device: Interruptible, setting: Setting) -> Written:
    """An appliance: on inside its window, but for a run that was carried in and has not lasted its minimum."""
    horizon, hours = setting.horizon, setting.horizon.hours
    mtus, forced = range(horizon.mtus), device.forced_mtus
    add_switching(
        block,
        mtus,
        running=device.running,
        least_on=device.min_on_mtus,
        least_off=device.min_off_mtus,
        stays_on=forced,
        stays_off=device.resting_mtus,
    )
    for t in mtus:
        if t >= forced and not device.first_mtu <= t < device.end_mtu:
            block.on[t].setub(0)
        if t + device.min_on_mtus > device.end_mtu:
            block.start[t].setub(0.0)
    block.short = pyo.Var(within=pyo.NonNegativeReals)
    served = sum(block.on[t] for t in mtus)
    block.task = pyo.Constraint(expr=served + block.short >= device.required_mtus)
    block.no_more = pyo.Constraint(expr=served <= device.max_on_mtus)
    if device.max_starts is not None:
        day = horizon.day
        allowed = [max(0, device.max_starts - (0 if k else device.starts_today)) for k in range(day[-1] + 1)]
        block.few_starts = pyo.Constraint(
            range(len(allowed)), rule=lambda b, k: sum(b.start[t] for t in mtus if day[t] == k) <= allowed[k]
        )
    energy = device.power_kw * hours
    cost = (
        setting.shortfall_price * energy * block.short
        + sum(device.waiting_cost * energy * hours * t * block.on[t] for t in mtus)
        + sum(device.start_cost * block.start[t] for t in mtus)
    )
    return Written(
        power=[device.power_kw * block.on[t] for t in mtus],
        cost=cost,
        read=lambda: Schedule(power_kw=device.power_kw * read_on(block, mtus), shortfall=float(pyo.value(block.short))),
    )
