"""Looks at a Shelly plug with aioshelly, in an environment of its own: its dependencies are not ours.

Usage: oracle.py PORT PASSWORD; says as JSON what it found: the device, and for each thing it did what it was told then.
"""

import asyncio
import json
import sys

from aiohttp import ClientSession
from aioshelly.common import ConnectionOptions
from aioshelly.exceptions import InvalidAuthError, RpcCallError
from aioshelly.rpc_device import RpcDevice


async def connected(session, port, password):
    options = ConnectionOptions("127.0.0.1", username="admin", password=password, port=port)
    device = await RpcDevice.create(session, None, options)
    await device.initialize()
    return device


async def until(device, changed, output):
    """What the device says of its switch, once that is so: told unasked, as nothing is asked here."""
    async with asyncio.timeout(10):
        while (switch := device.status["switch:0"])["output"] is not output:
            changed.clear()
            await changed.wait()
    return [switch["output"], switch["apower"]]


async def main(port, password):
    found = {}
    async with ClientSession() as session:
        try:
            await connected(session, port, password + "!")
        except InvalidAuthError:
            found["wrong password"] = "refused"
        device = await connected(session, port, password)
        found["device"] = [device.model, device.gen, device.firmware_supported]
        changed = asyncio.Event()
        device.subscribe_updates(lambda *_: changed.set())
        for on in (True, False):
            await device.switch_set(0, on)
            found["on" if on else "off"] = await until(device, changed, on)
        await device.call_rpc("Switch.Set", {"id": 0, "on": True, "toggle_after": 0.3})
        found["for a while"] = [await until(device, changed, True), await until(device, changed, False)]
        await device.update_status()
        found["asked"] = device.status["switch:0"]["output"]
        try:
            await device.call_rpc("Switch.Set", {"id": 7, "on": True})
        except RpcCallError as err:
            found["another switch"] = err.code
        await device.shutdown()
    print(json.dumps(found))


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
