"""A plan as a value and as JSON. The JSON embeds its community: it says by itself what it is an answer to."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from controller.plan.reading import CommunityFile
from optimization.certificate import Certificate
from optimization.clearing import Clearing
from optimization.community import Battery, Device, ElectricVehicle, Floats, Interruptible, Thermostatic
from optimization.members import Member, trade_price

Status = Literal["OPTIMAL", "FEASIBLE", "RELAXED", "INFEASIBLE", "UNSOLVED"]

VERSION = 1
DECIMALS = 9
"""Of kW, kWh and prices: a billionth is below every tolerance, and equal on machines that differ in the last bit."""

NEGLIGIBLE_KWH = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What came of planning.

    Attributes
    ----------
    file : the community
    status : what the plan is worth
    solver : by its name on the command line
    deadline : whether there was one: then equal input need not give equal output
    reason : why there is no certified plan; empty where there is one
    clearing : None where there is no certified one
    certificate : of what the solver answered; None where it did not
    members : what each pays, against what it would pay alone; empty where there is no certified plan
    """

    file: CommunityFile
    status: Status
    solver: str
    deadline: bool
    reason: str = ""
    clearing: Clearing | None = None
    certificate: Certificate | None = None
    members: tuple[Member, ...] = ()


def shortfall_unit(device: Device) -> str:
    """The unit of what a device falls short by."""
    match device:
        case Interruptible():
            return "MTUs"
        case Thermostatic():
            return "K h"
        case _:
            return "kWh"


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as one JSON object; what there is no number for is null."""
    community, clearing, certificate = plan.file.community, plan.clearing, plan.certificate
    head: dict[str, Any] = {
        "version": VERSION,
        "id": plan.file.id,
        "status": plan.status,
        "reason": plan.reason or None,
        "solver": plan.solver,
        "deadline": plan.deadline,
        "currency": plan.file.currency,
    }
    tail = {"community": plan.file.document}
    head |= _certified(certificate)
    if clearing is None:
        return {**head, **tail}
    received = finite(sum(max(0.0, member.uplift) for member in plan.members))
    units = {device.id: shortfall_unit(device) for _, device in community.devices()}
    return {
        **head,
        "schedules": {device.id: numbers(clearing.device_kw[device.id]) for _, device in community.devices()},
        "states": _states(plan, clearing),
        "shortfall": {
            device: {"amount": finite(amount), "unit": units[device]}
            for device, amount in sorted(clearing.shortfall.items())
        },
        "trades": _trades(plan, clearing),
        "grid": {
            "import_kwh": _by_peer(plan, clearing.import_kwh),
            "export_kwh": _by_peer(plan, clearing.export_kwh),
        },
        "prices": _by_peer(plan, clearing.price),
        "members": {
            member.id: {
                "cost": finite(member.cost),
                "shortfall_cost": finite(member.undone),
                "standalone_cost": finite(member.alone),
                "uplift": finite(member.uplift),
                "pays": finite(member.pays),
            }
            for member in plan.members
        },
        "uplift": received,
        "uplift_received": received,
        "uplift_unfunded": finite(max(0.0, sum(member.uplift for member in plan.members))),
        **tail,
    }


def _certified(certificate: Certificate | None) -> dict[str, Any]:
    if certificate is None:
        return {"objective": None, "certificate": None}
    return {
        "objective": finite(certificate.objective),
        "certificate": {
            "lower_bound": finite(certificate.lower_bound),
            "gap": finite(certificate.gap),
            "distance": finite(certificate.distance),
            "primal_residual_kw": finite(certificate.primal_residual_kw),
            "violated": certificate.violated or None,
        },
    }


def _by_peer(plan: Plan, table: Floats) -> dict[str, list[float]]:
    return {peer.id: numbers(row) for peer, row in zip(plan.file.community.peers, table, strict=True)}


def _states(plan: Plan, clearing: Clearing) -> dict[str, Any]:
    states: dict[str, Any] = {}
    for _, device in plan.file.community.devices():
        if isinstance(device, Battery | ElectricVehicle) and device.id in clearing.state_kwh:
            states[device.id] = {"energy_kwh": numbers(clearing.state_kwh[device.id])}
        elif isinstance(device, Thermostatic) and device.id in clearing.temperature_c:
            states[device.id] = {"temperature_c": numbers(clearing.temperature_c[device.id])}
    return states


def _trades(plan: Plan, clearing: Clearing) -> list[dict[str, Any]]:
    """Every trade that comes to something, with what the buyer pays the seller."""
    index = {peer.id: row for row, peer in enumerate(plan.file.community.peers)}
    trades = []
    for link, energies in zip(plan.file.community.links, clearing.trade_kwh, strict=True):
        traded = np.flatnonzero(energies > NEGLIGIBLE_KWH)
        if not traded.size:
            continue
        price = trade_price(plan.file.community, clearing, index[link.seller], link)
        for mtu in traded:
            trades.append(
                {
                    "seller": link.seller,
                    "buyer": link.buyer,
                    "mtu": int(mtu),
                    "energy_kwh": finite(float(energies[mtu])),
                    "price": finite(float(price[mtu])),
                }
            )
    return trades


def numbers(values: Floats) -> list[float]:
    """(T,) numbers as JSON has them."""
    rounded: list[float] = (np.round(values, DECIMALS) + 0.0).tolist()
    return rounded


def finite(value: float) -> float | None:
    """A number as JSON has it; None for infinities and NaN."""
    return round(value, DECIMALS) + 0.0 if math.isfinite(value) else None
