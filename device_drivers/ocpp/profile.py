"""Charging profiles and what a station makes of them, whatever the version of the protocol."""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from device_drivers.errors import DeviceError


class Unit(Enum):
    """In what a station's limits are told."""

    WATTS = "W"
    AMPERES = "A"


class Purpose(Enum):
    """What a profile limits."""

    STATION = "station"
    """The station as a whole."""
    DEFAULT = "default"
    """Any transaction that has no profile of its own."""
    TRANSACTION = "transaction"
    """The transaction that runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How W become a station's limit.

    Attributes
    ----------
    unit : Unit
        In what it is told.
    phases : int
        1 to 3, of amperes alone.
    voltage_v : float
        V between a phase and neutral.
    """

    unit: Unit
    phases: int
    voltage_v: float

    def limit(self, watts: float) -> float:
        """The limit for so many W, rounded down to the tenths that the protocol knows."""
        steps = watts / self._watts_per_unit(self.unit, None) * 10
        return math.floor(steps + 1e-6) / 10

    def watts(self, limit: float) -> float:
        """W of a limit."""
        return limit * self._watts_per_unit(self.unit, None)

    def of(self, unit: Unit, limit: float, phases: int | None) -> float:
        """A limit that is said in a unit, of a current on so many phases, as one of this scale."""
        if unit is self.unit and (unit is Unit.WATTS or phases in {None, self.phases}):
            return limit  # no detour, no rounding
        return limit * self._watts_per_unit(unit, phases) / self._watts_per_unit(self.unit, None)

    def _watts_per_unit(self, unit: Unit, phases: int | None) -> float:
        return 1.0 if unit is Unit.WATTS else self.voltage_v * (self.phases if phases is None else phases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A limit of a station.

    Attributes
    ----------
    number : int
        Another of the same number replaces it.
    level : int
        Of those of a purpose that are valid the highest holds.
    purpose : Purpose
        What it limits.
    limit : float
        In units of the scale.
    scale : Scale
        What a unit is.
    starts : datetime
        UTC by the station's clock, in the past.
    ends : datetime or None
        When it is over, by the station's clock, whole s after the start; None where it lasts.
    afterwards : float
        The limit that holds then: of what it lies over, which a transaction's own profile has to say itself.
    transaction : str or None
        Which it limits; None where any, or where the station knows without.
    """

    number: int
    level: int
    purpose: Purpose
    limit: float
    scale: Scale
    starts: datetime
    ends: datetime | None
    afterwards: float
    transaction: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A part of a composite schedule.

    Attributes
    ----------
    start_s : float
        s from its start.
    limit : float
        In the unit of the schedule.
    phases : int or None
        None where the station does not say.
    """

    start_s: float
    limit: float
    phases: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """What a station says that it will keep to, made of all its profiles.

    Attributes
    ----------
    unit : Unit
        Of the limits.
    periods : tuple of Period
        From now on, in order.
    lasts_s : float
        s that they tell about.
    """

    unit: Unit
    periods: tuple[Period, ...]
    lasts_s: float

    def __post_init__(self) -> None:
        starts = [period.start_s for period in self.periods]
        if not starts or starts[0] > 0 or starts != sorted(starts):
            raise DeviceError(f"ocpp: got a composite schedule of periods from {starts[:5]} s on, wanted them from 0 s")

    def at(self, seconds: float) -> Period:
        """The period that holds after so many s."""
        return [period for period in self.periods if period.start_s <= max(0.0, seconds)][-1]


def composite_from(schedule: object, lasts_s: float) -> Composite:
    """The composite schedule in an answer; both versions say it alike.

    Its numbers are checked here: stations say more digits than the protocol's own rules let them.

    Raises
    ------
    DeviceError
        If it makes no sense.
    """
    if not isinstance(schedule, dict) or schedule.get("chargingRateUnit") not in [unit.value for unit in Unit]:
        raise DeviceError(f"ocpp: got the composite schedule {str(schedule)[:80]!r}, wanted one in W or A")
    told = schedule.get("chargingSchedulePeriod")
    if not isinstance(told, list):
        raise DeviceError(f"ocpp: got the periods {str(told)[:80]!r}, wanted a list")
    duration = schedule.get("duration")
    return Composite(
        unit=Unit(schedule["chargingRateUnit"]),
        periods=tuple(_period(one) for one in told),
        lasts_s=lasts_s if duration is None else min(lasts_s, _number(duration, "duration")),
    )


def _period(told: object) -> Period:
    if not isinstance(told, dict):
        raise DeviceError(f"ocpp: got the period {str(told)[:40]!r}, wanted an object")
    phases = told.get("numberPhases")
    if phases is not None and phases not in (1, 2, 3):
        raise DeviceError(f"ocpp: got {str(phases)[:40]!r} phases, wanted 1 to 3")
    start_s, limit = (_number(told.get(name), name) for name in ("startPeriod", "limit"))
    return Period(start_s=start_s, limit=limit, phases=phases)


def _number(told: object, name: str) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told <= 1e9:
        raise DeviceError(f"ocpp: got the {name} {str(told)[:40]!r}, wanted a number, not negative")
    return float(told)
