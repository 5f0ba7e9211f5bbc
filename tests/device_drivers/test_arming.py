import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_drivers.arming import Arming
from device_drivers.clock import BoottimeClock
from device_drivers.connection import Timer
from device_drivers.errors import DeviceError


class SlowDevice:
    """A timer that takes its time to be set, and runs from the end of that."""

    def __init__(self, takes_s):
        self.now_s = 0.0
        self.ends_at = None
        self._takes_s = iter(takes_s)

    async def set(self, seconds):
        self.now_s += next(self._takes_s, 0.0)
        self.ends_at = self.now_s + seconds


@given(
    st.lists(st.floats(0, 5), max_size=6),
    st.lists(st.floats(0.1, 100), min_size=1, max_size=6),
    st.sampled_from([0.1, 1.0, 5.0]),
)
def test_a_timer_never_ends_after_its_lease_however_slow_the_device(takes_s, leases_s, resolution_s):
    device = SlowDevice(takes_s)
    arming = Arming(Timer(shortest_s=0.1, longest_s=60, resolution_s=resolution_s), lambda: device.now_s)
    for lease_s in leases_s:
        deadline = device.now_s + lease_s
        try:
            asyncio.run(arming.arm(lease_s, device.set))
        except DeviceError:
            continue
        assert device.ends_at <= deadline


def test_a_steady_device_is_asked_once_and_loses_little():
    device = SlowDevice([0.3] * 9)
    arming = Arming(Timer(shortest_s=0.1, longest_s=60, resolution_s=0.1), lambda: device.now_s)
    asyncio.run(arming.arm(30, device.set))
    for _ in range(3):
        started = device.now_s
        asyncio.run(arming.arm(30, device.set))
        assert device.now_s == pytest.approx(started + 0.3)
        assert device.ends_at == pytest.approx(started + 30, abs=0.11)


def test_what_is_left_of_a_lease_may_be_too_little():
    device = SlowDevice([])
    with pytest.raises(DeviceError, match="wanted at least 5 s"):
        asyncio.run(Arming(Timer(shortest_s=5, longest_s=60, resolution_s=1)).arm(4.9, device.set))
    assert device.ends_at is None


def test_a_machine_that_slept_while_a_timer_was_set_does_not_count_on_it(monkeypatch):
    slept_s = 0.0

    async def set_timer(seconds):
        nonlocal slept_s
        slept_s = 60.0

    boottime = BoottimeClock.now
    monkeypatch.setattr(BoottimeClock, "now", lambda clock: boottime(clock) + slept_s)
    arming = Arming(Timer(shortest_s=0.1, longest_s=60, resolution_s=0.1))
    with pytest.raises(DeviceError, match=r"wanted at least 0\.1 s more"):
        asyncio.run(arming.arm(30, set_timer))
