"""limits of groups of drivers' devices, passed on as the DSO signed them."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "group_limits",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("microgrid", "group", "driver", "holder")),
        *(sa.Column(name, WIDE, nullable=False) for name in ("counter", "expires")),
        *(sa.Column(name, WIDE, nullable=True) for name in ("lower_w", "upper_w")),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in ("payload", "signature")),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "group", name=op.f("pk_group_limits")),
        sa.CheckConstraint(
            "(lower_w IS NULL OR lower_w <= 0) AND (upper_w IS NULL OR upper_w >= 0)", name=op.f("ck_group_limits_zero")
        ),
        sqlite_strict=True,
    )
