"""The stand-in for a Tasmota plug, looked at by somebody else: HATasmota, as home automation uses it."""

import asyncio
import inspect
from contextlib import asynccontextmanager

import pytest
from aiomqtt import Client
from hatasmota.discovery import TasmotaDiscovery, get_switch_entities
from hatasmota.mqtt import ReceiveMessage, TasmotaMQTTClient
from hatasmota.relay import TasmotaRelay
from hatasmota.sensor import TasmotaSensor

from device_drivers.address import DeviceUrl
from device_drivers.mqtt.driver import MqttDriver
from device_drivers.setpoint import RelayState
from tests.device_drivers.mqtt.discovery import MAC

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)


class Oracle:
    """A plug as HATasmota has it: found by what it publishes, switched, heard.

    Parameters
    ----------
    client : aiomqtt.Client
        Connected to the broker.
    """

    def __init__(self, client):
        self.client = client
        self.mqtt = TasmotaMQTTClient(self.publish, self.subscribe, self.subscribe)
        self.callbacks = {}
        self.relay = self.meter = None
        self.heard = {"relay": None, "power_w": None, "available": None}
        self.changed = asyncio.Event()

    async def publish(self, topic, payload, qos, retain):
        await self.client.publish(topic, payload, qos or 0, bool(retain))

    async def subscribe(self, state, topics=()):
        for topic in topics and topics.values():
            self.callbacks.setdefault(topic["topic"], []).append(topic["msg_callback"])
            await self.client.subscribe(topic["topic"])
        return {}

    async def listen(self):
        async for message in self.client.messages:
            told = ReceiveMessage(str(message.topic), message.payload.decode(), message.qos, message.retain)
            for pattern, callbacks in list(self.callbacks.items()):
                if message.topic.matches(pattern):
                    for callback in callbacks:
                        result = callback(told)
                        if inspect.isawaitable(result):
                            await result

    async def found(self, config, mac):
        (switch,) = (one for one, _ in get_switch_entities(config) if one is not None)
        self.relay = TasmotaRelay(config=switch, mqtt_client=self.mqtt)
        self.relay.set_on_state_callback(lambda on: self.hear("relay", on))
        self.relay.set_on_availability_callback(self.hear_availability)
        await self.relay.subscribe_topics()

    async def found_sensors(self, sensors, mac):
        (meter,) = (one for one, _ in sensors if getattr(one, "value_path", None) == ["ENERGY", "Power"])
        self.meter = TasmotaSensor(config=meter, mqtt_client=self.mqtt)
        self.meter.set_on_state_callback(lambda value: self.hear("power_w", value))
        await self.meter.subscribe_topics()

    def hear(self, what, value):
        self.heard[what] = value
        self.changed.set()

    async def hear_availability(self, value):
        self.hear("available", value)

    async def until(self, **wanted):
        """Wait until this was heard."""
        async with asyncio.timeout(10):
            while not wanted.items() <= self.heard.items():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def looked_at(broker):
    """A plug that was found, by whoever just came."""
    async with Client("127.0.0.1", broker.port, username="plug", password="secret") as client:
        oracle = Oracle(client)
        listening = asyncio.create_task(oracle.listen())
        try:
            await TasmotaDiscovery("tasmota/discovery", oracle.mqtt).start_discovery(oracle.found, oracle.found_sensors)
            await oracle.until(available=True)
            yield oracle
        finally:
            listening.cancel()


async def opened(broker):
    address = DeviceUrl.parse(f"mqtt://plug:secret@127.0.0.1:{broker.port}/plug")
    return await MqttDriver().open(address, failsafe=OPEN, options={"timeout_s": 2.0})


@pytest.mark.slow
def test_somebody_else_finds_the_stand_in_switches_it_and_hears_what_it_does(broker, plug):
    async def look():
        driven = await opened(broker)
        async with looked_at(broker) as oracle:
            found = []
            for on in (True, False):
                await oracle.relay.set_state(on)
                await oracle.until(relay=on)
                await oracle.meter.poll_status()
                await oracle.until(power_w=1500 if on else 0)
                reading = await driven.read()
                found.append((reading.relay_closed, reading.power_w))
            await driven.aclose()
            return oracle.relay.mac, found

    assert asyncio.run(look()) == (MAC, [(True, 1500), (False, 0)])


@pytest.mark.slow
def test_somebody_else_hears_what_the_driver_does_and_that_the_plug_opens_by_itself(broker, plug):
    async def look():
        async with looked_at(broker) as oracle:
            driven = await opened(broker)
            await driven.apply(CLOSED, revert_after_s=1.5)
            await oracle.until(relay=True)
            await driven.aclose()
            await oracle.until(relay=False)

    asyncio.run(look())
