"""Several devices of one driver, which leave something to each other, or not."""

from datetime import UTC, datetime, timedelta

import pytest

from device_drivers.connection import Timer
from device_drivers.core import DeviceCore
from device_drivers.device import Reading
from device_drivers.errors import InvalidValueError
from device_drivers.failsafe import Fixed, HoldProgramme
from device_drivers.gateway import Gateway
from device_drivers.guard import GuardRules
from device_drivers.precedence import Rule
from device_drivers.report import ReportState
from device_drivers.setpoint import Bounds, Command, Power, RelayState, Setpoint
from device_drivers.station import Station, check_ramp
from device_drivers.switching import Memory, Switching

ON, OFF = RelayState(closed=True), RelayState(closed=False)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WATTS = Bounds(lower_w=0, upper_w=2000)
LONG_AGO = Memory(boot_id="b", on=False, since=-1e6, starts=(), day_starts=0, day_ends_at=1e6)


class Bench:
    """A station whose devices do what they are told, but for those that are away."""

    def __init__(self, names, *, failsafe=None, rules=None, memory=LONG_AGO, timer=None, answer_s=0.0, **gateway):
        self.now = 0.0
        self.answer_s = answer_s
        self.rules = rules or GuardRules(bounds=WATTS)
        failsafe = failsafe or Fixed(target=OFF)
        cores = {
            name: DeviceCore(
                rules=self.rules,
                failsafe=failsafe,
                switching=Switching(self.rules, memory, boot_id="b", now=0.0, midnight_s=3600),
                timer=timer,
            )
            for name in names
        }
        groups = {"all": list(names)}
        self.station = Station(
            cores, Gateway(dict.fromkeys(names, self.rules.bounds), groups=groups, **gateway), lambda _: 3600.0
        )
        self.closed = dict.fromkeys(names, False)
        self.power = dict.fromkeys(names, 0)
        self.away = set()
        self.sequence = 0
        self.reports = []
        self.tick()

    @property
    def utc(self):
        return NOON + timedelta(seconds=self.now)

    def tell(self, name, target=ON, *, ttl_s=60.0, curtailed=False):
        self.sequence += 1
        hour = Setpoint(start=self.utc, end=self.utc + timedelta(hours=3), target=target)
        command = Command(
            command_id=f"c{self.sequence}",
            window="",
            epoch=1,
            sequence=self.sequence,
            heartbeat_counter=self.station.device(name).heartbeat(self.now),
            ttl_s=ttl_s,
            setpoints=(hour,),
            curtailed=curtailed,
        )
        refusal = self.station.receive(name, command, self.now, self.utc)
        self.reports.append(refusal)
        self.serve(name)
        return refusal or self.reports[-1]

    def tick(self, seconds=0.0):
        self.now += seconds
        for name in self.closed:
            self.serve(name)

    def serve(self, name):
        if name in self.away:
            self.reports.append(self.station.miss(name, "no answer", self.now, self.utc))
            return
        self.look(name)
        order = self.station.order(name, self.now, self.utc)
        if order is not None:
            self.station.begin(name, order, self.now, self.utc)
            if isinstance(order.target, RelayState):
                self.closed[name] = order.target.closed
                self.power[name] = 2000 * order.target.closed
            else:
                self.power[name] = order.target.power_w
            self.now += self.answer_s
            self.station.done(name, order, self.now)
            self.order = order
        self.look(name)

    def look(self, name):
        relay = isinstance(self.station.device(name).target, RelayState)
        reading = Reading(
            power_w=self.power[name], relay_closed=self.closed[name] if relay else None, closed_s=0, stored_wh=None
        )
        self.reports.append(self.station.observe(name, reading, self.now, self.utc))


def test_a_setpoint_acts_until_its_lease_ends():
    bench = Bench("a")
    assert bench.tell("a").state is ReportState.VERIFIED
    bench.tick(59.9)
    assert bench.closed["a"]
    bench.tick(0.1)
    assert not bench.closed["a"]
    assert bench.station.device("a").failsafe_active


@pytest.mark.parametrize("answer_s", [0.0, 0.3])
def test_a_timer_is_armed_once_and_not_again_before_it_is_due(answer_s):
    bench = Bench("a", timer=Timer(shortest_s=0.1, longest_s=3600.0, resolution_s=0.001), answer_s=answer_s)
    bench.tell("a")
    first = bench.order
    bench.tick(10)
    assert bench.order is first
    bench.tell("a")
    bench.tick(25)
    assert bench.order is not first


def test_the_guards_refusal_says_when_it_would_be_allowed():
    bench = Bench("a", rules=GuardRules(bounds=WATTS, min_off_s=300), memory=None)
    report = bench.station.receive("a", command(bench, ON), bench.now, bench.utc)
    assert report.state is ReportState.REJECTED
    assert report.reason == f"minimum off time of 300 s: got {ON}, wanted it no earlier than 2026-03-01T12:05:01+00:00"
    bench.tick(300)
    bench.sequence = 1
    assert bench.tell("a").state is ReportState.VERIFIED


def command(bench, target, **changes):
    hour = Setpoint(start=bench.utc, end=bench.utc + timedelta(hours=3), target=target)
    counter = bench.station.device("a").heartbeat(bench.now)
    fields = {"command_id": "c", "window": "", "epoch": 1, "sequence": 1, "heartbeat_counter": counter, "ttl_s": 60.0}
    return Command(**(fields | {"setpoints": (hour,)} | changes))


def test_a_limits_setpoint_goes_before_soft_minimum_times_and_not_before_hard_ones():
    for hard in (False, True):
        bench = Bench("a", rules=GuardRules(bounds=WATTS, min_on_s=300, hard=hard))
        bench.tell("a")
        bench.tick(1)
        bench.tell("a", OFF)
        assert bench.closed["a"]
        bench.tell("a", OFF, curtailed=True)
        assert bench.closed["a"] is hard


def test_two_of_an_interlock_never_run():
    bench = Bench("ab", interlocks=["ab"])
    bench.tell("a")
    assert bench.station.receive("b", command_for(bench, "b"), bench.now, bench.utc).reason.startswith("interlock")
    bench.tick(60)
    bench.tell("b")
    assert bench.closed == {"a": False, "b": True}


def command_for(bench, name):
    hour = Setpoint(start=bench.utc, end=bench.utc + timedelta(hours=3), target=ON)
    counter = bench.station.device(name).heartbeat(bench.now)
    return Command(
        command_id="x", window="", epoch=1, sequence=1, heartbeat_counter=counter, ttl_s=60.0, setpoints=(hour,)
    )


def test_one_that_is_away_may_run():
    bench = Bench("ab", interlocks=["ab"])
    bench.away = {"b"}
    bench.tick(11)
    bench.tell("a")
    assert not bench.closed["a"]


def test_a_limit_sheds_as_little_as_it_has_to_and_nobody_grows_beyond_it():
    bench = Bench("abc")
    for name in "abc":
        bench.tell(name, ttl_s=3600.0)
    bench.station.limit("all", Bounds(lower_w=None, upper_w=4500))
    bench.tick(1)
    assert sum(bench.closed.values()) == 2
    bench.tick(1)
    assert sum(bench.closed.values()) == 2
    bench.station.limit("all", Bounds(lower_w=None, upper_w=6000))
    bench.tick(1)
    assert all(bench.closed.values())


def test_one_that_is_away_counts_at_its_worst_case():
    bench = Bench("ab")
    bench.station.limit("all", Bounds(lower_w=None, upper_w=3000))
    bench.away = {"b"}
    bench.tick(1)
    bench.tell("a", ttl_s=3600.0)
    assert not bench.closed["a"]
    bench.away = set()
    bench.tick(1)
    bench.tick(1)
    assert bench.closed["a"]


def test_a_cut_is_reported_as_diverged_with_its_reason():
    bench = Bench("a")
    bench.tell("a")
    bench.station.limit("all", Bounds(lower_w=None, upper_w=0))
    bench.tick(1)
    reports = [report for report in bench.reports if report is not None]
    assert (reports[-1].state, reports[-1].reason[:6]) == (ReportState.DIVERGED, "limit:")


def test_a_device_that_is_lost_ends_its_lease_and_returns_by_a_fresh_setpoint_alone():
    bench = Bench("a")
    bench.tell("a", ttl_s=3600.0)
    bench.away = {"a"}
    for _ in range(3):
        bench.tick(1)
    assert [report.state for report in bench.reports if report][-1] is ReportState.FAILED
    bench.away = set()
    bench.tick(1)
    assert not bench.closed["a"]
    assert bench.tell("a").state is ReportState.VERIFIED


def test_a_programme_that_runs_goes_on_to_its_end_and_none_is_started():
    bench = Bench("a", failsafe=HoldProgramme(programme_s=600))
    bench.tell("a")
    bench.tick(599)
    assert bench.closed["a"]
    bench.tick(1)
    assert not bench.closed["a"]
    bench.tick(1)
    assert not bench.closed["a"]


def test_the_ramp_of_the_whole_holds_whoever_asks():
    bench = Bench("ab", failsafe=Fixed(target=Power(power_w=0)), ramp_w_per_10s=1500)
    bench.tick(10)
    bench.tell("a", Power(power_w=1000), ttl_s=3600.0)
    bench.tell("b", Power(power_w=2000), ttl_s=3600.0)
    assert bench.power == {"a": 1000, "b": 500}
    bench.tick(9)
    assert bench.power == {"a": 1000, "b": 500}
    bench.tick(1)
    assert bench.power == {"a": 1000, "b": 2000}


def test_the_ramp_counts_as_used_up_at_the_start():
    bench = Bench("a", failsafe=Fixed(target=Power(power_w=0)), ramp_w_per_10s=1500)
    bench.tell("a", Power(power_w=1000), ttl_s=3600.0)
    bench.tick(9)
    assert bench.power == {"a": 0}
    bench.tick(1)
    assert bench.power == {"a": 1000}


@pytest.mark.parametrize("at", [29.5, 30.5])
def test_a_device_that_its_own_timer_switched_off_comes_back_by_the_ramp(at):
    timer = Timer(shortest_s=1.0, longest_s=300.0, resolution_s=1.0)
    bench = Bench("ab", failsafe=Fixed(target=Power(power_w=0)), timer=timer, ramp_w_per_10s=2000)
    bench.tick(10)
    bench.tell("a", Power(power_w=2000), ttl_s=20.0)
    bench.now, bench.power["a"] = at, 0
    bench.tell("a", Power(power_w=2000))
    bench.tell("b", Power(power_w=2000))
    assert bench.power == {"a": 2000, "b": 0}
    bench.tick(10)
    assert bench.power == {"a": 2000, "b": 2000}


def test_a_limit_and_the_failsafe_do_not_wait_for_the_ramp_and_their_return_does(caplog):
    bench = Bench("ab", failsafe=Fixed(target=Power(power_w=0)), ramp_w_per_10s=2000)
    bench.tick(10)
    bench.tell("a", Power(power_w=2000), ttl_s=3600.0)
    bench.tick(5)
    bench.station.limit("all", Bounds(lower_w=None, upper_w=100))
    bench.tick(0)
    assert bench.power["a"] == 100
    assert "the ramp is exceeded by 1900 W" in caplog.text
    bench.station.limit("all", Bounds(lower_w=None, upper_w=None))
    bench.tick(5)
    assert bench.power["a"] == 200


@pytest.mark.parametrize(("rest_w", "upper_w", "takes_w"), [(0, 1000, 0), (200, 1000, 200), (200, 100, 100)])
def test_a_limit_does_not_wait_for_a_device_whose_timer_may_have_ended(rest_w, upper_w, takes_w):
    # Of a timer of whole minutes nobody knows for a minute whether it has ended.
    timer = Timer(shortest_s=60.0, longest_s=3600.0, resolution_s=60.0)
    bench = Bench("a", failsafe=Fixed(target=Power(power_w=rest_w)), timer=timer, ramp_w_per_10s=2000)
    bench.tick(10)
    bench.tick(10)
    bench.tell("a", Power(power_w=2000), ttl_s=100.0)
    assert bench.power["a"] == 2000
    bench.tick(5)
    bench.station.limit("all", Bounds(lower_w=None, upper_w=upper_w))
    bench.tick(0)
    assert bench.power["a"] == takes_w


def test_a_device_larger_than_the_ramp_is_refused():
    bench = Bench("a")
    with pytest.raises(InvalidValueError, match="ramp_w_per_10s: got 1999 W, wanted at least the 2000 W of 'a'"):
        check_ramp({"a": bench.station.device("a")}, 1999)


@pytest.mark.parametrize("wrong", [{"groups": {"g": ["x"]}}, {"groups": {}, "interlocks": [["a", "x"]]}])
def test_a_group_of_unknown_devices_is_refused(wrong):
    with pytest.raises(InvalidValueError, match="got the device 'x'"):
        Gateway({"a": WATTS}, **wrong)


def test_a_group_needs_ratings():
    with pytest.raises(InvalidValueError, match="bounds of 'a'"):
        Gateway({"a": Bounds(lower_w=None, upper_w=5)}, groups={"g": ["a"]})


def test_the_rule_that_decides_is_told_with_the_order():
    bench = Bench("a")
    bench.tell("a")
    assert bench.order.decision.rule is Rule.SETPOINT
    bench.tick(60)
    assert bench.order.decision.rule is Rule.FAILSAFE
