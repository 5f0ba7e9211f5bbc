from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimization.devices import Curtailable, FixedLoad
from optimization.devices.oracle import PowerCost, power_cost, priced, pulled
from optimization.devices.passive import Curtailables, FixedLoads
from optimization.quantities import DeviceId, Horizon
from tests.optimization.devices.power_costs import power_costs

FOUR = Horizon(mtus=4, mtu_minutes=30)
ROOF = Curtailable(id=DeviceId("roof"), available_kw=np.array([0.0, 1.0, 3.0, 2.0]), curtailment_cost=0.1)
M = 100.0


def spent(device: Curtailable, cost: PowerCost, power: np.ndarray) -> float:
    curtailed = 0.5 * device.curtailment_cost * (device.available_kw + power[0]).sum()
    return float(power_cost(cost, power, 0.5)[0] + curtailed)


@settings(max_examples=200, deadline=None)
@given(cost=power_costs(4), shares=st.lists(st.floats(0, 1), min_size=4, max_size=4), fee=st.sampled_from((0.0, 0.1)))
def test_no_other_production_is_cheaper(cost: PowerCost, shares: list[float], fee: float) -> None:
    device = replace(ROOF, curtailment_cost=fee)
    batch = Curtailables.of([device], FOUR, M)
    response = batch.respond(cost)
    assert (response.power_kw <= 0).all()
    assert (response.power_kw >= -device.available_kw).all()
    assert response.bound[0] == pytest.approx(spent(device, cost, response.power_kw), abs=1e-12)
    assert response.own_cost == pytest.approx(batch.own_cost(response.power_kw))
    other = -device.available_kw * np.array([shares])
    assert response.bound[0] <= spent(device, cost, other) + 1e-9
    for t in range(4):
        for corner in (*cost.kink_at[0, t], -device.available_kw[t], 0.0):
            moved = response.power_kw.copy()
            moved[0, t] = np.clip(corner, -device.available_kw[t], 0.0)
            assert response.bound[0] <= spent(device, cost, moved) + 1e-9


def test_production_is_curtailed_only_where_the_price_is_below_what_curtailing_costs() -> None:
    response = Curtailables.of([ROOF], FOUR, M).respond(priced(np.array([[-9.0, -0.2, -0.05, -0.1]])))
    assert list(response.power_kw[0]) == [0.0, 0.0, -3.0, -2.0]
    assert response.own_cost[0] == pytest.approx(0.5 * 0.1 * 1.0)


def test_of_equal_costs_all_is_produced() -> None:
    free = replace(ROOF, curtailment_cost=0.0)
    response = Curtailables.of([free], FOUR, M).respond(priced(np.zeros((1, 4))))
    assert list(response.power_kw[0]) == [0.0, -1.0, -3.0, -2.0]
    assert not np.signbit(response.power_kw[0, 0])


def test_a_kink_stops_production_where_selling_more_earns_nothing() -> None:
    cost = replace(priced(np.full((1, 4), -0.3)), kink_at=np.full((1, 4, 1), -1.5), kink=np.full((1, 4, 1), 0.6))
    response = Curtailables.of([replace(ROOF, curtailment_cost=0.0)], FOUR, M).respond(cost)
    assert list(response.power_kw[0]) == [0.0, -1.0, -1.5, -1.5]


def test_a_pull_ends_at_the_target_within_what_is_available() -> None:
    free = replace(ROOF, curtailment_cost=0.0)
    response = Curtailables.of([free], FOUR, M).respond(pulled(np.array([[-1.0, -0.4, 1.0, -5.0]]), 0.3))
    assert response.power_kw[0] == pytest.approx([0.0, -0.4, 0.0, -2.0])


def test_a_fixed_load_is_what_it_is_and_pays_its_price() -> None:
    load = FixedLoad(id=DeviceId("load"), power_kw=np.array([1.0, 2.0, 0.0, 4.0]))
    batch = FixedLoads.of([load, replace(load, id=DeviceId("twin"))], FOUR, M)
    response = batch.respond(priced(np.array([[1.0, 0.0, 5.0, 2.0]])), np.array([1]))
    assert list(response.power_kw[0]) == [1.0, 2.0, 0.0, 4.0]
    assert response.bound[0] == pytest.approx(0.5 * 9.0)
    assert list(batch.own_cost(response.power_kw)) == [0.0]
