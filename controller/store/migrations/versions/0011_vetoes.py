"""trades that the DSO forbids for a while."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "vetoes",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=True),
        sa.Column("section", sa.Text(), nullable=True),
        sa.Column("seller", sa.Text(), nullable=True),
        sa.Column("buyer", sa.Text(), nullable=True),
        sa.Column("start", WIDE, nullable=False),
        sa.Column("end", WIDE, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created", WIDE, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.CheckConstraint('"end" > start', name=op.f("ck_vetoes_interval")),
        sa.CheckConstraint("state IN ('ACTIVE','CANCELLED')", name=op.f("ck_vetoes_state")),
        sa.PrimaryKeyConstraint("microgrid", "id", name=op.f("pk_vetoes")),
        sqlite_strict=True,
    )
