"""Each kind of device as a convex set in cvxpy: its own rules with every whole number anywhere between its bounds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

import cvxpy
import numpy as np

from optimization.community import (
    Battery,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Floats,
    Generator,
    Horizon,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.devices.carried_in import carried_in
from optimization.reference.devices.thermostatic import INSIDE_TOLERANCE_K, furthest_outside_k

cp: Any = cvxpy
"""Its functions are exported in a way that type checkers do not see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """A device that may do anything between what it may do.

    Attributes
    ----------
    power : (T,) kW, consumption positive
    cost : currency
    rules : constraints
    ends : of a programme, the MTUs in which its last phase may end, and how much of it does in each
    """

    power: Any
    cost: Any = 0.0
    rules: list[Any] = field(default_factory=list)
    ends: "Share | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How much of something happens when.

    Attributes
    ----------
    mtus : (n,) in which it may, whole numbers; negative before the horizon
    share : (n,) 0 to 1
    """

    mtus: Floats
    share: Any

    def later(self, mtus: int) -> "Share":
        """The same so many MTUs later."""
        return Share(mtus=self.mtus + mtus, share=self.share)


def relax_device(device: Device, horizon: Horizon, shortfall_price: float, ends_before: Share | None) -> Relaxed:
    """The convex set of a device; of a programme that follows another, given when that one ends."""
    match device:
        case FixedLoad():
            relaxed = Relaxed(power=device.power_kw)
        case Curtailable():
            used = cp.Variable(horizon.mtus, nonneg=True)
            relaxed = Relaxed(
                power=-used,
                cost=horizon.hours * device.curtailment_cost * cp.sum(device.available_kw - used),
                rules=[used <= device.available_kw],
            )
        case Generator():
            relaxed = _generator(device, horizon)
        case Battery():
            relaxed = _battery(device, horizon, shortfall_price)
        case ElectricVehicle():
            relaxed = _vehicle(device, horizon, shortfall_price)
        case Programme():
            relaxed = _programme(device, horizon, shortfall_price, ends_before)
        case Interruptible():
            relaxed = _interruptible(device, horizon, shortfall_price)
        case Thermostatic():
            relaxed = _thermostatic(device, horizon)
        case _:
            assert_never(device)
    return relaxed


def _switching(
    mtus: int, *, running: bool, least_on: int, least_off: int, stays_on: int, stays_off: int
) -> tuple[Any, Any, list[Any]]:
    """(T,) how much it is on, (T,) how much it starts, and their rules; see ``devices.switching``."""
    on, start, stop = cp.Variable(mtus), cp.Variable(mtus, nonneg=True), cp.Variable(mtus, nonneg=True)
    lower, upper = np.zeros(mtus), np.ones(mtus)
    lower[:stays_on], upper[:stays_off] = 1.0, 0.0
    ago = np.subtract.outer(np.arange(mtus), np.arange(mtus))
    recent_starts = ((ago >= 0) & (ago < least_on)).astype(float)
    recent_stops = ((ago >= 0) & (ago < least_off)).astype(float)
    rules = [
        on >= lower,
        on <= upper,
        start - stop == cp.diff(cp.hstack([float(running), on])),
        recent_starts @ start <= on,
        recent_stops @ stop <= 1 - on,
    ]
    return on, start, rules


def _generator(device: Generator, horizon: Horizon) -> Relaxed:
    times = {"least_on": device.min_up_mtus, "least_off": device.min_down_mtus}
    forced = carried_in(running=device.running, elapsed=device.elapsed_mtus, **times)
    on, start, rules = _switching(horizon.mtus, running=device.running, **times, **forced)
    produced = cp.Variable(horizon.mtus, nonneg=True)
    fuel = device.linear_cost * cp.sum(produced) + device.running_cost * cp.sum(on)
    if device.quadratic_cost:
        fuel += device.quadratic_cost / 2 * cp.sum_squares(produced)
    return Relaxed(
        power=-produced,
        cost=horizon.hours * fuel + device.start_cost * cp.sum(start),
        rules=[*rules, produced >= device.min_kw * on, produced <= device.max_kw * on],
    )


def _stored(mtus: int, initial: float, inflow: Any, keep: float) -> tuple[Any, list[Any]]:
    """(T,) kWh stored at the end of each MTU."""
    stored = cp.Variable(mtus)
    return stored, [stored == keep * cp.hstack([initial, stored])[:-1] + inflow]


def _battery(device: Battery, horizon: Horizon, shortfall_price: float) -> Relaxed:
    hours, mtus = horizon.hours, horizon.mtus
    into, out, short = cp.Variable(mtus, nonneg=True), cp.Variable(mtus, nonneg=True), cp.Variable(nonneg=True)
    charging = cp.Variable(mtus)
    inflow = hours * (device.charge_efficiency * into - out / device.discharge_efficiency)
    stored, rules = _stored(mtus, device.initial_kwh, inflow, device.keep(horizon))
    rules += [
        charging >= 0,
        charging <= 1,
        into <= device.max_charge_kw * charging,
        out <= device.max_discharge_kw * (1 - charging),
        stored >= device.floor_kwh(horizon),
        stored <= device.capacity_kwh,
        stored[-1] + short >= device.final_kwh,
    ]
    cost = hours * device.cycle_cost * cp.sum(out) + hours * device.waiting_cost * cp.sum(device.capacity_kwh - stored)
    cost += shortfall_price * short - device.final_value * stored[-1]
    return Relaxed(power=into - out, cost=cost, rules=rules)


def _vehicle(device: ElectricVehicle, horizon: Horizon, shortfall_price: float) -> Relaxed:
    hours, stay = horizon.hours, device.departure_mtu - device.arrival_mtu
    if stay == 0:
        missing = max(0.0, device.required_kwh - device.initial_kwh)
        return Relaxed(power=np.zeros(horizon.mtus), cost=shortfall_price * missing)
    count, short = len(device.levels), cp.Variable(nonneg=True)
    level, into = cp.Variable((count, stay), nonneg=True), cp.Variable((count, stay), nonneg=True)
    giving, out = cp.Variable(stay, nonneg=True), cp.Variable(stay, nonneg=True)
    charged = cp.sum(into, axis=0)
    inflow = hours * (device.charge_efficiency * charged - out / device.discharge_efficiency)
    stored, rules = _stored(stay, device.initial_kwh, inflow, 1.0)
    lower = np.array([one.lower_kw for one in device.levels])
    upper = np.array([one.upper_kw for one in device.levels])
    rules += [
        cp.sum(level, axis=0) + giving <= 1,
        into >= cp.multiply(lower[:, None], level),
        into <= cp.multiply(upper[:, None], level),
        out <= device.max_discharge_kw * giving,
        stored >= device.floor_kwh(horizon),
        stored <= device.capacity_kwh,
        stored[-1] + short >= device.required_kwh,
    ]
    cost = hours * device.cycle_cost * cp.sum(out) + hours * device.waiting_cost * cp.sum(device.capacity_kwh - stored)
    plugged = np.eye(horizon.mtus)[:, device.arrival_mtu : device.departure_mtu]
    return Relaxed(power=plugged @ (charged - out), cost=cost + shortfall_price * short, rules=rules)


def _interruptible(device: Interruptible, horizon: Horizon, shortfall_price: float) -> Relaxed:
    mtus, hours, forced = np.arange(horizon.mtus), horizon.hours, device.forced_mtus
    on, start, rules = _switching(
        horizon.mtus,
        running=device.running,
        least_on=device.min_on_mtus,
        least_off=device.min_off_mtus,
        stays_on=forced,
        stays_off=device.resting_mtus,
    )
    allowed = (mtus < forced) | ((mtus >= device.first_mtu) & (mtus < device.end_mtu))
    startable = mtus + device.min_on_mtus <= device.end_mtu
    short = cp.Variable(nonneg=True)
    rules += [on <= allowed.astype(float), start <= startable.astype(float)]
    rules += [cp.sum(on) + short >= device.required_mtus, cp.sum(on) <= device.max_on_mtus]
    if device.max_starts is not None:
        for day in range(horizon.day[-1] + 1):
            made = 0 if day else device.starts_today
            rules.append((horizon.day == day).astype(float) @ start <= max(0, device.max_starts - made))
    energy = device.power_kw * hours
    cost = shortfall_price * energy * short + device.start_cost * cp.sum(start)
    cost += device.waiting_cost * energy * hours * (mtus @ on)
    return Relaxed(power=device.power_kw * on, cost=cost, rules=rules)


def _programme(device: Programme, horizon: Horizon, shortfall_price: float, ends_before: Share | None) -> Relaxed:
    left_out = cp.Variable(nonneg=True)
    rules: list[Any] = []
    if device.progress is None:
        begins = _fresh(device, left_out, ends_before, rules)
    else:
        rules.append(left_out == 0)
        begins = _begun(device, horizon, rules)
    power: Any = np.zeros(horizon.mtus)
    for k, begin in begins.items():
        phase = device.phases[k]
        profile = np.zeros((horizon.mtus, begin.mtus.size))
        for column, first in enumerate(begin.mtus.astype(int)):
            for mtu in range(max(first, 0), min(first + phase.mtus, horizon.mtus)):
                profile[mtu, column] = phase.power_kw[mtu - first]
        power = power + profile @ begin.share
    last = len(device.phases) - 1
    cost = shortfall_price * device.energy_kwh(horizon.hours) * left_out
    cost += horizon.hours**2 * device.waiting_cost * (np.arange(horizon.mtus) @ power)
    return Relaxed(power=power, cost=cost, rules=rules, ends=begins[last].later(device.phases[last].mtus))


def _fresh(device: Programme, left_out: Any, ends_before: Share | None, rules: list[Any]) -> Mapping[int, Share]:
    """When the phases of a programme begin that has not begun."""
    begins: dict[int, Share] = {}
    for k, phase in enumerate(device.phases):
        mtus = np.arange(device.first_mtu, device.end_mtu - phase.mtus + 1, dtype=float)
        if not mtus.size:
            begins[k] = Share(mtus=np.zeros(1), share=cp.Constant(np.zeros(1)))
            rules.append(left_out == 1)
            continue
        begins[k] = Share(mtus=mtus, share=cp.Variable(mtus.size, nonneg=True))
        rules.append(cp.sum(begins[k].share) + left_out == 1)
        if k:
            ends = begins[k - 1].later(device.phases[k - 1].mtus)
            rules.append(_after(begins[k], ends, phase.min_pause_mtus, phase.max_pause_mtus))
    if ends_before is not None:
        rules.append(_after(begins[0], ends_before, device.min_delay_mtus, device.max_delay_mtus))
    return begins


def _begun(device: Programme, horizon: Horizon, rules: list[Any]) -> Mapping[int, Share]:
    """When the phases of a programme in progress begin, from the current one on; MTU T stands for any later one too."""
    progress = device.progress
    assert progress is not None  # for the type checker: the caller has looked
    begun = -progress.elapsed_mtus - progress.paused_mtus
    begins = {progress.phase: Share(mtus=np.array([float(begun)]), share=cp.Constant(np.ones(1)))}
    mtus = np.arange(horizon.mtus + 1, dtype=float)
    for k in range(progress.phase + 1, len(device.phases)):
        phase, before = device.phases[k], device.phases[k - 1]
        begins[k] = Share(mtus=mtus, share=cp.Variable(mtus.size, nonneg=True))
        rules.append(cp.sum(begins[k].share) == 1)
        ends, most = begins[k - 1].later(before.mtus), phase.max_pause_mtus
        if k == progress.phase + 1 and progress.elapsed_mtus == before.mtus:
            # A pause that has already lasted too long ends at once.
            most = max(most, progress.paused_mtus)
        rules.append(_after(begins[k], ends, phase.min_pause_mtus, most, beyond=horizon.mtus))
    return begins


def _after(begins: Share, ends: Share, least: int, most: int, *, beyond: int | None = None) -> Any:
    """A constraint: something begins only ``least`` to ``most`` MTUs after the end of something else."""
    pause = np.subtract.outer(begins.mtus, ends.mtus)
    may = (pause >= least) & (pause <= most)
    if beyond is not None:
        last = begins.mtus == beyond
        may[last] = ends.mtus + most >= beyond
    return begins.share <= may.astype(float) @ ends.share


def _thermostatic(device: Thermostatic, horizon: Horizon) -> Relaxed:
    times = {"least_on": device.min_on_mtus, "least_off": device.min_off_mtus}
    forced = carried_in(running=device.running, elapsed=device.elapsed_mtus, **times)
    on, start, rules = _switching(horizon.mtus, running=device.running, **times, **forced)
    power: Any = device.rated_kw * on
    if device.modulating:
        power = cp.Variable(horizon.mtus, nonneg=True)
        rules += [power >= device.min_kw * on, power <= device.rated_kw * on]
    keep, gain, drift = device.dynamics(horizon)
    temperature, dynamics = _stored(horizon.mtus, device.initial_c, cp.multiply(gain, power) + drift, keep)
    outside, counted = cp.Variable(horizon.mtus, nonneg=True), cp.Variable(horizon.mtus, nonneg=True)
    furthest = furthest_outside_k(device, horizon)
    rules += dynamics
    rules += [outside >= temperature - device.upper_c, outside >= device.lower_c - temperature]
    if device.outside_cost > 0.0:
        rules += [outside <= INSIDE_TOLERANCE_K + cp.multiply(furthest, counted), counted <= 1]
    cost = horizon.hours * device.discomfort_cost * cp.sum(outside) + device.outside_cost * cp.sum(counted)
    return Relaxed(power=power, cost=cost + device.start_cost * cp.sum(start), rules=rules)
