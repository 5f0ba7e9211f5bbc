import json

import pytest
from grpc import StatusCode

from controller.wire import fields
from gridpact.v1 import dispatch_pb2, operator_pb2, participant_pb2
from optimization.errors import SolverError

NAME = "microgrids/village"


def plan_request(site):
    return dispatch_pb2.RequestPlanRequest(parent=NAME, request_id=site.request_id())


class TestRequestPlan:
    def test_it_plans_every_device_to_the_end_of_the_horizon(self, site):
        plan = site.aggregator.RequestPlan(plan_request(site)).plan
        assert plan.quality == dispatch_pb2.PLAN_QUALITY_OPTIMAL
        assert (plan.horizon.start_time.seconds, plan.horizon.end_time.seconds) == (site.start, site.start + 7200)
        assert [schedule.device.partition("members/")[2] for schedule in plan.schedules] == [
            "ada/devices/pv",
            "bob/devices/boiler",
            "eve/devices/battery",
        ]
        assert {len(schedule.power_w) for schedule in plan.schedules} == {8}
        assert sum(1 for power in plan.schedules[1].power_w if power == 1501) == 3

    def test_it_says_what_a_task_falls_short_by_and_how_far_a_temperature_is_off(self, site):
        stay = fields.interval_message(site.start, site.start + 3600)
        vehicle = participant_pb2.ElectricVehicle(
            stay=stay,
            capacity_wh=40_000,
            required_wh=20_000,
            levels=[participant_pb2.ChargingLevel(lower_w=1380, upper_w=4000)],
            charge_efficiency_ppm=1_000_000,
            discharge_efficiency_ppm=1_000_000,
        )
        cellar = participant_pb2.Thermostat(
            rated_power_w=100,
            heat_capacity_wh_per_k=100,
            performance_ppm=-1_000_000,
            temperature_milli_c=10_000,
            upper_milli_c=9000,
        )
        for name, control in (("car", {"electric_vehicle": vehicle}), ("cellar", {"thermostat": cellar})):
            flexibility = participant_pb2.Flexibility(device=f"{NAME}/members/bob/devices/{name}", **control)
            site.participant("bob").UpdateFlexibility(
                participant_pb2.UpdateFlexibilityRequest(flexibility=flexibility, request_id=site.request_id())
            )
        plan = site.aggregator.RequestPlan(plan_request(site)).plan
        found = {schedule.device.rpartition("/")[2]: schedule for schedule in plan.schedules}
        assert list(found["car"].power_w) == [4000] * 4 + [0] * 4
        assert found["car"].shortfall_wh == 16_000
        # A quarter of a degree in a quarter of an hour: 0.75, 0.5 and 0.25 K too warm at three ends.
        assert list(found["cellar"].power_w)[:4] == [100] * 4
        assert found["cellar"].discomfort_milli_k_h == 375
        assert (found["boiler"].shortfall_wh, found["boiler"].discomfort_milli_k_h) == (0, 0)
        assert plan.quality == dispatch_pb2.PLAN_QUALITY_RELAXED
        told = {r.device.rpartition("/")[2]: (r.shortfall_wh, r.discomfort_milli_k_h) for r in plan.relaxations}
        assert told == {"car": (16_000, 0), "cellar": (0, 375)}

    def test_its_net_power_is_that_of_loads_and_devices(self, site):
        plan = site.aggregator.RequestPlan(plan_request(site)).plan
        devices = [sum(powers) for powers in zip(*(schedule.power_w for schedule in plan.schedules), strict=True)]
        assert list(plan.net_power_w) == [301 + 503 + 707 + power for power in devices]

    def test_its_certificate_bounds_it_from_below(self, site):
        certificate = site.aggregator.RequestPlan(plan_request(site)).plan.certificate
        assert certificate.lower_bound_micro <= certificate.objective_micro
        assert 0 <= certificate.gap <= 0.01
        assert certificate.primal_residual_w < 1e-2

    def test_it_is_kept(self, site):
        plan = site.aggregator.RequestPlan(plan_request(site)).plan
        assert site.aggregator.GetPlan(dispatch_pb2.GetPlanRequest(name=plan.name)).plan == plan

    def test_it_binds_nobody(self, site):
        before = site.rows()
        site.aggregator.RequestPlan(plan_request(site))
        changed = {name for name, rows in site.rows().items() if rows != before[name]}
        assert changed == {"events", "plans", "requests"}

    def test_equal_inputs_give_equal_plans(self, site):
        one = site.aggregator.RequestPlan(plan_request(site)).plan
        other = site.aggregator.RequestPlan(plan_request(site)).plan
        assert one == other

    def test_a_new_order_gives_another_plan(self, site):
        one = site.aggregator.RequestPlan(plan_request(site)).plan
        site.participant("bob").SubmitOrder(site.order_request("bob", load_w=[504] * 8))
        other = site.aggregator.RequestPlan(plan_request(site)).plan
        assert one.input_digest != other.input_digest
        assert one.name != other.name

    def test_what_was_answered_before_is_not_solved_again(self, site):
        request = plan_request(site)
        plan = site.aggregator.RequestPlan(request).plan
        assert site.aggregator.RequestPlan(request).plan == plan
        assert site.solver.asked == 1

    def test_limits_that_nothing_keeps_are_named(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("tight", (2, 3, None, -9000))))
        plan = site.aggregator.RequestPlan(plan_request(site)).plan
        assert plan.quality == dispatch_pb2.PLAN_QUALITY_RELAXED
        (one,) = plan.limit_relaxations
        assert (one.target, one.bounds.upper_w, one.interval.start_time.seconds) == (NAME, -9000, site.start + 1800)
        assert plan.net_power_w[2] == one.relaxed.upper_w > -9000

    def test_limits_that_contradict_each_other_are_named(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("one", (0, 8, 2000, None))))
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("other", (0, 8, None, 1000))))
        plan = site.aggregator.RequestPlan(plan_request(site)).plan
        assert plan.quality == dispatch_pb2.PLAN_QUALITY_RELAXED
        (one,) = plan.limit_relaxations
        assert (one.bounds.lower_w, one.bounds.upper_w) == (2000, 1000)
        assert (one.relaxed.lower_w, one.relaxed.upper_w) == (1000, 1000)

    def test_a_community_without_members_has_no_plan(self, make_site, site):
        calendar = site.operator.GetMicrogrid(operator_pb2.GetMicrogridRequest(name=NAME)).microgrid
        empty = make_site()
        empty.operator.CreateMicrogrid(operator_pb2.CreateMicrogridRequest(microgrid=calendar, request_id="found"))
        plan = empty.aggregator.RequestPlan(plan_request(empty)).plan
        assert plan.quality == dispatch_pb2.PLAN_QUALITY_INFEASIBLE
        assert "community.peers" in plan.conflict

    def test_after_the_last_gate_there_is_nothing_to_plan(self, site):
        site.live(until=site.start + 5400)
        answer = site.refused(site.aggregator.RequestPlan, plan_request(site))
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NO_OPEN_WINDOW")

    def test_it_begins_with_the_first_open_window(self, settled):
        plan = settled.aggregator.RequestPlan(plan_request(settled)).plan
        assert plan.horizon.start_time.seconds == settled.start + 3600


class TestGetPlan:
    def test_an_unknown_one_is_not_found(self, site):
        request = dispatch_pb2.GetPlanRequest(name=f"{NAME}/plans/p1")
        assert site.refused(site.aggregator.GetPlan, request).code is StatusCode.NOT_FOUND

    def test_a_malformed_name_is_invalid(self, site):
        answer = site.refused(site.aggregator.GetPlan, dispatch_pb2.GetPlanRequest(name="p1"))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("name",))


class TestGetClearing:
    def ask(self, site, number=0):
        return site.aggregator.GetClearing(dispatch_pb2.GetClearingRequest(window=site.window(number))).clearing

    def test_it_is_what_was_committed(self, settled):
        clearing = self.ask(settled)
        row = settled.row(0)
        assert clearing.state == dispatch_pb2.WINDOW_STATE_SETTLED
        assert clearing.input_digest == row.inputs_digest
        assert clearing.trade_count == sum(t["window"] == row.name for t in settled.rows("trades"))
        assert clearing.failure == ""
        kept = json.loads(row.certificate)
        assert clearing.certificate.objective_micro == kept["objective_micro"]
        assert clearing.certificate.gap == kept["gap"]

    def test_a_failed_one_says_why(self, site):
        site.solver.script.append(SolverError("worker process: got its end, wanted an answer"))
        site.live(until=site.start)
        clearing = self.ask(site)
        assert clearing.state == dispatch_pb2.WINDOW_STATE_FAILED
        assert clearing.failure == "worker process: got its end, wanted an answer"
        assert clearing.trade_count == 0

    def test_an_open_one_has_no_inputs_yet(self, site):
        assert self.ask(site, 3).input_digest == b""

    @pytest.mark.parametrize("window", ["", NAME, f"{NAME}/windows/noon"])
    def test_a_malformed_name_is_invalid(self, site, window):
        answer = site.refused(site.aggregator.GetClearing, dispatch_pb2.GetClearingRequest(window=window))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("window",))

    def test_an_unknown_window_is_not_found(self, site):
        request = dispatch_pb2.GetClearingRequest(window=f"{NAME}/windows/20270302T060000Z")
        assert site.refused(site.aggregator.GetClearing, request).code is StatusCode.NOT_FOUND


def test_windows_whose_gate_has_closed_are_listed_in_order_of_time(settled):
    settled.advance(settled.start + 3300)
    request = dispatch_pb2.ListClearingsRequest(parent=NAME, page_size=2)
    first = settled.aggregator.ListClearings(request)
    rest = settled.aggregator.ListClearings(
        dispatch_pb2.ListClearingsRequest(parent=NAME, page_token=first.next_page_token)
    )
    windows = [clearing.window for clearing in (*first.clearings, *rest.clearings)]
    assert windows == [settled.window(number) for number in range(3)]


class TestListTrades:
    def ask(self, site, **values):
        return site.aggregator.ListTrades(dispatch_pb2.ListTradesRequest(parent=site.window(0), **values))

    def test_it_is_every_trade_by_index(self, settled):
        rows = [row for row in settled.rows("trades") if row["window"] == settled.window(0)]
        trades = self.ask(settled).trades
        assert [trade.name for trade in trades] == [f"{settled.window(0)}/trades/{ix}" for ix in range(len(rows))]
        assert [(t.seller, t.buyer, t.energy_wh, t.price_micro_per_kwh) for t in trades] == [
            (r["seller"], r["buyer"], r["energy_wh"], r["price_micro_per_kwh"]) for r in rows
        ]

    def test_pages_keep_the_indices(self, settled):
        every = list(self.ask(settled).trades)
        found, token = [], ""
        while True:
            page = self.ask(settled, page_size=3, page_token=token)
            found += page.trades
            token = page.next_page_token
            if not token:
                break
        assert found == every

    def test_a_malformed_parent_is_invalid(self, site):
        answer = site.refused(site.aggregator.ListTrades, dispatch_pb2.ListTradesRequest(parent=f"{NAME}/noon"))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("parent",))
