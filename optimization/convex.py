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
    DeviceId,
    FixedLoad,
    Floats,
    Interruptible,
)
from optimization.errors import ProblemError
from optimization.market import Assets, Limit, Links, Market, Storages
from optimization.market_clearing import MarketClearing

Schedules = Mapping[DeviceId, Floats]
"""(T,) kW of each appliance."""


def market_of(community: Community, schedules: Schedules | None = None) -> Market:
    """The market of a community: its devices as assets and storages, its envelopes as limits.

    Parameters
    ----------
    community : the problem
    schedules : of every interruptible appliance

    Raises
    ------
    ProblemError
        If an appliance has no schedule, or a battery cannot reach its final energy: what it falls short by is for the
        community's own dispatch to say.
    """
    mtus, hours = community.horizon.mtus, community.horizon.hours
    index = {peer.id: n for n, peer in enumerate(community.peers)}
    assets = [(index[peer.id], d) for peer, d in community.devices() if not isinstance(d, Battery)]
    batteries = [(index[peer.id], d) for peer, d in community.devices() if isinstance(d, Battery)]
    bounds = [_bounds(device, schedules or {}, mtus) for _, device in assets]
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
            slope=np.zeros((len(assets), mtus)),
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
        storages=_storages([(n, device) for n, device in batteries], mtus, hours),
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


def _bounds(device: FixedLoad | Curtailable | Interruptible, schedules: Schedules, mtus: int) -> tuple[Floats, Floats]:
    """(T,) least and most kW of consumption."""
    match device:
        case FixedLoad():
            return device.power_kw, device.power_kw
        case Curtailable():
            return -device.available_kw, np.zeros(mtus)
        case Interruptible():
            if device.id not in schedules:
                raise ProblemError(
                    f"{device.id}: got no schedule, wanted one: when an appliance runs is a whole number"
                )
            return schedules[device.id], schedules[device.id]


def _storages(batteries: list[tuple[int, Battery]], mtus: int, hours: float) -> Storages:
    lower = np.zeros((len(batteries), mtus))
    for s, (_, battery) in enumerate(batteries):
        reachable = battery.initial_kwh + mtus * hours * battery.charge_efficiency * battery.max_charge_kw
        if battery.final_kwh > reachable:
            raise ProblemError(f"{battery.id}.final_kwh: got {battery.final_kwh}, wanted at most {reachable:g}")
        lower[s, -1] = battery.final_kwh

    def each(name: str) -> Floats:
        return np.array([getattr(battery, name) for _, battery in batteries], dtype=np.float64)

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
        state_cost=np.repeat(-hours * each("waiting_cost")[:, None], mtus, axis=1),
    )


def clearing_of(community: Community, market: Market, clearing: MarketClearing, *, lower_bound: float) -> Clearing:
    """The community's clearing that a clearing of its market is.

    Parameters
    ----------
    community, market : the problem and ``market_of`` it
    clearing : of the market
    lower_bound : currency, of the community's objective
    """
    hours, stores = market.hours, market.stores
    # A store that charges and discharges at once, which only costs, does the difference instead.
    net = clearing.charge - clearing.discharge
    inflow = np.maximum(net, 0.0) * stores.charge_efficiency[:, None]
    inflow += np.minimum(net, 0.0) / stores.discharge_efficiency[:, None]
    stored = stores.initial[:, None] + hours * np.cumsum(inflow, axis=1)
    answer = Clearing(
        device_kw={DeviceId(name): clearing.piece[k] for k, name in enumerate(market.assets.names)}
        | {DeviceId(name): net[s] for s, name in enumerate(stores.names)},
        state_kwh={DeviceId(name): stored[s] for s, name in enumerate(stores.names)},
        shortfall={},
        trade_kwh=clearing.trade * hours,
        import_kwh=clearing.imported * hours,
        export_kwh=clearing.exported * hours,
        price=clearing.price,
        objective=float("nan"),
        lower_bound=lower_bound,
    )
    return replace(answer, objective=certify(community, answer).objective)
