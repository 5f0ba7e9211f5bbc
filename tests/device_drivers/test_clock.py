import time
from datetime import UTC, datetime, timedelta

import pytest

from device_drivers.clock import BoottimeClock
from device_drivers.errors import InvalidValueError
from device_drivers.simulated.clock import SimulatedClock


def test_machine_clock_never_goes_back():
    clock = BoottimeClock()
    assert clock.now() <= clock.now()


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux counts suspension")
def test_machine_clock_counts_suspension():
    earlier, later = time.clock_gettime(time.CLOCK_BOOTTIME), BoottimeClock().now()
    assert earlier <= later <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_machine_clock_falls_back_to_monotonic(monkeypatch):
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert time.monotonic() <= BoottimeClock().now() <= time.monotonic()


def test_machine_clock_tells_aware_utc():
    assert BoottimeClock().utc().utcoffset() == timedelta(0)


def test_simulated_clock_moves_only_when_told(clock):
    noon = clock.utc()
    assert (clock.now(), clock.now()) == (0.0, 0.0)

    clock.advance(90)

    assert clock.now() == 90.0
    assert clock.utc() == noon + timedelta(seconds=90)


def test_setting_the_time_of_day_lets_no_time_pass(clock):
    clock.advance(90)
    clock.set_utc(datetime(2020, 1, 1, tzinfo=UTC))

    assert clock.now() == 90.0
    assert clock.utc() == datetime(2020, 1, 1, tzinfo=UTC)


def test_simulated_clock_refuses_to_go_back(clock):
    for seconds in (-1, float("nan")):
        with pytest.raises(InvalidValueError, match="wanted 0 or more"):
            clock.advance(seconds)


def test_simulated_clock_wants_utc():
    with pytest.raises(InvalidValueError, match="wanted UTC"):
        SimulatedClock(datetime(2026, 3, 1))
