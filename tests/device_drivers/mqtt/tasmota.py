"""A stand-in for a Tasmota plug, written from the public documentation: topics, PulseTime, PowerOnState, last will.

Usage: python -m tests.device_drivers.mqtt.tasmota BROKER_PORT FILE PORT

FILE holds what its flash would; PORT is said back once it is connected.
"""

import asyncio
import json
import logging
import sys
import time
from pathlib import Path

from aiomqtt import Client, Will

from tests.device_drivers.mqtt.discovery import discovery

TOPIC = "plug"


class Plug:
    def __init__(self, flash, switched=lambda on: None):
        self.flash, self.switched = flash, switched
        self.settings = {"PulseTime": 0, "PowerOnState": 3, "power": False, "writes": 0}
        if flash.exists():
            self.settings |= json.loads(flash.read_text())
        state = self.settings["PowerOnState"]
        self.closed = self.settings["power"] if state == 3 else state == 1
        self.opens_at = None

    def keep(self, **changes):
        if any(self.settings[key] != value for key, value in changes.items()):
            self.settings |= changes
            self.settings["writes"] += 1
            self.flash.write_text(json.dumps(self.settings))

    def pulse_s(self):
        setting = self.settings["PulseTime"]
        return None if setting == 0 else setting / 10 if setting < 112 else setting - 100

    def switch(self, closed):
        self.closed = closed
        self.switched(closed)
        pulse_s = self.pulse_s() if closed else None
        self.opens_at = None if pulse_s is None else time.monotonic() + pulse_s
        self.keep(power=closed)

    def answers(self, command, payload):
        """Topics and messages in answer to a command."""
        if command in {"POWER", "POWER1"}:
            if payload in {"ON", "1"}:
                self.switch(True)
            elif payload in {"OFF", "0"}:
                self.switch(False)
            state = "ON" if self.closed else "OFF"
            return [("RESULT", {"POWER": state}), ("POWER", state)]
        if command == "PULSETIME1":
            if payload:
                self.keep(PulseTime=int(payload))
            return [("RESULT", {"PulseTime1": {"Set": self.settings["PulseTime"], "Remaining": 0}})]
        if command == "POWERONSTATE":
            if payload:
                self.keep(PowerOnState=int(payload))
            return [("RESULT", {"PowerOnState": self.settings["PowerOnState"]})]
        return [self.says(command, payload)]

    def says(self, command, payload):
        """Topic and message in answer to a question."""
        state = {"UptimeSec": 7, "Sleep": 50, "POWER": "ON" if self.closed else "OFF"}
        match command, payload:
            case "STATE", _:
                return "RESULT", state
            case "STATUS", "11":
                return "STATUS11", {"StatusSTS": state}
            case "STATUS", "10":
                energy = {"Total": 1.0, "Power": 1500 if self.closed else 0}
                return "STATUS10", {"StatusSNS": {"ENERGY": energy}}
        return "RESULT", {"Command": "Unknown"}


async def tick(plug, client, topic):
    while True:
        await asyncio.sleep(0.01)
        if plug.opens_at is not None and time.monotonic() >= plug.opens_at:
            plug.switch(False)
            await client.publish(f"stat/{topic}/RESULT", json.dumps({"POWER": "OFF"}))


async def serve(plug, broker, topic, connected):
    """Be a plug of that topic; calls `connected` whenever the broker has it."""
    while True:
        try:
            will = Will(f"tele/{topic}/LWT", "Offline", retain=True)
            async with Client("127.0.0.1", broker, username="plug", password="secret", will=will) as client:
                await client.subscribe(f"cmnd/{topic}/+")
                await client.publish(f"tele/{topic}/LWT", "Online", retain=True)
                for where, told in discovery(topic):
                    await client.publish(where, told, retain=True)
                connected()
                ticking = asyncio.create_task(tick(plug, client, topic))
                try:
                    async for message in client.messages:
                        command = str(message.topic).rsplit("/", 1)[1].upper()
                        for kind, answer in plug.answers(command, message.payload.decode()):
                            told = answer if isinstance(answer, str) else json.dumps(answer)
                            await client.publish(f"stat/{topic}/{kind}", told)
                finally:
                    ticking.cancel()
        except Exception:  # whatever ends its connection, a plug connects again
            await asyncio.sleep(0.05)


async def main():
    broker, flash, port = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    once = iter([port])

    def say():
        for one in once:
            print(one, flush=True)

    await serve(Plug(flash), broker, TOPIC, say)


if __name__ == "__main__":
    # How its connection ended is what it is there to get over.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    asyncio.run(main())
