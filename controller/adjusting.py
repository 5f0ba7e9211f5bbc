"""What an adjustment of a part of a window rests on: what was traded before, and whether anything is new since. Pure.

A window may be cleared ahead, and its parts once more shortly before each begins. What was traded ahead stands: it
comes in, or goes out, whatever its parties do now, and an adjustment trades the difference. Where nothing is new since
the window's own clearing there is no difference, and no solver is asked for one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from controller.flexibility import Generator, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import (
    GRID_ACCOUNT,
    Device,
    DeviceSetpoint,
    DeviceState,
    Microgrid,
    Order,
    SetpointKind,
    Trade,
)
from controller.problem import bounds_w, net_of_tail
from controller.projecting import blank, project
from controller.snapshot import Snapshot

SWITCHED = (Relay, Programme, Thermostat, Generator)
SAME_STORED_WH = 20
SAME_STORED_SHARE = 100
"""What a store holds is as foreseen where it is nearer than 20 Wh, or than a hundredth of its capacity."""
SAME_TEMPERATURE_MILLI_K = 200
SAME_CLOSED_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Traded:
    """What members bought before, less what they sold, in Wh by member id.

    Attributes
    ----------
    from_neighbours : in each MTU from a part's start to the end of the horizon
    from_grid : in each MTU of the part
    """

    from_neighbours: Mapping[str, tuple[int, ...]]
    from_grid: Mapping[str, tuple[int, ...]]


def traded_before(trades: Sequence[Trade], mtus: Sequence[int], own: int) -> Traded:
    """What a part's members traded before; members without a trade are left out.

    Parameters
    ----------
    trades : made so far for the MTUs
    mtus : from the part's start to the end of the horizon
    own : how many of them are the part's
    """
    places = {mtu: k for k, mtu in enumerate(mtus)}
    neighbours: dict[str, list[int]] = {}
    grid: dict[str, list[int]] = {}
    for trade in trades:
        place = places.get(trade.mtu_start)
        with_grid = GRID_ACCOUNT in (trade.seller, trade.buyer)
        if place is None or (with_grid and place >= own):
            continue
        books, length = (grid, own) if with_grid else (neighbours, len(mtus))
        for party, energy in ((trade.buyer, trade.energy_wh), (trade.seller, -trade.energy_wh)):
            if party != GRID_ACCOUNT:
                books.setdefault(party, [0] * length)[place] += energy
    return Traded(
        from_neighbours={member: tuple(series) for member, series in sorted(neighbours.items())},
        from_grid={member: tuple(series) for member, series in sorted(grid.items())},
    )


def priced_as(view: Microgrid, decided: Microgrid, start: int, end: int) -> Microgrid:
    """A microgrid with the charge, and in ``[start, end)`` the prices, that a window was decided on.

    Where the window had no prices, those of now count.
    """
    charged = replace(view, network_charge_micro_per_kwh=decided.network_charge_micro_per_kwh)
    if decided.priced_until(start) < end:
        return charged
    own = [
        replace(period, start=max(period.start, start), end=min(period.end, end))
        for period in decided.tariff
        if period.start < end and period.end > start
    ]
    later = [replace(period, start=max(period.start, end)) for period in view.tariff if period.end > end]
    return replace(charged, tariff=(*own, *later))


def nothing_new(cleared: Snapshot, now: Snapshot, expected: Mapping[str, DeviceState]) -> bool:
    """Whether an adjustment would be decided on nothing that the window's own clearing did not know.

    Only MTUs that both plans reach count; a horizon that moves on is nothing new.

    Parameters
    ----------
    cleared : what the window was cleared on
    now : what the adjustment would be decided on
    expected : each device's state at the part's start, had it done what the window told it
    """
    offset = (now.window.start - cleared.window.start) // now.microgrid.mtu_seconds
    mtus = min(len(cleared.mtus()) - offset, len(now.mtus()))
    return (
        cleared.devices == now.devices
        and _same_orders(cleared, now, offset, mtus)
        and _same_limits(cleared, now, offset, mtus)
        and all(_price(cleared.microgrid, at) == _price(now.microgrid, at) for at in now.mtus()[:mtus])
        and tuple(v for v in cleared.vetoes if v.overlaps(now.window.start, now.window.end)) == now.vetoes
        and {id_: d for id_, d in cleared.overrides.items() if d.until > now.window.start} == dict(now.overrides)
        and all(_as_expected(device, expected.get(device.id), now.states.get(device.id)) for device in now.devices)
    )


def _price(microgrid: Microgrid, instant: int) -> tuple[int, int]:
    period = microgrid.prices(instant)
    return period.import_price_micro_per_kwh, period.export_price_micro_per_kwh


def _same_orders(cleared: Snapshot, now: Snapshot, offset: int, mtus: int) -> bool:
    """Whether everybody wants the same of the MTUs that both reach."""
    if set(cleared.orders) != set(now.orders):
        return False
    own = len(now.window_mtus())
    return all(
        _wish(cleared.orders[member], offset, mtus, own) == _wish(now.orders[member], 0, mtus, own)
        for member in now.orders
    )


def _wish(order: Order, offset: int, mtus: int, own: int) -> tuple[object, ...]:
    def of(series: Sequence[int]) -> tuple[int, ...]:
        return tuple(series[offset : offset + mtus])

    return (
        of(order.load_w),
        {device: of(series) for device, series in order.production.items()},
        dict(order.partners),
        dict(order.attributes),
        {
            device: (of(forecast.ambient_milli_c), of(forecast.draw_w), of(forecast.performance_ppm))
            for device, forecast in order.thermal.items()
        },
        tuple(order.offers[offset : offset + own]),
    )


def _same_limits(cleared: Snapshot, now: Snapshot, offset: int, mtus: int) -> bool:
    before, after = bounds_w(cleared), bounds_w(now)
    return set(before) == set(after) and all(
        np.array_equal(before[target][side][offset : offset + mtus], after[target][side][:mtus])
        for target in before
        for side in (0, 1)
    )


def _as_expected(device: Device, expected: DeviceState | None, found: DeviceState | None) -> bool:
    """Whether a device is as near to what was expected as meters tell."""
    if expected is None or found is None:
        return expected is found
    flexibility = device.flexibility
    if isinstance(flexibility, SWITCHED) and expected.on != found.on:
        return False
    if isinstance(flexibility, Storage | Vehicle):
        before, after = (flexibility.stored_wh if s.stored_wh is None else s.stored_wh for s in (expected, found))
        return abs(before - after) <= max(SAME_STORED_WH, flexibility.capacity_wh // SAME_STORED_SHARE)
    if isinstance(flexibility, Thermostat):
        start = flexibility.temperature_milli_c
        before, after = (start if s.temperature_milli_c is None else s.temperature_milli_c for s in (expected, found))
        return abs(before - after) <= SAME_TEMPERATURE_MILLI_K
    if isinstance(flexibility, Relay | Programme):
        return abs(expected.task_closed_s - found.task_closed_s) <= SAME_CLOSED_S
    return True


def keeps_limits(start: int, power_w: Mapping[str, Sequence[int]], now: Snapshot) -> bool:
    """Whether what was planned for a part keeps the limits that hold now, with the forecasts of now.

    Parameters
    ----------
    start : of the plan, Unix seconds
    power_w : by device, from there on
    now : what the adjustment was to be decided on
    """
    offset = (now.window.start - start) // now.microgrid.mtu_seconds
    mtus = range(len(now.window_mtus()))
    for target, (lower, upper) in bounds_w(now).items():
        net = net_of_tail(now, target, power_w, offset)
        if any(not lower[k] <= net[k] <= upper[k] for k in mtus):
            return False
    return True


def told_w(told: Sequence[DeviceSetpoint], now: Snapshot) -> dict[str, tuple[int, ...]]:
    """W that devices take in a part's MTUs where they do what they were told; those that were told nothing left out.

    Parameters
    ----------
    told : each device's by time
    now : what the adjustment was to be decided on: its plants produce what is forecast now, as far as they may
    """
    mtu_s = now.microgrid.mtu_seconds
    known = {device.id: device for device in now.devices}
    own: dict[str, dict[int, DeviceSetpoint]] = {}
    for setpoint in told:
        if setpoint.device in known and now.window.start <= setpoint.mtu_start < now.window.end:
            own.setdefault(setpoint.device, {})[setpoint.mtu_start] = setpoint
    found = {}
    for id_, setpoints in own.items():
        device, order = known[id_], now.orders.get(known[id_].member)
        sun_w = order.production.get(id_, ()) if order else ()
        state = now.states.get(id_) or blank(id_, now.window.start)
        powers = []
        for k, mtu in enumerate(now.window_mtus()):
            one = setpoints.get(mtu)
            if one is None:
                powers.append(0)
            elif one.kind is SetpointKind.PRODUCTION_LIMIT:
                powers.append(-min(one.value, sun_w[k] if sun_w else 0))
            else:
                state = project(state, device, [one], mtu + mtu_s, mtu_s)
                powers.append(state.power_w)
        found[id_] = tuple(powers)
    return found


def carried_on(
    cleared: Snapshot,
    power_w: Mapping[str, Sequence[int]],
    positions: Mapping[tuple[str, int], int],
    now: Snapshot,
) -> dict[str, int]:
    """The remainders of rounding after a part in which the window's clearing stands.

    Parameters
    ----------
    cleared : what the window was cleared on
    power_w : what that planned, by device, from the window's start on
    now : what the adjustment was to be decided on
    positions : Wh that each member is scheduled to take, by member and MTU
    """
    grid = now.microgrid
    offset = (now.window.start - cleared.window.start) // grid.mtu_seconds
    carry = dict(now.carry)
    for member in cleared.members:
        order = cleared.orders.get(member.id)
        own = [series for device, series in sorted(power_w.items()) if device.partition("/")[0] == member.id]
        rest = carry.get(f"peer {member.id}", 0)
        for k, mtu in enumerate(now.window_mtus(), start=offset):
            net_w = (order.load_w[k] if order else 0) + sum(series[k] for series in own)
            rest += net_w * grid.mtu_minutes - 60 * positions.get((member.id, mtu), 0)
        carry[f"peer {member.id}"] = rest
    return carry


def inputs_text(snapshot: str, adjustments: Sequence[tuple[int, str]], trades: Mapping[int, int]) -> str:
    """All that a window was decided on, as one canonical JSON: what its header commits to.

    Without adjustments it is the window's snapshot itself. With them it says as well which of its trades, in the order
    of their indices, each clearing made.

    Parameters
    ----------
    snapshot : canonical JSON of the window's own
    adjustments : number and canonical JSON of the snapshot of each, in order
    trades : how many each clearing made, by its number, 0 for the window's own
    """
    if not adjustments:
        return snapshot
    parts = ",".join(
        f'{{"number":{number},"snapshot":{text},"trades":{trades.get(number, 0)}}}' for number, text in adjustments
    )
    return f'{{"adjustments":[{parts}],"snapshot":{snapshot},"trades":{trades.get(0, 0)}}}'
