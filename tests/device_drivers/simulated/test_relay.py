import pytest

from device_drivers.device import Reading
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, ProductionLimit, RelayState
from device_drivers.simulated.fault import Fault
from device_drivers.simulated.relay import SimulatedRelay

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)


@pytest.fixture
def relay(clock):
    return SimulatedRelay(1500, clock)


def test_relay_is_open_at_first(relay, clock):
    clock.advance(3600)
    assert relay.read() == Reading(power_w=0, relay_closed=False, closed_s=0, stored_wh=None)
    assert relay.energy_wh() == 0


def test_closed_time_and_energy_add_up(relay, clock):
    for seconds in (600.25, 300.5):
        relay.apply(CLOSED)
        clock.advance(seconds)
        relay.apply(OPEN)
        clock.advance(1000)

    assert relay.closed_s() == 900.75
    assert relay.read() == Reading(power_w=0, relay_closed=False, closed_s=900, stored_wh=None)
    assert relay.energy_wh() == 1500 * 900.75 / 3600


def test_looking_changes_nothing(relay, clock):
    relay.apply(CLOSED)
    for _ in range(900):
        clock.advance(1)
        relay.read()
    assert relay.energy_wh() == 375
    assert relay.read().power_w == 1500


@pytest.mark.parametrize("target", [Power(power_w=1500), ProductionLimit(limit_w=0)])
def test_relay_takes_nothing_but_its_state(relay, target):
    with pytest.raises(DeviceError, match="wanted a state of the relay"):
        relay.apply(target)


def test_mute_relay_answers_nothing_and_goes_on(relay, clock):
    relay.apply(CLOSED)
    relay.fail(Fault.MUTE)
    with pytest.raises(DeviceError, match="MUTE"):
        relay.apply(OPEN)
    with pytest.raises(DeviceError, match="MUTE"):
        relay.read()
    clock.advance(3600)
    assert relay.energy_wh() == 1500

    relay.fail(None)
    assert relay.read().closed_s == 3600


def test_refusing_relay_can_be_read(relay):
    relay.fail(Fault.REFUSING)
    with pytest.raises(DeviceError, match="REFUSING"):
        relay.apply(CLOSED)
    assert relay.read().relay_closed is False


def test_lying_relay_does_not_switch(relay, clock):
    relay.fail(Fault.LYING)
    relay.apply(CLOSED)
    clock.advance(3600)
    assert relay.read().relay_closed is False
    assert relay.energy_wh() == 0


def test_rated_power_is_not_negative(clock):
    with pytest.raises(InvalidValueError, match="got -1 W"):
        SimulatedRelay(-1, clock)
