"""What really happens: meters count loads and devices, and their registers never fall."""

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.demo.catalogue import load_catalogue
from controller.demo.grid import load_grid
from controller.demo.scenario import MTUS, Scenario, Tariff, build_scenario
from controller.demo.world import World, bounds_of, clock_at, failsafe_of
from controller.flexibility import Plant, Relay, Storage
from controller.microgrid import Device
from device_drivers.setpoint import Bounds, Power, ProductionLimit, RelayState

LEAD_S = 1800
QUARTER_S = 900


@pytest.fixture
def scenario(write: Callable[..., Path]) -> Scenario:
    return build_scenario(load_grid(str(write("grid")), None), load_catalogue(write("catalogue")), Tariff(), seed=3)


@pytest.fixture
def world(scenario: Scenario) -> World:
    """The hamlet at the start of its day, each meter read once."""
    world = World(scenario, clock_at(scenario.microgrid.start - LEAD_S))
    world.clock.advance(LEAD_S)
    for meter in world.meters:
        meter.read()
    return world


def act(world: World, k: int) -> None:
    """Something different in each quarter of an hour."""
    for device in world.devices.values():
        match device:
            case _ if "battery" in type(device).__name__.lower():
                device.apply(Power(power_w=(2000, -1500, 0)[k % 3]))
            case _ if "relay" in type(device).__name__.lower():
                device.apply(RelayState(closed=k % 4 == 1))
            case _:
                device.apply(ProductionLimit(limit_w=(5000, 1000, 0)[k % 3]))


def test_registers_never_fall_and_hold_loads_and_devices(scenario: Scenario, world: World) -> None:
    seen = dict.fromkeys((p.member.id for p in scenario.participants), (0, 0))
    before = {id_: device.energy_wh() for id_, device in world.devices.items()}
    net_wh = dict.fromkeys(seen, 0.0)
    for k in range(MTUS):
        act(world, k)
        world.clock.advance(QUARTER_S)
        for participant, meter in zip(scenario.participants, world.meters, strict=True):
            reading = meter.read()
            id_ = participant.member.id
            assert reading.member == id_
            assert reading.instant == scenario.microgrid.start + (k + 1) * QUARTER_S
            assert reading.import_wh >= seen[id_][0]
            assert reading.export_wh >= seen[id_][1]
            seen[id_] = reading.import_wh, reading.export_wh
            net_wh[id_] += participant.actual_load_w[k] / 4
    for participant in scenario.participants:
        id_ = participant.member.id
        devices_wh = sum(world.devices[d.id].energy_wh() - before[d.id] for d in participant.devices)
        taken, given = seen[id_]
        # Each register drops the part of a Wh that is not full yet.
        assert taken - given == pytest.approx(net_wh[id_] + devices_wh, abs=1.001)
    assert seen["anna"][1] > 0
    assert all(taken > 0 for taken, _ in seen.values())


def test_a_meter_that_was_not_read_for_hours_has_lost_nothing(scenario: Scenario) -> None:
    often, once = (World(scenario, clock_at(scenario.microgrid.start)) for _ in range(2))
    for _ in range(16):
        often.clock.advance(QUARTER_S)
        readings = [meter.read() for meter in often.meters]
    once.clock.advance(16 * QUARTER_S)
    late = [meter.read() for meter in once.meters]
    for one, other in zip(readings, late, strict=True):
        assert one.import_wh - one.export_wh == pytest.approx(other.import_wh - other.export_wh, abs=1)


def test_reading_twice_at_the_same_instant_gives_the_same_registers(world: World) -> None:
    world.clock.advance(QUARTER_S)
    assert [meter.read() for meter in world.meters] == [meter.read() for meter in world.meters]


def test_what_happens_before_the_day_is_not_metered(scenario: Scenario) -> None:
    world = World(scenario, clock_at(scenario.microgrid.start - LEAD_S))
    world.devices["anna/water-heater"].apply(RelayState(closed=True))
    world.clock.advance(LEAD_S)
    taken = {reading.member: reading.import_wh for reading in (meter.read() for meter in world.meters)}
    assert taken == {"anna": 750, "bert": 0, "carl": 0}


def test_a_plant_that_may_produces_what_the_sky_gives(scenario: Scenario, world: World) -> None:
    plant = world.devices["anna/roof"]
    plant.apply(ProductionLimit(limit_w=5000))
    anna = next(p for p in scenario.participants if p.member.id == "anna")
    for power_w in anna.actual_available_w["anna/roof"]:
        before = plant.energy_wh()
        world.clock.advance(QUARTER_S)
        assert before - plant.energy_wh() == pytest.approx(power_w / 4)


@pytest.mark.parametrize(
    ("flexibility", "bounds", "failsafe"),
    [
        (Relay(rated_w=1500, start=0, end=900, required_s=900), (0, 1500), RelayState(closed=False)),
        (Plant(rated_w=5000), (-5000, 0), ProductionLimit(limit_w=0)),
        (
            Storage(
                max_charge_w=2000,
                max_discharge_w=1000,
                capacity_wh=4000,
                stored_wh=0,
                final_wh=0,
                charge_efficiency_ppm=10**6,
                discharge_efficiency_ppm=10**6,
                cycle_cost_micro_per_kwh=0,
            ),
            (-1000, 2000),
            Power(power_w=0),
        ),
    ],
)
def test_bounds_are_the_hardwares_and_the_failsafe_loads_nothing(
    flexibility: Relay | Plant | Storage, bounds: tuple[int, int], failsafe: object
) -> None:
    device = Device(id="anna/thing", member="anna", flexibility=flexibility)
    assert bounds_of(device) == Bounds(lower_w=bounds[0], upper_w=bounds[1])
    assert failsafe_of(device) == failsafe


def test_a_plant_that_nobody_released_produces_nothing(world: World) -> None:
    world.clock.advance(12 * 3600)
    assert world.devices["anna/roof"].energy_wh() == 0


def test_every_device_has_a_runtime_of_its_own(scenario: Scenario, world: World) -> None:
    ids = [device.id for p in scenario.participants for device in p.devices]
    assert list(world.runtimes) == list(world.devices) == ids
