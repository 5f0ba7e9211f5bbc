"""What each kind of device consumes at least and at most in each MTU, and the conflicts that this names."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from optimization.clearing import Infeasible
from optimization.community import (
    Battery,
    Community,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Horizon,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.devices import Phase, PowerRange, Progress
from optimization.reach import least_and_most_kw
from optimization.reference.dispatch import dispatch

HORIZON = Horizon(mtus=4, mtu_minutes=60)


def generator(**changes: Any) -> Generator:
    return Generator(id="d", min_kw=1.0, max_kw=3.0, min_up_mtus=3, min_down_mtus=3, **changes)


def pump(**changes: Any) -> Interruptible:
    fields = {"id": "d", "power_kw": 2.0, "first_mtu": 1, "end_mtu": 3, "required_mtus": 1}
    return Interruptible(**(fields | changes))


def heater(**changes: Any) -> Thermostatic:
    series = {name: np.ones(4) for name in ("performance", "ambient_c", "draw_kw", "lower_c", "upper_c")}
    return Thermostatic(
        id="d", rated_kw=2.0, heat_capacity_kwh_per_k=1.0, loss_kw_per_k=0.1, initial_c=1.0, **series, **changes
    )


def washer(**changes: Any) -> Programme:
    phases = (
        Phase(power_kw=np.array([1.0, 2.0, 3.0])),
        Phase(power_kw=np.array([0.5]), max_pause_mtus=2),
    )
    return Programme(**({"id": "d", "phases": phases, "first_mtu": 0, "end_mtu": 3} | changes))


@pytest.mark.parametrize(
    ("device", "least", "most"),
    [
        pytest.param(FixedLoad(id="d", power_kw=np.arange(4.0)), [0, 1, 2, 3], [0, 1, 2, 3], id="load"),
        pytest.param(Curtailable(id="d", available_kw=np.arange(4.0)), [0, -1, -2, -3], [0] * 4, id="pv"),
        pytest.param(
            Battery(id="d", max_charge_kw=2.0, max_discharge_kw=3.0, capacity_kwh=1.0, initial_kwh=0.0, final_kwh=0.0),
            [-3] * 4,
            [2] * 4,
            id="battery",
        ),
        pytest.param(
            ElectricVehicle(
                id="d",
                arrival_mtu=1,
                departure_mtu=3,
                capacity_kwh=9.0,
                initial_kwh=0.0,
                required_kwh=0.0,
                max_discharge_kw=3.0,
                levels=(PowerRange(lower_kw=1.0, upper_kw=2.0),),
            ),
            [0, -3, -3, 0],
            [0, 2, 2, 0],
            id="vehicle",
        ),
        pytest.param(generator(), [-3] * 4, [0] * 4, id="generator"),
        pytest.param(generator(running=True, elapsed_mtus=1), [-3] * 4, [-1, -1, 0, 0], id="generator that stays up"),
        pytest.param(generator(elapsed_mtus=1), [0, 0, -3, -3], [0] * 4, id="generator that stays down"),
        pytest.param(pump(), [0] * 4, [0, 2, 2, 0], id="appliance"),
        pytest.param(pump(elapsed_mtus=0, min_off_mtus=2), [0] * 4, [0, 0, 2, 0], id="appliance that rests"),
        pytest.param(
            pump(running=True, elapsed_mtus=0, min_on_mtus=1), [2, 0, 0, 0], [2, 2, 2, 0], id="appliance that goes on"
        ),
        pytest.param(washer(), [0] * 4, [3, 3, 3, 0], id="programme"),
        pytest.param(
            washer(progress=Progress(phase=0, elapsed_mtus=1)), [2, 3, 0, 0], [2, 3, 0.5, 0.5], id="begun programme"
        ),
        pytest.param(heater(), [0] * 4, [2] * 4, id="thermostat"),
        pytest.param(
            heater(running=True, elapsed_mtus=0, min_on_mtus=2), [2, 2, 0, 0], [2] * 4, id="thermostat that goes on"
        ),
        pytest.param(
            heater(running=True, elapsed_mtus=0, min_on_mtus=2, modulating=True, min_kw=0.5),
            [0.5, 0.5, 0, 0],
            [2] * 4,
            id="modulating thermostat that goes on",
        ),
        pytest.param(heater(elapsed_mtus=0, min_off_mtus=3), [0] * 4, [0, 0, 0, 2], id="thermostat that rests"),
    ],
)
def test_each_kind_has_its_least_and_most(device: Device, least: list[float], most: list[float]) -> None:
    low, high = least_and_most_kw(device, HORIZON)
    assert low.tolist() == least
    assert high.tolist() == most


@pytest.mark.parametrize(
    ("device", "upper_kw", "reason"),
    [
        (washer(progress=Progress(phase=0, elapsed_mtus=1)), [9, 2.5, 9, 9], "MTU 1: at least 3.000 kW, allowed 2.500"),
        (pump(running=True, elapsed_mtus=0), [1, 9, 9, 9], "MTU 0: at least 2.000 kW, allowed 1.000"),
    ],
)
def test_what_may_not_be_interrupted_is_named_where_an_envelope_forbids_it(
    make_community: Callable[..., Community],
    make_envelope: Callable[..., Any],
    device: Device,
    upper_kw: list[float],
    reason: str,
) -> None:
    community = make_community(
        {"ann": [device]},
        import_price=[0.3] * 4,
        export_price=[0.1] * 4,
        envelopes=[make_envelope("ann", upper_kw=upper_kw)],
    )
    outcome = dispatch(community)
    assert isinstance(outcome, Infeasible)
    assert outcome.reason == f"street {reason}"
