import pytest

from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, RelayState
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.generator import SimulatedGenerator


@pytest.fixture
def generator(clock: SimulatedClock) -> SimulatedGenerator:
    return SimulatedGenerator(min_w=1000, max_w=4000, clock=clock)


def test_it_produces_what_it_is_told(generator: SimulatedGenerator, clock: SimulatedClock) -> None:
    for power_w in (0, -1000, -4000):
        generator.apply(Power(power_w=power_w))
        assert generator.read().power_w == power_w
        clock.advance(3600)
    assert generator.energy_wh() == pytest.approx(-5000)
    assert generator.read().held_s == 7200


@pytest.mark.parametrize(
    "target", [Power(power_w=-999), Power(power_w=-4001), Power(power_w=1), RelayState(closed=True)]
)
def test_what_it_cannot_do_it_refuses(generator: SimulatedGenerator, target: Power | RelayState) -> None:
    with pytest.raises(DeviceError, match="simulated generator"):
        generator.apply(target)


@pytest.mark.parametrize(("min_w", "max_w"), [(-1, 10), (11, 10)])
def test_limits_in_the_wrong_order_are_refused(min_w: int, max_w: int, clock: SimulatedClock) -> None:
    with pytest.raises(InvalidValueError, match="generator"):
        SimulatedGenerator(min_w=min_w, max_w=max_w, clock=clock)
