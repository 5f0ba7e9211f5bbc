"""Why a device falls short in a plan, and why a plant is curtailed: the device's own rules, a limit, prices."""

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

import numpy as np
import numpy.typing as npt

from controller.plan.chains import chain_of
from controller.plan.limits import Room, rooms
from controller.plan.planned import Planned
from controller.plan.result import shortfall_unit
from controller.plan.stretches import RUNNING_KW, intervals, stretches
from optimization.community import Community, Peer
from optimization.devices import (
    Battery,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.devices.batches import group
from optimization.devices.oracle import Batch, priced
from optimization.fulfilment import impossible_tasks
from optimization.quantities import Floats
from optimization.states import shortfall_of

PRICE_TOLERANCE = 1e-6
SAME = 0.02
"""Relative: an on/off thermostat's answer is proven within an interval only."""

NEGLIGIBLE = 1e-6

Mtus = npt.NDArray[np.bool_]


def reasons_of_shortfall(plan: Planned, peer: Peer, device: Device, power: Floats) -> Iterator[tuple[str, str]]:
    """Kind and text of what keeps a device from doing all that it should; nothing for one that does."""
    short = plan.shortfall.get(device.id, 0.0)
    if not short:
        return
    lacks = f"{short:.3g} {shortfall_unit(device)}"
    alone = replace(plan.file.community, peers=(peer,), links=(), envelopes=(), planned_kw={})
    for task in impossible_tasks(alone):
        if task.device == device.id:
            told = f"it lacks {lacks}, whatever the others do: {task.task}: got {task.got}, wanted {task.wanted}"
            yield "task", told
            return
    if _least_short(alone, chain_of(peer, device), device) >= short * (1.0 - SAME) - NEGLIGIBLE:
        yield "task", f"its own rules let it lack no less than {lacks}, whatever the others do"
        return
    could = _could_run(device, plan.file.community.horizon.mtus) & (power < _most_kw(device) - RUNNING_KW)
    limited = False
    for room in _rooms(plan, peer):
        blocked = could & (room.full | (room.above_kw < _step_kw(device)))
        if blocked.any():
            limited = True
            when = intervals(plan.file.calendar, stretches(blocked))
            yield (
                "envelope",
                f"the limit {room.envelope.name} leaves no room for the {lacks} that it lacks in {blocked.sum()} of "
                f"the {could.sum()} MTUs in which it could draw more: {when}",
            )
    if limited:
        return
    if plan.file.community.change_price and device.id in plan.file.community.planned_kw:
        yield "plan", f"departing from an earlier plan would cost more than the {lacks} that it lacks"
    elif isinstance(device, Thermostatic):
        yield "comfort", f"more comfort would cost more than the {lacks} that it lacks, by its discomfort cost"
    else:
        yield "task", f"no limit binds where it could do the {lacks} that it lacks: that is part of the plan's gap"


def reasons_of_curtailing(plan: Planned, peer: Peer, plant: Curtailable, power: Floats) -> Iterator[tuple[str, str]]:
    """Kind and text of what keeps a plant from producing all that is available, MTU by MTU."""
    community, calendar = plan.file.community, plan.file.calendar
    left = plant.available_kw + power > RUNNING_KW
    if not left.any():
        yield "task", "it produces all that is available"
        return
    for room in _rooms(plan, peer):
        held = left & room.drained
        if held.any():
            when = intervals(calendar, stretches(held))
            yield "envelope", f"it is curtailed {when}: the limit {room.envelope.name} lets no more out"
            left &= ~held
    worthless = left & (plan.price[peer.id] <= PRICE_TOLERANCE - plant.curtailment_cost)
    if worthless.any():
        yield "task", f"it is curtailed {intervals(calendar, stretches(worthless))}: more is worth less than it costs"
        left &= ~worthless
    foreseen = community.planned_kw.get(plant.id)
    if foreseen is not None and community.change_price:
        gained = plan.price[peer.id] + plant.curtailment_cost
        kept = left & (power <= foreseen + RUNNING_KW) & (gained <= community.change_price + PRICE_TOLERANCE)
        if kept.any():
            when = intervals(calendar, stretches(kept))
            yield "plan", f"it is curtailed {when}: an earlier plan foresaw no more, and departing from it costs more"
            left &= ~kept
    if left.any():
        when = intervals(calendar, stretches(left))
        yield "task", f"it is curtailed {when}, though more would be worth something: that is part of the plan's gap"


def _least_short(alone: Community, chain: tuple[Device, ...], device: Device) -> float:
    """What a device would lack at least, if power cost nothing and nobody else were there."""
    batch: Batch
    (batch,) = group(chain, alone.horizon, alone.shortfall_price)
    power = batch.respond(priced(np.zeros((1, alone.horizon.mtus)))).power_kw
    own = replace(alone, peers=(replace(alone.peers[0], devices=tuple(batch.devices)),))
    short = shortfall_of(own, {each.id: row for each, row in zip(batch.devices, power, strict=True)})
    return short.get(device.id, 0.0)


def _rooms(plan: Planned, peer: Peer) -> Iterator[Room]:
    return (room for room in rooms(plan.file.community, plan.device_kw) if peer.id in room.envelope.peers)


def _could_run(device: Device, mtus: int) -> Mtus:
    could = np.ones(mtus, dtype=np.bool_)
    match device:
        case ElectricVehicle():
            could[: device.arrival_mtu] = could[device.departure_mtu :] = False
        case Programme() | Interruptible():
            could[: device.first_mtu] = could[device.end_mtu :] = False
        case FixedLoad() | Curtailable() | Generator() | Battery() | Thermostatic():
            pass
        case other:
            assert_never(other)
    return could


def _most_kw(device: Device) -> float:
    """The most that a device draws."""
    match device:
        case Battery() | ElectricVehicle():
            return device.max_charge_kw
        case Thermostatic():
            return device.rated_kw
        case Interruptible():
            return device.power_kw
        case Programme():
            return max(float(phase.power_kw.max()) for phase in device.phases)
        case FixedLoad() | Curtailable() | Generator():
            return 0.0
        case other:
            assert_never(other)


def _step_kw(device: Device) -> float:
    """The least that a device at rest can begin to draw."""
    match device:
        case ElectricVehicle():
            return device.levels[0].lower_kw
        case Thermostatic():
            return device.min_kw if device.modulating else device.rated_kw
        case Interruptible() | Programme():
            return _most_kw(device)
        case FixedLoad() | Curtailable() | Generator() | Battery():
            return 0.0
        case other:
            assert_never(other)
