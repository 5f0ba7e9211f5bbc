"""Whether a DSO has control: a state machine over heartbeats, on a clock that nobody sets.

After EEBUS' limitation of power consumption: a heartbeat is missed after 120 s, control comes back with a heartbeat
and a limit that follows it, or with 120 s of heartbeats alone. Stricter than it in one point: no time that passes in
silence ever ends a limit.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never


class Control(Enum):
    """How a DSO stands to a microgrid; see the API's SupervisionState."""

    INIT = "INIT"
    CONTROLLED = "CONTROLLED"
    FAILSAFE = "FAILSAFE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When heartbeats count.

    Attributes
    ----------
    heartbeat_s : seconds in which one is due
    lost_s : seconds after which it is missed
    recover_s : seconds of unbroken heartbeats that bring control back by themselves
    """

    heartbeat_s: float = 60.0
    lost_s: float = 120.0
    recover_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """What is known of one DSO. Instants are seconds of a clock that runs on through suspension and is never set.

    Attributes
    ----------
    control, reason : the state, and why, for people
    supervised : whether it was ever heard: who was is missed when silent
    since : when this began: the service's start, or the state's last change
    heard : the last heartbeat; None before the first since the start
    unbroken : the first of the heartbeats without a gap up to the last; None where there is a gap
    """

    control: Control = Control.INIT
    reason: str = "not heard since the start"
    supervised: bool = False
    since: float
    heard: float | None = None
    unbroken: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A heartbeat came at an instant; ``confirm`` takes control with what holds; clocks may disagree."""

    at: float
    confirm: bool = False
    clocks_agree: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Restated:
    """The DSO gave, replaced or cancelled a limit."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """Time passed; ``jumped`` where the wall clock was set meanwhile."""

    at: float
    jumped: bool = False


Event = Heard | Restated | Ticked


def step(was: Supervision, event: Event, timing: Timing) -> Supervision:
    """What follows from an event.

    Only a heartbeat with agreeing clocks, or a limit while such heartbeats come, leads to CONTROLLED; silence, clocks
    that disagree and a clock that was set lead away from it. FAILSAFE ends in nothing but CONTROLLED.
    """
    match event:
        case Heard(clocks_agree=False, at=at):
            told = replace(was, supervised=True, heard=at, unbroken=None)
            return _enter(told, Control.FAILSAFE, "its clock disagrees with the service's", at)
        case Heard(at=at, confirm=confirm):
            return _heard(was, at, timing, confirm=confirm)
        case Restated(at=at):
            heard = was.unbroken is not None and was.heard is not None and at - was.heard < timing.lost_s
            return _enter(was, Control.CONTROLLED, "heard, and a limit followed", at) if heard else was
        case Ticked(at=at, jumped=jumped):
            return _ticked(was, at, timing, jumped=jumped)
        case never:
            assert_never(never)


def _heard(was: Supervision, at: float, timing: Timing, *, confirm: bool) -> Supervision:
    broken = was.unbroken is None or was.heard is None or at - was.heard >= timing.lost_s
    told = replace(was, supervised=True, heard=at, unbroken=at if broken else was.unbroken)
    if confirm:
        return _enter(told, Control.CONTROLLED, "heard, and confirmed", at)
    if broken and was.control is Control.CONTROLLED:
        # Nobody ticked while it was silent: the silence counts all the same.
        return _enter(told, Control.FAILSAFE, f"not heard for {timing.lost_s:g} s", at)
    if at - (told.unbroken if told.unbroken is not None else at) >= timing.recover_s:
        return _enter(told, Control.CONTROLLED, f"heard for {timing.recover_s:g} s", at)
    return told


def _ticked(was: Supervision, at: float, timing: Timing, *, jumped: bool) -> Supervision:
    if not was.supervised:
        return was
    if jumped:
        return _enter(replace(was, unbroken=None), Control.FAILSAFE, "the service's clock was set", at)
    if at - (was.since if was.heard is None else was.heard) >= timing.lost_s:
        return _enter(replace(was, unbroken=None), Control.FAILSAFE, f"not heard for {timing.lost_s:g} s", at)
    return was


def _enter(was: Supervision, control: Control, reason: str, at: float) -> Supervision:
    if was.control is control:
        return was
    return replace(was, control=control, reason=reason, since=at)
