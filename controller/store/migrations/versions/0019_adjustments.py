"""clearings of a window after its own: what they are, and whose each order, trade, position and setpoint is."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

KEYS = {
    "positions": ("window", "adjustment", "member", "mtu_start"),
    "setpoints": ("window", "adjustment", "device", "mtu_start"),
}
ONCE = ("window", "adjustment", "mtu_start", "seller", "buyer", "price_micro_per_kwh")


def upgrade() -> None:
    connection = op.get_bind()
    op.add_column("microgrids", sa.Column("adjustment_minutes", WIDE, nullable=True))
    op.add_column("microgrids", sa.Column("adjustment_lead_minutes", WIDE, nullable=False, server_default="0"))
    op.create_table(
        "adjustments",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("microgrid", "window")),
        *(sa.Column(name, WIDE, nullable=False) for name in ("number", "start", "end", "closes")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("state", "source", "failure")),
        sa.Column("inputs_digest", sa.LargeBinary(), nullable=True),
        *(
            sa.Column(name, sa.Text(), nullable=True)
            for name in ("snapshot", "certificate", "plan", "carry", "quality", "relaxed")
        ),
        sa.PrimaryKeyConstraint("window", "number", name=op.f("pk_adjustments")),
        sa.UniqueConstraint("microgrid", "start", name=op.f("uq_adjustments_microgrid_start")),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_adjustments_windows")),
        sa.CheckConstraint('number > 0 AND "end" > start AND closes <= start', name=op.f("ck_adjustments_interval")),
        sa.CheckConstraint("state IN ('OPEN','CLOSED','CLEARED','FAILED')", name=op.f("ck_adjustments_state")),
        sa.CheckConstraint("source IN ('NONE','CLEARING','STANDING','FAILSAFE')", name=op.f("ck_adjustments_source")),
        sqlite_strict=True,
    )
    op.create_index("ix_adjustments_pending", "adjustments", ["microgrid", "state", "closes"])
    for table in ("orders", "trades", "positions", "setpoints"):
        op.add_column(table, sa.Column("adjustment", WIDE, nullable=False, server_default="0"))
    if connection.dialect.name == "sqlite":
        for table, key in KEYS.items():
            old = ", ".join(name for name in key if name != "adjustment")
            _rebuild(connection, table, f"PRIMARY KEY ({old})", f"PRIMARY KEY ({', '.join(key)})")
        _rebuild(
            connection,
            "trades",
            "CONSTRAINT uq_trades_window_mtu_start_seller_buyer UNIQUE (window, mtu_start, seller, buyer)",
            f"CONSTRAINT uq_trades_clearing UNIQUE ({', '.join(ONCE)})",
        )
        return
    for table, key in KEYS.items():
        op.drop_constraint(op.f(f"pk_{table}"), table, type_="primary")
        op.create_primary_key(op.f(f"pk_{table}"), table, list(key))
    op.drop_constraint(op.f("uq_trades_window_mtu_start_seller_buyer"), "trades", type_="unique")
    op.create_unique_constraint(op.f("uq_trades_clearing"), "trades", list(ONCE))


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
