"""What stands for tasks that fall short.

The objective prices what cannot be done, kelvins of discomfort too, so that it knows what comes first. Nobody pays that
price: uplifts are found without it.
"""

from collections.abc import Mapping

import numpy as np

from optimization.community import Community
from optimization.decomposition.master import Prices
from optimization.decomposition.problem import Problem
from optimization.devices import Device, Thermostatic
from optimization.devices.thermal_lattice import TOLERANCE_K
from optimization.quantities import DeviceId, Floats
from optimization.states import shortfall_of, shortfall_price


def undone_costs(community: Community, device_kw: Mapping[DeviceId, Floats]) -> Floats:
    """(N,) currency of the objective that stands for what each member's tasks fall short by, discomfort included.

    Parameters
    ----------
    community : of the members
    device_kw : (T,) kW of each device, which keeps its rules
    """
    amount = shortfall_of(community, device_kw)
    cost = np.zeros(len(community.peers))
    for n, peer in enumerate(community.peers):
        for device in peer.devices:
            if device.id in amount:
                cost[n] += _undone_cost(device, amount[device.id], device_kw[device.id], community)
    return cost


def undone_at(problem: Problem, prices: Prices) -> Floats:
    """(N,) currency that stands for what tasks fall short by where each device does what is cheapest at the prices."""
    idle = np.zeros(problem.community.horizon.mtus)
    power = {device.id: idle for _, device in problem.community.devices()}
    for part, answer in zip(problem.parts, problem.answers(prices.of_members(problem)), strict=True):
        devices = part.blocks.batch.devices
        power |= {device.id: row for device, row in zip(devices, answer.response.power_kw, strict=True)}
    return undone_costs(problem.community, power)


def _undone_cost(device: Device, amount: float, power_kw: Floats, community: Community) -> float:
    """Currency for an amount by which a device falls short, in the units of ``Clearing.shortfall``."""
    cost = shortfall_price(community, device) * amount
    if isinstance(device, Thermostatic):
        reached = device.temperature_c(power_kw, community.horizon)
        outside = np.maximum(device.lower_c - reached, reached - device.upper_c) > TOLERANCE_K
        cost += device.outside_cost * int(np.count_nonzero(outside))
    return cost
