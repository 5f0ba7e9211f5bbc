"""The tables. Instants are Unix seconds, powers W, energies Wh, money micro-currency: integers all.

Tables marked append-only are never updated: a correction is a row of its own.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Wide(TypeDecorator[int]):
    """A 64-bit integer; STRICT tables of SQLite know it as INTEGER.

    Nothing else is bound to its columns: PostgreSQL would round a float, and SQLite store what overflows as one.
    """

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """INTEGER or BIGINT."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> TypeEngine[Any]:
        """What is compared with a column may be any number."""
        del op, value
        return BigInteger()

    def process_bind_param(self, value: Any, dialect: Dialect) -> int | None:
        """The integer, when it is one that fits."""
        del dialect
        if value is not None and (type(value) is not int or not -(2**63) <= value < 2**63):
            raise ValueError(f"got {value!r}, wanted an integer of 64 bits")
        return value


class Plain(TypeDecorator[str]):
    """A text that both databases can hold: PostgreSQL knows no character 0."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """The text, when it is one."""
        del dialect
        if value is not None and (not isinstance(value, str) or "\0" in value):
            raise ValueError(f"got {value!r:.80}, wanted a text without character 0")
        return value


class Bytes(TypeDecorator[bytes]):
    """Bytes: a text is none."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        """The bytes, when they are some."""
        del dialect
        if value is not None and not isinstance(value, bytes):
            raise ValueError(f"got {value!r:.80}, wanted bytes")
        return value


def _table(
    name: str,
    *items: Column[object] | CheckConstraint | PrimaryKeyConstraint | UniqueConstraint | ForeignKeyConstraint | Index,
) -> Table:
    return Table(name, metadata, *items, sqlite_strict=True)


def _text(name: str) -> Column[object]:
    return Column(name, Plain, nullable=False)


def _wide(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, Wide, nullable=nullable)


def _given(name: str, default: str) -> Column[object]:
    """An integer that rows of older versions have a value of."""
    return Column(name, Wide, nullable=False, server_default=default)


def _bytes(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, Bytes, nullable=nullable)


controllers = _table("controllers", _wide("id"), _wide("epoch"), PrimaryKeyConstraint("id"))
"""One row: how often the service has started, the fencing token of its commands."""

requests = _table(
    "requests",
    _text("identity"),
    _text("request_id"),
    _text("method"),
    _bytes("digest"),
    _bytes("response"),
    Column("created", Wide, nullable=False, server_default="0"),
    PrimaryKeyConstraint("identity", "request_id"),
    Index("ix_requests_recent", "identity", "method", "created"),
)
"""The answer to each acknowledged call, so that repeating it has no second effect; never changed, pruned when old."""

microgrids = _table(
    "microgrids",
    _text("id"),
    _text("time_zone"),
    _wide("mtu_minutes"),
    _wide("window_minutes"),
    _wide("lead_minutes"),
    _wide("start"),
    _wide("end"),
    _wide("network_charge_micro_per_kwh"),
    _text("currency"),
    _wide("planning_minutes", nullable=True),
    _given("ahead_minutes", "1440"),
    Column("preset", Plain, nullable=False, server_default="CUSTOM"),
    _wide("bidding_minutes", nullable=True),
    _given("deadline_minutes", "0"),
    _given("settlement_minutes", "0"),
    _wide("adjustment_minutes", nullable=True),
    _given("adjustment_lead_minutes", "0"),
    Column("settlement_rule", Plain, nullable=False, server_default="CONTRACT"),
    _given("fee_micro_per_kwh", "0"),
    _given("fee_micro_per_month", "0"),
    _given("tax_ppm", "0"),
    PrimaryKeyConstraint("id"),
    CheckConstraint('"end" > start', name="interval"),
)
"""Without ``planning_minutes`` a microgrid lives until its end; with them ``end`` is the year 2100."""

tariff = _table(
    "tariff",
    _text("microgrid"),
    _wide("start"),
    _wide("end"),
    _wide("import_price_micro_per_kwh"),
    _wide("export_price_micro_per_kwh"),
    PrimaryKeyConstraint("microgrid", "start"),
    ForeignKeyConstraint(["microgrid"], ["microgrids.id"]),
    CheckConstraint("export_price_micro_per_kwh <= import_price_micro_per_kwh", name="no_free_money"),
    CheckConstraint('"end" > start', name="interval"),
)

members = _table(
    "members",
    _text("microgrid"),
    _text("id"),
    _text("section"),
    _wide("connection_w", nullable=True),
    _wide("feed_in_w", nullable=True),
    _wide("gone", nullable=True),
    PrimaryKeyConstraint("microgrid", "id"),
    ForeignKeyConstraint(["microgrid"], ["microgrids.id"]),
)
"""``gone`` is the instant at which a member left; its row stays, as what was settled refers to it."""

keys = _table(
    "keys",
    _text("microgrid"),
    _text("key_id"),
    _text("purpose"),
    _text("holder"),
    _bytes("public_key"),
    Column("meters", Text),  # of a gateway's key: a JSON list of resource names; NULL for every meter
    PrimaryKeyConstraint("microgrid", "key_id"),
    ForeignKeyConstraint(["microgrid"], ["microgrids.id"]),
)

accesses = _table(
    "accesses",
    _text("microgrid"),
    _wide("number"),
    _wide("instant"),
    _text("identity"),
    _text("method"),
    _text("resource"),
    _text("subject"),
    _text("code"),
    _bytes("digest"),
    _wide("count"),
    _bytes("previous"),
    _bytes("hash"),
    PrimaryKeyConstraint("microgrid", "number"),
    UniqueConstraint("microgrid", "hash"),
    CheckConstraint('number > 0 AND "count" > 0', name="counted"),
)
"""Who did what, a chain for each microgrid. Append-only."""

denials = _table(
    "denials",
    _text("microgrid"),
    _text("subject"),
    _text("reason"),
    _wide("created"),
    PrimaryKeyConstraint("microgrid", "subject"),
    ForeignKeyConstraint(["microgrid"], ["microgrids.id"]),
)
"""Who is shut out although the certificate is valid."""

devices = _table(
    "devices",
    _text("microgrid"),
    _text("id"),
    _text("member"),
    _text("flexibility"),
    Column("gateway", Text, nullable=True),
    PrimaryKeyConstraint("microgrid", "id"),
    ForeignKeyConstraint(["microgrid", "member"], ["members.microgrid", "members.id"]),
)
"""What each device can do, as JSON, and the driver that serves it where that is none of its own name."""

declarations = _table(
    "declarations",
    _text("microgrid"),
    _text("device"),
    Column("failsafe_kind", Text, nullable=True),
    _wide("failsafe_value", nullable=True),
    _wide("lower_w", nullable=True),
    _wide("upper_w", nullable=True),
    PrimaryKeyConstraint("microgrid", "device"),
    CheckConstraint("failsafe_kind IN ('RELAY','POWER','PRODUCTION_LIMIT')", name="kind"),
    CheckConstraint("(failsafe_kind IS NULL) = (failsafe_value IS NULL)", name="failsafe"),
)
"""What each device's driver declared when it connected last: its failsafe, and what the hardware can do."""

device_states = _table(
    "device_states",
    _text("microgrid"),
    _text("device"),
    _wide("instant"),
    _wide("power_w"),
    _wide("closed_s"),
    _wide("stored_wh", nullable=True),
    _wide("closed", nullable=True),
    _wide("held_s", nullable=True),
    _wide("starts_today", nullable=True),
    _wide("temperature_milli_c", nullable=True),
    PrimaryKeyConstraint("microgrid", "device"),
)
"""The newest telemetry of each device."""

envelopes = _table(
    "envelopes",
    _text("microgrid"),
    _text("id"),
    _text("target"),
    _text("periods"),
    _text("reason"),
    _text("state"),
    _wide("created"),
    _bytes("payload"),
    _bytes("signature"),
    _text("key_id"),
    PrimaryKeyConstraint("microgrid", "id"),
    CheckConstraint("state IN ('ACTIVE', 'CANCELLED')", name="state"),
)

limit_records = _table(
    "limit_records",
    _wide("number"),
    _text("kind"),
    _text("record"),
    PrimaryKeyConstraint("number"),
)
"""What the limits' journal holds, as far as the database has caught up with it. Append-only."""

vetoes = _table(
    "vetoes",
    _text("microgrid"),
    _text("id"),
    Column("member", Text, nullable=True),
    Column("section", Text, nullable=True),
    Column("seller", Text, nullable=True),
    Column("buyer", Text, nullable=True),
    _wide("start"),
    _wide("end"),
    _text("reason"),
    _text("digest"),
    _text("state"),
    _wide("created"),
    _text("holder"),
    _bytes("payload"),
    _bytes("signature"),
    _text("key_id"),
    PrimaryKeyConstraint("microgrid", "id"),
    CheckConstraint('"end" > start', name="interval"),
    CheckConstraint("state IN ('ACTIVE','CANCELLED')", name="state"),
)
"""Trades that the DSO forbids for a while: of a member, of a section, or from a seller to a buyer."""

group_limits = _table(
    "group_limits",
    _text("microgrid"),
    _text("group"),
    _text("driver"),
    _text("holder"),
    _wide("counter"),
    _wide("expires"),
    _wide("lower_w", nullable=True),
    _wide("upper_w", nullable=True),
    _bytes("payload"),
    _bytes("signature"),
    _text("key_id"),
    PrimaryKeyConstraint("microgrid", "group", "holder", "counter"),
    CheckConstraint("(lower_w IS NULL OR lower_w <= 0) AND (upper_w IS NULL OR upper_w >= 0)", name="zero"),
)
"""Limits of groups of drivers' devices, as DSOs signed them: of each group and DSO the newest, and fresh older ones."""

orders = _table(
    "orders",
    _text("window"),
    _text("member"),
    _wide("version"),
    _bytes("payload"),
    _bytes("signature"),
    _text("key_id"),
    _bytes("digest"),
    _given("adjustment", "0"),
    PrimaryKeyConstraint("window", "member", "version"),
    CheckConstraint("version >= 1", name="version"),
)
"""Append-only; the highest version before gate closure counts.

``adjustment`` is the first clearing of the window that it counts for: 0 for the window's own.
"""

windows = _table(
    "windows",
    _text("name"),
    _text("microgrid"),
    _wide("start"),
    _wide("end"),
    _text("state"),
    _text("source"),
    _text("failure"),
    _bytes("inputs_digest", nullable=True),
    Column("snapshot", Plain, nullable=True),
    Column("certificate", Plain, nullable=True),
    Column("plan", Plain, nullable=True),
    Column("carry", Plain, nullable=True),
    Column("uplifts", Plain, nullable=True),
    _given("opens", "0"),
    _given("closes", "0"),
    _given("deadline", "0"),
    _given("settles", "0"),
    Column("quality", Plain, nullable=True),
    Column("relaxed", Plain, nullable=True),
    PrimaryKeyConstraint("name"),
    UniqueConstraint("microgrid", "start"),
    CheckConstraint(
        "state IN ('OPEN','CLOSED','CLEARED','DELIVERING','METERED','SETTLED','ANCHORED','FAILED')",
        name="state",
    ),
    CheckConstraint("source IN ('NONE','CLEARING','TAIL','FAILSAFE')", name="source"),
)
"""``source`` says which plan acts: the window's own clearing, the tail of the last one, or the failsafes.

``uplifts`` are written with the clearing; null where none were computed. ``opens``, ``closes``, ``deadline`` and
``settles`` are the instants of ``WindowTimes``, as they were when the window was opened. ``quality`` labels the
clearing, ``relaxed`` says which limits nobody could keep; null where there are none.
"""

adjustments = _table(
    "adjustments",
    _text("microgrid"),
    _text("window"),
    _wide("number"),
    _wide("start"),
    _wide("end"),
    _wide("closes"),
    _text("state"),
    _text("source"),
    _text("failure"),
    _bytes("inputs_digest", nullable=True),
    Column("snapshot", Plain, nullable=True),
    Column("certificate", Plain, nullable=True),
    Column("plan", Plain, nullable=True),
    Column("carry", Plain, nullable=True),
    Column("quality", Plain, nullable=True),
    Column("relaxed", Plain, nullable=True),
    PrimaryKeyConstraint("window", "number"),
    UniqueConstraint("microgrid", "start"),
    Index("ix_adjustments_pending", "microgrid", "state", "closes"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
    CheckConstraint('number > 0 AND "end" > start AND closes <= start', name="interval"),
    CheckConstraint("state IN ('OPEN','CLOSED','CLEARED','FAILED')", name="state"),
    CheckConstraint("source IN ('NONE','CLEARING','STANDING','FAILSAFE')", name="source"),
)
"""The parts of windows that are adjusted after their own clearing, each by one of its own."""

plans = _table(
    "plans",
    _text("name"),
    _text("microgrid"),
    _bytes("message"),
    Column("owner", Plain, nullable=True),
    PrimaryKeyConstraint("name"),
)
"""What RequestPlan computed, and for whom. Append-only; binds nobody."""

events = _table(
    "events",
    _text("microgrid"),
    _wide("sequence"),
    _text("kind"),
    _text("subject"),
    _text("audience"),
    PrimaryKeyConstraint("microgrid", "sequence"),
    CheckConstraint("kind IN ('CLEARING','PLAN')", name="kind"),
)
"""What happened to windows and plans, for those who watch. Append-only; the oldest are let go."""

trades = _table(
    "trades",
    _text("window"),
    _wide("ix"),
    _text("seller"),
    _text("buyer"),
    _wide("mtu_start"),
    _wide("energy_wh"),
    _wide("price_micro_per_kwh"),
    _bytes("salt"),
    _given("adjustment", "0"),
    PrimaryKeyConstraint("window", "ix"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
    UniqueConstraint(
        "window", "adjustment", "mtu_start", "seller", "buyer", "price_micro_per_kwh", name="uq_trades_clearing"
    ),
    CheckConstraint("energy_wh > 0", name="energy"),
    CheckConstraint("seller <> buyer", name="two_sides"),
    CheckConstraint("ix >= 0 AND energy_wh <= 1000000000000 AND abs(price_micro_per_kwh) <= 1000000000", name="range"),
)
"""Append-only. One row is both sides of a trade: reciprocity cannot be broken.

``adjustment`` says which clearing of the window made it, 0 its own; what an adjustment takes back of a trade with the
grid has a price of its own.
"""

clearings = _table(
    "clearings",
    _text("window"),
    _wide("adjustment"),
    _bytes("witness"),
    PrimaryKeyConstraint("window", "adjustment"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
)
"""What solvers answered, for validators; never changed, let go when it is old."""

positions = _table(
    "positions",
    _text("window"),
    _text("member"),
    _wide("mtu_start"),
    _wide("net_wh"),
    _given("adjustment", "0"),
    PrimaryKeyConstraint("window", "adjustment", "member", "mtu_start"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
    CheckConstraint("abs(net_wh) <= 1000000000000", name="range"),
)
"""What each member was scheduled to take: by the window's clearing, and what each adjustment added. Append-only."""

setpoints = _table(
    "setpoints",
    _text("window"),
    _text("device"),
    _wide("mtu_start"),
    _text("kind"),
    _wide("value"),
    _given("adjustment", "0"),
    PrimaryKeyConstraint("window", "adjustment", "device", "mtu_start"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
    CheckConstraint("kind IN ('RELAY','POWER','PRODUCTION_LIMIT')", name="kind"),
    CheckConstraint("abs(value) <= 1000000000 AND (kind <> 'RELAY' OR value IN (0, 1))", name="range"),
)
"""The outbox of the drivers, written with the clearing. Append-only."""

reports = _table(
    "reports",
    _text("window"),
    _text("device"),
    _text("command_id"),
    _text("state"),
    _text("reason"),
    _wide("instant"),
    PrimaryKeyConstraint("command_id", "state"),
)
"""What drivers said about commands. Append-only."""

meter_readings = _table(
    "meter_readings",
    _text("microgrid"),
    _text("member"),
    _wide("instant"),
    _wide("import_wh"),
    _wide("export_wh"),
    _text("quality"),
    _text("gateway"),
    _wide("sequence"),
    _given("revision", "0"),
    PrimaryKeyConstraint("microgrid", "member", "instant", "revision"),
    Index("ix_meter_readings_instant", "microgrid", "instant"),
    CheckConstraint("import_wh >= 0 AND export_wh >= 0", name="registers"),
    CheckConstraint("import_wh <= 1000000000000 AND export_wh <= 1000000000000", name="range"),
)
"""Registers as the gateways reported them, of members' meters and of feeders'. Append-only; of an instant the highest
revision counts."""

meter_changes = _table(
    "meter_changes",
    _text("microgrid"),
    _text("member"),
    _wide("instant"),
    _wide("rollover_wh", nullable=True),
    _wide("final_import_wh", nullable=True),
    _wide("final_export_wh", nullable=True),
    _wide("first_import_wh", nullable=True),
    _wide("first_export_wh", nullable=True),
    _wide("created"),
    PrimaryKeyConstraint("microgrid", "member", "instant"),
    CheckConstraint("rollover_wh BETWEEN 1000 AND 1000000000000", name="rollover"),
)
"""What the operator declared of meters: where registers begin again, and replacements, with the last registers of the
old meter and the first of the new. Append-only."""

meter_events = _table(
    "meter_events",
    _text("microgrid"),
    _wide("number"),
    _wide("created"),
    _text("kind"),
    _text("member"),
    _wide("instant", nullable=True),
    _text("reporter"),
    _wide("sequence"),
    _wide("import_wh", nullable=True),
    _wide("export_wh", nullable=True),
    _wide("known_import_wh", nullable=True),
    _wide("known_export_wh", nullable=True),
    _wide("known_instant", nullable=True),
    _text("note"),
    PrimaryKeyConstraint("microgrid", "number"),
    Index("ix_meter_events_member", "microgrid", "member", "number"),
    Index("ix_meter_events_instant", "microgrid", "member", "instant"),
)
"""What was out of the ordinary about readings, refused ones too. Append-only."""

meter_decisions = _table(
    "meter_decisions",
    _text("microgrid"),
    _wide("number"),
    _text("decision"),
    _text("reason"),
    _text("by"),
    _wide("created"),
    PrimaryKeyConstraint("microgrid", "number"),
    ForeignKeyConstraint(["microgrid", "number"], ["meter_events.microgrid", "meter_events.number"]),
    CheckConstraint("decision IN ('KEPT','ACCEPTED')", name="decision"),
)
"""What the operator decided about them. Append-only."""

metering_rules = _table(
    "metering_rules",
    _text("microgrid"),
    _text("estimation"),
    _wide("after_minutes"),
    _wide("loss_permille", nullable=True),
    PrimaryKeyConstraint("microgrid"),
    ForeignKeyConstraint(["microgrid"], ["microgrids.id"]),
    CheckConstraint("loss_permille BETWEEN 0 AND 1000", name="loss"),
    CheckConstraint("estimation IN ('NONE','LINEAR','PROFILE')", name="estimation"),
)
"""How missing readings are estimated, and how long after the end of a window; how much of what goes through a feeder
may be lost. Without a row readings are waited for."""

estimated = _table(
    "estimated",
    _text("microgrid"),
    _text("member"),
    _text("window"),
    PrimaryKeyConstraint("microgrid", "member", "window"),
)
"""Settled windows whose newest run rests on an estimate of a member's registers."""

feeder_sums = _table(
    "feeder_sums",
    _text("window"),
    _text("place"),
    _wide("mtu_start"),
    _wide("metered_wh"),
    _wide("members_wh"),
    _wide("through_wh"),
    PrimaryKeyConstraint("window", "place", "mtu_start"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
)
"""What a feeder's meter counted beside its members' meters together, and what went through, by the newest readings."""

reading_batches = _table(
    "reading_batches",
    _text("microgrid"),
    _text("gateway"),
    _wide("sequence"),
    _bytes("payload"),
    _bytes("signature"),
    _text("key_id"),
    PrimaryKeyConstraint("microgrid", "gateway", "sequence"),
)

readings = _table(
    "readings",
    _text("window"),
    _wide("ix"),
    _text("meter"),
    _wide("instant"),
    _wide("import_wh"),
    _wide("export_wh"),
    _text("quality"),
    _bytes("salt"),
    _given("run", "0"),
    PrimaryKeyConstraint("window", "ix"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
    UniqueConstraint("window", "run", "meter", "instant"),
    CheckConstraint(
        "ix >= 0 AND import_wh BETWEEN 0 AND 1000000000000 AND export_wh BETWEEN 0 AND 1000000000000", name="range"
    ),
)
"""The readings that a window was settled with, as the header of the run commits to them. Append-only.

``ix`` counts through over the runs of a window.
"""

postings = _table(
    "postings",
    _text("window"),
    _wide("ix"),
    _text("account"),
    _text("kind"),
    _text("reference"),
    _wide("amount_micro"),
    _bytes("salt"),
    _given("run", "0"),
    PrimaryKeyConstraint("window", "ix"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
    CheckConstraint("ix >= 0 AND abs(amount_micro) <= 1000000000000000000", name="range"),
)
"""The ledger. Append-only; each run of each window sums to zero. ``ix`` counts through over the runs of a window."""

balanced = _table(
    "balanced",
    _wide("amount_micro"),
    PrimaryKeyConstraint("amount_micro"),
    CheckConstraint("amount_micro = 0", name="zero"),
)
"""One row: what a ledger may sum to."""

balances = _table(
    "balances",
    _text("window"),
    _wide("amount_micro"),
    PrimaryKeyConstraint("window"),
    ForeignKeyConstraint(["amount_micro"], ["balanced.amount_micro"], deferrable=True, initially="DEFERRED"),
)
"""What the postings of each window sum to, kept by a trigger. The key is checked at the commit, in SQLite and in
PostgreSQL alike: no transaction ends in which a window's postings do not sum to zero."""

held_back = _table(
    "held_back",
    _text("microgrid"),
    _text("member"),
    _wide("mtu_start"),
    _text("limit"),
    _text("holder"),
    _wide("consumption_w_ms"),
    _wide("production_w_ms"),
    PrimaryKeyConstraint("microgrid", "member", "mtu_start", "limit", "holder"),
    Index("ix_held_back_mtu_start", "microgrid", "mtu_start"),
    CheckConstraint("consumption_w_ms >= 0 AND production_w_ms >= 0", name="range"),
)
"""What limits held back of members' devices, in W times milliseconds; it only grows."""

settlements = _table(
    "settlements",
    _text("window"),
    _wide("run"),
    _text("facts"),
    PrimaryKeyConstraint("window", "run"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
)
"""What each run rested on beside trades, sealed readings and what was decided on, as JSON. Append-only."""

headers = _table(
    "headers",
    _wide("number"),
    _text("microgrid"),
    _text("window"),
    _wide("run"),
    _bytes("hash"),
    _text("header"),
    PrimaryKeyConstraint("microgrid", "number"),
    UniqueConstraint("window", "run"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
    CheckConstraint("number >= 0 AND run >= 0 AND length(hash) = 32", name="range"),
)
"""What is anchored, in the order of the chain. Append-only."""

batches = _table(
    "batches",
    _text("microgrid"),
    _wide("number"),
    _wide("first"),
    _wide("count"),
    _bytes("previous"),
    _bytes("windows_root"),
    _bytes("hash"),
    _wide("created"),
    PrimaryKeyConstraint("microgrid", "number"),
    UniqueConstraint("microgrid", "first"),
    ForeignKeyConstraint(["microgrid", "first"], ["headers.microgrid", "headers.number"]),
    CheckConstraint('number >= 0 AND first >= 0 AND "count" BETWEEN 1 AND 4096', name="range"),
    CheckConstraint("length(previous) = 32 AND length(windows_root) = 32 AND length(hash) = 32", name="hashes"),
)
"""The microgrids' headers as they are anchored, ``count`` of them from position ``first`` on. Append-only."""

batching = _table(
    "batching",
    _text("microgrid"),
    _wide("since"),
    PrimaryKeyConstraint("microgrid"),
)
"""Since when headers of a microgrid wait for their batch; no row where none do."""

batch_signatures = _table(
    "batch_signatures",
    _text("microgrid"),
    _wide("number"),
    _text("validator"),
    _bytes("signature"),
    _text("submitted_by"),
    _wide("created"),
    PrimaryKeyConstraint("microgrid", "number", "validator"),
    ForeignKeyConstraint(["microgrid", "number"], ["batches.microgrid", "batches.number"]),
    CheckConstraint("length(validator) = 42 AND length(signature) = 65", name="lengths"),
)
"""What validators, known by their addresses, signed under batches, and who handed it in. Append-only."""

quorums = _table(
    "quorums",
    _wide("epoch"),
    _wide("threshold"),
    _text("validators"),
    _text("proposed_by"),
    _wide("created"),
    PrimaryKeyConstraint("epoch"),
    CheckConstraint("epoch >= 1 AND threshold BETWEEN 1 AND 32", name="range"),
)
"""Sets of validators that follow the one that the registry was deployed with; addresses as a JSON list. Append-only."""

quorum_signatures = _table(
    "quorum_signatures",
    _wide("epoch"),
    _text("validator"),
    _bytes("signature"),
    _text("submitted_by"),
    _wide("created"),
    PrimaryKeyConstraint("epoch", "validator"),
    ForeignKeyConstraint(["epoch"], ["quorums.epoch"]),
    CheckConstraint("length(validator) = 42 AND length(signature) = 65", name="lengths"),
)
"""What validators signed under the sets that shall follow theirs. Append-only."""

outbox = _table(
    "outbox",
    _text("kind"),
    _text("microgrid"),
    _wide("number"),
    _text("state"),
    _wide("block_number", nullable=True),
    _bytes("block_hash", nullable=True),
    _bytes("transaction_hash", nullable=True),
    _wide("gas_used", nullable=True),
    PrimaryKeyConstraint("kind", "microgrid", "number"),
    Index("ix_outbox_state", "state"),
    CheckConstraint("kind IN ('BATCH','QUORUM') AND (kind = 'BATCH') = (microgrid <> '')", name="kind"),
    CheckConstraint("state IN ('PENDING','SENT','INCLUDED','FINAL')", name="state"),
    CheckConstraint(
        "(block_number IS NULL) = (state IN ('PENDING','SENT')) AND (block_hash IS NULL) = (block_number IS NULL)",
        name="block",
    ),
)
"""How far batches, and sets of validators (by epoch, of no microgrid), have come on their way to the registry."""

outbox_attempts = _table(
    "outbox_attempts",
    _text("kind"),
    _text("microgrid"),
    _wide("number"),
    _wide("place"),
    _bytes("raw"),
    _wide("created_us"),
    PrimaryKeyConstraint("kind", "microgrid", "number", "place"),
    ForeignKeyConstraint(["kind", "microgrid", "number"], ["outbox.kind", "outbox.microgrid", "outbox.number"]),
)
"""The signed transactions of each row, as they were stored before they were sent. Append-only."""

leases = _table(
    "leases",
    _text("sender"),
    _text("holder"),
    _wide("until_us"),
    PrimaryKeyConstraint("sender"),
)
"""Who alone may send from an account, and until when."""

attestations = _table(
    "attestations",
    _text("window"),
    _wide("run"),
    _text("validator"),
    _text("key_id"),
    _bytes("payload"),
    _bytes("signature"),
    PrimaryKeyConstraint("window", "run", "validator"),
)
"""Append-only."""

performances = _table(
    "performances",
    _text("window"),
    _text("member"),
    _text("partner"),
    _wide("contracted_wh"),
    _wide("kept_wh"),
    PrimaryKeyConstraint("window", "member", "partner"),
    ForeignKeyConstraint(["window"], ["windows.name"]),
    CheckConstraint("contracted_wh BETWEEN 1 AND 1000000000000 AND kept_wh BETWEEN 0 AND contracted_wh", name="range"),
)
"""What members traded with each partner in a window, and how much of it they kept, as settled. Append-only."""

consents = _table(
    "consents",
    _text("microgrid"),
    _text("member"),
    _wide("number"),
    _text("grantee"),
    _text("scope"),
    _wide("granted"),
    _wide("expires"),
    PrimaryKeyConstraint("microgrid", "member", "number"),
    ForeignKeyConstraint(["microgrid", "member"], ["members.microgrid", "members.id"]),
    CheckConstraint("scope IN ('METER_DATA','TRADES','DISPATCH')", name="scope"),
    CheckConstraint("expires > granted", name="lasting"),
)
"""Whom members let read their data and plan their devices. Append-only."""

consent_revocations = _table(
    "consent_revocations",
    _text("microgrid"),
    _text("member"),
    _wide("number"),
    _wide("instant"),
    PrimaryKeyConstraint("microgrid", "member", "number"),
    ForeignKeyConstraint(
        ["microgrid", "member", "number"], ["consents.microgrid", "consents.member", "consents.number"]
    ),
)
"""What of it they took back. Append-only."""

overrides = _table(
    "overrides",
    _text("microgrid"),
    _text("device"),
    _wide("number"),
    _text("mode"),
    _wide("made"),
    _text("steps"),
    _wide("cost_micro"),
    _wide("energy_wh"),
    _wide("deferred_wh"),
    PrimaryKeyConstraint("microgrid", "device", "number"),
    ForeignKeyConstraint(["microgrid"], ["microgrids.id"]),
    CheckConstraint("mode IN ('RUN_NOW','NOT_TODAY','PAUSE')", name="mode"),
)
"""What owners wanted of their devices instead of the plan; ``steps`` as JSON. Append-only."""

override_ends = _table(
    "override_ends",
    _text("microgrid"),
    _text("device"),
    _wide("number"),
    _wide("instant"),
    PrimaryKeyConstraint("microgrid", "device", "number"),
    ForeignKeyConstraint(
        ["microgrid", "device", "number"], ["overrides.microgrid", "overrides.device", "overrides.number"]
    ),
)
"""What of it they took back before its time. Append-only."""

demand_events = _table(
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
    Column("planned", Plain, nullable=False, server_default=text("''")),
    PrimaryKeyConstraint("microgrid", "id"),
    CheckConstraint('"end" > start AND offer_deadline <= start', name="interval"),
    CheckConstraint("direction IN ('REDUCE','INCREASE')", name="direction"),
)
"""What the DSO asked for, with the baseline of each member as JSON, frozen before the request; ``planned`` is what was
cleared or foreseen of each, empty where that is the baseline.
"""

demand_offers = _table(
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
    PrimaryKeyConstraint("microgrid", "event", "id"),
    ForeignKeyConstraint(["microgrid", "event"], ["demand_events.microgrid", "demand_events.id"]),
    CheckConstraint("accepted_w BETWEEN 0 AND power_w", name="accepted"),
)
"""What aggregators offered, and how much of it was accepted; members are JSON."""

demand_deliveries = _table(
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
    _given("run", "0"),
    PrimaryKeyConstraint("microgrid", "event", "offer", "mtu_start", "run"),
    ForeignKeyConstraint(
        ["microgrid", "event", "offer"],
        ["demand_offers.microgrid", "demand_offers.event", "demand_offers.id"],
    ),
    CheckConstraint("paid_wh BETWEEN 0 AND delivered_wh", name="paid"),
)
"""What offers delivered, written with the postings that pay for it. Append-only; of each the highest run counts."""

corrections_due = _table(
    "corrections_due",
    _text("microgrid"),
    _text("window"),
    PrimaryKeyConstraint("microgrid", "window"),
)
"""Settled windows whose readings may have changed since: looked at, and then removed from here."""
