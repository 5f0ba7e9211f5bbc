"""Batteries in the consensus: their exact proximal steps.

A battery's set is convex but for charging and discharging at once, which no mixture needs; and a hull of a few of its
schedules would be a poor picture of it, since it has as many directions as MTUs. So batteries step by themselves, as
stores of the peer-to-peer clearing do (``peer_to_peer.store_step``), with what they lose by standing.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from optimization.decomposition.problem import Problem
from optimization.devices import Battery
from optimization.devices.oracle import Integers
from optimization.peer_to_peer.store_step import store_step
from optimization.quantities import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservoirs:
    """S batteries in the order of their peers; energies in kW over one MTU.

    Attributes
    ----------
    place : (S,) blocks
    first : (N + 1,) the batteries of peer n are ``first[n]`` to ``first[n + 1]``
    limits : (S, 2) most kW of charge and discharge
    rates : (S, 4) stored of a unit charged, taken out for a unit discharged, cycle cost, part left after an MTU
    initial : (S,)
    least, most : (S, T)
    value : (S, T) currency/kWh of energy at the end of each MTU
    power_kw : (S, T) present schedule, written by ``step``
    """

    place: Integers
    first: Integers
    limits: Floats
    rates: Floats
    initial: Floats
    least: Floats
    most: Floats
    value: Floats
    power_kw: Floats

    @classmethod
    def of(cls, problem: Problem) -> "Reservoirs":
        """The batteries of a problem, at rest."""
        horizon, peers = problem.community.horizon, len(problem.fixed_kw)
        found = sorted(
            (int(place), device)
            for part in problem.parts
            for place, device in zip(part.place, part.blocks.batch.devices, strict=False)
            if isinstance(device, Battery)
        )
        place = np.array([place for place, _ in found], dtype=np.int64)
        batteries = [device for _, device in found]
        hours, mtus = horizon.hours, horizon.mtus
        least = np.array([device.floor_kwh(horizon) for device in batteries]).reshape(-1, mtus)
        value = np.empty((len(batteries), mtus))
        for s, device in enumerate(batteries):
            reach = _reach_kwh(device, keep=device.keep(horizon), hours=hours, mtus=mtus)
            least[s, -1] = max(least[s, -1], min(device.final_kwh, reach))
            value[s] = -hours * device.waiting_cost
            value[s, -1] -= device.final_value
        return cls(
            place=place,
            first=np.searchsorted(problem.peer[place], np.arange(peers + 1)).astype(np.int64),
            limits=np.array([(d.max_charge_kw, d.max_discharge_kw) for d in batteries]).reshape(-1, 2),
            rates=np.array(
                [(d.charge_efficiency, 1.0 / d.discharge_efficiency, d.cycle_cost, d.keep(horizon)) for d in batteries]
            ).reshape(-1, 4),
            initial=np.array([d.initial_kwh for d in batteries]) / hours,
            least=least / hours,
            most=np.repeat(np.array([[d.capacity_kwh] for d in batteries]).reshape(-1, 1), mtus, axis=1) / hours,
            value=value,
            power_kw=np.zeros((len(batteries), mtus)),
        )

    def step(self, net: Floats, target: Floats, stiffness: Floats) -> None:
        """Let the batteries step towards the target; ``net`` (N, T) and ``power_kw`` are written."""
        if self.place.size:
            _step(
                self.first, self.limits, self.rates, self.initial, self.least, self.most, self.value, self.power_kw,
                net, target, stiffness,
            )  # fmt: skip


def _reach_kwh(device: Battery, *, keep: float, hours: float, mtus: int) -> float:
    """The most energy that a battery can hold at the end; a little less, since the step wants it within reach."""
    stored = device.initial_kwh
    for _ in range(mtus):
        stored = min(device.capacity_kwh, keep * stored + hours * device.charge_efficiency * device.max_charge_kw)
    return stored * (1.0 - 1e-9)


@njit(cache=True, parallel=True, error_model="numpy")
def _step(first, limits, rates, initial, least, most, value, power, net, target, stiffness):  # type: ignore[no-untyped-def]
    homes, mtus = net.shape
    for n in prange(homes):
        charge, discharge, worth = np.empty(mtus), np.empty(mtus), np.empty(mtus)
        aim = np.empty(mtus)
        for s in range(first[n], first[n + 1]):
            for t in range(mtus):
                aim[t] = target[n, t] - (net[n, t] - power[s, t])
            store_step(
                aim, stiffness[n], initial[s], least[s], most[s], value[s], (limits[s, 0], limits[s, 1]),
                rates[s, 0], rates[s, 1], rates[s, 2], rates[s, 3], charge, discharge, worth,
            )  # fmt: skip
            for t in range(mtus):
                change = charge[t] - discharge[t] - power[s, t]
                net[n, t] += change
                power[s, t] += change
