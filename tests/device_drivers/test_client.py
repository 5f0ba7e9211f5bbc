import asyncio
from contextlib import asynccontextmanager, suppress
from random import Random

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from device_drivers.client import CHANNEL_OPTIONS, TICK_S, Answer, DriverClient, read_command
from device_drivers.errors import DriverError, LinkLost
from device_drivers.refusal import Refused
from device_drivers.runtime import DeviceRuntime
from device_drivers.setpoint import Bounds, Command, Power, ProductionLimit, RelayState, Setpoint
from device_drivers.simulated.battery import SimulatedBattery
from device_drivers.simulated.fault import Fault
from device_drivers.simulated.relay import SimulatedRelay
from gridpact.v1 import driver_pb2, driver_pb2_grpc, types_pb2

DEVICE = "microgrids/m/members/a/devices/relay"
OPEN = RelayState(closed=False)


def welcome(epoch=1):
    return driver_pb2.ConnectResponse(welcome=driver_pb2.Welcome(epoch=epoch))


WELCOME = welcome()


def idle(counter):
    return driver_pb2.ConnectResponse(idle=driver_pb2.Idle(heartbeat_counter=counter))


class ScriptedController(driver_pb2_grpc.DriverServiceServicer):
    """Answers heartbeats by a script, idle once it is through; an answer of None ends the stream."""

    def __init__(self, *script, greeting=WELCOME):
        self.script = list(script)
        self.greeting = greeting
        self.heard = []
        self.streams_ended = 0

    async def Connect(self, request_iterator, context):  # noqa: N802
        async for request in request_iterator:
            self.heard.append(request)
            kind = request.WhichOneof("message")
            if kind == "descriptor":
                yield self.greeting
            elif kind == "heartbeat":
                answer = self.script.pop(0) if self.script else idle
                response = answer(request.heartbeat.counter) if answer is not None else None
                if response is None:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
                yield response
        self.streams_ended += 1

    def of(self, kind):
        return [getattr(one, kind) for one in self.heard if one.WhichOneof("message") == kind]


class SilentController(ScriptedController):
    """Welcomes, and hears heartbeats without a word."""

    async def Connect(self, request_iterator, context):  # noqa: N802
        self.asked = asyncio.Event()
        async for request in request_iterator:
            if request.WhichOneof("message") == "descriptor":
                yield self.greeting
            if request.WhichOneof("message") == "heartbeat":
                self.asked.set()


@asynccontextmanager
async def served(controller):
    """The controller's server and a channel to it, over the loopback interface."""
    server = grpc.aio.server()
    driver_pb2_grpc.add_DriverServiceServicer_to_server(controller, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
            yield server, channel
    finally:
        await server.stop(None)


@pytest.fixture
def relay(clock):
    return SimulatedRelay(2000, clock)


@pytest.fixture
def runtime(relay, clock):
    return DeviceRuntime(relay, clock, Bounds(lower_w=0, upper_w=2000), OPEN)


@pytest.fixture
def make_message(clock):
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
def order(make_message):
    """An answer for a script: a command, changed before it is sent."""

    def make(change=lambda message: None, **fields):
        def answer(counter):
            message = make_message(counter, **fields)
            change(message)
            return driver_pb2.ConnectResponse(command=message)

        return answer

    return make


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
        ("c1", driver_pb2.COMMAND_STATE_APPLIED, ""),
        ("c1", driver_pb2.COMMAND_STATE_VERIFIED, ""),
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
    assert kinds == ["descriptor", *beat, "report", "report", *beat, *beat]
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
    assert report.state == driver_pb2.COMMAND_STATE_REJECTED
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
        driver_pb2.COMMAND_STATE_APPLIED,
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
    assert [one.command_id for one in controller.of("report")] == ["c1", "c1", "c2", "c2"]


def test_vanished_server_is_a_lost_link_and_the_lease_runs_out(runtime, relay, clock, order):
    controller = ScriptedController(order())

    async def scenario():
        async with served(controller) as (server, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            await client.beat()
            await server.stop(None)
            clock.advance(30)
            with pytest.raises(LinkLost, match=DEVICE):
                await client.beat()
            with pytest.raises(LinkLost, match="not connected"):
                await client.sync()
            with pytest.raises(LinkLost, match="UNAVAILABLE"):
                await client.connect()
            await client.close()

    asyncio.run(scenario())
    assert issubclass(LinkLost, DriverError)
    runtime.tick()
    assert relay.read().relay_closed is True
    clock.advance(30)
    runtime.tick()
    assert relay.read().relay_closed is False
    assert runtime.failsafe_active


def test_stream_that_the_controller_ends_is_a_lost_link_and_can_be_opened_again(runtime, clock, order):
    controller = ScriptedController(None, order())

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            with pytest.raises(LinkLost, match="UNAVAILABLE: going away"):
                await client.beat()
            await client.connect()
            assert await client.beat() is Answer.COMMAND
            await client.close()

    asyncio.run(scenario())
    # The counter goes on, so that an answer out of the first stream can pass for none in the second.
    assert [one.counter for one in controller.of("heartbeat")] == [1, 2]


def test_silent_controller_is_a_lost_link(runtime, clock):
    async def scenario():
        async with served(SilentController()) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock, patience_s=0.05)
            await client.connect()
            with pytest.raises(LinkLost, match=r"silent for 0\.05 s"):
                await client.beat()

    asyncio.run(scenario())


def test_closed_channel_is_a_lost_link(runtime, clock):
    controller = SilentController()

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            beat = asyncio.ensure_future(client.beat())
            await controller.asked.wait()
            await channel.close()
            with pytest.raises(LinkLost, match="the channel was closed"):
                await beat

    asyncio.run(scenario())


@pytest.mark.parametrize("greeting", [idle(0), driver_pb2.ConnectResponse()])
def test_anything_but_a_welcome_is_a_lost_link(runtime, clock, greeting):
    async def scenario():
        async with served(ScriptedController(greeting=greeting)) as (_, channel):
            with pytest.raises(LinkLost, match="wanted a welcome"):
                await DriverClient(channel, DEVICE, runtime, clock).connect()

    asyncio.run(scenario())


def test_answer_that_is_none_is_a_lost_link(runtime, clock):
    async def scenario():
        async with served(ScriptedController(lambda counter: welcome())) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            await client.connect()
            with pytest.raises(LinkLost, match="got welcome, wanted a command or an idle answer"):
                await client.beat()

    asyncio.run(scenario())


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


class Weary(Exception):  # noqa: N818
    """Ends a run."""


def test_run_beats_and_connects_again(runtime, relay, clock, order):
    controller = ScriptedController(order(), idle, None, order(sequence=2))
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        clock.advance(seconds)
        if len(controller.of("heartbeat")) >= 5:
            raise Weary

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            with pytest.raises(Weary):
                await client.run(interval_s=2.5, sleep=sleep, randomness=Random(1))

    asyncio.run(scenario())
    assert len(controller.of("descriptor")) == 2
    assert [one.command_id for one in controller.of("report")] == ["c1"] * 4
    assert max(slept) <= TICK_S
    # Two pauses of 2.5 s before the stream ended, and one wait of half a second to a second after.
    assert slept[:6] == [1.0, 1.0, 0.5] * 2
    assert 0.5 <= slept[6] < 1.0
    # A driver that stops leaves the failsafe behind, whatever the lease.
    assert relay.read().relay_closed is False


def test_run_waits_no_longer_for_a_link_that_was_good_in_between(runtime, clock):
    controller = ScriptedController(*[idle, None] * 5)
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        if not controller.script:
            raise Weary

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            with pytest.raises(Weary):
                await client.run(interval_s=0.25, sleep=sleep, randomness=Random(1))

    asyncio.run(scenario())
    assert slept[::2] == [0.25] * 5
    assert len(slept) == 10
    assert all(0.5 <= wait <= 1.0 for wait in slept[1::2])


def test_run_keeps_the_lease_and_then_the_failsafe_while_disconnected(runtime, relay, clock, order):
    controller = ScriptedController(order())
    switched = []

    async def scenario():
        async with served(controller) as (server, channel):

            async def sleep(seconds):
                await server.stop(None)
                clock.advance(seconds)
                switched.append((clock.now(), relay.read().relay_closed))
                if clock.now() > 200:
                    raise Weary

            client = DriverClient(channel, DEVICE, runtime, clock)
            with pytest.raises(Weary):
                await client.run(interval_s=5, sleep=sleep, randomness=Random(1))

    asyncio.run(scenario())
    # The runtime ticks right after each sleep, so that the relay opens within a second of the lease's end.
    assert all(closed for now, closed in switched if now <= 60)
    assert not any(closed for now, closed in switched if now > 60 + TICK_S)


def test_run_that_is_cancelled_leaves_the_failsafe(runtime, relay, clock, order):
    async def scenario():
        commanded = asyncio.Event()

        def notice(counter):
            commanded.set()
            return idle(counter)

        async with served(ScriptedController(order(), notice)) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            running = asyncio.ensure_future(client.run(interval_s=0.001))
            await commanded.wait()
            assert relay.read().relay_closed is True
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    asyncio.run(scenario())
    assert relay.read().relay_closed is False
