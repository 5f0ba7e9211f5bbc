import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.conformance.bench import open_bench
from device_drivers.conformance.suite import run
from tests.device_drivers.peer import Peer, node_modules

PLUG = Path(__file__).with_name("plug.cjs")


def plug(model):
    node, modules = node_modules("tplink-smarthome-simulator")
    return Peer(node, str(PLUG), modules, model)


@pytest.fixture(scope="session")
def hs110():
    """A plug that measures power."""
    peer = plug("hs110")
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def hs300():
    """A strip of six outlets."""
    peer = plug("hs300")
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def conformance(hs110):
    """What the suite says of a plug."""

    async def check():
        address = DeviceUrl.parse(f"kasa://127.0.0.1:{hs110.port}?timeout_s=0.3")
        bench = await open_bench(address, limit_s=1.0, settle_s=1.0, power_cycle=hs110.power_cycle)
        return [result async for result in run(replace(bench, round_trip_s=0.05, late_s=0.2))]

    return asyncio.run(check())
