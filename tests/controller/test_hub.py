import asyncio
from dataclasses import dataclass

import pytest

from controller import said
from controller.clamp import Ability, Level
from controller.commands import CommandState, Response
from controller.composing import UNKNOWN, SignedLimit, Target
from controller.driver_stream import Ending
from controller.errors import StoreError
from controller.fleet import Declared, Registered
from controller.flexibility import ChargingLevel
from controller.hub import AHEAD_S, DriverHub, LeasedCommand, Standing
from controller.microgrid import Device, DeviceSetpoint, DeviceState, SetpointKind, Window
from controller.store import drivers, registry
from optimization.errors import SolverError
from tests.controller.flexibility_cases import vehicle

MTU_S = 900
LEASE_S = 90
BATTERY = "eve/battery"
BOILER = Ability(consumption=(Level(min_w=1500, max_w=1500),))


class Settable:
    """A clock that stands where it is set."""

    def __init__(self):
        self.instant = 0.0

    def now(self):
        return self.instant


class Times:
    """A wall clock and a monotonic one, each set by itself."""

    def __init__(self):
        self.wall = Settable()
        self.mono = Settable()

    def pass_(self, seconds):
        self.wall.instant += seconds
        self.mono.instant += seconds


@dataclass
class FixedCap:
    max_consumption_w: int | None = None
    max_production_w: int | None = None


@pytest.fixture
def times():
    return Times()


@pytest.fixture
def hub(site, times):
    """A hub of its own over the village's database."""
    hub = make(site, times)
    for device in (BATTERY, "ada/battery"):
        hub.register("village", device, Registered(mtu_seconds=MTU_S))
    hub.register("village", "bob/boiler", Registered(mtu_seconds=MTU_S, ability=BOILER))
    return hub


def make(site, times, **values):
    return DriverHub(database=site.database, epoch=5, lease_s=LEASE_S, clock=times.wall, monotonic=times.mono, **values)


def setpoints(device, *values, start=0, kind=SetpointKind.POWER):
    return tuple(
        DeviceSetpoint(device=device, mtu_start=start + MTU_S * k, kind=kind, value=value)
        for k, value in enumerate(values)
    )


def window(start=0, end=1800):
    return Window(name=f"microgrids/village/windows/{start}", start=start, end=end)


def join(hub, device=BATTERY, *, pushes=True, declared=None):
    return hub.join("village", device, declared=declared or Declared(), pushes=pushes)


def beat(hub, stream):
    """What a heartbeat is answered with."""
    hub.heartbeat(stream, stream.counter + 1)
    return hub.answer(stream)


def values(command):
    return [stretch.target.value for stretch in command.setpoints]


class TestHeartbeat:
    def test_without_setpoints_there_is_nothing_to_do(self, hub):
        assert beat(hub, join(hub)) == Standing(heartbeat_counter=1, sequence=0)

    def test_a_command_carries_lease_and_fencing(self, hub):
        hub.offer("village", window(), setpoints(BATTERY, 1, 2))
        found = beat(hub, join(hub))
        assert (found.epoch, found.sequence, found.ttl_s, found.window) == (5, 1, LEASE_S, window().name)
        assert found.heartbeat_counter == 1
        assert values(found) == [1, 2]
        assert (found.curtailed_by, found.limits) == ("", ())

    def test_the_sequence_of_each_device_rises_over_its_streams(self, hub):
        hub.offer("village", window(), setpoints(BATTERY, 1, 2) + setpoints("ada/battery", 3, 4))
        found = [beat(hub, join(hub, device)) for device in (BATTERY, BATTERY, "ada/battery", BATTERY)]
        assert [one.sequence for one in found] == [1, 2, 1, 3]
        assert len({one.id for one in found}) == 4

    def test_nothing_new_is_told_before_half_of_the_lease_is_over(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 2))
        stream = join(hub)
        beat(hub, stream)
        told = []
        for _ in range(6):
            times.pass_(15)
            told.append(type(beat(hub, stream)))
        assert told == [Standing, Standing, LeasedCommand] * 2

    def test_who_beats_slowly_is_renewed_each_time(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 2))
        stream = join(hub)
        for _ in range(4):
            assert isinstance(beat(hub, stream), LeasedCommand)
            times.pass_(40)

    def test_what_stands_is_named(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 2))
        stream = join(hub)
        command = beat(hub, stream)
        times.pass_(1)
        assert beat(hub, stream) == Standing(heartbeat_counter=2, sequence=command.sequence)

    def test_before_the_first_setpoint_nothing_is_meant(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, start=900))
        times.pass_(899.9)
        stream = join(hub)
        assert beat(hub, stream).sequence == 0
        times.pass_(0.1)
        assert beat(hub, stream).sequence == 1

    def test_after_the_last_setpoint_nothing_is_meant(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        times.pass_(899.9)
        assert isinstance(beat(hub, stream), LeasedCommand)
        times.pass_(0.1)
        assert beat(hub, stream) == Standing(heartbeat_counter=2, sequence=0)

    def test_in_a_gap_nothing_is_meant(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1) + setpoints(BATTERY, 2, start=1800))
        stream = join(hub)
        assert values(beat(hub, stream)) == [1, 2]
        times.pass_(1000)
        assert beat(hub, stream).sequence == 0
        times.pass_(800)
        assert values(beat(hub, stream)) == [2]

    def test_what_is_far_ahead_is_said_later(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, *range(20)))
        assert [s.start for s in beat(hub, join(hub)).setpoints] == list(range(0, AHEAD_S, MTU_S))
        times.pass_(1)
        assert beat(hub, join(hub)).setpoints[-1].start == AHEAD_S

    def test_a_later_decision_replaces_an_earlier_one(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 2))
        hub.offer("village", window(900), setpoints(BATTERY, 7, start=900))
        assert values(beat(hub, join(hub))) == [1, 7]
        times.pass_(900)
        assert beat(hub, join(hub)).window == window(900).name

    def test_devices_of_one_name_in_two_communities_are_two(self, hub):
        hub.offer("hamlet", window(), setpoints(BATTERY, 1))
        assert beat(hub, join(hub)).sequence == 0

    def test_a_wall_clock_that_is_set_moves_no_lease(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 1))
        stream = join(hub)
        beat(hub, stream)
        times.wall.instant += 800
        times.mono.instant += 10
        assert isinstance(beat(hub, stream), Standing)
        times.wall.instant -= 800
        times.mono.instant += 40
        assert isinstance(beat(hub, stream), LeasedCommand)


class TestPush:
    def told(self, hub, stream):
        """What the stream is told unasked; None where its writer sleeps on or has nothing to say."""
        return hub.answer(stream) if stream._wake.is_set() else None

    @pytest.fixture
    def stream(self, hub):
        hub.offer("village", window(), setpoints(BATTERY, 1000, 1000))
        stream = join(hub)
        beat(hub, stream)
        stream._wake.clear()
        return stream

    def test_a_new_decision_goes_at_once_and_echoes_the_newest_heartbeat(self, hub, stream, times):
        times.pass_(10)
        hub.offer("village", window(), setpoints(BATTERY, 500))
        found = self.told(hub, stream)
        assert values(found) == [500, 1000]
        assert (found.heartbeat_counter, found.sequence) == (1, 2)

    def test_what_changes_nothing_is_not_told(self, hub, stream):
        hub.push("village", (BATTERY,))
        assert self.told(hub, stream) is None

    def test_of_many_changes_the_newest_alone_is_told(self, hub, stream):
        for value in range(100):
            hub.offer("village", window(), setpoints(BATTERY, value))
        assert values(self.told(hub, stream)) == [99, 1000]
        assert hub.answer(stream) is None

    def test_a_driver_that_does_not_accept_pushes_gets_answers_alone(self, hub):
        hub.offer("village", window(), setpoints(BATTERY, 1000, 1000))
        stream = join(hub, pushes=False)
        beat(hub, stream)
        stream._wake.clear()
        hub.offer("village", window(), setpoints(BATTERY, 500))
        assert self.told(hub, stream) is None
        assert values(beat(hub, stream)) == [500, 1000]

    def test_before_the_first_heartbeat_there_is_no_lease_to_tell(self, hub):
        stream = join(hub)
        hub.offer("village", window(), setpoints(BATTERY, 500))
        assert self.told(hub, stream) is None

    def test_a_lease_that_would_be_over_is_not_told(self, hub, stream, times):
        times.pass_(LEASE_S)
        hub.offer("village", window(), setpoints(BATTERY, 500))
        assert self.told(hub, stream) is None
        assert values(beat(hub, stream)) == [500, 1000]

    def test_a_window_that_begins_where_nothing_was_meant_is_told(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1) + setpoints(BATTERY, 2, start=1800))
        stream = join(hub)
        beat(hub, stream)
        times.pass_(1799)
        assert beat(hub, stream).sequence == 0
        stream._wake.clear()
        hub.tick()
        assert self.told(hub, stream) is None
        times.pass_(1)
        hub.tick()
        assert values(self.told(hub, stream)) == [2]

    def test_the_end_of_an_override_is_told_where_it_was_not_foreseen(self, hub, times):
        """The command named its end, but not that a limit would bind what comes then."""
        stream = join(hub, declared=Declared(failsafe=Target(SetpointKind.POWER, 9)))
        hub.set_override("village", BATTERY, Target(SetpointKind.POWER, 5), 10)
        assert values(beat(hub, stream)) == [5]
        stream._wake.clear()
        hub.caps = lambda microgrid, device, now: FixedCap(max_consumption_w=7)
        times.pass_(10)
        hub.tick()
        assert values(self.told(hub, stream)) == [7]

    def test_of_a_microgrid_all_are_told(self, hub, stream):
        other = join(hub, "ada/battery")
        beat(hub, other)
        other._wake.clear()
        hub.push("village")
        assert stream._wake.is_set()
        assert other._wake.is_set()


class TestLimits:
    def limit(self, hub, **values):
        hub.caps = lambda microgrid, device, now: FixedCap(**values)
        hub.limits_of = lambda microgrid, device: (
            SignedLimit(name="microgrids/village/envelopes/e", payload=b"p", signature=b"s", key_id="k"),
        )

    @pytest.mark.parametrize("pushes", [True, False])
    def test_who_joins_under_limits_is_answered_once_they_were_looked_at(self, hub, pushes):
        hub.offer("village", window(), setpoints(BATTERY, 1000))
        hub.looked("village")
        hub.limited = lambda microgrid: microgrid == "village"
        stream = join(hub, pushes=pushes)
        assert beat(hub, stream) is None
        stream._wake.clear()
        self.limit(hub, max_consumption_w=400)
        hub.looked("village")
        assert stream._wake.is_set()
        assert values(hub.answer(stream)) == [400]
        assert isinstance(beat(hub, stream), Standing)

    def test_what_is_decided_anew_under_limits_waits_for_a_look_too(self, hub):
        hub.limited = lambda microgrid: True
        stream = join(hub)
        hub.heartbeat(stream, 1)
        for change in (
            lambda: hub.offer("village", window(), setpoints(BATTERY, 1000)),
            lambda: hub.set_override("village", BATTERY, Target(SetpointKind.POWER, 2000), 600),
            lambda: hub.register("village", BATTERY, Registered(mtu_seconds=MTU_S)),
        ):
            change()
            assert hub.answer(stream) is None
            hub.looked("village")
            hub.answer(stream)

    def test_limits_of_one_microgrid_delay_nobody_in_another(self, hub):
        hub.limited = lambda microgrid: microgrid == "hamlet"
        hub.offer("village", window(), setpoints(BATTERY, 1000))
        assert values(beat(hub, join(hub))) == [1000]

    def test_a_cap_shrinks_what_is_told_and_says_by_what(self, hub):
        hub.offer("village", window(), setpoints(BATTERY, 1000, 100))
        self.limit(hub, max_consumption_w=400)
        found = beat(hub, join(hub))
        assert values(found) == [400, 100]
        assert found.curtailed_by == "microgrids/village/envelopes/e"
        assert found.limits[0].payload == b"p"

    def test_a_cap_that_changes_nothing_is_not_named(self, hub):
        hub.offer("village", window(), setpoints(BATTERY, 1000))
        self.limit(hub, max_consumption_w=1000)
        assert beat(hub, join(hub)).curtailed_by == ""

    def test_a_relay_closes_where_its_power_fits_alone(self, hub):
        hub.offer("village", window(), setpoints("bob/boiler", 1, kind=SetpointKind.RELAY))
        stream = join(hub, "bob/boiler")
        self.limit(hub, max_consumption_w=1500)
        assert values(beat(hub, stream)) == [1]
        self.limit(hub, max_consumption_w=1499)
        assert values(beat(hub, stream)) == [0]

    def test_an_override_is_above_the_plan_and_below_the_limit(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 100, 100))
        hub.set_override("village", BATTERY, Target(SetpointKind.POWER, 2000), 600)
        stream = join(hub)
        assert [(s.start, s.end, s.target.value) for s in beat(hub, stream).setpoints] == [
            (0, 600, 2000),
            (600, 900, 100),
            (900, 1800, 100),
        ]
        self.limit(hub, max_consumption_w=300)
        assert values(beat(hub, stream)) == [300, 100, 100]
        hub.set_override("village", BATTERY, None, 0)
        assert values(beat(hub, stream)) == [100, 100]

    def test_an_override_that_ends_where_nothing_is_planned_calls_for_the_failsafe(self, hub):
        stream = join(hub, "bob/boiler")
        hub.set_override("village", "bob/boiler", Target(SetpointKind.RELAY, 1), 600)
        assert values(beat(hub, stream)) == [1]
        hub.set_override("village", "bob/boiler", None, 0)
        assert hub.answer(stream).setpoints == ()

    def test_a_failsafe_that_breaks_the_limit_is_told_smaller(self, hub):
        declared = Declared(failsafe=Target(SetpointKind.RELAY, 1))
        stream = join(hub, "bob/boiler", declared=declared)
        assert beat(hub, stream).sequence == 0
        self.limit(hub, max_consumption_w=0)
        found = hub.answer(stream)
        assert [(s.start, s.end, s.target.value) for s in found.setpoints] == [(0, AHEAD_S, 0)]

    def test_what_is_planned_is_known_without_the_limit(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1000))
        self.limit(hub, max_consumption_w=0)
        assert hub.planned("village", BATTERY) == Target(SetpointKind.POWER, 1000)
        times.pass_(900)
        assert hub.planned("village", BATTERY) is None


class TestEarlierLeases:
    """A lease that an earlier stream or service gave may act on where nothing is meant any more."""

    def test_who_comes_back_is_told_that_nothing_is_meant_once(self, hub, times):
        hub.set_override("village", BATTERY, Target(SetpointKind.POWER, 900), 600)
        assert values(beat(hub, join(hub))) == [900]
        hub.set_override("village", BATTERY, None, 0)
        times.pass_(LEASE_S - 1)
        stream = join(hub)
        assert beat(hub, stream).setpoints == ()
        assert beat(hub, stream) == Standing(heartbeat_counter=2, sequence=0)

    def test_what_has_run_out_needs_no_word(self, hub, times):
        hub.set_override("village", BATTERY, Target(SetpointKind.POWER, 900), 600)
        beat(hub, join(hub))
        hub.set_override("village", BATTERY, None, 0)
        times.pass_(LEASE_S)
        assert beat(hub, join(hub)) == Standing(heartbeat_counter=1, sequence=0)

    def test_a_rejection_leaves_the_lease_before_it_and_that_is_ended(self, hub, times):
        stream = join(hub)
        for value in (900, 800):
            hub.set_override("village", BATTERY, Target(SetpointKind.POWER, value), 600)
            command = beat(hub, stream)
        hub.report(stream, command.id, [CommandState.REJECTED], reason="", instant=1)
        hub.set_override("village", BATTERY, None, 0)
        assert beat(hub, stream).setpoints == ()

    def test_what_an_earlier_service_leased_is_ended_too(self, site, times):
        hub = make(site, times, inherited_s=LEASE_S)
        assert beat(hub, join(hub)).setpoints == ()
        times.pass_(LEASE_S)
        assert beat(hub, join(hub)).sequence == 0


class TestResponses:
    def of(self, hub):
        return hub.responses("village").get(BATTERY)

    def test_they_follow_what_drivers_say(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 2))
        assert self.of(hub) is None
        stream = join(hub)
        assert self.of(hub) is Response.NOTHING
        command = beat(hub, stream)
        said = [self.of(hub)]
        for state in (CommandState.APPLIED, CommandState.VERIFIED, CommandState.DIVERGED, CommandState.FAILED):
            hub.report(stream, command.id, [state], reason="", instant=1)
            said.append(self.of(hub))
        assert said == [Response.TOLD, Response.TOLD, Response.VERIFIED, Response.OTHER, Response.OTHER]
        times.pass_(LEASE_S)
        assert self.of(hub) is Response.NOTHING

    def test_who_rejects_all_is_in_its_failsafe_once_the_last_lease_is_over(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 2))
        stream = join(hub)
        beat(hub, stream)
        times.pass_(LEASE_S - 1)
        rejected = beat(hub, stream)
        hub.report(stream, rejected.id, [CommandState.REJECTED], reason="", instant=1)
        assert self.of(hub) is Response.OTHER
        times.pass_(1)
        assert self.of(hub) is Response.NOTHING

    def test_who_rejected_is_no_better_for_being_told_again(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 2))
        stream = join(hub)
        for wait_s in (1, 2):
            rejected = beat(hub, stream)
            hub.report(stream, rejected.id, [CommandState.REJECTED], reason="", instant=1)
            times.pass_(wait_s)
        again = beat(hub, stream)
        assert self.of(hub) is Response.OTHER
        hub.report(stream, again.id, [CommandState.ACCEPTED], reason="", instant=1)
        assert self.of(hub) is Response.OTHER
        hub.report(stream, again.id, [CommandState.APPLIED], reason="", instant=1)
        assert self.of(hub) is Response.TOLD

    def test_who_comes_back_may_follow_an_earlier_lease(self, hub):
        hub.offer("village", window(), setpoints(BATTERY, 1, 2))
        beat(hub, join(hub))
        join(hub)
        assert self.of(hub) is Response.OTHER

    def test_who_said_that_it_went_to_its_failsafe_is_there(self, hub):
        hub.set_override("village", BATTERY, Target(SetpointKind.POWER, 900), 600)
        stream = join(hub)
        beat(hub, stream)
        hub.set_override("village", BATTERY, None, 0)
        empty = beat(hub, stream)
        assert self.of(hub) is Response.TOLD
        hub.report(stream, empty.id, [CommandState.APPLIED], reason="", instant=1)
        assert self.of(hub) is Response.NOTHING


class TestRejections:
    def test_the_same_is_said_again_ever_more_rarely_and_kept_once(self, hub, site, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 1))
        stream = join(hub)
        said = []
        for second in range(120):
            command = beat(hub, stream)
            if isinstance(command, LeasedCommand):
                said.append(second)
                hub.report(stream, command.id, [CommandState.RECEIVED, CommandState.REJECTED], reason="no", instant=1)
                hub.push("village")
            assert hub.answer(stream) is None
            assert hub.refusing("village") == 1
            times.pass_(1)
        assert said == [0, 1, 3, 7, 15, 31, 63, 108]  # at most half a lease
        asyncio.run(hub.flush())
        assert [row["state"] for row in site.rows("reports")].count("REJECTED") == 1

    def test_what_is_new_is_said_at_once(self, hub):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        hub.report(stream, beat(hub, stream).id, [CommandState.REJECTED], reason="no", instant=1)
        assert isinstance(beat(hub, stream), Standing)
        hub.offer("village", window(), setpoints(BATTERY, 2))
        command = hub.answer(stream)
        assert values(command) == [2]
        hub.report(stream, command.id, [CommandState.VERIFIED], reason="", instant=1)
        assert hub.refusing("village") == 0

    def test_what_it_takes_in_the_end_is_renewed_as_ever(self, hub, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 1))
        stream = join(hub)
        hub.report(stream, beat(hub, stream).id, [CommandState.REJECTED], reason="no", instant=1)
        times.pass_(1)
        hub.report(stream, beat(hub, stream).id, [CommandState.VERIFIED], reason="", instant=1)
        assert isinstance(beat(hub, stream), Standing)
        times.pass_(LEASE_S / 2)
        assert isinstance(beat(hub, stream), LeasedCommand)


class TestReports:
    def say(self, hub, stream, command, *states, reason=""):
        hub.report(stream, command.id, states, reason=reason, instant=1)

    def kept(self, hub, site):
        asyncio.run(hub.flush())
        return [(row["command_id"], row["state"], row["reason"]) for row in site.rows("reports")]

    def test_they_go_to_the_window_of_their_command(self, hub, site, times):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        hub.offer("village", window(900), setpoints(BATTERY, 2, start=900))
        stream = join(hub)
        for _ in range(2):
            self.say(hub, stream, beat(hub, stream), CommandState.APPLIED)
            times.pass_(900)
        asyncio.run(hub.flush())
        rows = [(row["window"], row["state"]) for row in site.rows("reports")]
        assert (window().name, "APPLIED") in rows
        assert (window(900).name, "APPLIED") in rows

    def test_of_an_older_command_nothing_is_kept(self, hub, site):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        older = beat(hub, stream)
        hub.offer("village", window(), setpoints(BATTERY, 2))
        hub.answer(stream)
        self.say(hub, stream, older, CommandState.APPLIED)
        assert self.kept(hub, site) == [(older.id, "SUPERSEDED", "")]

    def test_the_reason_belongs_to_where_it_stands(self, hub, site):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        command = beat(hub, stream)
        self.say(hub, stream, command, CommandState.APPLIED, CommandState.DIVERGED, reason="empty")
        assert sorted(self.kept(hub, site)) == [(command.id, "APPLIED", ""), (command.id, "DIVERGED", "empty")]

    def test_a_renewal_is_kept_only_where_it_goes_otherwise(self, hub, site, times):
        hub.offer("village", window(), setpoints(BATTERY, 1, 1))
        stream = join(hub)
        first = beat(hub, stream)
        self.say(hub, stream, first, CommandState.APPLIED, CommandState.VERIFIED)
        for outcome in (CommandState.VERIFIED, CommandState.DIVERGED, CommandState.DIVERGED):
            times.pass_(50)
            last = beat(hub, stream)
            self.say(hub, stream, last, CommandState.APPLIED, outcome)
        kept = self.kept(hub, site)
        assert [state for _, state, _ in kept if state == "DIVERGED"] == ["DIVERGED"]
        assert {id_ for id_, _, _ in kept} == {first.id, f"village/{BATTERY}/5/3"}

    def test_a_lease_that_ends_unrenewed_has_expired(self, hub, site, times):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        command = beat(hub, stream)
        times.pass_(LEASE_S - 1)
        hub.tick()
        times.pass_(1)
        for _ in range(2):
            hub.tick()
        self.say(hub, stream, command, CommandState.VERIFIED)
        assert self.kept(hub, site) == [(command.id, "EXPIRED", "")]

    def test_what_the_controller_decides_no_driver_says(self, hub, site):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        command = beat(hub, stream)
        self.say(hub, stream, command, CommandState.EXPIRED, CommandState.SUPERSEDED)
        assert self.kept(hub, site) == []

    @pytest.mark.parametrize("state", [CommandState.REJECTED, CommandState.FAILED])
    def test_what_does_not_act_is_commanded_anew_with_a_heartbeat_a_second_later(self, hub, times, state):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        self.say(hub, stream, beat(hub, stream), state, reason="mute")
        times.pass_(1)
        assert isinstance(beat(hub, stream), LeasedCommand)
        assert isinstance(beat(hub, stream), Standing)

    def test_verified_is_what_was_read_back_last(self, hub):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        command = beat(hub, stream)
        said = []
        for state in (CommandState.APPLIED, CommandState.VERIFIED, CommandState.DIVERGED):
            self.say(hub, stream, command, state)
            said.append(hub.verified("village", BATTERY))
        assert said == [False, True, False]


class TestStreams:
    def test_a_newer_one_ends_the_older(self, hub):
        older = join(hub)
        newer = join(hub)
        assert older.ending.error.reason == "SUPERSEDED"
        hub.leave(older)
        assert hub.connected("village") == {BATTERY}
        hub.leave(newer)
        assert hub.connected("village") == set()

    @pytest.mark.parametrize("lost", ["superseded", "silent", "forgotten"])
    def test_who_is_not_its_devices_any_more_is_heard_no_more(self, hub, site, times, lost):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        command = beat(hub, stream)
        match lost:
            case "superseded":
                join(hub)
            case "silent":
                times.pass_(76)
                hub.tick()
            case "forgotten":
                hub.forget("village", BATTERY)
        hub.observe(stream, state(1))
        hub.report(stream, command.id, [CommandState.APPLIED], reason="", instant=1)
        asyncio.run(hub.flush())
        assert hub.observed("village") == {}
        assert site.rows("device_states") == []
        assert site.rows("reports") == []

    def test_one_that_falls_silent_ends(self, hub, times):
        stream = join(hub)
        times.pass_(75)
        hub.tick()
        assert stream.ending is None
        times.pass_(1)
        hub.tick()
        assert stream.ending.error.reason == "SILENT"
        assert hub.connected("village") == set()

    def test_how_long_that_is_may_be_said(self, site, times):
        hub = make(site, times, silence_s=1000)
        stream = join(hub)
        for _ in range(2):
            assert stream.ending is None
            times.pass_(501)
            hub.tick()
        assert stream.ending.error.reason == "SILENT"

    def test_telemetry_and_reports_break_the_silence(self, hub, times):
        stream = join(hub)
        for _ in range(4):
            times.pass_(70)
            hub.observe(stream, state(1))
            hub.tick()
        hub.report(stream, "x", [], reason="", instant=1)
        times.pass_(70)
        hub.tick()
        assert stream.ending is None

    def test_a_day_that_the_wall_clock_leaps_ends_none(self, hub, times):
        stream = join(hub)
        for leap in (86_400, -2 * 86_400):
            times.wall.instant += leap
            hub.tick()
        assert stream.ending is None

    def test_that_of_a_device_that_is_gone_ends(self, hub):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        hub.forget("village", BATTERY)
        assert stream.ending.error.reason == "NOT_FOUND"
        assert hub.registered("village", BATTERY) is None
        hub.offer("village", window(), setpoints(BATTERY, 1))
        hub.register("village", BATTERY, Registered(mtu_seconds=MTU_S))
        assert beat(hub, join(hub)).sequence == 0

    def test_when_the_service_stops_each_is_told_when_to_come_back(self, site, times):
        hub = make(site, times, connects_per_s=2)
        streams = [join(hub, f"ada/{name}") for name in ("x", "y", "z")]
        hub.dismiss()
        assert [stream.ending for stream in streams] == [Ending(come_back_s=after) for after in (1.0, 1.5, 2.0)]

    def test_phases_are_spread_over_the_interval(self, hub):
        phases = []
        for number in range(100):
            join(hub, f"ada/d{number}")
            phases.append(hub.phase_s())
        assert 0 < min(phases) < max(phases) <= hub.heartbeat_s
        gaps = [b - a for a, b in zip(sorted(phases), sorted(phases)[1:], strict=False)]
        assert max(gaps) < 3 * hub.heartbeat_s / 100


def state(instant, **changes):
    values = {"power_w": 2, "closed_s": 3, "stored_wh": 4}
    return DeviceState(device=BATTERY, instant=instant, **(values | changes))


class TestTelemetry:
    def test_the_newest_is_observed_with_the_instant_of_its_arrival(self, hub, times):
        stream = join(hub)
        times.mono.instant = 7.0
        hub.observe(stream, state(9))
        times.mono.instant = 8.0
        hub.observe(stream, state(1))
        found = hub.observed("village")[BATTERY]
        assert (found.state.instant, found.arrived) == (9, 7.0)

    def test_what_arrives_late_does_not_take_the_place_of_newer(self, hub, site):
        stream = join(hub)
        for instant in (9, 1):
            hub.observe(stream, state(instant))
            asyncio.run(hub.flush())
        assert [row["instant"] for row in site.rows("device_states")] == [9]

    def test_what_was_flushed_is_not_flushed_again(self, hub, site):
        hub.observe(join(hub), state(1))
        asyncio.run(hub.flush())
        assert len(site.rows("device_states")) == 1
        site.database.commits_left = 1  # a second write would stop the machine
        asyncio.run(hub.flush())
        site.database.commits_left = None

    def test_flushing_nothing_writes_nothing(self, hub, site):
        site.database.commits_left = 1
        asyncio.run(hub.flush())
        site.database.commits_left = None

    def test_what_could_not_be_flushed_is_kept_for_the_next_time(self, hub, site, monkeypatch):
        hub.offer("village", window(), setpoints(BATTERY, 1))
        declared = Declared(failsafe=Target(SetpointKind.POWER, 0), lower_w=-5, upper_w=5)
        stream = join(hub, declared=declared)
        hub.observe(stream, state(1))
        command = beat(hub, stream)
        hub.report(stream, command.id, [CommandState.APPLIED], reason="", instant=1)

        def full(*_):
            raise StoreError("disk full")

        with monkeypatch.context() as broken:
            broken.setattr(site.database, "run_async", full)
            with pytest.raises(StoreError):
                asyncio.run(hub.flush())
        hub.observe(stream, state(9))
        asyncio.run(hub.flush())
        assert [row["instant"] for row in site.rows("device_states")] == [9]
        assert [row["state"] for row in site.rows("reports")] == ["APPLIED"]
        assert site.database.run(drivers.declarations, "village") == {BATTERY: declared}

    def test_of_more_reports_than_are_kept_the_oldest_go(self, hub, site, monkeypatch):
        monkeypatch.setattr(said, "MOST_REPORTS", 2)
        hub = make(site, Times())
        hub.register("village", BATTERY, Registered(mtu_seconds=MTU_S))
        hub.offer("village", window(), setpoints(BATTERY, 1))
        stream = join(hub)
        command = beat(hub, stream)

        def report(*states):
            for state_ in states:
                hub.report(stream, command.id, [state_], reason="", instant=1)

        def stopped(*_):
            report(CommandState.APPLIED, CommandState.VERIFIED)  # while the store is waited for
            raise StoreError("stopped")

        report(CommandState.ACCEPTED)
        with monkeypatch.context() as broken:
            broken.setattr(site.database, "run_async", stopped)
            with pytest.raises(StoreError):
                asyncio.run(hub.flush())
        asyncio.run(hub.flush())
        assert [row["state"] for row in site.rows("reports")] == ["APPLIED", "VERIFIED"]

    @pytest.mark.parametrize("flushed", [False, True])
    def test_what_was_declared_goes_with_the_device(self, hub, site, flushed):
        join(hub, declared=Declared(failsafe=Target(SetpointKind.POWER, 2000)))
        if flushed:
            asyncio.run(hub.flush())
        site.database.run(registry.remove_device, "village", BATTERY)
        hub.forget("village", BATTERY)
        asyncio.run(hub.flush())
        assert site.rows("declarations") == []

    def test_what_is_written_after_the_device_was_deleted_is_not_kept(self, hub, site):
        join(hub, declared=Declared(failsafe=Target(SetpointKind.POWER, 2000)))
        site.database.run(registry.remove_device, "village", BATTERY)
        asyncio.run(hub.flush())
        assert site.rows("declarations") == []


class TestRestore:
    def told(self, site, now):
        times = Times()
        times.wall.instant = now
        hub = make(site, times)
        hub.restore()
        found = beat(hub, join(hub))
        return None if isinstance(found, Standing) else [(s.start, s.target.value) for s in found.setpoints]

    def kept(self, site, *numbers):
        names = {site.window(number) for number in numbers}
        rows = [r for r in site.rows("setpoints") if r["device"] == BATTERY and r["window"] in names]
        return [(r["mtu_start"], r["value"]) for r in rows]

    def test_running_and_coming_windows_act_on(self, site):
        site.live(until=site.start + 1500)
        assert self.told(site, site.start + 900) == self.kept(site, 0, 1)[1:]

    def test_the_tail_of_a_failed_window_acts_on(self, site):
        site.live(until=site.start)
        site.solver.script.append(SolverError("no"))
        site.live(until=site.start + 1800)
        assert site.row(1).source == "TAIL"
        assert self.told(site, site.start + 1800) == self.kept(site, 1)

    def test_failsafes_are_not_told(self, site):
        site.solver.script.append(SolverError("no"))
        site.live(until=site.start)
        assert self.told(site, site.start) is None

    def test_declarations_and_registrations_are_known_again(self, hub, site, times):
        declared = Declared(failsafe=Target(SetpointKind.POWER, 0), upper_w=5)
        join(hub, declared=declared)
        asyncio.run(hub.flush())
        again = make(site, times)
        again.restore()
        assert again.failsafes("village") == {BATTERY: declared}
        assert again.registered("village", "bob/boiler").ability.max_consumption_w == 1501

    def test_a_device_whose_powers_are_none_keeps_nobody_from_being_known(self, site, times):
        backwards = vehicle(0, 3600, levels=(ChargingLevel(lower_w=4000, upper_w=3000),))
        site.database.run(registry.put_device, "village", Device(id="bob/car", member="bob", flexibility=backwards))
        again = make(site, times)
        again.restore()
        assert again.registered("village", "bob/car").ability == UNKNOWN
        assert again.registered("village", "bob/boiler").ability.max_consumption_w == 1501
