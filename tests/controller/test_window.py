import asyncio
import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from grpc import RpcError

from contracts.anchoring import AnchorState
from controller.microgrid import PlanSource
from controller.store import evidence, market, registry
from gridpact.v1 import dispatch_pb2, metering_pb2, operator_pb2
from optimization.clearing import Infeasible
from optimization.errors import ProblemError, SolverError

KEPT = ("trades", "positions", "setpoints", "readings", "postings", "headers", "windows", "anchors")
"""The tables in which a window's life ends up."""


def end(site):
    """When the last window ends."""
    return site.start + 7200


def of_window(site, table, number):
    return [row for row in site.rows(table) if row["window"] == site.window(number)]


def postings(site, number):
    return [(row["account"], row["kind"], row["amount_micro"]) for row in of_window(site, "postings", number)]


@pytest.fixture
def anchored(make_site, make_anchored):
    """The village's service with a chain of its own."""
    return make_site("village", anchored=make_anchored())


class TestLife:
    def test_it_passes_through_every_state(self, anchored, crash):
        site = anchored
        seen = {}

        def advance(instant):
            site.advance(instant)
            site.anchor()
            seen[instant - site.start] = site.states()[0]

        site.advance(site.start - 301)
        assert site.states() == ["OPEN"] * 4
        site.database.commits_left = 1
        with pytest.raises(crash):
            site.advance(site.start - 300)
        assert site.states()[0] == "CLOSED"
        site.live(until=site.start + 1800, advance=advance)
        assert seen == {-300: "CLEARED", 0: "DELIVERING", 900: "DELIVERING", 1500: "DELIVERING", 1800: "ANCHORED"}

    def test_every_window_of_a_horizon_ends_anchored(self, anchored):
        anchored.live(until=end(anchored))
        assert anchored.states() == ["SETTLED"] * 4
        assert anchored.anchor().included == 4
        assert anchored.states() == ["ANCHORED"] * 4

    def test_without_a_chain_windows_end_settled(self, site):
        site.live(until=end(site))
        assert site.anchor() is None
        assert site.states() == ["SETTLED"] * 4
        assert {row["state"] for row in site.rows("anchors")} == {AnchorState.PENDING.name}

    def test_it_waits_for_its_gate_its_start_and_its_end(self, site):
        for instant, state in [(-301, "OPEN"), (-300, "CLEARED"), (-1, "CLEARED"), (0, "DELIVERING")]:
            site.advance(site.start + instant)
            assert site.states()[0] == state
        site.live(until=site.start + 1500)
        assert site.states()[:2] == ["DELIVERING", "CLEARED"]

    def test_a_late_gate_is_made_up_for_step_by_step(self, site):
        assert site.advance(site.start) == 3
        assert site.states() == ["DELIVERING", "OPEN", "OPEN", "OPEN"]

    def test_each_step_is_counted(self, site):
        steps = {}
        site.live(until=site.start + 1800, advance=lambda at: steps.update({at - site.start: site.advance(at)}))
        # Closing and clearing, beginning, closing and clearing the next; metering, settling, and the next begins.
        assert steps == {-300: 2, 0: 1, 900: 0, 1500: 2, 1800: 3}

    def test_two_communities_live_side_by_side(self, make_site):
        site = make_site("village", "hamlet")
        site.live(until=site.start + 1800)
        states = defaultdict(list)
        for row in sorted(site.rows("windows"), key=lambda row: row["start"]):
            states[row["microgrid"]].append(row["state"])
        assert states == {
            "village": ["SETTLED", "DELIVERING", "OPEN", "OPEN"],
            "hamlet": ["DELIVERING", "DELIVERING", "OPEN", "OPEN"],  # of which nobody reads the meters
        }


class TestBooks:
    @pytest.fixture
    def day(self, site):
        """The whole horizon."""
        site.live(until=end(site))
        return site

    def test_trades_make_up_every_position_exactly(self, day):
        net = defaultdict(int)
        for trade in day.rows("trades"):
            net[trade["buyer"], trade["mtu_start"]] += trade["energy_wh"]
            net[trade["seller"], trade["mtu_start"]] -= trade["energy_wh"]
        positions = {(row["member"], row["mtu_start"]): row["net_wh"] for row in day.rows("positions")}
        assert len(positions) == 3 * 8
        assert {place: energy for place, energy in net.items() if place[0] != "grid"} | {
            place: 0 for place in positions if place not in net
        } == positions

    def test_neighbours_trade(self, day):
        assert any("grid" not in (trade["seller"], trade["buyer"]) for trade in day.rows("trades"))

    def test_neighbours_prices_lie_between_the_tariffs(self, day):
        for trade in day.rows("trades"):
            dear = trade["mtu_start"] >= day.start + 3600
            low, high = (39_003, 95_001) if dear else (39_000, 60_000)
            if "grid" not in (trade["seller"], trade["buyer"]):
                assert low <= trade["price_micro_per_kwh"] <= high - 5000
            else:
                assert trade["price_micro_per_kwh"] == (high if trade["seller"] == "grid" else low)

    def test_positions_follow_the_watts_and_carry_what_is_left(self, day):
        """Over all windows, what was rounded away from each member is what its last remainder says."""
        watts = dict.fromkeys(day.members, 0)
        for number in range(4):
            plan = json.loads(day.row(number).plan)
            for member, load in (("ada", 301), ("bob", 503), ("eve", 707)):
                watts[member] += 2 * load
                watts[member] += sum(sum(p[:2]) for d, p in plan["power_w"].items() if d.startswith(member))
        energy = defaultdict(int)
        for row in day.rows("positions"):
            energy[row["member"]] += row["net_wh"]
        carry = json.loads(day.row(3).carry)
        assert {member: 15 * watts[member] - 60 * energy[member] for member in day.members} == {
            member: carry[f"peer {member}"] for member in day.members
        }
        assert any(carry.values())

    def test_postings_sum_to_zero_in_every_window(self, day):
        for number in range(4):
            amounts = [amount for _, _, amount in postings(day, number)]
            assert sum(amounts) == 0
            assert amounts

    def test_every_device_has_a_setpoint_in_every_mtu(self, day):
        told = {(row["device"], row["mtu_start"]) for row in day.rows("setpoints")}
        devices = ("ada/pv", "bob/boiler", "eve/battery")
        assert told == {(device, day.start + 900 * mtu) for device in devices for mtu in range(8)}

    def test_each_reading_is_sealed_once(self, day):
        sealed = [(row["meter"], row["instant"]) for row in day.rows("readings")]
        assert len(set(sealed)) == len(sealed) == len(day.rows("meter_readings")) == 27

    def test_headers_are_a_chain_over_the_windows_digests(self, day):
        headers = day.database.run(evidence.headers, "village")
        assert [header.inputs_digest for header in headers] == [day.row(number).inputs_digest for number in range(4)]
        assert [header.previous for header in headers[1:]] == [header.hash for header in headers[:-1]]

    def test_each_window_looks_to_the_end_of_the_horizon(self, day):
        assert [len(json.loads(day.row(number).plan)["net_w"]) for number in range(4)] == [8, 6, 4, 2]

    def test_each_clearing_is_within_its_declared_gap(self, day):
        for number in range(4):
            certificate = json.loads(day.row(number).certificate)
            assert certificate["lower_bound_micro"] <= certificate["objective_micro"]
            assert certificate["gap"] <= 0.01
            assert certificate["primal_residual_w"] <= 0.01


def story(site):
    return {table: site.rows(table) for table in KEPT}


class TestTwice:
    def test_every_step_taken_twice_has_one_effect(self, make_site):
        once, twice = make_site("village"), make_site("village")
        once.live(until=end(once))

        def advance(instant):
            twice.advance(instant)
            assert twice.advance(instant) == 0

        twice.live(until=end(twice), advance=advance)
        assert story(twice) == story(once)

    def test_two_at_a_time_take_each_step_once(self, make_site):
        once, both = make_site("village"), make_site("village")
        once.live(until=end(once))

        async def race():
            return await asyncio.gather(both.service.advance(), both.service.advance(), both.service.advance())

        both.live(until=end(both), advance=lambda _: both.loop.run(race()))
        assert story(both) == story(once)

    def test_anchoring_twice_sends_one_transaction_for_each_window(self, anchored):
        anchored.live(until=end(anchored))
        assert anchored.anchor().included == 4
        raw = [row["raw_transaction"] for row in anchored.rows("anchors")]
        assert anchored.anchor().included == 0
        assert [row["raw_transaction"] for row in anchored.rows("anchors")] == raw


class TestCrash:
    @pytest.mark.slow
    def test_a_crash_after_every_single_commit_changes_nothing(self, make_site, make_anchored, crash):
        calm, hit = (make_site("village", anchored=make_anchored()) for _ in range(2))

        def advance(instant):
            calm.advance(instant)
            calm.anchor()

        calm.live(until=end(calm), advance=advance)
        crashes = 0

        def stumble(instant):
            nonlocal crashes
            while True:
                hit.database.commits_left = 1
                try:
                    hit.advance(instant)
                    hit.anchor()
                except crash:
                    crashes += 1
                    hit.crash()
                    hit.open()
                else:
                    hit.database.commits_left = None
                    return

        hit.live(until=end(hit), advance=stumble)
        # Of each window: closed, cleared, begun, metered, settled, signed, included.
        assert crashes == 4 * 7
        assert story(hit) == story(calm)
        assert hit.rows("controllers")[0]["epoch"] == calm.rows("controllers")[0]["epoch"] + crashes

    def test_setpoints_that_were_committed_reach_the_drivers_after_a_crash(self, site, crash):
        site.database.commits_left = 2
        with pytest.raises(crash):
            site.advance(site.start - 300)
        assert site.states()[0] == "CLEARED"
        site.crash()
        site.open()
        command = site.service._hub.command("village", "eve/battery", now=site.start, mtu_seconds=900)
        told = [row["value"] for row in site.rows("setpoints") if row["device"] == "eve/battery"]
        assert [setpoint.value for setpoint in command.setpoints] == told

    def test_a_crash_while_solving_leaves_the_window_closed_and_its_inputs_frozen(self, site, crash):
        site.database.commits_left = 1
        with pytest.raises(crash):
            site.advance(site.start - 300)
        snapshot = site.row(0).snapshot
        site.crash()
        site.open()
        assert site.states()[0] == "CLOSED"
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("late", (0, 8, -1, 1))))
        with pytest.raises(RpcError):
            site.participant("bob").SubmitOrder(site.order_request("bob"))
        site.advance()
        assert site.states()[0] == "CLEARED"
        assert site.row(0).snapshot == snapshot


class TestLimits:
    def net_w(self, site, number, target):
        snapshot = json.loads(site.row(number).snapshot)
        plan = json.loads(site.row(number).plan)
        members = {m["id"] for m in snapshot["members"] if target in ("all", m["section"], m["id"])}
        loads = {"ada": 301, "bob": 503, "eve": 707}
        devices = [p for d, p in plan["power_w"].items() if d.split("/")[0] in members]
        return [sum(loads[m] for m in members) + sum(p[k] for p in devices) for k in range(len(plan["net_w"]))]

    @pytest.mark.parametrize(
        ("target", "who", "bounds"),
        [
            ("microgrids/village", "all", (-1000, 1450)),
            ("microgrids/village/sections/east", "east", (-1200, 1700)),
            ("microgrids/village/members/eve", "eve", (100, 900)),
        ],
    )
    def test_plan_and_positions_keep_them(self, site, target, who, bounds):
        free = site.solver.asked
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit", (0, 8, *bounds), target=target)))
        site.live(until=end(site))
        assert site.solver.asked > free
        for number in range(4):
            assert site.row(number).source == "CLEARING"
            assert all(bounds[0] <= power <= bounds[1] for power in self.net_w(site, number, who))
        members = {m for m, s in (("ada", "east"), ("bob", "east"), ("eve", "west")) if who in ("all", s, m)}
        energy = defaultdict(int)
        for row in site.rows("positions"):
            if row["member"] in members:
                energy[row["mtu_start"]] += row["net_wh"]
        assert all(bounds[0] <= 4 * wh <= bounds[1] for wh in energy.values())

    def test_one_that_comes_after_the_gate_binds_the_next_window(self, site):
        site.advance(site.start - 300)
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("late", (0, 8, -900, 1400))))
        site.live(until=site.start + 1800)
        assert json.loads(site.row(0).snapshot)["limits"] == []
        assert [limit["id"] for limit in json.loads(site.row(1).snapshot)["limits"]] == ["late"]

    def test_several_hold_at_once(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("a", (0, 8, None, 1500))))
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("b", (0, 4, -1000, 1450))))
        site.live(until=site.start)
        net = self.net_w(site, 0, "all")
        assert max(net) <= 1500
        assert all(-1000 <= power <= 1450 for power in net[:4])


FAULT = SolverError("HiGHS: got nothing, wanted something")


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
        assert of_window(site, "setpoints", 0) == []
        assert site.service._hub.command("village", "eve/battery", now=site.start, mtu_seconds=900) is None

    def test_the_tail_of_the_last_plan_acts(self, site):
        site.live(until=site.start)
        site.solver.script.append(FAULT)
        site.live(until=site.start + 1800)
        row = site.row(1)
        assert (row.state, row.source) == ("FAILED", PlanSource.TAIL.value)
        plan = json.loads(site.row(0).plan)["setpoints"]
        told = [(r["device"], r["kind"], r["mtu_start"], r["value"]) for r in of_window(site, "setpoints", 1)]
        assert told == [
            (device, kind, site.start + 900 * mtu, values[mtu])
            for device, (kind, values) in sorted(plan.items())
            for mtu in (2, 3)
        ]
        command = site.service._hub.command("village", "eve/battery", now=site.start + 1800, mtu_seconds=900)
        assert [s.value for s in command.setpoints] == plan["eve/battery"][1][2:4]

    def test_the_tail_reaches_over_several_failed_windows(self, site):
        site.live(until=site.start)
        site.solver.script.extend([FAULT] * 3)
        site.live(until=end(site) - 1)
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
        assert bool(of_window(site, "setpoints", 1)) == (source == "TAIL")

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

    def test_limits_that_nothing_keeps_are_named(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("tight", (1, 2, None, -9000))))
        site.live(until=site.start)
        row = site.row(0)
        assert (row.state, row.source) == ("FAILED", "FAILSAFE")
        assert "microgrids/village MTU 1: at least" in row.failure

    def test_limits_that_contradict_each_other_are_named(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("one", (0, 8, 2000, None))))
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("other", (0, 8, None, 1000))))
        site.live(until=site.start)
        assert site.row(0).state == "FAILED"
        assert "2.0 above upper 1.0" in site.row(0).failure

    def test_a_solvers_own_proof_of_infeasibility_is_repeated(self, site):
        site.solver.script.append(lambda community: Infeasible(reason="no way"))
        site.live(until=site.start)
        assert (site.row(0).state, site.row(0).failure) == ("FAILED", "no way")

    def test_a_problem_that_is_none_fails_its_window_alone(self, site):
        site.solver.script.append(ProblemError("peer ada: got 2 times, wanted once"))
        site.live(until=site.start + 1800)
        assert [site.row(number).source for number in range(2)] == ["FAILSAFE", "CLEARING"]


def broken(field, change):
    """A clearing like the reference's with one thing changed in it."""

    def answer(solver):
        def solve(community):
            clearing = solver.reference(community)
            return replace(clearing, **{field: change(getattr(clearing, field))})

        return solve

    return answer


def shifted(value, amount):
    series = value.copy()
    series.flat[0] += amount
    return series


def device(name, amount):
    return lambda schedules: {**schedules, name: shifted(schedules[name], amount)}


class TestRecheck:
    @pytest.mark.parametrize(
        ("field", "change"),
        [
            ("device_kw", device("eve/battery", 0.001)),
            ("device_kw", device("bob/boiler", 0.75)),
            ("device_kw", device("ada/pv", -1.0)),
            ("device_kw", device("bob/uncontrolled", -0.1)),
            ("device_kw", device("eve/battery", np.nan)),
            ("device_kw", device("eve/battery", np.inf)),
            ("trade_kwh", lambda energy: shifted(energy, 0.001)),
            ("trade_kwh", lambda energy: shifted(energy, np.nan)),
            ("import_kwh", lambda energy: shifted(energy, 0.001)),
            ("export_kwh", lambda energy: shifted(energy, -np.inf)),
            ("price", lambda price: shifted(price, np.nan)),
            ("price", lambda price: shifted(price, np.inf)),
            ("price", lambda price: price[:, 1:]),
            ("trade_kwh", lambda energy: energy[1:]),
            ("device_kw", lambda schedules: {name: series[1:] for name, series in schedules.items()}),
            ("device_kw", lambda schedules: {}),
            ("state_kwh", lambda stored: {}),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_clearing_that_breaks_a_rule_never_acts(self, site, field, change):
        site.solver.script.append(broken(field, change)(site.solver))
        site.live(until=site.start)
        row = site.row(0)
        assert (row.state, row.source) == ("FAILED", "FAILSAFE")
        assert row.failure
        assert not {table for table in ("trades", "positions", "setpoints") if of_window(site, table, 0)}

    def test_the_rule_that_it_breaks_is_named(self, site):
        site.solver.script.append(broken("device_kw", device("eve/battery", 5.0))(site.solver))
        site.live(until=site.start)
        assert site.row(0).failure.startswith("recomputed feasibility: ")
        assert "eve" in site.row(0).failure

    def test_noise_of_a_solver_is_no_breach(self, site):
        site.solver.script.append(broken("device_kw", device("eve/battery", 1e-7))(site.solver))
        site.live(until=site.start)
        assert site.row(0).source == "CLEARING"

    @pytest.mark.parametrize("bound", [-1.0, -1e9])
    def test_a_gap_labels_a_clearing_and_does_not_gate_it(self, site, bound):
        site.solver.script.append(broken("lower_bound", lambda _: bound)(site.solver))
        site.live(until=site.start)
        assert site.row(0).source == "CLEARING"
        assert json.loads(site.row(0).certificate)["gap"] > 1

    def test_a_clearing_of_which_no_bound_is_known_acts(self, site):
        site.solver.script.append(broken("lower_bound", lambda _: -np.inf)(site.solver))
        site.live(until=site.start)
        assert site.row(0).source == "CLEARING"
        clearing = site.aggregator.GetClearing(dispatch_pb2.GetClearingRequest(window=site.window(0))).clearing
        assert (clearing.certificate.lower_bound_micro, clearing.certificate.gap) == (-(2**63), np.inf)


class TestFailedBooks:
    @pytest.fixture
    def failed(self, anchored):
        """The second window failed; the day went on."""
        anchored.live(until=anchored.start)
        anchored.solver.script.append(FAULT)
        anchored.live(until=end(anchored))
        anchored.anchor()
        return anchored

    def test_it_is_metered_settled_and_anchored_like_any_other(self, failed):
        assert failed.states() == ["ANCHORED"] * 4
        assert (failed.row(1).failure, failed.row(1).source) == (str(FAULT), "TAIL")

    def test_nothing_was_traded_in_it(self, failed):
        assert of_window(failed, "trades", 1) == []
        assert of_window(failed, "positions", 1) == []

    def test_everything_is_paid_at_the_grids_price(self, failed):
        expected = []
        # From the meters of the third and fourth quarter-hours: ada -400, -633; bob 500, 376; eve -20, 340 Wh.
        for member, energy in [("ada", -400), ("bob", 500), ("eve", -20), ("ada", -633), ("bob", 376), ("eve", 340)]:
            amount = energy * (60 if energy > 0 else 39)
            payer, receiver = (member, "grid") if amount > 0 else ("grid", member)
            expected += [(payer, "IMBALANCE", -abs(amount)), (receiver, "IMBALANCE", abs(amount))]
        assert postings(failed, 1) == expected

    def test_its_header_is_in_the_chain(self, failed):
        headers = failed.database.run(evidence.headers, "village")
        assert [header.window for header in headers] == [failed.window(number) for number in range(4)]
        assert (headers[1].trades_count, headers[1].turnover_micro) == (0, 0)
        assert headers[1].inputs_digest == failed.row(1).inputs_digest


class TestMissingReadings:
    def test_a_gap_holds_its_window_back_and_the_settlement_of_those_behind_it(self, site):
        site.live(until=end(site), missing={("bob", 1)})
        assert site.states() == ["DELIVERING", "METERED", "METERED", "METERED"]
        assert of_window(site, "postings", 1) == []

    def test_a_gap_on_the_border_holds_both_windows_back(self, site):
        site.live(until=end(site), missing={("bob", 4)})
        assert site.states() == ["SETTLED", "DELIVERING", "DELIVERING", "METERED"]

    def test_a_gap_that_is_filled_long_after_lets_all_go_on_in_their_order(self, site):
        site.live(until=end(site), missing={("bob", 1)})
        late = site.batch(site.start + 900, members=["bob"], sequence=1000)
        site.gateway.SubmitReadings(site.batch_request(late))
        site.advance(end(site) + 60)
        assert site.states() == ["SETTLED"] * 4
        headers = site.database.run(evidence.headers, "village")
        assert [header.window for header in headers] == [site.window(number) for number in range(4)]

    def test_who_joins_after_gate_closure_holds_nothing_back(self, site):
        site.live(until=site.start)
        name = "microgrids/village"
        site.operator.CreateMember(
            operator_pb2.CreateMemberRequest(
                parent=name,
                member=operator_pb2.Member(name=f"{name}/members/zoe", section="north"),
                request_id="zoe",
            )
        )
        site.live(until=site.start + 1800)
        assert site.states()[0] == "SETTLED"

    def test_a_window_whose_start_has_passed_before_it_could_be_cleared_fails(self, site):
        site.advance(site.start + 1)
        assert site.states()[0] == "FAILED"
        assert "its start had passed" in site.row(0).failure

    def test_the_next_windows_clear_all_the_same(self, site):
        site.live(until=end(site), missing={(member, mtu) for member in ("bob", "eve") for mtu in range(9)})
        assert site.states() == ["DELIVERING"] * 4
        assert [site.row(number).source for number in range(4)] == ["CLEARING"] * 4

    def test_a_late_reading_lets_it_go_on(self, site):
        site.live(until=site.start + 1800, missing={("bob", 2)})
        assert site.states()[:2] == ["DELIVERING", "DELIVERING"]
        late = site.batch(site.start + 1800, members=["bob"], sequence=22)
        site.gateway.SubmitReadings(site.batch_request(late))
        assert site.advance(site.start + 1900) == 2
        assert site.states()[:2] == ["SETTLED", "DELIVERING"]

    def test_a_window_that_settles_late_goes_behind_in_the_chain(self, site):
        others = frozenset(("bob", mtu) for mtu in range(2, 5))
        site.live(until=site.start + 3600, missing=others)
        assert site.states()[:2] == ["DELIVERING", "DELIVERING"]
        for mtu in (4, 3, 2):
            batch = site.batch(site.start + 900 * mtu, members=["bob"], sequence=104 - mtu)
            site.gateway.SubmitReadings(site.batch_request(batch))
        site.advance(site.start + 3700)
        headers = site.database.run(evidence.headers, "village")
        assert [header.window for header in headers] == [site.window(0), site.window(1)]
        assert headers[1].previous == headers[0].hash

    def test_a_failed_window_waits_for_its_readings_too(self, site):
        site.solver.script.append(FAULT)
        site.live(until=end(site), missing={("eve", 2)})
        assert site.states()[0] == "FAILED"


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
        assert of_window(site, "trades", 0) == []

    def test_an_unforeseen_error_fails_its_window_and_no_other(self, site):
        site.solver.script.append(KeyError("lost"))
        site.live(until=end(site))
        assert site.row(0).failure == "KeyError: 'lost'"
        assert site.states() == ["SETTLED"] * 4

    def test_a_microgrid_without_members_stops_nobody(self, site):
        village = site.database.run(registry.microgrid, "village")
        site.database.run(registry.add_microgrid, replace(village, id="abandoned"))
        site.live(until=end(site))
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
        site.live(until=end(site))
        assert site.states() == ["SETTLED", "DELIVERING", "DELIVERING", "DELIVERING"]
        batch = metering_pb2.ReadingBatch(parent=name, sequence=1000)
        for instant in range(site.start + 1800, end(site) + 1, 900):
            reading = batch.readings.add(member=f"{name}/members/zoe", import_wh=70, export_wh=0)
            reading.instant.seconds, reading.quality = instant, metering_pb2.READING_QUALITY_MEASURED
        site.gateway.SubmitReadings(site.batch_request(batch))
        site.advance(end(site) + 60)
        assert site.states() == ["SETTLED"] * 4
        sealed = [(row["window"], row["instant"]) for row in site.rows("readings") if row["meter"] == "zoe"]
        assert sealed[0] == (site.window(1), site.start + 1800)
        assert len(sealed) == len(set(sealed)) == 7
