import time

import pytest

from controller.clock import SystemClock, VirtualClock


def test_a_virtual_clock_stands_still_until_it_is_set():
    clock = VirtualClock(100.0)
    assert (clock.now(), clock.now()) == (100.0, 100.0)
    clock.set(100.5)
    clock.set(100.5)
    assert clock.now() == 100.5


def test_it_never_goes_back():
    clock = VirtualClock(100.0)
    with pytest.raises(ValueError, match=r"got 99\.9, wanted no earlier than 100\.0"):
        clock.set(99.9)
    assert clock.now() == 100.0


def test_the_system_clock_tells_unix_seconds():
    before = time.time()
    assert before <= SystemClock().now() <= time.time()
