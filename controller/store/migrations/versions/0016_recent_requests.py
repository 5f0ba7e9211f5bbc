"""an index over calls by their time, to count what an identity did of late."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_index("ix_requests_recent", "requests", ["identity", "method", "created"])
