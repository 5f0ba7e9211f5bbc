"""Links that are lost, and what a driver's client does then."""

import asyncio

import pytest

from device_drivers.client import Answer, DriverClient
from device_drivers.errors import DriverError, LinkLost
from gridpact.v1 import driver_pb2
from tests.device_drivers.scripted_controller import DEVICE, ScriptedController, SilentController, idle, served, welcome


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
