"""what each window's clearing is worth, and which limits nobody could keep."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("windows", sa.Column("quality", sa.Text(), nullable=True))
    op.add_column("windows", sa.Column("relaxed", sa.Text(), nullable=True))
