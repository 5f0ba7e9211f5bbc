"""What a device does now: one table that says which rule goes before which. Pure.

From the last rule to the first, each may change what the one below it wants; so the first has the last word. A rule
that changes nothing leaves the decision with the one below.

====  ==============  =====================================================================================
rank  rule            what it does
====  ==============  =====================================================================================
1     INTERLOCK       off, while another device of the interlock runs or may run
2     LIMIT           less, or off, where the room under the grid operator's limits is too small
3     MINIMUM_TIMES   stays on, or off, until the least time is over and a start is left
4     FAILSAFE        what the device does when nobody tells it anything, where there is no fresh setpoint
5     SETPOINT        what the controller wants, under a live lease
====  ==============  =====================================================================================

A device that declares its minimum times hard, as a compressor, has ranks 2 and 3 the other way round. Power bounds have
no rank: what breaks them is refused when it arrives.
"""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from device_drivers.setpoint import Bounds, Power, ProductionLimit, RelayState, Target


class Rule(Enum):
    """What decided."""

    INTERLOCK = "interlock"
    LIMIT = "limit"
    MINIMUM_TIMES = "minimum times"
    FAILSAFE = "failsafe"
    SETPOINT = "setpoint"


PRECEDENCE = (Rule.INTERLOCK, Rule.LIMIT, Rule.MINIMUM_TIMES, Rule.FAILSAFE, Rule.SETPOINT)
"""The first has the last word."""

PRECEDENCE_HARD = (Rule.INTERLOCK, Rule.MINIMUM_TIMES, Rule.LIMIT, Rule.FAILSAFE, Rule.SETPOINT)
"""The same for a device whose minimum times are hard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A device may not be switched yet.

    Attributes
    ----------
    target : Target
        What it does until then: on, as it is, or off.
    until : float
        s on the driver's clock: the earliest instant at which it may be switched.
    reason : str
        Which rule says so, for people.
    """

    target: Target
    until: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a decision depends on.

    Attributes
    ----------
    setpoint : Target or None
        Of a live lease, for now; None where there is none.
    failsafe : Target
        What the failsafe is at this instant.
    hold : Hold or None
        Of the minimum times and the starts; None where the device may be switched.
    room : Bounds
        W that the device may take under the limits of its groups; 0 lies within, None does not bind.
    rating : Bounds
        W that the device takes at most, either way, while it is on; None where that is not known.
    blocked_by : str or None
        The device of an interlock that runs or may run; None where none does.
    """

    setpoint: Target | None
    failsafe: Target
    hold: Hold | None
    room: Bounds
    rating: Bounds
    blocked_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a device shall do now.

    Attributes
    ----------
    target : Target
        What.
    rule : Rule
        The first rule that had a say in it.
    reason : str
        Why it is not the setpoint, for people; empty where it is.
    """

    target: Target
    rule: Rule
    reason: str


def decide(situation: Situation, precedence: tuple[Rule, ...] = PRECEDENCE) -> Decision:
    """What holds now, by the table above."""
    decision = Decision(target=situation.failsafe, rule=Rule.FAILSAFE, reason="no setpoint holds now: failsafe")
    for rule in reversed(precedence):
        decision = _overruled(decision, rule, situation)
    return decision


def _overruled(below: Decision, rule: Rule, situation: Situation) -> Decision:
    """What a rule makes of the decision of those below it."""
    match rule:
        case Rule.SETPOINT:
            if situation.setpoint is not None:
                return Decision(target=situation.setpoint, rule=rule, reason="")
        case Rule.FAILSAFE:
            pass  # it is what holds where no setpoint took its place
        case Rule.MINIMUM_TIMES:
            hold = situation.hold
            if hold is not None and runs(below.target) is not runs(hold.target):
                return Decision(target=hold.target, rule=rule, reason=hold.reason)
        case Rule.LIMIT:
            target = shrunk(below.target, room=situation.room, rating=situation.rating)
            if target != below.target:
                return Decision(target=target, rule=rule, reason=f"limit: wanted {below.target}, room {situation.room}")
        case Rule.INTERLOCK:
            target = off(below.target)
            if situation.blocked_by is not None and target != below.target:
                return Decision(target=target, rule=rule, reason=f"interlock: {situation.blocked_by} runs or may run")
        case never:
            assert_never(never)
    return below


def runs(target: Target) -> bool:
    """Whether a device that does this counts as on. A limit of production switches nothing: it counts as on above 0."""
    match target:
        case RelayState(closed=closed):
            return closed
        case Power(power_w=power_w):
            return power_w != 0
        case ProductionLimit(limit_w=limit_w):
            return limit_w != 0
        case never:
            assert_never(never)


def off(target: Target) -> Target:
    """The target of the same kind that takes and gives nothing."""
    match target:
        case RelayState():
            return RelayState(closed=False)
        case Power():
            return Power(power_w=0)
        case ProductionLimit():
            return ProductionLimit(limit_w=0)
        case never:
            assert_never(never)


def span(target: Target, rating: Bounds) -> Bounds:
    """The powers in W that a device may have while it does this, at worst; 0 lies within."""
    match target:
        case RelayState(closed=closed):
            return _with_zero(rating) if closed else Bounds(lower_w=0, upper_w=0)
        case Power(power_w=power_w):
            return Bounds(lower_w=min(power_w, 0), upper_w=max(power_w, 0))
        case ProductionLimit(limit_w=limit_w):
            least = rating.lower_w
            lower_w = -limit_w if least is None else max(-limit_w, min(least, 0))
            return Bounds(lower_w=lower_w, upper_w=0)
        case never:
            assert_never(never)


def shrunk(target: Target, *, room: Bounds, rating: Bounds) -> Target:
    """As much of a target as there is room for; a relay is opened whole."""
    needs = span(target, rating)
    if _fits(needs, room):
        return target
    match target:
        case RelayState():
            return RelayState(closed=False)
        case Power(power_w=power_w):
            most = power_w if room.upper_w is None else min(power_w, room.upper_w)
            return Power(power_w=most if room.lower_w is None else max(most, room.lower_w))
        case ProductionLimit(limit_w=limit_w):
            return ProductionLimit(limit_w=limit_w if room.lower_w is None else min(limit_w, -room.lower_w))
        case never:
            assert_never(never)


def _with_zero(rating: Bounds) -> Bounds:
    return Bounds(
        lower_w=None if rating.lower_w is None else min(rating.lower_w, 0),
        upper_w=None if rating.upper_w is None else max(rating.upper_w, 0),
    )


def _fits(needs: Bounds, room: Bounds) -> bool:
    above = room.upper_w is None or (needs.upper_w is not None and needs.upper_w <= room.upper_w)
    below = room.lower_w is None or (needs.lower_w is not None and needs.lower_w >= room.lower_w)
    return above and below
