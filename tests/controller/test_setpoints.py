import numpy as np
import pytest

from controller.flexibility import Generator, Phase, Plant, Programme, Relay, Thermostat
from controller.microgrid import SetpointKind
from controller.setpoints import told
from optimization import devices as models
from optimization.errors import ProblemError
from tests.controller.flexibility_cases import vehicle

VEHICLE = vehicle(0, 1)
CAR = models.ElectricVehicle(
    id="bob/car",
    arrival_mtu=0,
    departure_mtu=1,
    capacity_kwh=1.0,
    initial_kwh=0.0,
    required_kwh=0.0,
    levels=(models.PowerRange(lower_kw=1.38, upper_kw=3.68), models.PowerRange(lower_kw=4.14, upper_kw=11.04)),
    max_discharge_kw=3.0,
)


def of(device, flexibility, *power_kw, up=False):
    power = np.array(power_kw)
    watts, kind, values = told(device, flexibility, power, up=np.full(power.size, up))
    return list(watts), kind, list(values)


class TestVehicle:
    @pytest.mark.parametrize("up", [False, True])
    @pytest.mark.parametrize(
        ("power_kw", "watts"),
        [
            (0.0, 0),
            (1e-7, 0),  # a solver's tolerance, not a charging power
            (-1e-7, 0),
            (1.38 - 1e-8, 1380),
            (3.68 + 1e-8, 3680),
            (4.14 - 1e-8, 4140),
            (11.04 + 1e-8, 11_040),
            (-3.0, -3000),
        ],
    )
    def test_rounding_never_leaves_the_levels(self, power_kw, watts, up):
        assert of(CAR, VEHICLE, power_kw, up=up) == ([watts], SetpointKind.POWER, [watts])

    def test_inside_a_level_it_goes_to_the_side_with_more_room(self):
        assert of(CAR, VEHICLE, 2.0004, -1.0004)[0] == [2000, -1001]
        assert of(CAR, VEHICLE, 2.0004, -1.0004, up=True)[0] == [2001, -1000]


def test_a_generator_stands_still_or_produces_within_its_limits():
    model = models.Generator(id="eve/generator", min_kw=1.0, max_kw=4.0)
    flexibility = Generator(min_w=1000, max_w=4000)
    for up in (False, True):
        found = of(model, flexibility, 0.0, -1e-7, -1.0 + 1e-8, -4.0 - 1e-8, up=up)
        assert found == ([0, 0, -1000, -4000], SetpointKind.POWER, [0, 0, -1000, -4000])


def thermostat(**values):
    series = dict.fromkeys(("performance", "ambient_c", "draw_kw", "lower_c", "upper_c"), np.ones(3))
    model = models.Thermostatic(
        id="bob/boiler",
        rated_kw=2.0,
        heat_capacity_kwh_per_k=1.0,
        loss_kw_per_k=0.0,
        initial_c=20.0,
        modulating=values.get("modulating", False),
        min_kw=values.get("min_w", 0) / 1000,
        **series,
    )
    numbers = dict.fromkeys(
        (
            "heat_capacity_wh_per_k",
            "loss_milli_w_per_k",
            "performance_ppm",
            "ambient_milli_c",
            "temperature_milli_c",
            "lower_milli_c",
            "upper_milli_c",
        ),
        1,
    )
    return model, Thermostat(rated_w=2000, **numbers | values)


def test_a_thermostat_that_is_on_or_off_is_told_by_its_relay():
    assert of(*thermostat(), 2.0, 1e-7, 0.0) == ([2000, 0, 0], SetpointKind.RELAY, [1, 0, 0])


def test_one_that_modulates_is_told_its_power():
    found = of(*thermostat(modulating=True, min_w=800), 0.8 - 1e-8, 1.5, 1e-7, up=False)
    assert found == ([800, 1500, 0], SetpointKind.POWER, [800, 1500, 0])


def test_a_programmes_relay_is_closed_while_a_phase_runs():
    model = models.Programme(
        id="ada/washer", phases=(models.Phase(power_kw=[2.0]), models.Phase(power_kw=[0.001])), first_mtu=0, end_mtu=4
    )
    flexibility = Programme(phases=(Phase(power_w=(2000,)), Phase(power_w=(1,))), start=0, end=1)
    assert of(model, flexibility, 0.0, 2.0, 0.0, 0.001) == ([0, 2000, 0, 1], SetpointKind.RELAY, [0, 1, 0, 1])


def test_one_that_is_left_out_is_told_so():
    flexibility = Programme(phases=(Phase(power_w=(2000,)),), start=0, end=1)
    model = models.FixedLoad(id="ada/washer", power_kw=[0.0, 0.0])
    assert of(model, flexibility, 0.0, 0.0) == ([0, 0], SetpointKind.RELAY, [0, 0])


def test_a_plant_is_limited_only_where_it_is_curtailed():
    model = models.Curtailable(id="ada/pv", available_kw=[3.0, 3.0])
    assert of(model, Plant(rated_w=4000), -3.0, -1.0) == ([-3000, -1000], SetpointKind.PRODUCTION_LIMIT, [4000, 1000])


def test_a_device_that_was_dispatched_as_something_else_is_an_error():
    with pytest.raises(ProblemError, match="got a Curtailable, wanted what a Relay"):
        of(models.Curtailable(id="x", available_kw=[1.0]), Relay(rated_w=1, start=0, end=1, required_s=0), 0.0)
