"""A switch behind a bridge, which keeps its last state at the broker.

Usage: switch.py BROKER_PORT PORT; says PORT back once it is connected.
"""

import asyncio
import json
import logging
import sys

from aiomqtt import Client, Will

NAME = "bridge/switch"


async def main():
    broker, port = int(sys.argv[1]), sys.argv[2]
    closed, said = False, False
    while True:
        try:
            will = Will(f"{NAME}/availability", "offline", retain=True)
            async with Client("127.0.0.1", broker, username="plug", password="secret", will=will) as client:
                await client.subscribe(f"{NAME}/set")
                await client.subscribe(f"{NAME}/get")
                await client.publish(f"{NAME}/availability", "online", retain=True)
                if not said:
                    print(port, flush=True)
                    said = True
                async for message in client.messages:
                    if message.topic.matches(f"{NAME}/set"):
                        closed = json.loads(message.payload)["state"] == "ON"
                    state = {"state": "ON" if closed else "OFF", "meter": {"power": 800.4 if closed else 0}}
                    await client.publish(NAME, json.dumps(state), retain=True)
        except Exception:  # whatever ends its connection, a bridge connects again
            await asyncio.sleep(0.05)


# How its connection ended is what it is there to get over.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)
asyncio.run(main())
