"""What holds a device in a plan: its window, minimum times, a store's bounds, a comfort band, an envelope; in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from controller.plan.calendar import Calendar
from controller.plan.limits import binding
from controller.plan.missing import reasons_of_curtailing, reasons_of_shortfall
from controller.plan.planned import Planned
from controller.plan.stretches import RUNNING_KW, interval, intervals, runs, stretches
from optimization.community import Peer
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
from optimization.quantities import Floats, Horizon
from optimization.states import stored_kwh

NEAR_KWH = 0.01
NEAR_K = 0.25
"""Of a band's edge: where one more MTU of an on/off load would leave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that holds a device.

    Attributes
    ----------
    limit : ``window``, ``task``, ``minimum times``, ``starts``, ``order``, ``store``, ``comfort``, ``plan`` or
        ``envelope``
    text : a sentence for people
    """

    limit: str
    text: str


def reasons(plan: Planned, peer: Peer, device: Device, cheapest_kw: Floats) -> tuple[Reason, ...]:
    """What holds a device: why it falls short, its own rules, what an earlier plan foresaw, limits.

    ``cheapest_kw`` is the (T,) power of its cheapest schedule at the plan's prices: what a limit may have moved.
    """
    power = plan.device_kw[device.id]
    told = [
        *reasons_of_shortfall(plan, peer, device, power),
        *_own(plan, peer, device, power),
        *_foreseen(plan, device, power),
    ]
    return (*(Reason(limit=limit, text=text) for limit, text in told), *_envelopes(plan, peer, power, cheapest_kw))


def _own(plan: Planned, peer: Peer, device: Device, power: Floats) -> Iterator[tuple[str, str]]:
    calendar, horizon = plan.file.calendar, plan.file.community.horizon
    match device:
        case FixedLoad():
            yield "task", "nobody controls it: it runs as forecast"
        case Curtailable():
            yield from reasons_of_curtailing(plan, peer, device, power)
        case Generator():
            yield from _generator(device, horizon)
        case Battery():
            yield from _battery(calendar, device, stored_kwh(device, power, horizon), horizon)
        case ElectricVehicle():
            yield from _vehicle(calendar, device, stored_kwh(device, power, horizon))
        case Programme():
            yield from _programme(calendar, device)
        case Interruptible():
            yield from _interruptible(calendar, device, horizon)
        case Thermostatic():
            yield from _thermostatic(calendar, device, power, horizon)
        case other:
            assert_never(other)


def _generator(generator: Generator, horizon: Horizon) -> Iterator[tuple[str, str]]:
    if generator.max_kw > 0:
        fuel = generator.linear_cost + 0.5 * generator.quadratic_cost * generator.max_kw
        full = fuel + generator.running_cost / generator.max_kw
        yield "task", f"at full power a kWh costs it {full:.3f}, and a start {generator.start_cost:.3f}"
    if max(generator.min_up_mtus, generator.min_down_mtus) > 1:
        up, down = (_duration(mtus, horizon) for mtus in (generator.min_up_mtus, generator.min_down_mtus))
        yield "minimum times", f"once up it stays up for {up}, once down for {down}"


def _battery(calendar: Calendar, battery: Battery, stored: Floats, horizon: Horizon) -> Iterator[tuple[str, str]]:
    full = stored >= battery.capacity_kwh - NEAR_KWH
    empty = stored <= battery.floor_kwh(horizon) + NEAR_KWH
    if full.any():
        yield "store", f"it is full ({battery.capacity_kwh:g} kWh) {intervals(calendar, stretches(full))}"
    if empty.any():
        yield "store", f"it is down to its reserve ({battery.min_kwh:g} kWh) {intervals(calendar, stretches(empty))}"
    if battery.final_kwh > 0:
        yield "task", f"{battery.final_kwh:g} kWh are wanted in it at {calendar.label(horizon.mtus)}"


def _vehicle(calendar: Calendar, vehicle: ElectricVehicle, stored: Floats) -> Iterator[tuple[str, str]]:
    stay = interval(calendar, vehicle.arrival_mtu, vehicle.departure_mtu)
    missing = max(0.0, vehicle.required_kwh - vehicle.initial_kwh)
    yield "window", f"it is plugged in {stay} and lacks {missing:.3g} kWh when it comes"
    steps = ", ".join(f"{level.lower_kw:g} to {level.upper_kw:g} kW" for level in vehicle.levels)
    yield "task", f"it can charge with {steps}, or rest"
    if vehicle.departure_mtu > vehicle.arrival_mtu:
        left = float(stored[vehicle.departure_mtu - 1])
        yield "task", f"it leaves with {left:.1f} kWh; {vehicle.required_kwh:g} kWh are wanted"


def _programme(calendar: Calendar, programme: Programme) -> Iterator[tuple[str, str]]:
    if programme.progress is not None:
        yield "order", "it was begun before the plan, and is finished without a break"
        return
    yield "window", f"it has to begin and end within {interval(calendar, programme.first_mtu, programme.end_mtu)}"
    yield "task", "once begun, a phase is not interrupted"
    if programme.follows is not None:
        yield "order", f"it comes after {programme.follows}"


def _interruptible(calendar: Calendar, appliance: Interruptible, horizon: Horizon) -> Iterator[tuple[str, str]]:
    window = interval(calendar, appliance.first_mtu, appliance.end_mtu)
    yield "window", f"it owes {_duration(appliance.required_mtus, horizon)} within {window}"
    if max(appliance.min_on_mtus, appliance.min_off_mtus) > 1:
        on, off = (_duration(mtus, horizon) for mtus in (appliance.min_on_mtus, appliance.min_off_mtus))
        yield "minimum times", f"once on it stays on for {on}, once off for {off}"
    if appliance.max_starts is not None:
        yield "starts", f"it may start {appliance.max_starts} times a day"


def _thermostatic(calendar: Calendar, load: Thermostatic, power: Floats, horizon: Horizon) -> Iterator[tuple[str, str]]:
    temperature = load.temperature_c(power, horizon)
    low, high = temperature <= load.lower_c + NEAR_K, temperature >= load.upper_c - NEAR_K
    band = f"{load.lower_c.min():g} to {load.upper_c.max():g} degrees"
    yield "comfort", f"it has to keep {band}; it moves between {temperature.min():.1f} and {temperature.max():.1f}"
    if low.any():
        yield "comfort", f"it is at the lower edge of its band {intervals(calendar, stretches(low))}"
    if high.any():
        yield "comfort", f"it is at the upper edge of its band {intervals(calendar, stretches(high))}"
    if max(load.min_on_mtus, load.min_off_mtus) > 1:
        on, off = (_duration(mtus, horizon) for mtus in (load.min_on_mtus, load.min_off_mtus))
        yield "minimum times", f"once on it stays on for {on}, once off for {off}"


def _foreseen(plan: Planned, device: Device, power: Floats) -> Iterator[tuple[str, str]]:
    """What an earlier plan foresaw, where departing from it costs something."""
    community, currency = plan.file.community, plan.file.currency
    foreseen = community.planned_kw.get(device.id)
    if foreseen is None or not community.change_price:
        return
    departed = community.horizon.hours * float(np.abs(power - foreseen).sum())
    price = f"departing costs {community.change_price:.3f} {currency}/kWh"
    if departed < NEAR_KWH:
        yield "plan", f"it does what an earlier plan foresaw; {price}"
        return
    when = intervals(plan.file.calendar, runs(foreseen)) or "not running"
    yield (
        "plan",
        f"an earlier plan foresaw it {when}; {price}, and this plan departs by {departed:.2f} kWh "
        f"({community.change_price * departed:.3f} {currency})",
    )


def _envelopes(plan: Planned, peer: Peer, power: Floats, cheapest_kw: Floats) -> Iterator[Reason]:
    """Limits that bind where the device runs, or where it would if it looked at prices alone."""
    running, wanted = np.abs(power) > RUNNING_KW, np.abs(cheapest_kw) > RUNNING_KW
    for envelope, mtus in binding(plan.file.community, plan.device_kw):
        if peer.id not in envelope.peers or not (mtus & (running | wanted)).any():
            continue
        when = intervals(plan.file.calendar, stretches(mtus))
        shared, moved = int((mtus & running).sum()), int((mtus & wanted & ~running).sum())
        cheaper = f", and where it rests its cheapest schedule would run in {moved}" if moved else ""
        yield Reason(
            limit="envelope",
            text=f"the limit {envelope.name} binds {when}; of those {mtus.sum()} MTUs it runs in {shared}{cheaper}",
        )


def _duration(mtus: int, horizon: Horizon) -> str:
    hours, minutes = divmod(mtus * horizon.mtu_minutes, 60)
    return f"{hours} h {minutes} min" if hours and minutes else f"{hours} h" if hours else f"{minutes} min"
