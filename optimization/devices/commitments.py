"""Batches of what is switched on and off under minimum times: appliances on relays, and generators."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from optimization.devices.commitment_dp import Terms, cheapest_runs
from optimization.devices.generator import Generator
from optimization.devices.interruptible import Interruptible
from optimization.devices.oracle import Integers, PowerCost, Response, power_cost
from optimization.devices.power_step import cheapest_powers, kernel_arguments, step_cost
from optimization.peer_to_peer.chunks import SMALL
from optimization.quantities import Floats, Horizon

Switches = npt.NDArray[np.uint8]

_REQUIRED, _RUNNING = Terms._fields.index("required"), Terms._fields.index("running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruptibles:
    """Appliances that owe a running time, a block each. Exact.

    Attributes
    ----------
    devices : B appliances
    horizon : the MTUs
    block : (B,) 0 to B - 1
    numbers : (B, 4) kW while on, cost of a start, of an MTU on by which it is later, of an MTU that is owed and not run
    terms : (B, 11) the fields of ``Terms``
    """

    devices: tuple[Interruptible, ...]
    horizon: Horizon
    block: Integers
    numbers: Floats
    terms: Integers

    @classmethod
    def of(cls, devices: Sequence[Interruptible], horizon: Horizon, shortfall_price: float) -> "Interruptibles":
        """The batch of these devices, in their order."""
        waiting, missing = horizon.hours**2, horizon.hours * shortfall_price
        return cls(
            devices=tuple(devices),
            horizon=horizon,
            block=np.arange(len(devices)),
            numbers=np.array(
                [
                    (d.power_kw, d.start_cost, waiting * d.waiting_cost * d.power_kw, missing * d.power_kw)
                    for d in devices
                ]
            ),
            terms=np.array([_appliance_terms(device, horizon) for device in devices], dtype=np.int64),
        )

    def respond(self, cost: PowerCost, blocks: Integers | None = None) -> Response:
        """The cheapest schedules; see ``oracle.Batch``."""
        blocks = self.block if blocks is None else blocks
        on = np.empty((blocks.size, self.horizon.mtus), dtype=np.uint8)
        kernel = _switch_in_parallel if on.size * 50 > SMALL else _switch
        kernel(
            *kernel_arguments(cost), self.horizon.day, self.horizon.hours,
            blocks, self.numbers, self.terms, on,
        )  # fmt: skip
        power = self.numbers[blocks, :1] * on
        own = self.own_cost(power, blocks)
        return Response(power_kw=power, own_cost=own, bound=own + power_cost(cost, power, self.horizon.hours))

    def own_cost(self, power_kw: Floats, blocks: Integers | None = None) -> Floats:
        """(B,) currency of waiting, starts and shortfall of feasible schedules."""
        blocks = self.block if blocks is None else blocks
        rated, start, later, missing = self.numbers[blocks].T
        on = power_kw > rated[:, None] / 2.0
        short = np.maximum(0, self.terms[blocks, _REQUIRED] - on.sum(axis=1))
        starts = _starts(on, self.terms[blocks, _RUNNING] == 1)
        return np.asarray(later * (on @ np.arange(self.horizon.mtus)) + start * starts + missing * short)


def _appliance_terms(device: Interruptible, horizon: Horizon) -> Terms:
    """What binds an appliance's runs; counts that the horizon cannot reach are cut, which keeps the tables small."""
    forced = min(device.forced_mtus, horizon.mtus)
    first, end = min(device.first_mtu, horizon.mtus), min(device.end_mtu, horizon.mtus)
    most = min(device.max_on_mtus, forced + end - first)
    starts, starts_first = -1, 0
    if device.max_starts is not None:
        possible = min(most // device.min_on_mtus, horizon.mtus // (device.min_on_mtus + device.min_off_mtus) + 1)
        remaining = max(0, device.max_starts - device.starts_today)
        if remaining < possible:
            starts = min(device.max_starts, possible)
            starts_first = min(remaining, starts)
    return Terms(
        first=first,
        end=end,
        owes=1,
        required=device.required_mtus,
        most=most,
        min_on=device.min_on_mtus,
        min_off=device.min_off_mtus,
        starts=starts,
        starts_first=starts_first,
        running=int(device.running),
        held=forced if device.running else min(device.resting_mtus, horizon.mtus),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Generators:
    """Generators, a block each. Exact.

    Attributes
    ----------
    devices : B generators
    horizon : the MTUs
    block : (B,) 0 to B - 1
    numbers : (B, 6) least and most kW, quadratic, linear and running cost, cost of a start
    terms : (B, 11) the fields of ``Terms``
    """

    devices: tuple[Generator, ...]
    horizon: Horizon
    block: Integers
    numbers: Floats
    terms: Integers

    @classmethod
    def of(cls, devices: Sequence[Generator], horizon: Horizon, shortfall_price: float) -> "Generators":
        """The batch of these devices, in their order; they owe nothing, so the shortfall price is without meaning."""
        return cls(
            devices=tuple(devices),
            horizon=horizon,
            block=np.arange(len(devices)),
            numbers=np.array(
                [(d.min_kw, d.max_kw, d.quadratic_cost, d.linear_cost, d.running_cost, d.start_cost) for d in devices]
            ),
            terms=np.array([_generator_terms(device, horizon) for device in devices], dtype=np.int64),
        )

    def respond(self, cost: PowerCost, blocks: Integers | None = None) -> Response:
        """The cheapest schedules; see ``oracle.Batch``."""
        blocks = self.block if blocks is None else blocks
        power = np.empty((blocks.size, self.horizon.mtus))
        up = np.empty(power.shape, dtype=np.uint8)
        kernel = _commit_in_parallel if power.size * 50 > SMALL else _commit
        kernel(
            *kernel_arguments(cost), self.horizon.day, self.horizon.hours,
            blocks, self.numbers, self.terms, up, power,
        )  # fmt: skip
        own = self._fuel_and_starts(power, up, blocks)
        return Response(power_kw=power, own_cost=own, bound=own + power_cost(cost, power, self.horizon.hours))

    def own_cost(self, power_kw: Floats, blocks: Integers | None = None) -> Floats:
        """(B,) currency of fuel and starts of feasible schedules; of what may be up or down at no power the less."""
        blocks = self.block if blocks is None else blocks
        up = np.empty(power_kw.shape, dtype=np.uint8)
        _commitment_of(
            np.ascontiguousarray(power_kw), self.horizon.day, self.horizon.hours, blocks, self.numbers, self.terms, up
        )
        return self._fuel_and_starts(power_kw, up, blocks)

    def _fuel_and_starts(self, power_kw: Floats, up: Switches, blocks: Integers) -> Floats:
        _, _, quadratic, linear, running_cost, start = self.numbers[blocks].T
        fuel = (0.5 * quadratic[:, None] * power_kw - linear[:, None]) * power_kw + running_cost[:, None] * up
        return np.asarray(
            self.horizon.hours * fuel.sum(axis=1) + start * _starts(up, self.terms[blocks, _RUNNING] == 1)
        )


def _generator_terms(device: Generator, horizon: Horizon) -> Terms:
    least = device.min_up_mtus if device.running else device.min_down_mtus
    held = 0 if device.elapsed_mtus is None else max(0, least - device.elapsed_mtus)
    return Terms(
        first=0,
        end=horizon.mtus,
        owes=0,
        required=0,
        most=0,
        min_on=device.min_up_mtus,
        min_off=device.min_down_mtus,
        starts=-1,
        starts_first=0,
        running=int(device.running),
        held=min(held, horizon.mtus),
    )


def _starts(on: npt.NDArray[np.bool_] | Switches, running: npt.NDArray[np.bool_]) -> Integers:
    """(B,) starts in (B, T) schedules of what is running when the horizon begins, or not."""
    before = np.column_stack([running, on[:, :-1] == 1])
    return np.asarray(((on == 1) & ~before).sum(axis=1))


@njit(cache=True)
def _terms(row):  # type: ignore[no-untyped-def]
    return Terms(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10])


@njit(cache=True)
def _switch_one(  # type: ignore[no-untyped-def]
    i, price, kink_at, kink, target, weight, day, hours, blocks, numbers, terms, on
):
    """The runs of one appliance."""
    rated, start_cost, later_cost, missing_cost = numbers[blocks[i]]
    delta = np.empty(day.size)
    for t in range(day.size):
        per_hour = step_cost(rated, price[i, t], kink_at[i, t], kink[i, t], target[i, t], weight)
        delta[t] = hours * per_hour + later_cost * t
    cheapest_runs(delta, day, missing_cost, start_cost, _terms(terms[blocks[i]]), on[i])


@njit(cache=True)
def _switch(  # type: ignore[no-untyped-def]
    price, kink_at, kink, target, weight, day, hours, blocks, numbers, terms, on
):
    for i in range(blocks.size):
        _switch_one(i, price, kink_at, kink, target, weight, day, hours, blocks, numbers, terms, on)


@njit(cache=True, parallel=True)
def _switch_in_parallel(  # type: ignore[no-untyped-def]
    price, kink_at, kink, target, weight, day, hours, blocks, numbers, terms, on
):
    for i in prange(blocks.size):
        _switch_one(i, price, kink_at, kink, target, weight, day, hours, blocks, numbers, terms, on)


@njit(cache=True)
def _commit_one(i, price, kink_at, kink, target, weight, day, hours, blocks, numbers, terms, up, power):  # type: ignore[no-untyped-def]
    """The output of one generator, as if always up, and when it pays to be up."""
    least, most, quadratic, linear, running_cost, start = numbers[blocks[i]]
    mtus = day.size
    delta = np.empty(mtus)
    lower, upper = np.full(mtus, -most), np.full(mtus, -least)
    cheapest_powers(lower, upper, price[i], kink_at[i], kink[i], target[i], weight, quadratic, linear, False, power[i])
    for t in range(mtus):
        p = power[i, t]
        per_hour = step_cost(p, price[i, t], kink_at[i, t], kink[i, t], target[i, t], weight)
        delta[t] = hours * (per_hour + (0.5 * quadratic * p - linear) * p + running_cost)
    cheapest_runs(delta, day, 0.0, start, _terms(terms[blocks[i]]), up[i])
    for t in range(mtus):
        # Adding nothing turns a negative zero into zero.
        power[i, t] = power[i, t] * up[i, t] + 0.0


@njit(cache=True)
def _commit(price, kink_at, kink, target, weight, day, hours, blocks, numbers, terms, up, power):  # type: ignore[no-untyped-def]
    for i in range(blocks.size):
        _commit_one(i, price, kink_at, kink, target, weight, day, hours, blocks, numbers, terms, up, power)


@njit(cache=True, parallel=True)
def _commit_in_parallel(price, kink_at, kink, target, weight, day, hours, blocks, numbers, terms, up, power):  # type: ignore[no-untyped-def]
    for i in prange(blocks.size):
        _commit_one(i, price, kink_at, kink, target, weight, day, hours, blocks, numbers, terms, up, power)


@njit(cache=True)
def _commitment_of(power, day, hours, blocks, numbers, terms, up):  # type: ignore[no-untyped-def]
    """Writes when generators with (B, T) powers are up, at least cost where their power does not tell."""
    for i in range(blocks.size):
        least, running_cost, start = numbers[blocks[i], 0], numbers[blocks[i], 4], numbers[blocks[i], 5]
        # More than all fuel and starts can cost, and little enough to lose no digits of them.
        never = 1.0 + 2.0 * day.size * (start + hours * running_cost)
        delta = np.full(day.size, hours * running_cost)
        for t in range(day.size):
            if -power[i, t] > max(1e-9, 0.5 * least):
                delta[t] -= never
            elif least > 0.0:
                delta[t] += never
        cheapest_runs(delta, day, 0.0, start, _terms(terms[blocks[i]]), up[i])
