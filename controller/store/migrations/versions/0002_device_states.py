"""what telemetry says of devices that are on or off, and of thermostats."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for name in ("closed", "held_s", "starts_today", "temperature_milli_c"):
        op.add_column(
            "device_states", sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True)
        )
