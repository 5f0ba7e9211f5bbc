"""The statements of the store. Each takes a connection first and runs inside its caller's transaction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from controller.microgrid import (
    Bounds,
    Device,
    DeviceSetpoint,
    DeviceState,
    EnvelopeRecord,
    EnvelopeState,
    Flexibility,
    Member,
    MeterReading,
    Microgrid,
    Plant,
    Relay,
    SetpointKind,
    Storage,
    TariffPeriod,
    Trade,
)
from controller.store import schema

_FLEXIBILITY: dict[str, type[Relay] | type[Storage] | type[Plant]] = {
    kind.__name__: kind for kind in (Relay, Storage, Plant)
}


def next_epoch(connection: Connection) -> int:
    """Count a start of the service."""
    table = schema.controllers
    found = connection.execute(select(table.c.epoch)).scalar()
    if found is None:
        connection.execute(table.insert().values(id=1, epoch=1))
        return 1
    connection.execute(update(table).values(epoch=found + 1))
    return int(found) + 1


# Requests: an acknowledged call has one effect, however often it is repeated.


def recall(connection: Connection, identity: str, request_id: str) -> Row[Any] | None:
    """The answer to an earlier call with this id."""
    table = schema.requests
    return connection.execute(
        select(table).where(table.c.identity == identity, table.c.request_id == request_id)
    ).first()


def remember(
    connection: Connection, identity: str, request_id: str, *, method: str, digest: bytes, response: bytes
) -> None:
    """Keep the answer to a call."""
    connection.execute(
        schema.requests.insert().values(
            identity=identity, request_id=request_id, method=method, digest=digest, response=response
        )
    )


# The community.


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


def put_device(connection: Connection, microgrid_id: str, device: Device) -> None:
    """Keep what a device can do, or replace it."""
    flexibility = {"kind": type(device.flexibility).__name__, **asdict(device.flexibility)}
    _upsert(
        connection,
        schema.devices,
        {
            "microgrid": microgrid_id,
            "id": device.id,
            "member": device.member,
            "flexibility": json.dumps(flexibility, sort_keys=True),
        },
    )


def devices(connection: Connection, microgrid_id: str) -> list[Device]:
    """All devices in order of their ids."""
    table = schema.devices
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id).order_by(table.c.id))
    return [Device(id=r.id, member=r.member, flexibility=_flexibility(r.flexibility)) for r in rows]


def _flexibility(text: str) -> Flexibility:
    values = json.loads(text)
    return _FLEXIBILITY[values.pop("kind")](**values)


def put_device_states(connection: Connection, microgrid_id: str, states: Iterable[DeviceState]) -> None:
    """Keep the newest telemetry."""
    for state in states:
        _upsert(connection, schema.device_states, {"microgrid": microgrid_id, **asdict(state)})


def device_states(connection: Connection, microgrid_id: str) -> dict[str, DeviceState]:
    """The newest telemetry by device."""
    table = schema.device_states
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id))
    return {
        r.device: DeviceState(
            device=r.device, instant=r.instant, power_w=r.power_w, closed_s=r.closed_s, stored_wh=r.stored_wh
        )
        for r in rows
    }


# Limits.


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


# Orders.


def add_order(
    connection: Connection,
    window: str,
    member: str,
    *,
    payload: bytes,
    signature: bytes,
    key_id: str,
    digest: bytes,
) -> None:
    """Keep an order as the newest of its member for the window."""
    table = schema.orders
    newest = connection.execute(
        select(func.max(table.c.version)).where(table.c.window == window, table.c.member == member)
    ).scalar()
    connection.execute(
        table.insert().values(
            window=window,
            member=member,
            version=(newest or 0) + 1,
            payload=payload,
            signature=signature,
            key_id=key_id,
            digest=digest,
        )
    )


def newest_orders(connection: Connection, windows: Sequence[str]) -> dict[str, Row[Any]]:
    """For each member its newest order among these windows, later windows and versions first."""
    table = schema.orders
    rows = connection.execute(
        select(table).where(table.c.window.in_(windows)).order_by(table.c.window, table.c.version)
    )
    return {r.member: r for r in rows}


# Windows.


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRow:
    """A window as it is kept; JSON texts stay texts."""

    name: str
    microgrid: str
    start: int
    end: int
    state: str
    source: str
    failure: str
    inputs_digest: bytes | None
    snapshot: str | None
    certificate: str | None
    plan: str | None
    carry: str | None


def windows(connection: Connection, microgrid_id: str) -> list[WindowRow]:
    """All windows of a microgrid in order of time."""
    table = schema.windows
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id).order_by(table.c.start))
    return [WindowRow(**r._mapping) for r in rows]


def unfinished_windows(connection: Connection, microgrid_id: str) -> list[str]:
    """The names of the windows that still have a step to take here, in order of time."""
    table = schema.windows
    return list(
        connection.execute(
            select(table.c.name)
            .where(table.c.microgrid == microgrid_id, table.c.state.not_in(["SETTLED", "ANCHORED"]))
            .order_by(table.c.start)
        ).scalars()
    )


def window(connection: Connection, name: str) -> WindowRow | None:
    """The window of that name."""
    found = connection.execute(select(schema.windows).where(schema.windows.c.name == name)).first()
    return None if found is None else WindowRow(**found._mapping)


def set_window(connection: Connection, name: str, *, was: str, **values: Any) -> bool:
    """Change a window that is in the state ``was``; False when it is not, so that a step has one effect."""
    table = schema.windows
    result = connection.execute(update(table).where(table.c.name == name, table.c.state == was).values(**values))
    return result.rowcount == 1


# What a clearing decided.


def add_trades(connection: Connection, window_name: str, trades: Sequence[Trade], salts: Sequence[bytes]) -> None:
    """Keep the trades of a window; their index is their place."""
    _insert(
        connection,
        schema.trades,
        [
            {"window": window_name, "ix": ix, "salt": salt, **asdict(trade)}
            for ix, (trade, salt) in enumerate(zip(trades, salts, strict=True))
        ],
    )


def trades(connection: Connection, window_name: str) -> list[tuple[Trade, bytes]]:
    """The trades of a window with their salts, by index."""
    table = schema.trades
    rows = connection.execute(select(table).where(table.c.window == window_name).order_by(table.c.ix))
    return [
        (
            Trade(
                seller=r.seller,
                buyer=r.buyer,
                mtu_start=r.mtu_start,
                energy_wh=r.energy_wh,
                price_micro_per_kwh=r.price_micro_per_kwh,
            ),
            r.salt,
        )
        for r in rows
    ]


def add_positions(connection: Connection, window_name: str, positions: Mapping[tuple[str, int], int]) -> None:
    """Keep what each member was scheduled to take, by member and MTU."""
    _insert(
        connection,
        schema.positions,
        [
            {"window": window_name, "member": member, "mtu_start": mtu, "net_wh": net}
            for (member, mtu), net in sorted(positions.items())
        ],
    )


def positions(connection: Connection, window_name: str) -> dict[tuple[str, int], int]:
    """What each member was scheduled to take, by member and MTU."""
    table = schema.positions
    rows = connection.execute(select(table).where(table.c.window == window_name))
    return {(r.member, r.mtu_start): r.net_wh for r in rows}


def add_setpoints(connection: Connection, window_name: str, setpoints: Sequence[DeviceSetpoint]) -> None:
    """Put setpoints into the outbox."""
    _insert(
        connection,
        schema.setpoints,
        [
            {
                "window": window_name,
                "device": s.device,
                "mtu_start": s.mtu_start,
                "kind": s.kind.value,
                "value": s.value,
            }
            for s in setpoints
        ],
    )


def setpoints(connection: Connection, window_name: str) -> list[DeviceSetpoint]:
    """The setpoints of a window by device and time."""
    table = schema.setpoints
    rows = connection.execute(
        select(table).where(table.c.window == window_name).order_by(table.c.device, table.c.mtu_start)
    )
    return [
        DeviceSetpoint(device=r.device, mtu_start=r.mtu_start, kind=SetpointKind(r.kind), value=r.value) for r in rows
    ]


def add_reports(connection: Connection, reports: Sequence[Mapping[str, Any]]) -> None:
    """Keep what drivers said about commands; the same said twice counts once."""
    for report in reports:
        _upsert(connection, schema.reports, report)


def reports(connection: Connection, window_name: str) -> list[Row[Any]]:
    """What drivers said about the commands of a window."""
    table = schema.reports
    return list(
        connection.execute(select(table).where(table.c.window == window_name).order_by(table.c.device, table.c.instant))
    )


def add_plan(connection: Connection, microgrid_id: str, name: str, message: bytes) -> None:
    """Keep a plan that binds nobody."""
    _upsert(connection, schema.plans, {"name": name, "microgrid": microgrid_id, "message": message})


def plan(connection: Connection, name: str) -> bytes | None:
    """The message of a plan."""
    return connection.execute(select(schema.plans.c.message).where(schema.plans.c.name == name)).scalar()


# Meters.


def newest_sequence(connection: Connection, microgrid_id: str, gateway: str) -> int:
    """The highest sequence number that a gateway has used; 0 before its first batch."""
    table = schema.reading_batches
    found = connection.execute(
        select(func.max(table.c.sequence)).where(table.c.microgrid == microgrid_id, table.c.gateway == gateway)
    ).scalar()
    return int(found or 0)


def add_batch(
    connection: Connection,
    microgrid_id: str,
    gateway: str,
    sequence: int,
    *,
    payload: bytes,
    signature: bytes,
    key_id: str,
    readings: Sequence[MeterReading],
) -> None:
    """Keep a signed batch and its readings."""
    connection.execute(
        schema.reading_batches.insert().values(
            microgrid=microgrid_id,
            gateway=gateway,
            sequence=sequence,
            payload=payload,
            signature=signature,
            key_id=key_id,
        )
    )
    _insert(
        connection,
        schema.meter_readings,
        [{"microgrid": microgrid_id, "gateway": gateway, "sequence": sequence, **asdict(r)} for r in readings],
    )


def newest_readings(connection: Connection, microgrid_id: str) -> dict[str, MeterReading]:
    """Each member's newest reading."""
    table = schema.meter_readings
    newest = (
        select(table.c.member, func.max(table.c.instant).label("instant"))
        .where(table.c.microgrid == microgrid_id)
        .group_by(table.c.member)
        .subquery()
    )
    rows = connection.execute(
        select(table)
        .join(newest, (table.c.member == newest.c.member) & (table.c.instant == newest.c.instant))
        .where(table.c.microgrid == microgrid_id)
    )
    return {r.member: _reading(r) for r in rows}


def readings_of(connection: Connection, microgrid_id: str, member: str) -> list[MeterReading]:
    """All readings of a member's meter by instant."""
    table = schema.meter_readings
    rows = connection.execute(
        select(table).where(table.c.microgrid == microgrid_id, table.c.member == member).order_by(table.c.instant)
    )
    return [_reading(r) for r in rows]


def meter_readings(connection: Connection, microgrid_id: str, start: int, end: int) -> list[MeterReading]:
    """The readings of the instants from ``start`` to ``end``, both included, by instant and member."""
    table = schema.meter_readings
    rows = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid_id, table.c.instant >= start, table.c.instant <= end)
        .order_by(table.c.instant, table.c.member)
    )
    return [_reading(r) for r in rows]


def _reading(r: Row[Any]) -> MeterReading:
    return MeterReading(
        member=r.member, instant=r.instant, import_wh=r.import_wh, export_wh=r.export_wh, quality=r.quality
    )


def _insert(connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), [dict(r) for r in rows])


def _upsert(connection: Connection, table: Any, values: Mapping[str, Any]) -> None:
    """Insert, or replace the row with the same primary key."""
    keys = [column.name for column in table.primary_key.columns]
    others = {name: value for name, value in values.items() if name not in keys}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(table).values(**values).on_conflict_do_update(index_elements=keys, set_=others))
