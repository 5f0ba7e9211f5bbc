"""how windows of a microgrid are settled: what buyers pay for, fees and taxes."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("microgrids", sa.Column("settlement_rule", sa.Text(), nullable=False, server_default="CONTRACT"))
    for name in ("fee_micro_per_kwh", "fee_micro_per_month", "tax_ppm"):
        op.add_column("microgrids", sa.Column(name, WIDE, nullable=False, server_default="0"))
