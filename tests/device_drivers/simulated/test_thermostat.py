import math

import pytest

from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, ProductionLimit, RelayState
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.thermostat import SimulatedThermostat


def make(clock: SimulatedClock, **changes: float) -> SimulatedThermostat:
    values = {
        "rated_w": 2000,
        "heat_capacity_wh_per_k": 100.0,
        "loss_w_per_k": 0.0,
        "performance": 1.0,
        "ambient_c": 20.0,
        "temperature_c": 50.0,
    }
    return SimulatedThermostat(**values | changes, clock=clock)  # type: ignore[arg-type]


def test_what_it_takes_warms_it_and_what_is_drawn_cools_it(clock: SimulatedClock) -> None:
    tank = make(clock)
    tank.apply(RelayState(closed=True))
    clock.advance(1800)
    assert tank.temperature_c() == pytest.approx(60.0)
    tank.draw(2500)
    clock.advance(3600)
    assert tank.temperature_c() == pytest.approx(55.0)
    assert tank.energy_wh() == pytest.approx(3000)


def test_a_negative_performance_cools(clock: SimulatedClock) -> None:
    fridge = make(clock, performance=-2.0, temperature_c=5.0)
    fridge.apply(Power(power_w=100))
    clock.advance(3600)
    assert fridge.temperature_c() == pytest.approx(3.0)


def test_at_rest_it_nears_its_surroundings_by_the_same_part_in_equal_times(clock: SimulatedClock) -> None:
    tank = make(clock, loss_w_per_k=10.0)
    for hours in (1, 2, 3):
        clock.advance(3600)
        assert tank.temperature_c() == pytest.approx(20.0 + 30.0 * math.exp(-0.1 * hours))


def test_it_says_how_warm_it_is_and_how_long_it_has_been_on(clock: SimulatedClock) -> None:
    tank = make(clock)
    tank.apply(Power(power_w=1000))
    clock.advance(360)
    tank.apply(Power(power_w=500))
    clock.advance(360)
    reading = tank.read()
    assert (reading.temperature_milli_c, reading.power_w, reading.relay_closed) == (51_500, 500, True)
    assert (reading.held_s, reading.closed_s) == (720, 720)
    tank.apply(RelayState(closed=False))
    assert (tank.read().held_s, tank.read().closed_s, tank.read().relay_closed) == (0, 720, False)


@pytest.mark.parametrize("target", [Power(power_w=-1), Power(power_w=2001), ProductionLimit(limit_w=0)])
def test_what_it_cannot_do_it_refuses(clock: SimulatedClock, target: Power | ProductionLimit) -> None:
    with pytest.raises(DeviceError, match="simulated thermostat"):
        make(clock).apply(target)


@pytest.mark.parametrize("change", [{"rated_w": -1}, {"heat_capacity_wh_per_k": 0.0}, {"loss_w_per_k": -0.1}])
def test_numbers_out_of_range_are_refused(clock: SimulatedClock, change: dict[str, float]) -> None:
    with pytest.raises(InvalidValueError, match="thermostat"):
        make(clock, **change)
