"""what owners wanted of their devices instead of the plan, and what of it they took back."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "overrides",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("number", WIDE, nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("made", WIDE, nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("cost_micro", WIDE, nullable=False),
        sa.Column("energy_wh", WIDE, nullable=False),
        sa.Column("deferred_wh", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "device", "number", name="pk_overrides"),
        sa.ForeignKeyConstraint(["microgrid"], ["microgrids.id"], name="fk_overrides_microgrids"),
        sa.CheckConstraint("mode IN ('RUN_NOW','NOT_TODAY','PAUSE')", name="mode"),
        sqlite_strict=True,
    )
    op.create_table(
        "override_ends",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("number", WIDE, nullable=False),
        sa.Column("instant", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "device", "number", name="pk_override_ends"),
        sa.ForeignKeyConstraint(
            ["microgrid", "device", "number"],
            ["overrides.microgrid", "overrides.device", "overrides.number"],
            name="fk_override_ends_overrides",
        ),
        sqlite_strict=True,
    )
