"""The statements for what limits held back of devices."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, select

from controller.limits.holding import HeldBack
from controller.store import schema
from controller.store.rows import add_up


def add(connection: Connection, rows: Sequence[HeldBack]) -> None:
    """Add to what is known of each member, MTU and limit."""
    add_up(connection, schema.held_back, [asdict(row) for row in rows])


def between(connection: Connection, microgrid: str, start: int, end: int) -> list[HeldBack]:
    """What was held back in MTUs that begin in ``[start, end)``, in order of members, MTUs and limits."""
    table = schema.held_back
    where = (table.c.microgrid == microgrid) & (table.c.mtu_start >= start) & (table.c.mtu_start < end)
    order = (table.c.member, table.c.mtu_start, table.c.limit, table.c.holder)
    return [HeldBack(**row._mapping) for row in connection.execute(select(table).where(where).order_by(*order))]
