"""Keeps limits at run time: asks the clamp what devices may do, and has them told at once.

It needs the book, what is at hand in memory and the drivers' streams; neither solver nor database nor chain.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from controller.clamp import (
    Ability,
    Cap,
    Curtailment,
    Device,
    Margin,
    Planned,
    Policy,
    Scope,
    Situation,
    Span,
    ability_of,
    clamp,
)
from controller.clamp import ramp as spread
from controller.clock import Clock, Monotonic
from controller.composing import SignedLimit, unplanned
from controller.flexibility import Flexibility, Generator, Programme, Relay, Thermostat
from controller.limits.directory import Registered
from controller.limits.forecasts import Forecasts
from controller.limits.limits import Limits
from controller.limits.status import Kept, members_under
from controller.limits.values import Signature
from controller.microgrid import Device as OwnDevice
from controller.microgrid import DeviceState, Member, SetpointKind

log = logging.getLogger(__name__)

RETURN_S = 60.0
"""Seconds over which all that was curtailed comes back."""
FRESH_S = 30.0
"""Seconds after its arrival during which a device's telemetry counts; a lease's half."""


class Target(Protocol):
    """What a device is to do: a kind of setpoint and its value."""

    @property
    def kind(self) -> SetpointKind:
        """Relay, power or production limit."""

    @property
    def value(self) -> int:
        """0 or 1 for a relay, else W."""


class Seen(Protocol):
    """A device's telemetry and when it came."""

    @property
    def state(self) -> DeviceState:
        """What it said."""

    @property
    def arrived(self) -> float:
        """Seconds of the steady clock."""


class Declared(Protocol):
    """What a driver said of its device."""

    @property
    def failsafe(self) -> Target | None:
        """What the device does when nobody tells it anything; None where that was not said."""


class Drivers(Protocol):
    """The drivers' streams."""

    def planned(self, microgrid: str, device: str) -> Target | None:
        """What a device is to do now before any limit; None leaves it to its failsafe."""

    def connected(self, microgrid: str) -> frozenset[str]:
        """The devices with an open stream."""

    def observed(self, microgrid: str) -> Mapping[str, Seen]:
        """The newest telemetry by device."""

    def failsafes(self, microgrid: str) -> Mapping[str, Declared]:
        """By device what its driver declared, where it ever did."""

    def push(self, microgrid: str, devices: frozenset[str]) -> None:
        """Tell devices at once what changed for them."""

    def looked(self, microgrid: str) -> None:
        """Answer who waited to be told until it was decided what limits leave to it."""


@dataclass(slots=True)
class _Area:
    """What acts in a microgrid."""

    caps: dict[str, Cap | None] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    at: float | None = None
    carried_w: float = 0.0


class Enforcer:
    """The clamp at work, for all microgrids.

    Parameters
    ----------
    limits, forecasts : what holds, who is there, what is measured and expected
    drivers : who is told
    clock, monotonic : wall time chooses what is planned; ages are told by the steady clock
    policy, margin : see `clamp`
    on_change : told of a microgrid and for how many devices a cap is new or another
    """

    def __init__(
        self,
        *,
        limits: Limits,
        forecasts: Forecasts,
        drivers: Drivers,
        clock: Clock,
        monotonic: Monotonic,
        policy: Policy = Policy.PROPORTIONAL,
        margin: Margin | None = None,
        on_change: Callable[[str, int], None] | None = None,
    ) -> None:
        self._on_change = on_change
        self._book, self._directory, self._live = limits.book, limits.directory, limits.live
        self._forecasts = forecasts
        self._drivers = drivers
        self._clock = clock
        self._monotonic = monotonic
        self._policy = policy
        self._margin = Margin() if margin is None else margin
        self._areas: dict[str, _Area] = {}
        limits.book.subscribe(self.enforce)

    def caps(self, microgrid: str, device: str, now: float) -> Cap | None:
        """What a device may do now; None where nothing binds it."""
        del now
        area = self._areas.get(microgrid)
        return None if area is None else area.caps.get(device)

    def limited(self, microgrid: str) -> bool:
        """Whether anything in a microgrid is limited."""
        return bool(self._book.targets(microgrid))

    def limits_of(self, microgrid: str, device: str) -> list[SignedLimit]:
        """The limits behind a device's cap: their names, and what the DSO signed."""
        area = self._areas.get(microgrid)
        cap = None if area is None else area.caps.get(device)
        if area is None or cap is None:
            return []
        names = [name for target in cap.binding for name in area.names.get(target, ())]
        return [self._signed(microgrid, name) for name in dict.fromkeys(names)]

    def _signed(self, microgrid: str, name: str) -> SignedLimit:
        found = self._book.signed(microgrid, [name])
        signed = found[0] if found else Signature()
        return SignedLimit(name=name, payload=signed.payload, signature=signed.signature, key_id=signed.key_id)

    def kept(self, microgrid: str) -> Mapping[str, Kept]:
        """What was done about each target."""
        area = self._areas.get(microgrid)
        return {} if area is None else area.kept

    def enforce_all(self) -> None:
        """Look at every microgrid; what goes wrong in one keeps no other from its turn."""
        for microgrid in self._directory.microgrids():
            self.enforce(microgrid)

    def enforce(self, microgrid: str) -> None:
        """Decide anew what devices may do, and have those told for whom it changed.

        What goes wrong is in the log and tried again at the next look: a limit that was taken is acknowledged.
        """
        try:
            self._enforce(microgrid)
            self._drivers.looked(microgrid)
        except Exception:
            log.exception("limits of microgrid %s", microgrid)

    def _enforce(self, microgrid: str) -> None:
        known = self._directory.get(microgrid)
        area = self._areas.setdefault(microgrid, _Area())
        if known is None or not (self._book.targets(microgrid) or area.caps):
            return
        declared = self._drivers.failsafes(microgrid)
        situation = self._situation(known, declared)
        window = str(int(self._clock.now()) // (known.microgrid.window_minutes * 60))
        found = clamp(situation, policy=self._policy, margin=self._margin, salt=window)
        now = self._monotonic.now()
        elapsed = RETURN_S if area.at is None else now - area.at
        total = sum(device.ability.max_consumption_w + device.ability.max_production_w for device in situation.devices)
        # What is less than a watt waits, or looks in quick succession would hold everything down.
        rise_w = total * min(1.0, elapsed / RETURN_S) + area.carried_w
        area.carried_w = rise_w - int(rise_w)
        caps = spread(area.caps, found.caps, situation.devices, rise_w=int(rise_w), salt=window)
        changed = frozenset(id_ for id_ in {*caps, *area.caps} if caps.get(id_) != area.caps.get(id_))
        area.caps, area.at = {id_: cap for id_, cap in caps.items() if cap is not None}, now
        excess = self._failsafe_excess(known, situation, declared)
        area.kept = _kept(known, found, situation, area.caps, excess)
        if changed:
            self._drivers.push(microgrid, changed)
            if self._on_change is not None:
                self._on_change(microgrid, len(changed & area.caps.keys()))

    def _failsafe_excess(
        self, known: Registered, situation: Situation, declared: Mapping[str, Declared]
    ) -> dict[str, int]:
        """By how much each default would be exceeded if every device went to its failsafe now."""
        grid = known.microgrid
        lows, highs = {}, {}
        for scope in situation.scopes:
            lows[scope.name], highs[scope.name] = scope.uncontrolled.low_w, scope.uncontrolled.high_w
        for device in situation.devices:
            said = declared.get(device.id)
            low, high = _failsafe_w(device.ability, None if said is None else said.failsafe)
            lows[device.scope] += low
            highs[device.scope] += high
        excess = {}
        for target in self._book.targets(grid.id):
            band = self._book.stated(grid.id, target)
            members = [f"{grid.name}/members/{id_}" for id_ in members_under(known, target)]
            above = 0 if band.upper_w is None else sum(highs[name] for name in members) - band.upper_w
            below = 0 if band.lower_w is None else band.lower_w - sum(lows[name] for name in members)
            excess[target] = max(0, above, below)
        return excess

    def _situation(self, known: Registered, declared: Mapping[str, Declared]) -> Situation:
        grid = known.microgrid
        area = self._areas[grid.id]
        now = self._clock.now()
        area.names = {}
        scopes = []
        for target, parent in _tree(known):
            band = self._book.effective(grid.id, target, now)
            area.names[target] = tuple(name for name in (band.binding_lower, band.binding_upper) if name)
            measured = self._live.fresh(grid.id, target)
            scopes.append(
                Scope(
                    name=target,
                    parent=parent,
                    lower_w=band.lower_w,
                    upper_w=band.upper_w,
                    measured_w=None if measured is None else measured.power_w,
                )
            )
        members = {f"{grid.name}/members/{member.id}": member for member in known.members}
        scopes = [
            scope
            if scope.name not in members
            else Scope(
                name=scope.name,
                parent=scope.parent,
                lower_w=scope.lower_w,
                upper_w=scope.upper_w,
                measured_w=scope.measured_w,
                uncontrolled=self._assumed(grid.id, members[scope.name], now),
            )
            for scope in scopes
        ]
        connected, observed = self._drivers.connected(grid.id), self._drivers.observed(grid.id)
        devices = tuple(
            self._device(known, device, declared.get(device.id), connected, observed.get(device.id))
            for device in known.devices
        )
        return Situation(scopes=tuple(scopes), devices=devices)

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

    def _device(
        self,
        known: Registered,
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
        fresh = seen is not None and self._monotonic.now() - seen.arrived <= FRESH_S
        state = seen.state if seen is not None and fresh else None
        held_until = None if seen is None else _held_until(device.flexibility, seen.state)
        held = held_until is not None and self._clock.now() < held_until
        running = isinstance(device.flexibility, Programme) and state is not None and state.on
        return Device(
            id=device.id,
            scope=f"{grid.name}/members/{device.member}",
            ability=ability_of(device.flexibility),
            planned=None if target is None else Planned(kind=target.kind, value=target.value),
            measured_w=None if state is None else state.power_w,
            # A cycle that was begun is not interrupted, nor a least time that is hard; who is away cannot be told, nor
            # can one without a plan whose failsafe nobody knows: it does what it does.
            controllable=device.id in connected and target is not None and not running and not held,
            ends=held_until if held and not running else None,
        )


def _failsafe_w(ability: Ability, failsafe: Target | None) -> tuple[int, int]:
    """Between which powers a device is in its failsafe; anything that it can where nobody said."""
    if failsafe is None:
        return -ability.max_production_w, ability.max_consumption_w
    match failsafe.kind:
        case SetpointKind.RELAY:
            return (-ability.max_production_w, ability.max_consumption_w) if failsafe.value else (0, 0)
        case SetpointKind.POWER:
            return min(0, failsafe.value), max(0, failsafe.value)
        case SetpointKind.PRODUCTION_LIMIT:
            return -min(failsafe.value, ability.max_production_w), 0
        case never:
            assert_never(never)


def _held_until(flexibility: Flexibility, state: DeviceState) -> float | None:
    """Until when a device has to stay on, or off, whatever a limit says; None where it has not."""
    match flexibility:
        case Relay(hard_minimum_times=True, min_on_s=on_s, min_off_s=off_s):
            pass
        case Thermostat(hard_minimum_times=True, min_on_s=on_s, min_off_s=off_s):
            pass
        case Generator(hard_minimum_times=True, min_up_s=on_s, min_down_s=off_s):
            pass
        case _:
            return None
    # One that does not say since when counts as if it had just switched.
    return state.instant + max(0, (on_s if state.on else off_s) - (state.held_s or 0))


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


def _kept(
    known: Registered,
    found: Curtailment,
    situation: Situation,
    caps: Mapping[str, Cap | None],
    failsafe_excess: Mapping[str, int],
) -> dict[str, Kept]:
    curtailed: dict[str, int] = {}
    for device in situation.devices:
        cap = caps.get(device.id)
        if cap is None:
            continue
        held = 0
        if cap.max_consumption_w is not None:
            held += max(0, device.consumption_w - cap.max_consumption_w)
        if cap.max_production_w is not None:
            held += max(0, device.production_w - cap.max_production_w)
        curtailed[device.scope] = curtailed.get(device.scope, 0) + held
    name = known.microgrid.name
    return {
        target: Kept(
            curtailed_w=sum(curtailed.get(f"{name}/members/{id_}", 0) for id_ in members_under(known, target)),
            excess_w=max(outcome.excess_upper_w, outcome.excess_lower_w),
            failsafe_excess_w=failsafe_excess.get(target, 0),
        )
        for target, outcome in found.scopes.items()
    }
