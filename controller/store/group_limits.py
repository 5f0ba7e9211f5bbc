"""The statements for limits of groups."""

from dataclasses import asdict

from sqlalchemy import Connection, and_, delete, or_, select

from controller.group_limits import PassedOn
from controller.store import schema

FIELDS = tuple(PassedOn.__dataclass_fields__)


def put(connection: Connection, microgrid: str, limit: PassedOn, now: float) -> None:
    """Keep a limit as the newest of its group and DSO; those that it replaces stay until they expire.

    Drivers may not have heard of it. What is no wider than it, and ends no later, is not kept besides.
    """
    table = schema.group_limits
    covered = [table.c.driver == limit.driver, table.c.expires <= limit.expires]
    if limit.lower_w is not None:
        covered.append(table.c.lower_w >= limit.lower_w)
    if limit.upper_w is not None:
        covered.append(table.c.upper_w <= limit.upper_w)
    own = [table.c.microgrid == microgrid, table.c["group"] == limit.group, table.c.holder == limit.holder]
    connection.execute(delete(table).where(*own, or_(table.c.expires <= int(now), and_(*covered))))
    connection.execute(table.insert().values(microgrid=microgrid, **asdict(limit)))


def all_of(connection: Connection, microgrid: str) -> list[PassedOn]:
    """The newest limit of each group and DSO, expired ones too, and replaced ones, in order of the groups."""
    table = schema.group_limits
    order = (table.c["group"], table.c.holder, table.c.counter)
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid).order_by(*order))
    return [PassedOn(**{name: row._mapping[name] for name in FIELDS}) for row in rows]
