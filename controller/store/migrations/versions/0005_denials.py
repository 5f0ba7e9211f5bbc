"""who is shut out of a microgrid although the certificate is valid."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "denials",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "subject", name="pk_denials"),
        sa.ForeignKeyConstraint(["microgrid"], ["microgrids.id"], name="fk_denials_microgrids"),
        sqlite_strict=True,
    )
