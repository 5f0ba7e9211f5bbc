"""Batteries that move together, everything else as it is decided.

Block by block a community of batteries gets stuck where each one's home is just balanced: only together could they
serve each other's homes better. With all whole numbers given what remains is convex, and the consensus of ``master``
solves it: with the batteries' own proximal steps. What these leave beyond a battery's limits it does not do.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optimization.decomposition.descent import Descent
from optimization.decomposition.master import Master, Prices
from optimization.decomposition.problem import Part, Problem
from optimization.devices import Battery, Device
from optimization.quantities import Floats, Horizon

LEAST_GAIN = 1e-7


def blend(descent: Descent, start: Prices, *, rounds: int, iterations: int, stiffness: float) -> bool:
    """Let all batteries move together; returns whether that was cheaper, else nothing has changed.

    Parameters
    ----------
    descent : the schedules
    start : prices to begin with
    rounds, iterations : of the consensus
    stiffness : rho at first
    """
    kept = [k for k, part in enumerate(descent.problem.parts) if isinstance(part.blocks.batch.devices[0], Battery)]
    if not kept:
        return False
    reduced = _only(descent, kept)
    master = Master(reduced, stiffness=stiffness, start=start)
    places = np.concatenate([descent.problem.parts[k].place for k in kept])
    order = np.argsort(places)
    master.begin(descent.block_kw[places[order]], descent.own[places[order]], descent.produced)
    for _ in range(rounds):
        primal, dual = master.agree(iterations)
        master.balance(primal, dual)
    before = descent.value()
    saved, produced = [descent.power[k].copy() for k in kept], descent.produced.copy()
    mixed = master.mixed()
    horizon = reduced.community.horizon
    for k, part in zip(kept, reduced.parts, strict=True):
        descent.replace_part(k, feasible_kw(part.blocks.batch.devices, mixed[part.place], horizon))
    descent.produced = np.clip(master.produced, 0.0, reduced.available_kw)
    descent.refresh()
    if descent.value() < before - LEAST_GAIN:
        return True
    for k, rows in zip(kept, saved, strict=True):
        descent.replace_part(k, rows)
    descent.produced = produced
    descent.refresh()
    return False


def _only(descent: Descent, kept: list[int]) -> Problem:
    """The problem in which the blocks of other parts are fixed loads."""
    problem = descent.problem
    fixed = problem.fixed_kw.copy()
    for k, part in enumerate(problem.parts):
        if k not in kept:
            np.add.at(fixed, part.blocks.peer, descent.block_kw[part.place])
    places = np.concatenate([problem.parts[k].place for k in kept])
    order = np.argsort(places)
    rank = np.empty(problem.peer.size, dtype=np.int64)
    rank[places[order]] = np.arange(places.size)
    parts = tuple(Part(blocks=problem.parts[k].blocks, place=rank[problem.parts[k].place]) for k in kept)
    return replace(
        problem,
        parts=parts,
        peer=problem.peer[places[order]],
        fixed_kw=fixed,
        planned_kw=problem.planned_kw[places[order]],
        change_price=problem.change_price[places[order]],
    )


def feasible_kw(devices: Sequence[Device], power: Floats, horizon: Horizon) -> Floats:
    """(S, T) kW that S batteries can keep to, near given ones."""
    batteries = [device for device in devices if isinstance(device, Battery)]
    return np.array([_kept(battery, row, horizon) for battery, row in zip(batteries, power, strict=True)])


def _kept(battery: Battery, power: Floats, horizon: Horizon) -> Floats:
    """(T,) kW of a battery near given ones, with what overflows not charged and what is missing not discharged."""
    keep, hours, floor = battery.keep(horizon), horizon.hours, battery.floor_kwh(horizon)
    into, out = hours * battery.charge_efficiency, hours / battery.discharge_efficiency
    result, stored = np.empty_like(power), battery.initial_kwh
    for t, wanted in enumerate(power):
        rest = keep * stored
        most = min(battery.max_charge_kw, max(0.0, battery.capacity_kwh - rest) / into)
        least = -min(battery.max_discharge_kw, max(0.0, rest - floor[t]) / out)
        if rest < floor[t]:
            least = min(most, (floor[t] - rest) / into)
        power_kw = min(max(float(wanted), least), most)
        stored = rest + (into * power_kw if power_kw >= 0.0 else out * power_kw)
        result[t] = power_kw
    return result
