"""The service under the drivers' benchmark, in a process of its own: the real one, over SQLite and mutual TLS."""

import asyncio
import resource
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from controller.app import Service, Settings
from controller.clock import SystemClock
from controller.errors import StoreError
from controller.flexibility import Storage
from controller.microgrid import (
    Device,
    DeviceSetpoint,
    Member,
    Microgrid,
    SetpointKind,
    TariffPeriod,
    Window,
    window_name,
)
from controller.pauses import shorten_pauses
from controller.pki import Credentials
from controller.sealing import seeded_salts
from controller.store import registry
from controller.store.database import Database
from optimization.clearing import Outcome
from optimization.community import Community

GRID = "herd"
HOUR_S = 3600
DEVICES_OF_A_MEMBER = 20
FLUSH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a server is started with."""

    folder: Path
    certificate: Credentials
    authority: bytes
    drivers: int


def device_of(number: int) -> str:
    """The id of the driver with that number."""
    return f"m{number // DEVICES_OF_A_MEMBER}/d{number % DEVICES_OF_A_MEMBER}"


class NoSolver:
    """Is never asked: no window is moved on."""

    async def solve(self, community: Community) -> Outcome:
        """Nothing."""
        raise NotImplementedError(str(community))


def serve(pipe: Connection, started: Started) -> None:
    """Serve until the pipe says ``stop``; ``push`` gives every device a new setpoint, ``rss`` tells the memory."""
    asyncio.run(_serve(pipe, started))


async def _serve(pipe: Connection, started: Started) -> None:
    database = Database(f"sqlite:///{started.folder / 'gridpact.sqlite'}")
    microgrid = _microgrid(int(time.time()))
    database.run(_found, microgrid, started.drivers)
    service = Service(
        Settings(listen="127.0.0.1:0", certificate=started.certificate, authority=started.authority),
        database=database,
        clock=SystemClock(),
        solver=NoSolver(),
        salts=seeded_salts(b"herd"),
        anchorer=None,
    )
    hub = service._hub
    devices = [device_of(number) for number in range(started.drivers)]
    _offer(hub, microgrid, devices, 0)
    flushing = asyncio.create_task(_flush(service))
    port = await service.start()
    shorten_pauses()
    pipe.send(port)
    loop = asyncio.get_running_loop()
    while (word := await loop.run_in_executor(None, pipe.recv)) != "stop":
        match word:
            case ("push", value):
                began = time.monotonic()
                _offer(hub, microgrid, devices, value)
                pipe.send(began)
            case "connected":
                pipe.send(len(hub.connected(GRID)))
            case "rss":
                pipe.send((_rss_mib(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
            case "cpu":
                used = resource.getrusage(resource.RUSAGE_SELF)
                pipe.send(used.ru_utime + used.ru_stime)
    flushing.cancel()
    await service.stop()
    database.close()


async def _flush(service: Service) -> None:
    while True:
        await asyncio.sleep(FLUSH_S)
        try:
            await service.flush()
        except StoreError as err:
            print(f"flushing: {err}")


def _offer(hub, microgrid: Microgrid, devices: list[str], value: int) -> None:
    start = microgrid.start
    window = Window(name=window_name(GRID, start), start=start, end=start + HOUR_S)
    hub.offer(
        GRID,
        window,
        tuple(
            DeviceSetpoint(device=device, mtu_start=mtu, kind=SetpointKind.POWER, value=value)
            for device in devices
            for mtu in range(start, start + HOUR_S, microgrid.mtu_seconds)
        ),
    )


def _microgrid(now: int) -> Microgrid:
    """One window of an hour that has begun a minute ago, in quarter-hours."""
    start = now - 60
    return Microgrid(
        id=GRID,
        time_zone="UTC",
        mtu_minutes=15,
        window_minutes=60,
        lead_minutes=5,
        start=start,
        end=start + HOUR_S,
        network_charge_micro_per_kwh=0,
        currency="EUR",
        tariff=(
            TariffPeriod(
                start=start, end=start + HOUR_S, import_price_micro_per_kwh=300_000, export_price_micro_per_kwh=80_000
            ),
        ),
    )


def _found(connection, microgrid: Microgrid, drivers: int) -> None:
    registry.add_microgrid(connection, microgrid)
    battery = Storage(
        max_charge_w=2000,
        max_discharge_w=2000,
        capacity_wh=5000,
        stored_wh=2000,
        final_wh=2000,
        charge_efficiency_ppm=950_000,
        discharge_efficiency_ppm=950_000,
        cycle_cost_micro_per_kwh=0,
    )
    for member in sorted({device_of(number).split("/")[0] for number in range(drivers)}):
        registry.add_member(connection, GRID, Member(id=member, section="east"))
    for number in range(drivers):
        id_ = device_of(number)
        registry.put_device(connection, GRID, Device(id=id_, member=id_.split("/")[0], flexibility=battery))


def _rss_mib() -> float:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
