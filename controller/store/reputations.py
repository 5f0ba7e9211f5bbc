"""The statements for how members performed towards their partners."""

from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import Connection, func, select

from controller.reputation import SCORE_S, Performance, scores
from controller.store import schema
from controller.store.rows import insert


def add(connection: Connection, window: str, found: Iterable[Performance]) -> None:
    """Keep what a window's settlement found."""
    insert(connection, schema.performances, [{"window": window, **asdict(one)} for one in found])


def scores_at(connection: Connection, microgrid_id: str, members: Iterable[str], start: int) -> dict[str, int]:
    """The scores that count for a window which starts at an instant: of a week before it, as far as it is settled."""
    table, windows = schema.performances, schema.windows
    rows = connection.execute(
        select(
            table.c.member,
            table.c.partner,
            func.sum(table.c.contracted_wh).label("contracted_wh"),
            func.sum(table.c.kept_wh).label("kept_wh"),
        )
        .join(windows, windows.c.name == table.c.window)
        .where(windows.c.microgrid == microgrid_id, windows.c.start >= start - SCORE_S, windows.c.start < start)
        .group_by(table.c.member, table.c.partner)
    )
    found = [
        Performance(member=r.member, partner=r.partner, contracted_wh=int(r.contracted_wh), kept_wh=int(r.kept_wh))
        for r in rows
    ]
    return scores(members, found)
