"""What an aggregator's plan is made from: the inputs of a clearing, with what is not its own held as it is.

Every wish is a change of the snapshot, so that the plan is solved, rounded and certified like a clearing: a shorter
horizon cuts it, others' devices become loads, an objective changes prices or adds a limit.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from controller import problem
from controller.flexibility import Plant, Programme
from controller.microgrid import Bounds, Device, Microgrid, Order, TariffPeriod
from controller.snapshot import Limit, Snapshot
from optimization.community import PeerId

IMPORT_PENALTY_MICRO_PER_KWH = 1_000_000
"""What SELF_CONSUMPTION adds to each imported kWh: far above what tariffs differ by, far below what a task is worth."""
PEAK_LIMIT = "peak"
HELD = "held"
"""The one device of a member that is not planned: what its devices feed in together."""
HELD_COST_MICRO_PER_KWH = 10_000_000
"""What cutting that off counts, so that a limit which nothing else keeps does not end the plan."""


class Objective(Enum):
    """What a plan is best at."""

    COST = "COST"
    PEAK = "PEAK"
    SELF_CONSUMPTION = "SELF_CONSUMPTION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked of a plan.

    Attributes
    ----------
    members : whose devices are planned
    end : of the horizon, Unix seconds; None for the end of what is plannable
    objective : what it is best at
    limits : hypothetical ones, on top of those that there are
    tariff : hypothetical periods, later ones first in force
    unavailable : devices that are not there
    """

    members: frozenset[str]
    end: int | None = None
    objective: Objective = Objective.COST
    limits: tuple[Limit, ...] = ()
    tariff: tuple[TariffPeriod, ...] = ()
    unavailable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPlan:
    """What the last clearing foresaw: each device's W from ``start`` on."""

    start: int
    power_w: Mapping[str, Sequence[int]]


def inputs(snapshot: Snapshot, wish: Wish, last: LastPlan | None) -> Snapshot:
    """The inputs of a plan."""
    end = snapshot.microgrid.end if wish.end is None else wish.end
    microgrid = replace(snapshot.microgrid, end=end, tariff=_tariff(snapshot, wish, end))
    cut = replace(snapshot, microgrid=microgrid)
    mtus = len(cut.mtus())
    own = _present(snapshot, wish)
    kept = {device.id for device in own}
    held = _held(snapshot, wish, last, mtus)
    return replace(
        cut,
        devices=tuple(sorted((*own, *_feeding(held)), key=lambda device: device.id)),
        states={device: state for device, state in snapshot.states.items() if device in kept},
        orders=_orders(snapshot, held, mtus),
        supposed=wish.limits,
        planned_w={device: series[:mtus] for device, series in snapshot.planned_w.items() if device in kept},
    )


def _present(snapshot: Snapshot, wish: Wish) -> tuple[Device, ...]:
    """The devices to plan. A programme that follows one that is not there would wait for ever, and stays away too."""
    own = [d for d in snapshot.devices if d.member in wish.members and d.id not in wish.unavailable]
    while True:
        kept = {device.id for device in own}
        left = [d for d in own if not isinstance(d.flexibility, Programme) or d.flexibility.follows in {None, *kept}]
        if len(left) == len(own):
            return tuple(own)
        own = left


def digest(snapshot: Snapshot, wish: Wish) -> bytes:
    """SHA-256 of all that a plan follows from."""
    options = json.dumps([wish.objective.value, sorted(wish.members)], separators=(",", ":"))
    return hashlib.sha256(snapshot.digest() + options.encode()).digest()


def with_peak(snapshot: Snapshot, upper_w: int) -> Snapshot:
    """The same inputs with so much at the connection point at most."""
    period = Bounds(start=snapshot.window.start, end=snapshot.microgrid.end, lower_w=None, upper_w=upper_w)
    limit = Limit(id=PEAK_LIMIT, target=snapshot.microgrid.name, periods=(period,), digest="")
    return replace(snapshot, supposed=(*snapshot.supposed, limit))


def tail(snapshot: Snapshot, last: LastPlan | None) -> tuple[int, dict[str, tuple[int, ...]], tuple[int, ...]] | None:
    """What the last clearing foresaw for the plan's devices, where it keeps the limits of these inputs.

    Returns
    -------
    How many MTUs it covers, each device's W in them, and the net W of all; None where it covers no whole window or
    breaks a limit.
    """
    if last is None or last.start > snapshot.window.start:
        return None
    offset = (snapshot.window.start - last.start) // snapshot.microgrid.mtu_seconds
    covered = max((len(series) for series in last.power_w.values()), default=0) - offset
    mtus = min(len(snapshot.mtus()), covered)
    if mtus < len(snapshot.window_mtus()):
        return None
    power_w = {}
    for device in snapshot.devices:
        if device.id == f"{device.member}/{HELD}":
            power_w[device.id] = tuple(-w for w in snapshot.orders[device.member].production[device.id][:mtus])
        else:
            power_w[device.id] = tuple(last.power_w.get(device.id, (0,) * (offset + mtus))[offset : offset + mtus])
    everybody = frozenset(PeerId(member.id) for member in snapshot.members)
    for target, (lower, upper) in problem.bounds_w(snapshot).items():
        net = _net_w(snapshot, problem.members_under(snapshot, target), power_w, mtus)
        if any(not lower[k] <= net[k] <= upper[k] for k in range(mtus)):
            return None
    return mtus, power_w, _net_w(snapshot, everybody, power_w, mtus)


def _net_w(
    snapshot: Snapshot, members: frozenset[PeerId], power_w: Mapping[str, Sequence[int]], mtus: int
) -> tuple[int, ...]:
    loads = [order.load_w for member, order in snapshot.orders.items() if member in members]
    devices = [power_w[device.id] for device in snapshot.devices if device.member in members]
    return tuple(sum(series[k] for series in (*loads, *devices)) for k in range(mtus))


def held_w(snapshot: Snapshot, device: str, last: LastPlan | None, mtus: int) -> list[int]:
    """What a device that is not planned does: as the last clearing foresaw; else nothing, or what the sun gives."""
    known = next(d for d in snapshot.devices if d.id == device)
    order = snapshot.orders.get(known.member)
    rest = [0] * mtus
    if isinstance(known.flexibility, Plant) and order is not None and device in order.production:
        rest = [-min(watts, known.flexibility.rated_w) for watts in order.production[device][:mtus]]
    if last is None or device not in last.power_w:
        return rest
    offset = (snapshot.window.start - last.start) // snapshot.microgrid.mtu_seconds
    planned = list(last.power_w[device][offset : offset + mtus]) if offset >= 0 else []
    return planned + rest[len(planned) :]


def _held(snapshot: Snapshot, wish: Wish, last: LastPlan | None, mtus: int) -> dict[str, list[int]]:
    """Net W of the devices of each member that is not planned."""
    held: dict[str, list[int]] = {}
    for device in snapshot.devices:
        if device.member not in wish.members:
            total = held.setdefault(device.member, [0] * mtus)
            for k, watts in enumerate(held_w(snapshot, device.id, last, mtus)):
                total[k] += watts
    return held


def _feeding(held: Mapping[str, Sequence[int]]) -> list[Device]:
    """Of each member whose held devices feed in, the plant that stands for them."""
    return [
        Device(
            id=f"{member}/{HELD}",
            member=member,
            flexibility=Plant(rated_w=-min(total), curtailment_cost_micro_per_kwh=HELD_COST_MICRO_PER_KWH),
        )
        for member, total in held.items()
        if min(total) < 0
    ]


def _orders(snapshot: Snapshot, held: Mapping[str, Sequence[int]], mtus: int) -> dict[str, Order]:
    """Orders cut to the horizon, with what is held in loads and production."""
    orders = {}
    for member in sorted({*snapshot.orders, *held}):
        order = snapshot.orders.get(member)
        if order is None:
            order = Order(window=snapshot.window.name, member=member, load_w=(0,) * mtus, production={}, partners={})
        total = held.get(member, (0,) * mtus)
        production = {device: series[:mtus] for device, series in order.production.items()}
        if min(total) < 0:
            production[f"{member}/{HELD}"] = tuple(max(0, -watts) for watts in total)
        orders[member] = replace(
            order,
            load_w=tuple(load + max(0, watts) for load, watts in zip(order.load_w[:mtus], total, strict=True)),
            production=production,
            thermal={
                device: replace(
                    forecast,
                    ambient_milli_c=forecast.ambient_milli_c[:mtus],
                    draw_w=forecast.draw_w[:mtus],
                    performance_ppm=forecast.performance_ppm[:mtus],
                )
                for device, forecast in order.thermal.items()
            },
        )
    return orders


def _tariff(snapshot: Snapshot, wish: Wish, end: int) -> tuple[TariffPeriod, ...]:
    """The tariff as it is, or one period for each MTU where the wish changes it."""
    grid: Microgrid = snapshot.microgrid
    if not wish.tariff and wish.objective is not Objective.SELF_CONSUMPTION:
        return grid.tariff
    penalty = IMPORT_PENALTY_MICRO_PER_KWH if wish.objective is Objective.SELF_CONSUMPTION else 0
    periods = []
    for start in grid.mtus(snapshot.window.start, end):
        price = next((p for p in reversed(wish.tariff) if p.start <= start < p.end), None) or grid.prices(start)
        periods.append(
            TariffPeriod(
                start=start,
                end=start + grid.mtu_seconds,
                import_price_micro_per_kwh=price.import_price_micro_per_kwh + penalty,
                export_price_micro_per_kwh=price.export_price_micro_per_kwh,
            )
        )
    return tuple(periods)
