"""A client that beats, connects again and leaves the failsafe behind."""

import asyncio
from contextlib import suppress
from random import Random

import pytest
from google.protobuf.duration_pb2 import Duration

from device_drivers.client import TICK_S, DriverClient
from device_drivers.messages import LONGEST_AWAY_S
from gridpact.v1 import driver_pb2
from tests.device_drivers.scripted_controller import (
    DEVICE,
    CrowdedController,
    PushingController,
    ScriptedController,
    idle,
    served,
)


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
    assert [one.command_id for one in controller.of("report")] == ["c1"] * 2
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


def slept_until(controller, runtime, clock, enough):
    """What a run slept, in s, until there was enough of it."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        clock.advance(seconds)
        await asyncio.sleep(0.001)  # lets the stream be read
        if enough():
            raise Weary

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock)
            with pytest.raises(Weary):
                await client.run(interval_s=3, sleep=sleep, randomness=Random(1))

    asyncio.run(scenario())
    return slept


def test_what_is_pushed_is_followed_at_once_and_reported(runtime, relay, clock, order):
    controller = PushingController(order())
    closed = []

    def enough():
        closed.append(relay.read().relay_closed)
        return bool(controller.of("report"))

    slept_until(controller, runtime, clock, enough)
    assert controller.of("descriptor")[0].accepts_pushes
    assert controller.of("report")[0].state == driver_pb2.COMMAND_STATE_VERIFIED
    assert closed[-1] is True
    assert len(controller.of("heartbeat")) == 1


def test_a_push_on_an_older_heartbeat_is_no_answer_to_a_newer(runtime, clock, order):
    """It would hide that the newer one was never heard."""
    controller = ScriptedController(idle, lambda counter: order()(counter - 1))

    async def scenario():
        async with served(controller) as (_, channel):
            client = DriverClient(channel, DEVICE, runtime, clock, patience_s=0.2)
            beats = []

            async def sleep(seconds):
                beats.append(len(controller.of("descriptor")))
                if beats[-1] > 1:
                    raise Weary

            with pytest.raises(Weary):
                await client.run(interval_s=0.01, sleep=sleep, randomness=Random(1))

    asyncio.run(scenario())
    assert len(controller.of("descriptor")) == 2


def test_a_driver_that_is_sent_away_comes_back_when_it_was_told(runtime, clock):
    def go(counter):
        return driver_pb2.ConnectResponse(come_back=driver_pb2.ComeBack(after=Duration(seconds=7)))

    controller = ScriptedController(go)
    slept = slept_until(controller, runtime, clock, lambda: len(controller.of("heartbeat")) > 1)
    assert slept[:7] == [1.0] * 7
    assert 0 <= slept[7] <= 0.5


def test_a_driver_that_is_refused_comes_back_when_it_was_told(runtime, clock):
    controller = CrowdedController(20.0, 4.0)
    slept = slept_until(controller, runtime, clock, lambda: controller.heard)
    assert 24 <= sum(slept) <= 26


def test_no_controller_keeps_a_driver_away_for_long(runtime, clock):
    controller = CrowdedController(10.0**6)
    slept = slept_until(controller, runtime, clock, lambda: controller.heard)
    assert LONGEST_AWAY_S <= sum(slept) <= LONGEST_AWAY_S + 2


def test_the_welcome_tells_how_often_to_beat(runtime, clock):
    intervals = {"heartbeat_interval": Duration(seconds=2), "heartbeat_phase": Duration(seconds=1)}
    greeting = driver_pb2.ConnectResponse(welcome=driver_pb2.Welcome(epoch=1, **intervals))
    controller = ScriptedController(greeting=greeting)
    slept = slept_until(controller, runtime, clock, lambda: len(controller.of("heartbeat")) == 4)
    assert sum(slept[:5]) == 5.0
    assert len(slept) == 6
