"""A switch behind a bridge, which keeps its last state at the broker.

Usage: switch.py BROKER_PORT PORT; says PORT back once it is connected.
"""

import asyncio
import json
import logging
import sys

from aiomqtt import Client, Will

NAME = "bridge/switch"


async def serve(broker, name, connected, switched=lambda on: None):
    """Be a switch of that name; calls `connected` whenever the broker has it, `switched` with what it is told."""
    closed = False
    while True:
        try:
            will = Will(f"{name}/availability", "offline", retain=True)
            async with Client("127.0.0.1", broker, username="plug", password="secret", will=will) as client:
                await client.subscribe(f"{name}/set")
                await client.subscribe(f"{name}/get")
                await client.publish(f"{name}/availability", "online", retain=True)
                connected()
                async for message in client.messages:
                    if message.topic.matches(f"{name}/set"):
                        closed = json.loads(message.payload)["state"] == "ON"
                        switched(closed)
                    state = {"state": "ON" if closed else "OFF", "meter": {"power": 800.4 if closed else 0}}
                    await client.publish(name, json.dumps(state), retain=True)
        except Exception:  # whatever ends its connection, a bridge connects again
            await asyncio.sleep(0.05)


async def main():
    broker, port = int(sys.argv[1]), sys.argv[2]
    once = iter([port])

    def say():
        for one in once:
            print(one, flush=True)

    await serve(broker, NAME, say)


if __name__ == "__main__":
    # How its connection ended is what it is there to get over.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    asyncio.run(main())
