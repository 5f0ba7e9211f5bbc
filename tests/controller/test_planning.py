import random
from dataclasses import replace

import numpy as np
import pytest

from controller import planning, problem
from controller.flexibility import Storage
from controller.microgrid import Bounds, Device, DeviceState, Member, Order, SetpointKind
from controller.snapshot import Limit, Snapshot
from optimization.community import Battery, Curtailable, FixedLoad, Interruptible
from optimization.errors import ProblemError, SolverError


@pytest.fixture
def frozen(site):
    """What the village's first window is decided on."""
    site.advance(site.start - 300)
    return Snapshot.from_json(site.row(0).snapshot)


@pytest.fixture
def decide(site):
    """Decides a snapshot by the reference."""

    def decide(snapshot):
        community = problem.build(snapshot)
        return planning.decide(snapshot, community, site.solver.reference(community))

    return decide


def devices(snapshot):
    return {device.id: device for _, device in problem.build(snapshot).devices()}


def with_relay(snapshot, **changes):
    others = tuple(d for d in snapshot.devices if d.id != "bob/boiler")
    boiler = next(d for d in snapshot.devices if d.id == "bob/boiler")
    relay = replace(boiler.flexibility, **changes)
    return replace(snapshot, devices=(*others, replace(boiler, flexibility=relay)))


def with_state(snapshot, device, **values):
    base = {"device": device, "instant": snapshot.window.start, "power_w": 0, "closed_s": 0, "stored_wh": None}
    return replace(snapshot, states={device: DeviceState(**base | values)})


class TestProblem:
    def test_watts_become_kilowatts_and_micros_currency(self, frozen):
        found = devices(frozen)
        assert list(found["bob/uncontrolled"].power_kw) == [0.503] * 8
        assert list(found["ada/pv"].available_kw) == [0.0, 1.5, 3.001, 4.0, 4.0, 3.001, 1.5, 0.7]  # rated 4 kW
        battery = found["eve/battery"]
        assert (battery.max_charge_kw, battery.capacity_kwh, battery.initial_kwh) == (2.0, 3.001, 1.0)
        assert (battery.charge_efficiency, battery.discharge_efficiency, battery.cycle_cost) == (0.95, 0.93, 0.001)
        tariff = problem.build(frozen).tariff
        assert list(tariff.import_price) == [0.06] * 4 + [0.095001] * 4
        assert list(tariff.export_price) == [0.039] * 4 + [0.039003] * 4

    def test_a_member_without_an_order_takes_and_offers_nothing(self, frozen):
        snapshot = replace(frozen, orders={})
        found = devices(snapshot)
        assert list(found["ada/uncontrolled"].power_kw) == [0.0] * 8
        assert list(found["ada/pv"].available_kw) == [0.0] * 8
        assert problem.build(snapshot).links == ()

    def test_each_kind_of_device_has_its_model(self, frozen):
        kinds = {id_: type(device) for id_, device in devices(frozen).items()}
        assert kinds == {
            "ada/uncontrolled": FixedLoad,
            "bob/uncontrolled": FixedLoad,
            "eve/uncontrolled": FixedLoad,
            "ada/pv": Curtailable,
            "bob/boiler": Interruptible,
            "eve/battery": Battery,
        }

    def test_telemetry_counts_before_what_was_registered(self, frozen):
        snapshot = with_state(frozen, "eve/battery", stored_wh=2222)
        assert devices(snapshot)["eve/battery"].initial_kwh == 2.222

    def test_more_than_a_battery_holds_is_what_it_holds(self, frozen):
        snapshot = with_state(frozen, "eve/battery", stored_wh=9999)
        assert devices(snapshot)["eve/battery"].initial_kwh == 3.001

    @pytest.mark.parametrize(("closed_s", "owed"), [(0, 3), (899, 3), (900, 2), (1799, 2), (2700, 0), (9000, 0)])
    def test_an_appliance_owes_what_it_has_not_run_in_whole_mtus(self, frozen, closed_s, owed):
        snapshot = with_state(frozen, "bob/boiler", closed_s=closed_s)
        assert devices(snapshot)["bob/boiler"].required_mtus == owed

    @pytest.mark.parametrize(
        ("start", "end", "allowed"),
        [
            (0, 7200, (0, 8)),
            (-3600, 10_000, (0, 8)),
            (900, 2700, (1, 3)),
            (1, 1799, (1, 1)),
            (899, 1801, (1, 2)),
            (-900, 0, (0, 0)),
            (7200, 9000, (8, 8)),
        ],
    )
    def test_it_may_run_in_the_whole_mtus_inside_its_time(self, frozen, start, end, allowed):
        at = frozen.window.start
        boiler = devices(with_relay(frozen, start=at + start, end=at + end))["bob/boiler"]
        assert (boiler.first_mtu, boiler.end_mtu) == allowed

    def test_of_what_no_longer_fits_what_fits_is_asked(self, frozen):
        at = frozen.window.start
        boiler = devices(with_relay(frozen, start=at, end=at + 1800, required_s=2700))["bob/boiler"]
        assert boiler.required_mtus == 2

    def test_it_is_going_on_where_telemetry_says_so(self, frozen):
        assert devices(with_state(frozen, "bob/boiler", power_w=1501))["bob/boiler"].running
        assert not devices(with_state(frozen, "bob/boiler", power_w=0))["bob/boiler"].running


class TestLinks:
    def links(self, snapshot):
        return [(link.seller, link.buyer) for link in problem.build(snapshot).links]

    def change(self, snapshot, member, **partners):
        order = replace(snapshot.orders[member], partners=partners)
        return replace(snapshot, orders={**snapshot.orders, member: order})

    def test_they_are_between_those_who_name_each_other_and_have_something_to_sell(self, frozen):
        # bob has nothing that could feed in.
        assert sorted(self.links(frozen)) == [("ada", "bob"), ("ada", "eve"), ("eve", "ada"), ("eve", "bob")]

    def test_one_sided_wishes_make_none(self, frozen):
        assert sorted(self.links(self.change(frozen, "ada", eve=0))) == [
            ("ada", "eve"),
            ("eve", "ada"),
            ("eve", "bob"),
        ]

    def test_a_partner_without_an_order_makes_none(self, frozen):
        snapshot = replace(frozen, orders={k: v for k, v in frozen.orders.items() if k != "ada"})
        assert self.links(snapshot) == [("eve", "bob")]

    def test_both_sides_preferences_and_the_charge_are_its_cost(self, frozen):
        snapshot = self.change(self.change(frozen, "ada", bob=1000), "bob", ada=2000)
        link = next(one for one in problem.build(snapshot).links if one.buyer == "bob")
        assert (link.seller_preference, link.buyer_preference, link.network_charge) == (0.001, 0.002, 0.005)

    def test_a_buyer_keeps_the_sellers_it_likes_most(self, frozen):
        storage = next(d.flexibility for d in frozen.devices if isinstance(d.flexibility, Storage))
        names = [f"s{number}" for number in range(6)]
        orders = {
            name: Order(window="w", member=name, load_w=(0,) * 8, production={}, partners={"bob": 10 * number})
            for number, name in enumerate(names)
        }
        bob = replace(frozen.orders["bob"], partners={name: 100 if name == "s1" else 0 for name in names})
        snapshot = replace(
            frozen,
            members=(Member(id="bob", section="east"), *(Member(id=name, section="east") for name in names)),
            devices=tuple(Device(id=f"{name}/battery", member=name, flexibility=storage) for name in names),
            orders={"bob": bob, **orders},
        )
        assert self.links(snapshot) == [("s0", "bob"), ("s2", "bob"), ("s3", "bob"), ("s4", "bob")]


class TestBounds:
    def limit(self, id_, target, *periods):
        bounds = tuple(
            Bounds(start=self.at + 900 * first, end=self.at + 900 * end, lower_w=lower, upper_w=upper)
            for first, end, lower, upper in periods
        )
        return Limit(id=id_, target=target, periods=bounds, digest="")

    @pytest.fixture(autouse=True)
    def begin(self, frozen):
        self.at = frozen.window.start

    def test_without_limits_there_are_none(self, frozen):
        assert problem.bounds_w(frozen) == {}
        assert problem.build(frozen).envelopes == ()

    def test_several_of_a_target_hold_at_once_and_outside_nothing_binds(self, frozen):
        one = self.limit("a", "microgrids/village", (0, 4, -100, 300))
        other = self.limit("b", "microgrids/village", (2, 6, -200, 240), (6, 7, None, 0))
        lower, upper = problem.bounds_w(replace(frozen, limits=(one, other)))["microgrids/village"]
        assert list(lower) == [-100, -100, -100, -100, -200, -200, -np.inf, -np.inf]
        assert list(upper) == [300, 300, 240, 240, 240, 240, 0, np.inf]

    def test_they_are_rounded_inwards_to_whole_wh_in_an_mtu(self, frozen):
        """Four watts make a Wh in a quarter of an hour."""
        limit = self.limit("a", "microgrids/village", (0, 1, -101, 103), (1, 2, 101, 107), (2, 3, -107, -101))
        lower, upper = problem.bounds_w(replace(frozen, limits=(limit,)))["microgrids/village"]
        assert list(lower[:3]) == [-100, 104, -104]
        assert list(upper[:3]) == [100, 104, -104]

    def test_a_band_too_narrow_for_a_whole_wh_is_kept_as_it_is(self, frozen):
        limit = self.limit("a", "microgrids/village", (0, 1, 1001, 1002), (1, 2, 1001, 1001))
        lower, upper = problem.bounds_w(replace(frozen, limits=(limit,)))["microgrids/village"]
        assert (list(lower[:2]), list(upper[:2])) == ([1001, 1001], [1002, 1001])

    @pytest.mark.parametrize(
        ("target", "peers"),
        [
            ("microgrids/village", {"ada", "bob", "eve"}),
            ("microgrids/village/sections/east", {"ada", "bob"}),
            ("microgrids/village/members/eve", {"eve"}),
        ],
    )
    def test_a_target_sums_its_members(self, frozen, target, peers):
        snapshot = replace(frozen, limits=(self.limit("a", target, (0, 8, 0, 1000)),))
        (envelope,) = problem.build(snapshot).envelopes
        assert envelope.peers == peers
        assert list(envelope.upper_kw) == [1.0] * 8

    def test_what_contradicts_itself_is_a_problem_error(self, frozen):
        limits = (
            self.limit("a", "microgrids/village", (3, 4, 500, None)),
            self.limit("b", "microgrids/village", (0, 8, None, 400)),
        )
        with pytest.raises(ProblemError, match=r"microgrids/village\[3\].*0\.5 above upper 0\.4"):
            problem.build(replace(frozen, limits=limits))


class TestLeftOver:
    """What rounding batteries down leaves of a limit that they share."""

    @pytest.fixture
    def left_over(self, frozen, site):
        """The watts handed out to eve's and bob's battery at given powers, with more limits."""
        eve = next(device for device in frozen.devices if device.id == "eve/battery")
        snapshot = replace(frozen, devices=(*frozen.devices, replace(eve, id="bob/battery", member="bob")))
        community = problem.build(snapshot)
        clearing = site.solver.reference(community)

        def left_over(eve_kw, bob_kw, *, up=False, limits=()):
            batteries = {"eve/battery": np.full(8, eve_kw), "bob/battery": np.full(8, bob_kw)}
            moved = replace(clearing, device_kw={**clearing.device_kw, **batteries})
            rounded = {id_: tuple(int(w) for w in np.floor(np.round(kw * 1e3, 6))) for id_, kw in batteries.items()}
            sides = np.full((len(community.peers), 8), up)
            found = planning._left_over(replace(snapshot, limits=limits), community, moved, rounded, sides)
            return {id_: set(extra.tolist()) for _, id_, extra in found}

        return left_over

    def test_goes_to_the_largest_remainder(self, left_over):
        assert left_over(1.0007, 1.0004) == {"eve/battery": {1}}
        assert left_over(1.0003, 0.5007) == {"bob/battery": {1}}

    def test_is_nothing_below_a_watt_and_at_whole_watts(self, left_over):
        assert left_over(1.0004, 1.0005) == {}
        assert left_over(1.0, -0.5) == {}

    def test_is_not_shared_across_a_sections_limit(self, left_over, frozen):
        at = frozen.window.start
        bounds = Bounds(start=at, end=at + 7200, lower_w=None, upper_w=9000)
        limit = Limit(id="a", target="microgrids/village/members/eve", periods=(bounds,), digest="")
        assert left_over(1.0007, 1.0004, limits=(limit,)) == {}

    def test_stays_where_powers_are_rounded_up(self, left_over):
        assert left_over(1.0007, 1.0004, up=True) == {}


class TestDecide:
    def test_the_order_of_mappings_changes_nothing(self, frozen, decide):
        mixed = random.Random(7)

        def shuffled(mapping):
            items = list(mapping.items())
            mixed.shuffle(items)
            return dict(items)

        names = ("states", "orders", "order_digests", "carry")
        other = replace(frozen, **{name: shuffled(getattr(frozen, name)) for name in names})
        assert decide(other) == decide(frozen)

    def test_relays_are_on_or_off_and_batteries_within_their_power(self, frozen, decide):
        plan = decide(frozen).plan
        kind, values = plan.setpoints["bob/boiler"]
        assert (kind, set(values)) == (SetpointKind.RELAY, {0, 1})
        assert sum(values) == 3
        kind, values = plan.setpoints["eve/battery"]
        assert kind is SetpointKind.POWER
        assert all(-1800 <= value <= 2000 for value in values)
        assert plan.power_w["eve/battery"] == values

    def test_a_plant_is_limited_only_where_it_is_to_produce_less_than_it_could(self, frozen, decide):
        """With nobody else's flexibility, what may not be fed in is curtailed, to the watt."""
        at = frozen.window.start
        bounds = Bounds(start=at + 2700, end=at + 3600, lower_w=-500, upper_w=None)
        limit = Limit(id="a", target="microgrids/village/members/ada", periods=(bounds,), digest="")
        free, bound = decide(frozen).plan, decide(replace(frozen, limits=(limit,))).plan
        assert free.setpoints["ada/pv"] == (SetpointKind.PRODUCTION_LIMIT, (4000,) * 8)
        limited = (4000, 4000, 4000, 801, 4000, 4000, 4000, 4000)
        assert bound.setpoints["ada/pv"] == (SetpointKind.PRODUCTION_LIMIT, limited)
        assert bound.power_w["ada/pv"][3] == -801  # 301 W are its own load's

    @pytest.mark.parametrize("power_w", [-503, -502, -501])
    def test_a_band_of_one_watt_is_kept_by_the_powers(self, frozen, decide, power_w):
        at = frozen.window.start
        bounds = Bounds(start=at, end=at + 900, lower_w=power_w, upper_w=power_w)
        limit = Limit(id="a", target="microgrids/village/members/eve", periods=(bounds,), digest="")
        snapshot = replace(frozen, limits=(limit,))
        decision = decide(snapshot)
        assert problem.net_of_tail(snapshot, limit.target, decision.plan.power_w, 0)[0] == power_w

    def test_setpoints_keep_a_sections_limit_to_the_watt_while_the_connection_points_is_far(self, frozen, decide):
        at = frozen.window.start
        far = Bounds(start=at, end=at + 7200, lower_w=-9000, upper_w=9000)
        near = Bounds(start=at, end=at + 7200, lower_w=-800, upper_w=None)
        limits = (
            Limit(id="a", target="microgrids/village", periods=(far,), digest=""),
            Limit(id="b", target="microgrids/village/sections/east", periods=(near,), digest=""),
        )
        snapshot = replace(frozen, limits=limits)
        plan = decide(snapshot).plan
        assert min(problem.net_of_tail(snapshot, limits[1].target, plan.power_w, 0)) >= -800

    def test_shortfall_is_said_in_wh(self, frozen, decide):
        at = frozen.window.start
        limit = Limit(
            id="a",
            target="microgrids/village/members/bob",
            periods=(Bounds(start=at, end=at + 7200, lower_w=None, upper_w=1000),),
            digest="",
        )
        plan = decide(replace(frozen, limits=(limit,))).plan
        assert plan.shortfall_wh == {"bob/boiler": round(3 * 1501 / 4)}

    def test_remainders_go_on_from_the_last_window(self, frozen, decide):
        carried = replace(frozen, carry={"peer bob": 59, "peer ada": -3, "peer gone": 40, "link gone bob": 5})
        one, other = decide(frozen), decide(carried)
        totals = {}
        for name, decision in (("one", one), ("other", other)):
            energy = sum(wh for (member, _), wh in decision.positions.items() if member == "bob")
            totals[name] = 60 * energy + decision.carry["peer bob"]
        assert totals["other"] - totals["one"] == 59
        assert "peer gone" not in other.carry

    def test_only_the_windows_own_mtus_are_traded_and_told(self, frozen, decide):
        decision = decide(frozen)
        mtus = set(frozen.window_mtus())
        assert {trade.mtu_start for trade in decision.trades} == mtus
        assert {setpoint.mtu_start for setpoint in decision.setpoints} == mtus
        assert {mtu for _, mtu in decision.positions} == mtus

    def test_what_breaks_a_rule_is_not_rounded(self, frozen, site):
        community = problem.build(frozen)
        clearing = site.solver.reference(community)
        wrong = replace(clearing, import_kwh=clearing.import_kwh + 1)
        with pytest.raises(SolverError, match="recomputed feasibility: balance of"):
            planning.decide(frozen, community, wrong)


def test_a_relay_for_which_no_time_is_left_runs_no_more(frozen, decide):
    at = frozen.window.start
    decision = decide(with_relay(frozen, start=at - 7200, end=at))
    assert set(decision.plan.setpoints["bob/boiler"][1]) == {0}
