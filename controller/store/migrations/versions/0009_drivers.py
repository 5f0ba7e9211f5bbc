"""which gateway serves a device, and what its driver declares: failsafe and bounds."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    wide = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("devices", sa.Column("gateway", sa.Text(), nullable=True))
    op.create_table(
        "declarations",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("failsafe_kind", sa.Text(), nullable=True),
        sa.Column("failsafe_value", wide, nullable=True),
        sa.Column("lower_w", wide, nullable=True),
        sa.Column("upper_w", wide, nullable=True),
        sa.PrimaryKeyConstraint("microgrid", "device", name="pk_declarations"),
        sa.CheckConstraint("failsafe_kind IN ('RELAY','POWER','PRODUCTION_LIMIT')", name="kind"),
        sa.CheckConstraint("(failsafe_kind IS NULL) = (failsafe_value IS NULL)", name="failsafe"),
        sqlite_strict=True,
    )
