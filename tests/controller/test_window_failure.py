"""What acts where a window cannot be cleared."""

import json
from dataclasses import replace

import pytest

from controller.microgrid import PlanSource
from controller.store import market, registry
from gridpact.v1 import metering_pb2, operator_pb2
from optimization.clearing import Infeasible
from optimization.errors import ProblemError
from tests.controller.stand_ins import FAULT


class TestFailure:
    def test_it_is_recorded_with_its_reason(self, site):
        site.solver.script.append(FAULT)
        site.live(until=site.start - 300)
        row = site.row(0)
        assert (row.state, row.failure, row.source) == ("FAILED", str(FAULT), PlanSource.FAILSAFE.value)
        assert (row.certificate, row.plan, row.carry) == (None, None, None)

    def test_without_an_earlier_plan_nothing_is_meant(self, site):
        site.solver.script.append(FAULT)
        site.live(until=site.start)
        assert site.of_window("setpoints", 0) == []
        assert site.told("eve/battery") is None

    def test_the_tail_of_the_last_plan_acts(self, site):
        site.live(until=site.start)
        site.solver.script.append(FAULT)
        site.live(until=site.start + 1800)
        row = site.row(1)
        assert (row.state, row.source) == ("FAILED", PlanSource.TAIL.value)
        plan = json.loads(site.row(0).plan)["setpoints"]
        told = [(r["device"], r["kind"], r["mtu_start"], r["value"]) for r in site.of_window("setpoints", 1)]
        assert told == [
            (device, kind, site.start + 900 * mtu, values[mtu])
            for device, (kind, values) in sorted(plan.items())
            for mtu in (2, 3)
        ]
        assert site.told("eve/battery") == plan["eve/battery"][1][2:4]

    def test_the_tail_reaches_over_several_failed_windows(self, site):
        site.live(until=site.start)
        site.solver.script.extend([FAULT] * 3)
        site.live(until=site.end - 1)
        assert [site.row(number).source for number in range(4)] == ["CLEARING", "TAIL", "TAIL", "TAIL"]
        plan = json.loads(site.row(0).plan)["setpoints"]["eve/battery"][1]
        told = [row["value"] for row in site.rows("setpoints") if row["device"] == "eve/battery"]
        assert told == plan

    def test_a_clearing_follows_a_failure(self, site):
        site.solver.script.append(FAULT)
        site.live(until=site.start + 1800)
        assert [site.row(number).source for number in range(2)] == ["FAILSAFE", "CLEARING"]

    @pytest.mark.parametrize(
        ("target", "bounds", "source"),
        [
            ("microgrids/village", (-10_000, 10_000), "TAIL"),
            ("microgrids/village", (None, -2000), "FAILSAFE"),
            ("microgrids/village", (4000, None), "FAILSAFE"),
            ("microgrids/village/sections/west", (-10_000, 10_000), "TAIL"),
            ("microgrids/village/sections/west", (5000, None), "FAILSAFE"),
            ("microgrids/village/members/eve", (5000, None), "FAILSAFE"),
        ],
    )
    def test_the_tail_acts_only_where_it_keeps_the_limits_of_now(self, site, target, bounds, source):
        site.live(until=site.start)
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("new", (2, 4, *bounds), target=target)))
        site.solver.script.append(FAULT)
        site.live(until=site.start + 1800)
        assert site.row(1).source == source
        assert bool(site.of_window("setpoints", 1)) == (source == "TAIL")

    def test_the_tail_is_checked_to_the_watt(self, site):
        site.live(until=site.start)
        net = json.loads(site.row(0).plan)["net_w"][2:4]
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("new", (2, 4, min(net), max(net)))))
        site.solver.script.append(FAULT)
        site.live(until=site.start + 1800)
        assert site.row(1).source == "TAIL"

    def test_a_watt_less_is_too_little(self, site):
        site.live(until=site.start)
        net = json.loads(site.row(0).plan)["net_w"][2:4]
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("new", (2, 4, None, max(net) - 1))))
        site.solver.script.append(FAULT)
        site.live(until=site.start + 1800)
        assert site.row(1).source == "FAILSAFE"

    def test_limits_that_nothing_keeps_stop_nobody(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("tight", (1, 2, None, -9000))))
        site.live(until=site.start)
        row = site.row(0)
        assert (row.state, row.source, row.quality) == ("DELIVERING", "CLEARING", "RELAXED")
        assert '"target":"microgrids/village","upper_w":-9000' in row.relaxed

    def test_limits_that_contradict_each_other_stop_nobody(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("one", (0, 8, 2000, None))))
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("other", (0, 8, None, 1000))))
        site.live(until=site.start)
        row = site.row(0)
        assert (row.source, row.quality) == ("CLEARING", "RELAXED")
        assert '"lower_w":2000' in row.relaxed

    def test_a_solvers_own_proof_of_infeasibility_is_repeated(self, site):
        site.solver.script.append(lambda community: Infeasible(reason="no way"))
        site.live(until=site.start)
        assert (site.row(0).state, site.row(0).failure) == ("FAILED", "no way")

    def test_a_problem_that_is_none_fails_its_window_alone(self, site):
        site.solver.script.append(ProblemError("peer ada: got 2 times, wanted once"))
        site.live(until=site.start + 1800)
        assert [site.row(number).source for number in range(2)] == ["FAILSAFE", "CLEARING"]


class TestWhatGoesWrongElsewhere:
    def test_a_clearing_that_comes_after_the_start_does_not_act(self, site):
        solver, solve = site.solver, site.solver.solve

        async def slow(community):
            outcome = await solve(community)
            site.clock.set(site.start + 1)
            return outcome

        solver.solve = slow
        site.advance(site.start - 300)
        assert site.states()[0] == "FAILED"
        assert "its start had passed" in site.row(0).failure
        assert site.of_window("trades", 0) == []

    def test_an_unforeseen_error_fails_its_window_and_no_other(self, site):
        site.solver.script.append(KeyError("lost"))
        site.live(until=site.end)
        assert site.row(0).failure == "KeyError: 'lost'"
        assert site.states() == ["SETTLED"] * 4

    def test_a_microgrid_without_members_stops_nobody(self, site):
        village = site.database.run(registry.microgrid, "village")
        site.database.run(registry.add_microgrid, replace(village, id="abandoned"))
        site.live(until=site.end)
        assert site.states() == ["SETTLED"] * 4
        assert {row.state for row in site.database.run(market.windows, "abandoned")} == {"SETTLED"}

    def test_the_first_register_of_a_late_member_is_sealed_with_its_first_window(self, site):
        site.live(until=site.start)
        name = "microgrids/village"
        site.operator.CreateMember(
            operator_pb2.CreateMemberRequest(
                parent=name, member=operator_pb2.Member(name=f"{name}/members/zoe", section="north"), request_id="zoe"
            )
        )
        site.live(until=site.end)
        assert site.states() == ["SETTLED", "DELIVERING", "DELIVERING", "DELIVERING"]
        batch = metering_pb2.ReadingBatch(parent=name, sequence=1000)
        for instant in range(site.start + 1800, site.end + 1, 900):
            reading = batch.readings.add(member=f"{name}/members/zoe", import_wh=70, export_wh=0)
            reading.instant.seconds, reading.quality = instant, metering_pb2.READING_QUALITY_MEASURED
        site.gateway.SubmitReadings(site.batch_request(batch))
        site.advance(site.end + 60)
        assert site.states() == ["SETTLED"] * 4
        sealed = [(row["window"], row["instant"]) for row in site.rows("readings") if row["meter"] == "zoe"]
        assert sealed[0] == (site.window(1), site.start + 1800)
        assert len(sealed) == len(set(sealed)) == 7
