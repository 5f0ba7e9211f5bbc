"""The statements for the clearings of a window after its own: each adjusts a part of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, or_, select, update

from controller.microgrid import PlanSource
from controller.store import events, schema

REPLACING = (PlanSource.CLEARING.value, PlanSource.FAILSAFE.value)
"""Sources of an adjustment with which what the window's clearing told devices in its part acts no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustmentRow:
    """An adjustment as it is kept; JSON texts stay texts.

    Attributes
    ----------
    microgrid, window, number : which; numbers count from 1 within the window
    start, end, closes : as in ``Slot``
    state : OPEN, CLOSED, CLEARED or FAILED
    source : which plan acts in its part; NONE until it is decided
    failure : why it failed; empty where it did not
    inputs_digest, snapshot : what it was decided on; None before its gate has closed
    certificate, plan, carry, quality, relaxed : of its own clearing, as of a window's; None where there is none
    """

    microgrid: str
    window: str
    number: int
    start: int
    end: int
    closes: int
    state: str
    source: str
    failure: str
    inputs_digest: bytes | None
    snapshot: str | None
    certificate: str | None
    plan: str | None
    carry: str | None
    quality: str | None
    relaxed: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An adjustment that is not decided yet, as far as its next step depends on it."""

    window: str
    number: int
    state: str
    closes: int


def pending(connection: Connection, microgrid_id: str, now: float) -> list[Pending]:
    """The adjustments that have a step to take now, in order of time."""
    table, windows = schema.adjustments, schema.windows
    rows = connection.execute(
        select(table.c.window, table.c.number, table.c.state, table.c.closes)
        .join(windows, windows.c.name == table.c.window)
        .where(
            table.c.microgrid == microgrid_id,
            or_(table.c.state == "CLOSED", and_(table.c.state == "OPEN", table.c.closes <= int(now))),
            windows.c.state.not_in(["OPEN", "CLOSED"]),
        )
        .order_by(table.c.start)
    )
    return [Pending(**r._mapping) for r in rows]


def adjustment(connection: Connection, window: str, number: int) -> AdjustmentRow | None:
    """The adjustment of that number."""
    table = schema.adjustments
    found = connection.execute(select(table).where(table.c.window == window, table.c.number == number)).first()
    return None if found is None else AdjustmentRow(**found._mapping)


def adjustments(connection: Connection, window: str) -> list[AdjustmentRow]:
    """All adjustments of a window, in order of time."""
    table = schema.adjustments
    rows = connection.execute(select(table).where(table.c.window == window).order_by(table.c.number))
    return [AdjustmentRow(**r._mapping) for r in rows]


def outlines(connection: Connection, window: str) -> list[AdjustmentRow]:
    """The same without what they were decided on, their plans and remainders: those of a hundred homes are long."""
    table = schema.adjustments
    long = ("snapshot", "plan", "carry")
    rows = connection.execute(
        select(*(column for column in table.c if column.name not in long))
        .where(table.c.window == window)
        .order_by(table.c.number)
    )
    return [AdjustmentRow(**r._mapping, snapshot=None, plan=None, carry=None) for r in rows]


def undecided(connection: Connection, window: str) -> bool:
    """Whether a window has adjustments that are not decided yet."""
    table = schema.adjustments
    found = connection.execute(
        select(table.c.number).where(table.c.window == window, table.c.state.in_(["OPEN", "CLOSED"])).limit(1)
    )
    return found.first() is not None


def open_parts(connection: Connection, microgrid_id: str, start: int, end: int) -> list[tuple[int, int]]:
    """The parts of windows that touch ``[start, end)`` and may still be adjusted, as start and end."""
    table = schema.adjustments
    rows = connection.execute(
        select(table.c.start, table.c.end).where(
            table.c.microgrid == microgrid_id,
            table.c.state.in_(["OPEN", "CLOSED"]),
            table.c.start < end,
            table.c.end > start,
        )
    )
    return [(r.start, r.end) for r in rows]


def set_adjustment(connection: Connection, window: str, number: int, *, was: str, **values: Any) -> bool:
    """Change an adjustment that is in the state ``was``; False when it is not, so that a step has one effect.

    Who watches the window hears of it.
    """
    table = schema.adjustments
    result = connection.execute(
        update(table).where(table.c.window == window, table.c.number == number, table.c.state == was).values(**values)
    )
    if result.rowcount != 1:
        return False
    events.add(connection, window.split("/")[1], events.CLEARING, window)
    return True


def newest_with(connection: Connection, microgrid_id: str, column: str, *, before: int) -> AdjustmentRow | None:
    """The last adjustment of a part that begins before an instant and has a text in a column."""
    table = schema.adjustments
    found = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid_id, table.c.start < before, table.c[column].is_not(None))
        .order_by(table.c.start.desc())
        .limit(1)
    ).first()
    return None if found is None else AdjustmentRow(**found._mapping)


def replaced(connection: Connection, windows: Sequence[str]) -> list[tuple[str, int, int, int]]:
    """Where adjustments took the place of what was told before: window, number, start and end of its part."""
    table = schema.adjustments
    rows = connection.execute(
        select(table.c.window, table.c.number, table.c.start, table.c.end).where(
            table.c.window.in_(windows), table.c.source.in_(REPLACING)
        )
    )
    return [(r.window, r.number, r.start, r.end) for r in rows]
