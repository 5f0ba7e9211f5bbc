import asyncio
import json
import socket
import sys
from contextlib import asynccontextmanager

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.ocpp.driver import OcppDriver
from device_drivers.setpoint import Power
from tests.device_drivers.ocpp.charger import Charger
from tests.device_drivers.ocpp.station import stay
from tests.device_drivers.peer import Peer


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def start_station(folder, port, version, name="CP1", **settings):
    """A station in a process of its own, which dials the port."""
    told = {"version": version, "name": name, "url": f"ws://127.0.0.1:{port}", "flash": str(folder / f"{name}.json")}
    return Peer(sys.executable, "-m", "tests.device_drivers.ocpp.station", json.dumps(told | settings))


class Site:
    """A driver, the port on which it listens, and stations in the loop of the test.

    Parameters
    ----------
    folder : Path
        Where the stations keep their profiles.
    """

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.driver = OcppDriver()
        self.running = []

    def charge(self, version, *, name="CP1", scheme="ws", ahead_s=0.0, waits=False, **settings):
        """The charger of a station that is connected from now on."""
        charger = Charger(self.folder / f"{name}.json", ahead_s=ahead_s, waits=waits)
        told = {"version": version, "name": name, "url": f"{scheme}://localhost:{self.port}"} | settings
        self.running.append(asyncio.create_task(stay(told, charger)))
        return charger

    async def open(self, *, name="CP1", failsafe=None, **options):
        address = DeviceUrl(scheme="ocpp", host="127.0.0.1", port=self.port, path=name)
        failsafe = Power(power_w=0) if failsafe is None else failsafe
        return await self.driver.open(address, failsafe=failsafe, options={"timeout_s": 2.0, **options})

    @asynccontextmanager
    async def opened(self, **options):
        connection = await self.open(**options)
        try:
            yield connection
        finally:
            await connection.aclose()

    async def aclose(self):
        while self.running:
            # More than once: a wait_for of Python 3.11 that is just done swallows being cancelled.
            for task in self.running:
                task.cancel()
            _, self.running = await asyncio.wait(self.running, timeout=0.05)


@pytest.fixture
def at_site(tmp_path):
    """Runs a test's coroutine function with a site."""

    def run(act):
        async def through():
            site = Site(tmp_path)
            try:
                return await act(site)
            finally:
                await site.aclose()

        return asyncio.run(through())

    return run
