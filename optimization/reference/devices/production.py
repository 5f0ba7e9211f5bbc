"""Fixed loads and plants that may be curtailed."""

from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimization.community import Curtailable, FixedLoad
from optimization.reference.devices.written import Schedule, Setting, Written


def write_fixed_load(device: FixedLoad) -> Written:
    """A load without variables."""
    return Written(
        power=[float(power) for power in device.power_kw],
        cost=0.0,
        read=lambda: Schedule(power_kw=device.power_kw),
    )


def write_curtailable(block: Any, device: Curtailable, setting: Setting) -> Written:
    """A plant that produces what is available or less; what is curtailed has its price."""
    mtus, available = range(setting.horizon.mtus), [float(power) for power in device.available_kw]
    block.produced = pyo.Var(mtus, bounds=lambda b, t: (0.0, available[t]))
    cost = setting.horizon.hours * device.curtailment_cost
    return Written(
        power=[-block.produced[t] for t in mtus],
        cost=sum(cost * (available[t] - block.produced[t]) for t in mtus),
        read=lambda: Schedule(power_kw=np.array([-pyo.value(block.produced[t]) for t in mtus])),
    )
