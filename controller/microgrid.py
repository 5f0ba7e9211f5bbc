"""The values that the controller reasons about. Integers: W, Wh, micro-currency, Unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from controller.flexibility import Flexibility

GRID_ACCOUNT = "grid"
"""The counterparty of what is bought from or sold to the grid at the tariff; no member may be called so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffPeriod:
    """What the grid asks and pays in ``[start, end)``, in micro-currency/kWh."""

    start: int
    end: int
    import_price_micro_per_kwh: int
    export_price_micro_per_kwh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One dispatch window.

    Attributes
    ----------
    name : microgrids/{microgrid}/windows/{yyyymmddThhmmssZ}
    start, end : Unix seconds, half-open
    """

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Microgrid:
    """A community under one connection point, with its market's calendar.

    Attributes
    ----------
    id : of the resource microgrids/{id}
    time_zone : IANA
    mtu_minutes, window_minutes, lead_minutes : market time unit, dispatch window, gate closure before its start
    start, end : the horizon in Unix seconds; windows cover it, planning looks to its end
    network_charge_micro_per_kwh : what a buyer pays the DSO for a neighbour's energy
    currency : ISO 4217
    tariff : periods that cover the horizon
    """

    id: str
    time_zone: str
    mtu_minutes: int
    window_minutes: int
    lead_minutes: int
    start: int
    end: int
    network_charge_micro_per_kwh: int
    currency: str
    tariff: tuple[TariffPeriod, ...]

    @property
    def name(self) -> str:
        """The resource name."""
        return f"microgrids/{self.id}"

    @property
    def mtu_seconds(self) -> int:
        """Length of a market time unit."""
        return self.mtu_minutes * 60

    def windows(self) -> tuple[Window, ...]:
        """All windows of the horizon in order."""
        starts = range(self.start, self.end, self.window_minutes * 60)
        return tuple(
            Window(name=window_name(self.id, start), start=start, end=start + self.window_minutes * 60)
            for start in starts
        )

    def mtus(self, start: int, end: int) -> tuple[int, ...]:
        """The starts of the MTUs in ``[start, end)``."""
        return tuple(range(start, end, self.mtu_seconds))

    def midnights(self) -> tuple[int, ...]:
        """The instants inside the horizon at which a day of the time zone begins."""
        zone = ZoneInfo(self.time_zone)
        day = datetime.fromtimestamp(self.start, zone).date()
        instants = []
        while (instant := int(datetime.combine(day, time(), zone).timestamp())) < self.end:
            if instant > self.start:
                instants.append(instant)
            day += timedelta(days=1)
        return tuple(instants)

    def prices(self, instant: int) -> TariffPeriod:
        """The tariff at an instant of the horizon."""
        return next(period for period in self.tariff if period.start <= instant < period.end)


def window_name(microgrid: str, start: int) -> str:
    """The resource name of the window that starts at ``start``."""
    return f"microgrids/{microgrid}/windows/{datetime.fromtimestamp(start, UTC):%Y%m%dT%H%M%SZ}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A participant: ``id`` within its microgrid, and the feeder ``section`` of its one meter."""

    id: str
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A controllable device: ``id`` is ``{member}/{device}``."""

    id: str
    member: str
    flexibility: Flexibility


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """What a device was doing at an instant: as telemetry said, or as it follows from what the device was told.

    Attributes
    ----------
    device, instant : which, and when in Unix seconds
    power_w : consumption positive
    closed_s : how long its relay has been closed since it was first registered
    stored_wh : what a battery or a vehicle holds; None where it does not say
    closed : whether it is on; None where it does not say
    held_s : how long it has been on, or off, without a break; None where that is not known
    starts_today : how often it was switched on since midnight; None where that is not known
    temperature_milli_c : of a thermostat; None where it does not say
    closed_before_s : how much of ``closed_s`` was for tasks before the present one
    """

    device: str
    instant: int
    power_w: int
    closed_s: int
    stored_wh: int | None
    closed: bool | None = None
    held_s: int | None = None
    starts_today: int | None = None
    temperature_milli_c: int | None = None
    closed_before_s: int = 0

    @property
    def task_closed_s(self) -> int:
        """How long its relay has been closed for its present task."""
        return max(0, self.closed_s - self.closed_before_s)

    @property
    def on(self) -> bool:
        """Whether it is on: by its relay where it has one, else by its power."""
        return self.power_w != 0 if self.closed is None else self.closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds on a net power in ``[start, end)``; None does not bind."""

    start: int
    end: int
    lower_w: int | None
    upper_w: int | None


class EnvelopeState(Enum):
    """Whether an envelope counts."""

    ACTIVE = "ACTIVE"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeRecord:
    """A DSO's envelope as it is held.

    Attributes
    ----------
    id : within the microgrid
    target : resource name of the microgrid, a section or a member
    periods : in order of time
    reason : why, for people
    state : whether it counts
    created : Unix seconds
    payload, signature, key_id : as the DSO signed it
    """

    id: str
    target: str
    periods: tuple[Bounds, ...]
    reason: str
    state: EnvelopeState
    created: int
    payload: bytes
    signature: bytes
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalForecast:
    """What surrounds a thermostat's temperature in each MTU; a series that is empty says nothing.

    Attributes
    ----------
    ambient_milli_c : temperature of the surroundings
    draw_w : heat drawn off
    performance_ppm : heat per electric energy
    """

    ambient_milli_c: tuple[int, ...] = ()
    draw_w: tuple[int, ...] = ()
    performance_ppm: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A member's order for a window.

    Attributes
    ----------
    window, member : resource name and id
    load_w : uncontrolled consumption in each MTU from the window's start to the horizon's end
    production : by device id, what could be produced in each of these MTUs
    partners : by member id, disutility in micro-currency/kWh
    thermal : by device id, what surrounds a thermostat in each of these MTUs
    """

    window: str
    member: str
    load_w: tuple[int, ...]
    production: Mapping[str, tuple[int, ...]]
    partners: Mapping[str, int]
    thermal: Mapping[str, ThermalForecast] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """The two registers of a member's meter at an instant, in Wh."""

    member: str
    instant: int
    import_wh: int
    export_wh: int
    quality: str


class SetpointKind(Enum):
    """What a setpoint's value means: relay closed (0 or 1), W of power, or W of production at most."""

    RELAY = "RELAY"
    POWER = "POWER"
    PRODUCTION_LIMIT = "PRODUCTION_LIMIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSetpoint:
    """What a device shall do in the MTU that starts at ``mtu_start``."""

    device: str
    mtu_start: int
    kind: SetpointKind
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """What a seller delivers to a buyer in one MTU; either may be the grid."""

    seller: str
    buyer: str
    mtu_start: int
    energy_wh: int
    price_micro_per_kwh: int


class WindowState(Enum):
    """The life of a window; see docs/architecture.md."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"
    CLEARED = "CLEARED"
    DELIVERING = "DELIVERING"
    METERED = "METERED"
    SETTLED = "SETTLED"
    ANCHORED = "ANCHORED"
    FAILED = "FAILED"


class PlanSource(Enum):
    """Which plan acts in a window."""

    NONE = "NONE"
    CLEARING = "CLEARING"
    TAIL = "TAIL"
    FAILSAFE = "FAILSAFE"
