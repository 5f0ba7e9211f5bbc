"""Checks a clearing from the problem alone, with no code shared with the solvers.

Everything is recomputed: each device's own rules (``checking``), each peer's balance, each envelope, the objective. A
clearing acts only when this finds it feasible; the gap labels it and does not gate it.
"""

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from optimization.checking.cycles import check_programmes
from optimization.checking.plants import check_generator, check_passive
from optimization.checking.relays import check_interruptible
from optimization.checking.stores import check_battery, check_vehicle
from optimization.checking.thermostats import check_thermostatic
from optimization.checking.verdict import WRONG, Claim, Terms, Verdict, worst
from optimization.clearing import Clearing
from optimization.community import (
    Battery,
    Community,
    Curtailable,
    Device,
    DeviceId,
    ElectricVehicle,
    FixedLoad,
    Floats,
    Generator,
    Interruptible,
    Peer,
    Programme,
    Thermostatic,
)

BOUND_TOLERANCE = 1e-6
"""Relative; HiGHS' bound and its objective differ by less when they meet."""

SMALLEST_OBJECTIVE = 1e-3
"""Currency. A gap is relative to the objective's size, or to this where it is smaller: a tenth of a cent is next to
nothing, and what rounding leaves of nothing is no gap."""

FEASIBILITY_TOLERANCE_KW = 1e-5
"""A hundredth of a watt: below what a setpoint can express, above what HiGHS leaves (1e-7 per row)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What is known about the quality of a clearing.

    Attributes
    ----------
    primal_residual_kw : the largest violation of any rule, in kW (of energies: spread over one MTU)
    violated : the rule that is violated most, for people; empty where none is
    objective : currency, recomputed
    lower_bound : currency below which no schedule can cost, as the solver proved it
    gap : as of ``relative_gap``
    """

    primal_residual_kw: float
    violated: str
    objective: float
    lower_bound: float
    gap: float

    @property
    def feasible(self) -> bool:
        """Whether every rule holds within the tolerance."""
        return self.primal_residual_kw <= FEASIBILITY_TOLERANCE_KW

    @property
    def distance(self) -> float:
        """Currency from the lower bound to the objective: what the gap is a part of; 0 where rounding made it less."""
        return float(np.maximum(0.0, self.objective - self.lower_bound))


def certify(community: Community, clearing: Clearing) -> Certificate:
    """The certificate of a clearing.

    Parameters
    ----------
    community : the problem that was to be solved
    clearing : the answer; NaN anywhere in it makes the residual infinite

    Returns
    -------
    Certificate
    """
    if element := _misshapen(community, clearing):
        return Certificate(
            primal_residual_kw=float("inf"),
            violated=element,
            objective=float("nan"),
            lower_bound=clearing.lower_bound,
            gap=float("inf"),
        )
    verdicts = _verdicts(community, clearing)
    residuals = {f"device {device}": verdict.residual_kw for device, verdict in verdicts.items()}
    residuals |= dict(_balance_residuals(community, clearing))
    residuals |= envelope_residuals(community, net_kw(community, clearing))
    name, residual = max(residuals.items(), key=lambda item: item[1], default=("", 0.0))
    objective = _trade_cost(community, clearing) + _change_cost(community, clearing)
    objective += sum(verdict.cost for verdict in verdicts.values())
    return Certificate(
        primal_residual_kw=residual,
        violated=name if residual > FEASIBILITY_TOLERANCE_KW else "",
        objective=objective,
        lower_bound=clearing.lower_bound,
        gap=relative_gap(objective, clearing.lower_bound),
    )


def relative_gap(objective: float, lower_bound: float) -> float:
    """How far at most an objective is from the best, relative to its size.

    Parameters
    ----------
    objective : currency
    lower_bound : currency below which nothing can cost

    Returns
    -------
    float : max(0, objective - lower_bound) / max(|objective|, ``SMALLEST_OBJECTIVE``); infinity where either number is
        NaN, or the bound lies above what it bounds
    """
    scale = max(abs(objective), SMALLEST_OBJECTIVE)
    above = lower_bound > objective + BOUND_TOLERANCE * max(1.0, scale)
    if np.isnan(objective) or np.isnan(lower_bound) or above:
        return float("inf")
    return max(0.0, objective - lower_bound) / scale


def _misshapen(community: Community, clearing: Clearing) -> str:
    """The first element that is missing or has not one value for each of its rows and MTUs; empty where all have."""
    mtus, peers, absent = community.horizon.mtus, len(community.peers), np.empty(0)
    for _, device in community.devices():
        if clearing.device_kw.get(device.id, absent).shape != (mtus,):
            return f"shape of device {device.id}"
        stores = isinstance(device, Battery | ElectricVehicle)
        if stores and clearing.state_kwh.get(device.id, absent).shape != (mtus,):
            return f"shape of state of {device.id}"
        if isinstance(device, Thermostatic) and clearing.temperature_c.get(device.id, absent).shape != (mtus,):
            return f"shape of temperature of {device.id}"
    for name, table, rows in (
        ("trades", clearing.trade_kwh, len(community.links)),
        ("imports", clearing.import_kwh, peers),
        ("exports", clearing.export_kwh, peers),
        ("prices", clearing.price, peers),
    ):
        if table.shape != (rows, mtus):
            return f"shape of {name}"
    return ""


def net_kw(community: Community, clearing: Clearing) -> Floats:
    """(N, T) net consumption of each peer in kW, summed over its devices."""
    rows = [
        np.sum([clearing.device_kw[device.id] for device in peer.devices], axis=0, initial=0.0)
        + np.zeros(community.horizon.mtus)
        for peer in community.peers
    ]
    return np.array(rows)


def envelope_residuals(community: Community, net: Floats) -> dict[str, float]:
    """How far each envelope is exceeded by the (N, T) net consumption, in kW; 0 where it is kept."""
    index = {peer.id: row for row, peer in enumerate(community.peers)}
    residuals: dict[str, float] = {}
    for envelope in community.envelopes:
        total = net[[index[peer] for peer in sorted(envelope.peers)]].sum(axis=0)
        name = f"envelope {envelope.name}"
        residuals[name] = max(
            residuals.get(name, 0.0), worst(total - envelope.upper_kw), worst(envelope.lower_kw - total)
        )
    return residuals


def _verdicts(community: Community, clearing: Clearing) -> dict[DeviceId, Verdict]:
    """What the check of each device finds, in the order of the devices."""
    terms = Terms(
        horizon=community.horizon,
        shortfall_price=community.shortfall_price,
        tolerance_kw=FEASIBILITY_TOLERANCE_KW,
    )
    verdicts: dict[DeviceId, Verdict] = {}
    for peer in community.peers:
        verdicts |= _verdicts_of(peer, clearing, terms)
    return verdicts


def _verdicts_of(peer: Peer, clearing: Clearing, terms: Terms) -> dict[DeviceId, Verdict]:
    claims = {device.id: _claim(clearing, device) for device in peer.devices}
    absurd = Verdict(residual_kw=WRONG, cost=float("nan"))
    verdicts = {device: absurd for device, claim in claims.items() if not _is_sane(claim)}
    programmes = [d for d in peer.devices if isinstance(d, Programme) and d.id not in verdicts]
    # Those that follow a programme whose numbers are absurd are looked at without it.
    known = {programme.id for programme in programmes}
    orphans = [d for d in programmes if d.follows is not None and d.follows not in known]
    verdicts |= dict.fromkeys((orphan.id for orphan in orphans), absurd)
    verdicts |= check_programmes([d for d in programmes if d not in orphans], claims, terms)
    for device in peer.devices:
        if device.id not in verdicts and not isinstance(device, Programme):
            verdicts[device.id] = _verdict(device, claims[device.id], terms)
    return verdicts


def _claim(clearing: Clearing, device: Device) -> Claim:
    none = np.empty(0)
    return Claim(
        power_kw=clearing.device_kw[device.id],
        shortfall=clearing.shortfall.get(device.id, 0.0),
        state_kwh=clearing.state_kwh.get(device.id, none),
        temperature_c=clearing.temperature_c.get(device.id, none),
    )


def _is_sane(claim: Claim) -> bool:
    return bool(np.isfinite(claim.power_kw).all()) and 0.0 <= claim.shortfall < float("inf")


def _verdict(
    device: FixedLoad | Curtailable | Generator | Battery | ElectricVehicle | Interruptible | Thermostatic,
    claim: Claim,
    terms: Terms,
) -> Verdict:
    match device:
        case FixedLoad() | Curtailable():
            return check_passive(device, claim, terms)
        case Generator():
            return check_generator(device, claim, terms)
        case Battery():
            return check_battery(device, claim, terms)
        case ElectricVehicle():
            return check_vehicle(device, claim, terms)
        case Interruptible():
            return check_interruptible(device, claim, terms)
        case Thermostatic():
            return check_thermostatic(device, claim, terms)
        case _:
            assert_never(device)


def _balance_residuals(community: Community, clearing: Clearing) -> list[tuple[str, float]]:
    """Each peer's energy balance, that no energy is negative, as mean kW over an MTU, and that prices are numbers."""
    hours = community.horizon.hours
    index = {peer.id: row for row, peer in enumerate(community.peers)}
    balance = clearing.import_kwh - clearing.export_kwh - hours * net_kw(community, clearing)
    for link, energy in zip(community.links, clearing.trade_kwh, strict=True):
        balance[index[link.buyer]] += energy
        balance[index[link.seller]] -= energy
    rows = [(f"balance of {peer.id}", worst(np.abs(balance[n])) / hours) for n, peer in enumerate(community.peers)]
    for name, energy in (
        ("trades", clearing.trade_kwh),
        ("imports", clearing.import_kwh),
        ("exports", clearing.export_kwh),
    ):
        rows.append((f"sign of {name}", worst(-energy) / hours))
    closed = 0.0
    for link, energy in zip(community.links, clearing.trade_kwh, strict=True):
        if link.closed_mtus:
            closed = max(closed, worst(np.abs(energy[sorted(link.closed_mtus)])))
    rows.append(("closed links", closed / hours))
    rows.append(("prices", 0.0 if np.isfinite(clearing.price).all() else float("inf")))
    return rows


def _trade_cost(community: Community, clearing: Clearing) -> float:
    """Currency that the grid asks for and pays, and that the links cost."""
    tariff = community.tariff
    cost = float((clearing.import_kwh * tariff.import_price - clearing.export_kwh * tariff.export_price).sum())
    for link, energy in zip(community.links, clearing.trade_kwh, strict=True):
        cost += (link.seller_preference + link.buyer_preference + link.network_charge) * float(energy.sum())
    return cost


def _change_cost(community: Community, clearing: Clearing) -> float:
    """Currency that departures from the plan cost."""
    changed = sum(
        float(np.abs(clearing.device_kw[device] - planned).sum()) for device, planned in community.planned_kw.items()
    )
    return community.change_price * community.horizon.hours * changed
