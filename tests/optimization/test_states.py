from typing import Any

import numpy as np
import pytest

from optimization.community import (
    Battery,
    Community,
    Curtailable,
    Device,
    DeviceId,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.devices import Phase, PowerRange, Progress
from optimization.states import NEGLIGIBLE, shortfall_of, states_of
from tests.optimization.lone_peer import lone_peer


def under(device: Device, power_kw: list[float]) -> tuple[Community, dict[DeviceId, Any]]:
    price = np.ones(len(power_kw))
    return lone_peer(device, import_price=price, export_price=0 * price, minutes=30), {device.id: np.array(power_kw)}


def battery(**changes: Any) -> Battery:
    fields = {"id": "battery", "max_charge_kw": 4.0, "max_discharge_kw": 4.0, "capacity_kwh": 8.0, "initial_kwh": 4.0}
    return Battery(**(fields | {"final_kwh": 4.0, "charge_efficiency": 0.5, "discharge_efficiency": 0.8} | changes))


def vehicle(**changes: Any) -> ElectricVehicle:
    fields = {"id": "car", "arrival_mtu": 1, "departure_mtu": 3, "capacity_kwh": 10.0, "initial_kwh": 4.0}
    fields |= {"required_kwh": 6.0, "levels": (PowerRange(lower_kw=0.0, upper_kw=8.0),), "charge_efficiency": 0.5}
    return ElectricVehicle(**(fields | changes))


def heater(**changes: Any) -> Thermostatic:
    fields = {"id": "heater", "rated_kw": 2.0, "heat_capacity_kwh_per_k": 0.5, "loss_kw_per_k": 0.0}
    fields |= {"performance": [3.0] * 4, "ambient_c": [10.0] * 4, "draw_kw": [1.0] * 4}
    return Thermostatic(**(fields | {"lower_c": [40.0] * 4, "upper_c": [60.0] * 4, "initial_c": 42.0} | changes))


def test_a_battery_holds_what_its_terminals_leave_of_it() -> None:
    states = states_of(*under(battery(), [4.0, -1.6, 0.0, 2.0]))
    assert states.state_kwh == {"battery": pytest.approx([5.0, 4.0, 4.0, 4.5])}
    losing = states_of(*under(battery(self_discharge=0.36), [4.0, -1.6, 0.0]))
    assert losing.state_kwh == {"battery": pytest.approx([4.2, 2.36, 1.888])}


def test_a_vehicle_holds_what_it_came_with_before_and_what_it_left_with_after_its_stay() -> None:
    states = states_of(*under(vehicle(), [0.0, 8.0, 4.0, 0.0]))
    assert states.state_kwh == {"car": pytest.approx([4.0, 6.0, 7.0, 7.0])}
    away = states_of(*under(vehicle(departure_mtu=1), [0.0] * 4))
    assert away.state_kwh == {"car": pytest.approx([4.0] * 4)}


def test_a_thermostatic_load_is_as_warm_as_its_model_says() -> None:
    states = states_of(*under(heater(), [0.0, 2.0, 0.0, 0.0]))
    assert states.temperature_c == {"heater": pytest.approx([41.0, 46.0, 45.0, 44.0])}
    assert states.state_kwh == {}


def test_the_powers_that_states_come_from_stay_as_they_are() -> None:
    community, powers = under(vehicle(), [1.0, 8.0, 4.0, 1.0])
    states_of(community, powers)
    assert powers["car"].tolist() == [1.0, 8.0, 4.0, 1.0]


LEFT_OUT = Programme(id="washer", phases=(Phase(power_kw=[2.0, 1.0]),), first_mtu=0, end_mtu=4)
BEGUN = Programme(
    id="washer", phases=LEFT_OUT.phases, first_mtu=0, end_mtu=4, progress=Progress(phase=0, elapsed_mtus=2)
)
PUMP = Interruptible(id="pump", power_kw=2.0, first_mtu=0, end_mtu=4, required_mtus=3)


@pytest.mark.parametrize(
    ("device", "power_kw", "short"),
    [
        (battery(), [0.0, 0.0], {}),
        (battery(), [0.0, -0.8], {"battery": 0.5}),
        (battery(final_kwh=4.0 + NEGLIGIBLE / 2), [0.0], {}),
        (vehicle(), [0.0, 4.0, 4.0, 0.0], {}),
        (vehicle(), [0.0, 2.0, 4.0, 0.0], {"car": 0.5}),
        (PUMP, [2.0, 2.0, 0.0, 2.0], {}),
        (PUMP, [2.0, 2.0, 2.0, 2.0], {}),
        (PUMP, [2.0, 0.0, 0.0, 0.0], {"pump": 2.0}),
        (LEFT_OUT, [0.0, 2.0, 1.0, 0.0], {}),
        (LEFT_OUT, [0.0] * 4, {"washer": 1.5}),
        (BEGUN, [0.0] * 4, {}),
        (heater(), [0.0, 2.0, 0.0, 0.0], {}),
        (heater(), [0.0] * 4, {"heater": 0.5 * (1.0 + 2.0)}),
        (heater(initial_c=61.5), [0.0] * 4, {"heater": 0.5 * 0.5}),
        (FixedLoad(id="load", power_kw=[1.0]), [1.0], {}),
        (Curtailable(id="pv", available_kw=[1.0]), [0.0], {}),
        (Generator(id="generator", min_kw=1.0, max_kw=2.0), [0.0], {}),
    ],
)
def test_a_shortfall_is_what_is_missing_in_the_unit_of_its_task(
    device: Device, power_kw: list[float], short: dict[str, float]
) -> None:
    community, powers = under(device, power_kw)
    assert shortfall_of(community, powers) == pytest.approx(short)
    assert shortfall_of(community, powers, states_of(community, powers)) == pytest.approx(short)
