"""an index over readings by their instant: a window's are found without looking at months of them."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.create_index("ix_meter_readings_instant", "meter_readings", ["microgrid", "instant"])
