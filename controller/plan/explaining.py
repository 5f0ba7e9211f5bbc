"""Why a device runs when it does, from a plan alone: prices, its cheapest schedule, running at once, its limits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from controller.errors import InputError
from controller.plan.chains import chain_of
from controller.plan.fields import kind_of
from controller.plan.planned import Planned
from controller.plan.reasons import Reason, reasons
from controller.plan.result import finite, numbers, shortfall_unit
from controller.plan.stretches import runs
from optimization.community import Community, Peer, Thermostatic
from optimization.devices import Device, ElectricVehicle, Interruptible, Programme
from optimization.devices.batches import group
from optimization.devices.oracle import Batch, PowerCost, priced
from optimization.quantities import DeviceId, Floats, Horizon

HASTE = 1e-6
"""Currency/kWh by which a thermostat's energy counts where no price does: it should use no more than it needs."""

SUGGESTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way in which a device could run, valued at the plan's prices.

    Attributes
    ----------
    power_kw : (T,)
    energy_cost : currency for the power of the device, and of those that it is chained with
    own_cost : currency of wear, starts, waiting, fuel and shortfall of the same
    change_cost : currency for departing from what an earlier plan foresaw for the same
    """

    power_kw: Floats
    energy_cost: float
    own_cost: float
    change_cost: float

    @property
    def cost(self) -> float:
        """Currency in all."""
        return self.energy_cost + self.own_cost + self.change_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a device runs when it does.

    Attributes
    ----------
    device, kind, peer : what it is, and whose
    together : the programmes of its chain, itself among them, whose costs count together; empty for none
    planned : as the plan has it
    cheapest : as it would cost least at the plan's prices
    at_once : as early as its rules allow, of a thermostat with the least energy for its comfort, whatever the price;
        None for what has no task
    price : (T,) currency/kWh of its peer
    shortfall : what it could not be given, with unit; empty for none
    reasons : what holds it, for people
    """

    device: Device
    kind: str
    peer: Peer
    together: tuple[DeviceId, ...]
    planned: Way
    cheapest: Way
    at_once: Way | None
    price: Floats
    shortfall: str
    reasons: tuple[Reason, ...]


def explain(plan: Planned, device_id: str) -> Explanation:
    """The explanation of one device of a plan.

    Raises
    ------
    InputError
        If the plan has no such device.
    """
    peer, device = _found(plan.file.community, device_id)
    chain = chain_of(peer, device)
    horizon, community = plan.file.community.horizon, plan.file.community
    batch: Batch
    (batch,) = group(chain, horizon, community.shortfall_price)
    row = [each.id for each in batch.devices].index(device.id)
    price = plan.price[peer.id]
    planned = np.array([plan.device_kw[each.id] for each in batch.devices])

    def way(power: Floats) -> Way:
        return Way(
            power_kw=power[row],
            energy_cost=horizon.hours * float((power @ price).sum()),
            own_cost=float(batch.own_cost(power).sum()),
            change_cost=_change_cost(community, batch.devices, power),
        )

    own = way(planned)
    answers = [batch.respond(cost).power_kw for cost in _costs_of_power(community, batch.devices, price)]
    # An on/off thermostat's answer is proven within an interval only, and the plan's may be the better one.
    cheapest = min(*map(way, answers), own, key=lambda each: each.cost)
    eager = _eager(chain, horizon, community.shortfall_price)
    short = plan.shortfall.get(device.id, 0.0)
    return Explanation(
        device=device,
        kind=kind_of(device),
        peer=peer,
        together=tuple(each.id for each in chain) if len(chain) > 1 else (),
        planned=own,
        cheapest=cheapest,
        at_once=None if eager is None else way(eager),
        price=price,
        shortfall=f"{short:.3g} {shortfall_unit(device)}" if short else "",
        reasons=reasons(plan, peer, device, cheapest.power_kw),
    )


def _change_cost(community: Community, devices: Sequence[Device], power: Floats) -> float:
    """Currency by which (R, T) powers depart from what was foreseen for their devices."""
    departed = sum(
        float(np.abs(row - community.planned_kw[device.id]).sum())
        for device, row in zip(devices, power, strict=True)
        if device.id in community.planned_kw
    )
    return community.change_price * community.horizon.hours * departed


def _costs_of_power(community: Community, devices: Sequence[Device], price: Floats) -> Iterator[PowerCost]:
    """What power may cost a block: at the prices alone, and with departing from what was foreseen for all of it.

    Departures within a chain may cancel in its sum, so that the second asks too little of it: then the first may be the
    better one, and what either comes to is counted afterwards.
    """
    yield priced(price[None, :])
    foreseen = [community.planned_kw[device.id] for device in devices if device.id in community.planned_kw]
    if community.change_price and len(foreseen) == len(devices):
        yield PowerCost(
            price=price[None, :] - community.change_price,
            kink_at=np.sum(foreseen, axis=0)[None, :, None],
            kink=np.full((1, price.size, 1), 2.0 * community.change_price),
            target=np.zeros((1, price.size)),
        )


def _found(community: Community, device_id: str) -> tuple[Peer, Device]:
    for peer, device in community.devices():
        if device.id == device_id:
            return peer, device
    known = [str(device.id) for _, device in community.devices()]
    # Of a peer that is meant, its own devices are nearer than what others call alike.
    own = [str(device.id) for peer in community.peers if device_id.startswith(peer.id) for device in peer.devices]
    near = get_close_matches(device_id, own or known, n=SUGGESTIONS, cutoff=0.0)
    raise InputError(f"device: got unknown {device_id!r}, wanted one such as {', '.join(map(repr, near))}")


def _eager(chain: tuple[Device, ...], horizon: Horizon, shortfall_price: float) -> Floats | None:
    """(R, T) kW of devices that do what they have to as early as they may; None where there is nothing they have to."""
    price = np.zeros((1, horizon.mtus))
    match chain[0]:
        case ElectricVehicle() as car:
            # It takes what it has to leave with, and no more.
            enough = max(car.required_kwh, car.initial_kwh)
            chain = (replace(car, capacity_kwh=enough, min_kwh=min(car.min_kwh, enough), max_discharge_kw=0.0),)
        case Thermostatic():
            price[:] = HASTE
        case Interruptible() | Programme():
            pass
        case _:
            return None
    batch: Batch
    (batch,) = group(chain, horizon, shortfall_price)
    return batch.respond(priced(price)).power_kw


def as_json(plan: Planned, explanation: Explanation) -> Mapping[str, Any]:
    """The explanation as one JSON object."""
    calendar, hours = plan.file.calendar, plan.file.community.horizon.hours
    power, price = explanation.planned.power_kw, explanation.price
    return {
        "device": explanation.device.id,
        "kind": explanation.kind,
        "peer": explanation.peer.id,
        "together": list(explanation.together),
        "status": plan.status,
        "currency": plan.file.currency,
        "runs": [
            {
                "from": calendar.local(first).isoformat(),
                "to": calendar.local(end).isoformat(),
                "first_mtu": first,
                "end_mtu": end,
                "energy_kwh": finite(hours * float(power[first:end].sum())),
                "mean_price": finite(float(price[first:end].mean())),
            }
            for first, end in runs(power)
        ],
        "energy_kwh": finite(hours * float(power.sum())),
        "planned": _way(explanation.planned),
        "cheapest": _way(explanation.cheapest),
        "at_once": None if explanation.at_once is None else _way(explanation.at_once),
        "prices": numbers(price),
        "shortfall": explanation.shortfall or None,
        "reasons": [{"limit": each.limit, "text": each.text} for each in explanation.reasons],
    }


def _way(way: Way) -> dict[str, Any]:
    return {
        "cost": finite(way.cost),
        "energy_cost": finite(way.energy_cost),
        "own_cost": finite(way.own_cost),
        "change_cost": finite(way.change_cost),
        "power_kw": numbers(way.power_kw),
    }
