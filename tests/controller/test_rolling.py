"""Microgrids without an end: windows as time goes on, each planned as far ahead."""

import pytest
from grpc import StatusCode

from controller.snapshot import Snapshot
from gridpact.v1 import operator_pb2, operator_pb2_grpc
from tests.controller.street import DAY_S, LOADS_W, Street, minutes, period


@pytest.fixture
def street(make_site):
    return Street(make_site()).found()


def snapshot(street, number):
    return Snapshot.from_json(street.row(number).snapshot)


class TestOpening:
    def test_as_many_windows_are_open_as_orders_may_be_placed_for(self, street):
        # An hour before the first one, with two hours ahead: those that start within the next hour.
        assert [row.start - street.start for row in street.rows()] == [0, 1800, 3600]

    def test_more_are_opened_as_time_goes_on_and_closed_ones_stay(self, street):
        site = street.site
        site.advance(street.start)
        assert [row.start - street.start for row in street.rows()] == [0, 1800, 3600, 5400, 7200]
        site.advance(street.start)
        assert len(street.rows()) == 5
        street.live(until=street.start + 3600)
        assert street.states() == ["SETTLED", "SETTLED", "DELIVERING", "OPEN", "OPEN", "OPEN", "OPEN"]

    def test_it_reads_back_as_it_was_founded(self, street):
        request = operator_pb2.GetMicrogridRequest(name=street.name)
        found = street.operator.GetMicrogrid(request).microgrid
        assert found == street.message
        assert not found.horizon.HasField("end_time")
        assert found.planning_horizon == minutes(120)

    def test_what_is_left_out_is_a_day(self, make_site):
        street = Street(make_site(), planning_horizon=None, order_ahead=None).found()
        assert street.message.planning_horizon == street.message.order_ahead == minutes(1440)
        assert len(street.rows()) == 47

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"planning_horizon": minutes(10)}, "planning_horizon"),
            ({"planning_horizon": minutes(40)}, "planning_horizon"),
            ({"planning_horizon": minutes(15 * 193)}, "planning_horizon"),
            ({"planning_horizon": minutes(-30)}, "planning_horizon"),
            ({"order_ahead": minutes(5)}, "order_ahead"),
            ({"order_ahead": minutes(7 * 1440 + 1)}, "order_ahead"),
            ({"timing": {"preset": 9}}, "timing.preset"),
            ({"timing": {"bidding": minutes(0)}}, "timing.bidding"),
            ({"timing": {"decision_lead": minutes(5)}}, "timing.decision_lead"),
            ({"timing": {"settlement_wait": minutes(1441)}}, "timing.settlement_wait"),
            ({"timing": {"preset": 2}}, "window"),
            ({"timing": {"preset": 2}, "window": 60}, "gate_closure_lead"),
            ({"timing": {"preset": 3, "bidding": minutes(54)}, "window": 60}, "timing.bidding"),
        ],
    )
    def test_a_calendar_that_is_none_is_refused(self, make_site, change, field):
        site = make_site()
        street = Street(site, **change)
        request = operator_pb2.CreateMicrogridRequest(microgrid=street.message, request_id="found")
        refused = site.refused(street.operator.CreateMicrogrid, request)
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, (f"microgrid.{field}",))

    def test_it_begins_no_earlier_than_now(self, make_site):
        site = make_site()
        street = Street(site, start=site.start - 7200)
        request = operator_pb2.CreateMicrogridRequest(microgrid=street.message, request_id="found")
        refused = site.refused(street.operator.CreateMicrogrid, request)
        assert (refused.code, refused.fields) == (StatusCode.OUT_OF_RANGE, ("microgrid.horizon.start_time",))

    @pytest.mark.parametrize("field", ["planning_horizon", "order_ahead"])
    def test_one_that_ends_needs_no_such_thing(self, make_site, field):
        site = make_site()
        street = Street(site, **dict.fromkeys(("planning_horizon", "order_ahead"), None) | {field: minutes(60)})
        street.message.horizon.end_time.seconds = street.start + 2 * DAY_S
        request = operator_pb2.CreateMicrogridRequest(microgrid=street.message, request_id="found")
        assert site.refused(street.operator.CreateMicrogrid, request).fields == (f"microgrid.{field}",)


class TestPlanning:
    def test_each_window_is_planned_as_far_ahead(self, street):
        street.live(until=street.start + 3600)
        for number in range(3):
            view = snapshot(street, number).microgrid
            assert view.end == street.start + 1800 * number + 7200
            assert len(snapshot(street, number).mtus()) == 8

    def test_orders_go_on_as_the_day_before_and_that_is_said(self, street):
        street.order("home", 0, [100, 200, 300])
        street.live(until=street.start)
        assert snapshot(street, 0).orders["home"].load_w == (100, 200, 300, 300, 300, 300, 300, 300)
        note = "forecasts: got 3 of 8 MTUs, went on as the day before"
        assert snapshot(street, 0).amended == {"home": (note,)}
        window = street.operator.GetWindow(operator_pb2.GetWindowRequest(name=street.window(0))).window
        assert [(a.member, list(a.notes)) for a in window.amendments] == [(f"{street.name}/members/home", [note])]

    def test_an_order_counts_until_the_next_one(self, street):
        street.order("home", 0, [100, 200] * 4)
        street.live(until=street.start + 1500)
        assert snapshot(street, 1).orders["home"].load_w == (100, 200) * 3 + (200, 200)
        street.order("home", 2, [7] * 8)
        street.live(until=street.start + 3300)
        assert snapshot(street, 2).orders["home"].load_w == (7,) * 8
        assert snapshot(street, 2).amended == {}

    @pytest.mark.parametrize(("count", "fits"), [(1, False), (2, True), (8, True), (9, False)])
    def test_an_order_covers_the_window_and_at_most_the_planning(self, street, count, fits):
        request = street.order_request("home", 0, [100] * count)
        call = street.site.participant("home", street.grid).SubmitOrder
        if fits:
            call(request)
        else:
            refused = street.site.refused(call, request)
            assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("order.load_w",))
            assert "2 to 8" in refused.message

    def test_what_was_taken_is_settled(self, street):
        for member in LOADS_W:
            street.order(member)
        street.live(until=street.start + 1800)
        paid = dict.fromkeys(LOADS_W, 0)
        for row in street.site.rows("postings"):
            if row["window"] == street.window(0) and row["account"] in paid:
                paid[row["account"]] -= row["amount_micro"]
        assert paid == {member: load_w * 60_000 // 2000 for member, load_w in LOADS_W.items()}


class TestTariff:
    def update(self, street, *periods):
        return operator_pb2.UpdateTariffRequest(
            parent=street.name, periods=periods, request_id=street.site.request_id()
        )

    def test_a_window_without_prices_fails_and_is_settled_when_they_are_there(self, make_site):
        street = Street(make_site(), priced_s=1800).found()
        request = operator_pb2.GetWindowRequest(name=street.window(1))
        assert not street.operator.GetWindow(request).window.tariff_known
        street.live(until=street.start + 3600)
        assert street.states()[:2] == ["SETTLED", "METERED"]
        assert street.row(1).failure.startswith("tariff: got none from 2026-03-02T06:30:00+00:00 on")
        known = street.operator.UpdateTariff(self.update(street, period(street.start + 1800, street.start + 9000)))
        assert known.known_until.seconds == street.start + 9000
        street.site.advance(street.start + 3600)
        assert street.states()[1] == "SETTLED"
        assert street.operator.GetWindow(request).window.tariff_known

    def test_planning_ends_with_the_known_tariff(self, make_site):
        street = Street(make_site(), priced_s=5400).found()
        street.live(until=street.start)
        assert snapshot(street, 0).microgrid.end == street.start + 5400

    def test_a_closed_window_keeps_the_prices_it_was_decided_on(self, street):
        street.order("home")
        street.live(until=street.start - 300)
        street.operator.UpdateTariff(self.update(street, period(street.start, street.start + DAY_S, 90_000)))
        assert street.microgrid().prices(street.start).import_price_micro_per_kwh == 90_000
        street.live(until=street.start + 3600)
        paid = {
            number: sum(
                -row["amount_micro"]
                for row in street.site.rows("postings")
                if row["account"] == "home" and row["window"] == street.window(number)
            )
            for number in range(2)
        }
        assert paid == {0: 400 * 60_000 // 2000, 1: 400 * 90_000 // 2000}

    @pytest.mark.parametrize(
        ("first", "last", "field"),
        [
            (2 * DAY_S + 900, 3 * DAY_S, "periods[0].interval.start_time"),  # a gap
            (-900, DAY_S, "periods[0].interval.start_time"),
            (1000, DAY_S, "periods[0].interval.start_time"),
        ],
    )
    def test_a_gap_or_a_part_of_an_mtu_is_out_of_range(self, street, first, last, field):
        request = self.update(street, period(street.start + first, street.start + last))
        refused = street.site.refused(street.operator.UpdateTariff, request)
        assert (refused.code, refused.fields) == (StatusCode.OUT_OF_RANGE, (field,))

    def test_what_has_begun_keeps_its_price(self, street):
        street.site.clock.set(street.start + 1000)
        request = self.update(street, period(street.start + 900, street.start + DAY_S))
        refused = street.site.refused(street.operator.UpdateTariff, request)
        assert (refused.code, refused.fields) == (StatusCode.OUT_OF_RANGE, ("periods[0].interval.start_time",))
        street.operator.UpdateTariff(self.update(street, period(street.start + 1800, street.start + DAY_S)))

    @pytest.mark.parametrize(
        ("periods", "code", "field"),
        [
            ([], StatusCode.INVALID_ARGUMENT, "periods"),
            ([(0, 1000)], StatusCode.INVALID_ARGUMENT, "periods[0].interval"),
            ([(0, 900), (1800, 2700)], StatusCode.INVALID_ARGUMENT, "periods[1].interval"),
            ([(900, 0)], StatusCode.INVALID_ARGUMENT, "periods[0].interval"),
            ([(0, 900, 10, 11)], StatusCode.INVALID_ARGUMENT, "periods[0].export_price_micro_per_kwh"),
            ([(0, 900, 2 * 10**9)], StatusCode.OUT_OF_RANGE, "periods[0].import_price_micro_per_kwh"),
        ],
    )
    def test_a_malformed_period_is_named(self, street, periods, code, field):
        messages = [period(street.start + first, street.start + last, *prices) for first, last, *prices in periods]
        refused = street.site.refused(street.operator.UpdateTariff, self.update(street, *messages))
        assert (refused.code, refused.fields) == (code, (field,))


class TestTiming:
    @pytest.fixture
    def auction(self, make_site):
        timing = {"preset": operator_pb2.TIMING_PRESET_BIDDING_60_10_2_3}
        changes = {"gate_closure_lead": None, "planning_horizon": minutes(120), "order_ahead": minutes(120)}
        return Street(make_site(), window=60, timing=timing, **changes).found()

    def window(self, street, number):
        return street.operator.GetWindow(operator_pb2.GetWindowRequest(name=street.window(number))).window

    def test_a_preset_says_all_instants(self, auction):
        window = self.window(auction, 0)
        start = auction.start
        assert window.gate_open_time.seconds == start - 12 * 60
        assert window.gate_close_time.seconds == start - 2 * 60
        assert window.decision_deadline.seconds == start
        assert window.settlement_time.seconds == start + 3780
        assert auction.message.gate_closure_lead == minutes(2)
        assert auction.message.timing.bidding == minutes(10)

    def test_negotiation_takes_55_minutes_and_5(self, make_site):
        timing = {"preset": operator_pb2.TIMING_PRESET_NEGOTIATION_55_5}
        street = Street(make_site(), window=60, timing=timing).found()
        window = self.window(street, 0)
        assert street.start - window.gate_open_time.seconds == 3600
        assert street.start - window.gate_close_time.seconds == 300
        assert window.settlement_time.seconds == street.start + 3600

    def test_orders_are_taken_while_the_gate_is_open(self, auction):
        call = auction.site.participant("home", auction.grid).SubmitOrder
        answers = []
        for before_s in (721, 720, 121, 120):
            auction.site.clock.set(auction.start - before_s)
            request = auction.order_request("home", 0, [400] * 8)
            if before_s in {721, 120}:
                refused = auction.site.refused(call, request)
                answers.append((refused.code, refused.reason))
            else:
                answers.append(len(call(request).digest))
        shut = StatusCode.FAILED_PRECONDITION
        assert answers == [(shut, "GATE_NOT_OPEN"), 32, 32, (shut, "GATE_CLOSED")]

    def test_each_step_waits_for_its_instant(self, auction):
        seen = {}
        for second in (-121, -120, -1, 0, 3599, 3600, 3779, 3780):
            auction.site.clock.set(auction.start + second)
            if second == 3600:
                auction.report(*range(auction.start, auction.start + 3601, 900))
            auction.site.advance()
            seen[second] = auction.states()[0]
        assert seen == {
            -121: "OPEN",
            -120: "CLEARED",
            -1: "CLEARED",
            0: "DELIVERING",
            3599: "DELIVERING",
            3600: "METERED",
            3779: "METERED",
            3780: "SETTLED",
        }

    def test_what_is_decided_after_its_deadline_fails(self, make_site):
        street = Street(make_site(), timing={"decision_lead": minutes(2)}).found()
        street.site.advance(street.start - 119)
        assert street.row(0).failure == "its deadline had passed before it was cleared"
        street.site.clock.set(street.start + 1800 - 120)
        street.site.advance()
        assert street.states()[1] == "CLEARED"

    def update(self, street, *paths, **values):
        return operator_pb2.UpdateMicrogridRequest(
            microgrid=operator_pb2.Microgrid(name=street.name, **values),
            update_mask={"paths": paths},
            request_id=street.site.request_id(),
        )

    def test_a_change_counts_for_windows_that_are_not_open_yet(self, street):
        request = self.update(
            street,
            "gate_closure_lead",
            "timing",
            "planning_horizon",
            gate_closure_lead=minutes(10),
            timing={"settlement_wait": minutes(7)},
            planning_horizon=minutes(60),
        )
        changed = street.operator.UpdateMicrogrid(request).microgrid
        assert (changed.gate_closure_lead, changed.timing.settlement_wait) == (minutes(10), minutes(7))
        street.site.advance(street.start)
        leads = [row.start - row.closes for row in street.rows()]
        assert leads == [300, 300, 300, 600, 600]
        assert [row.settles - row.end for row in street.rows()] == [0, 0, 0, 420, 420]
        assert snapshot(street, 0).microgrid.end == street.start + 3600

    def test_a_charge_counts_from_the_next_gate_on(self, street):
        street.site.advance(street.start - 300)
        street.operator.UpdateMicrogrid(
            self.update(street, "network_charge_micro_per_kwh", network_charge_micro_per_kwh=1)
        )
        street.site.advance(street.start + 1500)
        charges = [snapshot(street, number).microgrid.network_charge_micro_per_kwh for number in range(2)]
        assert charges == [5000, 1]

    @pytest.mark.parametrize(
        ("paths", "values", "field"),
        [
            ([], {}, "update_mask"),
            (["currency"], {}, "update_mask"),
            (["timing.preset"], {}, "update_mask"),
            (["gate_closure_lead"], {"gate_closure_lead": minutes(0)}, "microgrid.gate_closure_lead"),
            (["planning_horizon"], {"planning_horizon": minutes(20)}, "microgrid.planning_horizon"),
            (["order_ahead"], {"order_ahead": minutes(5)}, "microgrid.order_ahead"),
            (["timing"], {"timing": {"preset": 2}}, "microgrid.window"),
            (["timing"], {"timing": {"bidding": minutes(120)}}, "microgrid.order_ahead"),
        ],
    )
    def test_what_may_not_change_is_named(self, street, paths, values, field):
        refused = street.site.refused(street.operator.UpdateMicrogrid, self.update(street, *paths, **values))
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, (field,))

    def test_all_windows_of_one_that_ends_are_open_already(self, site):
        request = operator_pb2.UpdateMicrogridRequest(
            microgrid=operator_pb2.Microgrid(name="microgrids/village"),
            update_mask={"paths": ["gate_closure_lead"]},
            request_id="late",
        )
        assert site.refused(site.operator.UpdateMicrogrid, request).reason == "WINDOWS_OPEN"


class TestMembers:
    def member(self, street, **values):
        return operator_pb2.Member(name=f"{street.name}/members/home", **values)

    def update(self, street, *paths, **values):
        return operator_pb2.UpdateMemberRequest(
            member=self.member(street, **values),
            update_mask={"paths": paths},
            request_id=street.site.request_id(),
        )

    def test_a_forecast_beyond_the_connection_is_cut_and_fails_nobody(self, street):
        """One that was there before the connection was rated; a new one is refused."""
        street.order("home", 0, [900_000, 100, 100, 100])
        changed = street.operator.UpdateMember(self.update(street, "connection_w", connection_w=3000)).member
        assert changed == self.member(street, section="all", connection_w=3000)
        street.order("shop")
        street.live(until=street.start)
        assert street.states()[0] == "DELIVERING"
        assert snapshot(street, 0).orders["home"].load_w[:2] == (3000, 100)
        assert (
            "load_w: got up to 900000 W in 1 MTUs, cut to the connection's 3000 W"
            in snapshot(street, 0).amended["home"]
        )

    def test_a_rating_that_is_named_and_absent_is_none(self, street):
        street.operator.UpdateMember(self.update(street, "connection_w", "feed_in_w", connection_w=1, feed_in_w=0))
        listed = street.operator.ListMembers(operator_pb2.ListMembersRequest(parent=street.name)).members
        assert listed[0] == self.member(street, section="all", connection_w=1, feed_in_w=0)
        changed = street.operator.UpdateMember(self.update(street, "connection_w", "section", section="east")).member
        assert changed == self.member(street, section="east", feed_in_w=0)

    @pytest.mark.parametrize(
        ("paths", "values", "code", "field"),
        [
            ([], {}, StatusCode.INVALID_ARGUMENT, "update_mask"),
            (["name"], {}, StatusCode.INVALID_ARGUMENT, "update_mask"),
            (["section"], {}, StatusCode.INVALID_ARGUMENT, "member.section"),
            (["connection_w"], {"connection_w": 0}, StatusCode.OUT_OF_RANGE, "member.connection_w"),
            (["connection_w"], {"connection_w": 10**6 + 1}, StatusCode.OUT_OF_RANGE, "member.connection_w"),
            (["feed_in_w"], {"feed_in_w": -1}, StatusCode.OUT_OF_RANGE, "member.feed_in_w"),
        ],
    )
    def test_a_malformed_change_is_named(self, street, paths, values, code, field):
        refused = street.site.refused(street.operator.UpdateMember, self.update(street, *paths, **values))
        assert (refused.code, refused.fields) == (code, (field,))

    def test_who_leaves_is_in_no_window_from_the_next_gate_on(self, street):
        for member in LOADS_W:
            street.order(member)
        street.live(until=street.start)
        request = operator_pb2.DeleteMemberRequest(name=f"{street.name}/members/home", request_id="gone")
        assert street.operator.DeleteMember(request) == street.operator.DeleteMember(request)
        again = operator_pb2.DeleteMemberRequest(name=request.name, request_id="again")
        assert street.site.refused(street.operator.DeleteMember, again).code is StatusCode.NOT_FOUND
        order = street.order_request("home", 2, [1] * 4)
        call = street.site.participant("home", street.grid).SubmitOrder
        assert street.site.refused(call, order).code is StatusCode.NOT_FOUND
        back = operator_pb2.CreateMemberRequest(
            parent=street.name, member=self.member(street, section="all"), request_id="back"
        )
        assert street.site.refused(street.operator.CreateMember, back).code is StatusCode.ALREADY_EXISTS
        street.live(until=street.start + 3600)
        assert street.states()[:2] == ["SETTLED", "SETTLED"]
        taken = {(row["window"], row["member"]) for row in street.site.rows("positions")}
        assert (street.window(0), "home") in taken
        assert (street.window(1), "home") not in taken
        assert (street.window(1), "shop") in taken


class TestReading:
    def test_windows_are_listed_by_time_a_page_at_a_time(self, street):
        street.site.advance(street.start)
        request = operator_pb2.ListWindowsRequest(parent=street.name, page_size=2)
        request.interval.start_time.seconds = street.start + 1
        names = []
        while True:
            answer = street.operator.ListWindows(request)
            names += [window.window for window in answer.windows]
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token
            street.site.advance(street.site.clock.now() + 1800)  # more are opened between two pages
        assert names == [street.window(number) for number in range(1, 1 + len(names))]
        assert len(names) >= 4
        request.page_token = ""
        request.interval.end_time.seconds = street.start + 1801
        assert [w.window for w in street.operator.ListWindows(request).windows] == [street.window(1)]

    def test_an_interval_that_is_none_is_refused(self, street):
        request = operator_pb2.ListWindowsRequest(parent=street.name)
        request.interval.start_time.seconds = request.interval.end_time.seconds = street.start
        refused = street.site.refused(street.operator.ListWindows, request)
        assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("interval",))

    def test_a_participant_sees_what_was_done_to_its_own_order(self, street):
        for member in LOADS_W:
            street.order(member)
        street.live(until=street.start)
        stub = street.site.stub(operator_pb2_grpc.OperatorServiceStub, "participant/shop", street.grid)
        window = stub.GetWindow(operator_pb2.GetWindowRequest(name=street.window(0))).window
        assert [a.member for a in window.amendments] == [f"{street.name}/members/shop"]
        assert (window.source, window.failure) == ("CLEARING", "")

    def test_a_foreign_window_does_not_exist(self, street):
        request = operator_pb2.GetWindowRequest(name=street.site.window(0))
        assert street.site.refused(street.operator.GetWindow, request).code is StatusCode.NOT_FOUND
