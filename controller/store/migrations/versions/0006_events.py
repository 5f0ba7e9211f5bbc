"""what happened to windows and plans, for those who watch; and whose a plan is."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('CLEARING','PLAN')", name=op.f("ck_events_kind")),
        sa.PrimaryKeyConstraint("microgrid", "sequence", name=op.f("pk_events")),
        sqlite_strict=True,
    )
    op.add_column("plans", sa.Column("owner", sa.Text(), nullable=True))
