"""Limits that nobody can keep stop nobody else, and give by no more than they must."""

import asyncio
import random
from dataclasses import replace

import numpy as np
import pytest

from controller import planning, portfolio, problem
from controller.deciding import solve_relaxed
from controller.microgrid import Bounds, SetpointKind
from controller.planning import Quality
from controller.portfolio import LastPlan, Wish
from controller.relaxing import from_json, relaxations, relaxed, to_json
from controller.snapshot import Limit, Snapshot
from controller.wishes import Decided, Mode, Step
from gridpact.v1 import dispatch_pb2 as pb
from gridpact.v1 import dispatch_pb2_grpc, dso_pb2, participant_pb2, types_pb2
from optimization.clearing import Infeasible
from optimization.members import own_costs
from optimization.reach import least_and_most_kw
from optimization.reference.dispatch import dispatch
from optimization.reference.excess import least_excess
from tests.controller.village_site import mandate

VILLAGE = "microgrids/village"
BOB = f"{VILLAGE}/members/bob"
EVE = f"{VILLAGE}/members/eve"
EAST = f"{VILLAGE}/sections/east"


class Exact:
    """Answers with no gap, and says by how much limits have to give."""

    def __init__(self):
        self.asked = 0

    async def solve(self, community):
        self.asked += 1
        return dispatch(community, gap=1e-9)

    async def least_excess(self, community, seconds, *, urgent):
        assert seconds > 0
        return least_excess(community)


def decided(snapshot):
    """The decision of a snapshot, with the answer behind it."""
    solver = Exact()

    async def ask(community, seconds):
        return await solver.solve(community)

    solved = asyncio.run(solve_relaxed(ask, solver, snapshot, 60.0, urgent=True))
    if isinstance(solved.outcome, Infeasible):
        return solved.outcome
    return planning.decide(solved.snapshot, solved.community, solved.outcome), solved


@pytest.fixture
def frozen(site):
    """What the village's first window is decided on."""
    site.advance(site.start - 300)
    return Snapshot.from_json(site.row(0).snapshot)


def limited(snapshot, *limits):
    """The snapshot with limits: target, first MTU, end, lower, upper."""
    at = snapshot.window.start
    return replace(
        snapshot,
        limits=tuple(
            Limit(
                id=str(k),
                target=target,
                periods=(Bounds(start=at + 900 * a, end=at + 900 * b, lower_w=low, upper_w=high),),
                digest="",
            )
            for k, (target, a, b, low, high) in enumerate(limits)
        ),
    )


def net_w(decision, snapshot, members):
    """W that members take in each MTU."""
    return [
        sum(snapshot.orders[m].load_w[k] for m in members)
        + sum(series[k] for d, series in decision.plan.power_w.items() if d.split("/")[0] in members)
        for k in range(len(snapshot.mtus()))
    ]


class TestSingleMtus:
    @pytest.mark.parametrize(
        ("limit", "relaxed_to"),
        [
            ((BOB, 2, 3, None, 400), (None, 503)),  # its load alone is 503 W
            ((BOB, 2, 3, None, 503), None),
            ((BOB, 2, 3, 3000, None), (2004, None)),  # with its boiler at most that
            ((BOB, 2, 3, None, -200), (None, 503)),
            ((EVE, 2, 3, None, -1200), (None, -1093)),  # its battery gives 1800 W at most
            ((EAST, 2, 3, None, -2300), (None, -2197)),  # 301 + 503 - 3001
            ((VILLAGE, 2, 3, None, -4000), (None, -3290)),
            ((VILLAGE, 0, 1, -9000, 9000), None),
            ((VILLAGE, 0, 1, 6000, None), (5012, None)),
        ],
    )
    def test_a_limit_gives_to_what_is_possible_and_no_further(self, frozen, limit, relaxed_to):
        snapshot = relaxed(limited(frozen, limit))
        found = relaxations(snapshot)
        if relaxed_to is None:
            assert found == ()
            return
        (one,) = found
        assert (one.target, one.relaxed_lower_w, one.relaxed_upper_w) == (limit[0], *relaxed_to)
        assert one.start == frozen.window.start + 900 * limit[1]
        assert from_json(to_json(found)) == found

    def test_neighbours_of_equal_bounds_are_told_once(self, frozen):
        (one,) = relaxations(relaxed(limited(frozen, (BOB, 2, 6, None, 400))))
        assert one.end - one.start == 3600
        assert "bob" in str(one)
        assert relaxations(relaxed(limited(frozen, (BOB, 2, 6, None, 400))), end=frozen.window.end) == ()

    @pytest.mark.parametrize(
        ("lower", "upper", "kept"),
        [(1400, 1000, (1000, 1000)), (-400, -1000, (-400, -400)), (400, -400, (0, 0)), (900, 0, (0, 0))],
    )
    def test_of_limits_that_contradict_each_other_the_one_that_asks_for_less_holds(self, frozen, lower, upper, kept):
        snapshot = relaxed(limited(frozen, (VILLAGE, 2, 3, lower, None), (VILLAGE, 2, 3, None, upper)))
        (one,) = relaxations(snapshot)
        assert (one.lower_w, one.upper_w) == (lower, upper)
        low, high = problem.bounds_w(snapshot)[VILLAGE]
        assert (low[2], high[2]) == kept

    def test_a_section_counts_what_its_members_limits_leave(self, frozen):
        """Bob may take no boiler, so that the section cannot take what his boiler would."""
        (one,) = relaxations(relaxed(limited(frozen, (BOB, 0, 1, None, 600), (EAST, 0, 1, 2000, None))))
        assert (one.target, one.relaxed_lower_w) == (EAST, 301 + 600)

    def test_a_member_who_has_to_take_relaxes_no_limit_of_its_section(self, frozen):
        snapshot = relaxed(limited(frozen, (BOB, 0, 1, 1800, None), (EAST, 0, 1, None, 1000)))
        assert relaxations(snapshot) == ()

    def test_without_limits_nothing_changes(self, frozen):
        assert relaxed(frozen) == frozen
        assert relaxed(frozen).digest() == frozen.digest()

    def test_what_is_supposed_is_never_relaxed(self, frozen):
        snapshot = limited(frozen, (BOB, 2, 3, None, 400))
        supposed = replace(frozen, supposed=snapshot.limits)
        assert relaxations(relaxed(supposed)) == ()
        both = relaxed(replace(snapshot, supposed=limited(frozen, (BOB, 0, 8, None, 450)).limits))
        assert problem.bounds_w(both)[BOB][1][2] == 448
        assert problem.bounds_w(both)[BOB][1][0] == 448


class TestOthers:
    @pytest.mark.parametrize("seed", range(4))
    def test_everybody_else_clears_as_if_the_impossible_part_were_fixed(self, frozen, seed):
        draw = random.Random(seed)
        loads = {m: tuple(draw.randint(50, 2500) for _ in range(8)) for m in frozen.orders}
        orders = {m: replace(order, load_w=loads[m]) for m, order in frozen.orders.items()}
        victim = draw.choice(["ada", "bob"])  # whom no battery helps for a while
        target, first = f"{VILLAGE}/members/{victim}", draw.randrange(6)
        places = range(first, first + 3)
        tight = [(target, k, k + 1, None, loads[victim][k] - draw.randint(4100, 8000)) for k in places]
        shared = (f"{VILLAGE}/sections/{draw.choice(['east', 'west'])}", 0, 8, -9000, 9000)
        free = replace(frozen, orders=orders)
        decision, solved = decided(limited(free, *tight, shared))
        assert {one.target for one in relaxations(solved.snapshot)} == {target}
        # Where its limit gave, what the member controls does all that it can.
        least, _ = reach_w(solved, victim)
        own = net_w(decision, solved.snapshot, {victim})
        assert [own[k] for k in places] == pytest.approx([least[k] for k in places], abs=1)
        others = frozenset(orders) - {victim}
        held = portfolio.inputs(
            limited(free, shared),
            Wish(members=others),
            LastPlan(start=frozen.window.start, power_w=decision.plan.power_w),
        )
        assert cost_of_others(decided(held)[1], victim) == pytest.approx(cost_of_others(solved, victim), abs=2e-4)

    def test_limits_that_only_time_breaks_give_where_they_must(self, frozen):
        """A battery helps to keep a limit until it is empty."""
        snapshot = limited(frozen, (EVE, 0, 8, None, -200))
        assert relaxations(relaxed(snapshot)) == ()
        decision, solved = decided(snapshot)
        found = relaxations(solved.snapshot)
        assert {one.target for one in found} == {EVE}
        # 1000 Wh in store give 930 Wh: an hour of 907 W, and some more.
        beyond = sum(max(0, w + 200) for w in net_w(decision, solved.snapshot, {"eve"})) / 4
        assert beyond == pytest.approx(907 * 2 - 930, abs=3)
        assert decision.plan.shortfall_wh["eve/battery"] == 1200
        assert planning.quality(decision) is Quality.RELAXED

    def test_where_whole_numbers_fit_nowhere_what_asks_to_take_is_left_out(self, frozen):
        """Bob's boiler takes 1501 W or nothing."""
        decision, solved = decided(limited(frozen, (BOB, 0, 8, 800, 1200)))
        assert [(one.relaxed_lower_w, one.relaxed_upper_w) for one in relaxations(solved.snapshot)] == [(None, 1200)]
        assert max(net_w(decision, solved.snapshot, {"bob"})) == 503

    def test_what_an_owner_decided_is_under_way_whatever_the_limit(self, frozen):
        window = frozen.window
        step = Step(start=window.start, end=window.end, kind=SetpointKind.RELAY, value=1, power_w=1501)
        override = Decided(mode=Mode.RUN_NOW, steps=(step,))
        snapshot = limited(replace(frozen, overrides={"bob/boiler": override}), (BOB, 0, 8, None, 1000))
        (one,) = relaxations(relaxed(snapshot))
        assert (one.start, one.end, one.relaxed_upper_w) == (frozen.window.start, frozen.window.end, 2004)


def reach_w(solved, member):
    """W that a member takes at least and at most in each MTU."""
    devices = [device for peer, device in solved.community.devices() if peer.id == member]
    return 1000 * sum(np.array(least_and_most_kw(device, solved.community.horizon)) for device in devices)


def cost_of_others(solved, member):
    """What an answer costs but for what the devices of a member cost themselves."""
    clearing, community = solved.outcome, solved.community
    own = dict(zip([p.id for p in community.peers], own_costs(community, clearing.device_kw), strict=True))
    return clearing.objective - own[member]


class TestService:
    @pytest.fixture
    def easing(self, site):
        site.solver.least_excess = Exact().least_excess
        return site

    def test_a_window_is_cleared_labelled_and_told_to_the_dso(self, easing):
        site = easing
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("tight", (0, 8, None, 400), target=BOB)))
        site.live(until=site.start + 1800)
        assert site.states()[:2] == ["SETTLED", "DELIVERING"]
        assert {row.source for row in (site.row(0), site.row(1))} == {"CLEARING"}
        told = site.aggregator.GetClearing(pb.GetClearingRequest(window=site.window(0))).clearing
        assert told.quality == pb.PLAN_QUALITY_RELAXED
        (one,) = told.limit_relaxations
        assert (one.target, one.bounds, one.relaxed) == (
            BOB,
            types_pb2.PowerBounds(upper_w=400),
            types_pb2.PowerBounds(upper_w=503),
        )
        ask = dso_pb2.ListRelaxationsRequest(parent=VILLAGE, page_size=1)
        first = site.dso.ListRelaxations(ask)
        assert [(w.window, list(w.relaxations)) for w in first.windows] == [(site.window(0), [one])]
        ask.page_token = first.next_page_token
        rest = site.dso.ListRelaxations(ask)
        assert ([w.window for w in rest.windows], rest.next_page_token) == ([site.window(1)], "")
        # The limit itself goes on to hold.
        held = site.service._limits.book.limits_for_window("village", site.start, site.end)
        assert [p.upper_w for limit in held for p in limit.periods] == [400]

    def test_whose_limit_it_is_only_those_learn_who_may(self, easing):
        site = easing
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("tight", (0, 8, None, 400), target=BOB)))
        mandate(site, "eve", grantee="aggregator/other")
        site.live(until=site.start)
        other = site.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/other")
        told = other.GetClearing(pb.GetClearingRequest(window=site.window(0))).clearing
        assert (told.quality, list(told.limit_relaxations)) == (pb.PLAN_QUALITY_RELAXED, [])
        plan = other.RequestPlan(pb.RequestPlanRequest(parent=VILLAGE, request_id="p")).plan
        assert (plan.quality, list(plan.limit_relaxations)) == (pb.PLAN_QUALITY_RELAXED, [])
        own = site.aggregator.RequestPlan(pb.RequestPlanRequest(parent=VILLAGE, request_id="p")).plan
        assert [one.target for one in own.limit_relaxations] == [BOB]
        bob = site.participant("bob")
        for consent in bob.ListConsents(participant_pb2.ListConsentsRequest(parent=BOB)).consents:
            bob.RevokeConsent(participant_pb2.RevokeConsentRequest(name=consent.name, request_id=site.request_id()))
        assert not site.aggregator.GetPlan(pb.GetPlanRequest(name=own.name)).plan.limit_relaxations

    def test_a_section_that_would_tell_a_strangers_load_is_not_told(self, easing):
        # Ada let the other aggregator see her, bob did not: together they are all of the section.
        site = easing
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("tight", (0, 8, None, -9000), target=EAST)))
        mandate(site, "ada", grantee="aggregator/other")
        site.live(until=site.start)
        asked = pb.GetClearingRequest(window=site.window(0))
        plan = pb.RequestPlanRequest(parent=VILLAGE, request_id="p")
        for id_, shown in (("agg", [EAST]), ("other", []), ("third", [EAST])):
            caller = site.stub(dispatch_pb2_grpc.DispatchServiceStub, f"aggregator/{id_}")
            told = caller.GetClearing(asked).clearing
            assert (id_, sorted({one.target for one in told.limit_relaxations})) == (id_, shown)
            told = caller.RequestPlan(plan).plan
            assert (id_, sorted({one.target for one in told.limit_relaxations})) == (id_, shown)
            assert caller.GetPlan(pb.GetPlanRequest(name=told.name)).plan == told

    def test_what_is_optimal_says_so(self, settled):
        settled.advance(settled.start + 3300)
        told = settled.aggregator.GetClearing(pb.GetClearingRequest(window=settled.window(2))).clearing
        assert (told.quality, list(told.limit_relaxations)) == (pb.PLAN_QUALITY_OPTIMAL, [])

    def test_a_clearing_survives_any_limits(self, easing):
        """Sections, members and the connection point at odds with each other and with all that there is."""
        site, draw = easing, random.Random(5)
        for k in range(12):
            target = draw.choice([VILLAGE, EAST, f"{VILLAGE}/sections/west", BOB, EVE, f"{VILLAGE}/members/ada"])
            bounds = draw.choice([(None, -draw.randint(0, 9000)), (draw.randint(0, 9000), None), (0, 0)])
            first = draw.randrange(8)
            message = site.envelope(f"e{k}", (first, draw.randint(first + 1, 8), *bounds), target=target)
            site.dso.CreateEnvelope(site.envelope_request(message))
        site.live(until=site.end)
        assert {site.row(number).source for number in range(4)} == {"CLEARING"}
        assert site.states() == ["SETTLED"] * 4
