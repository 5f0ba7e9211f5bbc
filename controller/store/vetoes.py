"""The statements for vetoes."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, select, update

from controller.store import schema
from controller.veto import Veto, VetoRecord, VetoState

FIELDS = ("id", "member", "section", "seller", "buyer", "start", "end", "reason", "digest")


def add(connection: Connection, microgrid: str, record: VetoRecord) -> None:
    """Keep a veto."""
    connection.execute(
        schema.vetoes.insert().values(
            microgrid=microgrid,
            **asdict(record.veto),
            state=record.state.value,
            created=record.created,
            holder=record.holder,
            payload=record.payload,
            signature=record.signature,
            key_id=record.key_id,
        )
    )


def cancel(connection: Connection, microgrid: str, id_: str) -> None:
    """Let a veto count no longer."""
    table = schema.vetoes
    connection.execute(
        update(table).where(table.c.microgrid == microgrid, table.c.id == id_).values(state=VetoState.CANCELLED.value)
    )


def find(connection: Connection, microgrid: str, id_: str) -> VetoRecord | None:
    """The veto of that id."""
    table = schema.vetoes
    row = connection.execute(select(table).where(table.c.microgrid == microgrid, table.c.id == id_)).first()
    return None if row is None else _record(row)


def after(connection: Connection, microgrid: str, id_: str) -> list[VetoRecord]:
    """All vetoes whose id is greater, in order of their ids."""
    table = schema.vetoes
    rows = connection.execute(
        select(table).where(table.c.microgrid == microgrid, table.c.id > id_).order_by(table.c.id)
    )
    return [_record(row) for row in rows]


def in_force(connection: Connection, microgrid: str, start: int, end: int) -> tuple[Veto, ...]:
    """The vetoes that count somewhere in ``[start, end)``, in order of their ids."""
    table = schema.vetoes
    rows = connection.execute(
        select(table)
        .where(
            table.c.microgrid == microgrid,
            table.c.state == VetoState.ACTIVE.value,
            table.c.start < end,
            table.c.end > start,
        )
        .order_by(table.c.id)
    )
    return tuple(_record(row).veto for row in rows)


def _record(row: Row[Any]) -> VetoRecord:
    values = row._mapping
    return VetoRecord(
        veto=Veto(**{name: values[name] for name in FIELDS}),
        state=VetoState(row.state),
        created=row.created,
        holder=row.holder,
        payload=row.payload,
        signature=row.signature,
        key_id=row.key_id,
    )
