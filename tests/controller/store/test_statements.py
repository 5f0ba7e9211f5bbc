import sqlite3
from dataclasses import replace

import pytest
from sqlalchemy import event

from controller.errors import StoreError
from controller.flexibility import Plant, Relay
from controller.microgrid import Device, DeviceSetpoint, DeviceState, MeterReading, SetpointKind, Trade
from controller.store import evidence, market, meters, registry, schema
from tests.controller.village_messages import Messages

WINDOW = "microgrids/village/windows/20260302T060000Z"
TRADE = Trade(seller="ada", buyer="bob", mtu_start=1772431200, energy_wh=10, price_micro_per_kwh=1)
READING = MeterReading(member="ada", instant=1772431200, import_wh=1, export_wh=2, quality="MEASURED")


@pytest.fixture
def run(village_store):
    """Runs statements of the store in the village's database, in SQLite and in PostgreSQL."""
    return village_store.run


class TestChecks:
    @pytest.mark.parametrize(
        "trade",
        [
            replace(TRADE, energy_wh=0),
            replace(TRADE, energy_wh=-1),
            replace(TRADE, buyer="ada"),
        ],
        ids=["no energy", "negative energy", "one side"],
    )
    def test_a_trade_that_is_none_is_refused(self, run, trade):
        with pytest.raises(StoreError, match=r"(?i)check"):
            run(market.add_trades, WINDOW, [trade], [bytes(32)])

    def test_a_trade_is_one_row_for_both_sides(self, run):
        with pytest.raises(StoreError, match=r"(?i)unique"):
            run(market.add_trades, WINDOW, [TRADE, TRADE], [bytes(32)] * 2)

    def test_a_trade_of_no_window_is_refused(self, run):
        with pytest.raises(StoreError, match=r"(?i)foreign key"):
            run(market.add_trades, "microgrids/village/windows/none", [TRADE], [bytes(32)])

    @pytest.mark.parametrize("value", ["ten", 1.5, b"10", None])
    def test_an_energy_that_is_no_integer_is_refused(self, run, value):
        with pytest.raises(StoreError):
            run(market.add_trades, WINDOW, [replace(TRADE, energy_wh=value)], [bytes(32)])

    def test_text_where_bytes_belong_is_refused(self, run):
        with pytest.raises(StoreError):
            run(market.add_trades, WINDOW, [TRADE], ["salt"])

    @pytest.mark.parametrize("state", ["", "open", "DONE"])
    def test_a_window_has_a_known_state(self, run, state):
        with pytest.raises(StoreError, match=r"(?i)check"):
            run(market.set_window, WINDOW, was="OPEN", state=state)

    def test_a_window_has_a_known_source(self, run):
        with pytest.raises(StoreError, match=r"(?i)check"):
            run(market.set_window, WINDOW, was="OPEN", source="ORACLE")

    def test_an_anchor_and_an_envelope_have_known_states(self, run):
        for table, values in (
            (schema.outbox, {"kind": "BATCH", "microgrid": "village", "number": 0, "state": "pending"}),
            (
                schema.envelopes,
                dict.fromkeys(("id", "target", "periods", "reason", "key_id"), "x")
                | {"microgrid": "village", "state": "OFF", "created": 0, "payload": b"", "signature": b""},
            ),
        ):
            with pytest.raises(StoreError, match=r"(?i)check"):
                run(lambda connection, table=table, values=values: connection.execute(table.insert().values(**values)))

    def test_registers_are_not_negative(self, run):
        with pytest.raises(StoreError, match=r"(?i)check"):
            self.add_batch(run, replace(READING, export_wh=-1))

    def test_a_meter_is_read_once_at_an_instant(self, run):
        self.add_batch(run, READING)
        with pytest.raises(StoreError, match=r"(?i)unique"):
            self.add_batch(run, READING, sequence=2)

    def add_batch(self, run, reading, sequence=1):
        signed = {"payload": b"", "signature": b"", "key_id": "k"}
        run(meters.add_batch, "village", "gateway", sequence, **signed, readings=[reading])

    def test_a_tariff_is_no_source_of_money(self, run):
        values = {"microgrid": "village", "start": 1, "end": 2}
        prices = {"import_price_micro_per_kwh": 1, "export_price_micro_per_kwh": 2}
        with pytest.raises(StoreError, match="no_free_money"):
            run(lambda connection: connection.execute(schema.tariff.insert().values(**values, **prices)))


class TestUpserts:
    DEVICE = Device(id="ada/pv", member="ada", flexibility=Plant(rated_w=1))

    def test_a_device_is_replaced_whatever_it_was(self, run):
        relay = replace(self.DEVICE, flexibility=Relay(rated_w=1, start=2, end=3, required_s=4))
        for device in (self.DEVICE, relay):
            run(registry.put_device, "village", device)
            kept = {d.id: d for d in run(registry.devices, "village")}
            assert kept["ada/pv"] == device
        assert len(kept) == 3

    def test_a_devices_state_is_replaced(self, run):
        state = DeviceState(device="eve/battery", instant=5, power_w=1, closed_s=0, stored_wh=7)
        later = replace(state, instant=6, power_w=-1, stored_wh=None)
        for one in (state, later):
            run(registry.put_device_states, "village", [one])
            assert run(registry.device_states, "village") == {"eve/battery": one}

    def test_equal_devices_of_two_communities_are_two(self, run):
        state = DeviceState(device="eve/battery", instant=5, power_w=1, closed_s=0, stored_wh=7)
        run(registry.put_device_states, "village", [state])
        assert run(registry.device_states, "hamlet") == {}

    def test_a_report_said_twice_counts_once(self, run):
        report = {
            "window": WINDOW,
            "device": "eve/battery",
            "command_id": "c",
            "state": "APPLIED",
            "reason": "",
            "instant": 1,
        }
        run(market.add_reports, [report, report, {**report, "state": "VERIFIED"}])
        assert [row.state for row in run(market.reports, WINDOW)] == ["APPLIED", "VERIFIED"]

    def test_a_plan_is_kept_under_its_name(self, run):
        for message in (b"one", b"other"):
            run(market.add_plan, "village", "microgrids/village/plans/p", message, owner="me")
        assert run(market.plan, "microgrids/village/plans/p", owner="me") == b"other"
        assert run(market.plan, "microgrids/village/plans/p", owner="you") is None
        assert run(market.plan, "microgrids/village/plans/q", owner="me") is None


class TestWindows:
    def test_a_step_is_taken_from_the_right_state_only(self, run):
        assert not run(market.set_window, WINDOW, was="CLOSED", state="CLEARED")
        assert run(market.set_window, WINDOW, was="OPEN", state="CLOSED")
        assert not run(market.set_window, WINDOW, was="OPEN", state="CLOSED")
        assert run(market.window, WINDOW).state == "CLOSED"

    def test_settled_and_anchored_windows_have_no_step_to_take(self, run):
        names = run(market.unfinished_windows, "village")
        assert names[0] == WINDOW
        for state in ("SETTLED", "ANCHORED"):
            run(market.set_window, WINDOW, was=run(market.window, WINDOW).state, state=state)
            assert run(market.unfinished_windows, "village") == names[1:]

    def test_an_unknown_window_is_none(self, run):
        assert run(market.window, "microgrids/village/windows/none") is None


class TestOrders:
    def add(self, run, window, payload):
        signed = {"signature": b"", "key_id": "k", "digest": payload}
        run(market.add_order, window, "bob", payload=payload, **signed)

    def test_the_highest_version_of_the_latest_window_counts(self, run):
        site = Messages()
        self.add(run, site.window(1), b"first")
        self.add(run, site.window(1), b"second")
        self.add(run, site.window(0), b"earlier window, said later")
        windows = [site.window(1), site.window(0)]
        assert run(market.newest_orders, windows)["bob"].payload == b"second"
        assert run(market.newest_orders, windows[1:])["bob"].payload == b"earlier window, said later"

    def test_versions_have_no_upper_end_at_nine(self, run):
        site = Messages()
        for number in range(12):
            self.add(run, site.window(2), b"%d" % number)
        assert run(market.newest_orders, [site.window(2)])["bob"].payload == b"11"


def test_nothing_is_inserted_for_nothing(run):
    run(market.add_trades, WINDOW, [], [])
    run(market.add_setpoints, WINDOW, [])
    run(evidence.add_postings, WINDOW, [], [])
    run(market.add_positions, WINDOW, {})
    assert run(market.trades, WINDOW) == []


def test_what_was_decided_reads_back_as_it_was_said(run):
    setpoint = DeviceSetpoint(device="eve/battery", mtu_start=1772431200, kind=SetpointKind.POWER, value=-5)
    run(market.add_trades, WINDOW, [TRADE, replace(TRADE, buyer="eve")], [b"\1" * 32, b"\2" * 32])
    run(market.add_setpoints, WINDOW, [setpoint])
    run(market.add_positions, WINDOW, {("bob", 1772431200): 10, ("ada", 1772431200): -10})
    assert run(market.trades, WINDOW) == [(TRADE, b"\1" * 32), (replace(TRADE, buyer="eve"), b"\2" * 32)]
    assert run(market.setpoints, WINDOW) == [setpoint]
    assert run(market.positions, WINDOW) == {("bob", 1772431200): 10, ("ada", 1772431200): -10}


def test_the_newest_reading_of_each_meter_is_its_own(run):
    signed = {"payload": b"", "signature": b"", "key_id": "k"}
    later = replace(READING, instant=READING.instant + 900, import_wh=5)
    other = replace(READING, member="bob")
    run(meters.add_batch, "village", "gateway", 1, **signed, readings=[READING, other, later])
    assert run(meters.last_reading, "village", "ada") == later
    assert run(meters.last_reading, "village", "bob") == other
    assert run(meters.last_reading, "village", "ada", until=later.instant - 1) != later
    assert run(meters.next_reading, "village", "ada", after=later.instant - 1) == later
    assert run(meters.next_reading, "village", "ada", after=later.instant) is None
    assert run(meters.last_reading, "village", "zoe") is None
    assert run(meters.meter_readings, "village", READING.instant, READING.instant) == [READING, other]
    assert run(meters.newest_sequence, "village", "gateway") == 1
    assert run(meters.newest_sequence, "village", "another") == 0


def test_the_readings_of_a_time_are_found_without_looking_at_all_others(run):
    def plans(connection):
        asked = []

        def hear(_connection, _cursor, statement, parameters, _context, _many):
            asked.append((statement, parameters))

        event.listen(connection, "before_cursor_execute", hear)
        for statement in (meters.count_readings, meters.meter_readings):
            statement(connection, "village", 0, 900)
        event.remove(connection, "before_cursor_execute", hear)
        if connection.dialect.name != "sqlite":
            return []  # which plans by how much there is
        return [str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()) for text, values in asked]

    assert all("microgrid=? AND instant>? AND instant<?" in plan for plan in run(plans))


def test_the_file_is_an_ordinary_sqlite_database(site):
    with sqlite3.connect(site.path) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
