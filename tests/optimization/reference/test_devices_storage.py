"""Batteries and vehicles by hand, and against every way to spend each MTU in one mode."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from optimization.clearing import Clearing
from optimization.community import Battery, Community, Curtailable, ElectricVehicle, Envelope, Link
from optimization.devices import PowerRange
from tests.optimization.reference import by_hand

Single = Callable[..., Community]
Best = Callable[[Community], Clearing]


def battery(**changes: Any) -> Battery:
    fields = {"max_charge_kw": 4.0, "max_discharge_kw": 4.0, "capacity_kwh": 8.0, "initial_kwh": 4.0}
    return by_hand.battery(**(fields | changes))


def vehicle(**changes: Any) -> ElectricVehicle:
    fields = {
        "id": "vehicle",
        "arrival_mtu": 1,
        "departure_mtu": 3,
        "capacity_kwh": 20.0,
        "initial_kwh": 4.0,
        "required_kwh": 4.0,
        "levels": (PowerRange(lower_kw=2.0, upper_kw=4.0), PowerRange(lower_kw=6.0, upper_kw=8.0)),
        "charge_efficiency": 1.0,
        "discharge_efficiency": 1.0,
        "cycle_cost": 0.0,
        "waiting_cost": 0.0,
    }
    return ElectricVehicle(**(fields | changes))


def test_a_reserve_is_kept(single: Single, best: Best) -> None:
    clearing = best(single(battery(min_kwh=3.0), price=[0.3, 0.3]))
    assert clearing.state_kwh["battery"].min() == pytest.approx(3.0)
    assert clearing.objective == pytest.approx(-0.3)


def test_a_battery_below_its_reserve_gives_nothing_but_may_charge(single: Single, best: Best) -> None:
    clearing = best(single(battery(min_kwh=5.0), price=[0.3, 0.1, 0.3]))
    assert clearing.device_kw["battery"][0] == pytest.approx(0.0, abs=1e-9)
    assert clearing.state_kwh["battery"] == pytest.approx([4.0, 8.0, 4.0])


def test_stored_energy_leaks_and_idling_below_the_reserve_is_no_conflict(single: Single, best: Best) -> None:
    idle = battery(min_kwh=5.0, self_discharge=0.5, max_charge_kw=0.0)
    assert best(single(idle, price=[0.3, 0.3])).state_kwh["battery"] == pytest.approx([2.0, 1.0])
    half_an_hour = best(single(idle, price=[0.3, 0.3], mtu_minutes=30))
    assert half_an_hour.state_kwh["battery"] == pytest.approx([4 * 0.5**0.5, 2.0])


@pytest.mark.parametrize(("value", "left"), [(0.29, 0.0), (0.31, 8.0)])
def test_what_is_left_at_the_end_has_its_value(single: Single, best: Best, value: float, left: float) -> None:
    clearing = best(single(battery(final_value=value), price=[0.3]))
    assert clearing.state_kwh["battery"] == pytest.approx([left], abs=1e-9)
    assert clearing.objective == pytest.approx(0.3 * (left - 4) - value * left)


@pytest.mark.parametrize("cycle_cost", [0.0, 0.01])
def test_a_full_battery_burns_nothing_at_negative_prices(single: Single, best: Best, cycle_cost: float) -> None:
    full = battery(initial_kwh=8.0, final_kwh=8.0, charge_efficiency=0.5, cycle_cost=cycle_cost)
    clearing = best(single(full, price=[-1.0]))
    assert clearing.device_kw["battery"] == pytest.approx([0.0], abs=1e-9)


def test_a_full_battery_burns_nothing_that_may_neither_be_exported_nor_be_curtailed_for_less(
    make_community: Callable[..., Community], make_envelope: Callable[..., Envelope], best: Best
) -> None:
    full = battery(initial_kwh=8.0, final_kwh=8.0, charge_efficiency=0.5, cycle_cost=0.01)
    community = make_community(
        {"ann": [full], "ben": [Curtailable(id="pv", available_kw=np.array([3.0]), curtailment_cost=0.9)]},
        import_price=[0.5],
        export_price=[0.1],
        links=[Link(seller="ben", buyer="ann")],
        envelopes=[make_envelope("ann", "ben", lower_kw=[-2.0])],
    )
    clearing = best(community)
    assert clearing.device_kw["battery"] == pytest.approx([0.0], abs=1e-9)
    assert clearing.objective == pytest.approx(-0.2 + 0.9)


def test_a_vehicle_charges_within_its_ranges_in_its_stay_and_is_worth_the_same_outside_it(
    single: Single, best: Best
) -> None:
    clearing = best(single(vehicle(required_kwh=9.0), price=[0.1, 0.2, 0.4, 0.1]))
    assert clearing.objective == pytest.approx(0.2 * 6)
    assert clearing.device_kw["vehicle"] == pytest.approx([0, 6, 0, 0], abs=1e-9)
    assert clearing.state_kwh["vehicle"] == pytest.approx([4, 10, 10, 10])


def test_energy_out_of_a_vehicles_reach_is_a_shortfall(single: Single, best: Best) -> None:
    community = single(vehicle(required_kwh=20.0, departure_mtu=2), price=[0.1, 0.2])
    clearing = best(community)
    assert clearing.shortfall == {"vehicle": pytest.approx(8.0)}
    assert clearing.objective == pytest.approx(8 * 0.2 + 8 * community.shortfall_price)


def test_a_stay_that_is_over_leaves_the_vehicle_as_it_is(single: Single, best: Best) -> None:
    over = vehicle(arrival_mtu=0, departure_mtu=0, required_kwh=5.0)
    clearing = best(single(over, price=[0.1]))
    assert clearing.device_kw["vehicle"].tolist() == [0.0]
    assert clearing.state_kwh["vehicle"].tolist() == [4.0]
    assert clearing.shortfall == {"vehicle": pytest.approx(1.0)}


def test_a_vehicle_gives_back_down_to_its_reserve_for_more_than_its_wear(single: Single, best: Best) -> None:
    two_way = vehicle(max_discharge_kw=3.0, min_kwh=2.0, cycle_cost=0.15, departure_mtu=3)
    clearing = best(single(two_way, price=[0.1, 0.4, 0.1, 0.1]))
    assert clearing.device_kw["vehicle"] == pytest.approx([0, -2, 2, 0], abs=1e-9)
    assert clearing.objective == pytest.approx(-0.8 + 0.2 + 0.3)
    worn = vehicle(max_discharge_kw=3.0, min_kwh=2.0, cycle_cost=0.35)
    assert not best(single(worn, price=[0.1, 0.4, 0.1, 0.1])).device_kw["vehicle"].any()


def test_waiting_lets_a_vehicle_charge_early(single: Single, best: Best) -> None:
    clearing = best(single(vehicle(required_kwh=8.0, waiting_cost=1e-5), price=[0.2] * 4))
    assert clearing.device_kw["vehicle"] == pytest.approx([0, 4, 0, 0], abs=1e-9)
    assert clearing.objective == pytest.approx(4 * 0.2 + 1e-5 * 2 * 12)


# --- every mode in every MTU -------------------------------------------------------------------------------------

Modes = Sequence[tuple[float, float]]


def cheapest_in_modes(community: Community, device: Any, modes: Sequence[Modes], *, stay: range, keep: float) -> float:
    """The least cost over all ways to give each MTU of a stay one range of power at the terminals, positive or not."""
    hours, price = community.horizon.hours, community.tariff.import_price
    final = getattr(device, "final_kwh", getattr(device, "required_kwh", 0.0))
    value, floor, n = getattr(device, "final_value", 0.0), device.floor_kwh(community.horizon), len(stay)
    cheapest = np.inf
    for choice in product(*modes):
        # Stored energy is a linear map of power once the sign of each MTU's power is known.
        into = np.array(
            [device.charge_efficiency if upper > 0 else 1 / device.discharge_efficiency for _, upper in choice]
        )
        weigh = np.array([[hours * keep ** (t - s) * into[s] if s <= t else 0.0 for s in range(n)] for t in range(n)])
        idle = device.initial_kwh * keep ** np.arange(1, n + 1)
        give = np.array([upper <= 0 for _, upper in choice])
        cost = hours * price[stay.start : stay.stop] - hours * device.cycle_cost * give
        cost = cost - hours * device.waiting_cost * weigh.sum(axis=0) - value * weigh[-1]
        constant = hours * device.waiting_cost * (device.capacity_kwh - idle).sum() - value * idle[-1]
        short = np.zeros((n, 1))
        rows = [np.hstack([-weigh, short]), np.hstack([weigh, short]), np.append(-weigh[-1], -1.0)[None, :]]
        answer = linprog(
            np.append(cost, community.shortfall_price),
            A_ub=np.vstack(rows),
            b_ub=np.concatenate([idle - floor, device.capacity_kwh - idle, [idle[-1] - final]]),
            bounds=[*choice, (0.0, None)],
        )
        if answer.status == 0:
            cheapest = min(cheapest, answer.fun + constant)
    return float(cheapest)


QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PRICES = st.lists(st.integers(-10, 30).map(lambda k: k / 100), min_size=3, max_size=3)


@settings(QUIET, max_examples=10)
@given(data=st.data(), price=PRICES)
def test_a_battery_does_the_best_of_all_modes(data: Any, price: list[float], single: Single, best: Best) -> None:
    device = battery(
        max_charge_kw=float(data.draw(st.integers(0, 4))),
        max_discharge_kw=float(data.draw(st.integers(0, 4))),
        initial_kwh=float(data.draw(st.integers(0, 8))),
        final_kwh=float(data.draw(st.integers(0, 8))),
        min_kwh=float(data.draw(st.integers(0, 8))),
        charge_efficiency=data.draw(st.sampled_from([0.7, 0.9, 1.0])),
        discharge_efficiency=data.draw(st.sampled_from([0.8, 1.0])),
        self_discharge=data.draw(st.sampled_from([0.0, 0.01, 0.2])),
        final_value=data.draw(st.sampled_from([0.0, 0.15])),
        cycle_cost=data.draw(st.sampled_from([0.0, 0.02])),
        waiting_cost=data.draw(st.sampled_from([0.0, 1e-3])),
    )
    community = single(device, price=price, mtu_minutes=data.draw(st.sampled_from([30, 60])))
    modes = [[(0.0, device.max_charge_kw), (-device.max_discharge_kw, 0.0)]] * 3
    expected = cheapest_in_modes(community, device, modes, stay=range(3), keep=device.keep(community.horizon))
    assert best(community).objective == pytest.approx(expected, abs=1e-6)


@settings(QUIET, max_examples=10)
@given(data=st.data(), price=PRICES)
def test_a_vehicle_does_the_best_of_all_modes(data: Any, price: list[float], single: Single, best: Best) -> None:
    arrival = data.draw(st.integers(0, 2))
    two_way = data.draw(st.booleans())
    device = vehicle(
        arrival_mtu=arrival,
        departure_mtu=data.draw(st.integers(arrival + 1, 3)),
        capacity_kwh=12.0,
        initial_kwh=float(data.draw(st.integers(0, 12))),
        required_kwh=float(data.draw(st.integers(0, 12))),
        min_kwh=float(data.draw(st.integers(0, 6))),
        max_discharge_kw=3.0 if two_way else 0.0,
        charge_efficiency=data.draw(st.sampled_from([0.9, 1.0])),
        discharge_efficiency=data.draw(st.sampled_from([0.8, 1.0])),
        cycle_cost=data.draw(st.sampled_from([0.0, 0.02])),
        waiting_cost=data.draw(st.sampled_from([0.0, 1e-3])),
    )
    community = single(device, price=price, mtu_minutes=data.draw(st.sampled_from([30, 60])))
    modes = [(0.0, 0.0), *((level.lower_kw, level.upper_kw) for level in device.levels)]
    modes += [(-3.0, 0.0)] if two_way else []
    stay = range(device.arrival_mtu, device.departure_mtu)
    expected = cheapest_in_modes(community, device, [modes] * len(stay), stay=stay, keep=1.0)
    assert best(community).objective == pytest.approx(expected, abs=1e-6)
