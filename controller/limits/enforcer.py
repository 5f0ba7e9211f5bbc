"""Keeps limits at run time: asks the clamp what devices may do, and has them told at once.

It needs the book, what is at hand in memory and the drivers' streams; neither solver nor database nor chain.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from controller.clamp import Cap, Curtailment, Device, Margin, Policy, Situation, Span, capped, clamp
from controller.clamp import ramp as spread
from controller.clock import Clock, Monotonic
from controller.commands import Response
from controller.composing import SignedLimit
from controller.limits.conduct import Conduct, Sight
from controller.limits.directory import Registered
from controller.limits.drivers import Declared, Drivers
from controller.limits.forecasts import Forecasts
from controller.limits.holding import Holding, Tally, held_w
from controller.limits.limits import Limits
from controller.limits.situating import Surveyor, span_of
from controller.limits.status import Kept, members_under

log = logging.getLogger(__name__)

RETURN_S = 60.0
"""Seconds over which all that was curtailed comes back."""
LONGEST_S = 60.0
"""Between two looks nobody knows what was held back for longer."""
NOTHING = Cap(max_consumption_w=0, max_production_w=0)
"""For a device that is registered no more: it is told to do nothing for as long as anybody holds its stream."""


@dataclass(slots=True)
class _Area:
    """What acts in a microgrid."""

    caps: dict[str, Cap | None] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    conduct: Conduct = field(default_factory=Conduct)
    at: float | None = None
    carried_w: float = 0.0
    holdings: tuple[Holding, ...] = ()
    counted_ms: int | None = None


class Enforcer:
    """The clamp at work, for all microgrids.

    Parameters
    ----------
    limits, forecasts : what holds, who is there, what is measured and expected
    drivers : who is told
    clock, monotonic : wall time chooses what is planned; ages are told by the steady clock
    policy, margin : see `clamp`
    tally : sums up what is held back of whom
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
        tally: Tally | None = None,
        on_change: Callable[[str, int], None] | None = None,
    ) -> None:
        self._on_change = on_change
        self._tally = Tally() if tally is None else tally
        self._book, self._directory = limits.book, limits.directory
        self._surveyor = Surveyor(limits=limits, forecasts=forecasts, drivers=drivers, clock=clock, monotonic=monotonic)
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
        bound = ((name, target) for target in cap.binding for name in area.names.get(target, ()))
        return list(dict.fromkeys(self._signed(microgrid, name, target) for name, target in bound))

    def _signed(self, microgrid: str, name: str, target: str) -> SignedLimit:
        signed = self._book.signed(microgrid, name, target)
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
        if known is not None:
            self._count(known, area)
        if known is None or not (self._book.targets(microgrid) or area.caps):
            area.holdings = ()
            self._surveyor.forget(microgrid)
            return
        declared = self._drivers.failsafes(microgrid)
        surveyed = self._surveyor.survey(known, declared)
        situation, area.names = surveyed.situation, surveyed.names
        window = str(int(self._clock.now()) // (known.microgrid.window_minutes * 60))
        now = self._monotonic.now()
        elapsed = RETURN_S if area.at is None else now - area.at
        total = sum(device.ability.max_consumption_w + device.ability.max_production_w for device in situation.devices)
        # What is less than a watt waits, or looks in quick succession would hold everything down.
        rise_w = total * min(1.0, elapsed / RETURN_S) + area.carried_w
        area.carried_w = rise_w - int(rise_w)

        def returned(wanted: Mapping[str, Cap | None]) -> dict[str, Cap | None]:
            return spread(area.caps, wanted, situation.devices, rise_w=int(rise_w), salt=window)

        found = clamp(situation, policy=self._policy, margin=self._margin, salt=window)
        caps = returned(found.caps)
        told = {device.id: _told(device, caps.get(device.id)) for device in situation.devices if device.controllable}
        doubts = self._doubts(microgrid, area.conduct, situation, declared, told)
        if doubts:
            # They are told what would be left to them if they did as told; others get what is left as they are.
            asked = found
            found = clamp(_without(situation, doubts), policy=self._policy, margin=self._margin, salt=window)
            caps = returned({**found.caps, **{id_: asked.caps[id_] for id_ in doubts}})
            told = {id_: _told(device, caps.get(id_)) for device in situation.devices if (id_ := device.id) in told}
        area.conduct.note(told, now)
        area.conduct.keep({device.id for device in known.devices})
        caps |= dict.fromkeys(surveyed.gone & self._drivers.connected(microgrid), NOTHING)
        changed = frozenset(id_ for id_ in {*caps, *area.caps} if caps.get(id_) != area.caps.get(id_))
        area.caps, area.at = {id_: cap for id_, cap in caps.items() if cap is not None}, now
        excess = self._failsafe_excess(known, situation, declared)
        area.kept = _kept(known, found, situation, area.caps, excess)
        if changed:
            self._drivers.push(microgrid, changed)
            if self._on_change is not None:
                self._on_change(microgrid, len(changed & area.caps.keys()))
        # After those who wait for it were told.
        area.holdings = self._holdings(known, situation, area) if area.caps else ()

    def _count(self, known: Registered, area: _Area) -> None:
        """Sum up what was held back since the last look; a wall clock that was set adds nothing."""
        at_ms = int(self._monotonic.now() * 1000)
        if area.holdings and area.counted_ms is not None:
            end_ms = int(self._clock.now() * 1000)
            start_ms = end_ms - min(at_ms - area.counted_ms, int(LONGEST_S * 1000))
            grid = known.microgrid
            self._tally.add(grid.id, grid.mtu_seconds, area.holdings, start_ms=start_ms, end_ms=end_ms)
        area.counted_ms = at_ms

    def _holdings(self, known: Registered, situation: Situation, area: _Area) -> tuple[Holding, ...]:
        """What is held back of whom from now on; a DSO's limit bears it before a rating."""
        grid = known.microgrid
        homes = {device.id: device.member for device in known.devices}
        found = []
        for device in situation.devices:
            cap = area.caps.get(device.id)
            if cap is None or device.id not in homes or not any(held := held_w(device, cap)):
                continue
            names = [(name, target) for target in cap.binding for name in area.names.get(target, ())]
            owned = [(name, self._book.holder(grid.id, name, target)) for name, target in names]
            limit, holder = min(owned, key=lambda one: (not one[1], one), default=("", ""))
            found.append(
                Holding(
                    member=homes[device.id], limit=limit, holder=holder, consumption_w=held[0], production_w=held[1]
                )
            )
        return tuple(found)

    def _doubts(
        self,
        microgrid: str,
        conduct: Conduct,
        situation: Situation,
        declared: Mapping[str, Declared],
        told: Mapping[str, Span],
    ) -> dict[str, Span]:
        """What devices may be doing that do not do what they are told, by id."""
        responses, observed = self._drivers.responses(microgrid), self._drivers.observed(microgrid)
        doubts = {}
        for device in situation.devices:
            span = told.get(device.id)
            response = responses.get(device.id, Response.NOTHING)
            if span is None or conduct.is_plain(device.id, span, device.measured_w, response):
                continue
            measured = None if device.measured_w is None else (device.measured_w, observed[device.id].arrived)
            said = declared.get(device.id)
            sight = Sight(
                told=span,
                worst=device.worst,
                failsafe=span_of(device.ability, None if said is None else said.failsafe),
                measured=measured,
                response=response,
            )
            doubt = conduct.doubt(device.id, sight)
            if doubt is not None:
                doubts[device.id] = doubt
        return doubts

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
            span = span_of(device.ability, None if said is None else said.failsafe)
            lows[device.scope] += span.low_w
            highs[device.scope] += span.high_w
        excess = {}
        for target in self._book.targets(grid.id):
            band = self._book.stated(grid.id, target)
            members = [f"{grid.name}/members/{id_}" for id_ in members_under(known, target)]
            above = 0 if band.upper_w is None else sum(highs[name] for name in members) - band.upper_w
            below = 0 if band.lower_w is None else band.lower_w - sum(lows[name] for name in members)
            excess[target] = max(0, above, below)
        return excess


def _told(device: Device, cap: Cap | None) -> Span:
    """Between which powers a device is that does what it is told under a cap."""
    planned = device.planned
    if planned is not None and cap is not None:
        planned = capped(planned, cap, device.ability)
    return span_of(device.ability, planned)


def _without(situation: Situation, doubts: Mapping[str, Span]) -> Situation:
    """The same with some devices out of reach, each somewhere between two powers."""
    devices = tuple(
        replace(device, controllable=False, assumed=doubts[device.id]) if device.id in doubts else device
        for device in situation.devices
    )
    return replace(situation, devices=devices)


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
