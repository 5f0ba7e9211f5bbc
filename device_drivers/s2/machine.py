"""A device as operation modes, transitions between them and the timers that block these: OMBC and FRBC share it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, RelayState

ROUNDING_W = 0.5
"""W by which a power may lie beside a mode's range: what is asked for is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The power of a mode over a range of the fill level.

    Attributes
    ----------
    fill_lower, fill_upper : float
        In the storage's own unit; infinite where nothing is stored.
    start_w, end_w : float
        W at the factors 0 and 1, consumption positive; either may be the larger.
    """

    fill_lower: float = -math.inf
    fill_upper: float = math.inf
    start_w: float
    end_w: float

    def factor(self, power_w: float) -> float | None:
        """The factor from 0 to 1 that gives this power; None where none does."""
        least, most = sorted((self.start_w, self.end_w))
        if not least - ROUNDING_W <= power_w <= most + ROUNDING_W:
            return None
        if self.start_w == self.end_w:
            return 1.0
        return min(1.0, max(0.0, (power_w - self.start_w) / (self.end_w - self.start_w)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """An operation mode.

    Attributes
    ----------
    mode_id : str
        As instructions name it.
    label : str or None
        As people name it.
    spans : tuple of Span
        At least one.
    abnormal_only : bool
        Whether it is for emergencies alone.
    """

    mode_id: str
    label: str | None
    spans: tuple[Span, ...]
    abnormal_only: bool

    def span(self, fill: float | None) -> Span:
        """The power at a fill level; of a level that is not known only where it does not matter.

        Raises
        ------
        DeviceError
            If it depends on a level that nobody has told.
        """
        if fill is None:
            if len({(one.start_w, one.end_w) for one in self.spans}) > 1:
                raise DeviceError(f"s2: got no fill level, on which the power of {self} depends")
            return self.spans[0]
        # Beside all of them the nearest: levels are measured, and round.
        return min(self.spans, key=lambda one: max(one.fill_lower - fill, fill - one.fill_upper, 0.0))

    def __str__(self) -> str:
        return repr(self.label or self.mode_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A way from one mode to another.

    Attributes
    ----------
    source, target : str
        Ids of modes.
    starts, blocked_by : tuple of str
        Ids of the timers that it starts, and of those that must have ended.
    abnormal_only : bool
        Whether it is for emergencies alone.
    """

    source: str
    target: str
    starts: tuple[str, ...]
    blocked_by: tuple[str, ...]
    abnormal_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a device can do.

    Attributes
    ----------
    modes : mapping of str to Mode
        By id; not empty.
    transitions : tuple of Transition
        Between these modes.
    timers_s : mapping of str to float
        s that each timer runs, by id.

    Raises
    ------
    InvalidValueError
        If a transition names a mode or a timer that is not there.
    """

    modes: Mapping[str, Mode]
    transitions: tuple[Transition, ...]
    timers_s: Mapping[str, float]

    def __post_init__(self) -> None:
        for one in self.transitions:
            for mode in (one.source, one.target):
                if mode not in self.modes:
                    raise InvalidValueError(f"transition: got the mode {mode!r}, wanted one of the operation modes")
            for timer in (*one.starts, *one.blocked_by):
                if timer not in self.timers_s:
                    raise InvalidValueError(f"transition: got the timer {timer!r}, wanted one of the timers")

    def named(self, name: str, option: str) -> Mode:
        """The mode that an option names by its id or its label.

        Raises
        ------
        InvalidValueError
            If there is none, or more than one.
        """
        found = [one for one in self.modes.values() if name in {one.mode_id, one.label}]
        if len(found) != 1:
            raise InvalidValueError(f"option {option}: got {name!r}, wanted one of {_listed(self.modes.values())}")
        return found[0]

    def off(self, name: str | None) -> Mode:
        """The mode that is off: the one that is named, or the only one that takes and gives nothing."""
        if name is not None:
            return self.named(name, "off")
        found = [
            one
            for one in self.modes.values()
            if not one.abnormal_only and all(span.start_w == span.end_w == 0 for span in one.spans)
        ]
        if len(found) != 1:
            raise InvalidValueError(f"option off: got none, wanted one of {_listed(self.modes.values())}")
        return found[0]

    def on(self, name: str | None, off: Mode) -> Mode:
        """The mode that is on: the one that is named, or the only other one."""
        if name is not None:
            return self.named(name, "on")
        found = [one for one in self.modes.values() if not one.abnormal_only and one is not off]
        if len(found) != 1:
            raise InvalidValueError(f"option on: got none, wanted one of {_listed(self.modes.values())}")
        return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A mode and how far it is turned up.

    Attributes
    ----------
    mode_id : str
        The mode.
    factor : float
        From 0 to 1.
    """

    mode_id: str
    factor: float


def setting_for(
    machine: Machine, active: str, target: RelayState | Power, *, relay: tuple[Mode, Mode] | None, fill: float | None
) -> tuple[Setting, ...]:
    """The settings that do what a target says, those of the active mode first, those for emergencies never.

    Parameters
    ----------
    machine : Machine
        What the device can do.
    active : str
        The mode that it is in.
    target : RelayState or Power
        What it shall do.
    relay : (Mode, Mode) or None
        What counts as off and on; wanted where the target is a state of a relay.
    fill : float or None
        Its fill level.

    Raises
    ------
    DeviceError
        If there is none.
    """
    modes = sorted(machine.modes.values(), key=lambda one: one.mode_id != active)
    found: list[Setting] = []
    if isinstance(target, RelayState):
        off, on = relay or (None, None)
        mode = on if target.closed else off
        if mode is not None:
            span = mode.span(fill)
            # On is as much as the mode takes, off as little as it takes or gives.
            full = abs(span.end_w) >= abs(span.start_w)
            return (Setting(mode_id=mode.mode_id, factor=float(full is target.closed)),)
    else:
        for one in modes:
            factor = None if one.abnormal_only else one.span(fill).factor(target.power_w)
            if factor is not None:
                found.append(Setting(mode_id=one.mode_id, factor=factor))
    if not found:
        spans = (one.span(fill) for one in modes if not one.abnormal_only)
        ranges = ", ".join(f"{span.start_w:g} to {span.end_w:g} W" for span in spans)
        raise DeviceError(f"s2: got {target}, wanted a power of an operation mode: {ranges}")
    return tuple(found)


def reachable(
    machine: Machine, active: str, settings: Iterable[Setting], finished: Mapping[str, datetime], utc: datetime
) -> Setting:
    """The first of some settings that may be gone to now.

    Parameters
    ----------
    machine : Machine
        What the device can do.
    active : str
        The mode that it is in.
    settings : iterable of Setting
        At least one, the best first.
    finished : mapping of str to datetime
        When each timer that was ever started ends.
    utc : datetime
        Now.

    Raises
    ------
    DeviceError
        If none may; says until when it is blocked, where that is known.
    """
    reasons: list[str] = []
    for setting in settings:
        if setting.mode_id == active:
            return setting
        mode = machine.modes[setting.mode_id]
        way = next(
            (one for one in machine.transitions if (one.source, one.target) == (active, setting.mode_id)),
            None,
        )
        if way is None or way.abnormal_only:
            kind = "no transition" if way is None else "a transition for emergencies alone"
            reasons.append(f"{kind} from {machine.modes.get(active, active)} to {mode}")
            continue
        until = max((finished[timer] for timer in way.blocked_by if timer in finished), default=utc)
        if until > utc:
            when = until.isoformat(timespec="seconds")
            reasons.append(f"a timer that blocks {mode}, wanted it later than {when}")
            continue
        return setting
    raise DeviceError("s2: got " + "; ".join(reasons))


def _listed(modes: Iterable[Mode]) -> str:
    return ", ".join(str(one) for one in modes)
