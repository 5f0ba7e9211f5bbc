import queue

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import RpcError, StatusCode

from controller.store import registry
from gridpact.v1 import driver_pb2 as pb

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

    def descriptor(self):
        self.say(descriptor=pb.Descriptor(device=self.name))
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

    def connect(device, **values):
        stream = Stream(site, device, **values)
        streams.append(stream)
        assert stream.descriptor().epoch
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
    def test_it_comes_first(self, site, refusal_of, message):
        stream = Stream(site, "bob/boiler")
        stream.say(**message)
        answer = stream.refused(refusal_of)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("message",))

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
        assert command.lease.ttl == Duration(seconds=120)
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
        stream = connect("eve/battery")
        assert len(stream.beat().command.setpoints) == 2
        site.clock.set(site.start + 899)
        assert len(stream.beat().command.setpoints) == 2
        site.clock.set(site.start + 900)
        assert [start for start, _, _ in setpoints(stream.beat().command)] == [site.start + 900]
        site.clock.set(site.start + 1800)
        assert stream.beat().WhichOneof("message") == "idle"

    def test_the_next_window_is_said_with_the_running_one(self, site, connect):
        site.live(until=site.start + 1500)
        command = connect("eve/battery").beat().command
        assert [start for start, _, _ in setpoints(command)] == [site.start + 900 * k for k in (1, 2, 3)]
        assert command.window == site.window(0)

    def test_sequence_and_command_id_rise_over_streams(self, site, connect):
        site.live(until=site.start)
        one, other = connect("eve/battery"), connect("eve/battery")
        commands = [stream.beat().command for stream in (one, other, one)]
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


@pytest.mark.slow
def test_stopping_the_service_ends_the_streams(make_site):
    site = make_site("village")
    stream = Stream(site, "bob/boiler")
    stream.descriptor()
    site.loop.run(site.service.stop())  # lets streams end by themselves for two seconds
    with pytest.raises(RpcError):
        stream.hear()
