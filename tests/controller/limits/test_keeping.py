"""Limits at run time, over the wire: what the DSO says reaches drivers, whatever has stopped."""

import asyncio
import queue

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import RpcError, StatusCode

from controller.errors import StoreUnavailableError
from controller.instructions import Cause
from controller.settled_on import SettledOn
from controller.signing import verifies
from controller.store import evidence
from gridpact.v1 import driver_pb2, dso_pb2, metering_pb2, metering_pb2_grpc

NAME = "microgrids/village"
STATE = dso_pb2.SupervisionState
INVALID = StatusCode.INVALID_ARGUMENT
HELLO = {"parent": NAME, "heartbeat_counter": 1}


class Driver:
    """A device's driver that acts on what it is told as a real one does, as far as telemetry shows."""

    def __init__(self, site, device):
        self.site, self.counter = site, 0
        self.sent = queue.SimpleQueue()
        member, own = device.split("/")
        self.answers = site.driver(device).Connect(iter(self.sent.get, None), timeout=30)
        self.say(descriptor=driver_pb2.Descriptor(device=f"{NAME}/members/{member}/devices/{own}", accepts_pushes=True))
        assert self.hear().HasField("welcome")

    def say(self, **message):
        self.sent.put(driver_pb2.ConnectRequest(**message))

    def hear(self):
        return next(self.answers)

    def beat(self, power_w, **values):
        now = Timestamp(seconds=int(self.site.clock.now()))
        self.say(telemetry=driver_pb2.Telemetry(measure_time=now, power_w=power_w, **values))
        self.counter += 1
        self.say(heartbeat=driver_pb2.Heartbeat(counter=self.counter))
        return self.hear()

    def told(self):
        """The next command that was pushed: what the device shall do first."""
        command = self.hear().command
        return command, command.setpoints[0]


@pytest.fixture
def running(site):
    """The second window runs; eve's battery and bob's boiler are connected, and do what they were told."""
    site.live(until=site.start + 1800)
    drivers = {}
    for device in ("eve/battery", "bob/boiler", "ada/pv"):
        drivers[device] = Driver(site, device)
    yield site, drivers
    for driver in drivers.values():
        driver.answers.cancel()


def planned(site, device):
    at = int(site.clock.now())
    rows = site.of_window("setpoints", 1)
    return next(
        row["value"] for row in rows if row["device"] == device and row["mtu_start"] <= at < row["mtu_start"] + 900
    )


def settle_in(site, drivers):
    """Everyone reports what it was told, and hears it."""
    found = {}
    for device, driver in drivers.items():
        value = planned(site, device)
        power = {"bob/boiler": 1501 * value, "ada/pv": -value, "eve/battery": value}[device]
        found[device] = power
        driver.beat(power, relay_closed=bool(value)) if device == "bob/boiler" else driver.beat(power)
    return found


def test_a_limit_reaches_a_running_setpoint_at_once_with_what_the_dso_signed(running):
    site, drivers = running
    before = settle_in(site, drivers)
    assert before["eve/battery"] > 100, "else the case shows nothing"
    envelope = site.envelope("tight", (0, 8, None, 707 + 100), target=f"{NAME}/members/eve")
    site.dso.CreateEnvelope(site.envelope_request(envelope))
    command, setpoint = drivers["eve/battery"].told()
    assert setpoint.power_w == 100
    assert command.curtailed_by == f"{NAME}/envelopes/tight"
    (signed,) = command.limits
    assert dso_pb2.Envelope.FromString(signed.payload) == envelope
    public = site.key("wires").public_key().public_bytes_raw()
    assert verifies(public, signed.signature, "gridpact.v1.Envelope", signed.payload)


def test_who_obeys_it_is_not_billed_for_that_and_the_dso_bears_it(running):
    """Eve's meter shows much less than she bought: of it what the limit held back for a minute is made good."""
    site, drivers = running
    before = settle_in(site, drivers)["eve/battery"]
    envelope = site.envelope("tight", (0, 8, None, 707 + 100), target=f"{NAME}/members/eve")
    site.dso.CreateEnvelope(site.envelope_request(envelope))
    drivers["eve/battery"].told()
    drivers["eve/battery"].beat(100)
    at = site.start + 1800
    for second in (1, 21, 41, 61):
        site.advance(at + second)
    site.live(until=site.end)
    facts = SettledOn.from_json(site.database.run(evidence.settlement, site.window(1), 0))
    (told,) = [one for one in facts.instructions if one.mtu_start == at]
    assert (told.member, told.cause, told.payer) == ("eve", Cause.LIMIT, "dso:wires")
    assert (before - 100) * 60 // 3600 <= -told.energy_wh <= (before - 100) * 121 // 3600 + 1
    reference = f"eve {at} LIMIT dso:wires"
    amounts = {
        row["account"]: row["amount_micro"] for row in site.of_window("postings", 1) if row["reference"] == reference
    }
    assert amounts["eve"] > 0
    assert sum(amounts.values()) == 0


async def refuses(*_):
    raise StoreUnavailableError("the database has stopped")


async def hangs(*_):
    await asyncio.sleep(3600)


@pytest.mark.parametrize("answer", [refuses, hangs])
def test_it_does_so_with_the_database_stopped(running, monkeypatch, answer):
    site, drivers = running
    before = settle_in(site, drivers)
    assert before["eve/battery"] > 0
    monkeypatch.setattr(site.database, "run_async", answer)
    envelope = site.envelope("tight", (0, 8, None, 707), target=f"{NAME}/members/eve")
    site.dso.CreateEnvelope(site.envelope_request(envelope))
    _, setpoint = drivers["eve/battery"].told()
    assert setpoint.power_w == 0
    listed = site.dso.ListEnvelopes(dso_pb2.ListEnvelopesRequest(parent=NAME)).envelopes
    assert [record.envelope.name for record in listed] == [f"{NAME}/envelopes/tight"]
    assert site.rows("envelopes") == []
    monkeypatch.undo()
    site.restart()
    site.advance()
    assert [row["id"] for row in site.rows("envelopes")] == ["tight"]


def test_a_measured_load_leaves_less_to_devices(running):
    site, drivers = running
    before = settle_in(site, drivers)
    assert before["eve/battery"] > 100
    site.dso.CreateEnvelope(
        site.envelope_request(
            site.envelope("day", (0, 8, None, 707 + before["eve/battery"]), target=f"{NAME}/members/eve")
        )
    )
    now = Timestamp(seconds=int(site.clock.now()))
    sample = metering_pb2.PowerSample(
        target=f"{NAME}/members/eve", measure_time=now, power_w=707 + 60 + before["eve/battery"]
    )
    site.gateway.ReportPower(metering_pb2.ReportPowerRequest(parent=NAME, samples=[sample]))
    site.loop.call(site.service.control)
    _, setpoint = drivers["eve/battery"].told()
    assert setpoint.power_w == before["eve/battery"] - 60


def test_who_comes_back_under_a_limit_is_told_nothing_beyond_it(running):
    site, drivers = running
    before = settle_in(site, drivers)
    assert before["eve/battery"] > 100, "else the case shows nothing"
    drivers["eve/battery"].answers.cancel()
    while "eve/battery" in site.loop.call(lambda: site.service._hub.connected("village")):
        pass
    tight = site.envelope("tight", (0, 8, None, 707 + 100), target=f"{NAME}/members/eve")
    site.dso.CreateEnvelope(site.envelope_request(tight))
    for _ in range(2):  # the second time without a look in between: what was decided stands
        answer = Driver(site, "eve/battery").beat(0)
        assert answer.command.setpoints[0].power_w == 100


def test_a_driver_that_rejects_a_limit_is_counted_at_what_it_draws_until_it_obeys(running):
    site, drivers = running
    driver = drivers["eve/battery"]
    before = settle_in(site, drivers)["eve/battery"]
    assert before > 200, "else the case shows nothing"
    target = f"{NAME}/members/eve"
    site.dso.CreateEnvelope(site.envelope_request(site.envelope("tight", (0, 8, None, 707 + 100), target=target)))

    def excess_w():
        site.loop.call(site.service.control)
        return site.service._enforcer.kept("village")[target].excess_w

    command, _ = driver.told()
    assert excess_w() == 0, "it was told a moment ago"
    driver.say(
        report=driver_pb2.CommandReport(
            command_id=command.command_id,
            state=driver_pb2.COMMAND_STATE_REJECTED,
            observe_time=Timestamp(seconds=int(site.clock.now())),
        )
    )
    assert driver.beat(before).idle.standing_sequence == 0, "it is told the same again in a second, not at once"
    assert excess_w() == before - 100
    driver.beat(100)
    assert excess_w() == 0


def test_limits_survive_a_restart_by_their_journal_alone(site):
    site.dso.CreateEnvelope(site.envelope_request(site.envelope("day", (0, 8, None, 900))))
    site.dso.SetDefaultEnvelope(site.default_request(upper_w=400))
    site.restart()
    assert site.service._limits.book.effective("village", NAME, site.start).upper_w == 400
    records = site.dso.ListDefaultEnvelopes(dso_pb2.ListDefaultEnvelopesRequest(parent=NAME)).default_envelopes
    assert [dso_pb2.DefaultEnvelope.FromString(one.payload).bounds.upper_w for one in records] == [400]


def test_a_replayed_envelope_is_refused(site):
    for counter, id_ in ((1, "one"), (2, "two")):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope(id_, counter=counter)))
    refused = site.refused(site.dso.CreateEnvelope, site.envelope_request(site.envelope("again", counter=2)))
    assert (refused.code, refused.fields) == (StatusCode.OUT_OF_RANGE, ("envelope.counter",))


def test_validating_only_changes_nothing(site):
    request = site.envelope_request(site.envelope("day"), validate_only=True)
    before = site.rows()
    answer = site.dso.CreateEnvelope(request).envelope
    assert answer.state == dso_pb2.ENVELOPE_STATE_ACTIVE
    assert site.rows() == before
    assert list(site.dso.ListEnvelopes(dso_pb2.ListEnvelopesRequest(parent=NAME)).envelopes) == []


class Supervisor:
    """A DSO's end of the stream."""

    def __init__(self, site):
        self.site, self.counter = site, 0
        self.sent = queue.SimpleQueue()
        self.answers = site.dso.Supervise(iter(self.sent.get, None), timeout=30)

    def beat(self, *, counter=None, skew=0, **values):
        self.counter = self.counter + 1 if counter is None else counter
        sent = Timestamp(seconds=int(self.site.clock.now()) + skew)
        self.sent.put(dso_pb2.SuperviseRequest(parent=NAME, heartbeat_counter=self.counter, send_time=sent, **values))
        while True:
            answer = next(self.answers)
            if answer.heartbeat_counter == self.counter:
                return answer


class TestSupervise:
    def state(self, site):
        return [known.control.value for known in site.service._limits.book.supervision("village").values()]

    def pass_time(self, site, seconds):
        site.clock.set(site.clock.now() + seconds)
        site.loop.call(site.service.control)

    def test_control_begins_with_a_confirmation_and_ends_in_silence(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("day", (-4, 8, None, 900))))
        site.dso.SetDefaultEnvelope(site.default_request(upper_w=400))
        dso = Supervisor(site)
        first = dso.beat()
        assert (first.state, first.targets[0].effective_bounds.upper_w) == (STATE.SUPERVISION_STATE_INIT, 400)
        second = dso.beat(confirm=True)
        assert (second.state, second.targets[0].effective_bounds.upper_w) == (
            STATE.SUPERVISION_STATE_CONTROLLED,
            900,
        )
        assert second.targets[0].binding_upper == f"{NAME}/envelopes/day"
        self.pass_time(site, 119)
        assert self.state(site) == ["CONTROLLED"]
        self.pass_time(site, 1)
        told = next(dso.answers)
        assert (told.heartbeat_counter, told.state) == (0, STATE.SUPERVISION_STATE_FAILSAFE)
        assert told.targets[0].effective_bounds.upper_w == 400
        assert dso.beat().state == STATE.SUPERVISION_STATE_FAILSAFE
        site.dso.SetDefaultEnvelope(site.default_request(upper_w=500))
        assert dso.beat().state == STATE.SUPERVISION_STATE_CONTROLLED

    def test_who_supervised_before_a_restart_is_missed_after_it(self, site):
        Supervisor(site).beat(confirm=True)
        assert self.state(site) == ["CONTROLLED"]
        site.restart()
        assert self.state(site) == ["INIT"]
        self.pass_time(site, 120)
        assert self.state(site) == ["FAILSAFE"]

    def test_clocks_that_disagree_keep_it_in_failsafe(self, site):
        dso = Supervisor(site)
        assert dso.beat(confirm=True, skew=86_400).state == STATE.SUPERVISION_STATE_FAILSAFE
        assert dso.beat(confirm=True, skew=-61).state == STATE.SUPERVISION_STATE_FAILSAFE
        assert dso.beat(confirm=True, skew=60).state == STATE.SUPERVISION_STATE_CONTROLLED

    def test_measured_compliance_is_told(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("day", (-4, 8, None, 900))))
        dso = Supervisor(site)
        assert not dso.beat().targets[0].HasField("compliant")
        for power, compliant in ((900, True), (901, False)):
            now = Timestamp(seconds=int(site.clock.now()))
            sample = metering_pb2.PowerSample(target=NAME, measure_time=now, power_w=power)
            site.gateway.ReportPower(metering_pb2.ReportPowerRequest(parent=NAME, samples=[sample]))
            target = dso.beat().targets[0]
            assert (target.measured_w, target.compliant) == (power, compliant)
        self.pass_time(site, 31)
        assert not dso.beat().targets[0].HasField("measured_w")

    @pytest.mark.parametrize(
        ("first", "second", "code", "field"),
        [
            ({"heartbeat_counter": 1}, None, INVALID, "parent"),
            ({"parent": "microgrids/hamlet", "heartbeat_counter": 1}, None, StatusCode.NOT_FOUND, None),
            (HELLO | {"heartbeat_counter": 0}, None, INVALID, "heartbeat_counter"),
            (HELLO | {"heartbeat_counter": 2}, {"heartbeat_counter": 2}, INVALID, "heartbeat_counter"),
            (HELLO | {"heartbeat_counter": 2}, {"heartbeat_counter": 1}, INVALID, "heartbeat_counter"),
            (HELLO, {"parent": f"{NAME}x", "heartbeat_counter": 2}, INVALID, "parent"),
            (HELLO | {"send_time": Timestamp(seconds=5)}, None, StatusCode.OUT_OF_RANGE, "send_time"),
        ],
    )
    def test_malformed_heartbeats_end_the_stream(self, site, refusal_of, first, second, code, field):
        messages = [dso_pb2.SuperviseRequest(**values) for values in (first, second) if values is not None]
        with pytest.raises(RpcError) as caught:
            list(site.dso.Supervise(iter(messages), timeout=20))
        refused = refusal_of(caught.value)
        assert (refused.code, refused.fields) == (code, () if field is None else (field,))


class TestReportPower:
    def report(self, site, *samples):
        return metering_pb2.ReportPowerRequest(
            parent=NAME,
            samples=[
                metering_pb2.PowerSample(target=target, measure_time=Timestamp(seconds=int(at)), power_w=power)
                for target, at, power in samples
            ],
        )

    @pytest.mark.parametrize(
        ("samples", "code"),
        [
            ([], StatusCode.INVALID_ARGUMENT),
            ([("", 0, 1)], StatusCode.INVALID_ARGUMENT),
            ([(f"{NAME}/members/zoe", 0, 1)], StatusCode.NOT_FOUND),
            ([(NAME, 121, 1)], StatusCode.OUT_OF_RANGE),
            ([(NAME, -121, 1)], StatusCode.OUT_OF_RANGE),
            ([(NAME, -10, 5), (NAME, -86_400, 1)], StatusCode.OUT_OF_RANGE),
            ([(NAME, 0, 10**9 + 1)], StatusCode.OUT_OF_RANGE),
            ([(NAME, 0, 5), (f"{NAME}/members/zoe", 0, 1)], StatusCode.NOT_FOUND),
        ],
    )
    def test_bad_samples_are_refused_all_together(self, site, samples, code):
        now = site.clock.now()
        request = self.report(site, *((target, now + ahead, power) for target, ahead, power in samples))
        assert site.refused(site.gateway.ReportPower, request).code is code
        assert site.service._limits.live.fresh("village", NAME) is None

    def test_a_gateway_that_nobody_registered_loosens_nothing(self, site):
        stranger = site.stub(metering_pb2_grpc.MeteringServiceStub, "meter/stranger")
        refused = site.refused(stranger.ReportPower, self.report(site, (NAME, site.clock.now(), -9000)))
        assert refused.code is StatusCode.PERMISSION_DENIED
        assert site.service._limits.live.fresh("village", NAME) is None

    def test_an_older_sample_replaces_nothing(self, site):
        now = site.clock.now()
        site.gateway.ReportPower(self.report(site, (NAME, now, 7)))
        site.gateway.ReportPower(self.report(site, (NAME, now - 1, 9)))
        before = site.service._limits.live.fresh("village", NAME)
        site.clock.set(now + 20)  # the same once more is no younger
        site.gateway.ReportPower(self.report(site, (NAME, now, 7)))
        assert site.service._limits.live.fresh("village", NAME) == before
        assert site.service._limits.live.fresh("village", NAME).power_w == 7
