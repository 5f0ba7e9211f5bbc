from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from device_drivers.runtime import DeviceRuntime
from device_drivers.setpoint import Bounds, Command, RelayState, Setpoint, Target
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.relay import SimulatedRelay
from gridpact.v1 import driver_pb2, types_pb2


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def relay(clock: SimulatedClock) -> SimulatedRelay:
    return SimulatedRelay(2000, clock)


@pytest.fixture
def runtime(relay: SimulatedRelay, clock: SimulatedClock) -> DeviceRuntime:
    """The relay's, which it leaves open where nobody says anything."""
    return DeviceRuntime(relay, clock, Bounds(lower_w=0, upper_w=2000), RelayState(closed=False))


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


@pytest.fixture
def make_message(clock: SimulatedClock) -> Callable[..., driver_pb2.Command]:
    """A command to close the relay for the hour from now, in answer to a heartbeat."""

    def make(counter, *, sequence=1, command_id="c1"):
        start = Timestamp()
        start.FromDatetime(clock.utc())
        return driver_pb2.Command(
            command_id=command_id,
            window="microgrids/m/windows/w",
            lease=types_pb2.Lease(epoch=1, sequence=sequence, heartbeat_counter=counter, ttl=Duration(seconds=60)),
            setpoints=[
                driver_pb2.Setpoint(
                    interval=types_pb2.Interval(start_time=start, end_time=Timestamp(seconds=start.seconds + 3600)),
                    relay_closed=True,
                )
            ],
        )

    return make


@pytest.fixture
def order(
    make_message: Callable[..., driver_pb2.Command],
) -> Callable[..., Callable[[int], driver_pb2.ConnectResponse]]:
    """An answer for a script: a command, changed before it is sent."""

    def make(change=lambda message: None, **fields):
        def answer(counter):
            message = make_message(counter, **fields)
            change(message)
            return driver_pb2.ConnectResponse(command=message)

        return answer

    return make
