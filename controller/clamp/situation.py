"""What a clamp is decided on: the scopes of one microgrid with their bands, and the devices in them, as they are now.

Integers in W, consumption positive. A measurement that is too old is given as None: how old that is, the caller knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from controller.clamp.ability import LARGEST_W, Ability, Level, Reach, reach
from controller.errors import InputError
from controller.microgrid import SetpointKind


class Policy(Enum):
    """Who gives when not everything fits.

    PROPORTIONAL: everyone keeps running at least powers while these fit, and keeps the same share of what is planned
    above them. PRIORITY: lower priorities give first; within one it is as in PROPORTIONAL.
    """

    PROPORTIONAL = "PROPORTIONAL"
    PRIORITY = "PRIORITY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A power of which only this is known, W: ``low_w <= power <= high_w``."""

    low_w: int
    high_w: int

    def __post_init__(self) -> None:
        if self.low_w > self.high_w:
            raise InputError(f"span: got [{self.low_w}, {self.high_w}] W, wanted the lower no higher than the upper")


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """What is kept free of every limit, for what may change before the next measurement.

    Attributes
    ----------
    fixed_w : W
    share_ppm : of the uncontrolled power's magnitude, rounded up
    """

    fixed_w: int = 0
    share_ppm: int = 0

    def __post_init__(self) -> None:
        if self.fixed_w < 0 or self.share_ppm < 0:
            raise InputError(f"margin: got {self.fixed_w} W and {self.share_ppm} ppm, wanted neither negative")

    def of(self, power_w: int) -> int:
        """The margin where so much is uncontrolled."""
        return self.fixed_w - (-abs(power_w) * self.share_ppm // 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A setpoint without its interval: ``value`` is 0 or 1 for a relay, else W."""

    kind: SetpointKind
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a limit may be put on: the connection point, the transformer, a section, a member.

    Attributes
    ----------
    name : resource name of the target
    parent : name of the scope around it; None for the outermost
    lower_w, upper_w : the band of its net power; None does not bind
    measured_w : its net power; None where there is no fresh measurement
    uncontrolled : worst case of the uncontrolled power that hangs on it directly, without its inner scopes and devices
    """

    name: str
    parent: str | None
    lower_w: int | None = None
    upper_w: int | None = None
    measured_w: int | None = None
    uncontrolled: Span = field(default=Span(low_w=0, high_w=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as it is now.

    Attributes
    ----------
    id : unique
    scope : name of the scope that it hangs on
    ability : the powers at which it can run; its ends are its worst case
    planned : the setpoint of now; None where it has none and its failsafe acts
    failsafe_w : what it takes then
    measured_w : None where there is no fresh measurement
    controllable : False while hard minimum times or an uninterruptible programme run, and while its driver is away
    ends : the instant from which it is controllable again, on any one clock; None where that is not known
    priority : lower gives first
    assumed : of one that is not controllable as it does not do what it is told: what it counts as; None: as measured,
        else its worst case
    """

    id: str
    scope: str
    ability: Ability
    planned: Planned | None = None
    failsafe_w: int = 0
    measured_w: int | None = None
    controllable: bool = True
    ends: float | None = None
    priority: int = 0
    assumed: Span | None = None

    @property
    def worst(self) -> Span:
        """Between which powers it may be; a failsafe or a plan beyond its ability is believed, too."""
        return Span(
            low_w=-max(self.ability.max_production_w, self.production_w),
            high_w=max(self.ability.max_consumption_w, self.consumption_w),
        )

    @property
    def consumption_w(self) -> int:
        """What it may draw as planned; a closed relay all that it switches, whatever it happens to draw."""
        if self.planned is None:
            return max(0, self.failsafe_w)
        match self.planned.kind:
            case SetpointKind.RELAY:
                return self.ability.max_consumption_w if self.planned.value else 0
            case SetpointKind.POWER:
                return max(0, self.planned.value)
            case SetpointKind.PRODUCTION_LIMIT:
                return 0

    @property
    def production_w(self) -> int:
        """What it may feed in as planned."""
        if self.planned is None:
            return max(0, -self.failsafe_w)
        match self.planned.kind:
            case SetpointKind.RELAY:
                return self.ability.max_production_w if self.planned.value else 0
            case SetpointKind.POWER:
                return max(0, -self.planned.value)
            case SetpointKind.PRODUCTION_LIMIT:
                return min(max(0, self.planned.value), self.ability.max_production_w)

    @property
    def consumption_reach(self) -> Reach:
        """The powers that it can draw at or below its plan; a relay draws all or nothing."""
        return self._reach(self.ability.consumption, self.consumption_w)

    @property
    def production_reach(self) -> Reach:
        """The powers that it can feed in at or below its plan."""
        return self._reach(self.ability.production, self.production_w)

    def _reach(self, levels: tuple[Level, ...], planned_w: int) -> Reach:
        whole = self.planned is not None and self.planned.kind is SetpointKind.RELAY
        return reach(() if whole else levels, planned_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One microgrid at one instant.

    Attributes
    ----------
    scopes : a forest: each parent is among them, in any order
    devices : each in one of the scopes, in any order

    Raises
    ------
    InputError
        If a name is there twice, a scope or a parent is missing, parents go round, or a power is absurd.
    """

    scopes: tuple[Scope, ...]
    devices: tuple[Device, ...]

    def __post_init__(self) -> None:
        names = {scope.name: scope for scope in self.scopes}
        if len(names) < len(self.scopes):
            raise InputError("scopes: got a name twice, wanted each once")
        for scope in self.scopes:
            if scope.parent is not None and scope.parent not in names:
                raise InputError(f"scopes: got {scope.name!r} in {scope.parent!r}, wanted a scope that is there")
        _refuse_rings(names)
        if len({device.id for device in self.devices}) < len(self.devices):
            raise InputError("devices: got an id twice, wanted each once")
        for device in self.devices:
            if device.scope not in names:
                raise InputError(f"devices: got {device.id!r} in {device.scope!r}, wanted a scope that is there")
            if max(device.consumption_w, device.production_w) > LARGEST_W:
                raise InputError(f"devices: got {device.planned} for {device.id!r}, wanted at most {LARGEST_W} W")


def _refuse_rings(scopes: Mapping[str, Scope]) -> None:
    sound: set[str] = set()
    for name in scopes:
        path: dict[str, None] = {}
        at: str | None = name
        while at is not None and at not in sound:
            if at in path:
                raise InputError(f"scopes: got {at!r} inside itself, wanted a tree")
            path[at] = None
            at = scopes[at].parent
        sound.update(path)
