"""the access journal."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    wide = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "accesses",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("number", wide, nullable=False),
        sa.Column("instant", wide, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("count", wide, nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "number", name=op.f("pk_accesses")),
        sa.UniqueConstraint("microgrid", "hash", name=op.f("uq_accesses_microgrid_hash")),
        sa.CheckConstraint('number > 0 AND "count" > 0', name=op.f("ck_accesses_counted")),
        sqlite_strict=True,
    )
