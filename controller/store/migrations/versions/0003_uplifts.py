"""what each window's clearing commits to pay to members whom it would make pay more than alone."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("windows", sa.Column("uplifts", sa.Text(), nullable=True))
