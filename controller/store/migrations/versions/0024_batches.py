"""batches of headers, sets of validators, what they signed, and both on their way to the registry."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("microgrid", sa.Text(), nullable=False),
        *(sa.Column(name, WIDE, nullable=False) for name in ("number", "first", "count")),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in ("previous", "windows_root", "hash")),
        sa.Column("created", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "number", name=op.f("pk_batches")),
        sa.UniqueConstraint("microgrid", "first", name=op.f("uq_batches_microgrid_first")),
        sa.ForeignKeyConstraint(
            ["microgrid", "first"], ["headers.microgrid", "headers.number"], name=op.f("fk_batches_headers")
        ),
        sa.CheckConstraint('number >= 0 AND first >= 0 AND "count" BETWEEN 1 AND 4096', name=op.f("ck_batches_range")),
        sa.CheckConstraint(
            "length(previous) = 32 AND length(windows_root) = 32 AND length(hash) = 32", name=op.f("ck_batches_hashes")
        ),
        sqlite_strict=True,
    )
    op.create_table(
        "batching",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("since", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("microgrid", name=op.f("pk_batching")),
        sqlite_strict=True,
    )
    op.create_table(
        "batch_signatures",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("number", WIDE, nullable=False),
        sa.Column("validator", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("created", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "number", "validator", name=op.f("pk_batch_signatures")),
        sa.ForeignKeyConstraint(
            ["microgrid", "number"], ["batches.microgrid", "batches.number"], name=op.f("fk_batch_signatures_batches")
        ),
        sa.CheckConstraint(
            "length(validator) = 42 AND length(signature) = 65", name=op.f("ck_batch_signatures_lengths")
        ),
        sqlite_strict=True,
    )
    _create_quorums()
    _create_outbox()


def _create_quorums() -> None:
    op.create_table(
        "quorums",
        *(sa.Column(name, WIDE, nullable=False) for name in ("epoch", "threshold")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("validators", "proposed_by")),
        sa.Column("created", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_quorums")),
        sa.CheckConstraint("epoch >= 1 AND threshold BETWEEN 1 AND 32", name=op.f("ck_quorums_range")),
        sqlite_strict=True,
    )
    op.create_table(
        "quorum_signatures",
        sa.Column("epoch", WIDE, nullable=False),
        sa.Column("validator", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("created", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("epoch", "validator", name=op.f("pk_quorum_signatures")),
        sa.ForeignKeyConstraint(["epoch"], ["quorums.epoch"], name=op.f("fk_quorum_signatures_quorums")),
        sa.CheckConstraint(
            "length(validator) = 42 AND length(signature) = 65", name=op.f("ck_quorum_signatures_lengths")
        ),
        sqlite_strict=True,
    )


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("kind", "microgrid")),
        sa.Column("number", WIDE, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("block_number", WIDE, nullable=True),
        *(sa.Column(name, sa.LargeBinary(), nullable=True) for name in ("block_hash", "transaction_hash")),
        sa.Column("gas_used", WIDE, nullable=True),
        sa.PrimaryKeyConstraint("kind", "microgrid", "number", name=op.f("pk_outbox")),
        sa.CheckConstraint(
            "kind IN ('BATCH','QUORUM') AND (kind = 'BATCH') = (microgrid <> '')", name=op.f("ck_outbox_kind")
        ),
        sa.CheckConstraint("state IN ('PENDING','SENT','INCLUDED','FINAL')", name=op.f("ck_outbox_state")),
        sa.CheckConstraint(
            "(block_number IS NULL) = (state IN ('PENDING','SENT')) AND (block_hash IS NULL) = (block_number IS NULL)",
            name=op.f("ck_outbox_block"),
        ),
        sqlite_strict=True,
    )
    op.create_index("ix_outbox_state", "outbox", ["state"])
    op.create_table(
        "outbox_attempts",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("kind", "microgrid")),
        *(sa.Column(name, WIDE, nullable=False) for name in ("number", "place")),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("created_us", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("kind", "microgrid", "number", "place", name=op.f("pk_outbox_attempts")),
        sa.ForeignKeyConstraint(
            ["kind", "microgrid", "number"],
            ["outbox.kind", "outbox.microgrid", "outbox.number"],
            name=op.f("fk_outbox_attempts_outbox"),
        ),
        sqlite_strict=True,
    )
    op.create_table(
        "leases",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("sender", "holder")),
        sa.Column("until_us", WIDE, nullable=False),
        sa.PrimaryKeyConstraint("sender", name=op.f("pk_leases")),
        sqlite_strict=True,
    )
