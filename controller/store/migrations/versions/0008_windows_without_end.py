"""microgrids without an end, the instants of each window, members' connections and leaving."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("microgrids", sa.Column("planning_minutes", WIDE, nullable=True))
    op.add_column("microgrids", sa.Column("ahead_minutes", WIDE, nullable=False, server_default="1440"))
    op.add_column("microgrids", sa.Column("preset", sa.Text(), nullable=False, server_default="CUSTOM"))
    op.add_column("microgrids", sa.Column("bidding_minutes", WIDE, nullable=True))
    for name in ("deadline_minutes", "settlement_minutes"):
        op.add_column("microgrids", sa.Column(name, WIDE, nullable=False, server_default="0"))
    for name in ("connection_w", "feed_in_w", "gone"):
        op.add_column("members", sa.Column(name, WIDE, nullable=True))
    for name in ("opens", "closes", "deadline", "settles"):
        op.add_column("windows", sa.Column(name, WIDE, nullable=False, server_default="0"))
    op.execute(
        sa.text(
            'UPDATE windows SET deadline = start, settles = "end", closes = start - 60 * '
            "(SELECT lead_minutes FROM microgrids WHERE microgrids.id = windows.microgrid)"
        )
    )
