"""The statements for drivers: which device a driver may serve, and what it declared."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, select, update

from controller.composing import Target, believed_ability, unplanned
from controller.fleet import Declared, Registered
from controller.flexibility import from_plain
from controller.microgrid import SetpointKind
from controller.store import schema
from controller.store.rows import upsert_all


def registered_devices(connection: Connection, microgrid_id: str) -> dict[str, Registered]:
    """How the devices of those who are members of a microgrid are registered, by id."""
    rows = connection.execute(_registered().where(schema.devices.c.microgrid == microgrid_id))
    return {row.id: _to_registered(row) for row in rows}


def registered_device(connection: Connection, microgrid_id: str, device: str) -> Registered | None:
    """How a device is registered; None where it is not, or its member has left."""
    table = schema.devices
    row = connection.execute(_registered().where(table.c.microgrid == microgrid_id, table.c.id == device)).first()
    return None if row is None else _to_registered(row)


def set_gateway(connection: Connection, microgrid_id: str, device: str, gateway: str | None) -> bool:
    """Let a driver of another name serve a device, or again its own (None); False where there is no such device."""
    table = schema.devices
    result = connection.execute(
        update(table).where(table.c.microgrid == microgrid_id, table.c.id == device).values(gateway=gateway)
    )
    return result.rowcount == 1


def put_declarations(connection: Connection, microgrid_id: str, declared: Mapping[str, Declared]) -> None:
    """Keep what drivers said of their devices when they connected, by device; of those that are registered still."""
    table = schema.devices
    kept = set(connection.execute(select(table.c.id).where(table.c.microgrid == microgrid_id)).scalars())
    upsert_all(
        connection,
        schema.declarations,
        [
            {
                "microgrid": microgrid_id,
                "device": device,
                "failsafe_kind": None if one.failsafe is None else one.failsafe.kind.value,
                "failsafe_value": None if one.failsafe is None else one.failsafe.value,
                "lower_w": one.lower_w,
                "upper_w": one.upper_w,
            }
            for device, one in declared.items()
            if device in kept
        ],
    )


def declarations(connection: Connection, microgrid_id: str) -> dict[str, Declared]:
    """What the drivers of a microgrid declared, by device."""
    table = schema.declarations
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id))
    return {
        row.device: Declared(
            failsafe=None if row.failsafe_kind is None else Target(SetpointKind(row.failsafe_kind), row.failsafe_value),
            lower_w=row.lower_w,
            upper_w=row.upper_w,
        )
        for row in rows
    }


def _registered() -> Select[Any]:
    devices, microgrids, owners = schema.devices, schema.microgrids, schema.members
    return (
        select(devices.c.id, devices.c.flexibility, devices.c.gateway, microgrids.c.mtu_minutes)
        .join(microgrids, microgrids.c.id == devices.c.microgrid)
        .join(owners, (owners.c.microgrid == devices.c.microgrid) & (owners.c.id == devices.c.member))
        .where(owners.c.gone.is_(None))
    )


def _to_registered(row: Row[Any]) -> Registered:
    flexibility = from_plain(json.loads(row.flexibility))
    return Registered(
        mtu_seconds=row.mtu_minutes * 60,
        ability=believed_ability(row.id, flexibility),
        unplanned=unplanned(flexibility),
        gateway=row.gateway,
    )
