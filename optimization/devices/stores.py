"""Batteries, vehicles and modulating thermostats in batches: stores of energy or heat, answered for exactly.

All three are one recursion of one state with a few modes (``store_dp``); here is what each is in those terms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optimization.devices.battery import Battery
from optimization.devices.oracle import Integers, PowerCost, Response, power_cost
from optimization.devices.store_dp import cheapest
from optimization.devices.store_moves import PowerPrices
from optimization.devices.store_state import Stores, own_costs, states
from optimization.devices.thermostatic import Thermostatic
from optimization.devices.vehicle import ElectricVehicle
from optimization.quantities import Floats, Horizon

ROUNDING = 1e-9
"""Bounds are lower by this than exact arithmetic would prove, relative to one and themselves (or, where that is less,
to what they are above the cost of no power)."""

_ROUNDING_OF_SUMS = 1e-13
"""And by this, relative to what no power costs: nothing is computed with that but the sum."""

_BREAKPOINTS = 128
_LEAST_KEEP = 1e-9
"""A temperature keeps at least this part of itself over an MTU: less cannot be told from nothing."""

_GRID = 16
_PASSES = 4
_NARROWER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreBatch:
    """Blocks of one store each.

    Attributes
    ----------
    horizon : that of the stores
    stores : R of them
    constant : (R,) currency that is part of every schedule's own cost
    """

    horizon: Horizon
    stores: Stores
    constant: Floats

    @property
    def block(self) -> Integers:
        """(R,) each device is a block."""
        return np.arange(self.constant.size, dtype=np.int64)

    def respond(self, cost: PowerCost, blocks: Integers | None = None) -> Response:
        r"""The cheapest schedules under the costs of power, exactly.

        A pull to a target is taken as linear between powers: a sixteenth of the range of power apart at first, then, in
        three passes more, four times closer each around what the last pass found; the cheapest of the four is the
        answer. Chords of length :math:`\ell` cost at most :math:`\Delta w \ell^2 / 8` too much in each MTU, so that the
        first pass less this is a bound, and the answer costs no more than that above the least. Where the problem is
        convex the last pass brings it within a thousandth of the range of power.
        """
        rows = self._rows(blocks)
        none = np.zeros((*cost.price.shape, 0))
        if cost.weight == 0.0:
            return self._answer(cost, rows, none, 0.0)
        lowest = self.stores.low_kw[rows, 0][:, None, None]
        spacing = (self._highest(rows)[:, None, None] - lowest) / _GRID
        target = cost.target[:, :, None]
        coarse = np.broadcast_to(lowest + spacing * np.arange(_GRID + 1), (*cost.price.shape, _GRID + 1))
        stay = (self.stores.end - self.stores.first)[rows]
        error = self.horizon.hours * cost.weight * stay * spacing[:, 0, 0] ** 2 / 8.0
        found = self._answer(cost, rows, np.concatenate((coarse, target), axis=2), error)
        total = found.own_cost + power_cost(cost, found.power_kw, self.horizon.hours)
        for _ in range(_PASSES - 1):
            spacing = spacing / _NARROWER
            near = found.power_kw[:, :, None] + spacing * np.arange(-2 * _NARROWER, 2 * _NARROWER + 1)
            closer = self._answer(cost, rows, np.concatenate((coarse[:, :, ::2], target, near), axis=2), error)
            now = closer.own_cost + power_cost(cost, closer.power_kw, self.horizon.hours)
            better = now < total
            total = np.where(better, now, total)
            found = Response(
                power_kw=np.where(better[:, None], closer.power_kw, found.power_kw),
                own_cost=np.where(better, closer.own_cost, found.own_cost),
                bound=found.bound,
            )
        return found

    def own_cost(self, power_kw: Floats, blocks: Integers | None = None) -> Floats:
        """(B,) currency that feasible (B, T) schedules cost by themselves."""
        rows = self._rows(blocks)
        return np.asarray(own_costs(self.stores, rows, np.ascontiguousarray(power_kw)) + self.constant[rows])

    def states(self, power_kw: Floats, blocks: Integers | None = None) -> Floats:
        """(B, T) kWh or degrees at the end of each MTU under (B, T) powers; constant outside a vehicle's stay."""
        return np.asarray(states(self.stores, self._rows(blocks), np.ascontiguousarray(power_kw)))

    def _rows(self, blocks: Integers | None) -> Integers:
        return self.block if blocks is None else np.asarray(blocks, dtype=np.int64)

    def _highest(self, rows: Integers) -> Floats:
        return self.stores.high_kw[rows, self.stores.modes[rows] - 1]

    def _answer(self, cost: PowerCost, rows: Integers, bends: Floats, error: Floats | float) -> Response:
        hours = self.horizon.hours
        prices = PowerPrices(
            price=np.ascontiguousarray(cost.price),
            target=np.ascontiguousarray(cost.target),
            kink_at=np.ascontiguousarray(cost.kink_at),
            kink=np.ascontiguousarray(cost.kink),
            bend_kw=np.ascontiguousarray(bends),
            weight=cost.weight,
            hours=hours,
        )
        power, value, own, paid, idle = cheapest(self.stores, rows, prices, _BREAKPOINTS)
        constant = self.constant[rows]
        least = np.minimum(value, own + paid) + constant
        smaller = np.minimum(np.abs(least), np.abs(least + idle))
        rounding = ROUNDING * (1.0 + smaller) + _ROUNDING_OF_SUMS * np.abs(idle)
        return Response(power_kw=power, own_cost=own + constant, bound=least + idle - error - rounding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batteries(StoreBatch):
    """Batteries, each a block.

    Attributes
    ----------
    devices : R batteries
    """

    devices: tuple[Battery, ...]

    @classmethod
    def of(cls, devices: Sequence[Battery], horizon: Horizon, shortfall_price: float) -> "Batteries":
        """The batch of some batteries; what is missing to their final energy costs the shortfall price (per kWh)."""
        hours, mtus, count = horizon.hours, horizon.mtus, len(devices)
        slope = np.repeat(-hours * _column([d.waiting_cost for d in devices]), mtus, axis=1)
        slope[:, -1:] -= _column([d.final_value for d in devices])
        under = np.zeros((count, mtus))
        under[:, -1] = shortfall_price
        stores = Stores(
            first=np.zeros(count, dtype=np.int64),
            end=np.full(count, mtus, dtype=np.int64),
            initial=_row([d.initial_kwh for d in devices]),
            keep=_row([d.keep(horizon) for d in devices]),
            rate=np.full((count, mtus), hours),
            drift=np.zeros((count, mtus)),
            floor=np.array([d.floor_kwh(horizon) for d in devices]).reshape(count, mtus),
            cap=_row([d.capacity_kwh for d in devices]),
            slope=slope,
            lower=np.repeat(_column([d.final_kwh for d in devices]), mtus, axis=1),
            under=under,
            upper=np.zeros((count, mtus)),
            over=np.zeros((count, mtus)),
            modes=np.full(count, 2, dtype=np.int64),
            low_kw=np.array([[-d.max_discharge_kw, 0.0] for d in devices]).reshape(count, 2),
            high_kw=np.array([[0.0, d.max_charge_kw] for d in devices]).reshape(count, 2),
            factor=np.array([[1.0 / d.discharge_efficiency, d.charge_efficiency] for d in devices]).reshape(count, 2),
            wear=np.array([[-hours * d.cycle_cost, 0.0] for d in devices]).reshape(count, 2),
            **_untimed(count),
        )
        constant = _row([hours * mtus * d.waiting_cost * d.capacity_kwh for d in devices])
        return cls(devices=tuple(devices), horizon=horizon, stores=stores, constant=constant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vehicles(StoreBatch):
    """Electric vehicles, each a block.

    Attributes
    ----------
    devices : R vehicles
    """

    devices: tuple[ElectricVehicle, ...]

    @classmethod
    def of(cls, devices: Sequence[ElectricVehicle], horizon: Horizon, shortfall_price: float) -> "Vehicles":
        """The batch of some vehicles; what is missing at their departure costs the shortfall price (per kWh)."""
        hours, mtus, count = horizon.hours, horizon.mtus, len(devices)
        widest = 1 + max((len(d.levels) for d in devices), default=0)
        floor, under = np.zeros((count, mtus)), np.zeros((count, mtus))
        low, high, wear = np.zeros((count, widest)), np.zeros((count, widest)), np.zeros((count, widest))
        factor = np.ones((count, widest))
        constant = np.zeros(count)
        for r, d in enumerate(devices):
            stay = slice(d.arrival_mtu, d.departure_mtu)
            floor[r, stay] = d.floor_kwh(horizon)
            low[r, 0] = -d.max_discharge_kw
            low[r, 1 : 1 + len(d.levels)] = [level.lower_kw for level in d.levels]
            high[r, 1 : 1 + len(d.levels)] = [level.upper_kw for level in d.levels]
            factor[r, 0] = 1.0 / d.discharge_efficiency
            factor[r, 1:] = d.charge_efficiency
            wear[r, 0] = -hours * d.cycle_cost
            constant[r] = hours * d.waiting_cost * d.capacity_kwh * (d.departure_mtu - d.arrival_mtu)
            if d.departure_mtu > d.arrival_mtu:
                under[r, d.departure_mtu - 1] = shortfall_price
            else:
                constant[r] = shortfall_price * max(0.0, d.required_kwh - d.initial_kwh)
        stores = Stores(
            first=np.array([d.arrival_mtu for d in devices], dtype=np.int64),
            end=np.array([d.departure_mtu for d in devices], dtype=np.int64),
            initial=_row([d.initial_kwh for d in devices]),
            keep=np.ones(count),
            rate=np.full((count, mtus), hours),
            drift=np.zeros((count, mtus)),
            floor=floor,
            cap=_row([d.capacity_kwh for d in devices]),
            slope=np.repeat(-hours * _column([d.waiting_cost for d in devices]), mtus, axis=1),
            lower=np.repeat(_column([d.required_kwh for d in devices]), mtus, axis=1),
            under=under,
            upper=np.zeros((count, mtus)),
            over=np.zeros((count, mtus)),
            modes=np.array([1 + len(d.levels) for d in devices], dtype=np.int64),
            low_kw=low,
            high_kw=high,
            factor=factor,
            wear=wear,
            **_untimed(count),
        )
        return cls(devices=tuple(devices), horizon=horizon, stores=stores, constant=constant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Modulating(StoreBatch):
    """Modulating thermostatic loads, each a block.

    Where there is no least power being on at no power cannot be told from being off, so that such a load, once started,
    counts as on for as long as it likes, and starts at most once.

    Attributes
    ----------
    devices : R loads, all modulating
    """

    devices: tuple[Thermostatic, ...]

    @classmethod
    def of(cls, devices: Sequence[Thermostatic], horizon: Horizon, shortfall_price: float) -> "Modulating":
        """The batch of some loads; their discomfort has its own price, so that the shortfall's does not matter."""
        hours, mtus, count = horizon.hours, horizon.mtus, len(devices)
        dynamics = [d.dynamics(horizon) for d in devices]
        discomfort = np.repeat(hours * _column([d.discomfort_cost for d in devices]), mtus, axis=1)
        timed = [d.min_on_mtus > 1 or d.min_off_mtus > 1 or d.start_cost > 0.0 or _bound_at_first(d) for d in devices]
        stores = Stores(
            first=np.zeros(count, dtype=np.int64),
            end=np.full(count, mtus, dtype=np.int64),
            initial=_row([d.initial_c for d in devices]),
            keep=np.maximum(_LEAST_KEEP, _row([keep for keep, _, _ in dynamics])),
            rate=np.array([rate for _, rate, _ in dynamics]).reshape(count, mtus),
            drift=np.array([drift for _, _, drift in dynamics]).reshape(count, mtus),
            floor=np.full((count, mtus), -np.inf),
            cap=np.full(count, np.inf),
            slope=np.zeros((count, mtus)),
            lower=np.array([d.lower_c for d in devices]).reshape(count, mtus),
            under=discomfort,
            upper=np.array([d.upper_c for d in devices]).reshape(count, mtus),
            over=discomfort.copy(),
            modes=np.full(count, 2, dtype=np.int64),
            low_kw=np.array([[0.0, d.min_kw] for d in devices]).reshape(count, 2),
            high_kw=np.array([[0.0, d.rated_kw] for d in devices]).reshape(count, 2),
            factor=np.ones((count, 2)),
            wear=np.zeros((count, 2)),
            timed=np.array(timed, dtype=np.bool_),
            min_on=np.array([d.min_on_mtus for d in devices], dtype=np.int64),
            min_off=np.array([d.min_off_mtus for d in devices], dtype=np.int64),
            start_cost=_row([d.start_cost for d in devices]),
            running=np.array([d.running for d in devices], dtype=np.bool_),
            elapsed=np.array([_elapsed(d) for d in devices], dtype=np.int64),
        )
        return cls(devices=tuple(devices), horizon=horizon, stores=stores, constant=np.zeros(count))


def _elapsed(device: Thermostatic) -> int:
    """MTUs that a load has been on or off, where it matters."""
    least = device.min_on_mtus if device.running else device.min_off_mtus
    return least if device.elapsed_mtus is None else min(device.elapsed_mtus, least)


def _bound_at_first(device: Thermostatic) -> bool:
    """Whether a run or a rest is carried in that must go on."""
    return _elapsed(device) < (device.min_on_mtus if device.running else device.min_off_mtus)


def _row(numbers: Sequence[float]) -> Floats:
    return np.array(numbers, dtype=np.float64)


def _column(numbers: Sequence[float]) -> Floats:
    return np.array(numbers, dtype=np.float64)[:, None]


def _untimed(count: int) -> dict[str, np.ndarray]:
    """What stores say whose running nobody counts."""
    return {
        "timed": np.zeros(count, dtype=np.bool_),
        "min_on": np.ones(count, dtype=np.int64),
        "min_off": np.ones(count, dtype=np.int64),
        "start_cost": np.zeros(count),
        "running": np.zeros(count, dtype=np.bool_),
        "elapsed": np.ones(count, dtype=np.int64),
    }
