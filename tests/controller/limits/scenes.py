"""A microgrid in memory, with limits and streams; no wire, no database."""

import asyncio
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from controller.clamp import Policy
from controller.clock import VirtualClock
from controller.commands import Response
from controller.composing import Target
from controller.fleet import Observed
from controller.flexibility import Phase, Programme, Relay, Storage
from controller.limits.book import LimitsBook
from controller.limits.directory import Registered
from controller.limits.enforcer import Enforcer
from controller.limits.forecasts import Forecasts
from controller.limits.holding import Tally
from controller.limits.journal import MemoryJournal
from controller.limits.measured import LivePowers
from controller.limits.values import Envelope, Source
from controller.microgrid import Bounds, Device, DeviceState, Member, SetpointKind
from tests.controller.village import START, calendar

GRID = "microgrids/village"
ADA, BOB = f"{GRID}/members/ada", f"{GRID}/members/bob"
STORAGE = Storage(
    max_charge_w=5000,
    max_discharge_w=5000,
    capacity_wh=10_000,
    stored_wh=5000,
    final_wh=0,
    charge_efficiency_ppm=950_000,
    discharge_efficiency_ppm=950_000,
    cycle_cost_micro_per_kwh=0,
)
BOILER = Relay(rated_w=2000, start=START, end=START + 7200, required_s=3600, min_on_s=1800, min_off_s=900)
WASHER = Programme(phases=(Phase(power_w=(1800, 400)),), start=START, end=START + 7200)


@dataclass
class Drivers:
    """Streams that remember who was told."""

    plans: dict = field(default_factory=dict)
    away: set = field(default_factory=set)
    seen: dict = field(default_factory=dict)
    declared: dict = field(default_factory=dict)
    told: list = field(default_factory=list)
    looks: int = 0
    answers: dict = field(default_factory=dict)
    lease_s: int = 60

    def planned(self, microgrid, device):
        return self.plans.get(device)

    def connected(self, microgrid):
        return frozenset(self.plans) - self.away

    def responses(self, microgrid):
        return {id_: self.answers.get(id_, Response.TOLD) for id_ in self.connected(microgrid)}

    def observed(self, microgrid):
        return self.seen

    def failsafes(self, microgrid):
        return self.declared

    def push(self, microgrid, devices):
        self.told.append(set(devices))

    def looked(self, microgrid):
        self.looks += 1


class Scene:
    """A running microgrid in memory."""

    def __init__(self, devices, *, policy=Policy.PROPORTIONAL):
        self.clock = VirtualClock(START)
        self.book = LimitsBook(MemoryJournal(), clock=self.clock, monotonic=self.clock)
        self.live = LivePowers(self.clock)
        self.drivers = Drivers()
        self.count = 0
        self.capped = []
        self.tally = Tally()
        registered = Registered(
            microgrid=calendar("village"),
            members=(Member(id="ada", section="east"), Member(id="bob", section="east")),
            devices=tuple(
                Device(id=id_, member=id_.split("/")[0], flexibility=flexibility)
                for id_, flexibility in devices.items()
            ),
            keys={},
        )
        self.registered = registered
        directory = SimpleNamespace(microgrids=lambda: ("village",), get=lambda _: self.registered)
        self.enforcer = Enforcer(
            limits=SimpleNamespace(book=self.book, directory=directory, live=self.live),
            forecasts=Forecasts(),
            drivers=self.drivers,
            clock=self.clock,
            monotonic=self.clock,
            policy=policy,
            tally=self.tally,
            on_change=lambda microgrid, devices: self.capped.append((microgrid, devices)),
        )

    def plan(self, device, kind, value, *, measured=None, **state):
        self.drivers.plans[device] = Target(kind=kind, value=value)
        if measured is not None:
            self.see(device, measured, **state)

    def see(self, device, power_w, *, measured=True, **state):
        now = int(self.clock.now())
        known = DeviceState(device=device, instant=now, power_w=power_w, closed_s=0, stored_wh=None, **state)
        self.drivers.seen[device] = Observed(state=known, arrived=now, measured=measured)

    def limit(self, upper=None, *, lower=None, target=GRID):
        self.count += 1
        envelope = Envelope(
            microgrid="village",
            id=f"e{self.count}",
            source=Source(holder="wires"),
            target=target,
            periods=(Bounds(start=START, end=START + 7200, lower_w=lower, upper_w=upper),),
        )
        asyncio.run(self.book.add(envelope))

    def measure(self, target, power_w):
        self.live.observe("village", target, power_w, int(self.clock.now()))

    def remove(self, *devices):
        """The owner deletes devices: the directory does not know them any more."""
        left = tuple(device for device in self.registered.devices if device.id not in devices)
        self.registered = replace(self.registered, devices=left)

    def caps(self):
        return {id_: self.enforcer.caps("village", id_, self.clock.now()) for id_ in self.drivers.plans}

    def drawn(self):
        return {id_: None if cap is None else cap.max_consumption_w for id_, cap in self.caps().items()}

    def allowed(self):
        """What all may draw of what is planned."""
        return sum(
            plan.value if (cap := self.drawn()[id_]) is None else min(plan.value, cap)
            for id_, plan in self.drivers.plans.items()
        )

    def wait(self, seconds):
        self.clock.set(self.clock.now() + seconds)
        self.book.tick()
        self.enforcer.enforce_all()


def two_batteries():
    """Ada's takes 4000 W, Bob's 2000 W."""
    scene = Scene({"ada/battery": STORAGE, "bob/battery": STORAGE})
    scene.plan("ada/battery", SetpointKind.POWER, 4000, measured=4000)
    scene.plan("bob/battery", SetpointKind.POWER, 2000, measured=2000)
    return scene
