"""A client that beats, connects again and leaves the failsafe behind."""

import asyncio
from contextlib import suppress
from random import Random

import pytest

from device_drivers.client import TICK_S, DriverClient
from tests.device_drivers.scripted_controller import DEVICE, ScriptedController, idle, served


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
