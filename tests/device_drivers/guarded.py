"""A driver, its devices and whatever may happen to them, in virtual time; the guard's rules counted anew beneath it.

What a device does is noted where it happens, below the driver; what may happen is counted in the plainest way. An
action of `ACTIONS` that breaks a rule raises an `AssertionError`.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from device_drivers.connection import Timer
from device_drivers.core import DeviceCore
from device_drivers.errors import DeviceError
from device_drivers.failsafe import Fixed, HoldProgramme
from device_drivers.gateway import Gateway
from device_drivers.guard import GuardRules
from device_drivers.precedence import Rule, runs
from device_drivers.setpoint import Bounds, Command, Power, RelayState, Setpoint
from device_drivers.simulated.battery import SimulatedBattery
from device_drivers.simulated.clock import SimulatedClock
from device_drivers.simulated.fault import Fault
from device_drivers.simulated.relay import SimulatedRelay
from device_drivers.station import Station
from device_drivers.switching import Memory, Switching

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ON, OFF = RelayState(closed=True), RelayState(closed=False)
KILOWATTS = Bounds(lower_w=0, upper_w=2000)
RULES = {
    "heat": GuardRules(bounds=KILOWATTS, min_on_s=120, min_off_s=300, starts_per_hour=3, starts_per_day=5),
    "cool": GuardRules(bounds=KILOWATTS, min_on_s=60, min_off_s=60),
    "fan": GuardRules(bounds=KILOWATTS, starts_per_day=2),
    "pump": GuardRules(bounds=KILOWATTS, min_on_s=600, min_off_s=600, hard=True),
    "wash": GuardRules(bounds=KILOWATTS, starts_per_hour=2),
    "store": GuardRules(bounds=Bounds(lower_w=-2000, upper_w=3000), ramp_w_per_s=500),
}
FAILSAFES = {
    "heat": Fixed(target=OFF),
    "cool": Fixed(target=ON),
    "fan": Fixed(target=OFF),
    "pump": Fixed(target=OFF),
    "wash": HoldProgramme(programme_s=900),
    "store": Fixed(target=Power(power_w=-500)),
}
TIMERS = {"heat": Timer(shortest_s=1, longest_s=300, resolution_s=1), "wash": None}
NAMES = tuple(sorted(RULES))
RELAYS = ("cool", "fan", "heat", "pump", "wash")
TTLS_S = (2, 60, 900)
EITHER = (False, True)
ACTIONS = {
    "command_relay": {"name": RELAYS, "closed": EITHER, "ttl_s": TTLS_S, "curtailed": EITHER},
    "toggle": {"name": RELAYS, "times": (2, 3, 4, 5, 6, 7), "pause_s": (1, 61, 301), "forgets": EITHER},
    "command_power": {"power_w": range(-3000, 4001), "ttl_s": TTLS_S},
    "pass_time": {
        "seconds": (1, 1, 1, 5, 20, 59, 60, 61, 120, 299, 300, 601, 3600, 20_000),
        "ticks": (1, 2, 3),
    },
    "set_time_of_day": {"hours": (-24, -1, 1, 12, 24, 48)},
    "limit": {"limit_w": (None, None, 0, 2000, 3500, 4000, 6000)},
    "fail": {"name": NAMES, "fault": (None, None, Fault.MUTE, Fault.REFUSING, Fault.LYING)},
    "restart": {"lost": (None, None, None, *RULES), "reboots": (False, False, True)},
    "crash": {"name": NAMES, "dies_after": ("memory", "apply")},
}
"""What may happen, by the name of a method of `Guarded`, and what each of its arguments may be."""


class Guarded:
    """Devices under a driver.

    Parameters
    ----------
    kept : bool
        Whether an earlier driver left memories, of devices that have been off for long; else there are none.
    """

    def __init__(self, *, kept):
        self.clock = SimulatedClock(NOON)
        self.devices = {name: SimulatedRelay(2000, self.clock) for name in RULES if name != "store"}
        self.devices["store"] = SimulatedBattery(
            capacity_wh=10**9,
            max_charge_w=9000,
            max_discharge_w=9000,
            stored_wh=5 * 10**8,
            charge_efficiency=1,
            discharge_efficiency=1,
            clock=self.clock,
        )
        self.faults = dict.fromkeys(RULES)
        self.memories = {}
        self.boot = "boot-1"
        self.limit_w = None
        self.epoch = 0
        # By device its switchings as (instant, on), as far back as they count.
        self.edges = {name: [] for name in RULES}
        self.was = {name: self.truth(name) for name in RULES}
        self.told_power = (-1.0, 0)
        if kept:
            far = -(10.0**6)
            memory = Memory(boot_id=self.boot, on=False, since=far, starts=(), day_starts=0, day_ends_at=43_200.0)
            self.memories = dict.fromkeys(RULES, memory)
        self.boot_driver()

    def truth(self, name):
        """What the device itself says, whatever the fault."""
        device, fault = self.devices[name], self.faults[name]
        if fault is None:
            return device.read()
        device.fail(None)
        reading = device.read()
        device.fail(fault)
        return reading

    def boot_driver(self):
        now = self.clock.now()
        self.memories = {name: read_back(memory) for name, memory in self.memories.items()}
        cores = {
            name: DeviceCore(
                rules=rules,
                failsafe=FAILSAFES[name],
                switching=Switching(
                    rules, self.memories.get(name), boot_id=self.boot, now=now, midnight_s=self.midnight_s(None)
                ),
                timer=TIMERS.get(name),
            )
            for name, rules in RULES.items()
        }
        gateway = Gateway(
            {name: rules.bounds for name, rules in RULES.items()},
            groups={"all": sorted(RULES)},
            interlocks=[("heat", "cool")],
        )
        self.station = Station(cores, gateway, self.midnight_s)
        self.station.limit("all", Bounds(lower_w=None, upper_w=self.limit_w))
        self.epoch += 1
        self.sequence = 0
        self.serve_all()

    def midnight_s(self, _):
        utc = self.clock.utc()
        return 86_400 - (utc.hour * 3600 + utc.minute * 60 + utc.second + utc.microsecond / 1e6)

    # What the driver does.

    def serve_all(self):
        for name in RULES:
            self.serve(name)

    def serve(self, name, *, dies_after=None):
        now, utc = self.clock.now(), self.clock.utc()
        self.look(name, now, utc)
        order = self.station.order(name, now, utc)
        if order is None:
            return
        self.station.begin(name, order, now, utc)
        memory = self.station.device(name).unsaved()
        if memory is not None:
            self.memories[name] = memory
            self.station.device(name).saved(memory)
        if dies_after == "memory":
            return
        try:
            self.devices[name].apply(order.target)
        except DeviceError as err:
            self.station.fail(name, str(err), now, utc)
            return
        if self.faults[name] is Fault.LYING:
            # It says that it did: nobody can know from where it goes on once it does.
            if name == "store" and order.target.power_w != self.told_power[1]:
                self.told_power = (now, order.target.power_w)
        else:
            self.judge(name, order)
            timer = TIMERS.get(name)
            if order.revert_after_s is None or timer is None:
                self.devices[name].disarm()
            elif timer.armed_s(order.revert_after_s) is not None:
                self.devices[name].arm(OFF, now + timer.armed_s(order.revert_after_s))
        if dies_after == "apply":
            return
        self.station.done(name, order, now)
        self.look(name, now, utc)

    def look(self, name, now, utc):
        try:
            self.station.observe(name, self.devices[name].read(), now, utc)
        except DeviceError as err:
            self.station.miss(name, str(err), now, utc)

    # What may happen, counted anew.

    def judge(self, name, order):
        """An order has reached a device that does it."""
        now, rules, rule_ = self.clock.now(), RULES[name], order.decision.rule
        reading = self.truth(name)
        assert rules.bounds.contains(reading.power_w)
        if name == "store":
            told_at, before_w = self.told_power
            if abs(reading.power_w) > abs(before_w) or rule_ not in {Rule.LIMIT, Rule.INTERLOCK}:
                assert abs(reading.power_w - before_w) <= 500
                assert reading.power_w == before_w or now >= told_at + 1
            if reading.power_w != before_w:
                self.told_power = (now, reading.power_w)
        before, on = self.was[name].power_w, runs(order.target)
        self.was[name] = reading
        if self.limit_w is not None and reading.power_w > max(before, 0) and not any(self.faults.values()):
            hard = rules.hard and rule_ is Rule.MINIMUM_TIMES
            others_w = sum(max(0, self.truth(other).power_w) for other in RULES if other != name)
            assert hard or others_w + reading.power_w <= self.limit_w
        if name != "store" and on is not (before > 0):
            self.switched(name, on, forced=rule_ in {Rule.INTERLOCK, Rule.LIMIT})
        if on and name in {"heat", "cool"}:
            assert not (self.truth("heat").relay_closed and self.truth("cool").relay_closed)

    def switched(self, name, on, *, forced):
        now, rules, edges = self.clock.now(), RULES[name], self.edges[name]
        if on:
            assert all(now - at >= rules.min_off_s for at, was_on in edges if not was_on)
            starts = [at for at, was_on in edges if was_on]
            if rules.starts_per_hour is not None:
                assert sum(at > now - 3600 for at in starts) < rules.starts_per_hour
            if rules.starts_per_day is not None:  # two of its days may meet in any 23 h
                assert sum(at > now - 23 * 3600 for at in starts) < 2 * rules.starts_per_day
        elif not forced:
            assert all(now - at >= rules.min_on_s for at, was_on in edges if was_on)
        edges.append((now, on))

    def notice_timers(self):
        """Devices whose own timer has ended were switched by nobody else."""
        for name, timer in TIMERS.items():
            if timer is None or not self.was[name].relay_closed:
                continue
            reading = self.truth(name)
            if not reading.relay_closed:
                start = max(at for at, on in self.edges[name] if on)
                assert self.clock.now() - start >= RULES[name].min_on_s
                self.edges[name].append((self.clock.now(), False))
                self.was[name] = reading

    # What may come.

    def command_relay(self, name, closed, ttl_s, curtailed):
        self.command(name, RelayState(closed=closed), ttl_s, curtailed)

    def toggle(self, name, times, pause_s, forgets):
        for again in range(1 + forgets):
            if again:
                self.restart(name, False)
            for k in range(times):
                self.command(name, RelayState(closed=k % 2 == 0), 900, False)
                self.pass_time(pause_s, 1)

    def command_power(self, power_w, ttl_s):
        self.command("store", Power(power_w=power_w), ttl_s, False)

    def command(self, name, target, ttl_s, curtailed):
        now, utc = self.clock.now(), self.clock.utc()
        self.sequence += 1
        counter = self.station.device(name).heartbeat(now)
        setpoint = Setpoint(start=utc, end=utc + timedelta(hours=2), target=target)
        command = Command(
            command_id=f"c{self.sequence}",
            window="w",
            epoch=self.epoch,
            sequence=self.sequence,
            heartbeat_counter=counter,
            ttl_s=float(ttl_s),
            setpoints=(setpoint,),
            curtailed=curtailed,
        )
        self.station.receive(name, command, now, utc)
        self.serve(name)

    def pass_time(self, seconds, ticks):
        for _ in range(ticks):
            self.clock.advance(seconds)
            self.notice_timers()
            self.serve_all()

    def set_time_of_day(self, hours):
        self.clock.set_utc(self.clock.utc() + timedelta(hours=hours))
        self.serve_all()

    def limit(self, limit_w):
        self.limit_w = limit_w
        self.station.limit("all", Bounds(lower_w=None, upper_w=limit_w))
        self.serve_all()

    def fail(self, name, fault):
        self.faults[name] = fault
        self.devices[name].fail(fault)
        self.serve_all()

    def restart(self, lost, reboots):
        self.memories.pop(lost, None)
        self.boot += "+" * reboots
        self.boot_driver()

    def crash(self, name, dies_after):
        self.serve(name, dies_after=dies_after)
        self.boot_driver()


def read_back(memory):
    """A memory as a file holds it."""
    return Memory(**json.loads(json.dumps(asdict(memory))) | {"starts": memory.starts})
