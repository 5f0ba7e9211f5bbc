"""windows are anchored in batches alone: the outbox of single windows goes, and what it said of windows with it."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    # The registry of before held windows one by one; batches of the same headers go to its successor.
    windows = sa.table("windows", sa.column("state"))
    op.get_bind().execute(windows.update().where(windows.c.state == "ANCHORED").values(state="SETTLED"))
    op.drop_table("anchors")
