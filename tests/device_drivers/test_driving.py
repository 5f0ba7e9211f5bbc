"""A driver process as a whole, against controllers that answer by a script."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.timestamp_pb2 import Timestamp

from device_drivers.clock import BoottimeClock
from device_drivers.config import load_config
from device_drivers.connection import Capabilities
from device_drivers.driving import Driving, read_credentials
from device_drivers.errors import InvalidValueError, UnfitError
from device_drivers.schemes import driver_for
from device_drivers.setpoint import RelayState
from device_drivers.simulated.driver import SimulatedDriver
from device_drivers.simulated.fault import Fault
from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import driver_pb2_grpc, dso_pb2, types_pb2
from tests.device_drivers.scripted_controller import ScriptedController, served

HOME = "microgrids/village/members/home/devices/"


class Commanding(ScriptedController):
    """Closes every relay for a lease of some seconds in answer to each stream's first heartbeat."""

    def __init__(self, ttl_s):
        super().__init__()
        self.ttl_s = ttl_s
        self.sequence = 0
        self.reports = {}
        self.descriptors = {}
        self.telemetry = {}

    async def Connect(self, request_iterator, context):  # noqa: N802
        device, told = "", False
        async for request in request_iterator:
            match request.WhichOneof("message"):
                case "descriptor":
                    device = request.descriptor.device.removeprefix(HOME)
                    self.descriptors[device] = request.descriptor
                    yield self.greeting
                case "heartbeat" if not told:
                    told = True
                    yield pb.ConnectResponse(command=self.command(request.heartbeat.counter))
                case "heartbeat":
                    yield pb.ConnectResponse(idle=pb.Idle(heartbeat_counter=request.heartbeat.counter))
                case "report":
                    self.reports.setdefault(device, []).append(request.report)
                case "telemetry":
                    self.telemetry[device] = request.telemetry

    def command(self, counter):
        self.sequence += 1
        lease = types_pb2.Lease(epoch=1, sequence=self.sequence, heartbeat_counter=counter)
        lease.ttl.seconds = self.ttl_s
        now = Timestamp()
        now.GetCurrentTime()
        setpoint = pb.Setpoint(relay_closed=True)
        setpoint.interval.start_time.seconds = now.seconds - 60
        setpoint.interval.end_time.seconds = now.seconds + 3600
        return pb.Command(command_id=f"c{self.sequence}", lease=lease, setpoints=[setpoint])


class PlainUplink:
    """A channel without certificates."""

    def __init__(self, channel):
        self.channel = channel

    def stub(self):
        return driver_pb2_grpc.DriverServiceStub(self.channel)

    async def close(self):
        pass


class Recorded(SimulatedDriver):
    """Opens simulated devices and remembers their connections."""

    def __init__(self):
        super().__init__(BoottimeClock())
        self.opened = []

    async def open(self, address, *, failsafe, options):
        connection = await super().open(address, failsafe=failsafe, options=options)
        self.opened.append(connection)
        return connection


def configured(folder, *urls, **settings):
    devices = [
        {
            "name": f"{HOME}d{k}",
            "url": url,
            "failsafe": {"relay_closed": False},
            "poll_s": 0.1,
            "timeout_s": 0.2,
            "guard": {"min_on_s": 0.0, "starts_per_hour": 100} if k == 0 else {},
        }
        for k, url in enumerate(urls)
    ]
    config = {"pki": folder, "state": folder / "state", "heartbeat_s": 1, "telemetry_s": 0.1, "devices": devices}
    return load_config(None, config | settings)


@asynccontextmanager
async def driving(config, controller, drivers, installed=None):
    def driver(scheme):
        return drivers if installed is None or scheme in installed else driver_for(scheme)

    async with served(controller) as (_, channel):
        one = Driving(config, PlainUplink(channel), randomness=Random(1), drivers=driver)
        stopping = asyncio.Event()
        running = asyncio.create_task(one.run(stopping))
        try:
            yield one
        finally:
            stopping.set()
            await running


async def until(fact):
    async with asyncio.timeout(30):
        while not fact():  # noqa: ASYNC110  # several parts change it, and none tells
            await asyncio.sleep(0.01)


@pytest.mark.slow
def test_a_device_that_hangs_delays_no_other_and_all_go_to_their_failsafe_at_the_end(tmp_path):
    async def scenario():
        controller, drivers = Commanding(ttl_s=3600), Recorded()
        urls = ["simulated://relay", "simulated://relay?fault=mute", "simulated://relay?fault=refusing"]
        # The first has a guard that remembers nothing yet: it counts as just started, so that it is refused.
        async with driving(configured(tmp_path, *urls, "simulated://relay"), controller, drivers) as one:
            await until(lambda: {"d0", "d2", "d3"} <= set(controller.reports))
            await until(lambda: controller.telemetry["d3"].relay_closed)
            assert controller.reports["d3"][0].state == pb.COMMAND_STATE_VERIFIED
            assert controller.reports["d2"][0].state == pb.COMMAND_STATE_FAILED
            refused = controller.reports["d0"][0]
            assert (refused.state, "100 starts an hour" in refused.reason) == (pb.COMMAND_STATE_REJECTED, True)
            assert "d1" not in controller.telemetry
            relay = next(one for one in drivers.opened if one._fault is None and one.device.read().relay_closed)
            assert one.station.device(f"{HOME}d1").lost is not None
        assert not relay.device.read().relay_closed
        assert controller.descriptors["d0"].accepts_pushes
        assert list((tmp_path / "state" / "devices").iterdir())

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_lease_that_ends_is_told_though_the_device_hangs_in_between(tmp_path):
    async def scenario():
        controller, drivers = Commanding(ttl_s=1), Recorded()
        config = configured(tmp_path, "simulated://relay?fault=mute", "simulated://relay?timer=no")
        async with driving(config, controller, drivers):
            await until(lambda: len(drivers.opened) >= 1 and controller.reports.get("d1"))
            relay = next(one for one in drivers.opened if one.capabilities.timer is None)
            assert relay.device.read().relay_closed
            relay.fail(Fault.MUTE, for_s=0.3)
            await until(lambda: not relay.device._setting)

    asyncio.run(scenario())


KEY = Ed25519PrivateKey.generate()
GROUP = "microgrids/village/groups/east"


def signed(payload, kind="GroupLimit", key=KEY):
    data = payload.SerializeToString()
    return types_pb2.Signed(payload=data, signature=key.sign(f"gridpact.v1.{kind}\0".encode() + data), key_id="dso")


def group_limit(counter, upper_w, driver="gw"):
    limit = dso_pb2.GroupLimit(group=GROUP, driver=driver, counter=counter, bounds={"upper_w": upper_w})
    limit.expire_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=600))
    return limit


def limited(folder, *, default_w):
    pem = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "dso.sign.pub").write_bytes(KEY.public_key().public_bytes(*pem))
    device = {"name": f"{HOME}d0", "url": "simulated://relay?rated_w=2000", "failsafe": {"relay_closed": False}}
    device |= {"bounds": {"lower_w": 0, "upper_w": 2000}, "poll_s": 0.1}
    return load_config(
        None,
        {
            "pki": folder,
            "state": folder / "state",
            "dso_keys": {"dso": folder / "dso.sign.pub"},
            "limits": [{"group": GROUP, "driver": "gw", "default": {"lower_w": 0, "upper_w": default_w}}],
            "devices": [device],
            "heartbeat_s": 1,
        },
    )


class PassingOn(Commanding):
    """Passes limits on before it commands."""

    def __init__(self, *limits):
        super().__init__(ttl_s=3600)
        self.limits = limits

    async def Connect(self, request_iterator, context):  # noqa: N802
        async for answer in super().Connect(request_iterator, context):
            yield answer
            if answer.WhichOneof("message") == "welcome":
                yield pb.ConnectResponse(group_limits=pb.GroupLimits(limits=self.limits))


@pytest.mark.parametrize(
    ("limits", "default_w", "verified"),
    [
        ([], 1000, False),  # withheld: the default holds
        ([signed(group_limit(1, 2000), key=Ed25519PrivateKey.generate())], 1000, False),
        ([signed(group_limit(1, 2000), kind="Envelope")], 1000, False),
        ([signed(group_limit(1, 2000, driver="other"))], 1000, False),
        ([signed(group_limit(1, 2000))], 1000, True),
        ([signed(group_limit(2, 1999)), signed(group_limit(1, 2000))], 2000, False),
    ],
    ids=["withheld", "forged", "another type", "another driver", "fresh", "an older one after"],
)
def test_a_controller_can_neither_lift_nor_withhold_a_limit(tmp_path, limits, default_w, verified):
    async def scenario():
        controller = PassingOn(*limits)
        async with driving(limited(tmp_path, default_w=default_w), controller, SimulatedDriver()):
            await until(lambda: "d0" in controller.reports)
            states = [report.state for report in controller.reports["d0"]]
            assert states == [pb.COMMAND_STATE_VERIFIED if verified else pb.COMMAND_STATE_DIVERGED]

    asyncio.run(scenario())


def test_only_a_signed_envelope_or_default_makes_a_setpoint_a_limit(tmp_path):
    one = Driving(limited(tmp_path, default_w=0), PlainUplink(None))
    envelope = dso_pb2.Envelope(name="microgrids/village/envelopes/e")
    assert one.believes(pb.Command(curtailed_by="e", limits=[signed(envelope, "Envelope")]))
    default = dso_pb2.DefaultEnvelope(target="microgrids/village")
    assert one.believes(pb.Command(curtailed_by="default:wires", limits=[signed(default, "DefaultEnvelope")]))
    assert not one.believes(pb.Command(curtailed_by="e", limits=[signed(envelope, "GroupLimit")]))
    assert not one.believes(pb.Command(curtailed_by="e"))


class Broken(SimulatedDriver):
    """Of somebody else, and full of faults."""

    async def open(self, address, *, failsafe, options):
        raise ZeroDivisionError("oops")


class Unread(SimulatedDriver):
    """Cannot be read back."""

    async def open(self, address, *, failsafe, options):
        connection = await super().open(address, failsafe=failsafe, options=options)
        connection._capabilities = Capabilities(
            targets=frozenset({RelayState}), timer=None, measures_power=False, reads_state=False
        )
        return connection


def test_a_driver_of_others_that_raises_anything_loses_its_device_alone(tmp_path):
    async def scenario():
        async with driving(configured(tmp_path, "acme://x"), Commanding(ttl_s=60), Broken()) as one:
            await until(lambda: "ZeroDivisionError: oops" in str(one.station.device(f"{HOME}d0").lost))

    asyncio.run(scenario())


class Unmetered(SimulatedDriver):
    """Has a relay and no meter."""

    async def open(self, address, *, failsafe, options):
        connection = await super().open(address, failsafe=failsafe, options=options)
        read = connection.read

        async def unmetered():
            return replace(await read(), power_w=None)

        connection.read = unmetered
        return connection


def test_without_a_meter_the_relay_is_told_and_that_power_is_not_measured(tmp_path):
    async def scenario():
        controller = Commanding(ttl_s=60)
        async with driving(configured(tmp_path, "simulated://relay", "simulated://relay"), controller, Unmetered()):
            await until(lambda: controller.telemetry.get("d1") and controller.telemetry["d1"].relay_closed)
            assert controller.telemetry["d1"].power_unmeasured
            assert controller.telemetry["d1"].power_w == 0

    asyncio.run(scenario())


def test_what_cannot_be_read_is_applied_and_never_verified(tmp_path):
    async def scenario():
        controller = Commanding(ttl_s=60)
        async with driving(configured(tmp_path, "simulated://relay", "simulated://relay"), controller, Unread()):
            await until(lambda: "d1" in controller.reports)
            assert controller.reports["d1"][0].state == pb.COMMAND_STATE_APPLIED
            assert controller.telemetry == {}

    asyncio.run(scenario())


def test_a_state_folder_belongs_to_one_driver(tmp_path):
    config = configured(tmp_path, "simulated://relay")
    one = Driving(config, PlainUplink(None))
    with pytest.raises(InvalidValueError, match="another driver has it"):
        Driving(config, PlainUplink(None))
    del one


def test_an_unknown_scheme_and_a_ramp_too_small_are_refused(tmp_path):
    with pytest.raises(InvalidValueError, match="got the scheme 'nope'"):
        Driving(configured(tmp_path, "nope://x"), PlainUplink(None))


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(InvalidValueError, match=r"ca\.pem: cannot be read"):
        read_credentials(tmp_path, "driver")
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(InvalidValueError, match="got no PEM"):
        read_credentials(tmp_path, "driver")


def test_a_guard_that_remembers_nothing_yet_is_said_at_the_start(tmp_path, caplog):
    async def scenario():
        config = configured(tmp_path, "simulated://relay", "simulated://relay")
        async with driving(config, ScriptedController(), Recorded()):
            pass

    asyncio.run(scenario())
    (said,) = [line for line in caplog.messages if "no memory" in line]
    assert said.startswith("1 of the devices")
    assert f"{HOME}d0, may start at 20" in said


def test_a_driver_all_of_whose_devices_are_wrong_ends_at_its_start(tmp_path):
    async def scenario():
        config = configured(tmp_path, "simulated://relay?never=1", "simulated://relay?nope=1")
        async with served(ScriptedController()) as (_, channel):
            one = Driving(config, PlainUplink(channel), drivers=lambda scheme: Recorded())
            await one.run(asyncio.Event())

    with pytest.raises(InvalidValueError, match=f"{HOME}d[01]: .*(never|nope)"):
        asyncio.run(asyncio.wait_for(scenario(), 30))


def test_devices_that_are_wrong_fail_with_their_reasons_and_the_others_go_on(tmp_path, caplog):
    async def scenario():
        controller, drivers = Commanding(ttl_s=3600), Recorded()
        urls = ["simulated://relay", "simulated://relay?never=1", "nope://x", "simulated://relay"]
        async with driving(configured(tmp_path, *urls), controller, drivers, installed={"simulated"}):
            await until(lambda: {"d1", "d2", "d3"} <= set(controller.reports))
            await until(lambda: controller.telemetry.get("d3") and controller.telemetry["d3"].relay_closed)
        assert controller.reports["d3"][0].state == pb.COMMAND_STATE_VERIFIED
        for wrong, reason in (("d1", "got never"), ("d2", "got the scheme 'nope'")):
            said = controller.reports[wrong][0]
            assert (said.state, reason in said.reason) == (pb.COMMAND_STATE_FAILED, True), said
            assert wrong not in controller.telemetry

    asyncio.run(scenario())
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert sorted(line.partition(":")[0] for line in errors) == [f"{HOME}d1", f"{HOME}d2"]


class Dialled(Recorded):
    """Is dialled by what does not fit, and then by what does."""

    async def open(self, address, **how):
        if not self.opened and not getattr(self, "came", False):
            self.came = True
            raise UnfitError("failsafe: got RelayState(closed=False), wanted what a resource manager can do")
        return await super().open(address, **how)


def test_whoever_dials_first_and_does_not_fit_does_not_end_the_driver(tmp_path):
    async def scenario():
        controller, drivers = Commanding(ttl_s=3600), Dialled()
        async with driving(configured(tmp_path, "simulated://relay"), controller, drivers):
            await until(lambda: drivers.opened)

    asyncio.run(scenario())


class Refusing(ScriptedController):
    """Refuses each stream after its first heartbeat, as the script says."""

    async def Connect(self, request_iterator, context):  # noqa: N802
        code = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.streams_ended += 1
        await context.abort(code, "no")
        yield self.greeting


def test_why_the_controller_is_lost_is_said_when_it_changes(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("device_drivers.link.delay_s", lambda failures, randomness: 0.01)

    async def scenario():
        controller = Refusing(*[grpc.StatusCode.NOT_FOUND] * 3, grpc.StatusCode.UNAUTHENTICATED)
        async with driving(configured(tmp_path, "simulated://relay"), controller, Recorded()):
            await until(lambda: controller.streams_ended > 5)

    asyncio.run(scenario())
    lost = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.rpartition("lost: ")[2] for line in lost if "lost" in line] == ["NOT_FOUND: no", "UNAUTHENTICATED: no"]
