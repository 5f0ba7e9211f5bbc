"""runs of windows: which settlement each sealed reading, posting and delivery belongs to; windows to look at again;
readings that take the place of others.
"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

SEALED = ("window", "meter", "instant")
KEYS = {
    "demand_deliveries": (("microgrid", "event", "offer", "mtu_start"), "run"),
    "meter_readings": (("microgrid", "member", "instant"), "revision"),
}


def upgrade() -> None:
    connection = op.get_bind()
    for table in ("readings", "postings", "demand_deliveries"):
        op.add_column(table, sa.Column("run", WIDE, nullable=False, server_default="0"))
    op.add_column("meter_readings", sa.Column("revision", WIDE, nullable=False, server_default="0"))
    op.create_table(
        "corrections_due",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "window", name=op.f("pk_corrections_due")),
        sqlite_strict=True,
    )
    if connection.dialect.name == "sqlite":
        old, new = ", ".join(SEALED), ", ".join(("window", "run", "meter", "instant"))
        _rebuild(
            connection,
            "readings",
            f"CONSTRAINT uq_readings_window_meter_instant UNIQUE ({old})",
            f"CONSTRAINT uq_readings_window_run_meter_instant UNIQUE ({new})",
        )
        for table, (columns, further) in KEYS.items():
            key = ", ".join(columns)
            _rebuild(connection, table, f"PRIMARY KEY ({key})", f"PRIMARY KEY ({key}, {further})")
        op.create_index("ix_meter_readings_instant", "meter_readings", ["microgrid", "instant"])
        return
    op.drop_constraint(op.f("uq_readings_window_meter_instant"), "readings", type_="unique")
    op.create_unique_constraint(
        op.f("uq_readings_window_run_meter_instant"), "readings", ["window", "run", "meter", "instant"]
    )
    for table, (columns, further) in KEYS.items():
        op.drop_constraint(op.f(f"pk_{table}"), table, type_="primary")
        op.create_primary_key(op.f(f"pk_{table}"), table, [*columns, further])


def _rebuild(connection: sa.Connection, table: str, old: str, new: str) -> None:
    """SQLite changes the keys of a new table only; no other table refers to any of these."""
    sql = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
    ).scalar()
    assert isinstance(sql, str)  # an earlier revision has made it
    head, body = sql.split("(", maxsplit=1)
    assert body.count(old) == 1, sql
    made = head.replace(table, f"{table}_new") + "(" + body.replace(old, new)
    connection.exec_driver_sql(made)
    connection.exec_driver_sql(f"INSERT INTO {table}_new SELECT * FROM {table}")
    connection.exec_driver_sql(f"DROP TABLE {table}")
    connection.exec_driver_sql(f"ALTER TABLE {table}_new RENAME TO {table}")
