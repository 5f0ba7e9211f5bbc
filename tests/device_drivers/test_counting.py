import asyncio

import pytest

from device_drivers.connection import Capabilities
from device_drivers.counting import GAP_S, ClosedTime, CountedConnection
from device_drivers.device import Reading
from device_drivers.setpoint import RelayState


class Relay:
    """A relay that does not count."""

    capabilities = Capabilities(targets=frozenset({RelayState}), timer=None, measures_power=False, reads_state=True)

    def __init__(self):
        self.closed = False
        self.counts = None
        self.told = []
        self.open = True

    async def apply(self, target, *, revert_after_s):
        self.told.append((target, revert_after_s))
        self.closed = target.closed

    async def read(self):
        return Reading(power_w=None, relay_closed=self.closed, closed_s=self.counts, stored_wh=None)

    async def aclose(self):
        self.open = False


@pytest.fixture
def relay():
    return Relay()


def read(connection):
    return asyncio.run(connection.read()).closed_s


def test_time_counts_while_the_relay_is_closed_and_outlives_the_driver(relay, clock, tmp_path):
    connection = CountedConnection(relay, ClosedTime(tmp_path / "closed", "m/boiler", clock))
    assert read(connection) == 0
    clock.advance(100)
    asyncio.run(connection.apply(RelayState(closed=True), revert_after_s=60))
    assert relay.told == [(RelayState(closed=True), 60)]
    assert read(connection) == 0
    for _ in range(3):
        clock.advance(1.5)
        counted = read(connection)
    assert counted == 4
    relay.closed = False
    clock.advance(1)
    assert read(connection) == 5
    clock.advance(1000)
    assert read(connection) == 5
    asyncio.run(connection.aclose())
    assert not relay.open
    relay.closed = True
    again = CountedConnection(relay, ClosedTime(tmp_path / "closed", "m/boiler", clock))
    assert read(again) == 5


def test_a_driver_that_is_killed_forgets_little(relay, clock, tmp_path):
    relay.closed = True
    connection = CountedConnection(relay, ClosedTime(tmp_path, "boiler", clock))
    for _ in range(100):
        read(connection)
        clock.advance(1)
    assert read(CountedConnection(relay, ClosedTime(tmp_path, "boiler", clock))) == 90


@pytest.mark.parametrize(("closed_after", "counted"), [(True, 2 * GAP_S), (False, 0)])
def test_a_long_silence_counts_only_between_two_readings_that_say_closed(relay, clock, tmp_path, closed_after, counted):
    relay.closed = True
    connection = CountedConnection(relay, ClosedTime(tmp_path, "boiler", clock))
    read(connection)
    clock.advance(2 * GAP_S)
    relay.closed = closed_after
    assert read(connection) == counted


def test_what_the_device_counts_itself_goes_before(relay, clock, tmp_path):
    relay.closed, relay.counts = True, 77
    connection = CountedConnection(relay, ClosedTime(tmp_path, "boiler", clock))
    clock.advance(10)
    assert read(connection) == 77
    relay.closed, relay.counts = None, None
    assert read(connection) is None


@pytest.mark.parametrize("kept", ["", "{}", "[]", '{"closed_s": "x"}', '{"closed_s": -1}', '{"closed_s": NaN}', "\x00"])
def test_what_cannot_be_used_counts_from_nothing(relay, clock, tmp_path, kept, caplog):
    (tmp_path / "boiler.json").write_text(kept, encoding="utf-8")
    assert read(CountedConnection(relay, ClosedTime(tmp_path, "boiler", clock))) == 0
    assert "counting from 0" in caplog.text


def test_a_disk_that_takes_nothing_stops_no_counting(relay, clock, tmp_path, caplog):
    (tmp_path / "closed").write_text("", encoding="utf-8")
    relay.closed = True
    connection = CountedConnection(relay, ClosedTime(tmp_path / "closed", "boiler", clock))
    read(connection)
    clock.advance(50)
    assert read(connection) == 50
    asyncio.run(connection.aclose())
    assert "cannot be kept" in caplog.text
