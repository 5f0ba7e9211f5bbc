"""What the hub knows of each device: how it was registered, what is planned, wanted and told, who serves it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from controller.clamp import Ability
from controller.commands import TrackedCommand
from controller.composing import UNKNOWN, Override, Stretch, Target
from controller.driver_stream import DriverStream
from controller.microgrid import DeviceSetpoint, DeviceState, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """How a device was registered.

    Attributes
    ----------
    mtu_seconds : of its microgrid
    ability : the powers at which it can run
    unplanned : what it counts as doing where nothing is planned and its driver declared no failsafe; None: not known
    gateway : id of the driver that serves it in the place of one of its own name; None for its own
    """

    mtu_seconds: int
    ability: Ability = UNKNOWN
    unplanned: Target | None = None
    gateway: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a driver said of its device when it connected.

    Attributes
    ----------
    failsafe : what the device does when nobody tells it anything; None where that was not said
    lower_w, upper_w : what the hardware can do; None where that was not said
    """

    failsafe: Target | None = None
    lower_w: int | None = None
    upper_w: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The newest telemetry of a device.

    Attributes
    ----------
    state : what it said
    arrived : monotonic instant at which it came: its age is told by this, not by anybody's wall clock
    measured : whether its power was measured; of a device without a meter it says nothing
    """

    state: DeviceState
    arrived: float
    measured: bool = True

    @property
    def measured_w(self) -> int | None:
        """Its power; None where nobody measured it."""
        return self.state.power_w if self.measured else None


class FleetDevice:
    """One device.

    Attributes
    ----------
    acts_until : monotonic instant until which its newest lease may act
    acted_until : the same of the one before, which acts on where the newest is rejected
    acts_through : Unix seconds of the end of the last that they say
    """

    __slots__ = (
        "_coming",
        "acted_until",
        "acts_through",
        "acts_until",
        "declared",
        "forgotten",
        "override",
        "planned",
        "registered",
        "sequence",
        "stream",
        "tracked",
    )

    def __init__(self) -> None:
        self.registered: Registered | None = None
        self.declared = Declared()
        self.forgotten = False
        self.planned: dict[int, tuple[str, Target]] = {}
        self._coming: tuple[Stretch, ...] | None = None
        self.override: Override | None = None
        self.sequence = 0
        self.acts_until = self.acted_until = self.acts_through = -inf
        self.stream: DriverStream | None = None
        self.tracked: TrackedCommand | None = None

    @property
    def ability(self) -> Ability:
        """The powers at which it can run, where that is known."""
        return UNKNOWN if self.registered is None else self.registered.ability

    @property
    def failsafe(self) -> Target | None:
        """What it does where nobody tells it anything, as its driver said, else as its kind is; None: not known."""
        if self.declared.failsafe is not None:
            return self.declared.failsafe
        return None if self.registered is None else self.registered.unplanned

    def leased(self, *, from_: float, until: float, through: float) -> None:
        """Remember a lease between two monotonic instants, and where on the wall clock what it says ends."""
        earlier = self.acts_through if from_ < self.acts_until else -inf
        self.acted_until, self.acts_until = self.acts_until, until
        self.acts_through = max(earlier, through)

    def may_act(self, now: float, instant: float) -> bool:
        """Whether a lease may act at a time of the wall clock and an instant of the monotonic one."""
        return instant < self.acts_until and now < self.acts_through

    def plan(self, window: Window, setpoints: Iterable[DeviceSetpoint], now: float) -> None:
        """Keep what a window decided for MTUs; a later decision takes the place of an earlier one.

        What is over is forgotten: of a device whose driver never comes nobody asks what comes.
        """
        self._forget_past(now)
        for setpoint in setpoints:
            self.planned[setpoint.mtu_start] = window.name, Target(setpoint.kind, setpoint.value)
        self._coming = None

    def withdraw(self, start: int, end: int) -> None:
        """Forget what is planned for the MTUs that begin in ``[start, end)``."""
        for mtu in [mtu for mtu in self.planned if start <= mtu < end]:
            del self.planned[mtu]
        self._coming = None

    def forget_plans(self) -> None:
        """Forget everything that is planned."""
        self.planned.clear()
        self._coming = None

    def due(self, now: float, *, told: bool) -> bool:
        """Whether time alone changed what it is to do: an override is over, or a plan begins and nothing was told."""
        over = self.override is not None and self.override.until <= now
        return over or (not told and any(start <= now for start in self.planned))

    def coming(self, now: float) -> tuple[Stretch, ...]:
        """What is planned and not over, in order of time; what is over is forgotten.

        It is put together once: every heartbeat and every limit asks for it again.
        """
        if self.registered is None:
            return ()
        mtu_s = self.registered.mtu_seconds
        known = self._coming
        if known is None or (known and known[0].end <= now):
            self._forget_past(now)
            known = self._coming = tuple(
                Stretch(start=start, end=start + mtu_s, target=target, window=window)
                for start, (window, target) in sorted(self.planned.items())
            )
        return known

    def planned_at(self, now: int) -> Target | None:
        """What is planned at an instant; None where nothing is."""
        return next((stretch.target for stretch in self.coming(now)[:1] if stretch.start <= now), None)

    def _forget_past(self, now: float) -> None:
        if self.registered is None:
            return
        mtu_s = self.registered.mtu_seconds
        for past in [start for start in self.planned if start + mtu_s <= now]:
            del self.planned[past]


class Fleet:
    """All devices by microgrid and id."""

    def __init__(self) -> None:
        self._devices: defaultdict[str, dict[str, FleetDevice]] = defaultdict(dict)

    def device(self, microgrid: str, device: str) -> FleetDevice:
        """The device; new where nothing is known of it."""
        devices = self._devices[microgrid]
        found = devices.get(device)
        if found is None:
            found = devices[device] = FleetDevice()
        return found

    def of(self, microgrid: str) -> dict[str, FleetDevice]:
        """The devices of a microgrid by id."""
        return self._devices[microgrid]

    def __iter__(self) -> Iterator[tuple[str, str, FleetDevice]]:
        """Microgrid, device id, device: of all."""
        for microgrid, devices in self._devices.items():
            for id_, device in devices.items():
                yield microgrid, id_, device
