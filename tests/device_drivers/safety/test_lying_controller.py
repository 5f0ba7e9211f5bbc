"""Whatever a controller says that was taken over: power stays within the guard, the fresh signed limit and the ramp.

A whole driver runs in virtual time; between it and the liar there are the API's messages and nothing else. What may
happen is counted here anew, in the plainest way, where devices are told.
"""

import asyncio
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from device_drivers.config import load_config
from device_drivers.driving import Driving
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.driver import SimulatedDriver
from gridpact.v1 import dso_pb2, types_pb2
from tests.device_drivers.safety.liar import Liar, Wish
from tests.device_drivers.virtual_time import VirtualLoop
from tests.scale import examples

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GROUP, DRIVER = "microgrids/m/groups/east", "driver-1"
DEFAULT_W = (-1000, 2500)
RAMP_W = 4000
LONGEST_TTL_S = 14_400
SETTLED_S = 5
"""s within which a driver has seen a limit, told its devices and read them back."""
INSTANT_S = 0.01
"""s by which what happens at one instant may be apart."""
BATTERY_W = (-2000, 3000)
"""Less than the battery itself could do."""
RELAY_W = 2000
MIN_S = 120
STARTS = 3


def device(name):
    return f"microgrids/m/members/a/devices/{name}"


STORE, HEAT, BOILER = device("store"), device("heat"), device("boiler")
GROUPED = (STORE, HEAT)
DSO, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([k]) * 32) for k in (1, 2))

targets = st.one_of(
    st.booleans().map(lambda closed: ("relay_closed", closed)),
    st.integers(-2000, 3000).map(lambda power_w: ("power_w", power_w)),
    st.sampled_from([-(2**63), -10_000, -2001, 3001, 10_000, 2**63 - 1]).map(lambda power_w: ("power_w", power_w)),
    st.sampled_from([0, 500]).map(lambda limit_w: ("production_limit_w", limit_w)),
)
ttls = st.sampled_from([1, 10, 60, 60, 900, LONGEST_TTL_S, LONGEST_TTL_S + 1, 10**9, 0, -5])
devices = st.sampled_from([*GROUPED, BOILER])


def wish(target, ttl_s=60, **claims):
    kind, value = target
    return Wish(fill=lambda setpoint: setattr(setpoint, kind, value), ttl_s=ttl_s, claims=claims)


def all_of(power_w, closed, ttl_s):
    """As much as there is to have."""
    relay = wish(("relay_closed", closed), ttl_s)
    return {STORE: wish(("power_w", power_w), ttl_s), HEAT: relay, BOILER: relay}


def signed(message, key=DSO, kind=None, key_id="dso-1"):
    payload = message.SerializeToString()
    kind = message.DESCRIPTOR.full_name if kind is None else kind
    return types_pb2.Signed(payload=payload, signature=key.sign(kind.encode() + b"\0" + payload), key_id=key_id)


class WatchedDriver(SimulatedDriver):
    """Says what every device does right before and right after it is told, whatever told it."""

    def __init__(self, clock, watch):
        super().__init__(clock)
        self.watch = watch
        self.devices = {}

    async def open(self, address, *, failsafe, options):
        options = dict(options)
        name = options.pop("name")
        connection = await super().open(address, failsafe=failsafe, options=options)
        if name in self.devices:  # what stands in a house outlives its driver
            connection.device = self.devices[name]
        self.devices[name] = connection.device
        apply = connection.apply

        async def watched(target, *, revert_after_s):
            before = {name: one.read() for name, one in self.devices.items()}
            await apply(target, revert_after_s=revert_after_s)
            self.watch(name, before, {name: one.read() for name, one in self.devices.items()})

        connection.apply = watched
        return connection


class LiarMachine(RuleBasedStateMachine):
    """What the liar may do, beside what must hold whatever it does."""

    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp(prefix="liar-"))
        public = DSO.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.folder / "dso.pub").write_bytes(public)
        self.clock = SimulatedClock(NOON)
        self.loop = VirtualLoop(self.clock)
        self.driver = WatchedDriver(self.clock, self.told)
        self.counter = 0
        self.signed = []
        # As the driver has to see it: the limit that is fresh, and the newest counter that it ever took.
        self.fresh = None
        self.newest = 0
        self.rises = []
        self.edges = []
        self.broken = []
        self.running = None
        self.liar = Liar(self.clock)
        self.liar.wishes = all_of(BATTERY_W[1], True, 60)
        self.drive()
        # Of a driver without a memory every start counts as used up.
        self.pass_s(3601)

    def teardown(self):
        if getattr(self, "running", None) is not None:
            self.stop()
            self.loop.close()
            shutil.rmtree(self.folder)

    # The driver.

    def drive(self):
        bounds = {"lower_w": 0, "upper_w": RELAY_W}
        guard = {"min_on_s": MIN_S, "min_off_s": MIN_S, "starts_per_hour": STARTS}
        relay = {"url": "simulated://relay", "bounds": bounds, "failsafe": {"relay_closed": False}}
        battery = "simulated://battery?capacity_wh=1000000000&max_charge_w=9000&max_discharge_w=9000"
        store = {
            "url": battery,
            "bounds": dict(zip(("lower_w", "upper_w"), BATTERY_W, strict=True)),
            "failsafe": {"power_w": 0},
        }
        config = load_config(
            None,
            {
                "pki": self.folder,
                "state": self.folder / "state",
                "dso_keys": {"dso-1": self.folder / "dso.pub"},
                "ramp_w_per_10s": RAMP_W,
                "limits": [
                    {
                        "group": GROUP,
                        "driver": DRIVER,
                        "devices": GROUPED,
                        "default": dict(zip(("lower_w", "upper_w"), DEFAULT_W, strict=True)),
                    }
                ],
                "devices": [
                    {"name": STORE, **store, "options": {"name": STORE}},
                    {"name": HEAT, **relay, "options": {"name": HEAT}},
                    {"name": BOILER, **relay, "guard": guard, "options": {"name": BOILER}},
                ],
            },
        )
        self.stopping = asyncio.Event()
        driving = Driving(config, self.liar, clock=self.clock, randomness=Random(1), drivers=lambda scheme: self.driver)
        self.running = self.loop.create_task(driving.run(self.stopping))
        self.pass_s(3)

    def stop(self):
        self.stopping.set()
        self.loop.run_until_complete(self.running)

    def pass_s(self, seconds):
        """Let time pass; of a long one the middle in one piece, as for a machine that sleeps and wakes."""
        if seconds > 4 * SETTLED_S:
            self.loop.run_until_complete(asyncio.sleep(SETTLED_S))
            self.clock.advance(seconds - 2 * SETTLED_S)
            seconds = SETTLED_S
        self.loop.run_until_complete(asyncio.sleep(seconds))
        if self.running.done():
            self.running.result()

    # What must hold.

    def limit_w(self, *, late_s=0.0):
        if self.fresh is not None and self.clock.now() < self.fresh[1] + late_s:
            return self.fresh[0]
        return DEFAULT_W

    def told(self, name, before, after):
        """A device was told something, and does it."""
        now, was_w, is_w = self.clock.now(), before[name].power_w, after[name].power_w
        within = is_w in (0, RELAY_W) if name != STORE else BATTERY_W[0] <= is_w <= BATTERY_W[1]
        self.hold(within, f"{name} at {is_w} W")
        if name in GROUPED:
            ends = (self.limit_w(), self.limit_w(late_s=INSTANT_S))
            lower_w, upper_w = min(lower_w for lower_w, _ in ends), max(upper_w for _, upper_w in ends)
            powers_w = [after[one].power_w for one in GROUPED if one in after]
            takes_w, gives_w = (sum(f(0, power_w) for power_w in powers_w) for f in (max, min))
            self.hold(is_w <= max(was_w, 0) or takes_w <= upper_w, f"{name} rises to {powers_w} W over {upper_w} W")
            self.hold(is_w >= min(was_w, 0) or gives_w >= lower_w, f"{name} falls to {powers_w} W under {lower_w} W")
        rise_w = abs(is_w) - abs(was_w) if is_w * was_w >= 0 else abs(is_w)
        if rise_w > 0:
            self.rises = [(at, w) for at, w in self.rises if at > now - 10] + [(now, rise_w)]
            self.hold(sum(w for _, w in self.rises) <= RAMP_W, f"steps of {self.rises} in 10 s")
        if name == BOILER and is_w != was_w:
            self.hold(not self.edges or now - self.edges[-1][0] >= MIN_S, f"switched at {now} s after {self.edges}")
            starts = [at for at, on in self.edges if on and at > now - 3600]
            self.hold(is_w == 0 or len(starts) < STARTS, f"started at {now} s after {starts}")
            self.edges.append((now, is_w > 0))

    def hold(self, held, what):
        """Note what was broken: whatever is raised here the driver takes for a word of the device."""
        if not held:
            self.broken.append(what)

    @invariant()
    def devices_are_within_what_is_fresh(self):
        if self.running is None:
            return
        self.pass_s(SETTLED_S)
        if self.fresh is not None and self.fresh[1] <= self.clock.now() < self.fresh[1] + SETTLED_S:
            self.pass_s(SETTLED_S)
        assert self.broken == [], self.broken
        now, (lower_w, upper_w) = self.clock.now(), self.limit_w()
        powers_w = {name: one.read().power_w for name, one in self.driver.devices.items()}
        assert sum(max(0, powers_w[name]) for name in GROUPED) <= upper_w
        assert sum(min(0, powers_w[name]) for name in GROUPED) >= lower_w
        for name, power_w in powers_w.items():
            assert power_w == 0 or now < self.liar.said_at[name] + LONGEST_TTL_S + SETTLED_S

    # What a liar may do.

    @rule(name=devices, what=targets, ttl_s=ttls, renews=st.booleans())
    def steer(self, name, what, ttl_s, renews):
        told = wish(what, ttl_s)
        if renews:
            self.liar.wishes[name] = told
        self.liar.say(name, self.liar.command(name, told))

    @rule(power_w=st.sampled_from(BATTERY_W), closed=st.booleans(), ttl_s=ttls)
    def steer_all_for_ever(self, power_w, closed, ttl_s):
        self.liar.wishes = all_of(power_w, closed, ttl_s)
        self.pass_s(SETTLED_S)

    @rule(
        name=devices,
        what=targets,
        epoch=st.integers(-2, 2),
        sequence=st.sampled_from([None, -1, 0, 1, 2**62]),
        counter=st.sampled_from([None, 0, 1, 2**63]),
    )
    def flip(self, name, what, epoch, sequence, counter):
        command = self.liar.command(name, wish(what), epoch=epoch, sequence=sequence, counter=counter)
        self.liar.say(name, command)

    @rule(back=st.integers(1, 20))
    def repeat(self, back):
        if len(self.liar.said) >= back:
            self.liar.say(*self.liar.said[-back])

    @rule(name=devices, times=st.sampled_from([10, 300]), closed=st.booleans(), power_w=st.integers(*BATTERY_W))
    def flood(self, name, times, closed, power_w):
        for k in range(times):
            target = ("power_w", power_w if k % 2 else -power_w // 2)
            self.liar.say(
                name,
                self.liar.command(name, wish(target if name == STORE else ("relay_closed", closed is (k % 2 == 0)))),
            )

    @rule(on_s=st.sampled_from([1, 30, 119]), off_s=st.sampled_from([1, 119]), forged=st.booleans())
    def wear(self, on_s, off_s, forged):
        """Switch the boiler more often than it stands, by limits that nobody signed too."""
        envelope = dso_pb2.Envelope(target="microgrids/m")
        claims = {"curtailed_by": "e", "limits": [signed(envelope, STRANGER)] if forged else []}
        for _ in range(STARTS + 1):
            self.liar.wishes[BOILER] = wish(("relay_closed", True))
            self.pass_s(on_s + 5)
            self.liar.wishes[BOILER] = wish(("relay_closed", False), **claims)
            self.pass_s(off_s + 5)

    @rule(
        lower_w=st.sampled_from([-2000, -500, 0]),
        upper_w=st.sampled_from([0, 500, 2000, 3000, 6000]),
        fresh_s=st.sampled_from([-60, 20, 600, 90_000]),
        withheld=st.sampled_from([False, False, True]),
    )
    def sign(self, lower_w, upper_w, fresh_s, withheld):
        """The operator signs a limit; the liar may keep it to itself."""
        self.counter += 1
        expires = Timestamp()
        expires.FromDatetime(self.clock.utc() + timedelta(seconds=fresh_s))
        limit = dso_pb2.GroupLimit(
            group=GROUP,
            driver=DRIVER,
            bounds=types_pb2.PowerBounds(lower_w=lower_w, upper_w=upper_w),
            counter=self.counter,
            expire_time=expires,
        )
        self.signed.append(limit)
        if not withheld:
            self.deliver(len(self.signed) - 1)

    @rule(which=st.integers(0, 100))
    def replay(self, which):
        if self.signed:
            self.deliver(which % len(self.signed))

    def deliver(self, which):
        limit = self.signed[which]
        now = self.clock.now()
        left_s = limit.expire_time.ToDatetime(tzinfo=UTC) - self.clock.utc()
        newer = limit.counter > self.newest or (limit.counter == self.newest and self.fresh is None)
        if self.liar.streams and newer and left_s > timedelta(0):
            bounds_w = (limit.bounds.lower_w, limit.bounds.upper_w)
            self.fresh = bounds_w, now + min(left_s.total_seconds(), 86_400)
            self.newest = limit.counter
        self.liar.pass_on(signed(limit))
        self.pass_s(0.01)

    @rule(how=st.sampled_from(["stranger", "altered", "other kind", "other driver", "unknown key", "garbage"]))
    def forge(self, how):
        """A limit that nobody may believe: twice what is allowed, and newer than all."""
        limit = dso_pb2.GroupLimit(
            group=GROUP,
            driver="driver-2" if how == "other driver" else DRIVER,
            bounds=types_pb2.PowerBounds(lower_w=-20_000, upper_w=20_000),
            counter=2**40,
            expire_time=Timestamp(seconds=int(self.clock.utc().timestamp()) + 600),
        )
        forged = signed(limit, STRANGER if how == "stranger" else DSO, key_id="dso-1")
        match how:
            case "altered":
                limit.bounds.upper_w = 30_000
                forged.payload = limit.SerializeToString()
            case "other kind":
                forged = signed(limit, kind="gridpact.v1.Envelope")
            case "unknown key":
                forged.key_id = "dso-2"
            case "garbage":
                forged = types_pb2.Signed(payload=b"\xff" * 30, signature=b"\0" * 64, key_id="dso-1")
        self.liar.pass_on(forged)
        self.pass_s(1)

    @rule(step=st.sampled_from([0, 1, -1]))
    def cut(self, step):
        """End every stream; whoever connects again is welcomed with this epoch."""
        self.liar.epoch = max(0, self.liar.epoch + step)
        self.liar.cut()
        self.pass_s(5)

    @rule(hushed=st.booleans(), seconds=st.sampled_from([1, 61, 601, 3601, 20_000, 90_001]))
    def wait(self, hushed, seconds):
        if hushed:
            self.liar.wishes = {}
        self.pass_s(seconds)

    @rule()
    def restart(self):
        """The driver stops and starts; what it held it is told again, or the default holds."""
        self.stop()
        self.liar.streams.clear()
        self.fresh = None
        self.drive()


def run(count):
    found = settings(max_examples=count, stateful_step_count=15, deadline=None, database=None)
    run_state_machine_as_test(LiarMachine, settings=settings(found, phases=(Phase.generate, Phase.shrink)))


@pytest.mark.slow
def test_no_lie_lifts_power_out_of_the_guard_the_limit_or_the_ramp():
    run(examples(15, full=300))
