"""Hours that are traded ahead and adjusted quarter by quarter."""

import hashlib
import json
import random
import shutil
from datetime import UTC, datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from grpc import StatusCode
from sqlalchemy import event

from contracts.verify import verify_directory
from controller import freezing, relaxing
from controller.closing import inputs_of
from controller.decider import TOO_LATE
from controller.demo.results import export_evidence
from controller.microgrid import GRID_ACCOUNT
from controller.relaxing import Relaxation
from controller.snapshot import Snapshot
from controller.store import adjustments, evidence, market
from controller.wire import fields
from gridpact.v1 import (
    dispatch_pb2,
    dispatch_pb2_grpc,
    dso_pb2,
    dso_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    participant_pb2,
)
from tests.controller.chains import OwnChain
from tests.controller.stand_ins import FAULT
from tests.controller.town import HOUR_S, IMPORT, MEMBERS, MTU_S, MTUS, TOWN, Town, flexibilities, minutes
from tests.controller.village_site import Site

KEPT = ("adjustments", "trades", "positions", "setpoints", "readings", "postings", "headers", "windows")
GATES = [TOWN + MTU_S * k - 300 for k in range(MTUS)]
END = TOWN + MTU_S * MTUS
DEVICES = ("ada/pv", "bob/boiler", "eve/battery")


@pytest.fixture(scope="module")
def founded_town(tmp_path_factory, loop, authority):
    """The database of the town before its first gate closes."""
    path = tmp_path_factory.mktemp("town") / "gridpact.sqlite"
    site = Site(path, loop, authority)
    Town(site).found()
    site.close()
    return path


@pytest.fixture
def make_town(tmp_path, loop, authority, founded_town):
    """Starts services, each with a town of its own."""
    sites = []

    def make(**parts):
        path = tmp_path / f"{len(sites)}.sqlite"
        shutil.copy(founded_town, path)
        sites.append(Site(path, loop, authority, **parts))
        return Town(sites[-1])

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def town(make_town):
    return make_town()


@pytest.fixture
def morning(town):
    """The town, cleared ahead of an hour whose sun shines in its first quarter alone: eve's battery gives later."""
    town.sun_w = [4000, 0, 0, 0, 4000, 4000, 4000, 4000]
    town.order("ada")
    town.live(until=GATES[0] - 1)
    assert all(power_w < -500 for power_w in json.loads(town.row().plan)["power_w"]["eve/battery"][1:4])
    return town


def story(town):
    return {table: town.site.rows(table) for table in KEPT}


def net_of_trades(town, number=0):
    """What each member bought less what it sold, by member and MTU."""
    net = {(member, TOWN + MTU_S * (4 * number + k)): 0 for member in MEMBERS for k in range(4)}
    for row in town.of_window("trades", number):
        for party, energy in ((row["buyer"], row["energy_wh"]), (row["seller"], -row["energy_wh"])):
            if party != GRID_ACCOUNT:
                net[party, row["mtu_start"]] += energy
    return net


def posted(town, kind, number=0):
    """What each account got of a kind."""
    sums = {}
    for row in town.of_window("postings", number):
        if row["kind"] == kind:
            sums[row["account"]] = sums.get(row["account"], 0) + row["amount_micro"]
    return sums


class TestCalendar:
    def test_the_preset_says_all_instants(self, town):
        request = operator_pb2.GetWindowRequest(name=town.window())
        window = town.operator.GetWindow(request).window
        assert window.gate_close_time.seconds == TOWN - HOUR_S
        assert window.decision_deadline.seconds == TOWN - 50 * 60
        assert [
            (a.number, a.interval.start_time.seconds, a.interval.end_time.seconds, a.gate_close_time.seconds)
            for a in window.adjustments
        ] == [(k + 1, TOWN + MTU_S * k, TOWN + MTU_S * (k + 1), GATES[k]) for k in range(4)]
        assert {a.state for a in window.adjustments} == {dispatch_pb2.WINDOW_STATE_OPEN}

    def test_longer_market_time_units_are_adjusted_one_by_one(self, make_site):
        town = Town(make_site(), market_time_unit=minutes(30))
        request = operator_pb2.CreateMicrogridRequest(microgrid=town.message, request_id="found")
        timing = town.operator.CreateMicrogrid(request).microgrid.timing
        assert (timing.adjustment_interval, timing.adjustment_lead) == (minutes(30), minutes(5))

    def test_adjustments_that_are_none_are_refused(self, make_site):
        site = make_site()
        cases = [
            ({"adjustment_interval": minutes(10)}, "adjustment_interval"),
            ({"adjustment_interval": minutes(45)}, "adjustment_interval"),
            ({"adjustment_interval": minutes(120)}, "adjustment_interval"),
            ({"adjustment_interval": minutes(-15)}, "adjustment_interval"),
            ({"adjustment_interval": minutes(15)}, "adjustment_lead"),
            ({"adjustment_interval": minutes(15), "adjustment_lead": minutes(16)}, "adjustment_lead"),
            ({"adjustment_lead": minutes(5)}, "adjustment_lead"),
            ({"adjustment_interval": minutes(15), "adjustment_lead": minutes(5)}, "decision_lead"),
            ({"preset": 4, "adjustment_interval": minutes(30)}, "adjustment_interval"),
            ({"preset": 4, "adjustment_lead": minutes(6)}, "adjustment_lead"),
            ({"preset": 4, "bidding": minutes(10)}, "bidding"),
            ({"preset": 3, "adjustment_interval": minutes(15)}, "adjustment_interval"),
        ]
        for timing, field in cases:
            free = {} if timing.get("preset") else {"window": minutes(60), "gate_closure_lead": minutes(30)}
            town = Town(site, timing=timing, **free)
            request = operator_pb2.CreateMicrogridRequest(microgrid=town.message, request_id="found")
            refused = site.refused(town.operator.CreateMicrogrid, request)
            assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, (f"microgrid.timing.{field}",))


class TestRelaxedLimits:
    """What the limit of a section gave way to in an adjustment is the least that its members could do."""

    @pytest.fixture
    def relaxed(self, town):
        bounds = {"lower_w": None, "upper_w": 400, "relaxed_lower_w": None, "relaxed_upper_w": 503}
        gave = Relaxation(target=f"{town.name}/sections/all", start=TOWN, end=TOWN + MTU_S, **bounds)
        decided = {"was": "OPEN", "state": "CLEARED", "source": "CLEARING", "relaxed": relaxing.to_json((gave,))}
        town.site.database.run(market.set_window, town.window(), was="OPEN", state="CLEARED")
        town.site.database.run(adjustments.set_adjustment, town.window(), 1, **decided)
        return town

    def test_a_calendar_tells_them_to_those_alone_who_may_see_them_elsewhere(self, relaxed):
        request = operator_pb2.GetWindowRequest(name=relaxed.window())
        callers = {"operator/op": 1, "aggregator/agg": 1, "dso/wires": 1, "participant/bob": 0, "meter/gateway": 0}
        for role, told in callers.items():
            stub = relaxed.site.stub(operator_pb2_grpc.OperatorServiceStub, role, "town")
            assert len(stub.GetWindow(request).window.adjustments[0].limit_relaxations) == told, role

    def test_the_dso_hears_of_them_without_that_snapshots_are_read(self, relaxed):
        asked = []

        def hear(_connection, _cursor, statement, *_):
            asked.append(statement)

        dso = relaxed.site.stub(dso_pb2_grpc.DsoServiceStub, "dso/wires", "town")
        engine = relaxed.site.database._reading_engine
        event.listen(engine, "before_cursor_execute", hear)
        (told,) = dso.ListRelaxations(dso_pb2.ListRelaxationsRequest(parent=relaxed.name)).windows
        event.remove(engine, "before_cursor_execute", hear)
        assert (told.window, [one.relaxed.upper_w for one in told.relaxations]) == (relaxed.window(), [503])
        assert asked
        assert not any("adjustments.snapshot" in statement for statement in asked)


class TestWithoutNews:
    def test_nothing_is_traded_after_the_hour_is_cleared(self, town):
        town.live(until=END)
        assert [row.state for row in town.rows()] == ["SETTLED", "SETTLED"]
        assert [(a.state, a.source) for a in town.adjusted()] == [("CLEARED", "STANDING")] * 4
        assert {row["adjustment"] for row in town.site.rows("trades")} == {0}
        assert town.site.solver.asked == 2

    def test_an_order_that_says_the_same_is_none(self, town):
        town.live(until=GATES[1] - 1)
        town.order("bob")
        town.live(until=GATES[1])
        assert town.adjusted()[1].source == "STANDING"


class TestNews:
    def test_an_order_counts_from_the_next_open_gate_on(self, town):
        assert town.order("bob").adjustment == 0
        town.live(until=TOWN - HOUR_S)
        assert town.order("bob").adjustment == 1
        town.live(until=GATES[2])
        assert town.order("bob").adjustment == 4
        town.live(until=GATES[3])
        refused = town.site.refused(town.site.participant("bob", "town").SubmitOrder, town.order_request("bob"))
        assert (refused.code, refused.reason) == (StatusCode.FAILED_PRECONDITION, "GATE_CLOSED")

    def test_an_order_counts_for_all_of_the_last_hour_that_it_counts_for(self, town, monkeypatch):
        """It does not lapse within the hour, which would take back what was traded for the later quarters."""
        monkeypatch.setattr(freezing, "PAST_S", HOUR_S)
        town.live(until=GATES[7])
        assert Snapshot.from_json(town.row(1).snapshot).orders
        assert [a.source for a in town.adjusted(1)] == ["STANDING"] * 4

    def test_an_order_after_the_gate_is_not_in_what_was_frozen_late(self, town):
        """The service stands still at the gate: what comes in after it counts for the adjustment only."""
        site = town.site
        site.clock.set(TOWN - HOUR_S + 60)
        town.load_w["bob"] = [900] * MTUS
        assert town.order("bob").adjustment == 1
        site.advance()
        assert Snapshot.from_json(town.row().snapshot).orders["bob"].load_w == (500,) * MTUS
        town.live(until=GATES[0])
        assert Snapshot.from_json(town.adjusted()[0].snapshot).orders["bob"].load_w == (900,) * MTUS

    def test_a_need_that_was_declared_is_traded_and_no_imbalance(self, town):
        town.live(until=GATES[1] - 1)
        town.load_w["bob"] = [500] * 2 + [1300] * 6
        town.order("bob")
        town.live(until=TOWN + HOUR_S)
        assert [a.source for a in town.adjusted()] == ["STANDING", "CLEARING", "CLEARING", "CLEARING"]
        bought = [t for t in town.of_window("trades") if t["adjustment"] and t["buyer"] == "bob"]
        assert sum(t["energy_wh"] for t in bought if t["mtu_start"] == TOWN + 2 * MTU_S) >= 200
        assert all(t["price_micro_per_kwh"] <= IMPORT for t in bought)
        imbalances = [
            abs(row["amount_micro"])
            for row in town.of_window("postings")
            if row["kind"] == "IMBALANCE" and row["account"] == "bob"
        ]
        assert sum(imbalances) <= 4 * IMPORT // 1000  # a Wh an MTU is rounding

    def test_the_same_need_undeclared_is_paid_as_imbalance(self, town):
        town.live(until=GATES[1] - 1)
        town.load_w["bob"] = [500] * 2 + [1300] * 6
        town.live(until=TOWN + HOUR_S)
        assert [a.source for a in town.adjusted()] == ["STANDING"] * 4
        assert posted(town, "IMBALANCE")["bob"] == pytest.approx(-400 * IMPORT / 1000, rel=0.02)

    def test_a_need_that_fell_away_is_given_back_at_what_it_cost(self, town):
        """Nobody takes it, so that the grid does: as if it had been known ahead."""
        town.sun_w = [0] * MTUS
        town.order("ada")
        town.live(until=GATES[1] - 1)
        ahead = [t for t in town.of_window("trades") if t["mtu_start"] == TOWN + MTU_S and t["buyer"] == "ada"]
        assert {t["seller"] for t in ahead} <= {"grid", "eve"}
        town.load_w["ada"] = [300] + [0] * 7
        town.order("ada")
        town.live(until=TOWN + HOUR_S)
        net = net_of_trades(town)
        assert [net["ada", TOWN + MTU_S * k] for k in range(4)] == [75, 0, 0, 0]
        assert sum(posted(town, "TRADE")[party] for party in (*MEMBERS, "grid")) == 0
        # What it did not take it did not pay, but for charges on what its neighbours took back.
        assert posted(town, "TRADE")["ada"] >= -75 * IMPORT // 1000 - 3 * 75 * 60

    def test_what_is_sold_ahead_and_cannot_be_delivered_is_bought(self, town):
        town.live(until=GATES[2] - 1)
        sold = sum(
            t["energy_wh"]
            for t in town.of_window("trades")
            if t["seller"] == "ada" and t["mtu_start"] == TOWN + 3 * MTU_S
        )
        assert sold > 0
        town.sun_w = [*town.sun_w[:3], *[0] * 5]
        town.order("ada")
        town.live(until=TOWN + HOUR_S)
        assert net_of_trades(town)["ada", TOWN + 3 * MTU_S] == 75
        assert town.positions()["ada", TOWN + 3 * MTU_S] == 75

    def test_callers_see_which_clearing_made_what(self, town):
        town.live(until=GATES[1] - 1)
        town.load_w["bob"] = [1300] * MTUS
        town.order("bob")
        town.live(until=GATES[2])
        window = town.operator.GetWindow(operator_pb2.GetWindowRequest(name=town.window())).window
        shown = window.adjustments
        assert [a.source for a in shown] == ["STANDING", "CLEARING", "CLEARING", "NONE"]
        assert [bool(a.input_digest) for a in shown] == [True, True, True, False]
        assert shown[1].certificate.objective_micro
        request = participant_pb2.ListOwnTradesRequest(parent=town.window())
        own = town.site.participant("bob", "town").ListOwnTrades(request).trades
        assert {t.adjustment for t in own} == {0, 2, 3}
        assert sum(a.trade_count for a in shown) == sum(t["adjustment"] > 0 for t in town.of_window("trades"))

    def test_what_rests_on_what_was_adjusted_away_does_not_stand(self, morning):
        """The sun fails: eve's battery does not fill at first, and has less to give in the other quarters."""
        morning.sun_w[0] = 0
        morning.order("ada")
        morning.live(until=GATES[3])
        assert [a.source for a in morning.adjusted()] == ["CLEARING"] * 4
        battery = flexibilities("town")[2].fill_rate
        stored_wh = battery.stored_wh
        for setpoint in morning.setpoints():
            if setpoint.device == "eve/battery":
                stored_wh += setpoint.value / 4 * (0.95 if setpoint.value > 0 else 1 / 0.93)
                assert -2 <= stored_wh <= battery.capacity_wh  # whole watts

    def test_what_was_left_to_the_failsafes_was_not_done(self, morning):
        """The second quarter's adjustment fails under a new limit: the third finds the battery fuller than meant."""
        morning.live(until=GATES[1] - 1)
        morning.limit(json.loads(morning.row().plan)["net_w"][1] - 1, first=1, last=2)
        morning.site.solver.script.append(FAULT)
        morning.live(until=GATES[2])
        assert [a.source for a in morning.adjusted()] == ["STANDING", "FAILSAFE", "CLEARING", "NONE"]

    def test_drivers_are_told_what_was_adjusted(self, town):
        """The sun fails: eve's battery does something else in the place of what it was told first."""
        town.live(until=GATES[1] - 1)
        before = {(s.device, s.mtu_start): s.value for s in town.setpoints()}
        town.sun_w = [*town.sun_w[:2], *[0] * 6]
        town.order("ada")
        town.live(until=GATES[1])
        after = {(s.device, s.mtu_start): s.value for s in town.setpoints()}
        assert set(after) == set(before)
        changed = {place for place in before if before[place] != after[place]}
        assert (changed and {mtu for _, mtu in changed} == {TOWN + MTU_S * 2}) or not changed
        hub = town.site.service._hub
        town.site.clock.set(TOWN + MTU_S * 2)
        for device in DEVICES:
            assert hub.planned("town", device).value == after[device, TOWN + MTU_S * 2]


class TestFailure:
    def test_what_was_cleared_ahead_stands(self, town):
        town.live(until=GATES[1] - 1)
        before = town.setpoints()
        town.load_w["bob"] = [600] * MTUS
        town.order("bob")
        town.site.solver.script.append(FAULT)
        town.live(until=GATES[1])
        failed = town.adjusted()[1]
        assert (failed.state, failed.source, failed.failure) == ("FAILED", "STANDING", str(FAULT))
        assert town.setpoints() == before
        assert net_of_trades(town) == town.positions()
        town.live(until=END)
        assert town.rows()[0].state == "SETTLED"

    def test_where_that_breaks_a_new_limit_devices_go_to_their_failsafes(self, town):
        town.live(until=GATES[3] - 1)
        town.limit(json.loads(town.row().plan)["net_w"][3] - 1)
        town.site.solver.script.append(FAULT)
        town.live(until=GATES[3])
        failed = town.adjusted()[3]
        assert (failed.state, failed.source) == ("FAILED", "FAILSAFE")
        assert {s.mtu_start for s in town.setpoints()} == {TOWN + MTU_S * k for k in range(3)}
        town.site.clock.set(TOWN + MTU_S * 3)
        assert town.site.service._hub.planned("town", "ada/pv") is None

    @pytest.mark.parametrize(("beyond_w", "stands"), [(0, "STANDING"), (-1, "FAILSAFE")])
    def test_of_an_hour_that_failed_the_tail_that_acts_is_judged(self, town, beyond_w, stands):
        """Adjustments of the hour before make plans after it failed: nobody follows these in it."""
        town.live(until=TOWN - HOUR_S)
        acting = json.loads(town.row().plan)
        town.site.solver.script.append(FAULT)
        town.live(until=TOWN)
        assert (town.row(1).source, town.row(1).failure) == ("TAIL", str(FAULT))
        town.load_w["bob"][3] = 2500
        town.order("bob")
        town.live(until=GATES[7] - 1)
        later = town.adjusted()[-1]
        assert later.closes > town.row(1).deadline
        assert json.loads(later.plan)["net_w"][-1] > acting["net_w"][-1]
        town.limit(acting["net_w"][-1] + beyond_w, first=7)
        town.site.solver.script.append(FAULT)
        town.live(until=GATES[7])
        failed = town.adjusted(1)[3]
        assert (failed.state, failed.source) == ("FAILED", stands)

    def test_an_hour_that_failed_is_traded_quarter_by_quarter(self, town):
        town.site.solver.script.append(FAULT)
        town.live(until=TOWN + HOUR_S)
        assert (town.row().failure, town.row().source) == (str(FAULT), "FAILSAFE")
        assert [a.source for a in town.adjusted()] == ["CLEARING"] * 4
        assert net_of_trades(town) == town.positions()
        assert set(town.positions()) == {(m, TOWN + MTU_S * k) for m in MEMBERS for k in range(4)}
        assert town.row().state == "SETTLED"

    def test_of_an_hour_that_failed_the_quarters_that_were_traded_have_prices(self, town):
        town.site.solver.script += [FAULT, FAULT]
        town.live(until=GATES[2])
        assert [a.source for a in town.adjusted()[:3]] == ["FAILSAFE", "CLEARING", "CLEARING"]
        stub = town.site.stub(dispatch_pb2_grpc.DispatchServiceStub, "operator/op", town.grid)
        hour = fields.interval_message(TOWN, TOWN + HOUR_S)
        found, request = [], dispatch_pb2.ListPricesRequest(parent=town.name, interval=hour, page_size=1)
        while not found or request.page_token:
            answer = stub.ListPrices(request)
            found += answer.prices
            request.page_token = answer.next_page_token
        assert [price.interval.start_time.seconds for price in found] == [TOWN + MTU_S, TOWN + 2 * MTU_S]
        among = [t["energy_wh"] for t in town.of_window("trades") if GRID_ACCOUNT not in (t["seller"], t["buyer"])]
        assert sum(price.neighbour_energy_wh for price in found) == sum(among) > 0

    def test_a_restart_keeps_what_was_adjusted_of_an_hour_that_failed(self, town):
        town.site.solver.script.append(FAULT)
        town.live(until=TOWN)
        assert (town.row().source, town.adjusted()[0].source) == ("FAILSAFE", "CLEARING")
        told = {device: town.site.service._hub.planned("town", device) for device in DEVICES}
        assert None not in told.values()
        town.site.restart()
        hub = town.site.service._hub
        assert {device: hub.planned("town", device) for device in DEVICES} == told

    def test_a_day_later_what_was_missed_has_failed_and_is_settled(self, town):
        town.live(until=GATES[1])
        town.site.clock.set(END + 86_400)
        for instant in range(TOWN, END + 1, MTU_S):
            town.meter(instant)
        town.site.advance()
        missed = [*town.adjusted()[2:], *town.adjusted(1)]
        assert {(a.state, a.source, a.failure) for a in missed} == {("FAILED", "STANDING", TOO_LATE)}
        assert [row.state for row in town.rows()] == ["SETTLED", "SETTLED"]

    def test_a_day_back_what_was_frozen_is_decided_and_nothing_twice(self, town, crash):
        town.live(until=GATES[1] - 1)
        town.site.database.commits_left = 1
        with pytest.raises(crash):
            town.site.advance(GATES[1])
        assert town.adjusted()[1].state == "CLOSED"
        town.site.database.commits_left = None
        town.site.clock._now -= 86_400
        town.site.advance()
        assert [(a.state, a.source) for a in town.adjusted()[:2]] == [("CLEARED", "STANDING")] * 2
        decided = story(town)
        town.site.advance()
        assert story(town) == decided
        assert {a.state for a in town.adjusted()[2:]} == {"OPEN"}


class TestBooks:
    def test_the_header_commits_to_every_clearing(self, town):
        town.live(until=GATES[1] - 1)
        town.load_w["bob"] = [1300] * MTUS
        town.order("bob")
        town.live(until=TOWN + HOUR_S)
        header = town.site.database.run(evidence.header, town.window())
        text = town.site.database.run(inputs_of, town.row())
        assert header.inputs_digest == hashlib.sha256(text.encode()).digest()
        inputs = json.loads(text)
        assert [part["number"] for part in inputs["adjustments"]] == [1, 2, 3, 4]
        counts = [inputs["trades"], *(part["trades"] for part in inputs["adjustments"])]
        assert sum(counts) == header.trades_count == len(town.of_window("trades"))
        made = [row["adjustment"] for row in sorted(town.of_window("trades"), key=lambda row: row["ix"])]
        assert made == [number for number, count in enumerate(counts) for _ in range(count)]
        for part, row in zip(inputs["adjustments"], town.adjusted(), strict=True):
            canonical = json.dumps(part["snapshot"], sort_keys=True, separators=(",", ":"))
            assert hashlib.sha256(canonical.encode()).digest() == row.inputs_digest


def scheduled_wh(town, number):
    """What the acting plans meant each member to take in each MTU of an hour, in sixtieths of a Wh."""
    wanted = {}
    row = town.row(number)
    clearings = [(row.snapshot, row.plan, row.start, row.end)] if row.plan else []
    clearings += [(a.snapshot, a.plan, a.start, a.end) for a in town.adjusted(number) if a.plan]
    for snapshot, text, start, end in clearings:
        orders, plan = Snapshot.from_json(snapshot).orders, json.loads(text)
        for mtu in range(start, end, MTU_S):
            k = (mtu - plan["start"]) // MTU_S
            for member in MEMBERS:
                own = sum(w[k] for device, w in plan["power_w"].items() if device.startswith(f"{member}/"))
                wanted[member, mtu] = (orders[member].load_w[k] + own) * 15
    return wanted


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_books_and_schedules_agree(make_town, seed):
    """Sun and loads change again and again, some of it declared; the solver fails at times."""
    town = make_town()
    drawn = random.Random(seed)

    def happen(instant):
        for member in MEMBERS:
            first = max(0, (instant - TOWN) // MTU_S + 1)
            if drawn.random() < 0.3 and first < MTUS:
                town.load_w[member][first:] = [4 * drawn.randrange(0, 500) for _ in range(MTUS - first)]
                town.sun_w[first:] = [4 * drawn.randrange(0, 1000) for _ in range(MTUS - first)]
                for number in (0, 1):
                    if instant < GATES[4 * number + 3] and drawn.random() < 0.8:
                        town.order(member, number)
        if drawn.random() < 0.15:
            town.site.solver.script.append(FAULT)
        town.site.advance(instant)

    town.live(until=END, advance=happen)
    assert [row.state for row in town.rows()] == ["SETTLED", "SETTLED"]
    for number in (0, 1):
        net = net_of_trades(town, number)
        positions = town.positions(number)
        assert {place: energy for place, energy in net.items() if place in positions} == positions
        assert all(energy == 0 for place, energy in net.items() if place not in positions)
        wanted = scheduled_wh(town, number)
        for place, energy in positions.items():
            assert abs(wanted[place] - 60 * energy) <= 120  # what rounding carried from MTU to MTU
        assert sum(row["amount_micro"] for row in town.of_window("postings", number)) == 0
        readings = town.site.rows("meter_readings")
        registers = {(r["member"], r["instant"]): r["import_wh"] - r["export_wh"] for r in readings}
        unbalanced = {row["reference"] for row in town.of_window("postings", number) if row["kind"] == "IMBALANCE"}
        for (member, mtu), energy in net.items():
            taken = registers[member, mtu + MTU_S] - registers[member, mtu]
            assert (f"{member} {mtu}" in unbalanced) == (taken != energy)


@pytest.mark.slow
def test_a_crash_after_every_single_commit_changes_nothing(make_town, make_anchored, crash):
    calm, hit = (make_town(anchored=make_anchored()) for _ in range(2))
    crashes = 0

    def news(town, instant):
        if instant == GATES[1]:
            town.load_w["bob"] = [1300] * MTUS
        if instant == GATES[2] - 600:
            town.order("bob")

    def advance(instant):
        news(calm, instant)
        calm.site.advance(instant)
        calm.site.anchor()

    def stumble(instant):
        nonlocal crashes
        news(hit, instant)
        while True:
            hit.site.database.commits_left = 1
            try:
                hit.site.advance(instant)
                hit.site.anchor()
            except crash:
                crashes += 1
                hit.site.crash()
                hit.site.open()
            else:
                hit.site.database.commits_left = None
                return

    calm.live(until=END, advance=advance)
    hit.live(until=END, advance=stumble)
    # Of each hour ten, of each adjustment that it was closed and decided; and once that the account is this service's.
    assert crashes == 2 * 10 + 8 * 2 + 1
    assert story(hit) == story(calm)


class TestEvidence:
    @pytest.fixture
    def exported(self, make_town, tmp_path):
        """What a verifier gets of the two hours, of which one was adjusted; its root; and who made which trade."""
        chain = OwnChain()
        town = make_town(anchored=chain.anchored)
        town.live(until=GATES[1] - 1)
        town.load_w["bob"] = [1300] * MTUS
        town.order("bob")
        town.live(until=END)
        town.site.anchor()
        scenario = SimpleNamespace(microgrid=town.microgrid())
        town.site.database.run(export_evidence, tmp_path, scenario, chain.genesis, chain.deployment)
        root = town.site.database.run(evidence.headers, "town")[-1].hash
        made = {(row["window"], row["ix"]): row["adjustment"] for row in town.site.rows("trades")}
        return tmp_path, root, made

    @pytest.mark.slow
    def test_all_clearings_verify_and_none_can_be_changed(self, exported):
        path, root, made = exported
        assert verify_directory(path, root=root).ok
        file = path / "trades.jsonl"
        text = file.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        for adjusted in (False, True):
            place = next(k for k, line in enumerate(lines) if bool(made[line["window"], line["index"]]) == adjusted)
            changed = [dict(line) for line in lines]
            changed[place]["energy_wh"] += 1
            file.write_text("".join(json.dumps(line) + "\n" for line in changed), encoding="utf-8")
            assert not verify_directory(path, root=root).ok
            file.write_text(
                "".join(json.dumps(line) + "\n" for line in lines[:place] + lines[place + 1 :]), encoding="utf-8"
            )
            assert not verify_directory(path, root=root).ok
        file.write_text(text, encoding="utf-8")
        assert verify_directory(path, root=root).ok


class TestPresets:
    """Each as an operator founds it, by the API alone."""

    @pytest.mark.parametrize("mtu", [5, 15, 30, 60])
    def test_every_preset_goes_with_every_market_time_unit(self, make_site, mtu):
        site = make_site()
        for preset in (2, 3, 4):
            town = Town(
                site,
                f"town-{preset}",
                market_time_unit=minutes(mtu),
                timing={"preset": preset},
                tariff=[],
                horizon={"start_time": fields.timestamp(TOWN)},
                planning_horizon=minutes(120),
            )
            request = operator_pb2.CreateMicrogridRequest(microgrid=town.message, request_id="found")
            assert town.operator.CreateMicrogrid(request).microgrid.window == minutes(60)
            adjusted = town.adjusted()
            parts = range(TOWN, TOWN + HOUR_S, 60 * max(15, mtu)) if preset == 4 else ()
            assert [row.start for row in adjusted] == list(parts)

    @pytest.mark.parametrize(
        ("start", "quarters"),
        [(datetime(2026, 3, 28, 23, tzinfo=UTC), 92), (datetime(2026, 10, 24, 22, tzinfo=UTC), 100)],
        ids=["23 hours", "25 hours"],
    )
    def test_each_quarter_of_a_day_that_changes_its_clock_is_adjusted_once(self, make_site, start, quarters):
        first = int(start.timestamp())
        horizon = fields.interval_message(first, first + MTU_S * quarters)
        tariff = [operator_pb2.TariffPeriod(interval=horizon, import_price_micro_per_kwh=IMPORT)]
        town = Town(make_site(), horizon=horizon, tariff=tariff)
        town.operator.CreateMicrogrid(operator_pb2.CreateMicrogridRequest(microgrid=town.message, request_id="found"))
        last = first + MTU_S * quarters
        midnights = [datetime.fromtimestamp(instant, ZoneInfo("Europe/Berlin")) for instant in (first, last)]
        assert [(local.hour, local.minute) for local in midnights] == [(0, 0), (0, 0)]
        rows = [row for window in town.rows() for row in town.site.database.run(adjustments.adjustments, window.name)]
        assert [row.start for row in rows] == [first + MTU_S * k for k in range(quarters)]
        assert {row.end - row.start for row in rows} == {MTU_S}
        assert {row.start - row.closes for row in rows} == {300}
