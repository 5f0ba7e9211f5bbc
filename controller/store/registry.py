"""The statements for the community: microgrids, members, keys, devices, envelopes."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from controller.flexibility import from_plain, to_plain
from controller.microgrid import (
    Bounds,
    Device,
    DeviceState,
    EnvelopeRecord,
    EnvelopeState,
    Member,
    Microgrid,
    TariffPeriod,
)
from controller.store import schema
from controller.store.rows import upsert


def add_microgrid(connection: Connection, microgrid: Microgrid) -> None:
    """Keep a microgrid with its tariff, and open its windows."""
    values = asdict(microgrid)
    periods = values.pop("tariff")
    connection.execute(schema.microgrids.insert().values(**values))
    connection.execute(schema.tariff.insert(), [{"microgrid": microgrid.id, **period} for period in periods])
    connection.execute(
        schema.windows.insert(),
        [
            {
                "name": window.name,
                "microgrid": microgrid.id,
                "start": window.start,
                "end": window.end,
                "state": "OPEN",
                "source": "NONE",
                "failure": "",
            }
            for window in microgrid.windows()
        ],
    )


def microgrid(connection: Connection, id_: str) -> Microgrid | None:
    """The microgrid of that id."""
    found = connection.execute(select(schema.microgrids).where(schema.microgrids.c.id == id_)).first()
    if found is None:
        return None
    table = schema.tariff
    periods = connection.execute(
        select(table.c.start, table.c.end, table.c.import_price_micro_per_kwh, table.c.export_price_micro_per_kwh)
        .where(table.c.microgrid == id_)
        .order_by(table.c.start)
    )
    return Microgrid(**found._mapping, tariff=tuple(TariffPeriod(**p._mapping) for p in periods))


def microgrid_ids(connection: Connection) -> list[str]:
    """All microgrids."""
    return list(connection.execute(select(schema.microgrids.c.id).order_by(schema.microgrids.c.id)).scalars())


def add_member(connection: Connection, microgrid_id: str, member: Member) -> None:
    """Keep a member."""
    connection.execute(schema.members.insert().values(microgrid=microgrid_id, **asdict(member)))


def members(connection: Connection, microgrid_id: str) -> list[Member]:
    """All members in order of their ids."""
    table = schema.members
    rows = connection.execute(
        select(table.c.id, table.c.section).where(table.c.microgrid == microgrid_id).order_by(table.c.id)
    )
    return [Member(**r._mapping) for r in rows]


def add_key(
    connection: Connection, microgrid_id: str, key_id: str, *, purpose: str, holder: str, public_key: bytes
) -> None:
    """Register a key."""
    connection.execute(
        schema.keys.insert().values(
            microgrid=microgrid_id, key_id=key_id, purpose=purpose, holder=holder, public_key=public_key
        )
    )


def key(connection: Connection, microgrid_id: str, key_id: str) -> Row[Any] | None:
    """A registered key."""
    table = schema.keys
    return connection.execute(select(table).where(table.c.microgrid == microgrid_id, table.c.key_id == key_id)).first()


def keys(connection: Connection, microgrid_id: str) -> list[Row[Any]]:
    """All registered keys of a microgrid."""
    table = schema.keys
    return list(connection.execute(select(table).where(table.c.microgrid == microgrid_id).order_by(table.c.key_id)))


def put_device(connection: Connection, microgrid_id: str, device: Device) -> None:
    """Keep what a device can do, or replace it."""
    upsert(
        connection,
        schema.devices,
        {
            "microgrid": microgrid_id,
            "id": device.id,
            "member": device.member,
            "flexibility": json.dumps(to_plain(device.flexibility), sort_keys=True),
        },
    )


def devices(connection: Connection, microgrid_id: str) -> list[Device]:
    """All devices in order of their ids."""
    table = schema.devices
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id).order_by(table.c.id))
    return [Device(id=r.id, member=r.member, flexibility=from_plain(json.loads(r.flexibility))) for r in rows]


def remove_device(connection: Connection, microgrid_id: str, device: str) -> None:
    """Forget a device and what it said; what was decided about it stays."""
    devices_, states = schema.devices, schema.device_states
    connection.execute(delete(states).where(states.c.microgrid == microgrid_id, states.c.device == device))
    connection.execute(delete(devices_).where(devices_.c.microgrid == microgrid_id, devices_.c.id == device))


def put_device_states(connection: Connection, microgrid_id: str, states: Iterable[DeviceState]) -> None:
    """Keep the newest telemetry."""
    for state in states:
        values = {"microgrid": microgrid_id, **asdict(state)}
        values["closed"] = None if state.closed is None else int(state.closed)
        # Of tasks telemetry knows nothing: snapshots remember them.
        del values["closed_before_s"]
        upsert(connection, schema.device_states, values, newest="instant")


def device_states(connection: Connection, microgrid_id: str) -> dict[str, DeviceState]:
    """The newest telemetry by device."""
    table = schema.device_states
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id))
    return {
        r.device: DeviceState(
            device=r.device,
            instant=r.instant,
            power_w=r.power_w,
            closed_s=r.closed_s,
            stored_wh=r.stored_wh,
            closed=None if r.closed is None else bool(r.closed),
            held_s=r.held_s,
            starts_today=r.starts_today,
            temperature_milli_c=r.temperature_milli_c,
        )
        for r in rows
    }


def add_envelope(connection: Connection, microgrid_id: str, record: EnvelopeRecord) -> None:
    """Keep an envelope."""
    connection.execute(
        schema.envelopes.insert().values(
            microgrid=microgrid_id,
            id=record.id,
            target=record.target,
            periods=json.dumps([asdict(period) for period in record.periods], sort_keys=True),
            reason=record.reason,
            state=record.state.value,
            created=record.created,
            payload=record.payload,
            signature=record.signature,
            key_id=record.key_id,
        )
    )


def cancel_envelope(connection: Connection, microgrid_id: str, id_: str) -> None:
    """Let an envelope count no longer."""
    table = schema.envelopes
    connection.execute(
        update(table)
        .where(table.c.microgrid == microgrid_id, table.c.id == id_)
        .values(state=EnvelopeState.CANCELLED.value)
    )


def envelopes(connection: Connection, microgrid_id: str) -> list[EnvelopeRecord]:
    """All envelopes in order of their ids."""
    table = schema.envelopes
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id).order_by(table.c.id))
    return [
        EnvelopeRecord(
            id=r.id,
            target=r.target,
            periods=tuple(Bounds(**period) for period in json.loads(r.periods)),
            reason=r.reason,
            state=EnvelopeState(r.state),
            created=r.created,
            payload=r.payload,
            signature=r.signature,
            key_id=r.key_id,
        )
        for r in rows
    ]
