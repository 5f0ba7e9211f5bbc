"""what limits held back of members' devices, by which settlements correct their positions."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "held_back",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("mtu_start", WIDE, nullable=False),
        sa.Column("limit", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("consumption_w_ms", WIDE, nullable=False),
        sa.Column("production_w_ms", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "member", "mtu_start", "limit", "holder", name=op.f("pk_held_back")),
        sa.CheckConstraint("consumption_w_ms >= 0 AND production_w_ms >= 0", name=op.f("ck_held_back_range")),
        sqlite_strict=True,
    )
    op.create_index("ix_held_back_mtu_start", "held_back", ["microgrid", "mtu_start"])
