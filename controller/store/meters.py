"""The statements for meters: signed batches and the readings in them."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, exists, func, select

from controller.microgrid import FAULTY, MeterReading
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
    better: Sequence[MeterReading] = (),
) -> None:
    """Keep a signed batch and those of its readings that count; ``better`` ones count in the place of others."""
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
    for reading in better:
        add_revision(connection, microgrid_id, reading, by=gateway, sequence=sequence)


def count_readings(connection: Connection, microgrid_id: str, start: int, end: int) -> int:
    """How many readings there are from one instant to another, both included."""
    table = schema.meter_readings
    return connection.execute(
        select(func.count()).where(table.c.microgrid == microgrid_id, table.c.instant >= start, table.c.instant <= end)
    ).scalar_one()


def last_reading(
    connection: Connection,
    microgrid_id: str,
    member: str,
    *,
    until: int | None = None,
    qualities: Collection[str] | None = None,
) -> MeterReading | None:
    """A member's newest reading that counts, or the newest that is not after an instant; None for faulty ones.

    With ``qualities`` only of these.
    """
    table = schema.meter_readings
    query = select(table).where(table.c.microgrid == microgrid_id, table.c.member == member)
    if until is not None:
        query = query.where(table.c.instant <= until)
    query = query.where(_counts(table), _of_quality(table, qualities))
    found = connection.execute(query.order_by(table.c.instant.desc()).limit(1)).first()
    return None if found is None else _reading(found)


def next_reading(
    connection: Connection, microgrid_id: str, member: str, *, after: int, qualities: Collection[str] | None = None
) -> MeterReading | None:
    """A member's first reading after an instant that counts; with ``qualities`` only of these."""
    table = schema.meter_readings
    found = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid_id, table.c.member == member, table.c.instant > after)
        .where(_counts(table), _of_quality(table, qualities))
        .order_by(table.c.instant)
        .limit(1)
    ).first()
    return None if found is None else _reading(found)


def reading_at(connection: Connection, microgrid_id: str, member: str, instant: int) -> tuple[MeterReading, str] | None:
    """What counts of an instant, a faulty one too, and who said it; None where nobody said anything."""
    table = schema.meter_readings
    found = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid_id, table.c.member == member, table.c.instant == instant)
        .order_by(table.c.revision.desc())
        .limit(1)
    ).first()
    return None if found is None else (_reading(found), found.gateway)


def _of_quality(table: Table, qualities: Collection[str] | None) -> ColumnElement[bool]:
    return table.c.quality != FAULTY if qualities is None else table.c.quality.in_(qualities)


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


def meter_readings(
    connection: Connection, microgrid_id: str, start: int, end: int, *, member: str | None = None
) -> list[MeterReading]:
    """The readings of the instants from ``start`` to ``end``, both included, by instant and member; no faulty ones."""
    table = schema.meter_readings
    query = select(table).where(table.c.microgrid == microgrid_id, table.c.instant >= start, table.c.instant <= end)
    if member is not None:
        query = query.where(table.c.member == member)
    rows = connection.execute(query.order_by(table.c.instant, table.c.member, table.c.revision))
    # Of an instant the highest revision counts.
    newest = {(r.instant, r.member): r for r in rows}
    return [_reading(r) for r in newest.values() if r.quality != FAULTY]


def newest_instant(connection: Connection, microgrid_id: str) -> int | None:
    """Of which instant the newest reading of any meter is; None where there is none."""
    table = schema.meter_readings
    return connection.execute(select(func.max(table.c.instant)).where(table.c.microgrid == microgrid_id)).scalar()


def readings_since(connection: Connection, microgrid_id: str, start: int) -> list[MeterReading]:
    """What counts of each meter from an instant on, in order of time, faulty readings too."""
    table = schema.meter_readings
    rows = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid_id, table.c.instant >= start)
        .order_by(table.c.instant, table.c.member, table.c.revision)
    )
    return [_reading(r) for r in {(r.instant, r.member): r for r in rows}.values()]


def feeder_readings(connection: Connection, microgrid_id: str, start: int, end: int) -> list[MeterReading]:
    """The same of feeders' meters alone."""
    table = schema.meter_readings
    query = select(table).where(
        table.c.microgrid == microgrid_id,
        table.c.instant >= start,
        table.c.instant <= end,
        table.c.member.startswith("/"),
    )
    rows = connection.execute(query.order_by(table.c.instant, table.c.member, table.c.revision))
    newest = {(r.instant, r.member): r for r in rows}
    return [_reading(r) for r in newest.values() if r.quality != FAULTY]


def add_revision(
    connection: Connection, microgrid_id: str, reading: MeterReading, *, by: str, sequence: int = 0
) -> None:
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
        [{"microgrid": microgrid_id, "gateway": by, "sequence": sequence, "revision": revision, **asdict(reading)}],
    )


def _counts(table: Table) -> ColumnElement[bool]:
    """Whether a row is the highest revision of its meter and instant."""
    later = table.alias()
    same = [later.c[name] == table.c[name] for name in ("microgrid", "member", "instant")]
    return ~exists().where(*same, later.c.revision > table.c.revision)


def batches_of(connection: Connection, microgrid_id: str, start: int, end: int) -> list[Row[Any]]:
    """The signed batches with readings of instants from ``start`` to ``end``, both included, as they were numbered."""
    batches, table = schema.reading_batches, schema.meter_readings
    within = select(table.c.gateway, table.c.sequence).where(
        table.c.microgrid == microgrid_id, table.c.instant >= start, table.c.instant <= end
    )
    wanted = within.distinct().subquery()
    return list(
        connection.execute(
            select(batches)
            .join(wanted, (wanted.c.gateway == batches.c.gateway) & (wanted.c.sequence == batches.c.sequence))
            .where(batches.c.microgrid == microgrid_id)
            .order_by(batches.c.gateway, batches.c.sequence)
        )
    )


def _reading(r: Row[Any]) -> MeterReading:
    return MeterReading(
        member=r.member, instant=r.instant, import_wh=r.import_wh, export_wh=r.export_wh, quality=r.quality
    )
