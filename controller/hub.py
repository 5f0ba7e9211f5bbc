"""What drivers are told and what they said: setpoints out under leases, telemetry and reports in.

All of it runs on the thread of the service's loop, and none of it waits for the database: what drivers said is kept
here until `flush` puts it on disk in one transaction.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf
from types import MappingProxyType

from sqlalchemy import Connection

from controller.clamp import Cap
from controller.clock import Clock, Monotonic
from controller.commands import BY_CONTROLLER, CommandState, Response, TrackedCommand
from controller.composing import Override, SignedLimit, Stretch, Target, compose, seen
from controller.driver_stream import DriverStream, Ending, Told
from controller.fleet import Declared, Fleet, FleetDevice, Observed, Registered
from controller.group_limits import PassedOn, newest
from controller.herd import Herd
from controller.microgrid import DeviceSetpoint, DeviceState, Window, WindowState
from controller.refusals import Code, Refusal, not_found
from controller.said import Said
from controller.store import drivers, group_limits, market, registry
from controller.store.database import Database

log = logging.getLogger(__name__)

AHEAD_S = 7200
"""How far ahead a command's setpoints reach; they act within its lease only."""
SILENCE_INTERVALS = 2.5
"""A stream on which nothing is heard for so many heartbeat intervals counts as half-open."""
TICK_S = 1.0
GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are spread more evenly than any other number's, however many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedCommand:
    """Setpoints under a lease.

    Attributes
    ----------
    id : unique
    window : the window that decided the first of them; empty where none did
    epoch, sequence, heartbeat_counter : fencing; see the API's Lease
    ttl_s : from the sending of the heartbeat that this answers
    setpoints : in order of time; none calls for the failsafe
    curtailed_by : the limit that made one of them smaller; empty where none did
    limits : those that bind, where one of them was made smaller
    """

    id: str
    window: str
    epoch: int
    sequence: int
    heartbeat_counter: int
    ttl_s: int
    setpoints: tuple[Stretch, ...]
    curtailed_by: str = ""
    limits: tuple[SignedLimit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Nothing new: the command of that sequence stands; 0 where nothing is meant for now."""

    heartbeat_counter: int
    sequence: int


def no_cap(microgrid: str, device: str, now: float) -> Cap | None:
    """No limit."""
    del microgrid, device, now
    return None


def nowhere_limited(microgrid: str) -> bool:
    """No limit in any microgrid."""
    del microgrid
    return False


def no_limits(microgrid: str, device: str) -> Sequence[SignedLimit]:
    """No limits."""
    del microgrid, device
    return ()


class DriverHub:
    """The controller's side of all drivers' streams.

    Parameters
    ----------
    database : where telemetry and reports end up
    epoch : how often the service has started
    lease_s : how long a setpoint may act without being renewed
    clock : chooses what holds now
    monotonic : measures leases and silence
    renew_share : share of a lease after which it is renewed
    connects_per_s : how many drivers are let in in a second
    silence_s : a stream on which nothing is heard for so long ends; None for two and a half heartbeat intervals
    inherited_s : for so long leases may act that the service gave before its start

    Attributes
    ----------
    caps : what a device may consume and produce at most; None binds nothing. Asked whenever a device is told something
    limits_of : the limits behind it, asked where one made something smaller
    limited : whether anything in a microgrid is limited: there, a device that joined, or for which something else was
        decided, is told nothing until `looked` says that `caps` knows of it
    """

    def __init__(
        self,
        *,
        database: Database,
        epoch: int,
        lease_s: int,
        clock: Clock,
        monotonic: Monotonic,
        renew_share: float = 0.5,
        connects_per_s: float = 250.0,
        silence_s: float | None = None,
        inherited_s: float = 0.0,
    ) -> None:
        self.epoch = epoch
        self.lease_s = lease_s
        self.heartbeat_s = max(1, lease_s // 3)
        self.caps: Callable[[str, str, float], Cap | None] = no_cap
        self.limits_of: Callable[[str, str], Sequence[SignedLimit]] = no_limits
        self.limited: Callable[[str], bool] = nowhere_limited
        self._silence_s = SILENCE_INTERVALS * self.heartbeat_s if silence_s is None else silence_s
        self._least_left_s = lease_s * (1.0 - renew_share)
        self._database = database
        self._clock = clock
        self._monotonic = monotonic
        self._inherited_until = monotonic.now() + inherited_s
        self._fleet = Fleet()
        self._herd = Herd(connects_per_s)
        self._joined = 0
        self._unseen: defaultdict[str, set[str]] = defaultdict(set)
        self._observed: defaultdict[str, dict[str, Observed]] = defaultdict(dict)
        self._group_limits: dict[tuple[str, str], tuple[PassedOn, ...]] = {}
        self._said = Said(database, clock)

    # What is planned and wanted.

    def restore(self) -> None:
        """Take up what the store has: how devices are registered, and setpoints of running and coming windows."""
        self._database.run(self._restore)

    def _restore(self, connection: Connection) -> None:
        acting = {WindowState.CLEARED.value, WindowState.DELIVERING.value, WindowState.FAILED.value}
        for microgrid in registry.microgrid_ids(connection):
            self._pass_on(microgrid, group_limits.all_of(connection, microgrid))
            known = drivers.registered_devices(connection, microgrid)
            for id_, registered in known.items():
                self._fleet.device(microgrid, id_).registered = registered
            for id_, declared in drivers.declarations(connection, microgrid).items():
                if id_ in known:
                    self._fleet.device(microgrid, id_).declared = declared
            for row in market.unfinished(connection, microgrid):
                # Of a window that failed, what adjustments decided since acts.
                if row.state in acting:
                    window = Window(name=row.name, start=row.start, end=row.end)
                    told = market.setpoints(connection, row.name)
                    self.offer(microgrid, window, tuple(s for s in told if s.device in known))

    def offer(self, microgrid: str, window: Window, setpoints: tuple[DeviceSetpoint, ...]) -> None:
        """Let drivers have these at once."""
        now = self._clock.now()
        by_device: defaultdict[str, list[DeviceSetpoint]] = defaultdict(list)
        for setpoint in setpoints:
            by_device[setpoint.device].append(setpoint)
        for id_, own in by_device.items():
            device = self._fleet.device(microgrid, id_)
            if not device.forgotten:  # else a window that was frozen before the device was forgotten
                device.plan(window, own, now)
                self._unseen[microgrid].add(id_)
        self.push(microgrid, by_device)

    def withdraw(self, microgrid: str, start: int, end: int) -> None:
        """Forget what is planned for ``[start, end)``: without anything else devices are left to their failsafes."""
        for device in self._fleet.of(microgrid).values():
            device.withdraw(start, end)
        self.push(microgrid)

    def set_override(self, microgrid: str, device: str, target: Target | None, until: int) -> None:
        """Let a device do what its owner wants until an instant (Unix seconds); None ends that. Limits stay above."""
        override = None if target is None else Override(target=target, until=until)
        self._fleet.device(microgrid, device).override = override
        self._unseen[microgrid].add(device)
        self.push(microgrid, (device,))

    def push(self, microgrid: str, devices: Iterable[str] | None = None) -> None:
        """Tell devices at once what changed for them, where anything did; all of the microgrid where none are named.

        Their leases still count from the newest heartbeat that each driver sent.
        """
        fleet = self._fleet.of(microgrid)
        for id_ in fleet if devices is None else devices:
            device = fleet.get(id_)
            if device is not None and device.stream is not None:
                device.stream.wake()

    def pass_on(self, microgrid: str, limits: Iterable[PassedOn]) -> None:
        """Have drivers told the newest limits of their groups, all of the microgrid's; they check them."""
        told = self._pass_on(microgrid, limits)
        fleet = self._fleet.of(microgrid)
        self.push(microgrid, [id_ for id_, device in fleet.items() if device.stream and device.stream.driver in told])

    def group_limits(self, microgrid: str, driver: str | None) -> tuple[PassedOn, ...]:
        """What a driver is told of its groups; the same tuple until it changes."""
        return self._group_limits.get((microgrid, driver or ""), ())

    def _pass_on(self, microgrid: str, limits: Iterable[PassedOn]) -> set[str]:
        by_driver: defaultdict[str, list[PassedOn]] = defaultdict(list)
        for grid, driver in self._group_limits:
            if grid == microgrid:
                by_driver[driver] = []  # a group may have gone to another driver
        for limit in newest(limits):
            by_driver[limit.driver].append(limit)
        changed = {driver for driver, own in by_driver.items() if tuple(own) != self.group_limits(microgrid, driver)}
        for driver in changed:
            self._group_limits[microgrid, driver] = tuple(by_driver[driver])
        return changed

    # What is known.

    def observed(self, microgrid: str) -> Mapping[str, Observed]:
        """The newest telemetry by device since the service started; a live view."""
        return MappingProxyType(self._observed[microgrid])

    def failsafes(self, microgrid: str) -> Mapping[str, Declared]:
        """By device what its driver declared, where it ever did."""
        nothing = Declared()
        return {id_: d.declared for id_, d in self._fleet.of(microgrid).items() if d.declared != nothing}

    def planned(self, microgrid: str, device: str) -> Target | None:
        """What a device is to do now before any limit: its override, else its plan; None leaves it to its failsafe."""
        now = floor(self._clock.now())
        known = self._fleet.device(microgrid, device)
        if known.override is not None and now < known.override.until:
            return known.override.target
        return known.planned_at(now)

    def connected(self, microgrid: str) -> frozenset[str]:
        """The devices with an open stream."""
        return frozenset(id_ for id_, device in self._fleet.of(microgrid).items() if device.stream is not None)

    def refusing(self, microgrid: str) -> int:
        """How many devices rejected what they were told last and are meant to do still."""
        streams = (device.stream for device in self._fleet.of(microgrid).values())
        return sum(stream is not None and stream.rejected is not None for stream in streams)

    def holds(self, stream: DriverStream) -> bool:
        """Whether a stream is still the one of its device: it is superseded by no other, and not silent."""
        return self._fleet.device(stream.microgrid, stream.device).stream is stream

    def verified(self, microgrid: str, device: str) -> bool:
        """Whether the driver read back that the device does what its newest command says, and its lease runs."""
        tracked = self._fleet.device(microgrid, device).tracked
        return tracked is not None and tracked.state is CommandState.VERIFIED

    def responses(self, microgrid: str) -> Mapping[str, Response]:
        """How each device with an open stream stands to what it is told."""
        now, instant = self._clock.now(), self._monotonic.now()
        found = {}
        for id_, device in self._fleet.of(microgrid).items():
            stream, tracked = device.stream, device.tracked
            if stream is None:
                continue
            if not device.may_act(now, instant):
                found[id_] = Response.NOTHING
            elif stream.told is None or tracked is None:
                found[id_] = Response.OTHER
            else:
                found[id_] = tracked.response
        return found

    def registered(self, microgrid: str, device: str) -> Registered | None:
        """How a device is registered, where that is known already."""
        return self._fleet.device(microgrid, device).registered if device in self._fleet.of(microgrid) else None

    def register(self, microgrid: str, device: str, registered: Registered) -> None:
        """Know how a device is registered now, and tell it what is decided from now on."""
        known = self._fleet.device(microgrid, device)
        known.registered = registered
        known.forgotten = False
        self._unseen[microgrid].add(device)
        stream = known.stream
        if stream is not None and stream.driver not in {None, device, registered.gateway}:
            stream.end(Ending(error=not_found(device)))  # a gateway that is not its any more
        self.push(microgrid, (device,))

    def forget(self, microgrid: str, device: str) -> None:
        """Tell a device to go to its failsafe, then nothing more: its stream ends, and no lease of it is renewed."""
        known = self._fleet.device(microgrid, device)
        known.forgotten = True
        known.registered = None
        known.forget_plans()
        known.override = None
        known.declared = Declared()
        self._said.forget(microgrid, device)
        self._observed[microgrid].pop(device, None)
        if known.stream is not None:
            known.stream.end(Ending(error=not_found(device), last_word=known.stream.pushes))

    def forgotten(self, microgrid: str, device: str) -> bool:
        """Whether a device was registered and is no more: what was read of it before does not count."""
        known = self._fleet.of(microgrid).get(device)
        return known is not None and known.forgotten

    # Streams.

    def admit(self, microgrid: str, device: str) -> float:
        """Seconds after which a driver may come back; 0 where it is let in now."""
        return self._herd.admit(f"{microgrid}/{device}", self._monotonic.now())

    def join(
        self, microgrid: str, device: str, *, declared: Declared, pushes: bool, driver: str | None = None
    ) -> DriverStream:
        """A stream for a device, held by the driver of that id; an older one ends."""
        known = self._fleet.device(microgrid, device)
        if known.stream is not None:
            superseded = Refusal(
                code=Code.ABORTED, reason="SUPERSEDED", message="got a newer stream for the device: this one ends"
            )
            known.stream.end(Ending(error=superseded))
        if declared != known.declared and declared != Declared():
            known.declared = declared
            self._said.declared(microgrid, device, declared)
        self._joined += 1
        self._unseen[microgrid].add(device)
        known.stream = DriverStream(microgrid, device, pushes=pushes, opened_at=self._monotonic.now())
        known.stream.driver = driver
        if known.acts_until < self._inherited_until:
            known.acts_until, known.acts_through = self._inherited_until, inf
        known.stream.inherits = True
        return known.stream

    def phase_s(self) -> float:
        """When the driver that joined last shall send its second heartbeat, in s after its first."""
        return self.heartbeat_s * (1.0 - (self._joined * GOLDEN) % 1.0)

    def heartbeat(self, stream: DriverStream, counter: int) -> None:
        """A heartbeat was heard."""
        stream.heartbeat(counter, self._monotonic.now())

    def leave(self, stream: DriverStream) -> None:
        """A stream has ended."""
        known = self._fleet.device(stream.microgrid, stream.device)
        if known.stream is stream:
            known.stream = None

    def answer(self, stream: DriverStream) -> LeasedCommand | Standing | None:
        """What there is to tell now: a command, that nothing is new, or nothing at all."""
        owed, stream.owed = stream.owed, False
        now, instant = self._clock.now(), self._monotonic.now()
        if not stream.counter or (not owed and instant >= stream.heartbeat_at + self.lease_s):
            return None
        if stream.device in self._unseen[stream.microgrid] and self.limited(stream.microgrid):
            stream.owed = owed  # nobody has said yet what limits leave to it
            return None
        known = self._fleet.device(stream.microgrid, stream.device)
        cap = self.caps(stream.microgrid, stream.device, now)
        stretches = self._composed(known, floor(now), cap=cap)
        told, left = stream.told, 0.0
        if told is not None:
            left = told.leased_from + self.lease_s - instant
        meant = any(stretch.start <= now < stretch.end for stretch in stretches)
        # An older command acts still, though nothing is meant any more.
        acting = told is not None and left > 0 and any(s.start <= now < s.end for s in told.stretches)
        acting = acting or (stream.inherits and known.may_act(now, instant))
        if not meant and not acting:
            stream.told = stream.rejected = None
            return Standing(heartbeat_counter=stream.counter, sequence=0) if owed else None
        rejected = stream.rejected if told is None else None
        if rejected is not None and not _same(rejected.stretches, stretches, floor(now), self.lease_s):
            rejected = stream.rejected = None
        if rejected is not None and instant < rejected.again_at:
            return Standing(heartbeat_counter=stream.counter, sequence=0) if owed else None
        same = told is not None and left > 0 and _same(told.stretches, stretches, floor(now), ceil(left))
        if told is not None and same and (not owed or left > max(self._least_left_s, 1.5 * stream.beat_s)):
            return Standing(heartbeat_counter=stream.counter, sequence=told.sequence) if owed else None
        return self._issue(stream, known, stretches, renews=same or rejected is not None)

    def looked(self, microgrid: str) -> None:
        """Let whoever waited for it be answered: `caps` has seen a microgrid as it is now."""
        for device in self._unseen.pop(microgrid, ()):
            stream = self._fleet.device(microgrid, device).stream
            if stream is not None:
                stream.wake()

    def _composed(self, known: FleetDevice, now: int, *, cap: Cap | None) -> tuple[Stretch, ...]:
        if known.override is not None and known.override.until <= now:
            known.override = None
        return compose(
            known.coming(now),
            override=known.override,
            failsafe=known.failsafe,
            cap=cap,
            ability=known.ability,
            now=now,
            until=now + AHEAD_S,
        )

    def _issue(
        self, stream: DriverStream, known: FleetDevice, stretches: tuple[Stretch, ...], *, renews: bool
    ) -> LeasedCommand:
        known.sequence += 1
        limits: tuple[SignedLimit, ...] = ()
        curtailed_by = ""
        if any(stretch.curtailed for stretch in stretches):
            limits = tuple(self.limits_of(stream.microgrid, stream.device))
            curtailed_by = limits[0].name if limits else "limit"
        command = LeasedCommand(
            id=f"{stream.microgrid}/{stream.device}/{self.epoch}/{known.sequence}",
            window=stretches[0].window if stretches else "",
            epoch=self.epoch,
            sequence=known.sequence,
            heartbeat_counter=stream.counter,
            ttl_s=self.lease_s,
            setpoints=stretches,
            curtailed_by=curtailed_by,
            limits=limits,
        )
        stream.inherits = False
        if stretches:
            known.leased(from_=stream.heartbeat_at, until=stream.heartbeat_at + self.lease_s, through=stretches[-1].end)
        stream.told = Told(sequence=command.sequence, stretches=stretches, leased_from=stream.heartbeat_at)
        before = known.tracked
        known.tracked = TrackedCommand(
            command.id,
            window=command.window,
            expires_at=stream.heartbeat_at + self.lease_s,
            renews=before if renews else None,
            void=not stretches,
            before=Response.TOLD if before is None else before.response,
        )
        if before is not None:
            kept = before.take([CommandState.SUPERSEDED])
            if not renews:
                self._said.reported(stream.device, before, kept)
        return command

    # What drivers say.

    def observe(self, stream: DriverStream, state: DeviceState, *, measured: bool = True) -> None:
        """Note telemetry; of each device the newest counts, and nothing from a stream that is not its own any more.

        Where its power was not `measured`, what the state says of it does not count.
        """
        if not stream.heard or not self.holds(stream):
            return
        stream.heard_at = self._monotonic.now()
        known = self._observed[stream.microgrid].get(state.device)
        if known is None or known.state.instant <= state.instant:
            seen = Observed(state=state, arrived=stream.heard_at, measured=measured)
            self._observed[stream.microgrid][state.device] = seen
            self._said.measured(stream.microgrid, state)

    def report(
        self, stream: DriverStream, command_id: str, states: Iterable[CommandState], *, reason: str, instant: int
    ) -> None:
        """Note what a driver said about its newest command; of older or unknown ones nothing is kept.

        Nor is what a stream says that is not its device's any more.
        """
        if not stream.heard or not self.holds(stream):
            return
        stream.heard_at = self._monotonic.now()
        known = self._fleet.device(stream.microgrid, stream.device)
        tracked = known.tracked
        if tracked is not None and tracked.id == command_id:
            kept = tracked.take([state for state in states if state not in BY_CONTROLLER])
            self._said.reported(stream.device, tracked, kept, reason=reason, instant=instant)
            if tracked.state is CommandState.REJECTED:
                stream.reject(self._monotonic.now(), longest_s=self.lease_s / 2)
            elif tracked.state is not CommandState.RECEIVED:
                stream.rejected = None
            if tracked.state in {CommandState.REJECTED, CommandState.FAILED}:
                stream.told = None  # it does not stand: the next heartbeat is answered by a command again
                stream.inherits = True
            if tracked.state is CommandState.REJECTED:
                known.acts_until = known.acted_until
            elif tracked.ended_all:
                known.acts_until = self._monotonic.now()

    # Time.

    def tick(self) -> None:
        """Notice what time alone changes: leases and overrides that end, windows that begin, streams gone silent."""
        now, instant = self._clock.now(), self._monotonic.now()
        for _, id_, device in self._fleet:
            if device.tracked is not None and instant >= device.tracked.expires_at:
                self._said.reported(id_, device.tracked, device.tracked.take([CommandState.EXPIRED]))
            stream = device.stream
            if stream is None:
                continue
            if instant > stream.heard_at + self._silence_s:
                silence = Refusal(
                    code=Code.DEADLINE_EXCEEDED,
                    reason="SILENT",
                    message=f"heard nothing for {self._silence_s:g} s, wanted a heartbeat every {self.heartbeat_s} s",
                )
                stream.end(Ending(error=silence))
                device.stream = None
            elif device.due(now, told=stream.told is not None):
                stream.wake()

    async def run(self) -> None:
        """Tick every second until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.tick()
            except Exception:  # the next tick is as good
                log.exception("ticking")

    def dismiss(self) -> None:
        """Send all drivers away, each until an instant of its own: the service stops."""
        streams = {f"{m}/{id_}": device.stream for m, id_, device in self._fleet if device.stream is not None}
        after_s = self._herd.dismiss(list(streams), self._monotonic.now())
        for name, stream in streams.items():
            stream.end(Ending(come_back_s=after_s[name]))

    def waiting(self, microgrid: str) -> Mapping[str, int]:
        """How much of a microgrid was noted and is not on disk yet, by what it is."""
        return self._said.waiting(microgrid)

    async def flush(self) -> None:
        """Put what was noted on disk, in one transaction; what could not be is kept for the next time."""
        await self._said.flush()


def _same(one: Sequence[Stretch], other: Sequence[Stretch], now: int, seconds: int) -> bool:
    """Whether a driver sees the same in both for so long."""
    return seen(one, start=now, end=now + seconds) == seen(other, start=now, end=now + seconds)
