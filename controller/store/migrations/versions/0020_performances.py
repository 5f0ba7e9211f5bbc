"""how members performed towards the partners they traded with."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    wide = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "performances",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("window", "member", "partner")),
        *(sa.Column(name, wide, nullable=False) for name in ("contracted_wh", "kept_wh")),
        sa.PrimaryKeyConstraint("window", "member", "partner", name=op.f("pk_performances")),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_performances_windows")),
        sa.CheckConstraint(
            "contracted_wh BETWEEN 1 AND 1000000000000 AND kept_wh BETWEEN 0 AND contracted_wh",
            name=op.f("ck_performances_range"),
        ),
        sqlite_strict=True,
    )
