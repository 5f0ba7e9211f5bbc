"""A community whose appliances are decided, as a market; and a market's clearing as the community's.

What whole numbers a community has are its appliances' schedules: with these given the rest is convex, and the dispatch
of markets solves it.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from optimization.certificate import certify
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
    Horizon,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.errors import ProblemError
from optimization.market import Assets, Limit, Links, Market, Storages
from optimization.market_clearing import MarketClearing
from optimization.states import shortfall_of, states_of

Schedules = Mapping[DeviceId, Floats]
"""(T,) kW of each device that is decided already."""


def market_of(community: Community, schedules: Schedules | None = None) -> Market:
    """The market of a community: its devices as assets and storages, its envelopes as limits.

    Parameters
    ----------
    community : the problem
    schedules : of every device that has whole numbers or comfort to decide: appliances, programmes, vehicles,
        thermostatic loads, generators; of a battery, where it is decided too

    Raises
    ------
    ProblemError
        If such a device has no schedule; if a battery has none and cannot reach its final energy (what it falls short
        by is for the community's own dispatch to say) or loses energy by itself; or if a
        departure from a plan costs something.
    """
    mtus, hours = community.horizon.mtus, community.horizon.hours
    index = {peer.id: n for n, peer in enumerate(community.peers)}
    decided = schedules or {}
    batteries = [
        (index[peer.id], d) for peer, d in community.devices() if isinstance(d, Battery) and d.id not in decided
    ]
    stored = {battery.id for _, battery in batteries}
    assets = [(index[peer.id], d) for peer, d in community.devices() if d.id not in stored]
    _refuse_change_costs(community, decided)
    bounds = [_bounds(device, decided, mtus) for _, device in assets]
    slopes = [_slope(device) for _, device in assets]
    everyone = (len(community.peers), mtus)
    return Market(
        peers=tuple(peer.id for peer in community.peers),
        hours=hours,
        mtus=mtus,
        assets=Assets(
            peer=np.array([n for n, _ in assets], dtype=np.int64),
            names=tuple(device.id for _, device in assets),
            piece_asset=np.arange(len(assets)),
            lower=np.array([lower for lower, _ in bounds]).reshape(-1, mtus),
            upper=np.array([upper for _, upper in bounds]).reshape(-1, mtus),
            slope=np.repeat(np.array(slopes, dtype=np.float64)[:, None], mtus, axis=1),
            curvature=np.zeros((len(assets), mtus)),
        ),
        links=Links(
            seller=np.array([index[link.seller] for link in community.links], dtype=np.int64),
            buyer=np.array([index[link.buyer] for link in community.links], dtype=np.int64),
            seller_preference=np.array([link.seller_preference for link in community.links]),
            buyer_preference=np.array([link.buyer_preference for link in community.links]),
            network_charge=np.array([link.network_charge for link in community.links]),
            capacity=np.full(len(community.links), np.inf),
        ),
        storages=_storages(batteries, community.horizon),
        import_price=np.broadcast_to(community.tariff.import_price, everyone),
        export_price=np.broadcast_to(community.tariff.export_price, everyone),
        limits=tuple(
            Limit(
                name=envelope.name,
                members=np.array(sorted(index[peer] for peer in envelope.peers), dtype=np.int64),
                lower=envelope.lower_kw,
                upper=envelope.upper_kw,
            )
            for envelope in community.envelopes
        ),
    )


def _refuse_change_costs(community: Community, decided: Schedules) -> None:
    """A market knows no kink at a planned power; of what is decided already the change is a constant."""
    free = {d.id for _, d in community.devices() if isinstance(d, Curtailable | Battery) and d.id not in decided}
    for device in sorted(free & community.planned_kw.keys()):
        if community.change_price:
            raise ProblemError(
                f"community.change_price: got {community.change_price} with a plan for {device}, wanted 0"
            )


def _slope(device: Device) -> float:
    """Currency/kWh that consuming costs beside energy: what is curtailed is not produced, and counts as consumed."""
    return device.curtailment_cost if isinstance(device, Curtailable) else 0.0


def _bounds(device: Device, decided: Schedules, mtus: int) -> tuple[Floats, Floats]:
    """(T,) least and most kW of consumption."""
    if device.id in decided:
        return decided[device.id], decided[device.id]
    match device:
        case FixedLoad():
            return device.power_kw, device.power_kw
        case Curtailable():
            return -device.available_kw, np.zeros(mtus)
        case Interruptible() | Programme() | ElectricVehicle() | Generator() | Thermostatic() | Battery():
            raise ProblemError(f"{device.id}: got no schedule, wanted one: when an appliance runs is a whole number")


def _storages(batteries: list[tuple[int, Battery]], horizon: Horizon) -> Storages:
    mtus, hours = horizon.mtus, horizon.hours
    lower = np.zeros((len(batteries), mtus))
    for s, (_, battery) in enumerate(batteries):
        if battery.self_discharge:
            raise ProblemError(
                f"{battery.id}.self_discharge: got {battery.self_discharge}, wanted 0: storages of markets lose nothing"
            )
        reachable = battery.initial_kwh + mtus * hours * battery.charge_efficiency * battery.max_charge_kw
        if battery.final_kwh > reachable:
            raise ProblemError(f"{battery.id}.final_kwh: got {battery.final_kwh}, wanted at most {reachable:g}")
        lower[s] = battery.floor_kwh(horizon)
        lower[s, -1] = max(lower[s, -1], battery.final_kwh)

    def each(name: str) -> Floats:
        return np.array([getattr(battery, name) for _, battery in batteries], dtype=np.float64)

    state_cost = np.repeat(-hours * each("waiting_cost")[:, None], mtus, axis=1)
    state_cost[:, -1] -= each("final_value")
    return Storages(
        peer=np.array([n for n, _ in batteries], dtype=np.int64),
        names=tuple(battery.id for _, battery in batteries),
        max_charge=each("max_charge_kw"),
        max_discharge=each("max_discharge_kw"),
        charge_efficiency=each("charge_efficiency"),
        discharge_efficiency=each("discharge_efficiency"),
        initial=each("initial_kwh"),
        lower=lower,
        upper=np.repeat(each("capacity_kwh")[:, None], mtus, axis=1),
        cycle_cost=each("cycle_cost"),
        state_cost=state_cost,
    )


def clearing_of(community: Community, market: Market, clearing: MarketClearing, *, lower_bound: float) -> Clearing:
    """The community's clearing that a clearing of its market is.

    Parameters
    ----------
    community, market : the problem and ``market_of`` it
    clearing : of the market
    lower_bound : currency, of the community's objective
    """
    # A store that charges and discharges at once, which only costs, does the difference instead.
    net = clearing.charge - clearing.discharge
    device_kw = {DeviceId(name): clearing.piece[k] for k, name in enumerate(market.assets.names)}
    device_kw |= {DeviceId(name): net[s] for s, name in enumerate(market.stores.names)}
    states = states_of(community, device_kw)
    # What the market was held to it reached, but for the solver's rounding: that is no shortfall.
    short = shortfall_of(community, device_kw, states)
    answer = Clearing(
        device_kw=device_kw,
        state_kwh=states.state_kwh,
        temperature_c=states.temperature_c,
        shortfall={device: amount for device, amount in short.items() if device not in market.stores.names},
        trade_kwh=clearing.trade * market.hours,
        import_kwh=clearing.imported * market.hours,
        export_kwh=clearing.exported * market.hours,
        price=clearing.price,
        objective=float("nan"),
        lower_bound=lower_bound,
    )
    return replace(answer, objective=certify(community, answer).objective)
