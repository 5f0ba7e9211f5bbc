"""The statements for overrides; an override and its end before its time are rows that are only ever added."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, select

from controller.store import schema
from controller.wishes import Cost, Mode, Override, OverrideState, Step, from_plain, to_plain


def add(
    connection: Connection, microgrid: str, device: str, *, mode: Mode, made: int, steps: Sequence[Step], cost: Cost
) -> Override:
    """Keep an override; it takes the place of the device's earlier ones."""
    table = schema.overrides
    newest = connection.execute(
        select(func.max(table.c.number)).where(table.c.microgrid == microgrid, table.c.device == device)
    ).scalar()
    number = 1 if newest is None else newest + 1
    connection.execute(
        table.insert().values(
            microgrid=microgrid,
            device=device,
            number=number,
            mode=mode.value,
            made=made,
            steps=json.dumps(to_plain(steps)),
            cost_micro=cost.cost_micro,
            energy_wh=cost.energy_wh,
            deferred_wh=cost.deferred_wh,
        )
    )
    return Override(device=device, number=number, mode=mode, made=made, steps=tuple(steps), cost=cost)


def clear(connection: Connection, microgrid: str, device: str, number: int, instant: int) -> None:
    """Take an override back."""
    connection.execute(
        schema.override_ends.insert().values(microgrid=microgrid, device=device, number=number, instant=instant)
    )


def clear_standing(connection: Connection, microgrid: str, device: str, instant: int) -> None:
    """Take back what a device is to do at an instant, if there is anything."""
    for override in of_device(connection, microgrid, device)[-1:]:
        if override.state(instant) is OverrideState.ACTIVE:
            clear(connection, microgrid, device, override.number, instant)


def of_device(connection: Connection, microgrid: str, device: str) -> list[Override]:
    """All overrides of a device, oldest first."""
    rows = _rows(connection, microgrid, device)
    return [_override(row, newest=row is rows[-1]) for row in rows]


def newest(connection: Connection, microgrid: str, device: str) -> Override | None:
    """The newest override of a device, whether it counts or not; None where there was none."""
    row = connection.execute(_statement(microgrid, device).order_by(schema.overrides.c.number.desc()).limit(1)).first()
    return None if row is None else _override(row)


def standing(connection: Connection, microgrid: str) -> list[Override]:
    """Of each device the newest override, where it was not taken back; its time may be over."""
    newest = {row.device: row for row in _rows(connection, microgrid, None)}
    return [_override(row) for row in newest.values() if row.cleared is None]


def _rows(connection: Connection, microgrid: str, device: str | None) -> list[Row[Any]]:
    table = schema.overrides
    return list(connection.execute(_statement(microgrid, device).order_by(table.c.device, table.c.number)))


def _statement(microgrid: str, device: str | None) -> Select[Any]:
    table, ends = schema.overrides, schema.override_ends
    same = and_(ends.c.microgrid == table.c.microgrid, ends.c.device == table.c.device, ends.c.number == table.c.number)
    statement = select(table, ends.c.instant.label("cleared")).select_from(table.outerjoin(ends, same))
    statement = statement.where(table.c.microgrid == microgrid)
    if device is not None:
        statement = statement.where(table.c.device == device)
    return statement


def _override(row: Row[Any], *, newest: bool = True) -> Override:
    return Override(
        device=row.device,
        number=row.number,
        mode=Mode(row.mode),
        made=row.made,
        steps=from_plain(json.loads(row.steps)),
        cost=Cost(cost_micro=row.cost_micro, energy_wh=row.energy_wh, deferred_wh=row.deferred_wh),
        cleared=row.cleared,
        newest=newest,
    )
