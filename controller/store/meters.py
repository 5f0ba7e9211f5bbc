"""The statements for meters: signed batches and the readings in them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, exists, func, select

from controller.microgrid import MeterReading
from controller.store import schema
from controller.store.rows import insert


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
    insert(
        connection,
        schema.meter_readings,
        [{"microgrid": microgrid_id, "gateway": gateway, "sequence": sequence, **asdict(r)} for r in readings],
    )


def count_readings(connection: Connection, microgrid_id: str, start: int, end: int) -> int:
    """How many readings there are from one instant to another, both included."""
    table = schema.meter_readings
    return connection.execute(
        select(func.count()).where(table.c.microgrid == microgrid_id, table.c.instant >= start, table.c.instant <= end)
    ).scalar_one()


def last_reading(
    connection: Connection, microgrid_id: str, member: str, *, until: int | None = None
) -> MeterReading | None:
    """A member's newest reading, or the newest that is not after an instant."""
    table = schema.meter_readings
    query = select(table).where(table.c.microgrid == microgrid_id, table.c.member == member)
    if until is not None:
        query = query.where(table.c.instant <= until)
    found = connection.execute(query.order_by(table.c.instant.desc(), table.c.revision.desc()).limit(1)).first()
    return None if found is None else _reading(found)


def next_reading(connection: Connection, microgrid_id: str, member: str, *, after: int) -> MeterReading | None:
    """A member's first reading after an instant."""
    table = schema.meter_readings
    found = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid_id, table.c.member == member, table.c.instant > after)
        .order_by(table.c.instant, table.c.revision.desc())
        .limit(1)
    ).first()
    return None if found is None else _reading(found)


def readings_page(
    connection: Connection,
    microgrid_id: str,
    member: str,
    *,
    start: int,
    end: int,
    after: int,
    gateway: str | None,
    count: int,
) -> list[MeterReading]:
    """The first readings of a member's meter of instants in ``[start, end)`` that are later than ``after``.

    With a gateway only those that it reported.
    """
    table = schema.meter_readings
    statement = select(table).where(
        table.c.microgrid == microgrid_id,
        table.c.member == member,
        table.c.instant >= start,
        table.c.instant < end,
        table.c.instant > after,
        _counts(table),
    )
    if gateway is not None:
        statement = statement.where(table.c.gateway == gateway)
    return [_reading(r) for r in connection.execute(statement.order_by(table.c.instant).limit(count))]


def reports_of(connection: Connection, microgrid_id: str, gateway: str, member: str) -> bool:
    """Whether a gateway ever reported a member's meter."""
    table = schema.meter_readings
    statement = select(table.c.instant).where(
        table.c.microgrid == microgrid_id, table.c.member == member, table.c.gateway == gateway
    )
    return connection.execute(statement.limit(1)).first() is not None


def meter_readings(connection: Connection, microgrid_id: str, start: int, end: int) -> list[MeterReading]:
    """The readings of the instants from ``start`` to ``end``, both included, by instant and member."""
    table = schema.meter_readings
    rows = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid_id, table.c.instant >= start, table.c.instant <= end)
        .order_by(table.c.instant, table.c.member, table.c.revision)
    )
    # Of an instant the highest revision counts.
    newest = {(r.instant, r.member): r for r in rows}
    return [_reading(r) for r in newest.values()]


def add_revision(connection: Connection, microgrid_id: str, reading: MeterReading, *, by: str) -> None:
    """Let a reading count in the place of the one that there is of its meter and instant, if there is one."""
    table = schema.meter_readings
    known = connection.execute(
        select(func.max(table.c.revision)).where(
            table.c.microgrid == microgrid_id, table.c.member == reading.member, table.c.instant == reading.instant
        )
    ).scalar()
    revision = 0 if known is None else known + 1
    insert(
        connection,
        table,
        [{"microgrid": microgrid_id, "gateway": by, "sequence": 0, "revision": revision, **asdict(reading)}],
    )


def _counts(table: Table) -> ColumnElement[bool]:
    """Whether a row is the highest revision of its meter and instant."""
    later = table.alias()
    same = [later.c[name] == table.c[name] for name in ("microgrid", "member", "instant")]
    return ~exists().where(*same, later.c.revision > table.c.revision)


def _reading(r: Row[Any]) -> MeterReading:
    return MeterReading(
        member=r.member, instant=r.instant, import_wh=r.import_wh, export_wh=r.export_wh, quality=r.quality
    )
