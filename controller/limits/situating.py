"""A microgrid at one instant, as the clamp has to know it: from what is in memory, with nothing else running."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from controller.clamp import Ability, Device, Planned, Scope, Situation, Span
from controller.clock import Clock, Monotonic
from controller.composing import believed_ability, unplanned
from controller.flexibility import Flexibility, Generator, Programme, Relay, Thermostat
from controller.limits.directory import Registered
from controller.limits.drivers import Declared, Drivers, Seen, Target
from controller.limits.forecasts import Forecasts
from controller.limits.limits import Limits
from controller.microgrid import Device as OwnDevice
from controller.microgrid import Member, SetpointKind

FRESH_S = 30.0
"""Seconds after its arrival during which a device's telemetry counts; a lease's half."""


@dataclass(slots=True)
class _Memory:
    """What is remembered of a microgrid between two looks.

    ``switched`` is for devices that do not say since when they are on, or off: which, since when as far as was seen,
    and when that was seen last.
    """

    devices: Mapping[str, OwnDevice] = field(default_factory=dict)
    gone: dict[str, tuple[OwnDevice, float]] = field(default_factory=dict)
    switched: dict[str, tuple[bool, float, float]] = field(default_factory=dict)
    abilities: dict[str, tuple[Flexibility, Ability]] = field(default_factory=dict)

    def ability(self, device: OwnDevice) -> Ability:
        """The powers at which a device can run."""
        known = self.abilities.get(device.id)
        if known is None or known[0] is not device.flexibility:
            known = self.abilities[device.id] = (
                device.flexibility,
                believed_ability(device.id, device.flexibility),
            )
        return known[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """What was found.

    Attributes
    ----------
    situation : for the clamp
    names : by target what binds it
    gone : devices that are registered no more, and may act on a lease still
    """

    situation: Situation
    names: Mapping[str, tuple[str, ...]]
    gone: frozenset[str]


class Surveyor:
    """Gathers what a clamp is decided on.

    Parameters
    ----------
    limits, forecasts : what holds, who is there, what is measured and expected
    drivers : what is planned, said and seen
    clock, monotonic : wall time chooses what is planned; ages are told by the steady clock
    """

    def __init__(
        self, *, limits: Limits, forecasts: Forecasts, drivers: Drivers, clock: Clock, monotonic: Monotonic
    ) -> None:
        self._book, self._live = limits.book, limits.live
        self._forecasts = forecasts
        self._drivers = drivers
        self._clock = clock
        self._monotonic = monotonic
        self._memories: dict[str, _Memory] = {}

    def forget(self, microgrid: str) -> None:
        """Let what was seen so far count no more: nobody looks for a while."""
        self._memories.pop(microgrid, None)

    def survey(self, known: Registered, declared: Mapping[str, Declared]) -> Surveyed:
        """A microgrid as it is now; `declared` is what drivers said of their devices."""
        grid = known.microgrid
        now = self._clock.now()
        names: dict[str, tuple[str, ...]] = {}
        members = {f"{grid.name}/members/{member.id}": member for member in known.members}
        scopes = []
        for target, parent in _tree(known):
            band = self._book.effective(grid.id, target, now)
            names[target] = tuple(name for name in (band.binding_lower, band.binding_upper) if name)
            measured = self._live.fresh(grid.id, target)
            member = members.get(target)
            scopes.append(
                Scope(
                    name=target,
                    parent=parent,
                    lower_w=band.lower_w,
                    upper_w=band.upper_w,
                    measured_w=None if measured is None else measured.power_w,
                    uncontrolled=Span(low_w=0, high_w=0) if member is None else self._assumed(grid.id, member, now),
                )
            )
        memory = self._memories.setdefault(grid.id, _Memory())
        connected, observed = self._drivers.connected(grid.id), self._drivers.observed(grid.id)
        devices = [
            self._device(known, memory, device, declared.get(device.id), connected, observed.get(device.id))
            for device in known.devices
        ]
        self._note_gone(memory, known, connected)
        for device, _ in memory.gone.values():
            home = f"{grid.name}/members/{device.member}"
            seen = observed.get(device.id)
            devices.append(
                Device(
                    id=device.id,
                    scope=home if home in members else grid.name,
                    ability=memory.ability(device),
                    measured_w=seen.measured_w if seen is not None and self._fresh(seen) else None,
                    controllable=False,
                )
            )
        return Surveyed(
            situation=Situation(scopes=tuple(scopes), devices=tuple(devices)),
            names=names,
            gone=frozenset(memory.gone),
        )

    def _note_gone(self, memory: _Memory, known: Registered, connected: frozenset[str]) -> None:
        """Who was registered at the last look and is not now counts until its lease has surely run out."""
        now = self._monotonic.now()
        own = {device.id: device for device in known.devices}
        for id_, device in memory.devices.items():
            if id_ not in own:
                memory.gone[id_] = device, now + self._drivers.lease_s
                memory.switched.pop(id_, None)
        memory.devices = own
        before, memory.gone = (
            memory.gone,
            {
                id_: (device, until)
                for id_, (device, until) in memory.gone.items()
                if id_ not in own and (now < until or id_ in connected)
            },
        )
        for id_ in before.keys() - memory.gone.keys() - own.keys():
            memory.abilities.pop(id_, None)

    def _assumed(self, microgrid: str, member: Member, now: float) -> Span:
        """What a member may draw and feed in beside its devices where its meter does not say.

        Its connection's rating where it has one; else what it forecast in its order. A member without either, that
        is one that neither orders nor is rated, counts as nothing: give it a rating.
        """
        rated_w, feed_in_w = getattr(member, "connection_w", None), getattr(member, "feed_in_w", None)
        load_w = self._forecasts.load_w(microgrid, member.id, now)
        high = rated_w if rated_w is not None else (load_w or 0)
        low = -feed_in_w if feed_in_w is not None else 0
        return Span(low_w=min(low, high), high_w=high)

    def _fresh(self, seen: Seen) -> bool:
        return self._monotonic.now() - seen.arrived <= FRESH_S

    def _device(
        self,
        known: Registered,
        memory: _Memory,
        device: OwnDevice,
        declared: Declared | None,
        connected: frozenset[str],
        seen: Seen | None,
    ) -> Device:
        grid = known.microgrid
        target = self._drivers.planned(grid.id, device.id)
        if target is None and declared is not None:
            target = declared.failsafe
        if target is None:
            target = unplanned(device.flexibility)
        state = seen.state if seen is not None and self._fresh(seen) else None
        held_until = None if seen is None else _held_until(device, seen, memory)
        held = held_until is not None and self._monotonic.now() < held_until
        running = isinstance(device.flexibility, Programme) and state is not None and state.on
        return Device(
            id=device.id,
            scope=f"{grid.name}/members/{device.member}",
            ability=memory.ability(device),
            planned=None if target is None else Planned(kind=target.kind, value=target.value),
            measured_w=None if state is None or seen is None else seen.measured_w,
            # A cycle that was begun is not interrupted, nor a least time that is hard; who is away cannot be told, nor
            # can one without a plan whose failsafe nobody knows: it does what it does.
            controllable=device.id in connected and target is not None and not running and not held,
            ends=held_until if held and not running else None,
        )


def span_of(ability: Ability, target: Target | None) -> Span:
    """Between which powers a device is that does what it is told; anything that it can where nobody knows."""
    anything = Span(low_w=-ability.max_production_w, high_w=ability.max_consumption_w)
    if target is None:
        return anything
    match target.kind:
        case SetpointKind.RELAY:
            return anything if target.value else Span(low_w=0, high_w=0)
        case SetpointKind.POWER:
            return Span(low_w=min(0, target.value), high_w=max(0, target.value))
        case SetpointKind.PRODUCTION_LIMIT:
            return Span(low_w=-max(0, min(target.value, ability.max_production_w)), high_w=0)
        case never:
            assert_never(never)


def _held_until(device: OwnDevice, seen: Seen, memory: _Memory) -> float | None:
    """Until when a device has to stay on, or off, whatever a limit says; on the steady clock, None where it has not."""
    least = _hard_times_s(device.flexibility)
    if least is None:
        return None
    state = seen.state
    if state.held_s is not None:
        since = seen.arrived - state.held_s
    else:
        # One that does not say since when counts as if it had switched when it was first seen so, without a gap since.
        on, since, last = memory.switched.get(device.id, (not state.on, 0.0, 0.0))
        if on is not state.on or seen.arrived - last > FRESH_S:
            since = seen.arrived
        memory.switched[device.id] = state.on, since, seen.arrived
    return since + least[0 if state.on else 1]


def _hard_times_s(flexibility: Flexibility) -> tuple[int, int] | None:
    """How long a device stays on, and off, at least, where that is hard."""
    match flexibility:
        case Relay(hard_minimum_times=True, min_on_s=on_s, min_off_s=off_s):
            return on_s, off_s
        case Thermostat(hard_minimum_times=True, min_on_s=on_s, min_off_s=off_s):
            return on_s, off_s
        case Generator(hard_minimum_times=True, min_up_s=on_s, min_down_s=off_s):
            return on_s, off_s
        case _:
            return None


def _tree(known: Registered) -> list[tuple[str, str | None]]:
    """All targets of a microgrid, each with the one around it."""
    name = known.microgrid.name
    transformer = f"{name}/transformer"
    sections = sorted({member.section for member in known.members})
    return [
        (name, None),
        (transformer, name),
        *((f"{name}/sections/{section}", transformer) for section in sections),
        *((f"{name}/members/{member.id}", f"{name}/sections/{member.section}") for member in known.members),
    ]
