"""What stands for tasks that fall short is the part of the objective that is neither energy nor wear."""

from collections.abc import Callable

import numpy as np
import pytest

from optimization.community import Battery, Community, Device, ElectricVehicle, Interruptible, Programme, Thermostatic
from optimization.decomposition.master import Prices
from optimization.decomposition.problem import Problem
from optimization.devices import Phase, PowerRange
from optimization.members import own_costs
from optimization.quantities import DeviceId
from optimization.undone import undone_at, undone_costs

MakeCommunity = Callable[..., Community]


def cold_room(*, modulating: bool) -> Thermostatic:
    """Without heat it is at 18 degrees at the end of both hours, two kelvins too cold."""
    return Thermostatic(
        id=DeviceId("room"), rated_kw=1.0, modulating=modulating, heat_capacity_kwh_per_k=1.0, loss_kw_per_k=0.0,
        performance=np.full(2, 3.0), ambient_c=np.full(2, 10.0), draw_kw=np.zeros(2), lower_c=np.full(2, 20.0),
        upper_c=np.full(2, 25.0), initial_c=18.0, discomfort_cost=0.5,
    )  # fmt: skip


LEFT_UNDONE = [
    (
        Battery(
            id=DeviceId("battery"), max_charge_kw=1.0, max_discharge_kw=1.0, capacity_kwh=4.0, initial_kwh=1.0,
            final_kwh=3.0,
        ),
        2.0 * 100.0,
    ),
    (
        ElectricVehicle(
            id=DeviceId("car"), arrival_mtu=0, departure_mtu=2, capacity_kwh=9.0, initial_kwh=1.0, required_kwh=4.0,
            levels=(PowerRange(lower_kw=0.0, upper_kw=3.0),),
        ),
        3.0 * 100.0,
    ),
    (Interruptible(id=DeviceId("pump"), power_kw=2.0, first_mtu=0, end_mtu=2, required_mtus=2), 4.0 * 100.0),
    (
        Programme(id=DeviceId("washer"), phases=(Phase(power_kw=np.array([1.5])),), first_mtu=0, end_mtu=2),
        1.5 * 100.0,
    ),
    (cold_room(modulating=True), 0.5 * 4.0),
    # Besides the kelvins each hour outside costs a quarter of one's price.
    (cold_room(modulating=False), 0.5 * 4.0 + 2 * 0.5 / 4),
]  # fmt: skip


@pytest.mark.parametrize(("device", "cost"), LEFT_UNDONE)
def test_all_that_an_idle_device_costs_stands_for_what_it_leaves_undone(
    make_community: MakeCommunity, device: Device, cost: float
) -> None:
    community = make_community({"idle": [], "ann": [device]}, import_price=[0.2, 0.2], export_price=[0.1, 0.1])
    power = {device.id: np.zeros(2)}
    assert undone_costs(community, power).tolist() == [0.0, pytest.approx(cost)]
    # Waiting costs are far smaller, and are money.
    assert own_costs(community, power)[1] == pytest.approx(cost, abs=1e-3)


@pytest.mark.parametrize(("price", "cost"), [(0.2, 0.0), (150.0, 200.0)])
def test_at_prices_above_what_it_stands_for_a_task_is_left_undone(
    make_community: MakeCommunity, price: float, cost: float
) -> None:
    pump = Interruptible(id=DeviceId("pump"), power_kw=2.0, first_mtu=0, end_mtu=2, required_mtus=1)
    community = make_community({"ann": [pump]}, import_price=[0.2, 0.2], export_price=[0.1, 0.1])
    prices = Prices(peer=np.full((1, 2), price), envelope=np.zeros((0, 2)))
    assert undone_at(Problem.of(community), prices) == pytest.approx([cost])
