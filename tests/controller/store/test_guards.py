"""What the database itself refuses, tried with plain SQL on databases of both kinds."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import text

from contracts.quorum import Quorum
from contracts.transactions import Address
from controller.access_journal import Access
from controller.batching import BatchPolicy
from controller.consent import Scope
from controller.demand_response import delivery
from controller.errors import StoreError
from controller.ledger import Posting
from controller.meter_events import EventKind, MeterEvent
from controller.microgrid import DeviceSetpoint, MeterReading, SetpointKind, Trade
from controller.registers import MeterChange
from controller.reputation import Performance
from controller.store import (
    accesses,
    batches,
    calls,
    clearings,
    consents,
    demand,
    evidence,
    guards,
    market,
    meter_events,
    meters,
    overrides,
    quorums,
    reputations,
    schema,
    vetoes,
)
from controller.store.database import Database
from controller.wishes import Cost, Mode, Step
from tests.controller.store.test_demand import VETO
from tests.controller.test_demand_response import EVENT, OFFER

WINDOW = "microgrids/village/windows/20260302T060000Z"
START = 1772431200
ONE = Address("0x" + "01" * 20)
GAIN = Posting(account="ada", kind="TRADE", reference="0", amount_micro=5)
LOSS = Posting(account="bob", kind="TRADE", reference="0", amount_micro=-5)

ADJUSTMENT = {
    "microgrid": "village",
    "window": WINDOW,
    "number": 1,
    "start": START,
    "end": START + 900,
    "closes": START - 300,
    "state": "OPEN",
    "source": "NONE",
    "failure": "",
}


@pytest.fixture
def filled(village_store):
    """A database with a row in every table that is guarded."""

    def fill(connection):
        calls.next_epoch(connection)
        calls.remember(connection, "a", "b", method="m", digest=b"d", response=b"r", created=1)
        signed = {"payload": b"p", "signature": b"s", "key_id": "k"}
        market.add_order(connection, WINDOW, "ada", digest=b"d", **signed)
        trade = Trade(seller="ada", buyer="bob", mtu_start=START, energy_wh=10, price_micro_per_kwh=1)
        market.add_trades(connection, WINDOW, [trade], [bytes(32)])
        market.add_positions(connection, WINDOW, {("ada", START): -10, ("bob", START): 10})
        market.add_setpoints(
            connection, WINDOW, [DeviceSetpoint(device="d", mtu_start=START, kind=SetpointKind.POWER, value=1)]
        )
        connection.execute(schema.adjustments.insert().values(**ADJUSTMENT))
        reputations.add(connection, WINDOW, [Performance(member="ada", partner="bob", contracted_wh=10, kept_wh=9)])
        reading = MeterReading(member="ada", instant=START, import_wh=1, export_wh=2, quality="MEASURED")
        meters.add_batch(connection, "village", "gateway", 1, readings=[reading], **signed)
        meter_events.add_change(connection, "village", "ada", MeterChange(instant=1, rollover_wh=10**6), created=1)
        happened = MeterEvent(kind=EventKind.LATE, member="ada", instant=START, reporter="gateway", sequence=1)
        meter_events.add_events(connection, "village", [happened], created=1)
        meter_events.decide(connection, "village", 1, "KEPT", reason="", by="op", created=1)
        evidence.add_readings(connection, WINDOW, [reading], [bytes(32)])
        evidence.add_postings(connection, WINDOW, [GAIN, LOSS], [bytes(32)] * 2)
        evidence.attest(connection, WINDOW, 0, "val", **signed)
        evidence.add_settlement(connection, WINDOW, 0, "{}")
        clearings.add(connection, WINDOW, 0, b"w")
        consents.add(connection, "village", "ada", grantee="dso/x", scope=Scope.TRADES, granted=1, expires=2)
        consents.revoke(connection, "village", "ada", 1, 1)
        step = Step(start=1, end=2, kind=SetpointKind.POWER, value=0, power_w=0)
        cost = Cost(cost_micro=0, energy_wh=0, deferred_wh=0)
        overrides.add(connection, "village", "ada/x", mode=Mode.PAUSE, made=1, steps=[step], cost=cost)
        overrides.clear(connection, "village", "ada/x", 1, 1)
        demand.add_event(connection, "village", EVENT)
        demand.add_offer(connection, "village", OFFER)
        demand.add_deliveries(connection, "village", [delivery(EVENT, OFFER, EVENT.start, {"a": 400}, 900)])
        vetoes.add(connection, "village", VETO)
        report = {"window": WINDOW, "device": "d", "command_id": "c", "state": "APPLIED", "reason": "", "instant": 1}
        market.add_reports(connection, [report])
        access = Access(
            microgrid="village", instant=1, identity="i", method="m", resource="", subject="", code="OK", digest=b""
        )
        accesses.append(connection, [access])
        connection.execute(schema.limit_records.insert().values(number=0, kind="heartbeat", record="{}"))
        connection.execute(
            schema.headers.insert().values(
                number=0, microgrid="village", window=WINDOW, run=0, hash=bytes(32), header="{}"
            )
        )
        batches.form(connection, "village", BatchPolicy(), now=1)
        signed_by = {"submitted_by": "val", "now": 1}
        batches.sign(connection, "village", 0, ONE, bytes(65), **signed_by)
        quorums.propose(connection, Quorum(epoch=1, threshold=1, validators=(ONE,)), proposed_by="op", now=1)
        quorums.sign(connection, 1, ONE, bytes(65), **signed_by)
        held = {"microgrid": "village", "member": "ada", "mtu_start": 0, "limit": "e", "holder": "wires"}
        connection.execute(schema.held_back.insert().values(**held, consumption_w_ms=1, production_w_ms=0))
        attempt = {"kind": "BATCH", "microgrid": "village", "number": 0, "place": 0}
        connection.execute(schema.outbox_attempts.insert().values(**attempt, raw=b"r", created_us=1))

    village_store.run(fill)
    return village_store


def execute(database, sql):
    return database.run(lambda connection: connection.execute(text(sql)).rowcount)


def rows(database, table):
    return database.read(lambda connection: connection.execute(text(f'SELECT * FROM "{table}"')).all())


class TestAppendOnly:
    @pytest.mark.parametrize("table", guards.APPEND_ONLY)
    def test_no_row_is_changed_or_removed(self, filled, table):
        before = rows(filled, table)
        assert before
        column = schema.metadata.tables[table].columns.values()[0].name
        for sql in (f'UPDATE "{table}" SET "{column}" = "{column}"', f'DELETE FROM "{table}"'):
            with pytest.raises(StoreError, match="append-only"):
                execute(filled, sql)
        assert rows(filled, table) == before

    @pytest.mark.parametrize("table", guards.KEPT)
    def test_no_window_and_no_epoch_is_forgotten(self, filled, table):
        with pytest.raises(StoreError, match="append-only"):
            execute(filled, f"DELETE FROM {table}")

    def test_the_answer_to_a_call_never_changes(self, filled):
        with pytest.raises(StoreError, match="append-only"):
            execute(filled, "UPDATE requests SET response = digest")

    def test_no_row_is_replaced(self, filled):
        if filled.dialect != "sqlite":
            pytest.skip("REPLACE is SQLite's own")
        with pytest.raises(StoreError, match="append-only"):
            execute(filled, "INSERT OR REPLACE INTO trades SELECT * FROM trades")

    def test_no_table_is_emptied(self, filled):
        if filled.dialect != "postgresql":
            pytest.skip("TRUNCATE is PostgreSQL's own")
        for table in guards.APPEND_ONLY:
            with pytest.raises(StoreError, match="append-only"):
                execute(filled, f"TRUNCATE {table} CASCADE")

    def test_every_table_that_the_schema_calls_append_only_is_guarded(self, store):
        if store.dialect != "sqlite":
            pytest.skip("asked of SQLite's catalogue")
        found = store.read(
            lambda connection: connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all()
        )
        wanted = {f"no_{verb.lower()}_of_{table}" for table, verb in guards.refusals()}
        assert {name for (name,) in found} >= wanted

    def test_triggers_that_are_lost_are_put_up_again(self, tmp_path):
        """As by a migration that rebuilds a table."""
        url = f"sqlite:///{tmp_path / 'gridpact.sqlite'}"
        Database(url).close()
        with closing(sqlite3.connect(tmp_path / "gridpact.sqlite")) as plain, plain:
            plain.execute("DROP TRIGGER no_update_of_trades")
        database = Database(url)
        found = rows(database, "sqlite_master")
        database.close()
        assert "no_update_of_trades" in {row.name for row in found}


class TestBooks:
    def add(self, database, *postings, window=WINDOW):
        def act(connection):
            known = len(evidence.postings(connection, window))
            for k, posting in enumerate(postings, start=known):
                values = {"window": window, "ix": k, "salt": bytes(32), "reference": "", "kind": "TRADE"}
                connection.execute(
                    schema.postings.insert().values(
                        account=posting.account, amount_micro=posting.amount_micro, **values
                    )
                )

        database.run(act)

    def test_postings_that_sum_to_zero_are_kept(self, village_store):
        self.add(village_store, GAIN, LOSS)
        self.add(village_store, GAIN, GAIN, LOSS, LOSS)
        assert len(rows(village_store, "postings")) == 6

    @pytest.mark.parametrize("postings", [(GAIN,), (GAIN, LOSS, LOSS), (GAIN, GAIN, LOSS)])
    def test_postings_that_do_not_are_not(self, village_store, postings):
        with pytest.raises(StoreError, match=r"(?i)foreign key"):
            self.add(village_store, *postings)
        assert rows(village_store, "postings") == []

    def test_a_window_does_not_make_up_for_another(self, village_store):
        other = WINDOW.replace("0600", "0630")
        with pytest.raises(StoreError, match=r"(?i)foreign key"):
            village_store.run(
                lambda connection: (
                    evidence.add_postings(connection, WINDOW, [GAIN], [bytes(32)]),
                    evidence.add_postings(connection, other, [LOSS], [bytes(32)]),
                )
            )
        assert rows(village_store, "postings") == []

    def test_zero_is_the_only_balance(self, village_store):
        with pytest.raises(StoreError, match=r"(?i)check"):
            execute(village_store, "INSERT INTO balanced VALUES (5)")


class TestRanges:
    @pytest.mark.parametrize(
        ("table", "values"),
        [
            ("trades", {"energy_wh": 10**12 + 1}),
            ("trades", {"price_micro_per_kwh": -(10**9) - 1}),
            ("trades", {"ix": -1}),
            ("positions", {"net_wh": -(10**12) - 1}),
            ("setpoints", {"value": 10**9 + 1}),
            ("setpoints", {"kind": "RELAY", "value": 2}),
            ("meter_readings", {"import_wh": 10**12 + 1}),
            ("readings", {"export_wh": -1}),
            ("postings", {"amount_micro": 10**18 + 1}),
            ("headers", {"hash": bytes(31)}),
            ("headers", {"run": -1}),
            ("orders", {"version": 0}),
        ],
    )
    def test_absurd_numbers_are_refused(self, filled, table, values):
        known = filled.read(lambda connection: connection.execute(schema.metadata.tables[table].select()).first())
        other = {
            name: value + 100 if isinstance(value, int) else value + b"x" if name == "salt" else value
            for name, value in known._mapping.items()
        }
        row = other | {"run": 1} | values if table == "headers" else other | values
        with pytest.raises(StoreError, match=r"(?i)check"):
            filled.run(lambda connection: connection.execute(schema.metadata.tables[table].insert().values(**row)))

    @pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, 1.0, 1.5, True, "1", b"1", float("nan")])
    def test_what_is_no_integer_of_64_bits_is_bound_to_none(self, village_store, number):
        with pytest.raises(StoreError, match=r"64 bits|may not be"):
            village_store.run(market.add_positions, WINDOW, {("ada", START): number})
        assert rows(village_store, "positions") == []

    @pytest.mark.parametrize("number", [0, 10**12, -(10**12)])
    def test_integers_come_back_as_they_were(self, village_store, number):
        village_store.run(market.add_positions, WINDOW, {("ada", START): number})
        assert village_store.read(market.positions, WINDOW) == {("ada", START): number}

    @pytest.mark.parametrize("reason", ["a\0b", b"text", 5])
    def test_what_is_no_text_in_both_databases_is_refused_by_both(self, village_store, reason):
        report = {"window": WINDOW, "device": "d", "command_id": "c", "state": "APPLIED", "instant": 1}
        with pytest.raises(StoreError, match="character 0"):
            village_store.run(market.add_reports, [report | {"reason": reason}])

    @pytest.mark.parametrize("reason", ["", "Ünïcödé 🐝", "'; DROP TABLE trades; --", "\t\n%s %(x)s :x ?"])
    def test_texts_come_back_as_they_were(self, village_store, reason):
        report = {"window": WINDOW, "device": "d", "command_id": "c", "state": "APPLIED", "instant": 1}
        village_store.run(market.add_reports, [report | {"reason": reason}])
        assert [row.reason for row in village_store.read(market.reports, WINDOW)] == [reason]


def test_texts_sort_by_their_bytes_in_both(village_store):
    for key in ("b", "B", "a-1", "a1", "ä", "Z"):
        village_store.run(market.add_plan, "village", key, b"", owner="")
    found = village_store.read(
        lambda connection: list(connection.execute(schema.plans.select().order_by(schema.plans.c.name)).scalars())
    )
    assert found == ["B", "Z", "a-1", "a1", "b", "ä"]
