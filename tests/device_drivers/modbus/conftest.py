import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.conformance.bench import open_bench
from device_drivers.conformance.suite import run
from tests.device_drivers.peer import Peer

FOLDER = Path(__file__).parent
DEVICES = {
    "relay": f"1?map={FOLDER / 'relay.toml'}",
    "sunspec 704": "2?map=sunspec",
    "sunspec 123": "3?map=sunspec",
}


@pytest.fixture(scope="session")
def server():
    """Devices behind a server of pymodbus."""
    peer = Peer(sys.executable, str(FOLDER / "server.py"))
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def conformance():
    """What the suite says of each of the devices, which are checked at once, each in a server of its own."""

    async def check(device, peer):
        address = DeviceUrl.parse(f"modbus://127.0.0.1:{peer.port}/{device}&timeout_s=0.4")
        bench = await open_bench(address, limit_s=1.0, settle_s=1.0, power_cycle=peer.power_cycle)
        return [result async for result in run(replace(bench, round_trip_s=0.05, late_s=0.2))]

    async def all_of_them():
        return await asyncio.gather(
            *(check(device, peer) for device, peer in zip(DEVICES.values(), peers, strict=True))
        )

    peers = [Peer(sys.executable, str(FOLDER / "server.py")) for _ in DEVICES]
    try:
        return dict(zip(DEVICES, asyncio.run(all_of_them()), strict=True))
    finally:
        for peer in peers:
            peer.stop()
