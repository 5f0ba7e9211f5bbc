import pytest

from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, RelayState
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.cycle import SimulatedCycle


@pytest.fixture
def washer(clock: SimulatedClock) -> SimulatedCycle:
    return SimulatedCycle((2000, 400), 900, clock)


def test_it_goes_through_its_profile_while_the_relay_is_closed(washer: SimulatedCycle, clock: SimulatedClock) -> None:
    seen = []
    for closed in (False, True, False, True, True):
        washer.apply(RelayState(closed=closed))
        seen.append(washer.read().power_w)
        clock.advance(900)
    assert seen == [0, 2000, 0, 400, 0]
    assert washer.energy_wh() == pytest.approx(600)


def test_half_a_step_takes_half_its_energy(washer: SimulatedCycle, clock: SimulatedClock) -> None:
    washer.apply(RelayState(closed=True))
    clock.advance(1350)
    assert washer.energy_wh() == pytest.approx(550)
    assert washer.closed_s() == 1350


def test_it_says_for_how_long_it_has_been_as_it_is(washer: SimulatedCycle, clock: SimulatedClock) -> None:
    clock.advance(100)
    assert (washer.read().held_s, washer.read().relay_closed, washer.read().closed_s) == (100, False, 0)
    washer.apply(RelayState(closed=True))
    clock.advance(60)
    washer.apply(RelayState(closed=True))
    clock.advance(60)
    assert (washer.read().held_s, washer.read().relay_closed, washer.read().closed_s) == (120, True, 120)


def test_it_has_a_relay_and_no_power_to_choose(washer: SimulatedCycle) -> None:
    with pytest.raises(DeviceError, match="wanted a state of the relay"):
        washer.apply(Power(power_w=100))


@pytest.mark.parametrize(("profile_w", "step_s"), [((), 900), ((-1,), 900), ((1,), 0)])
def test_a_profile_that_is_none_is_refused(profile_w: tuple[int, ...], step_s: int, clock: SimulatedClock) -> None:
    with pytest.raises(InvalidValueError, match="profile"):
        SimulatedCycle(profile_w, step_s, clock)
