"""what solvers answered and what settlements rested on, so that validators can compute both again."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "clearings",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("adjustment", WIDE, nullable=False),
        sa.Column("witness", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("window", "adjustment", name=op.f("pk_clearings")),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_clearings_windows")),
        sqlite_strict=True,
    )
    op.create_table(
        "settlements",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("run", WIDE, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("window", "run", name=op.f("pk_settlements")),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_settlements_windows")),
        sqlite_strict=True,
    )
