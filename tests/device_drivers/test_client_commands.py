"""Commands as they are read, and those that are none."""

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from device_drivers.client import Answer, DriverClient, read_command
from device_drivers.refusal import Refused
from device_drivers.setpoint import Command, Power, ProductionLimit, RelayState, Setpoint
from gridpact.v1 import driver_pb2, types_pb2
from tests.device_drivers.scripted_controller import DEVICE, ScriptedController, served


def invert(message):
    message.setpoints[0].interval.end_time.CopyFrom(message.setpoints[0].interval.start_time)


def overlap(message):
    message.setpoints.add().CopyFrom(message.setpoints[0])


MALFORMED = {
    "no identity": (lambda message: message.ClearField("command_id"), "got no identity"),
    "no lease": (lambda message: message.ClearField("lease"), "got no lease"),
    "no time to live": (lambda message: message.lease.ClearField("ttl"), "empty lease"),
    "impossible time to live": (
        lambda message: message.lease.ttl.CopyFrom(Duration(seconds=1, nanos=-1)),
        "wanted one that protobuf allows",
    ),
    "endless time to live": (
        lambda message: message.lease.ttl.CopyFrom(Duration(seconds=2**62)),
        "wanted one that protobuf allows",
    ),
    "no target": (lambda message: message.setpoints[0].ClearField("relay_closed"), "got the target None"),
    "no interval": (lambda message: message.setpoints[0].ClearField("interval"), "got no start_time"),
    "no end": (lambda message: message.setpoints[0].interval.ClearField("end_time"), "got no end_time"),
    "inverted interval": (invert, "wanted the end later"),
    "instant out of range": (
        lambda message: message.setpoints[0].interval.end_time.CopyFrom(Timestamp(seconds=2**60)),
        "malformed command",
    ),
    "overlap": (overlap, "without overlap"),
    "negative limit": (
        lambda message: setattr(message.setpoints[0], "production_limit_w", -1),
        "got -1 W, wanted 0 or more",
    ),
}


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_command_is_rejected_and_the_running_lease_stays(runtime, relay, clock, order, case):
    change, reason = case
    controller = ScriptedController(order(), order(change, sequence=2, command_id="c2"))

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            await client.beat()
            assert await client.beat() is Answer.COMMAND
            await client.sync()
            await client.close()

    asyncio.run(scenario())
    report = controller.of("report")[-1]
    assert report.state == driver_pb2.COMMAND_STATE_REJECTED
    assert report.command_id in {"c2", ""}
    assert reason in report.reason
    assert relay.read().relay_closed is True


def test_command_is_read_as_it_was_meant(make_message, clock):
    message = make_message(7, sequence=9)
    message.lease.ttl.CopyFrom(Duration(seconds=2, nanos=500_000_000))
    for target in ({"power_w": -300}, {"production_limit_w": 0}):
        last = message.setpoints[-1].interval.end_time
        interval = types_pb2.Interval(start_time=last, end_time=Timestamp(seconds=last.seconds + 900))
        message.setpoints.append(driver_pb2.Setpoint(interval=interval, **target))

    command = read_command(message)

    assert isinstance(command, Command)
    assert (command.epoch, command.sequence, command.heartbeat_counter, command.ttl_s) == (1, 9, 7, 2.5)
    assert (command.command_id, command.window) == ("c1", "microgrids/m/windows/w")
    assert [setpoint.target for setpoint in command.setpoints] == [
        RelayState(closed=True),
        Power(power_w=-300),
        ProductionLimit(limit_w=0),
    ]
    assert isinstance(command.setpoints[0], Setpoint)
    assert command.setpoints[0].start == clock.utc()


def test_random_bytes_are_no_command():
    assert read_command(driver_pb2.Command()) == Refused(reason="command: got no identity, wanted one")
