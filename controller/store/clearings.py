"""The statements for what solvers answered."""

from sqlalchemy import Connection, delete, select

from contracts.outbox import AnchorState
from controller.store import batches, schema

HELD = (AnchorState.INCLUDED.name, AnchorState.FINAL.name)


def add(connection: Connection, window: str, adjustment: int, witness: bytes) -> None:
    """Keep what a solver answered, packed, of a window's own clearing (0) or of an adjustment."""
    connection.execute(schema.clearings.insert().values(window=window, adjustment=adjustment, witness=witness))


def of_window(connection: Connection, window: str) -> dict[int, bytes]:
    """What solvers answered about a window and its adjustments, packed, by the adjustment's number."""
    table = schema.clearings
    rows = connection.execute(select(table).where(table.c.window == window).order_by(table.c.adjustment))
    return {row.adjustment: bytes(row.witness) for row in rows}


def forget(connection: Connection, before: int) -> int:
    """Let go of what was answered about windows that ended before an instant, once a registry holds them.

    Of other windows it stays: a validator may still want it. Returns how many answers went.

    Parameters
    ----------
    before : Unix seconds
    """
    table, windows, headers = schema.clearings, schema.windows, schema.headers
    made, outbox = schema.batches, schema.outbox
    old = (
        select(windows.c.name)
        .join(headers, (headers.c.window == windows.c.name) & (headers.c.run == 0))
        .join(
            made,
            (made.c.microgrid == headers.c.microgrid)
            & (made.c.first <= headers.c.number)
            & (made.c.first + made.c["count"] > headers.c.number),
        )
        .join(
            outbox,
            (outbox.c.kind == batches.BATCH)
            & (outbox.c.microgrid == made.c.microgrid)
            & (outbox.c.number == made.c.number),
        )
        .where(windows.c.end < before, outbox.c.state.in_(HELD))
    )
    return connection.execute(delete(table).where(table.c.window.in_(old))).rowcount
