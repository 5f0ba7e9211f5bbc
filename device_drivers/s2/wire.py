"""S2's messages as text and back, on the models that are generated from the standard's own schema.

The models beside them, which s2-python builds on these, ask for UUIDs where the schema has any id, let some required
fields be missing, and know no FRBC actuator on three phases.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from pydantic import ValidationError
from s2python.generated.gen_s2 import (
    CommodityQuantity,
    Duration,
    FRBCActuatorStatus,
    FRBCFillLevelTargetProfile,
    FRBCLeakageBehaviour,
    FRBCStorageStatus,
    FRBCSystemDescription,
    FRBCTimerStatus,
    FRBCUsageForecast,
    Handshake,
    InstructionStatusUpdate,
    OMBCStatus,
    OMBCSystemDescription,
    OMBCTimerStatus,
    PEBCEnergyConstraint,
    PEBCPowerConstraints,
    PowerForecast,
    PowerMeasurement,
    PPBCPowerProfileDefinition,
    PPBCPowerProfileStatus,
    ReceptionStatus,
    ReceptionStatusValues,
    ResourceManagerDetails,
    RevokeObject,
    SessionRequest,
)
from s2python.s2_base_model import S2BaseModel
from s2python.version import S2_VERSION

from device_drivers import plain_json
from device_drivers.errors import DriverError

VERSIONS = (S2_VERSION,)
"""Versions of the messages that are understood."""

HEARD: Mapping[str, type[S2BaseModel]] = MappingProxyType(
    {
        "FRBC.ActuatorStatus": FRBCActuatorStatus,
        "FRBC.FillLevelTargetProfile": FRBCFillLevelTargetProfile,
        "FRBC.LeakageBehaviour": FRBCLeakageBehaviour,
        "FRBC.StorageStatus": FRBCStorageStatus,
        "FRBC.SystemDescription": FRBCSystemDescription,
        "FRBC.TimerStatus": FRBCTimerStatus,
        "FRBC.UsageForecast": FRBCUsageForecast,
        "Handshake": Handshake,
        "InstructionStatusUpdate": InstructionStatusUpdate,
        "OMBC.Status": OMBCStatus,
        "OMBC.SystemDescription": OMBCSystemDescription,
        "OMBC.TimerStatus": OMBCTimerStatus,
        "PEBC.EnergyConstraint": PEBCEnergyConstraint,
        "PEBC.PowerConstraints": PEBCPowerConstraints,
        "PPBC.PowerProfileDefinition": PPBCPowerProfileDefinition,
        "PPBC.PowerProfileStatus": PPBCPowerProfileStatus,
        "PowerForecast": PowerForecast,
        "PowerMeasurement": PowerMeasurement,
        "ReceptionStatus": ReceptionStatus,
        "ResourceManagerDetails": ResourceManagerDetails,
        "RevokeObject": RevokeObject,
        "SessionRequest": SessionRequest,
    }
)
"""What a manager may say to a CEM that selects one of the four control types."""

_SYMMETRIC = CommodityQuantity.ELECTRIC_POWER_3_PHASE_SYMMETRIC
_PHASES = frozenset(
    {CommodityQuantity.ELECTRIC_POWER_L1, CommodityQuantity.ELECTRIC_POWER_L2, CommodityQuantity.ELECTRIC_POWER_L3}
)

NOBODY = "00000000-0000-0000-0000-000000000000"
"""Subject of the answer to what has no id that could be read."""

MOST_W = MOST_LEVEL = 1e9
_LONGEST_MS = 10**12
_LABEL = 200
_ID = re.compile(r"[a-zA-Z0-9\-_:]{2,64}")


class Misread(DriverError):  # noqa: N818 - what became of a message
    """A message cannot be used; the manager is told.

    Parameters
    ----------
    status : ReceptionStatusValues
        How it is wrong.
    label : str
        What was got and wanted.
    subject : str
        Its id.
    """

    def __init__(self, status: ReceptionStatusValues, label: str, subject: str = NOBODY) -> None:
        super().__init__(label)
        self.status, self.label, self.subject = status, label[:_LABEL], subject


def read(text: str | bytes) -> S2BaseModel:
    """The message that a text is.

    Raises
    ------
    Misread
        If it is none that a manager sends.
    """
    try:
        fields = plain_json.loads(text, parse_constant=_refuse)
    except ValueError as err:
        raise Misread(ReceptionStatusValues.INVALID_DATA, f"got {text[:40]!r}, wanted JSON") from err
    if not isinstance(fields, dict):
        raise Misread(ReceptionStatusValues.INVALID_DATA, f"got {str(fields)[:40]!r}, wanted an object")
    subject = fields.get("message_id")
    subject = subject if isinstance(subject, str) and _ID.fullmatch(subject) else NOBODY
    kind = fields.get("message_type")
    model = HEARD.get(kind) if isinstance(kind, str) else None
    if model is None:
        label = f"message_type: got {str(kind)[:60]!r}, wanted one that a resource manager sends"
        raise Misread(ReceptionStatusValues.INVALID_MESSAGE, label, subject)
    try:
        return model.model_validate(fields)
    except (ValidationError, ValueError, TypeError, OverflowError, RecursionError) as err:
        raise Misread(ReceptionStatusValues.INVALID_MESSAGE, f"{kind}: {_first(err)}", subject) from err


def write(message: S2BaseModel) -> str:
    """The text of a message."""
    return message.model_dump_json(by_alias=True, exclude_none=True)


def new_id() -> str:
    """An id that nobody else has."""
    return str(uuid4())


def text_of(found: Any) -> str:
    """An id as text."""
    return str(getattr(found, "root", found))


def seconds(duration: Duration | None) -> float:
    """A duration in s, an absurd one cut; 0 where there is none."""
    return 0.0 if duration is None else min(duration.root, _LONGEST_MS) / 1000


def later(instant: datetime, seconds: float) -> datetime:
    """So many s after an instant, or the end of time."""
    try:
        return instant + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def adding_up(quantities: Iterable[CommodityQuantity]) -> frozenset[CommodityQuantity]:
    """Those that add up to a device's electric power: the three phases as one where there is that, else each."""
    found = frozenset(quantities)
    return frozenset({_SYMMETRIC}) if _SYMMETRIC in found else found & _PHASES


def content(message: str, got: object, wanted: str) -> Misread:
    """What is raised for a message of the right form that makes no sense."""
    return Misread(ReceptionStatusValues.INVALID_CONTENT, f"{message}: got {str(got)[:80]}, wanted {wanted}")


def watts(message: str, value: float) -> float:
    """A power, once it is one that can be.

    Raises
    ------
    Misread
        If it is no number, or absurd.
    """
    if not abs(value) <= MOST_W:
        raise content(message, value, f"a power of at most {MOST_W:g} W")
    return value


def level(message: str, value: float) -> float:
    """A fill level, once it is one that can be, in whatever unit; `Misread` else."""
    if not abs(value) <= MOST_LEVEL:
        raise content(message, value, f"a fill level of at most {MOST_LEVEL:g}")
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"got {constant}, wanted a number")


def _first(err: Exception) -> str:
    if isinstance(err, ValidationError):
        first = err.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(err)
