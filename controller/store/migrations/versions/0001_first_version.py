"""first version of the schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "anchors",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("header_hash", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("raw_transaction", sa.LargeBinary(), nullable=True),
        sa.Column("transaction_hash", sa.LargeBinary(), nullable=True),
        sa.Column("gas_used", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.CheckConstraint("state IN ('PENDING','SENT','INCLUDED','FINAL')", name=op.f("ck_anchors_state")),
        sa.PrimaryKeyConstraint("window", "run", name=op.f("pk_anchors")),
        sqlite_strict=True,
    )
    op.create_table(
        "attestations",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("validator", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("window", "run", "validator", name=op.f("pk_attestations")),
        sqlite_strict=True,
    )
    op.create_table(
        "controllers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("epoch", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_controllers")),
        sqlite_strict=True,
    )
    op.create_table(
        "device_states",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("instant", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("power_w", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("closed_s", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("stored_wh", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("microgrid", "device", name=op.f("pk_device_states")),
        sqlite_strict=True,
    )
    op.create_table(
        "envelopes",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("periods", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('ACTIVE', 'CANCELLED')", name=op.f("ck_envelopes_state")),
        sa.PrimaryKeyConstraint("microgrid", "id", name=op.f("pk_envelopes")),
        sqlite_strict=True,
    )
    op.create_table(
        "microgrids",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("mtu_minutes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("window_minutes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("lead_minutes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("start", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("end", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "network_charge_micro_per_kwh",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.CheckConstraint('"end" > start', name=op.f("ck_microgrids_interval")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_microgrids")),
        sqlite_strict=True,
    )
    op.create_table(
        "orders",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("window", "member", "version", name=op.f("pk_orders")),
        sqlite_strict=True,
    )
    op.create_table(
        "plans",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_plans")),
        sqlite_strict=True,
    )
    op.create_table(
        "reading_batches",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("microgrid", "gateway", "sequence", name=op.f("pk_reading_batches")),
        sqlite_strict=True,
    )
    op.create_table(
        "reports",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("command_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("instant", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("command_id", "state", name=op.f("pk_reports")),
        sqlite_strict=True,
    )
    op.create_table(
        "requests",
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("identity", "request_id", name=op.f("pk_requests")),
        sqlite_strict=True,
    )
    op.create_table(
        "windows",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("end", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("inputs_digest", sa.LargeBinary(), nullable=True),
        sa.Column("snapshot", sa.Text(), nullable=True),
        sa.Column("certificate", sa.Text(), nullable=True),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("carry", sa.Text(), nullable=True),
        sa.CheckConstraint("source IN ('NONE','CLEARING','TAIL','FAILSAFE')", name=op.f("ck_windows_source")),
        sa.CheckConstraint(
            "state IN ('OPEN','CLOSED','CLEARED','DELIVERING','METERED','SETTLED','ANCHORED','FAILED')",
            name=op.f("ck_windows_state"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_windows")),
        sa.UniqueConstraint("microgrid", "start", name=op.f("uq_windows_microgrid_start")),
        sqlite_strict=True,
    )
    op.create_table(
        "headers",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("header", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_headers_windows")),
        sa.PrimaryKeyConstraint("microgrid", "number", name=op.f("pk_headers")),
        sa.UniqueConstraint("window", "run", name=op.f("uq_headers_window_run")),
        sqlite_strict=True,
    )
    op.create_table(
        "keys",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["microgrid"], ["microgrids.id"], name=op.f("fk_keys_microgrids")),
        sa.PrimaryKeyConstraint("microgrid", "key_id", name=op.f("pk_keys")),
        sqlite_strict=True,
    )
    op.create_table(
        "members",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("section", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["microgrid"], ["microgrids.id"], name=op.f("fk_members_microgrids")),
        sa.PrimaryKeyConstraint("microgrid", "id", name=op.f("pk_members")),
        sqlite_strict=True,
    )
    op.create_table(
        "positions",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("net_wh", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_positions_windows")),
        sa.PrimaryKeyConstraint("window", "member", "mtu_start", name=op.f("pk_positions")),
        sqlite_strict=True,
    )
    op.create_table(
        "postings",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("ix", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("amount_micro", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_postings_windows")),
        sa.PrimaryKeyConstraint("window", "ix", name=op.f("pk_postings")),
        sqlite_strict=True,
    )
    op.create_table(
        "readings",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("ix", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("instant", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("import_wh", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("export_wh", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("quality", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_readings_windows")),
        sa.PrimaryKeyConstraint("window", "ix", name=op.f("pk_readings")),
        sa.UniqueConstraint("window", "meter", "instant", name=op.f("uq_readings_window_meter_instant")),
        sqlite_strict=True,
    )
    op.create_table(
        "setpoints",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint("kind IN ('RELAY','POWER','PRODUCTION_LIMIT')", name=op.f("ck_setpoints_kind")),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_setpoints_windows")),
        sa.PrimaryKeyConstraint("window", "device", "mtu_start", name=op.f("pk_setpoints")),
        sqlite_strict=True,
    )
    op.create_table(
        "tariff",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("end", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("import_price_micro_per_kwh", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("export_price_micro_per_kwh", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint(
            "export_price_micro_per_kwh <= import_price_micro_per_kwh", name=op.f("ck_tariff_no_free_money")
        ),
        sa.ForeignKeyConstraint(["microgrid"], ["microgrids.id"], name=op.f("fk_tariff_microgrids")),
        sa.PrimaryKeyConstraint("microgrid", "start", name=op.f("pk_tariff")),
        sqlite_strict=True,
    )
    op.create_table(
        "trades",
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("ix", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("seller", sa.Text(), nullable=False),
        sa.Column("buyer", sa.Text(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("energy_wh", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("price_micro_per_kwh", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("energy_wh > 0", name=op.f("ck_trades_energy")),
        sa.CheckConstraint("seller <> buyer", name=op.f("ck_trades_two_sides")),
        sa.ForeignKeyConstraint(["window"], ["windows.name"], name=op.f("fk_trades_windows")),
        sa.PrimaryKeyConstraint("window", "ix", name=op.f("pk_trades")),
        sa.UniqueConstraint(
            "window", "mtu_start", "seller", "buyer", name=op.f("uq_trades_window_mtu_start_seller_buyer")
        ),
        sqlite_strict=True,
    )
    op.create_table(
        "devices",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("flexibility", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["microgrid", "member"], ["members.microgrid", "members.id"], name=op.f("fk_devices_members")
        ),
        sa.PrimaryKeyConstraint("microgrid", "id", name=op.f("pk_devices")),
        sqlite_strict=True,
    )
    op.create_table(
        "meter_readings",
        sa.Column("microgrid", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("instant", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("import_wh", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("export_wh", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("quality", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint("import_wh >= 0 AND export_wh >= 0", name=op.f("ck_meter_readings_registers")),
        sa.ForeignKeyConstraint(
            ["microgrid", "member"],
            ["members.microgrid", "members.id"],
            name=op.f("fk_meter_readings_members"),
        ),
        sa.PrimaryKeyConstraint("microgrid", "member", "instant", name=op.f("pk_meter_readings")),
        sqlite_strict=True,
    )
