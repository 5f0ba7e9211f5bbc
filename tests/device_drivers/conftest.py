from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from device_drivers.setpoint import Command, RelayState, Setpoint, Target
from device_drivers.simulated.clock import SimulatedClock


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def make_command(clock: SimulatedClock) -> Callable[..., Command]:
    """A command for the hour that begins now, in answer to the first heartbeat, unless told otherwise."""

    closed = RelayState(closed=True)

    def make(target: Target = closed, **changes) -> Command:
        hour = Setpoint(start=clock.utc(), end=clock.utc() + timedelta(hours=1), target=target)
        fields = {
            "command_id": "c1",
            "window": "microgrids/m/windows/w",
            "epoch": 1,
            "sequence": 1,
            "heartbeat_counter": 1,
            "ttl_s": 60.0,
            "setpoints": (hour,),
        }
        return Command(**(fields | changes))

    return make
