r"""Generators: on or off, between their least and their highest output while on, with a quadratic cost.

HiGHS has no quadratic costs beside whole numbers. In place of :math:`y \ge \tfrac12 a g^2` the model has its tangents
at :math:`\gamma_1, \dots, \gamma_K`, evenly spaced from the least to the highest output:

.. math::

    y \ge a \gamma_k g - \tfrac12 a \gamma_k^2 u

with u whether it is on. They lie below the true cost, so that a lower bound of the model is one of the true problem:
by at most :math:`a w^2 / 8` per hour with w the distance of two of them, :math:`a R^2 / 8192` for a range R and 33
tangents.
"""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimization.community import Generator
from optimization.devices.carried_in import carried_in
from optimization.reference.devices.switching import add_switching
from optimization.reference.devices.written import Schedule, Setting, Written

TANGENTS = 33


def write_generator(block: Any, device: Generator, setting: Setting) -> Written:
    """A generator; its schedule says by how much the tangents fall short of its true cost."""
    mtus, hours = range(setting.horizon.mtus), setting.horizon.hours
    add_switching(
        block,
        mtus,
        running=device.running,
        least_on=device.min_up_mtus,
        least_off=device.min_down_mtus,
        **carried_in(
            running=device.running,
            elapsed=device.elapsed_mtus,
            least_on=device.min_up_mtus,
            least_off=device.min_down_mtus,
        ),
    )
    block.produced = pyo.Var(mtus, bounds=(0.0, device.max_kw))
    block.at_least = pyo.Constraint(mtus, rule=lambda b, t: b.produced[t] >= device.min_kw * b.on[t])
    block.at_most = pyo.Constraint(mtus, rule=lambda b, t: b.produced[t] <= device.max_kw * b.on[t])
    slope, points = device.quadratic_cost, np.unique(np.linspace(device.min_kw, device.max_kw, TANGENTS)).tolist()
    block.curved = pyo.Var(mtus, within=pyo.NonNegativeReals)
    block.tangents = pyo.Constraint(
        points if slope else [],
        mtus,
        rule=lambda b, at, t: b.curved[t] >= slope * at * b.produced[t] - slope * at**2 / 2 * b.on[t],
    )
    cost = sum(
        hours * (block.curved[t] + device.linear_cost * block.produced[t] + device.running_cost * block.on[t])
        + device.start_cost * block.start[t]
        for t in mtus
    )

    def read() -> Schedule:
        produced = np.array([pyo.value(block.produced[t]) for t in mtus])
        curved = np.array([pyo.value(block.curved[t]) for t in mtus])
        return Schedule(
            power_kw=-produced,
            above_model=hours * float((slope / 2 * produced**2 - curved).sum()),
        )

    return Written(power=[-block.produced[t] for t in mtus], cost=cost, read=read)
