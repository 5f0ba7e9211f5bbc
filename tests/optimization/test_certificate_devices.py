import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from optimization.certificate import Certificate, certify
from optimization.clearing import Clearing
from optimization.community import (
    Battery,
    Community,
    Curtailable,
    Device,
    DeviceId,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Horizon,
    Interruptible,
    Peer,
    PeerId,
    Programme,
    SectionId,
    Tariff,
    Thermostatic,
)
from optimization.devices import Phase, PowerRange, Progress
from optimization.states import shortfall_of, states_of

INFINITY, NAN = float("inf"), float("nan")


def community_of(*devices: Device, mtus: int, minutes: int = 60, day_starts: tuple[int, ...] = (), **more: Any) -> Any:
    """One peer with some devices, where energy costs nothing: what remains is what the devices themselves cost.

    A kWh of shortfall costs 100 in it.
    """
    free = np.zeros(mtus)
    return Community(
        horizon=Horizon(mtus=mtus, mtu_minutes=minutes, day_starts=day_starts),
        tariff=Tariff(import_price=free, export_price=free),
        peers=(Peer(id=PeerId("ann"), section=SectionId("street"), devices=devices),),
        **more,
    )


def clearing_of(community: Community, powers: Mapping[str, Sequence[float]], **changes: Any) -> Clearing:
    """The clearing that powers mean, balanced with the grid; some of its fields replaced."""
    device_kw = {DeviceId(name): np.array(power, dtype=np.float64) for name, power in powers.items()}
    states = states_of(community, device_kw)
    energy = community.horizon.hours * np.array([np.sum(list(device_kw.values()), axis=0)])
    clearing = Clearing(
        device_kw=device_kw,
        state_kwh=states.state_kwh,
        temperature_c=states.temperature_c,
        shortfall=shortfall_of(community, device_kw, states),
        trade_kwh=np.zeros((0, community.horizon.mtus)),
        import_kwh=np.maximum(energy, 0.0),
        export_kwh=np.maximum(-energy, 0.0),
        price=np.zeros_like(energy),
        objective=0.0,
        lower_bound=-INFINITY,
    )
    return dataclasses.replace(clearing, **changes)


def certified(community: Community, power: Sequence[float], **changes: Any) -> Certificate:
    """Of a community with one device."""
    (name,) = [device.id for _, device in community.devices()]
    return certify(community, clearing_of(community, {name: power}, **changes))


def assert_right(certificate: Certificate, cost: float) -> None:
    assert certificate.violated == ""
    assert certificate.primal_residual_kw < 1e-9
    assert certificate.objective == pytest.approx(cost, abs=1e-9)


def assert_wrong(certificate: Certificate, device: str, residual_kw: float) -> None:
    assert not certificate.feasible
    assert certificate.violated == f"device {device}"
    assert certificate.primal_residual_kw == pytest.approx(residual_kw)


# ---------------------------------------------------------------------------------------------------------- plants


def test_what_is_curtailed_costs() -> None:
    community = community_of(Curtailable(id="pv", available_kw=[2.0, 3.0], curtailment_cost=0.05), mtus=2, minutes=30)
    assert_right(certified(community, [-2.0, -1.0]), 0.05 * 0.5 * 2.0)
    assert_wrong(certified(community, [-2.1, -1.0]), "pv", 0.1)


@pytest.mark.parametrize("device", [FixedLoad(id="x", power_kw=[0.0]), Curtailable(id="x", available_kw=[0.0])])
def test_what_has_no_task_falls_short_of_none(device: Device) -> None:
    community = community_of(device, mtus=1)
    assert_right(certified(community, [0.0]), 0.0)
    assert_wrong(certified(community, [0.0], shortfall={"x": 0.5}), "x", 0.5)


@pytest.mark.parametrize(
    ("changed_kw", "change_price", "cost"), [(0.0, 0.2, 0.0), (-0.5, 0.2, 0.05), (1.5, 0.2, 0.15), (1.5, 0.0, 0.0)]
)
def test_departing_from_the_plan_costs_by_the_kwh(changed_kw: float, change_price: float, cost: float) -> None:
    battery = _battery(cycle_cost=0.0, waiting_cost=0.0, final_value=0.0, max_discharge_kw=2.0)
    planned = {DeviceId("battery"): np.array([1.0, 0.0, 0.0])}
    community = community_of(battery, mtus=3, minutes=30, planned_kw=planned, change_price=change_price)
    assert_right(certified(community, [1.0 + changed_kw, 0.0, 0.0]), cost)


def _generator(**changes: Any) -> Generator:
    fields = {"id": "generator", "min_kw": 2.0, "max_kw": 5.0, "quadratic_cost": 0.1, "linear_cost": 0.2}
    fields |= {"running_cost": 0.3, "start_cost": 0.7, "min_up_mtus": 3, "min_down_mtus": 2}
    return Generator(**(fields | changes))


def test_a_generator_costs_fuel_hours_and_starts() -> None:
    community = community_of(_generator(), mtus=6, minutes=30)
    fuel = 0.5 * (0.05 * (4 + 9 + 25) + 0.2 * 10 + 3 * 0.3)
    assert_right(certified(community, [0.0, -2.0, -3.0, -5.0, 0.0, 0.0]), fuel + 0.7)
    going = community_of(_generator(running=True), mtus=3, minutes=30)
    assert_right(certified(going, [-2.0, -3.0, -5.0]), fuel)


@pytest.mark.parametrize(
    ("changes", "power_kw", "residual_kw"),
    [
        ({}, [0.0, -1.5, -3.0, -5.0, 0.0, 0.0], 0.5),
        ({}, [0.0, -2.0, -3.0, -5.5, 0.0, 0.0], 0.5),
        ({}, [0.0, -2.0, -3.0, -5.0, -0.5, 0.0], 0.5),
        ({}, [0.0, -2.0, -3.0, -5.0, 0.0, 0.25], 0.25),
        ({}, [0.0, -2.0, -3.0, 0.0, 0.0, 0.0], 5.0),
        ({}, [0.0, -2.0, 0.0, 0.0, 0.0, 0.0], 10.0),
        ({}, [-2.0, -2.0, -2.0, 0.0, -2.0, -2.0], 5.0),
        ({"elapsed_mtus": 1}, [-2.0, -2.0, -2.0, -2.0, 0.0, 0.0], 5.0),
        ({"running": True, "elapsed_mtus": 1}, [-2.0, 0.0, 0.0, 0.0, 0.0, 0.0], 5.0),
        ({}, [0.0, NAN, -2.0, -2.0, -2.0, 0.0], INFINITY),
    ],
)
def test_a_generator_that_breaks_a_rule_is_named(
    changes: dict[str, Any], power_kw: list[float], residual_kw: float
) -> None:
    assert_wrong(certified(community_of(_generator(**changes), mtus=6), power_kw), "generator", residual_kw)


@pytest.mark.parametrize(
    ("changes", "power_kw"),
    [
        ({}, [0.0, 0.0, 0.0, 0.0, 0.0, -2.0]),
        ({}, [-2.0, -2.0, -2.0, 0.0, 0.0, -2.0]),
        ({}, [-2.0, -2.0, -2.0, -2.0, -2.0, 0.0]),
        ({"elapsed_mtus": 1}, [0.0, -2.0, -2.0, -2.0, 0.0, 0.0]),
        ({"elapsed_mtus": 2}, [-2.0, -2.0, -2.0, 0.0, 0.0, 0.0]),
        ({"running": True, "elapsed_mtus": 1}, [-2.0, -2.0, 0.0, 0.0, 0.0, 0.0]),
        ({"running": True, "elapsed_mtus": 3}, [0.0, 0.0, -2.0, -2.0, -2.0, 0.0]),
        ({"running": True}, [0.0, 0.0, -2.0, -2.0, -2.0, 0.0]),
    ],
)
def test_a_generator_may_what_its_minimum_times_allow(changes: dict[str, Any], power_kw: list[float]) -> None:
    assert certified(community_of(_generator(**changes), mtus=6), power_kw).feasible


def test_a_generator_without_a_least_output_may_idle_while_up() -> None:
    """Up for nothing in the middle, at 30 cents, is cheaper than a second start, and the minimum up time allows it."""
    idling = _generator(min_kw=0.0, quadratic_cost=0.0, linear_cost=0.0, min_up_mtus=3, min_down_mtus=1)
    community = community_of(idling, mtus=5)
    assert_right(certified(community, [0.0, -1.0, 0.0, -1.0, 0.0]), 0.7 + 3 * 0.3)
    assert_right(certified(community, [0.0, -1.0, 0.0, 0.0, 0.0]), 0.7 + 3 * 0.3)
    assert_right(certified(community, [0.0, 0.0, 0.0, 0.0, 0.0]), 0.0)
    rested = community_of(dataclasses.replace(idling, elapsed_mtus=1, min_down_mtus=3), mtus=5)
    assert_wrong(certified(rested, [0.0, -1.0, 0.0, -1.0, 0.0]), "generator", 5.0)


# ---------------------------------------------------------------------------------------------------------- stores


def _battery(**changes: Any) -> Battery:
    fields = {"id": "battery", "max_charge_kw": 4.0, "max_discharge_kw": 4.0, "capacity_kwh": 8.0, "initial_kwh": 4.0}
    fields |= {"final_kwh": 2.0, "min_kwh": 1.0, "charge_efficiency": 0.5, "discharge_efficiency": 0.8}
    fields |= {"final_value": 0.1, "cycle_cost": 0.02, "waiting_cost": 0.01}
    return Battery(**(fields | changes))


def test_a_battery_loses_energy_by_itself_and_is_worth_what_it_ends_with() -> None:
    community = community_of(_battery(self_discharge=0.36), mtus=3, minutes=30)
    stored = [0.8 * 4.0 + 0.5 * 0.5 * 4.0, 0.8 * 4.2 - 0.5 * 1.6 / 0.8, 0.8 * 2.36]
    assert stored[2] < 2.0
    cost = 0.02 * 0.5 * 1.6 + 0.01 * 0.5 * (24.0 - sum(stored)) - 0.1 * stored[2] + 100.0 * (2.0 - stored[2])
    right = {"state_kwh": {"battery": np.array(stored)}, "shortfall": {"battery": 2.0 - stored[2]}}
    assert_right(certified(community, [4.0, -1.6, 0.0], **right), cost)
    kept = {"battery": np.array([5.0, 4.0, 4.0])}
    assert_wrong(certified(community, [4.0, -1.6, 0.0], **(right | {"state_kwh": kept})), "battery", 2 * (4 - 1.888))


@pytest.mark.parametrize(("claimed", "residual_kw"), [(0.0, 1.0), (0.75, 0.25), (1.5, 0.5), (-1.0, INFINITY)])
def test_a_shortfall_is_what_is_really_missing_no_less_and_no_more(claimed: float, residual_kw: float) -> None:
    community = community_of(_battery(final_kwh=5.0), mtus=1)
    assert certified(community, [0.0], shortfall={"battery": 1.0}).feasible
    assert_wrong(certified(community, [0.0], shortfall={"battery": claimed}), "battery", residual_kw)


def test_a_reserve_is_kept_and_one_that_is_missing_is_not_drawn_on_further() -> None:
    above = community_of(_battery(final_kwh=0.0), mtus=2)
    assert certified(above, [-2.4, 0.0]).feasible
    assert_wrong(certified(above, [-2.8, 0.0]), "battery", 0.5)
    below = community_of(_battery(final_kwh=0.0, initial_kwh=0.5), mtus=2)
    assert certified(below, [0.0, 0.0]).feasible
    assert certified(below, [1.0, -0.4]).feasible
    assert_wrong(certified(below, [-0.08, 0.0]), "battery", 0.1)


@pytest.mark.parametrize(
    ("initial_kwh", "power_kw", "residual_kw"),
    [(4.0, [-2.0, 4.5], 0.5), (4.0, [4.0, 0.75], 0.75), (8.0, [-4.25, 0.0], 0.25), (4.0, [-3.2, 4.0], 1.0)],
)
def test_a_battery_beyond_its_limits_is_named(initial_kwh: float, power_kw: list[float], residual_kw: float) -> None:
    community = community_of(_battery(charge_efficiency=1.0, initial_kwh=initial_kwh, final_kwh=0.0), mtus=2)
    assert_wrong(certified(community, power_kw), "battery", residual_kw)


def _vehicle(**changes: Any) -> ElectricVehicle:
    fields = {"id": "car", "arrival_mtu": 1, "departure_mtu": 4, "capacity_kwh": 10.0, "initial_kwh": 4.0}
    fields |= {
        "required_kwh": 6.0,
        "levels": (PowerRange(lower_kw=1.5, upper_kw=3.0), PowerRange(lower_kw=4.0, upper_kw=8.0)),
    }
    fields |= {"charge_efficiency": 0.5, "discharge_efficiency": 0.8, "max_discharge_kw": 2.0, "min_kwh": 2.0}
    fields |= {"cycle_cost": 0.03, "waiting_cost": 0.01}
    return ElectricVehicle(**(fields | changes))


def test_a_vehicle_charges_and_gives_back_in_its_stay() -> None:
    community = community_of(_vehicle(), mtus=5)
    right = {"state_kwh": {"car": np.array([4.0, 3.0, 4.5, 6.5, 6.5])}, "shortfall": {}}
    assert_right(certified(community, [0.0, -0.8, 3.0, 4.0, 0.0], **right), 0.03 * 0.8 + 0.01 * (7.0 + 5.5 + 3.5))


def test_a_vehicle_that_leaves_with_too_little_says_so() -> None:
    community = community_of(_vehicle(), mtus=5)
    assert_right(certified(community, [0.0, 0.0, 1.5, 0.0, 0.0]), 0.01 * (6 + 5.25 + 5.25) + 100.0 * 1.25)
    assert_wrong(certified(community, [0.0, 0.0, 1.5, 0.0, 0.0], shortfall={}), "car", 1.25)
    assert_wrong(certified(community, [0.0, 4.0, 0.0, 0.0, 0.0], shortfall={"car": 0.5}), "car", 0.5)


@pytest.mark.parametrize(
    ("power_kw", "residual_kw"),
    [
        ([1.5, 4.0, 0.0, 0.0, 0.0], 1.5),
        ([0.0, 4.0, 0.0, 0.0, -0.5], 0.5),
        ([0.0, 4.0, 1.0, 0.0, 0.0], 0.5),
        ([0.0, 4.0, 3.25, 0.0, 0.0], 0.25),
        ([0.0, 4.0, 0.25, 0.0, 0.0], 0.25),
        ([0.0, 8.5, 0.0, 0.0, 0.0], 0.5),
        ([0.0, 8.0, 4.0, -2.25, 0.0], 0.25),
        ([0.0, 8.0, 8.0, 0.0, 0.0], 2.0),
        ([0.0, -1.0, -1.0, 8.0, 0.0], 0.5),
        ([0.0, NAN, 0.0, 0.0, 0.0], INFINITY),
    ],
)
def test_a_vehicle_that_breaks_a_rule_is_named(power_kw: list[float], residual_kw: float) -> None:
    assert_wrong(certified(community_of(_vehicle(), mtus=5), power_kw), "car", residual_kw)


def test_the_state_of_a_vehicle_is_constant_outside_its_stay() -> None:
    community = community_of(_vehicle(), mtus=5)
    drifting = {"car": np.array([3.0, 6.0, 6.0, 6.0, 6.0])}
    assert_wrong(certified(community, [0.0, 4.0, 0.0, 0.0, 0.0], state_kwh=drifting), "car", 1.0)
    nothing = clearing_of(community, {"car": [0.0] * 5}, state_kwh={})
    assert certify(community, nothing).violated == "shape of state of car"


def test_a_vehicle_that_never_comes_is_short_of_all_that_it_lacks() -> None:
    away = community_of(_vehicle(arrival_mtu=2, departure_mtu=2), mtus=5)
    assert_right(certified(away, [0.0] * 5), 200.0)


# ------------------------------------------------------------------------------------------------- interruptibles


def _pump(**changes: Any) -> Interruptible:
    fields = {"id": "pump", "power_kw": 2.0, "first_mtu": 1, "end_mtu": 9, "required_mtus": 4, "min_on_mtus": 2}
    fields |= {"min_off_mtus": 2, "max_starts": 2, "waiting_cost": 0.0, "start_cost": 0.5}
    return Interruptible(**(fields | changes))


def powered(on: str, power_kw: float = 2.0) -> list[float]:
    """A schedule in words: x for an MTU in which a device runs."""
    return [power_kw if mark == "x" else 0.0 for mark in on]


@pytest.mark.parametrize(
    ("changes", "on", "starts"),
    [
        ({}, ".xx..xx...", 2),
        ({}, "..xxxx....", 1),
        ({}, ".....xxxx.", 1),
        ({}, ".xxxxx....", 1),
        ({"running": True, "first_mtu": 0}, "x..xxx....", 1),
        ({"running": True, "first_mtu": 0}, "xxxx......", 0),
        ({"running": True, "elapsed_mtus": 1}, "x..xxx....", 1),
        ({"running": True, "elapsed_mtus": 1, "first_mtu": 8, "required_mtus": 1}, "x.........", 0),
        ({"running": False, "elapsed_mtus": 1}, ".xxxx.....", 1),
        ({"max_starts": None, "min_on_mtus": 1, "min_off_mtus": 1}, ".x.x.x.x..", 4),
        ({"starts_today": 1}, ".xxxx.....", 1),
    ],
)
def test_an_appliance_may_what_its_rules_allow(changes: dict[str, Any], on: str, starts: int) -> None:
    assert_right(certified(community_of(_pump(**changes), mtus=10), powered(on)), 0.5 * starts)


@pytest.mark.parametrize(
    ("changes", "on", "mtus_wrong"),
    [
        ({}, ".x...xxx..", 1),
        ({}, ".xx.xx....", 1),
        ({}, "......xxxx", 1),
        ({}, "xxxx......", 1),
        ({}, ".xxxxxx...", 1),
        ({"required_mtus": 6}, ".xx..xx.xx", 1),
        ({"max_starts": 1}, ".xx..xx...", 1),
        ({"starts_today": 2}, ".xxxx.....", 1),
        ({"starts_today": 5}, ".xxxx.....", 1),
        ({"running": True, "elapsed_mtus": 1}, "....xxxx..", 1),
        ({"running": True, "elapsed_mtus": 0, "min_on_mtus": 4}, ".xxxx.....", 1),
        ({"running": True, "first_mtu": 0}, ".xxxx.....", 1),
        ({"elapsed_mtus": 0}, ".xxxx.....", 1),
        ({"elapsed_mtus": 0, "min_off_mtus": 4}, ".xxxx.....", 3),
    ],
)
def test_an_appliance_that_breaks_a_rule_is_named(changes: dict[str, Any], on: str, mtus_wrong: int) -> None:
    assert_wrong(certified(community_of(_pump(**changes), mtus=10), powered(on)), "pump", 2.0 * mtus_wrong)


def test_starts_are_counted_anew_every_day() -> None:
    twice = powered(".xx..xx...")
    once_a_day = _pump(max_starts=1)
    assert certified(community_of(once_a_day, mtus=10, day_starts=(5,)), twice).feasible
    assert_wrong(certified(community_of(once_a_day, mtus=10, day_starts=(6,)), twice), "pump", 2.0)
    started = dataclasses.replace(once_a_day, starts_today=1)
    assert_wrong(certified(community_of(started, mtus=10, day_starts=(5,)), twice), "pump", 2.0)


@pytest.mark.parametrize(("claimed", "right"), [(2.0, True), (1.0, False), (3.0, False), (0.0, False)])
def test_mtus_that_are_missing_are_said_and_cost_their_energy(claimed: float, right: bool) -> None:
    certificate = certified(
        community_of(_pump(), mtus=10, minutes=30), powered(".xx......."), shortfall={"pump": claimed}
    )
    if right:
        assert_right(certificate, 0.5 + 2.0 * 2.0 * 0.5 * 100.0)
    else:
        assert_wrong(certificate, "pump", 2.0 * abs(claimed - 2.0))


# ------------------------------------------------------------------------------------------------------ programmes


def _washer(**changes: Any) -> Programme:
    phases = (Phase(power_kw=[2.0, 1.0]), Phase(power_kw=[0.5, 0.5], min_pause_mtus=1, max_pause_mtus=2))
    fields = {"id": "washer", "phases": phases, "first_mtu": 1, "end_mtu": 9, "waiting_cost": 0.0}
    return Programme(**(fields | changes))


def _dryer(**changes: Any) -> Programme:
    fields = {"id": "dryer", "phases": (Phase(power_kw=[3.0]),), "first_mtu": 0, "end_mtu": 10, "follows": "washer"}
    fields |= {"min_delay_mtus": 1, "max_delay_mtus": 2, "waiting_cost": 0.0}
    return Programme(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "power_kw"),
    [
        ({}, [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0, 0]),
        ({}, [0, 2, 1, 0, 0, 0.5, 0.5, 0, 0, 0]),
        ({}, [0, 0, 0, 0, 2, 1, 0, 0.5, 0.5, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=1)}, [1, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=1)}, [1, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=2)}, [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=2, paused_mtus=1)}, [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=2, paused_mtus=1)}, [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=0, elapsed_mtus=2, paused_mtus=9)}, [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=1, elapsed_mtus=1), "end_mtu": 1}, [0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ({"progress": Progress(phase=1, elapsed_mtus=2, paused_mtus=3)}, [0] * 10),
    ],
)
def test_a_programme_may_be_placed_as_its_window_and_pauses_allow(
    changes: dict[str, Any], power_kw: list[float]
) -> None:
    assert_right(certified(community_of(_washer(**changes), mtus=10), power_kw), 0.0)


@pytest.mark.parametrize(
    ("changes", "power_kw", "residual_kw"),
    [
        pytest.param({}, [2, 1, 0, 0.5, 0.5, 0, 0, 0, 0, 0], 2.0, id="before its window"),
        pytest.param({}, [0, 0, 0, 0, 0, 2, 1, 0, 0.5, 0.5], 2.0, id="beyond its window"),
        pytest.param({}, [0, 2, 1, 0.5, 0.5, 0, 0, 0, 0, 0], 0.5, id="a pause too short"),
        pytest.param({}, [0, 2, 1, 0, 0, 0, 0.5, 0.5, 0, 0], 0.5, id="a pause too long"),
        pytest.param({}, [0, 2, 0, 1, 0, 0.5, 0.5, 0, 0, 0], 1.0, id="interrupted"),
        pytest.param({}, [0, 2, 1, 0, 0.5, 0, 0, 0, 0, 0], 0.5, id="not finished"),
        pytest.param({}, [0, 2.25, 1, 0, 0.5, 0.5, 0, 0, 0, 0], 0.25, id="not its profile"),
        pytest.param({}, [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0.75, 0], 0.75, id="something afterwards"),
        pytest.param({}, [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0, NAN], INFINITY, id="NaN"),
        pytest.param(
            {"progress": Progress(phase=0, elapsed_mtus=1)}, [0, 1, 0, 0.5, 0.5, 0, 0, 0, 0, 0], 1.0, id="halted"
        ),
        pytest.param({"progress": Progress(phase=0, elapsed_mtus=1)}, [0] * 10, 1.0, id="given up"),
        pytest.param(
            {"progress": Progress(phase=0, elapsed_mtus=2)}, [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0], 0.5, id="too soon"
        ),
        pytest.param(
            {"progress": Progress(phase=0, elapsed_mtus=2, paused_mtus=1)},
            [0, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 0],
            0.5,
            id="too late",
        ),
        pytest.param(
            {"progress": Progress(phase=0, elapsed_mtus=2, paused_mtus=9)},
            [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0],
            0.5,
            id="later than at once",
        ),
        pytest.param(
            {"progress": Progress(phase=1, elapsed_mtus=2)}, [0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0.5, id="done already"
        ),
    ],
)
def test_a_programme_that_breaks_a_rule_is_named_with_its_distance_from_one_that_does_not(
    changes: dict[str, Any], power_kw: list[float], residual_kw: float
) -> None:
    assert_wrong(certified(community_of(_washer(**changes), mtus=10), power_kw), "washer", residual_kw)


def test_a_programme_that_is_left_out_says_so_and_costs_all_its_energy() -> None:
    community = community_of(_washer(), mtus=10, minutes=30)
    assert_right(certified(community, [0.0] * 10, shortfall={"washer": 2.0}), 200.0)
    assert_wrong(certified(community, [0.0] * 10, shortfall={}), "washer", 2.0)
    assert_wrong(certified(community, [0.0] * 10, shortfall={"washer": 1.5}), "washer", 1.0)
    ran = [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0, 0]
    assert_wrong(certified(community, ran, shortfall={"washer": 0.25}), "washer", 0.5)
    begun = community_of(_washer(progress=Progress(phase=0, elapsed_mtus=1)), mtus=10)
    assert_wrong(certified(begun, [0.0] * 10, shortfall={"washer": 4.0}), "washer", 4.0)


def test_waiting_costs_by_the_energy_that_comes_late() -> None:
    community = community_of(_washer(waiting_cost=0.1), mtus=10, minutes=30)
    assert_right(certified(community, [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0, 0]), 0.1 * 0.25 * (2 + 2 + 2 + 2.5))


WASHED = [0, 2, 1, 0, 0.5, 0.5, 0, 0, 0, 0]
"""Ends with MTU 6: the dryer begins in 7 or 8."""


@pytest.mark.parametrize(
    ("dryer_kw", "shortfall", "violated"),
    [
        ([0, 0, 0, 0, 0, 0, 0, 3, 0, 0], {}, ""),
        ([0, 0, 0, 0, 0, 0, 0, 0, 3, 0], {}, ""),
        ([0, 0, 0, 0, 0, 0, 3, 0, 0, 0], {}, "device dryer"),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 3], {}, "device dryer"),
        ([3, 0, 0, 0, 0, 0, 0, 0, 0, 0], {}, "device dryer"),
        ([0] * 10, {"dryer": 3.0}, ""),
        ([0] * 10, {}, "device dryer"),
    ],
)
@pytest.mark.parametrize("dryer_first", [True, False])
def test_the_dryer_comes_after_the_washer_in_time(
    dryer_kw: list[float], shortfall: dict[str, float], violated: str, dryer_first: bool
) -> None:
    devices = (_dryer(), _washer()) if dryer_first else (_washer(), _dryer())
    community = community_of(*devices, mtus=10)
    powers = {"washer": WASHED, "dryer": dryer_kw}
    assert certify(community, clearing_of(community, powers, shortfall=shortfall)).violated == violated


def test_the_dryer_does_not_run_without_the_washer() -> None:
    community = community_of(_washer(), _dryer(), mtus=10)
    powers = {"washer": [0.0] * 10, "dryer": [0, 0, 0, 0, 0, 0, 0, 3, 0, 0]}
    assert certify(community, clearing_of(community, powers)).violated == "device dryer"
    powers["dryer"] = [0.0] * 10
    assert certify(community, clearing_of(community, powers)).feasible


@pytest.mark.parametrize(("begin", "violated"), [(0, "device dryer"), (1, ""), (2, ""), (3, "device dryer")])
def test_the_dryer_counts_from_when_the_washer_was_done_before_the_horizon(begin: int, violated: str) -> None:
    done = _washer(progress=Progress(phase=1, elapsed_mtus=2, paused_mtus=2))
    community = community_of(done, _dryer(min_delay_mtus=3, max_delay_mtus=4), mtus=10)
    powers = {"washer": [0.0] * 10, "dryer": [3.0 if t == begin else 0.0 for t in range(10)]}
    assert certify(community, clearing_of(community, powers)).violated == violated


def test_a_begun_dryer_no_longer_waits_for_the_washer() -> None:
    drying = _dryer(phases=(Phase(power_kw=[3.0, 3.0]),), progress=Progress(phase=0, elapsed_mtus=1))
    community = community_of(_washer(), drying, mtus=10)
    powers = {"washer": WASHED, "dryer": [3.0, *[0.0] * 9]}
    assert certify(community, clearing_of(community, powers)).feasible


def test_a_chain_is_placed_together_where_silent_phases_leave_more_than_one_way() -> None:
    """A soak without power hides when the washer ends: the dryer decides which way it must have been."""
    soak = Phase(power_kw=[0.0, 0.0], min_pause_mtus=0, max_pause_mtus=3)
    washer = _washer(phases=(Phase(power_kw=[2.0]), soak), first_mtu=0)
    community = community_of(washer, _dryer(min_delay_mtus=0, max_delay_mtus=0), mtus=10)
    for begin in range(10):
        powers = {"washer": [2.0, *[0.0] * 9], "dryer": [3.0 if t == begin else 0.0 for t in range(10)]}
        feasible = certify(community, clearing_of(community, powers)).feasible
        assert feasible == (3 <= begin <= 6)


# ---------------------------------------------------------------------------------------------------- thermostats


def _heater(**changes: Any) -> Thermostatic:
    mtus = changes.pop("mtus", 4)
    fields = {"id": "heater", "rated_kw": 2.0, "heat_capacity_kwh_per_k": 0.5, "loss_kw_per_k": 0.0}
    fields |= {"performance": [3.0] * mtus, "ambient_c": [10.0] * mtus, "draw_kw": [1.0] * mtus}
    fields |= {"lower_c": [40.0] * mtus, "upper_c": [60.0] * mtus, "initial_c": 50.0, "discomfort_cost": 8.0}
    return Thermostatic(**(fields | {"start_cost": 0.5} | changes))


def test_a_temperature_follows_its_heat() -> None:
    community = community_of(_heater(), mtus=4)
    right = {"heater": np.array([48.0, 58.0, 56.0, 54.0])}
    assert_right(certified(community, [0.0, 2.0, 0.0, 0.0], temperature_c=right), 0.5)
    wrong = {"heater": np.array([48.0, 58.0, 56.5, 54.0])}
    assert_wrong(certified(community, [0.0, 2.0, 0.0, 0.0], temperature_c=wrong), "heater", 0.5)
    nothing = clearing_of(community, {"heater": [0.0] * 4}, temperature_c={})
    assert certify(community, nothing).violated == "shape of temperature of heater"


def test_a_temperature_loses_to_its_surroundings_as_an_exponential() -> None:
    community = community_of(_heater(loss_kw_per_k=0.5 * np.log(2.0), draw_kw=[0.0] * 4, lower_c=[0.0] * 4), mtus=4)
    cooling = {"heater": np.array([30.0, 20.0, 15.0, 12.5])}
    assert_right(certified(community, [0.0] * 4, temperature_c=cooling), 0.0)


@pytest.mark.parametrize(("modulating", "fixed_cost"), [(False, 2 * 8.0 / 4), (True, 0.0)])
def test_kelvins_outside_the_band_are_said_and_cost(modulating: bool, fixed_cost: float) -> None:
    community = community_of(_heater(initial_c=42.0, modulating=modulating), mtus=4, minutes=30)
    cold = [0.0, 0.0, 0.0, 0.0]  # 41, 40, 39, 38 degrees: 1 K and 2 K too cold, half an hour each
    assert_right(certified(community, cold, shortfall={"heater": 1.5}), 8.0 * 1.5 + fixed_cost)
    assert_wrong(certified(community, cold, shortfall={"heater": 1.0}), "heater", 1.0)
    assert_wrong(certified(community, cold, shortfall={"heater": 2.0}), "heater", 1.0)
    hot = [2.0, 2.0, 2.0, 2.0]  # 47, 52, 57, 62
    assert certified(community, hot, shortfall={"heater": 1.0}).feasible


@pytest.mark.parametrize(
    ("changes", "power_kw", "residual_kw"),
    [
        ({}, [0.0, 1.5, 0.0, 0.0], 0.5),
        ({}, [0.0, 0.5, 0.0, 0.0], 0.5),
        ({}, [0.0, 2.25, 0.0, 0.0], 0.25),
        ({}, [0.0, -0.25, 0.0, 0.0], 0.25),
        ({"modulating": True, "min_kw": 1.0}, [0.0, 0.75, 0.0, 0.0], 0.25),
        ({"modulating": True, "min_kw": 1.0}, [0.0, 2.25, 0.0, 0.0], 0.25),
        ({"modulating": True}, [0.0, 2.25, 0.0, 0.0], 0.25),
        ({"min_on_mtus": 2}, [0.0, 2.0, 0.0, 0.0], 2.0),
        ({"min_off_mtus": 3}, [2.0, 0.0, 2.0, 0.0], 4.0),
        ({"min_off_mtus": 3, "elapsed_mtus": 1}, [0.0, 2.0, 0.0, 0.0], 2.0),
        ({"min_on_mtus": 3, "running": True, "elapsed_mtus": 1}, [2.0, 0.0, 0.0, 0.0], 2.0),
        ({}, [0.0, NAN, 0.0, 0.0], INFINITY),
    ],
)
def test_a_thermostat_that_breaks_a_rule_is_named(
    changes: dict[str, Any], power_kw: list[float], residual_kw: float
) -> None:
    assert_wrong(certified(community_of(_heater(**changes), mtus=4), power_kw), "heater", residual_kw)


@pytest.mark.parametrize(
    ("changes", "power_kw"),
    [
        ({}, [2.0, 0.0, 2.0, 0.0]),
        ({"modulating": True, "min_kw": 1.0}, [0.0, 1.25, 2.0, 0.0]),
        ({"modulating": True}, [0.0, 0.01, 2.0, 0.0]),
        ({"modulating": True, "min_on_mtus": 3}, [0.0, 0.5, 0.0, 0.5]),
        ({"min_on_mtus": 2}, [0.0, 2.0, 2.0, 0.0]),
        ({"min_on_mtus": 2}, [0.0, 0.0, 0.0, 2.0]),
        ({"min_off_mtus": 3, "elapsed_mtus": 1}, [0.0, 0.0, 2.0, 0.0]),
        ({"min_on_mtus": 3, "running": True, "elapsed_mtus": 1}, [2.0, 2.0, 0.0, 0.0]),
    ],
)
def test_a_thermostat_may_what_its_powers_and_times_allow(changes: dict[str, Any], power_kw: list[float]) -> None:
    assert certified(community_of(_heater(**changes), mtus=4), power_kw).feasible


def test_one_absurd_device_leaves_the_others_verdicts_as_they_are() -> None:
    community = community_of(_washer(), _dryer(), _battery(final_kwh=0.0), mtus=10)
    powers = {"washer": [NAN] * 10, "dryer": [0.0] * 10, "battery": [0.0] * 10}
    certificate = certify(community, clearing_of(community, powers))
    assert certificate.violated == "device washer"
    assert certificate.primal_residual_kw == INFINITY
    assert np.isnan(certificate.objective)
    assert certificate.gap == INFINITY
