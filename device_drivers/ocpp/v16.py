"""OCPP 1.6-J."""

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
    Purpose.STATION: "ChargePointMaxProfile",
    Purpose.DEFAULT: "TxDefaultProfile",
    Purpose.TRANSACTION: "TxProfile",
}
_RUNNING = frozenset({"Charging", "SuspendedEV", "SuspendedEVSE"})
_IDLE = frozenset({"Available", "Preparing", "Finishing", "Reserved", "Unavailable"})
_EMPTY = ("DiagnosticsStatusNotification", "FirmwareStatusNotification")


class V16:
    """Says and hears OCPP 1.6-J.

    Parameters
    ----------
    randomness : random.Random
        Numbers transactions: the driver does not know which it gave before it was started anew.
    """

    subprotocol = "ocpp1.6"
    schema = "1.6"
    introduction: tuple[Topic, ...] = (Topic.STATUS,)
    answers: Mapping[str, Answer]

    def __init__(self, randomness: Random) -> None:
        self.answers = {
            **dict.fromkeys(_EMPTY, answer_empty),
            "BootNotification": answer_boot,
            "Heartbeat": answer_heartbeat,
            "DataTransfer": answer_data,
            "StatusNotification": _status,
            "Authorize": _authorize,
            "StartTransaction": self._start,
            "StopTransaction": _stop,
            "MeterValues": _meter,
        }
        self._randomness = randomness

    def set_profile(self, outlet: int, profile: Profile) -> Request:
        """Have a limit."""
        return Request(
            action="SetChargingProfile",
            payload={"connectorId": outlet, "csChargingProfiles": _profile(profile)},
        )

    def clear_profile(self, number: int) -> Request:
        """Have it no more."""
        return Request(action="ClearChargingProfile", payload={"id": number})

    def composite(self, outlet: int, seconds: int, unit: Unit) -> Request:
        """What will be kept to for so many s."""
        payload = {"connectorId": outlet, "duration": seconds, "chargingRateUnit": unit.value}
        return Request(action="GetCompositeSchedule", payload=payload, checked=False)

    def read_composite(self, payload: Payload, lasts_s: float) -> Composite:
        """The answer to that."""
        if payload.get("status") != "Accepted":
            raise DeviceError(f"ocpp: GetCompositeSchedule was refused: {str(payload)[:80]}")
        return composite_from(payload.get("chargingSchedule"), lasts_s)

    def ask(self, outlet: int, topic: Topic) -> Request:
        """Say this at once."""
        # The station as a whole is no connector that could be named here.
        named = {"connectorId": outlet} if outlet else {}
        return Request(action="TriggerMessage", payload={"requestedMessage": topic.value, **named})

    def start(self, outlet: int, tag: str) -> Request:
        """Begin a transaction."""
        return Request(action="RemoteStartTransaction", payload={"connectorId": outlet, "idTag": tag})

    def stop(self, transaction: str) -> Request:
        """End one."""
        return Request(action="RemoteStopTransaction", payload={"transactionId": int(transaction)})

    def runs(self, outlet: Outlet) -> bool:
        """Whether a transaction runs there: its number is not known where it began under another driver."""
        return outlet.transaction is not None or outlet.status in _RUNNING

    def waits(self, outlet: Outlet) -> bool:
        """Whether a car is there whose transaction did not begin."""
        return outlet.transaction is None and outlet.status == "Preparing"

    def _start(self, payload: Mapping[str, Any], station: Station, _: datetime) -> Payload:
        number = self._randomness.randrange(1, 2**31)
        station.begin(payload["connectorId"], str(number))
        return {"transactionId": number, **_standing(station, payload["idTag"])}


def _status(payload: Mapping[str, Any], station: Station, _: datetime) -> Payload:
    status, error = payload["status"], payload["errorCode"]
    station.describe(payload["connectorId"], status, "" if error == "NoError" else error, idle=status in _IDLE)
    return {}


def _authorize(payload: Mapping[str, Any], station: Station, _: datetime) -> Payload:
    return _standing(station, payload["idTag"])


def _stop(payload: Mapping[str, Any], station: Station, _: datetime) -> Payload:
    station.end(str(payload["transactionId"]))
    return {}


def _meter(payload: Mapping[str, Any], station: Station, _: datetime) -> Payload:
    if payload.get("transactionId") is not None:
        station.begin(payload["connectorId"], str(payload["transactionId"]))
    station.measure(payload["connectorId"], [_values(one) for one in payload["meterValue"]])
    return {}


def _profile(profile: Profile) -> Payload:
    told: Payload = {
        "chargingProfileId": profile.number,
        "stackLevel": profile.level,
        "chargingProfilePurpose": _PURPOSES[profile.purpose],
        "chargingProfileKind": "Absolute",
        "chargingSchedule": schedule_of(profile),
        **validity_of(profile),
    }
    if profile.transaction is not None:
        told["transactionId"] = int(profile.transaction)
    return told


def _standing(station: Station, tag: object) -> Payload:
    return {"idTagInfo": {"status": "Accepted" if accepts(station.terms.tags, tag) else "Invalid"}}


def _values(told: Mapping[str, Any]) -> tuple[object, Sequence[Sampled]]:
    values = [
        Sampled(
            measurand=one.get("measurand", "Energy.Active.Import.Register"),
            phase=one.get("phase"),
            value=in_watts(one["value"], one.get("unit")),
        )
        for one in told["sampledValue"]
        if one.get("format", "Raw") == "Raw" and one.get("location", "Outlet") == "Outlet"
    ]
    return told.get("timestamp"), values
