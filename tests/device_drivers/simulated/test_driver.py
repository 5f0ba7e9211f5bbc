import asyncio
from datetime import UTC, datetime

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, ProductionLimit, RelayState
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.driver import KINDS, SimulatedDriver
from device_drivers.simulated.fault import Fault

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)
FAILSAFES = {"battery": Power(power_w=0), "generator": Power(power_w=0), "plant": ProductionLimit(limit_w=0)}


@pytest.fixture
def clock():
    return SimulatedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


def opened(clock, url, failsafe=OPEN, **options):
    address = DeviceUrl.parse(url)
    driver = SimulatedDriver(clock)
    return asyncio.run(driver.open(address, failsafe=failsafe, options={**address.query, **options}))


def test_a_relay_does_what_it_is_told_until_its_own_timer_ends(clock):
    relay = opened(clock, "simulated://relay?rated_w=1500")
    asyncio.run(relay.apply(CLOSED, revert_after_s=60.9))
    clock.advance(59)
    assert asyncio.run(relay.read()).power_w == 1500
    clock.advance(100)  # nobody looks at the instant itself: the physics have it all the same
    assert asyncio.run(relay.read()).relay_closed is False
    assert relay.device.energy_wh() == 1500 * 60 / 3600


def test_a_target_that_lasts_stops_the_timer(clock):
    relay = opened(clock, "simulated://relay")
    asyncio.run(relay.apply(CLOSED, revert_after_s=60))
    asyncio.run(relay.apply(CLOSED, revert_after_s=None))
    clock.advance(1000)
    assert asyncio.run(relay.read()).relay_closed is True


def test_one_without_a_timer_stays_as_it_is(clock):
    relay = opened(clock, "simulated://relay?timer=no")
    asyncio.run(relay.apply(CLOSED, revert_after_s=60))
    clock.advance(1000)
    assert asyncio.run(relay.read()).relay_closed is True
    assert relay.capabilities.timer is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_opens_and_reads(clock, kind):
    connection = opened(clock, f"simulated://{kind}", FAILSAFES.get(kind, OPEN))
    assert type(FAILSAFES.get(kind, OPEN)) in connection.capabilities.targets
    assert asyncio.run(connection.read()).power_w is not None


def test_a_mute_one_hangs_and_answers_again_when_the_fault_is_over(clock):
    relay = opened(clock, "simulated://relay?fault=mute&fault_after_s=10&fault_for_s=20")
    asyncio.run(relay.read())
    clock.advance(10)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(relay.read(), 0.01))
    clock.advance(20)
    assert asyncio.run(relay.read()).relay_closed is False


def test_others_refuse_lie_or_take_their_time(clock):
    relay = opened(clock, "simulated://relay?fault=refusing")
    with pytest.raises(DeviceError, match="REFUSING"):
        asyncio.run(relay.apply(CLOSED, revert_after_s=60))
    relay.fail(Fault.LYING)
    asyncio.run(relay.apply(CLOSED, revert_after_s=60))
    assert asyncio.run(relay.read()).relay_closed is False
    relay = opened(clock, "simulated://relay?fault=slow&slow_s=30")
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(relay.apply(CLOSED, revert_after_s=60), 0.01))


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("simulated://toaster", "got the kind 'toaster'"),
        ("simulated://relay/x", "wanted simulated://KIND"),
        ("simulated://relay:80", "wanted simulated://KIND"),
        ("simulated://relay?rated_w=-1", "option rated_w"),
        ("simulated://relay?capacity_wh=1", "got capacity_wh"),
        ("simulated://relay?fault=sad", "option fault"),
        ("simulated://cycle?profile_w=1,x", "option profile_w"),
        ("simulated://battery", "failsafe: got"),
    ],
)
def test_what_cannot_be_is_refused(clock, url, wrong):
    with pytest.raises(InvalidValueError, match=wrong):
        opened(clock, url)


def test_what_its_timer_could_not_take_back_is_not_switched_on(clock):
    relay = opened(clock, "simulated://relay")
    with pytest.raises(DeviceError, match=r"0\.4 s"):
        asyncio.run(relay.apply(CLOSED, revert_after_s=0.4))
    assert asyncio.run(relay.read()).relay_closed is False
    asyncio.run(relay.apply(OPEN, revert_after_s=0.4))
