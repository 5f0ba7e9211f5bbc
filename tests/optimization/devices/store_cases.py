"""Random stores and costs of power, awkward ones among them."""

import numpy as np

from optimization.devices import Battery, ElectricVehicle, PowerRange, Thermostatic
from optimization.devices.oracle import PowerCost
from optimization.quantities import DeviceId, Horizon

LEVELS = (
    ((0.0, 11.0),),
    ((1.4, 7.4),),
    ((1.4, 3.7), (4.2, 11.0)),
    ((3.7, 3.7), (7.4, 7.4), (11.0, 11.0)),
    ((1.4, 3.7), (3.7, 7.4), (9.0, 11.0)),
)


def random_horizon(rng: np.random.Generator, most: int = 16) -> Horizon:
    return Horizon(mtus=int(rng.integers(1, most + 1)), mtu_minutes=int(rng.choice([15, 30, 60])))


def random_cost(rng: np.random.Generator, blocks: int, mtus: int) -> PowerCost:
    """Prices of one of four tempers, negative ones among them, with up to two kinks."""
    shape = (blocks, mtus)
    temper = rng.integers(4)
    price = (
        rng.uniform(0.05, 0.4, shape),
        rng.normal(0.05, 0.2, shape),
        rng.choice([-0.3, -0.05, 0.0, 0.1, 0.3], shape),
        -rng.uniform(0.0, 0.3, shape),
    )[temper]
    kinks = int(rng.integers(0, 3))
    return PowerCost(
        price=price,
        kink_at=np.round(rng.uniform(-4.0, 8.0, (*shape, kinks)), 1),
        kink=rng.uniform(0.0, 0.3, (*shape, kinks)) * rng.integers(0, 2, (*shape, kinks)),
        target=np.zeros(shape),
    )


def random_battery(rng: np.random.Generator, name: str = "battery") -> Battery:
    capacity = float(np.round(rng.uniform(0.0, 12.0), 1))
    return Battery(
        id=DeviceId(name),
        max_charge_kw=float(rng.choice([0.0, 1.5, 3.0, 5.0])),
        max_discharge_kw=float(rng.choice([0.0, 2.0, 5.0])),
        capacity_kwh=capacity,
        initial_kwh=capacity * float(rng.choice([0.0, 0.1, 0.5, 1.0])),
        final_kwh=capacity * float(rng.choice([0.0, 0.3, 0.5, 1.0])),
        min_kwh=capacity * float(rng.choice([0.0, 0.2, 0.5])),
        charge_efficiency=float(rng.choice([0.7, 0.95, 1.0])),
        discharge_efficiency=float(rng.choice([0.7, 0.95, 1.0])),
        self_discharge=float(rng.choice([0.0, 0.01, 0.3])),
        final_value=float(rng.choice([0.0, 0.2])),
        cycle_cost=float(rng.choice([0.0, 0.001, 0.05])),
    )


def random_vehicle(rng: np.random.Generator, horizon: Horizon, name: str = "vehicle") -> ElectricVehicle:
    first, end = sorted(int(t) for t in rng.integers(0, horizon.mtus + 1, 2))
    capacity = float(rng.choice([6.0, 20.0, 50.0]))
    return ElectricVehicle(
        id=DeviceId(name),
        arrival_mtu=first,
        departure_mtu=end,
        capacity_kwh=capacity,
        initial_kwh=capacity * float(rng.choice([0.0, 0.1, 0.5, 0.97, 1.0])),
        required_kwh=capacity * float(rng.choice([0.0, 0.4, 0.8, 1.0])),
        levels=tuple(PowerRange(lower_kw=low, upper_kw=high) for low, high in LEVELS[rng.integers(len(LEVELS))]),
        charge_efficiency=float(rng.choice([0.8, 0.92, 1.0])),
        discharge_efficiency=float(rng.choice([0.8, 0.92])),
        max_discharge_kw=float(rng.choice([0.0, 5.0, 10.0])),
        min_kwh=capacity * float(rng.choice([0.0, 0.2, 0.6])),
        cycle_cost=float(rng.choice([0.0, 0.02])),
    )


def random_modulating(rng: np.random.Generator, horizon: Horizon, name: str = "load") -> Thermostatic:
    """A heating or a cooling load, at any stage of a run or a rest."""
    mtus, rated = horizon.mtus, float(rng.choice([1.0, 3.0]))
    sign = float(rng.choice([-1.0, 1.0]))
    middle = float(rng.uniform(15.0, 25.0))
    width = float(rng.choice([0.0, 0.5, 2.0]))
    return Thermostatic(
        id=DeviceId(name),
        rated_kw=rated,
        min_kw=rated * float(rng.choice([0.0, 0.3, 1.0])),
        heat_capacity_kwh_per_k=float(rng.choice([0.2, 1.0, 3.0])),
        loss_kw_per_k=float(rng.choice([0.0, 0.05, 0.3])),
        performance=sign * rng.uniform(0.9, 3.0, mtus),
        ambient_c=np.full(mtus, middle - sign * 12.0) + rng.normal(0.0, 3.0, mtus),
        draw_kw=sign * rng.uniform(0.0, 1.0, mtus) * rng.integers(0, 2, mtus),
        lower_c=np.full(mtus, middle - width),
        upper_c=np.full(mtus, middle + width),
        initial_c=middle + float(rng.normal(0.0, 2.0)),
        modulating=True,
        min_on_mtus=int(rng.integers(1, 5)),
        min_off_mtus=int(rng.integers(1, 5)),
        running=bool(rng.integers(2)),
        elapsed_mtus=None if rng.integers(2) else int(rng.integers(0, 5)),
        discomfort_cost=float(rng.choice([0.0, 0.1, 100.0])),
        start_cost=float(rng.choice([0.0, 0.05])),
    )
