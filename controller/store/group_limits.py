"""The statements for limits of groups."""

from dataclasses import asdict

from sqlalchemy import Connection, delete, select

from controller.group_limits import PassedOn
from controller.store import schema

FIELDS = tuple(PassedOn.__dataclass_fields__)


def put(connection: Connection, microgrid: str, limit: PassedOn) -> None:
    """Keep a limit in the place of the group's last one."""
    table = schema.group_limits
    connection.execute(delete(table).where(table.c.microgrid == microgrid, table.c["group"] == limit.group))
    connection.execute(table.insert().values(microgrid=microgrid, **asdict(limit)))


def all_of(connection: Connection, microgrid: str) -> list[PassedOn]:
    """The newest limit of each group, expired ones too, in order of the groups."""
    table = schema.group_limits
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid).order_by(table.c["group"]))
    return [PassedOn(**{name: row._mapping[name] for name in FIELDS}) for row in rows]
