"""What a driver's client says, and what it does as it is told."""

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration

from device_drivers.client import Answer, DriverClient
from device_drivers.runtime import DeviceRuntime
from device_drivers.setpoint import Bounds, Power, ProductionLimit
from device_drivers.simulated.battery import SimulatedBattery
from device_drivers.simulated.fault import Fault
from gridpact.v1 import driver_pb2, types_pb2
from tests.device_drivers.scripted_controller import DEVICE, ScriptedController, served, welcome


def test_connecting_tells_what_the_device_is(runtime, clock):
    controller = ScriptedController()

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            await client.close()

    asyncio.run(scenario())
    assert controller.of("descriptor") == [
        driver_pb2.Descriptor(
            device=DEVICE,
            bounds=types_pb2.PowerBounds(lower_w=0, upper_w=2000),
            failsafe=types_pb2.Failsafe(relay_closed=False),
        )
    ]
    assert controller.streams_ended == 1


@pytest.mark.parametrize(
    ("failsafe", "wanted"),
    [
        (Power(power_w=-5), types_pb2.Failsafe(power_w=-5)),
        (ProductionLimit(limit_w=0), types_pb2.Failsafe(production_limit_w=0)),
    ],
)
def test_absent_bounds_and_every_failsafe_are_spelled(relay, clock, failsafe, wanted):
    controller = ScriptedController()
    runtime = DeviceRuntime(relay, clock, Bounds(lower_w=None, upper_w=None), failsafe)

    async def scenario():
        async with served(controller) as (_, channel):
            await DriverClient(channel, DEVICE, runtime, clock).connect()

    asyncio.run(scenario())
    (descriptor,) = controller.of("descriptor")
    assert descriptor.failsafe == wanted
    assert not descriptor.bounds.HasField("lower_w")
    assert not descriptor.bounds.HasField("upper_w")


def test_command_is_followed_and_its_reports_have_arrived_after_a_sync(runtime, relay, clock, order):
    controller = ScriptedController(order())

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            answers = [await client.beat(), await client.sync()]
            heard = [(one.command_id, one.state, one.reason) for one in controller.of("report")]
            await client.close()
            return answers, heard

    answers, heard = asyncio.run(scenario())
    assert answers == [Answer.COMMAND, Answer.IDLE]
    assert heard == [
        ("c1", driver_pb2.COMMAND_STATE_VERIFIED, ""),
    ]
    assert [driver_pb2.CommandState.Name(state) for state in controller.of("report")[0].passed] == [
        "COMMAND_STATE_RECEIVED",
        "COMMAND_STATE_ACCEPTED",
        "COMMAND_STATE_STARTED",
        "COMMAND_STATE_APPLIED",
    ]
    assert controller.of("report")[0].observe_time.ToDatetime() == clock.utc().replace(tzinfo=None)
    assert relay.read().relay_closed is True


def test_telemetry_goes_before_each_heartbeat_and_counters_rise(runtime, clock, order):
    controller = ScriptedController(order())

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            for _ in range(2):
                await client.beat()
                clock.advance(30.5)
            assert await client.beat() is Answer.IDLE
            await client.close()

    asyncio.run(scenario())
    kinds = [one.WhichOneof("message") for one in controller.heard]
    beat = ["telemetry", "heartbeat"]
    assert kinds == ["descriptor", *beat, "report", *beat, *beat]
    assert [one.counter for one in controller.of("heartbeat")] == [1, 2, 3]
    first, second, third = controller.of("telemetry")
    assert (first.power_w, first.relay_closed, first.failsafe) == (0, False, True)
    assert (second.power_w, second.closed_duration.seconds, second.failsafe) == (2000, 30, False)
    # The third beat found the lease of 60 s, counted from the first, at its end.
    assert (third.power_w, third.relay_closed, third.failsafe) == (0, False, True)
    assert third.closed_duration == Duration(seconds=61)
    assert first.HasField("relay_closed")
    assert not first.HasField("stored_wh")


def test_telemetry_of_a_battery_tells_what_is_stored_and_of_no_relay(clock):
    controller = ScriptedController()
    battery = SimulatedBattery(
        capacity_wh=4000,
        max_charge_w=2000,
        max_discharge_w=2000,
        stored_wh=0,
        charge_efficiency=1,
        discharge_efficiency=1,
        clock=clock,
    )
    runtime = DeviceRuntime(battery, clock, Bounds(lower_w=-2000, upper_w=2000), Power(power_w=0))

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            await client.beat()

    asyncio.run(scenario())
    (telemetry,) = controller.of("telemetry")
    assert telemetry.HasField("stored_wh")
    assert not telemetry.HasField("relay_closed")


def test_mute_device_sends_heartbeats_without_telemetry(runtime, relay, clock, order):
    controller = ScriptedController(order())
    relay.fail(Fault.MUTE)

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            await client.beat()
            await client.sync()

    asyncio.run(scenario())
    assert controller.of("telemetry") == []
    (report,) = controller.of("report")
    assert report.state == driver_pb2.COMMAND_STATE_FAILED
    assert "MUTE" in report.reason


def test_diverging_device_is_reported(runtime, relay, clock, order):
    controller = ScriptedController(order())
    relay.fail(Fault.LYING)

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            await client.beat()
            await client.sync()

    asyncio.run(scenario())
    assert [one.state for one in controller.of("report")] == [
        driver_pb2.COMMAND_STATE_DIVERGED,
    ]


def test_sync_follows_a_renewed_lease(runtime, relay, clock, order):
    controller = ScriptedController(order(), order(sequence=2, command_id="c2"))

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            await client.beat()
            clock.advance(50)
            assert await client.sync() is Answer.COMMAND
            clock.advance(50)
            await client.beat()

    asyncio.run(scenario())
    assert relay.read().relay_closed is True
    assert [one.command_id for one in controller.of("report")] == ["c1", "c2"]


def test_epoch_of_the_welcome_fences_older_controllers(runtime, clock, order):
    controller = ScriptedController(order(), greeting=welcome(epoch=2))

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            await client.beat()
            await client.sync()

    asyncio.run(scenario())
    (report,) = controller.of("report")
    assert report.state == driver_pb2.COMMAND_STATE_REJECTED
    assert "old epoch" in report.reason
