"""the meters that a gateway's key is for."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("keys", sa.Column("meters", sa.Text()))
