"""whom members let read their data and plan their devices, and what of it they took back."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("number", WIDE, nullable=False),
        sa.Column("grantee", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("granted", WIDE, nullable=False),
        sa.Column("expires", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "member", "number", name="pk_consents"),
        sa.ForeignKeyConstraint(
            ["microgrid", "member"], ["members.microgrid", "members.id"], name="fk_consents_members"
        ),
        sa.CheckConstraint("scope IN ('METER_DATA','TRADES','DISPATCH')", name="scope"),
        sa.CheckConstraint("expires > granted", name="lasting"),
        sqlite_strict=True,
    )
    op.create_table(
        "consent_revocations",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("number", WIDE, nullable=False),
        sa.Column("instant", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "member", "number", name="pk_consent_revocations"),
        sa.ForeignKeyConstraint(
            ["microgrid", "member", "number"],
            ["consents.microgrid", "consents.member", "consents.number"],
            name="fk_consent_revocations_consents",
        ),
        sqlite_strict=True,
    )
