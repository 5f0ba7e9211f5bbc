"""what is declared of meters and of missing readings, what happened to readings, which windows rest on estimates, and
what feeders' meters say beside the sum of their members'; such meters' readings are kept among those of members.
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

FOREIGN = "CONSTRAINT fk_meter_readings_members FOREIGN KEY(microgrid, member) REFERENCES members (microgrid, id), \n\t"


def upgrade() -> None:
    op.create_table(
        "meter_changes",
        _text("microgrid"),
        _text("member"),
        _wide("instant"),
        *(_wide(name, nullable=True) for name in ("rollover_wh", "final_import_wh", "final_export_wh")),
        *(_wide(name, nullable=True) for name in ("first_import_wh", "first_export_wh")),
        _wide("created"),
        sa.CheckConstraint("rollover_wh BETWEEN 1000 AND 1000000000000", name=op.f("ck_meter_changes_rollover")),
        sa.PrimaryKeyConstraint("microgrid", "member", "instant", name=op.f("pk_meter_changes")),
        sqlite_strict=True,
    )
    op.create_table(
        "meter_events",
        _text("microgrid"),
        _wide("number"),
        _wide("created"),
        _text("kind"),
        _text("member"),
        _wide("instant", nullable=True),
        _text("reporter"),
        _wide("sequence"),
        *(_wide(name, nullable=True) for name in ("import_wh", "export_wh", "known_import_wh", "known_export_wh")),
        _wide("known_instant", nullable=True),
        _text("note"),
        sa.PrimaryKeyConstraint("microgrid", "number", name=op.f("pk_meter_events")),
        sqlite_strict=True,
    )
    op.create_index("ix_meter_events_member", "meter_events", ["microgrid", "member", "number"])
    op.create_index("ix_meter_events_instant", "meter_events", ["microgrid", "member", "instant"])
    op.create_table(
        "meter_decisions",
        _text("microgrid"),
        _wide("number"),
        _text("decision"),
        _text("reason"),
        _text("by"),
        _wide("created"),
        sa.CheckConstraint("decision IN ('KEPT','ACCEPTED')", name=op.f("ck_meter_decisions_decision")),
        sa.ForeignKeyConstraint(
            ["microgrid", "number"],
            ["meter_events.microgrid", "meter_events.number"],
            name=op.f("fk_meter_decisions_meter_events"),
        ),
        sa.PrimaryKeyConstraint("microgrid", "number", name=op.f("pk_meter_decisions")),
        sqlite_strict=True,
    )
    op.create_table(
        "metering_rules",
        _text("microgrid"),
        _text("estimation"),
        _wide("after_minutes"),
        _wide("loss_permille", nullable=True),
        sa.CheckConstraint("loss_permille BETWEEN 0 AND 1000", name=op.f("ck_metering_rules_loss")),
        sa.CheckConstraint("estimation IN ('NONE','LINEAR','PROFILE')", name=op.f("ck_metering_rules_estimation")),
        sa.ForeignKeyConstraint(["microgrid"], ["microgrids.id"], name=op.f("fk_metering_rules_microgrids")),
        sa.PrimaryKeyConstraint("microgrid", name=op.f("pk_metering_rules")),
        sqlite_strict=True,
    )
    op.create_table(
        "estimated",
        _text("microgrid"),
        _text("member"),
        _text("window"),
        sa.PrimaryKeyConstraint("microgrid", "member", "window", name=op.f("pk_estimated")),
        sqlite_strict=True,
    )
    op.create_table(
        "feeder_sums",
        _text("window"),
        _text("place"),
        _wide("mtu_start"),
        _wide("metered_wh"),
        _wide("members_wh"),
        _wide("through_wh"),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_feeder_sums_windows")),
        sa.PrimaryKeyConstraint("window", "place", "mtu_start", name=op.f("pk_feeder_sums")),
        sqlite_strict=True,
    )
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _rebuild(connection, "meter_readings", FOREIGN)
        op.create_index("ix_meter_readings_instant", "meter_readings", ["microgrid", "instant"])
    else:
        op.drop_constraint(op.f("fk_meter_readings_members"), "meter_readings", type_="foreignkey")


def _rebuild(connection: sa.Connection, table: str, gone: str) -> None:
    """SQLite drops constraints of no table but a new one; no other table refers to this."""
    sql = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
    ).scalar()
    assert isinstance(sql, str)  # an earlier revision has made it
    head, body = sql.split("(", maxsplit=1)
    assert body.count(gone) == 1, sql
    connection.exec_driver_sql(head.replace(table, f"{table}_new") + "(" + body.replace(gone, ""))
    connection.exec_driver_sql(f"INSERT INTO {table}_new SELECT * FROM {table}")
    connection.exec_driver_sql(f"DROP TABLE {table}")
    connection.exec_driver_sql(f"ALTER TABLE {table}_new RENAME TO {table}")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _wide(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=nullable)
