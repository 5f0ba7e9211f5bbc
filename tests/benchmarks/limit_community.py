"""The community of the limit benchmark: homes with one device each, relays and batteries by turns, in ten sections.

It is written to the service's database before that starts, in the middle of a window whose setpoints are decided: every
device runs. The next window's gate has closed, so that the service takes it to the solver at once.
"""

import hashlib
from itertools import pairwise
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from controller.flexibility import Flexibility, Relay, Storage
from controller.microgrid import Device, DeviceSetpoint, Member, Microgrid, SetpointKind, TariffPeriod, Window
from controller.store import market, registry
from controller.store.database import Database

GRID = "village"
DSO, KEY_ID = "wires", "envelope-wires"
MTU_S = 900
HOURS = 4
SECTIONS = 10
RELAY_W, BATTERY_W = 2_000, 3_000


def key() -> Ed25519PrivateKey:
    """What the DSO signs with."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(DSO.encode()).digest())


def device_id(number: int) -> str:
    """Of one of the devices."""
    return f"home-{number}/device"


def device_name(number: int) -> str:
    """Its resource name."""
    return f"microgrids/{GRID}/members/home-{number}/devices/device"


def power_w(number: int) -> int:
    """What it takes as planned."""
    return RELAY_W if number % 2 else BATTERY_W


def calendar(now: float) -> Microgrid:
    """Windows of an hour from this quarter of an hour on; each gate closes an hour ahead."""
    start = int(now) // MTU_S * MTU_S
    end = start + HOURS * 3600
    return Microgrid(
        id=GRID,
        time_zone="UTC",
        mtu_minutes=MTU_S // 60,
        window_minutes=60,
        lead_minutes=60,
        start=start,
        end=end,
        network_charge_micro_per_kwh=0,
        currency="EUR",
        tariff=(
            TariffPeriod(start=start, end=end, import_price_micro_per_kwh=300_000, export_price_micro_per_kwh=80_000),
        ),
    )


def found(path: Path, microgrid: Microgrid, homes: int) -> None:
    """Write it all to a database."""
    database = Database(f"sqlite:///{path}")
    try:
        database.run(_write, microgrid, homes)
    finally:
        database.close()


def _write(connection: Connection, microgrid: Microgrid, homes: int) -> None:
    registry.add_microgrid(connection, microgrid)
    registry.add_key(
        connection,
        GRID,
        key_id=KEY_ID,
        purpose="ENVELOPE",
        holder=DSO,
        public_key=key().public_key().public_bytes_raw(),
    )
    window = microgrid.windows()[0]
    setpoints = []
    for number in range(homes):
        member = f"home-{number}"
        registry.add_member(connection, GRID, Member(id=member, section=f"feeder-{number % SECTIONS}"))
        device = Device(id=device_id(number), member=member, flexibility=_flexibility(number, microgrid))
        registry.put_device(connection, GRID, device)
        setpoints += [_setpoint(number, mtu) for mtu in microgrid.mtus(window.start, microgrid.end)]
    _deliver(connection, window, setpoints)


def _flexibility(number: int, microgrid: Microgrid) -> Flexibility:
    if number % 2:
        return Relay(rated_w=RELAY_W, start=microgrid.start, end=microgrid.end, required_s=HOURS * 3600)
    return Storage(
        max_charge_w=BATTERY_W,
        max_discharge_w=0,
        capacity_wh=20_000,
        stored_wh=0,
        final_wh=0,
        charge_efficiency_ppm=950_000,
        discharge_efficiency_ppm=950_000,
        cycle_cost_micro_per_kwh=0,
    )


def _setpoint(number: int, mtu: int) -> DeviceSetpoint:
    kind, value = (SetpointKind.RELAY, 1) if number % 2 else (SetpointKind.POWER, BATTERY_W)
    return DeviceSetpoint(device=device_id(number), mtu_start=mtu, kind=kind, value=value)


def _deliver(connection: Connection, window: Window, setpoints: list[DeviceSetpoint]) -> None:
    states = ("OPEN", "CLOSED", "CLEARED", "DELIVERING")
    for was, state in pairwise(states):
        market.set_window(connection, window.name, was=was, state=state, source="CLEARING")
    market.add_setpoints(connection, window.name, setpoints)
