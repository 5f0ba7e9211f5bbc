"""What the two versions of the protocol have in common: each says the same things in its own words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from device_drivers.ocpp.profile import Composite, Profile, Purpose, Unit
from device_drivers.ocpp.station import Outlet, Station

Payload = dict[str, Any]
Answer = Callable[[Mapping[str, Any], Station, datetime], Payload]
"""Makes the answer to what a station says at a time, and has the station's record hold it; its schema was checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A call to a station.

    Attributes
    ----------
    action : str
        Its name.
    payload : dict
        Its arguments.
    checked : bool
        Whether the answer is held against the schema; what stations say in ways of their own is read with care instead.
    """

    action: str
    payload: Payload
    checked: bool = True


class Topic(Enum):
    """What a station can be asked to say at once."""

    METER = "MeterValues"
    STATUS = "StatusNotification"
    TRANSACTION = "TransactionEvent"
    """Of 2.0.1 alone; in 1.6 meter values name their transaction."""


class Dialect(Protocol):
    """One version. An outlet is a connector in 1.6 and an EVSE in 2.0.1."""

    subprotocol: str
    schema: str
    """Version of the schemas by which messages are checked."""
    introduction: tuple[Topic, ...]
    """What a station that just connected is asked to say."""
    answers: Mapping[str, Answer]
    """What stations say, and how it is answered."""

    def set_profile(self, outlet: int, profile: Profile) -> Request:
        """Have a limit."""

    def clear_profile(self, number: int) -> Request:
        """Have it no more."""

    def composite(self, outlet: int, seconds: int, unit: Unit) -> Request:
        """What will be kept to for so many s."""

    def read_composite(self, payload: Payload, lasts_s: float) -> Composite:
        """The answer to that; a `DeviceError` where it makes no sense."""

    def ask(self, outlet: int, topic: Topic) -> Request:
        """Say this at once."""

    def start(self, outlet: int, tag: str) -> Request:
        """Begin a transaction."""

    def stop(self, transaction: str) -> Request:
        """End one."""

    def runs(self, outlet: Outlet) -> bool:
        """Whether a transaction runs there."""

    def waits(self, outlet: Outlet) -> bool:
        """Whether a car is there whose transaction did not begin."""


def stamp(instant: datetime) -> str:
    """A time as the protocol writes it, to the ms."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def schedule_of(profile: Profile) -> Payload:
    """The schedule of a profile, which both versions write alike.

    One of a transaction has a period of its own for what comes after its end: 1.6 knows no ``validTo`` for it, and
    whether the profiles below it hold again after its ``duration`` is told in neither version in so many words.
    """
    periods = [(0, profile.limit)]
    schedule: Payload = {"startSchedule": stamp(profile.starts), "chargingRateUnit": profile.scale.unit.value}
    if profile.ends is not None:
        lasts_s = round((profile.ends - profile.starts).total_seconds())
        if profile.purpose is Purpose.TRANSACTION:
            periods.append((lasts_s, profile.afterwards))
        else:
            schedule["duration"] = lasts_s
    phases = {"numberPhases": profile.scale.phases} if profile.scale.unit is Unit.AMPERES else {}
    return schedule | {
        "chargingSchedulePeriod": [{"startPeriod": start_s, "limit": limit, **phases} for start_s, limit in periods]
    }


def validity_of(profile: Profile) -> Payload:
    """Until when a profile that is for no transaction counts at all, where it ends."""
    if profile.ends is None or profile.purpose is Purpose.TRANSACTION:
        return {}
    return {"validTo": stamp(profile.ends)}


def accepts(tags: frozenset[str], tag: object) -> bool:
    """Whether somebody may charge."""
    return not tags or tag in tags


def answer_boot(_: Mapping[str, Any], station: Station, now: datetime) -> Payload:
    """A station was started: it is accepted, and told the time."""
    station.boot()
    return {"currentTime": stamp(now), "interval": station.terms.heartbeat_s, "status": "Accepted"}


def answer_heartbeat(_: Mapping[str, Any], __: Station, now: datetime) -> Payload:
    """A station lives: it is told the time."""
    return {"currentTime": stamp(now)}


def answer_empty(_: Mapping[str, Any], __: Station, ___: datetime) -> Payload:
    """Something that is only acknowledged."""
    return {}


def answer_data(_: Mapping[str, Any], __: Station, ___: datetime) -> Payload:
    """Something between a maker and its own system."""
    return {"status": "UnknownVendorId"}
