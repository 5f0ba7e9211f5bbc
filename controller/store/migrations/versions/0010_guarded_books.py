"""ranges that the database itself holds, books that sum to zero at every commit, the age of acknowledged calls."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

CHECKS = (
    ("headers", "range", "number >= 0 AND run >= 0 AND length(hash) = 32"),
    ("meter_readings", "range", "import_wh <= 1000000000000 AND export_wh <= 1000000000000"),
    ("orders", "version", "version >= 1"),
    ("positions", "range", "abs(net_wh) <= 1000000000000"),
    ("postings", "range", "ix >= 0 AND abs(amount_micro) <= 1000000000000000000"),
    (
        "readings",
        "range",
        "ix >= 0 AND import_wh BETWEEN 0 AND 1000000000000 AND export_wh BETWEEN 0 AND 1000000000000",
    ),
    ("setpoints", "range", "abs(value) <= 1000000000 AND (kind <> 'RELAY' OR value IN (0, 1))"),
    ("tariff", "interval", '"end" > start'),
    ("trades", "range", "ix >= 0 AND energy_wh <= 1000000000000 AND abs(price_micro_per_kwh) <= 1000000000"),
)


def upgrade() -> None:
    connection = op.get_bind()
    for table, name, condition in CHECKS:
        if connection.dialect.name == "sqlite":
            _rebuild(connection, table, f"CONSTRAINT ck_{table}_{name} CHECK ({condition})")
        else:
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
    op.add_column("requests", sa.Column("created", WIDE, nullable=False, server_default="0"))
    balanced = op.create_table(
        "balanced",
        sa.Column("amount_micro", WIDE, nullable=False),
        sa.CheckConstraint("amount_micro = 0", name=op.f("ck_balanced_zero")),
        sa.PrimaryKeyConstraint("amount_micro", name=op.f("pk_balanced")),
        sqlite_strict=True,
    )
    op.create_table(
        "balances",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("amount_micro", WIDE, nullable=False),
        sa.ForeignKeyConstraint(
            ["amount_micro"],
            ["balanced.amount_micro"],
            name=op.f("fk_balances_balanced"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("window", name=op.f("pk_balances")),
        sqlite_strict=True,
    )
    connection.execute(balanced.insert().values(amount_micro=0))
    op.execute(
        'INSERT INTO balances ("window", amount_micro) '
        'SELECT "window", CAST(SUM(amount_micro) AS BIGINT) FROM postings GROUP BY "window"'
    )


def _rebuild(connection: sa.Connection, table: str, constraint: str) -> None:
    """SQLite adds a constraint to a new table only; no other table refers to any of these."""
    sql = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
    ).scalar()
    assert isinstance(sql, str)  # an earlier revision has made it
    end = sql.rindex(")")
    head, body = sql[:end].split("(", maxsplit=1)
    renamed = head.replace(table, f"{table}_new")
    connection.exec_driver_sql(f"{renamed}({body.rstrip()}, \n\t{constraint}\n{sql[end:]}")
    connection.exec_driver_sql(f"INSERT INTO {table}_new SELECT * FROM {table}")
    connection.exec_driver_sql(f"DROP TABLE {table}")
    connection.exec_driver_sql(f"ALTER TABLE {table}_new RENAME TO {table}")
