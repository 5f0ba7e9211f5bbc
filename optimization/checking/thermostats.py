"""Thermostatic loads: powers, minimum times, temperatures and comfort."""

import math

import numpy as np

from optimization.checking.commitment import commitment
from optimization.checking.verdict import Claim, Terms, Verdict, worst
from optimization.devices import Thermostatic
from optimization.quantities import Floats

OUTSIDE_K = 1e-6
"""A temperature that is outside its band by less counts as inside."""


def check_thermostatic(device: Thermostatic, claim: Claim, terms: Terms) -> Verdict:
    """Whether a load draws what it can, keeps its minimum times, and is as warm and as uncomfortable as is said.

    A kelvin that is said wrongly counts as a kilowatt.
    """
    hours, power = terms.horizon.hours, claim.power_kw
    reached = _temperature(device, power, hours)
    outside = np.maximum(np.maximum(device.lower_c - reached, reached - device.upper_c), 0.0)
    least = device.min_kw if device.modulating else device.rated_kw
    up = power > (least / 2 if least else terms.tolerance_kw)
    beyond = np.where(up, np.maximum(least - power, power - device.rated_kw), np.abs(power))
    committed = commitment(
        device,
        may_be_up=up if least else np.ones_like(up),
        may_be_down=~up,
        up_cost=0.0,
        min_up=device.min_on_mtus,
        min_down=device.min_off_mtus,
    )
    residual = max(
        worst(beyond),
        committed.mtus_wrong * device.rated_kw,
        worst(np.abs(claim.temperature_c - reached)),
        abs(hours * float(outside.sum()) - claim.shortfall) / hours,
    )
    cost = device.discomfort_cost * claim.shortfall + committed.cost
    if not device.modulating:
        cost += device.discomfort_cost / 4 * int(np.count_nonzero(outside > OUTSIDE_K))
    return Verdict(residual_kw=residual, cost=cost)


def _temperature(device: Thermostatic, power: Floats, hours: float) -> Floats:
    """(T,) degrees at the end of each MTU, by the exact solution under powers that are constant over it."""
    heat = device.performance * power - device.draw_kw
    conductance, capacity = device.loss_kw_per_k, device.heat_capacity_kwh_per_k
    reached, temperature = device.initial_c, np.empty(power.size)
    lost = -math.expm1(-hours * conductance / capacity)
    for t, (kilowatts, ambient) in enumerate(zip(heat.tolist(), device.ambient_c.tolist(), strict=True)):
        if conductance == 0.0:
            reached += hours * kilowatts / capacity
        else:
            reached += lost * (ambient - reached) + lost / conductance * kilowatts
        temperature[t] = reached
    return temperature
