"""what was planned before a demand-response event, beside what its deliveries are measured against."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("demand_events", sa.Column("planned", sa.Text(), nullable=False, server_default=sa.text("''")))
