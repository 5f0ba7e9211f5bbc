"""Checks a clearing from the problem alone, with no code shared with the solvers.

Everything is recomputed: each device's own rules, each peer's balance, each envelope, the objective. A clearing acts
only when this finds it feasible; the gap labels it and does not gate it.
"""

from dataclasses import dataclass

import numpy as np

from optimization.clearing import Clearing
from optimization.community import Battery, Community, Curtailable, Device, FixedLoad, Floats, Interruptible

BOUND_TOLERANCE = 1e-6
"""Relative; HiGHS' bound and its objective differ by less when they meet."""

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
    gap : (objective - lower_bound) / max(|objective|, 1e-9)
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
    residuals = dict(_device_residuals(community, clearing))
    residuals |= dict(_balance_residuals(community, clearing))
    residuals |= envelope_residuals(community, net_kw(community, clearing))
    name, worst = max(residuals.items(), key=lambda item: item[1], default=("", 0.0))
    objective = _objective(community, clearing)
    return Certificate(
        primal_residual_kw=worst,
        violated=name if worst > FEASIBILITY_TOLERANCE_KW else "",
        objective=objective,
        lower_bound=clearing.lower_bound,
        gap=_gap(objective, clearing.lower_bound),
    )


def _gap(objective: float, lower_bound: float) -> float:
    """The relative gap; infinity where either number is NaN, or the bound lies above what it bounds."""
    scale = max(abs(objective), 1e-9)
    if np.isnan(objective) or np.isnan(lower_bound) or lower_bound > objective + BOUND_TOLERANCE * max(1.0, scale):
        return float("inf")
    return max(0.0, objective - lower_bound) / scale


def _misshapen(community: Community, clearing: Clearing) -> str:
    """The first element that is missing or has not one value for each of its rows and MTUs; empty where all have."""
    mtus, peers, absent = community.horizon.mtus, len(community.peers), np.empty(0)
    for _, device in community.devices():
        if clearing.device_kw.get(device.id, absent).shape != (mtus,):
            return f"shape of device {device.id}"
        if isinstance(device, Battery) and clearing.state_kwh.get(device.id, absent).shape != (mtus,):
            return f"shape of state of {device.id}"
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
            residuals.get(name, 0.0), _worst(total - envelope.upper_kw), _worst(envelope.lower_kw - total)
        )
    return residuals


def _worst(excess: Floats) -> float:
    """The largest positive entry; infinity where anything is NaN."""
    if np.isnan(excess).any():
        return float("inf")
    return float(max(0.0, excess.max(initial=0.0)))


def _device_residuals(community: Community, clearing: Clearing) -> list[tuple[str, float]]:
    return [(f"device {d.id}", _device_residual(community, clearing, d)) for _, d in community.devices()]


def _device_residual(community: Community, clearing: Clearing, device: Device) -> float:
    power = clearing.device_kw[device.id]
    short = clearing.shortfall.get(device.id, 0.0)
    hours = community.horizon.hours
    if not 0.0 <= short < float("inf"):
        return float("inf")
    match device:
        case FixedLoad():
            return _worst(np.abs(power - device.power_kw))
        case Curtailable():
            return max(_worst(power), _worst(-device.available_kw - power))
        case Battery():
            charge, discharge = np.maximum(power, 0.0), np.maximum(-power, 0.0)
            stored = _stored(device, power, hours)
            return max(
                _worst(charge - device.max_charge_kw),
                _worst(discharge - device.max_discharge_kw),
                _worst(-stored) / hours,
                _worst(stored - device.capacity_kwh) / hours,
                _worst(device.final_kwh - short - stored[-1:]) / hours,
                _worst(np.abs(clearing.state_kwh[device.id] - stored)) / hours,
            )
        case Interruptible():
            on = power / device.power_kw if device.power_kw else np.zeros_like(power)
            allowed = np.zeros(community.horizon.mtus, dtype=bool)
            allowed[device.first_mtu : device.end_mtu] = True
            owed = abs(float(on.sum()) + short - device.required_mtus)
            return max(
                _worst(np.minimum(np.abs(power), np.abs(power - device.power_kw))),
                _worst(np.abs(power[~allowed])),
                owed * device.power_kw,
            )


def _stored(device: Battery, power: Floats, hours: float) -> Floats:
    """(T,) kWh in a battery at the end of each MTU, from its power at the terminals."""
    inflow = np.maximum(power, 0.0) * device.charge_efficiency + np.minimum(power, 0.0) / device.discharge_efficiency
    return np.asarray(device.initial_kwh + hours * np.cumsum(inflow))


def _balance_residuals(community: Community, clearing: Clearing) -> list[tuple[str, float]]:
    """Each peer's energy balance, that no energy is negative, as mean kW over an MTU, and that prices are numbers."""
    hours = community.horizon.hours
    index = {peer.id: row for row, peer in enumerate(community.peers)}
    balance = clearing.import_kwh - clearing.export_kwh - hours * net_kw(community, clearing)
    for link, energy in zip(community.links, clearing.trade_kwh, strict=True):
        balance[index[link.buyer]] += energy
        balance[index[link.seller]] -= energy
    rows = [(f"balance of {peer.id}", _worst(np.abs(balance[n])) / hours) for n, peer in enumerate(community.peers)]
    for name, energy in (
        ("trades", clearing.trade_kwh),
        ("imports", clearing.import_kwh),
        ("exports", clearing.export_kwh),
    ):
        rows.append((f"sign of {name}", _worst(-energy) / hours))
    rows.append(("prices", 0.0 if np.isfinite(clearing.price).all() else float("inf")))
    return rows


def _objective(community: Community, clearing: Clearing) -> float:
    hours = community.horizon.hours
    tariff = community.tariff
    cost = float((clearing.import_kwh * tariff.import_price - clearing.export_kwh * tariff.export_price).sum())
    for link, energy in zip(community.links, clearing.trade_kwh, strict=True):
        cost += (link.seller_preference + link.buyer_preference + link.network_charge) * float(energy.sum())
    for _, device in community.devices():
        power, short = clearing.device_kw[device.id], clearing.shortfall.get(device.id, 0.0)
        match device:
            case Battery():
                cost += (
                    device.cycle_cost * hours * float(np.maximum(-power, 0.0).sum()) + community.shortfall_price * short
                )
                cost += device.waiting_cost * hours * float((device.capacity_kwh - _stored(device, power, hours)).sum())
            case Interruptible():
                cost += community.shortfall_price * short * device.power_kw * hours
                on = power > device.power_kw / 2
                cost += device.start_cost * float(np.count_nonzero(on & ~np.concatenate([[device.running], on[:-1]])))
                cost += device.waiting_cost * hours**2 * float(power @ np.arange(community.horizon.mtus))
            case FixedLoad() | Curtailable():
                pass
    return cost
