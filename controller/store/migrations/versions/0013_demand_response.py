"""demand response: events with their baselines, offers, what was delivered."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _wide(name: str) -> sa.Column[int]:
    return sa.Column(name, WIDE, nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "demand_events",
        _text("microgrid"),
        _text("id"),
        _text("target"),
        _wide("start"),
        _wide("end"),
        _text("direction"),
        _wide("power_w"),
        _wide("price_cap_micro_per_kwh"),
        _wide("offer_deadline"),
        _text("reason"),
        _text("holder"),
        _wide("created"),
        _text("baseline"),
        _wide("cancelled"),
        _bytes("payload"),
        _bytes("signature"),
        _text("key_id"),
        sa.CheckConstraint('"end" > start AND offer_deadline <= start', name=op.f("ck_demand_events_interval")),
        sa.CheckConstraint("direction IN ('REDUCE','INCREASE')", name=op.f("ck_demand_events_direction")),
        sa.PrimaryKeyConstraint("microgrid", "id", name=op.f("pk_demand_events")),
        sqlite_strict=True,
    )
    op.create_table(
        "demand_offers",
        _text("microgrid"),
        _text("event"),
        _text("id"),
        _text("aggregator"),
        _text("members"),
        _wide("power_w"),
        _wide("price_micro_per_kwh"),
        _wide("created"),
        _wide("accepted_w"),
        _bytes("payload"),
        _bytes("signature"),
        _text("key_id"),
        sa.CheckConstraint("accepted_w BETWEEN 0 AND power_w", name=op.f("ck_demand_offers_accepted")),
        sa.ForeignKeyConstraint(
            ["microgrid", "event"],
            ["demand_events.microgrid", "demand_events.id"],
            name=op.f("fk_demand_offers_demand_events"),
        ),
        sa.PrimaryKeyConstraint("microgrid", "event", "id", name=op.f("pk_demand_offers")),
        sqlite_strict=True,
    )
    op.create_table(
        "demand_deliveries",
        _text("microgrid"),
        _text("event"),
        _text("offer"),
        _wide("mtu_start"),
        _wide("baseline_wh"),
        _wide("metered_wh"),
        _wide("delivered_wh"),
        _wide("paid_wh"),
        _wide("amount_micro"),
        sa.CheckConstraint("paid_wh BETWEEN 0 AND delivered_wh", name=op.f("ck_demand_deliveries_paid")),
        sa.ForeignKeyConstraint(
            ["microgrid", "event", "offer"],
            ["demand_offers.microgrid", "demand_offers.event", "demand_offers.id"],
            name=op.f("fk_demand_deliveries_demand_offers"),
        ),
        sa.PrimaryKeyConstraint("microgrid", "event", "offer", "mtu_start", name=op.f("pk_demand_deliveries")),
        sqlite_strict=True,
    )
