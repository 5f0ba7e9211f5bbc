r"""Loads that hold a temperature.

.. math::

    \theta_t = \alpha \theta_{t-1} + g_t p_t + d_t, \qquad
    o_t \ge \theta_t - \overline\theta_t, \quad o_t \ge \underline\theta_t - \theta_t, \quad o_t \ge 0, \qquad
    o_t \le \epsilon + O_t z_t

with o the kelvins outside the band and, of a load that is on or off, z whether they are more than
:math:`\epsilon = 10^{-6}`; O is the most they can be.
"""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimization.community import Floats, Horizon, Thermostatic
from optimization.devices.carried_in import carried_in
from optimization.reference.devices.switching import add_switching, read_on
from optimization.reference.devices.written import Schedule, Setting, Written

INSIDE_TOLERANCE_K = 1e-6


def write_thermostatic(block: Any, device: Thermostatic, setting: Setting) -> Written:
    """A thermostatic load that is on or off, or that modulates while it is on."""
    horizon, hours = setting.horizon, setting.horizon.hours
    mtus = range(horizon.mtus)
    add_switching(
        block,
        mtus,
        running=device.running,
        least_on=device.min_on_mtus,
        least_off=device.min_off_mtus,
        **carried_in(
            running=device.running,
            elapsed=device.elapsed_mtus,
            least_on=device.min_on_mtus,
            least_off=device.min_off_mtus,
        ),
    )
    power = _add_power(block, device, mtus)
    keep, gain, drift = device.dynamics(horizon)
    block.temperature = pyo.Var(mtus)
    block.outside = pyo.Var(mtus, within=pyo.NonNegativeReals)
    block.dynamics = pyo.Constraint(
        mtus,
        rule=lambda b, t: (
            b.temperature[t]
            == keep * (b.temperature[t - 1] if t else device.initial_c) + float(gain[t]) * power[t] + float(drift[t])
        ),
    )
    block.too_warm = pyo.Constraint(mtus, rule=lambda b, t: b.outside[t] >= b.temperature[t] - float(device.upper_c[t]))
    block.too_cold = pyo.Constraint(mtus, rule=lambda b, t: b.outside[t] >= float(device.lower_c[t]) - b.temperature[t])
    furthest = furthest_outside_k(device, horizon)
    counted = [t for t in mtus if device.outside_cost > 0.0 and furthest[t] > INSIDE_TOLERANCE_K]
    block.is_outside = pyo.Var(counted, within=pyo.Binary)
    block.counting = pyo.Constraint(
        counted, rule=lambda b, t: b.outside[t] <= INSIDE_TOLERANCE_K + float(furthest[t]) * b.is_outside[t]
    )
    cost = (
        sum(hours * device.discomfort_cost * block.outside[t] + device.start_cost * block.start[t] for t in mtus)
        + sum(device.outside_cost * block.is_outside[t] for t in counted)
    )  # fmt: skip

    def read() -> Schedule:
        on = read_on(block, mtus)
        held = np.array([pyo.value(power[t]) for t in mtus]) if device.modulating else device.rated_kw * on
        temperature = device.temperature_c(held, horizon)
        beyond = np.maximum(0.0, np.maximum(temperature - device.upper_c, device.lower_c - temperature))
        # A search that ended early may count an MTU as outside that is not.
        counted_outside = sum(round(pyo.value(block.is_outside[t])) for t in counted)
        return Schedule(
            power_kw=held,
            temperature_c=temperature,
            shortfall=hours * float(beyond.sum()),
            above_model=device.outside_cost * float(np.count_nonzero(beyond > INSIDE_TOLERANCE_K) - counted_outside),
        )

    return Written(power=power, cost=cost, read=read)


def _add_power(block: Any, device: Thermostatic, mtus: range) -> list[Any]:
    """The power of each MTU: all or nothing, or between the least and the rated while on."""
    if not device.modulating:
        return [device.rated_kw * block.on[t] for t in mtus]
    block.power = pyo.Var(mtus, bounds=(0.0, device.rated_kw))
    block.at_least = pyo.Constraint(mtus, rule=lambda b, t: b.power[t] >= device.min_kw * b.on[t])
    block.at_most = pyo.Constraint(mtus, rule=lambda b, t: b.power[t] <= device.rated_kw * b.on[t])
    return [block.power[t] for t in mtus]


def furthest_outside_k(device: Thermostatic, horizon: Horizon) -> Floats:
    """(T,) kelvins outside the band at most: what never or always running comes to."""
    ways = [np.zeros(horizon.mtus), np.full(horizon.mtus, device.rated_kw)]
    reached = [device.temperature_c(power, horizon) for power in ways]
    beyond = [np.maximum(theta - device.upper_c, device.lower_c - theta) for theta in reached]
    return np.asarray(np.maximum(0.0, np.max(beyond, axis=0)))
