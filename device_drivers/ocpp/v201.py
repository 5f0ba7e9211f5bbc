"""OCPP 2.0.1."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Any

from device_drivers.errors import DeviceError
from device_drivers.ocpp.dialect import (
    Answer,
    Payload,
    Request,
    Topic,
    accepts,
    answer_boot,
    answer_data,
    answer_empty,
    answer_heartbeat,
    schedule_of,
    validity_of,
)
from device_drivers.ocpp.metering import Sampled, in_watts
from device_drivers.ocpp.profile import Composite, Profile, Purpose, Unit, composite_from
from device_drivers.ocpp.station import Outlet, Station

_PURPOSES = {
    Purpose.STATION: "ChargingStationMaxProfile",
    Purpose.DEFAULT: "TxDefaultProfile",
    Purpose.TRANSACTION: "TxProfile",
}
_EMPTY = (
    "ClearedChargingLimit",
    "FirmwareStatusNotification",
    "LogStatusNotification",
    "NotifyChargingLimit",
    "NotifyCustomerInformation",
    "NotifyDisplayMessages",
    "NotifyEvent",
    "NotifyMonitoringReport",
    "NotifyReport",
    "PublishFirmwareStatusNotification",
    "ReportChargingProfiles",
    "ReservationStatusUpdate",
    "SecurityEventNotification",
)
_REJECTED = ("NotifyEVChargingNeeds", "SignCertificate")
_LARGEST = 2**31 - 1


class V201:
    """Says and hears OCPP 2.0.1.

    Parameters
    ----------
    randomness : random.Random
        Numbers requests to start.
    """

    subprotocol = "ocpp2.0.1"
    schema = "2.0.1"
    introduction: tuple[Topic, ...] = (Topic.STATUS, Topic.TRANSACTION)
    answers: Mapping[str, Answer]

    def __init__(self, randomness: Random) -> None:
        self.answers = {
            **dict.fromkeys(_EMPTY, answer_empty),
            **dict.fromkeys(_REJECTED, _reject),
            "BootNotification": answer_boot,
            "Heartbeat": answer_heartbeat,
            "DataTransfer": answer_data,
            "StatusNotification": _status,
            "Authorize": _authorize,
            "TransactionEvent": _transaction,
            "MeterValues": _meter,
        }
        self._randomness = randomness

    def set_profile(self, outlet: int, profile: Profile) -> Request:
        """Have a limit."""
        return Request(action="SetChargingProfile", payload={"evseId": outlet, "chargingProfile": _profile(profile)})

    def clear_profile(self, number: int) -> Request:
        """Have it no more."""
        return Request(action="ClearChargingProfile", payload={"chargingProfileId": number})

    def composite(self, outlet: int, seconds: int, unit: Unit) -> Request:
        """What will be kept to for so many s."""
        payload = {"evseId": outlet, "duration": seconds, "chargingRateUnit": unit.value}
        return Request(action="GetCompositeSchedule", payload=payload, checked=False)

    def read_composite(self, payload: Payload, lasts_s: float) -> Composite:
        """The answer to that."""
        if payload.get("status") != "Accepted":
            raise DeviceError(f"ocpp: GetCompositeSchedule was refused: {str(payload)[:80]}")
        return composite_from(payload.get("schedule"), lasts_s)

    def ask(self, outlet: int, topic: Topic) -> Request:
        """Say this at once."""
        evse: Payload = {"id": outlet}
        if topic is Topic.STATUS and outlet:
            evse["connectorId"] = 1
        payload: Payload = {"requestedMessage": topic.value}
        return Request(action="TriggerMessage", payload=payload | ({"evse": evse} if outlet else {}))

    def start(self, outlet: int, tag: str) -> Request:
        """Begin a transaction."""
        payload = {
            "remoteStartId": self._randomness.randrange(1, _LARGEST),
            "evseId": outlet,
            "idToken": {"idToken": tag, "type": "Central"},
        }
        return Request(action="RequestStartTransaction", payload=payload)

    def stop(self, transaction: str) -> Request:
        """End one."""
        return Request(action="RequestStopTransaction", payload={"transactionId": transaction})

    def runs(self, outlet: Outlet) -> bool:
        """Whether a transaction runs there."""
        return outlet.transaction is not None

    def waits(self, outlet: Outlet) -> bool:
        """Whether a car is there whose transaction did not begin."""
        return outlet.transaction is None and outlet.status == "Occupied"


def _reject(_: Mapping[str, Any], __: Station, ___: datetime) -> Payload:
    return {"status": "Rejected"}


def _status(payload: Mapping[str, Any], station: Station, _: datetime) -> Payload:
    status = payload["connectorStatus"]
    error = "a fault" if status == "Faulted" else ""
    station.describe(payload["evseId"], status, error, idle=status in {"Available", "Unavailable"})
    return {}


def _authorize(payload: Mapping[str, Any], station: Station, _: datetime) -> Payload:
    return _standing(station, payload["idToken"])


def _meter(payload: Mapping[str, Any], station: Station, _: datetime) -> Payload:
    station.measure(payload["evseId"], [_values(one) for one in payload["meterValue"]])
    return {}


def _transaction(payload: Mapping[str, Any], station: Station, _: datetime) -> Payload:
    transaction = payload["transactionInfo"]["transactionId"]
    evse = payload.get("evse")
    outlet = station.outlet_of(transaction) if evse is None else evse["id"]
    if payload["eventType"] == "Ended":
        station.end(transaction)
    elif outlet is not None:
        station.begin(outlet, transaction)
    if outlet is not None and "meterValue" in payload:
        station.measure(outlet, [_values(one) for one in payload["meterValue"]])
    return _standing(station, payload["idToken"]) if "idToken" in payload else {}


def _profile(profile: Profile) -> Payload:
    told: Payload = {
        "id": profile.number,
        "stackLevel": profile.level,
        "chargingProfilePurpose": _PURPOSES[profile.purpose],
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [{"id": profile.number, **schedule_of(profile)}],
        **validity_of(profile),
    }
    if profile.transaction is not None:
        told["transactionId"] = profile.transaction
    return told


def _standing(station: Station, token: Mapping[str, Any]) -> Payload:
    return {"idTokenInfo": {"status": "Accepted" if accepts(station.terms.tags, token["idToken"]) else "Invalid"}}


def _values(told: Mapping[str, Any]) -> tuple[object, Sequence[Sampled]]:
    values = []
    for one in told["sampledValue"]:
        if one.get("location", "Outlet") != "Outlet":
            continue
        unit = one.get("unitOfMeasure", {})
        values.append(
            Sampled(
                measurand=one.get("measurand", "Energy.Active.Import.Register"),
                phase=one.get("phase"),
                value=in_watts(one["value"], unit.get("unit"), unit.get("multiplier", 0)),
            )
        )
    return told.get("timestamp"), values
