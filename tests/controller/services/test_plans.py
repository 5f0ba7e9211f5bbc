import asyncio
import json
import threading

import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import FutureTimeoutError, RpcError, StatusCode

from controller import plan_queue
from controller.wire import fields
from gridpact.v1 import dispatch_pb2 as pb
from gridpact.v1 import dispatch_pb2_grpc, types_pb2
from optimization.errors import SolverError
from tests.controller.refused_calls import refusal
from tests.controller.village_site import mandate

NAME = "microgrids/village"


def request(site, **values):
    return pb.RequestPlanRequest(parent=NAME, request_id=site.request_id(), **values)


def ask(site, stub=None, **values):
    return (stub or site.aggregator).RequestPlan(request(site, **values)).plan


def what_if(site, **values):
    return ask(site, validate_only=True, what_if=pb.WhatIf(**values))


def interval(site, first, end):
    return fields.interval_message(site.start + 900 * first, site.start + 900 * end)


def by_device(plan):
    return {schedule.device.partition("members/")[2]: list(schedule.power_w) for schedule in plan.schedules}


@pytest.fixture
def slow(site):
    """A solver that answers when it is let."""
    solve, asked, answered = site.solver.solve, threading.Event(), threading.Event()

    async def waiting(community):
        asked.set()
        while not answered.is_set():  # noqa: ASYNC110  # the test runs in a thread of its own
            await asyncio.sleep(0.005)
        return await solve(community)

    site.solver.solve = waiting
    yield asked, answered
    answered.set()


class TestHorizon:
    def test_it_is_planned_and_nothing_else(self, site):
        plan = ask(site, horizon=interval(site, 0, 6))
        assert plan.horizon == interval(site, 0, 6)
        assert {len(schedule.power_w) for schedule in plan.schedules} == {6} == {len(plan.net_power_w)}

    def test_it_may_begin_with_a_later_window(self, site):
        assert ask(site, horizon=interval(site, 2, 8)).horizon == interval(site, 2, 8)

    @pytest.mark.parametrize(
        ("first", "end", "field"),
        [(1, 8, "start_time"), (-2, 8, "start_time"), (0, 1, "end_time"), (0, 9, "end_time"), (0, 5.5, "end_time")],
    )
    def test_what_cannot_be_planned_is_refused(self, site, first, end, field):
        horizon = fields.interval_message(site.start + 900 * first, site.start + int(900 * end))
        answer = site.refused(site.aggregator.RequestPlan, request(site, horizon=horizon))
        assert answer.code in {StatusCode.OUT_OF_RANGE, StatusCode.INVALID_ARGUMENT}
        assert answer.fields == (f"horizon.{field}",)


class TestObjective:
    def test_a_peak_is_lower_and_what_it_costs_is_said(self, site):
        cheapest, flattest = ask(site), ask(site, objective=pb.PLAN_OBJECTIVE_PEAK)
        assert cheapest.peak_power_w == max(cheapest.net_power_w)
        assert flattest.peak_power_w == max(flattest.net_power_w) < cheapest.peak_power_w
        assert flattest.quality == pb.PLAN_QUALITY_FEASIBLE
        assert flattest.certificate.objective_micro >= cheapest.certificate.objective_micro
        assert flattest.input_digest != cheapest.input_digest

    def test_self_consumption_imports_least(self, site):
        def imported(plan):
            return sum(max(power, 0) for power in plan.net_power_w)

        cheapest, own = ask(site), ask(site, objective=pb.PLAN_OBJECTIVE_SELF_CONSUMPTION)
        assert imported(own) <= imported(cheapest)
        assert own.objective == pb.PLAN_OBJECTIVE_SELF_CONSUMPTION
        assert own.certificate.objective_micro > cheapest.certificate.objective_micro

    def test_an_unknown_one_is_refused(self, site):
        answer = site.refused(site.aggregator.RequestPlan, request(site, objective=9))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("objective",))


class TestPortfolio:
    @pytest.fixture
    def other(self, site):
        """An aggregator whom eve alone lets plan her devices."""
        mandate(site, "eve", grantee="aggregator/other")
        return site.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/other")

    def test_only_those_who_consented_are_planned_and_shown(self, site, other):
        plan = ask(site, other)
        assert set(by_device(plan)) == {"eve/devices/battery"}
        battery = by_device(plan)["eve/devices/battery"]
        sun = [0, 1500, 3001, 4000, 4000, 3001, 1500, 700]
        assert list(plan.net_power_w) == [301 + 503 + 707 - s + b for s, b in zip(sun, battery, strict=True)]

    def test_others_stay_as_the_last_clearing_has_them(self, settled):
        mandate(settled, "eve", grantee="aggregator/other")
        other = settled.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/other")
        plan = ask(settled, other)
        tail = settled.row(1).plan
        kept = json.loads(tail)["power_w"]
        battery = by_device(plan)["eve/devices/battery"]
        fixed = [301 + 503 + 707 + kept["ada/pv"][2 + k] + kept["bob/boiler"][2 + k] for k in range(4)]
        assert list(plan.net_power_w) == [f + b for f, b in zip(fixed, battery, strict=True)]

    def test_members_may_be_chosen(self, site):
        plan = ask(site, members=[f"{NAME}/members/ada", f"{NAME}/members/bob"])
        assert set(by_device(plan)) == {"ada/devices/pv", "bob/devices/boiler"}

    @pytest.mark.parametrize("member", ["bob", "nobody"])
    def test_who_did_not_consent_is_not_found_like_who_is_not_there(self, site, other, member):
        answer = site.refused(other.RequestPlan, request(site, members=[f"{NAME}/members/{member}"]))
        assert (answer.code, answer.message) == (
            StatusCode.NOT_FOUND,
            f"'{NAME}/members/{member}': not found",
        )


class TestWhatIf:
    def test_nothing_is_kept(self, site):
        before = site.rows()
        plan = ask(site, validate_only=True)
        assert plan.quality == pb.PLAN_QUALITY_OPTIMAL
        assert site.rows() == before

    def test_a_limit_that_does_not_exist_is_kept(self, site):
        limit = pb.HypotheticalLimit(
            target=NAME, interval=interval(site, 2, 6), bounds=types_pb2.PowerBounds(lower_w=-500)
        )
        assert min(ask(site).net_power_w[2:6]) < -500
        plan = what_if(site, limits=[limit])
        assert min(plan.net_power_w[2:6]) >= -500

    def test_limits_that_nothing_keeps_are_named(self, site):
        limit = pb.HypotheticalLimit(
            target=f"{NAME}/members/bob", interval=interval(site, 2, 3), bounds=types_pb2.PowerBounds(upper_w=-9000)
        )
        plan = what_if(site, limits=[limit])
        assert plan.quality == pb.PLAN_QUALITY_INFEASIBLE
        assert f"{NAME}/members/bob MTU 2" in plan.conflict

    @pytest.mark.parametrize(
        ("target", "found"),
        [("members/eve", True), ("members/bob", False), ("members/nobody", False), ("sections/west", True)],
    )
    def test_what_would_tell_a_strangers_load_is_not_found_like_what_is_not_there(self, site, target, found):
        mandate(site, "eve", grantee="aggregator/other")
        mandate(site, "ada", grantee="aggregator/other")
        other = site.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/other")
        limit = pb.HypotheticalLimit(
            target=f"{NAME}/{target}", interval=interval(site, 2, 3), bounds=types_pb2.PowerBounds(upper_w=-9000)
        )
        question = request(site, validate_only=True, what_if=pb.WhatIf(limits=[limit]))
        if found:
            assert other.RequestPlan(question).plan.quality == pb.PLAN_QUALITY_INFEASIBLE
            return
        answer = site.refused(other.RequestPlan, question)
        assert (answer.code, answer.message) == (StatusCode.NOT_FOUND, f"'{NAME}/{target}': not found")
        limit.target = f"{NAME}/sections/east"  # bob and ada, of whom the answer would tell bob's
        assert site.refused(other.RequestPlan, request(site, validate_only=True, what_if=pb.WhatIf(limits=[limit])))

    def test_another_tariff_moves_what_can_wait(self, site):
        dear = pb.HypotheticalTariff(
            interval=interval(site, 0, 7), import_price_micro_per_kwh=900_000, export_price_micro_per_kwh=800_000
        )
        plan = what_if(site, tariff=[dear])
        assert by_device(plan)["bob/devices/boiler"][7] == 1501

    def test_a_device_that_is_not_there_does_nothing(self, site):
        plan = what_if(site, unavailable_devices=[f"{NAME}/members/ada/devices/pv"])
        assert set(by_device(plan)) == {"bob/devices/boiler", "eve/devices/battery"}
        assert min(plan.net_power_w) > -1800

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"tariff": [pb.HypotheticalTariff()]}, "what_if.tariff[0].interval.start_time"),
            ({"unavailable_devices": ["pv"]}, "what_if.unavailable_devices[0]"),
            ({"limits": [pb.HypotheticalLimit(target=NAME)]}, "what_if.limits[0].interval.start_time"),
        ],
    )
    def test_nonsense_is_refused_by_field(self, site, values, field):
        question = request(site, validate_only=True, what_if=pb.WhatIf(**values))
        answer = site.refused(site.aggregator.RequestPlan, question)
        assert answer.code in {StatusCode.INVALID_ARGUMENT, StatusCode.OUT_OF_RANGE}
        assert answer.fields == (field,)

    def test_hypotheses_are_for_what_is_not_kept(self, site):
        answer = site.refused(site.aggregator.RequestPlan, request(site, what_if=pb.WhatIf()))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("what_if",))


class TestLabels:
    def test_without_plan_or_tail_there_is_a_clear_answer(self, site):
        site.solver.script.append(SolverError("HiGHS: got nothing"))
        answer = site.refused(site.aggregator.RequestPlan, request(site))
        assert (answer.code, answer.reason) == (StatusCode.UNAVAILABLE, "NO_PLAN")
        assert "HiGHS: got nothing" in answer.message

    def test_the_last_clearings_tail_stands_in_and_says_so(self, settled):
        settled.solver.script.append(RuntimeError("what else may happen"))
        plan = ask(settled)
        assert (plan.quality, plan.origin) == (pb.PLAN_QUALITY_FEASIBLE, pb.PLAN_ORIGIN_TAIL)
        assert plan.reason == "RuntimeError"
        assert not plan.HasField("certificate")
        devices = [sum(powers) for powers in zip(*by_device(plan).values(), strict=True)]
        assert list(plan.net_power_w) == [301 + 503 + 707 + power for power in devices]

    def test_a_tail_that_breaks_a_limit_of_now_does_not(self, settled):
        settled.dso.CreateEnvelope(settled.envelope_request(settled.envelope("new", (4, 8, -10, 10))))
        settled.solver.script.append(SolverError("HiGHS: got nothing"))
        answer = settled.refused(settled.aggregator.RequestPlan, request(settled))
        assert (answer.code, answer.reason) == (StatusCode.UNAVAILABLE, "NO_PLAN")

    def test_a_deadline_is_kept_whatever_the_solver_does(self, site, slow):
        answer = site.refused(site.aggregator.RequestPlan, request(site, deadline=Duration(seconds=1)))
        assert (answer.code, answer.reason) == (StatusCode.UNAVAILABLE, "NO_PLAN")
        assert "no answer within" in answer.message

    @pytest.mark.parametrize("seconds", [0, -1, 241])
    def test_a_deadline_is_between_a_second_and_four_minutes(self, site, seconds):
        answer = site.refused(site.aggregator.RequestPlan, request(site, deadline=Duration(seconds=seconds)))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("deadline",))


class TestQueue:
    def test_a_second_plan_waits_for_its_turn(self, site, slow):
        asked, answered = slow
        first = site.aggregator.RequestPlan.future(request(site))
        assert asked.wait(30)
        second = site.aggregator.RequestPlan.future(request(site))
        answered.set()
        assert first.result().plan == second.result().plan

    def test_too_many_of_one_are_turned_away_and_another_is_not(self, site, slow):
        asked, answered = slow
        mandate(site, "eve", grantee="aggregator/other")
        other = site.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/other")
        futures = [site.aggregator.RequestPlan.future(request(site)) for _ in range(plan_queue.OWN)]
        assert asked.wait(30)
        refusals = []
        while not refusals:  # those that were sent first may arrive later
            try:
                futures.append(site.aggregator.RequestPlan.future(request(site, deadline=Duration(seconds=240))))
                futures[-1].result(timeout=0.2)
            except FutureTimeoutError:
                continue
            except RpcError as err:
                refusals.append(refusal(err))
        assert refusals[0].code is StatusCode.RESOURCE_EXHAUSTED
        assert refusals[0].retry_s > 0
        last = other.RequestPlan.future(request(site))
        answered.set()
        assert last.result().plan.quality == pb.PLAN_QUALITY_OPTIMAL
        assert all(future.result().plan.name for future in futures[: plan_queue.OWN])
