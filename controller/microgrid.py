"""The values that the controller reasons about. Integers: W, Wh, micro-currency, Unix seconds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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


class TimingPreset(Enum):
    """Whose published practice windows follow; see docs/windows.md."""

    CUSTOM = "CUSTOM"
    BIDDING_60_10_2_3 = "BIDDING_60_10_2_3"
    NEGOTIATION_55_5 = "NEGOTIATION_55_5"
    HOURLY_FUTURES = "HOURLY_FUTURES"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTiming:
    """When the steps of a window happen, beside its gate's closure.

    Attributes
    ----------
    preset : where the values come from
    bidding_minutes : how long before the gate closes orders are taken; None: from the window's opening on
    deadline_minutes : how long before its start a window is decided at the latest
    settlement_minutes : how long after its end a window is settled at the earliest
    adjustment_minutes : length of the parts of a window that are adjusted, each by a clearing of its own; None: none
    adjustment_lead_minutes : how long before its part begins an adjustment's gate closes
    """

    preset: TimingPreset = TimingPreset.CUSTOM
    bidding_minutes: int | None = None
    deadline_minutes: int = 0
    settlement_minutes: int = 0
    adjustment_minutes: int | None = None
    adjustment_lead_minutes: int = 0


class SettlementRule(Enum):
    """What a buyer pays for: CONTRACT is all that was traded; RECEIVED what the seller gave, the rest refunded."""

    CONTRACT = "CONTRACT"
    RECEIVED = "RECEIVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementTerms:
    """How windows are settled beside tariff and network charge; see docs/settlement.md.

    Attributes
    ----------
    rule : what a buyer pays for
    fee_micro_per_kwh : what members pay the community's operator for each kWh that they take, as metered
    fee_micro_per_month : what each member pays it for a month, when the month begins in the microgrid's time zone
    tax_ppm : parts per million of what a member pays for energy, network and fees
    """

    rule: SettlementRule = SettlementRule.CONTRACT
    fee_micro_per_kwh: int = 0
    fee_micro_per_month: int = 0
    tax_ppm: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTimes:
    """The instants of a window in Unix seconds: orders are taken from ``opens`` until ``closes``.

    Attributes
    ----------
    opens, closes : of the gate
    deadline : decided by then
    settles : not settled before
    """

    opens: int
    closes: int
    deadline: int
    settles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A part of a window that is adjusted by a clearing of its own.

    Attributes
    ----------
    number : from 1 on, in order of time; 0 is the window's own clearing
    start, end : Unix seconds, half-open
    closes : until then orders count for it; it is decided by ``start``
    """

    number: int
    start: int
    end: int
    closes: int


ENDLESS = 4_102_444_800
"""The end of a microgrid without one: the year 2100, beyond which the API knows no instant."""
PAST_S = 8 * 86_400
"""How far back a window looks at what devices did and at orders: as long as the longest horizon that ends."""
AHEAD_MINUTES = 1440


@dataclass(frozen=True, slots=True, kw_only=True)
class Microgrid:
    """A community under one connection point, with its market's calendar.

    Without ``planning_minutes`` it lives for one horizon: all windows are there from the start, and each is planned to
    the horizon's end. With them it has no end: windows are opened as time goes on, and each is planned as far ahead.

    Attributes
    ----------
    id : of the resource microgrids/{id}
    time_zone : IANA
    mtu_minutes, window_minutes, lead_minutes : market time unit, dispatch window, gate closure before its start
    start, end : the horizon in Unix seconds; windows cover it, planning looks to its end. ``ENDLESS`` for no end
    network_charge_micro_per_kwh : what a buyer pays the DSO for a neighbour's energy
    currency : ISO 4217
    tariff : periods that cover the horizon; without an end those of late and to come, without gaps
    planning_minutes : how far each window's planning looks from its start; None: to the horizon's end
    ahead_minutes : windows that start within this are open; without meaning where there is an end
    timing : when the steps of a window happen
    terms : how windows are settled
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
    planning_minutes: int | None = None
    ahead_minutes: int = AHEAD_MINUTES
    timing: WindowTiming = field(default_factory=WindowTiming)
    terms: SettlementTerms = field(default_factory=SettlementTerms)

    @property
    def name(self) -> str:
        """The resource name."""
        return f"microgrids/{self.id}"

    @property
    def mtu_seconds(self) -> int:
        """Length of a market time unit."""
        return self.mtu_minutes * 60

    @property
    def rolling(self) -> bool:
        """Whether planning looks as far ahead from each window, rather than to an end of all."""
        return self.planning_minutes is not None

    def windows(self, *, before: int | None = None) -> tuple[Window, ...]:
        """All windows of the horizon in order, or those that start before an instant."""
        end = self.end if before is None else min(self.end, before)
        return tuple(self.window(start) for start in range(self.start, end, self.window_minutes * 60))

    def window(self, start: int) -> Window:
        """The window that starts at an instant."""
        return Window(name=window_name(self.id, start), start=start, end=start + self.window_minutes * 60)

    def times(self, window: Window) -> WindowTimes:
        """The instants of a window that is opened now."""
        closes = window.start - self.lead_minutes * 60
        bidding = self.timing.bidding_minutes
        return WindowTimes(
            opens=0 if bidding is None else closes - bidding * 60,
            closes=closes,
            deadline=window.start - self.timing.deadline_minutes * 60,
            settles=window.end + self.timing.settlement_minutes * 60,
        )

    def slots(self, window: Window) -> tuple[Slot, ...]:
        """The parts of a window that is opened now which are adjusted, in order of time; none where none are."""
        if self.timing.adjustment_minutes is None:
            return ()
        step = self.timing.adjustment_minutes * 60
        return tuple(
            Slot(number=k, start=start, end=start + step, closes=start - self.timing.adjustment_lead_minutes * 60)
            for k, start in enumerate(range(window.start, window.end, step), start=1)
        )

    def planning_end(self, start: int) -> int:
        """How far planning looks from a window's start, were the tariff known."""
        return self.end if self.planning_minutes is None else min(self.end, start + self.planning_minutes * 60)

    def priced_until(self, instant: int) -> int:
        """The instant until which the tariff is known without a gap from another on; that one where it is not."""
        for period in self.tariff:
            if period.start <= instant < period.end:
                instant = period.end
        return instant

    def seen_from(self, window: Window) -> "Microgrid":
        """The microgrid as a window is decided on: where it has no end, only as far as its planning looks.

        Planning ends with the known tariff, but not before the window.
        """
        if not self.rolling:
            return self
        start = max(self.start, window.start - PAST_S)
        end = max(window.end, min(self.planning_end(window.start), self._on_grid(self.priced_until(window.start))))
        return replace(
            self,
            start=start,
            end=end,
            tariff=tuple(
                replace(period, start=max(period.start, window.start), end=min(period.end, end))
                for period in self.tariff
                if period.start < end and period.end > window.start
            ),
            ahead_minutes=AHEAD_MINUTES,
            timing=WindowTiming(),
        )

    def _on_grid(self, instant: int) -> int:
        return instant - (instant - self.start) % self.mtu_seconds

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
    """A participant.

    Attributes
    ----------
    id : within its microgrid
    section : the feeder section of its one meter
    connection_w : as much as it can take; None where nobody said
    feed_in_w : as much as it can give; None where nobody said
    """

    id: str
    section: str
    connection_w: int | None = None
    feed_in_w: int | None = None


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
    offers : Wh to sell and to buy at most in each MTU of the window; empty where nothing is said
    attributes : disutility in micro-currency/kWh of partners that are not GREEN, or not LOCAL, by these names; by
        REPUTATION that of a partner whose score is 0
    """

    window: str
    member: str
    load_w: tuple[int, ...]
    production: Mapping[str, tuple[int, ...]]
    partners: Mapping[str, int]
    thermal: Mapping[str, ThermalForecast] = field(default_factory=dict)
    offers: tuple[tuple[int, int], ...] = ()
    attributes: Mapping[str, int] = field(default_factory=dict)


MEASURED, SUBSTITUTED, ESTIMATED, FAULTY = "MEASURED", "SUBSTITUTED", "ESTIMATED", "FAULTY"
"""Qualities of readings: as the meter said; in the place of what it said; computed; known to be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """The two registers of a meter at an instant, in Wh; ``quality`` says how they came about.

    ``member`` is whose meter it is; of a feeder's, its place, see `place_of`.
    """

    member: str
    instant: int
    import_wh: int
    export_wh: int
    quality: str


class SetpointKind(Enum):
    """What a setpoint's value means: relay closed (0 or 1), W of power, or W of production at most."""

    # Members are one object each: an Enum's own hash runs Python code.
    __hash__ = object.__hash__

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
    """Which plan acts in a window, or in an adjusted part of one: ``STANDING`` is what stood before the adjustment."""

    NONE = "NONE"
    CLEARING = "CLEARING"
    STANDING = "STANDING"
    TAIL = "TAIL"
    FAILSAFE = "FAILSAFE"


def place_of(target: str) -> str:
    """Whose meter is at a target: a member's id, or of a feeder ``/``, ``/transformer`` or ``/sections/{section}``."""
    _, _, rest = target.removeprefix("microgrids/").partition("/")
    return rest.removeprefix("members/") if rest.startswith("members/") else f"/{rest}"


def target_of(name: str, place: str) -> str:
    """The target at which a meter is, of a microgrid of that name."""
    return f"{name}{place.rstrip('/')}" if is_feeder(place) else f"{name}/members/{place}"


def is_feeder(place: str) -> bool:
    """Whether a meter is no member's."""
    return place.startswith("/")


def targets_of(name: str, members: Iterable[Member]) -> frozenset[str]:
    """What of a microgrid can be limited and metered: the connection point, the transformer, sections and members."""
    own = {target for m in members for target in (f"{name}/sections/{m.section}", f"{name}/members/{m.id}")}
    return frozenset({name, f"{name}/transformer"} | own)
