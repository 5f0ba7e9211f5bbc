import asyncio
import queue
from types import SimpleNamespace

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import RpcError, StatusCode

from controller.composing import SignedLimit, Target
from controller.herd import Herd
from controller.microgrid import SetpointKind
from controller.refusals import Refusal
from controller.services.driver import DriverServicer
from controller.store import registry
from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import participant_pb2, types_pb2
from tests.controller.village import flexibilities
from tests.controller.village_site import LEASE_S

DEVICE = "microgrids/village/members/{}/devices/{}"


class Stream:
    """A driver's end of its stream, one message at a time."""

    def __init__(self, site, device, *, grid="village", name=None):
        self.site = site
        self.name = name or DEVICE.format(*device.split("/"))
        self.sent = queue.SimpleQueue()
        self.answers = site.driver(device, grid).Connect(iter(self.sent.get, None), timeout=20)
        self.counter = 0

    def say(self, **message):
        self.sent.put(pb.ConnectRequest(**message))

    def hear(self):
        return next(self.answers)

    def descriptor(self, **values):
        self.say(descriptor=pb.Descriptor(device=self.name, **values))
        return self.hear().welcome

    def beat(self, counter=None):
        self.counter = self.counter + 1 if counter is None else counter
        self.say(heartbeat=pb.Heartbeat(counter=self.counter))
        return self.hear()

    def refused(self, refusal_of):
        with pytest.raises(RpcError) as caught:
            self.hear()
        return refusal_of(caught.value)

    def close(self):
        self.sent.put(None)
        assert list(self.answers) == []


@pytest.fixture
def connect(site):
    """Opens streams; each has a certificate of its own and has said its descriptor."""
    streams = []

    def connect(device, **descriptor):
        stream = Stream(site, device)
        streams.append(stream)
        assert stream.descriptor(**descriptor).epoch
        return stream

    yield connect
    for stream in streams:
        stream.answers.cancel()


def telemetry(site, **values):
    return pb.Telemetry(measure_time=Timestamp(seconds=int(site.clock.now())), **values)


def setpoints(command):
    return [
        (
            setpoint.interval.start_time.seconds,
            setpoint.interval.end_time.seconds,
            getattr(setpoint, setpoint.WhichOneof("target")),
        )
        for setpoint in command.setpoints
    ]


class TestGreeting:
    def test_it_says_the_epoch_and_the_time(self, site):
        stream = Stream(site, "bob/boiler")
        site.clock.set(site.start - 1000.5)
        welcome = stream.descriptor()
        assert welcome.epoch == site.rows("controllers")[0]["epoch"]
        assert welcome.controller_time.seconds == site.start - 1001
        stream.close()

    def test_the_epoch_rises_with_each_start_of_the_service(self, site):
        epochs = []
        for _ in range(3):
            stream = Stream(site, "bob/boiler")
            epochs.append(stream.descriptor().epoch)
            stream.close()
            site.restart()
        assert epochs == [epochs[0], epochs[0] + 1, epochs[0] + 2]

    @pytest.mark.parametrize(
        "message",
        [
            {"heartbeat": pb.Heartbeat(counter=1)},
            {"telemetry": pb.Telemetry()},
            {"report": pb.CommandReport()},
            {},
        ],
        ids=["heartbeat", "telemetry", "report", "nothing"],
    )
    def test_it_comes_first(self, site, refusal_of, message, caplog):
        caplog.set_level("INFO")
        stream = Stream(site, "bob/boiler")
        stream.say(**message)
        answer = stream.refused(refusal_of)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("message",))
        assert "driver bob/boiler: its stream is refused: INVALID_ARGUMENT: message: got" in caplog.text

    def test_it_comes_once(self, connect, refusal_of):
        stream = connect("bob/boiler")
        stream.say(descriptor=pb.Descriptor(device=stream.name))
        assert stream.refused(refusal_of).fields == ("message",)

    @pytest.mark.parametrize(
        ("driver", "device"),
        [("ada/pv", "bob/boiler"), ("bob/fridge", "bob/fridge"), ("bob/boiler", "bob/fridge"), ("bob", "bob/boiler")],
    )
    def test_only_the_named_driver_of_a_registered_device_is_served(self, site, refusal_of, driver, device):
        stream = Stream(site, driver, name=DEVICE.format(*device.split("/")))
        stream.say(descriptor=pb.Descriptor(device=stream.name))
        answer = stream.refused(refusal_of)
        assert answer.code is StatusCode.NOT_FOUND
        assert answer.message == f"{stream.name!r}: not found"

    def test_a_malformed_name_is_invalid(self, site, refusal_of):
        stream = Stream(site, "bob/boiler", name="bob/boiler")
        stream.say(descriptor=pb.Descriptor(device=stream.name))
        answer = stream.refused(refusal_of)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("descriptor.device",))


class TestHeartbeat:
    def test_it_is_answered_idle_when_nothing_is_meant(self, connect):
        answer = connect("bob/boiler").beat(7)
        assert answer.idle == pb.Idle(heartbeat_counter=7)

    def test_a_window_that_has_not_begun_means_nothing_yet(self, site, connect):
        site.advance(site.start - 300)
        assert site.states()[0] == "CLEARED"
        assert connect("bob/boiler").beat().WhichOneof("message") == "idle"

    def test_it_is_answered_by_the_setpoints_under_a_lease(self, site, connect):
        site.advance(site.start - 300)
        site.clock.set(site.start)
        command = connect("bob/boiler").beat(41).command
        assert command.window == site.window(0)
        assert command.lease.heartbeat_counter == 41
        assert command.lease.ttl == Duration(seconds=LEASE_S)
        assert command.lease.epoch == site.rows("controllers")[0]["epoch"]
        rows = [row for row in site.rows("setpoints") if row["device"] == "bob/boiler"]
        assert setpoints(command) == [(r["mtu_start"], r["mtu_start"] + 900, bool(r["value"])) for r in rows]

    @pytest.mark.parametrize(
        ("device", "target"),
        [("bob/boiler", "relay_closed"), ("eve/battery", "power_w"), ("ada/pv", "production_limit_w")],
    )
    def test_each_device_is_told_in_its_own_terms(self, site, connect, device, target):
        site.live(until=site.start)
        command = connect(device).beat().command
        assert {setpoint.WhichOneof("target") for setpoint in command.setpoints} == {target}
        values = [row["value"] for row in site.rows("setpoints") if row["device"] == device]
        assert [value for _, _, value in setpoints(command)] == values

    def test_what_is_over_is_not_said_again(self, site, connect):
        site.live(until=site.start)
        assert len(connect("eve/battery").beat().command.setpoints) == 2
        site.clock.set(site.start + 899)
        assert len(connect("eve/battery").beat().command.setpoints) == 2
        site.clock.set(site.start + 900)
        assert [start for start, _, _ in setpoints(connect("eve/battery").beat().command)] == [site.start + 900]
        site.clock.set(site.start + 1800)
        assert connect("eve/battery").beat().WhichOneof("message") == "idle"

    def test_what_stands_is_not_said_again(self, site, connect):
        site.live(until=site.start)
        stream = connect("eve/battery")
        command = stream.beat().command
        site.clock.set(site.start + 60)
        assert stream.beat().idle == pb.Idle(heartbeat_counter=2, standing_sequence=command.lease.sequence)
        site.clock.set(site.start + LEASE_S // 2)
        assert stream.beat().idle == pb.Idle(heartbeat_counter=3)  # its window is over

    def test_the_next_window_is_said_with_the_running_one(self, site, connect):
        site.live(until=site.start + 1500)
        command = connect("eve/battery").beat().command
        assert [start for start, _, _ in setpoints(command)] == [site.start + 900 * k for k in (1, 2, 3)]
        assert command.window == site.window(0)

    def test_sequence_and_command_id_rise_over_streams(self, site, connect):
        site.live(until=site.start)
        commands = [connect("eve/battery").beat().command for _ in range(3)]
        assert [command.lease.sequence for command in commands] == [1, 2, 3]
        assert len({command.command_id for command in commands}) == 3

    def test_setpoints_outlive_a_restart_under_a_higher_epoch(self, site):
        site.live(until=site.start)
        stream = Stream(site, "eve/battery")
        stream.descriptor()
        before = stream.beat().command
        stream.close()
        site.restart()
        stream = Stream(site, "eve/battery")
        stream.descriptor()
        after = stream.beat().command
        assert after.setpoints == before.setpoints
        assert after.lease.epoch == before.lease.epoch + 1
        assert after.command_id != before.command_id
        stream.close()

    @pytest.mark.parametrize("counter", [0, 4, 5])
    def test_its_counter_rises(self, connect, refusal_of, counter):
        stream = connect("bob/boiler")
        stream.beat(5)
        stream.say(heartbeat=pb.Heartbeat(counter=counter))
        answer = stream.refused(refusal_of)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("heartbeat.counter",))

    def test_its_counter_may_leave_gaps_and_begins_anew_with_a_stream(self, connect):
        assert connect("bob/boiler").beat(2**64 - 1).idle.heartbeat_counter == 2**64 - 1
        assert connect("bob/boiler").beat(1).idle.heartbeat_counter == 1

    def test_nobody_hears_a_neighbours_setpoints(self, site, connect):
        site.live(until=site.start)
        devices = {row["device"] for row in site.rows("setpoints")}
        for device in devices:
            said = [value for _, _, value in setpoints(connect(device).beat().command)]
            assert said == [row["value"] for row in site.rows("setpoints") if row["device"] == device]


class TestTelemetry:
    def test_the_newest_lands_in_the_store_with_the_next_step(self, site, connect):
        stream = connect("eve/battery")
        stream.say(telemetry=telemetry(site, power_w=-120, stored_wh=900))
        site.clock.set(site.clock.now() + 60)
        stream.say(telemetry=telemetry(site, power_w=130, stored_wh=901, closed_duration=Duration(seconds=3)))
        stream.beat()
        assert site.rows("device_states") == []
        site.advance()
        assert site.rows("device_states") == [
            {
                "microgrid": "village",
                "device": "eve/battery",
                "instant": int(site.clock.now()),
                "power_w": 130,
                "closed_s": 3,
                "stored_wh": 901,
                "closed": None,
                "held_s": None,
                "starts_today": None,
                "temperature_milli_c": None,
            }
        ]

    def test_a_device_says_how_long_how_often_and_how_warm(self, site, connect):
        stream = connect("bob/boiler")
        values = {"relay_closed": False, "starts_today": 0, "temperature_milli_c": -5}
        stream.say(telemetry=telemetry(site, state_duration=Duration(seconds=1800), **values))
        stream.beat()
        site.advance()
        (row,) = site.rows("device_states")
        assert (row["closed"], row["held_s"], row["starts_today"], row["temperature_milli_c"]) == (0, 1800, 0, -5)
        state = site.database.run(registry.device_states, "village")["bob/boiler"]
        assert (state.closed, state.held_s) == (False, 1800)

    def test_an_older_one_that_comes_late_does_not_count(self, site, connect):
        stream = connect("eve/battery")
        site.clock.set(site.clock.now() + 60)
        newer, older = telemetry(site, stored_wh=901), telemetry(site, stored_wh=900)
        older.measure_time.seconds -= 1
        for message in (newer, older):
            stream.say(telemetry=message)
        stream.beat()
        site.advance()
        assert [row["stored_wh"] for row in site.rows("device_states")] == [901]

    def test_what_is_not_measured_is_not_zero(self, site, connect):
        stream = connect("bob/boiler")
        stream.say(telemetry=telemetry(site))
        stream.beat()
        site.advance()
        assert [row["stored_wh"] for row in site.rows("device_states")] == [None]

    def test_it_counts_in_the_next_clearing(self, site, connect):
        stream = connect("bob/boiler")
        stream.say(telemetry=telemetry(site, closed_duration=Duration(seconds=2700)))
        stream.beat()
        site.live(until=site.start)
        assert {row["value"] for row in site.rows("setpoints") if row["device"] == "bob/boiler"} == {0}

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"power_w": 10**9 + 1}, "power_w"),
            ({"power_w": -(10**9) - 1}, "power_w"),
            ({"stored_wh": -1}, "stored_wh"),
            ({"stored_wh": 10**12 + 1}, "stored_wh"),
            ({"closed_duration": Duration(seconds=-1)}, "closed_duration"),
            ({"measure_time": Timestamp(seconds=0)}, "measure_time"),
            ({"state_duration": Duration(seconds=-1)}, "state_duration"),
            ({"starts_today": -1}, "starts_today"),
            ({"temperature_milli_c": 10**6 + 1}, "temperature_milli_c"),
        ],
    )
    def test_an_absurd_number_ends_the_stream(self, site, connect, refusal_of, change, field):
        stream = connect("eve/battery")
        message = telemetry(site)
        for name in change:
            message.ClearField(name)
        message.MergeFrom(pb.Telemetry(**change))
        stream.say(telemetry=message)
        answer = stream.refused(refusal_of)
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, (f"telemetry.{field}",))
        site.advance()
        assert site.rows("device_states") == []

    @pytest.mark.parametrize(("closed", "power_w"), [(True, None), (False, 0)])
    def test_without_a_meter_the_relay_counts_and_power_only_where_it_is_open(self, site, connect, closed, power_w):
        stream = connect("bob/boiler")
        stream.say(telemetry=telemetry(site, relay_closed=closed, power_unmeasured=True))
        stream.beat()
        seen = site.service._hub.observed("village")["bob/boiler"]
        assert (seen.state.closed, seen.measured_w) == (closed, power_w)

    @pytest.mark.parametrize(
        ("change", "field"), [({"power_w": 5, "relay_closed": True}, "power_w"), ({}, "relay_closed")]
    )
    def test_a_device_without_a_meter_says_its_relay_and_no_power(self, site, connect, refusal_of, change, field):
        stream = connect("bob/boiler")
        stream.say(telemetry=telemetry(site, power_unmeasured=True, **change))
        answer = stream.refused(refusal_of)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, (f"telemetry.{field}",))

    def test_a_measurement_of_the_future_ends_the_stream(self, site, connect, refusal_of):
        """Kept, it would hide all that is measured until then."""
        stream = connect("eve/battery")
        message = telemetry(site)
        message.measure_time.seconds += 120
        stream.say(telemetry=message)
        stream.beat()
        message.measure_time.seconds += 1
        stream.say(telemetry=message)
        answer = stream.refused(refusal_of)
        assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("telemetry.measure_time",))


class TestReport:
    def report(self, site, command_id, state=pb.COMMAND_STATE_APPLIED, **values):
        observed = Timestamp(seconds=int(site.clock.now()))
        return pb.CommandReport(command_id=command_id, state=state, observe_time=observed, **values)

    def test_it_lands_in_the_store_beside_its_window(self, site, connect):
        site.live(until=site.start)
        stream = connect("eve/battery")
        command = stream.beat().command
        stream.say(report=self.report(site, command.command_id))
        stream.say(report=self.report(site, command.command_id, pb.COMMAND_STATE_DIVERGED, reason="empty"))
        stream.beat()
        site.advance()
        rows = {row["state"]: row for row in site.rows("reports")}
        assert set(rows) == {"APPLIED", "DIVERGED"}
        assert rows["DIVERGED"] == {
            "window": site.window(0),
            "device": "eve/battery",
            "command_id": command.command_id,
            "state": "DIVERGED",
            "reason": "empty",
            "instant": site.start,
        }

    def test_said_twice_it_counts_once(self, site, connect):
        site.live(until=site.start)
        stream = connect("eve/battery")
        report = self.report(site, stream.beat().command.command_id)
        for _ in range(2):
            stream.say(report=report)
        stream.say(descriptor=pb.Descriptor())  # refused, once all before it was heard
        with pytest.raises(RpcError):
            stream.hear()
        site.advance()
        assert len(site.rows("reports")) == 1

    def test_of_a_command_that_was_never_given_nothing_is_kept(self, site, connect):
        site.live(until=site.start)
        boiler, battery = connect("bob/boiler"), connect("eve/battery")
        command = boiler.beat().command
        battery.beat()
        battery.say(report=self.report(site, command.command_id))
        battery.say(report=self.report(site, "made-up"))
        battery.beat()
        site.advance()
        assert site.rows("reports") == []

    def test_one_may_say_the_whole_way(self, site, connect):
        site.live(until=site.start)
        stream = connect("eve/battery")
        passed = [pb.COMMAND_STATE_RECEIVED, pb.COMMAND_STATE_ACCEPTED, pb.COMMAND_STATE_APPLIED]
        command = stream.beat().command
        stream.say(report=self.report(site, command.command_id, pb.COMMAND_STATE_VERIFIED, passed=passed))
        stream.beat()
        site.advance()
        assert {row["state"] for row in site.rows("reports")} == {"RECEIVED", "ACCEPTED", "APPLIED", "VERIFIED"}

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"command_id": "x" * 201}, "command_id"),
            ({"passed": [pb.COMMAND_STATE_RECEIVED] * 11}, "passed"),
            ({"passed": [pb.COMMAND_STATE_RECEIVED, 99]}, "passed[1]"),
            ({"observe_time": Timestamp(seconds=5)}, "observe_time"),
            ({"observe_time": Timestamp(seconds=4_000_000_000)}, "observe_time"),
        ],
    )
    def test_an_absurd_one_ends_the_stream(self, site, connect, refusal_of, values, field):
        stream = connect("bob/boiler")
        report = self.report(site, "x")
        for name in values:
            report.ClearField(name)
        report.MergeFrom(pb.CommandReport(**values))
        stream.say(report=report)
        assert stream.refused(refusal_of).fields == (f"report.{field}",)

    @pytest.mark.parametrize("state", [pb.COMMAND_STATE_UNSPECIFIED, 99])
    def test_an_unknown_state_ends_the_stream(self, site, connect, refusal_of, state):
        stream = connect("bob/boiler")
        stream.say(report=self.report(site, "x", state))
        answer = stream.refused(refusal_of)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("report.state",))


def test_a_driver_that_leaves_leaves_no_trace(site, connect):
    before = site.rows()
    stream = connect("bob/boiler")
    stream.close()
    site.advance()
    assert site.rows() == before


def test_a_service_that_stops_says_when_to_come_back(make_site):
    site = make_site("village")
    stream = Stream(site, "bob/boiler")
    stream.descriptor()
    site.loop.run(site.service.stop())
    assert 1000 <= stream.hear().come_back.after.ToMilliseconds() < 2000
    assert list(stream.answers) == []
    site.database.close()
    site.open()


class TestPush:
    @pytest.fixture
    def stream(self, site, connect):
        site.live(until=site.start)
        stream = connect("bob/boiler", accepts_pushes=True)
        stream.beat()
        return stream

    def override(self, site, target):
        async def on_the_loop():
            site.service._hub.set_override("village", "bob/boiler", target, site.start + 300)

        site.loop.run(on_the_loop())

    def test_what_changes_is_told_unasked_under_the_newest_heartbeat(self, site, stream):
        planned = next(row["value"] for row in site.rows("setpoints") if row["device"] == "bob/boiler")
        self.override(site, Target(SetpointKind.RELAY, 1 - planned))
        command = stream.hear().command
        assert command.lease.heartbeat_counter == 1
        assert setpoints(command)[0] == (site.start, site.start + 300, bool(1 - planned))
        assert setpoints(command)[1] == (site.start + 300, site.start + 900, bool(planned))

    def test_who_does_not_read_gets_the_newest_when_it_reads(self, site, stream):
        async def change_often():
            hub = site.service._hub
            for number in range(3000):
                target = Target(SetpointKind.RELAY, number % 2)
                hub.set_override("village", "bob/boiler", target, site.start + 300 + number)
                await asyncio.sleep(0)

        site.loop.run(change_often())
        heard = [stream.hear().command]
        while setpoints(heard[-1])[0] != (site.start, site.start + 3299, True):
            heard.append(stream.hear().command)
        assert len(heard) < 3000
        sequences = [command.lease.sequence for command in heard]
        assert sequences == sorted(sequences)

    def test_a_new_window_is_told_unasked(self, site, stream):
        site.live(until=site.start + 1500)
        assert site.start + 1800 in [start for start, _, _ in setpoints(stream.hear().command)]

    def test_an_old_driver_hears_of_it_with_its_next_heartbeat(self, site, connect):
        site.live(until=site.start)
        stream = connect("bob/boiler")
        values = []
        for value in (0, 1, 0):
            self.override(site, Target(SetpointKind.RELAY, value))
            values.append(setpoints(stream.beat().command)[0][2])
        assert values == [False, True, False]

    def test_a_limit_comes_as_the_dso_signed_it(self, site, stream):
        class Off:
            max_consumption_w = 0
            max_production_w = None

        async def limit():
            hub = site.service._hub
            hub.caps = lambda microgrid, device, now: Off()
            hub.limits_of = lambda microgrid, device: [
                SignedLimit(name="microgrids/village/envelopes/e", payload=b"p", signature=b"s", key_id="k")
            ]
            hub.push("village")

        self.override(site, Target(SetpointKind.RELAY, 1))
        assert setpoints(stream.hear().command)[0] == (site.start, site.start + 300, True)
        site.loop.run(limit())
        command = stream.hear().command
        assert setpoints(command)[0] == (site.start, site.start + 300, False)
        assert command.curtailed_by == "microgrids/village/envelopes/e"
        assert list(command.limits) == [types_pb2.Signed(payload=b"p", signature=b"s", key_id="k")]


class TestTwoStreams:
    def test_the_newer_ends_the_older(self, connect, refusal_of):
        older, newer = connect("bob/boiler"), connect("bob/boiler")
        answer = older.refused(refusal_of)
        assert (answer.code, answer.reason) == (StatusCode.ABORTED, "SUPERSEDED")
        assert newer.beat().idle.heartbeat_counter == 1


class TestWelcome:
    def test_it_tells_the_intervals(self, site):
        stream = Stream(site, "bob/boiler")
        welcome = stream.descriptor()
        assert welcome.heartbeat_interval == welcome.telemetry_interval == Duration(seconds=LEASE_S // 3)
        assert 0 < welcome.heartbeat_phase.ToMilliseconds() <= LEASE_S // 3 * 1000
        stream.close()

    def test_a_driver_that_is_let_in_later_is_told_when(self, site, refusal_of):
        site.service._hub._herd = Herd(0.5)
        Stream(site, "ada/pv").descriptor()
        stream = Stream(site, "bob/boiler")
        stream.say(descriptor=pb.Descriptor(device=stream.name))
        answer = stream.refused(refusal_of)
        assert (answer.code, answer.reason) == (StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_AT_ONCE")
        assert answer.retry_s == 2
        site.clock.set(site.clock.now() + 2)
        assert Stream(site, "bob/boiler").descriptor().epoch


class TestDescriptor:
    def declared(self, site):
        return dict(site.service._hub.failsafes("village"))

    def test_what_it_declares_is_kept(self, site, connect):
        bounds = types_pb2.PowerBounds(lower_w=0, upper_w=1501)
        connect("bob/boiler", bounds=bounds, failsafe=types_pb2.Failsafe(relay_closed=False))
        site.advance()
        assert site.rows("declarations") == [
            {
                "microgrid": "village",
                "device": "bob/boiler",
                "failsafe_kind": "RELAY",
                "failsafe_value": 0,
                "lower_w": 0,
                "upper_w": 1501,
            }
        ]
        site.restart()
        assert set(self.declared(site)) == {"bob/boiler"}

    @pytest.mark.parametrize(
        ("values", "code", "field"),
        [
            ({"bounds": {"lower_w": 2, "upper_w": 1}}, StatusCode.INVALID_ARGUMENT, "bounds"),
            ({"bounds": {"lower_w": -(2**63)}}, StatusCode.OUT_OF_RANGE, "bounds.lower_w"),
            ({"bounds": {"upper_w": 2**63 - 1}}, StatusCode.OUT_OF_RANGE, "bounds.upper_w"),
            (
                {"bounds": {"upper_w": 5}, "failsafe": {"power_w": 6}},
                StatusCode.OUT_OF_RANGE,
                "failsafe.power_w",
            ),
            ({"failsafe": {"production_limit_w": -1}}, StatusCode.OUT_OF_RANGE, "failsafe.production_limit_w"),
            ({"failsafe": {"power_w": 2**63 - 1}}, StatusCode.OUT_OF_RANGE, "failsafe.power_w"),
        ],
    )
    def test_what_cannot_be_is_refused(self, site, refusal_of, values, code, field):
        stream = Stream(site, "bob/boiler")
        stream.say(descriptor=pb.Descriptor(device=stream.name, **values))
        answer = stream.refused(refusal_of)
        assert (answer.code, answer.fields) == (code, (f"descriptor.{field}",))
        assert self.declared(site) == {}

    def test_a_gateway_serves_the_devices_that_name_it(self, site, refusal_of):
        name = DEVICE.format("bob", "boiler")
        self.name_gateway(site, "cellar")
        assert Stream(site, "bob/boiler", name=name).descriptor().epoch
        served = Stream(site, "cellar", name=name)
        assert served.descriptor().epoch
        for driver, device in (("attic", name), ("cellar", DEVICE.format("ada", "pv"))):
            stream = Stream(site, driver, name=device)
            stream.say(descriptor=pb.Descriptor(device=device))
            assert stream.refused(refusal_of).code is StatusCode.NOT_FOUND
        site.restart()
        served = Stream(site, "cellar", name=name)
        assert served.descriptor().epoch
        self.name_gateway(site, "")
        assert served.refused(refusal_of).code is StatusCode.NOT_FOUND

    def name_gateway(self, site, gateway):
        request = participant_pb2.UpdateFlexibilityRequest(
            flexibility=next(f for f in flexibilities("village") if f.device.endswith("boiler")),
            gateway=gateway,
            request_id=site.request_id(),
        )
        site.participant("bob").UpdateFlexibility(request)

    def test_a_gateway_has_a_proper_name(self, site, refusal_of):
        with pytest.raises(RpcError) as caught:
            self.name_gateway(site, "Cellar/*")
        assert refusal_of(caught.value).fields == ("gateway",)

    def test_an_endless_name_is_invalid(self, site, refusal_of):
        stream = Stream(site, "bob/boiler", name="x" * 10_000)
        stream.say(descriptor=pb.Descriptor(device=stream.name))
        assert stream.refused(refusal_of).fields == ("descriptor.device",)

    def test_who_says_nothing_is_sent_away(self, site, refusal_of):
        site.loop.run(silence(site))


async def silence(site):
    """A stream on which no descriptor comes."""

    async def nothing():
        await asyncio.sleep(3600)
        yield pb.ConnectRequest()

    servicer = DriverServicer(site.service._core, greeting_s=0.01)
    with pytest.raises(Refusal) as caught:
        await anext(servicer.Connect(nothing(), context_of("bob/boiler")))
    assert caught.value.reason == "NO_DESCRIPTOR"


def context_of(device):
    """A call of the device's own driver."""
    identity = f"spiffe://village/driver/{device}".encode()
    return SimpleNamespace(auth_context=lambda: {"ssl_tls_version": (b"TLSv1.3",), "peer_spiffe_id": (identity,)})


async def held_up(site):
    """A deleted device's stream whose driver goes on talking and does not read: what is left of what it says."""
    left = asyncio.Queue()

    async def requests():
        yield pb.ConnectRequest(descriptor=pb.Descriptor(device=DEVICE.format("eve", "battery")))
        while True:
            yield await left.get()

    answers = DriverServicer(site.service._core).Connect(requests(), context_of("eve/battery"))
    await anext(answers)
    site.service._hub.forget("village", "eve/battery")
    for counter in (1, 2, 3):
        left.put_nowait(pb.ConnectRequest(heartbeat=pb.Heartbeat(counter=counter)))
    for _ in range(10):
        await asyncio.sleep(0)
    await answers.aclose()
    return left.qsize()


class TestDeleted:
    def test_its_driver_is_sent_to_the_failsafe_then_away(self, settled, refusal_of):
        stream = Stream(settled, "eve/battery")
        stream.descriptor(accepts_pushes=True)
        assert setpoints(stream.beat().command)
        request = participant_pb2.DeleteDeviceRequest(name=stream.name, request_id=settled.request_id())
        settled.participant("eve").DeleteDevice(request)
        assert setpoints(stream.hear().command) == []
        assert stream.refused(refusal_of).code is StatusCode.NOT_FOUND
        again = Stream(settled, "eve/battery")
        again.say(descriptor=pb.Descriptor(device=again.name))
        assert again.refused(refusal_of).code is StatusCode.NOT_FOUND

    def test_its_driver_is_heard_no_more_although_it_does_not_read(self, site):
        assert site.loop.run(held_up(site)) == 2


class TestLimitedFromTheFirst:
    def test_who_reads_at_its_own_time_and_says_no_more_is_answered_all_the_same(self, settled):
        """Where anything is limited, nobody is told anything before it was looked at what limits leave to it."""
        settled.dso.CreateEnvelope(settled.envelope_request(settled.envelope("limit")))
        stream = Stream(settled, "eve/battery")
        stream.descriptor()
        stream.say(heartbeat=pb.Heartbeat(counter=1))
        stream.sent.put(None)
        assert [answer.WhichOneof("message") for answer in stream.answers] == ["command"]
