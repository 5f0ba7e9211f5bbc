"""Who may do what: identities, roles and one table; what is not in it is denied.

An identity is the URI in the subject alternative name of a client certificate, ``spiffe://GRID/ROLE/ID``. Common
names and metadata count for nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from controller.refusals import not_found


class Role(Enum):
    """The kinds of caller."""

    # Members are one object each: an Enum's own hash runs Python code, with every call.
    __hash__ = object.__hash__

    DSO = "dso"
    AGGREGATOR = "aggregator"
    DRIVER = "driver"
    PARTICIPANT = "participant"
    METER = "meter"
    OPERATOR = "operator"
    VALIDATOR = "validator"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A caller: ``role`` and ``id`` within ``grid``, the id of its microgrid."""

    grid: str
    role: Role
    id: str

    def __str__(self) -> str:
        return f"spiffe://{self.grid}/{self.role.value}/{self.id}"


URIS_KEPT = 20_000
"""URIs whose reading is remembered: every call begins with it."""
URI = re.compile(r"spiffe://([a-z][a-z0-9-]{0,62})/([a-z]+)/([a-z0-9/-]{1,127})")


@lru_cache(maxsize=URIS_KEPT)
def identity(uri: str) -> Identity | None:
    """The identity of a URI, or None where it is none of ours."""
    match = URI.fullmatch(uri)
    if match is None or match[2] not in {role.value for role in Role}:
        return None
    return Identity(grid=match[1], role=Role(match[2]), id=match[3])


_EVERYONE = frozenset(Role)

ALLOWED: dict[str, frozenset[Role]] = {
    "/gridpact.v1.DsoService/CreateEnvelope": frozenset({Role.DSO}),
    "/gridpact.v1.DsoService/CancelEnvelope": frozenset({Role.DSO}),
    "/gridpact.v1.DsoService/GetEnvelope": frozenset({Role.DSO, Role.OPERATOR, Role.AGGREGATOR, Role.AUDITOR}),
    "/gridpact.v1.DsoService/ListEnvelopes": frozenset({Role.DSO, Role.OPERATOR, Role.AGGREGATOR, Role.AUDITOR}),
    "/gridpact.v1.DsoService/SetDefaultEnvelope": frozenset({Role.DSO}),
    "/gridpact.v1.DsoService/ListDefaultEnvelopes": frozenset({Role.DSO, Role.OPERATOR, Role.AGGREGATOR, Role.AUDITOR}),
    "/gridpact.v1.DsoService/Supervise": frozenset({Role.DSO}),
    "/gridpact.v1.DsoService/GetPlannedLoad": frozenset({Role.DSO}),
    "/gridpact.v1.DsoService/ListRelaxations": frozenset({Role.DSO, Role.AUDITOR}),
    "/gridpact.v1.DsoService/SetGroupLimits": frozenset({Role.DSO}),
    "/gridpact.v1.DsoService/CreateVeto": frozenset({Role.DSO}),
    "/gridpact.v1.DsoService/CancelVeto": frozenset({Role.DSO}),
    "/gridpact.v1.DsoService/ListVetoes": frozenset(
        {Role.DSO, Role.OPERATOR, Role.AGGREGATOR, Role.AUDITOR, Role.PARTICIPANT}
    ),
    "/gridpact.v1.DemandResponseService/CreateEvent": frozenset({Role.DSO}),
    "/gridpact.v1.DemandResponseService/CancelEvent": frozenset({Role.DSO}),
    "/gridpact.v1.DemandResponseService/AcceptOffer": frozenset({Role.DSO}),
    "/gridpact.v1.DemandResponseService/SubmitOffer": frozenset({Role.AGGREGATOR}),
    "/gridpact.v1.DemandResponseService/GetEvent": frozenset({Role.DSO, Role.AGGREGATOR, Role.OPERATOR, Role.AUDITOR}),
    "/gridpact.v1.DemandResponseService/ListEvents": frozenset(
        {Role.DSO, Role.AGGREGATOR, Role.OPERATOR, Role.AUDITOR}
    ),
    "/gridpact.v1.DemandResponseService/ListOffers": frozenset(
        {Role.DSO, Role.AGGREGATOR, Role.OPERATOR, Role.AUDITOR}
    ),
    "/gridpact.v1.DispatchService/RequestPlan": frozenset({Role.AGGREGATOR}),
    "/gridpact.v1.DispatchService/GetPlan": frozenset({Role.AGGREGATOR}),
    "/gridpact.v1.DispatchService/GetClearing": frozenset({Role.AGGREGATOR, Role.OPERATOR, Role.AUDITOR}),
    "/gridpact.v1.DispatchService/ListClearings": frozenset({Role.AGGREGATOR, Role.OPERATOR, Role.AUDITOR}),
    "/gridpact.v1.DispatchService/ListTrades": frozenset({Role.AGGREGATOR, Role.AUDITOR}),
    "/gridpact.v1.DispatchService/ListPrices": frozenset({Role.AGGREGATOR, Role.OPERATOR, Role.AUDITOR, Role.DSO}),
    "/gridpact.v1.DispatchService/WatchPlans": frozenset({Role.AGGREGATOR}),
    "/gridpact.v1.DispatchService/WatchClearings": frozenset({Role.AGGREGATOR, Role.OPERATOR, Role.AUDITOR}),
    "/gridpact.v1.DriverService/Connect": frozenset({Role.DRIVER}),
    "/gridpact.v1.ParticipantService/UpdateFlexibility": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/GetDevice": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/ListDevices": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/DeleteDevice": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/GetMember": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/GetSchedule": frozenset({Role.PARTICIPANT, Role.AGGREGATOR, Role.DSO}),
    "/gridpact.v1.ParticipantService/ListOwnPostings": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/GetInvoice": frozenset({Role.PARTICIPANT, Role.OPERATOR}),
    "/gridpact.v1.ParticipantService/ListReputations": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/SetOverride": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/ClearOverride": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/ListOverrides": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/SubmitOrder": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/ListOwnTrades": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/GetTradeProof": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/GrantConsent": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/RevokeConsent": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.ParticipantService/ListConsents": frozenset({Role.PARTICIPANT}),
    "/gridpact.v1.MeteringService/ReportPower": frozenset({Role.METER}),
    "/gridpact.v1.MeteringService/SubmitReadings": frozenset({Role.METER}),
    "/gridpact.v1.MeteringService/ListReadings": frozenset(
        {Role.PARTICIPANT, Role.METER, Role.AGGREGATOR, Role.DSO, Role.OPERATOR, Role.AUDITOR}
    ),
    "/gridpact.v1.MeteringService/DeclareMeterChange": frozenset({Role.OPERATOR}),
    "/gridpact.v1.MeteringService/ListMeterChanges": frozenset({Role.OPERATOR, Role.AUDITOR, Role.PARTICIPANT}),
    "/gridpact.v1.MeteringService/SetMeteringRules": frozenset({Role.OPERATOR}),
    "/gridpact.v1.MeteringService/GetMeteringRules": _EVERYONE,
    "/gridpact.v1.MeteringService/ListMeterEvents": frozenset(
        {Role.OPERATOR, Role.DSO, Role.AUDITOR, Role.METER, Role.PARTICIPANT}
    ),
    "/gridpact.v1.MeteringService/DecideMeterEvent": frozenset({Role.OPERATOR}),
    "/gridpact.v1.MeteringService/ListFeederSums": frozenset({Role.OPERATOR, Role.AUDITOR}),
    "/gridpact.v1.OperatorService/CreateMicrogrid": frozenset({Role.OPERATOR}),
    "/gridpact.v1.OperatorService/GetMicrogrid": _EVERYONE,
    "/gridpact.v1.OperatorService/CreateMember": frozenset({Role.OPERATOR}),
    "/gridpact.v1.OperatorService/ListMembers": frozenset({Role.OPERATOR, Role.AGGREGATOR, Role.AUDITOR, Role.DSO}),
    "/gridpact.v1.OperatorService/RegisterKey": frozenset({Role.OPERATOR}),
    "/gridpact.v1.OperatorService/ListWindows": frozenset({Role.OPERATOR, Role.AGGREGATOR, Role.DSO, Role.AUDITOR}),
    "/gridpact.v1.OperatorService/GetWindow": _EVERYONE,
    "/gridpact.v1.OperatorService/UpdateMicrogrid": frozenset({Role.OPERATOR}),
    "/gridpact.v1.OperatorService/UpdateTariff": frozenset({Role.OPERATOR}),
    "/gridpact.v1.OperatorService/UpdateMember": frozenset({Role.OPERATOR}),
    "/gridpact.v1.OperatorService/DeleteMember": frozenset({Role.OPERATOR}),
    "/gridpact.v1.OperatorService/DenyIdentity": frozenset({Role.OPERATOR}),
    "/gridpact.v1.OperatorService/AllowIdentity": frozenset({Role.OPERATOR}),
    "/gridpact.v1.OperatorService/ListDenials": frozenset({Role.OPERATOR, Role.AUDITOR}),
    "/gridpact.v1.OperatorService/GetStatus": frozenset({Role.OPERATOR}),
    "/gridpact.v1.ValidatorService/GetWindowRecords": frozenset({Role.VALIDATOR}),
    "/gridpact.v1.ValidatorService/SubmitAttestation": frozenset({Role.VALIDATOR}),
    "/gridpact.v1.ValidatorService/GetRegistry": frozenset({Role.VALIDATOR, Role.AUDITOR, Role.OPERATOR}),
    "/gridpact.v1.ValidatorService/ListBatches": frozenset({Role.VALIDATOR, Role.AUDITOR, Role.OPERATOR}),
    "/gridpact.v1.ValidatorService/GetWindowEvidence": frozenset({Role.VALIDATOR}),
    "/gridpact.v1.ValidatorService/SubmitBatchSignature": frozenset({Role.VALIDATOR}),
    "/gridpact.v1.AuditService/ListHeaders": _EVERYONE,
    "/gridpact.v1.AuditService/GetHeader": _EVERYONE,
    "/gridpact.v1.AuditService/GetProof": frozenset({Role.AUDITOR}),
    "/gridpact.v1.AuditService/ListAccess": frozenset({Role.AUDITOR, Role.OPERATOR, Role.PARTICIPANT}),
    # Registered in development only.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _EVERYONE,
    "/grpc.health.v1.Health/Check": _EVERYONE,
    "/grpc.health.v1.Health/Watch": _EVERYONE,
}
"""The authorisation matrix: which roles may call which method."""


class Own(Enum):
    """Whose a resource must be, beyond being in the caller's grid."""

    MEMBER = "the member's own, or of a member that consented"
    DEVICE = "the device's own driver"
    SIGNER = "signed with a key that is registered for the caller"
    PART = "answered with the caller's own part of it"
    GATEWAY = "a meter of a gateway of which a key is registered"


OWN: dict[str, Own] = {
    "/gridpact.v1.DsoService/CreateEnvelope": Own.SIGNER,
    "/gridpact.v1.DsoService/SetDefaultEnvelope": Own.SIGNER,
    "/gridpact.v1.DsoService/SetGroupLimits": Own.SIGNER,
    "/gridpact.v1.DriverService/Connect": Own.DEVICE,
    "/gridpact.v1.ParticipantService/UpdateFlexibility": Own.MEMBER,
    "/gridpact.v1.ParticipantService/GetDevice": Own.MEMBER,
    "/gridpact.v1.ParticipantService/ListDevices": Own.MEMBER,
    "/gridpact.v1.ParticipantService/DeleteDevice": Own.MEMBER,
    "/gridpact.v1.ParticipantService/GetMember": Own.MEMBER,
    "/gridpact.v1.ParticipantService/GetSchedule": Own.MEMBER,
    "/gridpact.v1.ParticipantService/ListOwnPostings": Own.MEMBER,
    "/gridpact.v1.ParticipantService/GetInvoice": Own.PART,
    "/gridpact.v1.ParticipantService/ListReputations": Own.MEMBER,
    "/gridpact.v1.ParticipantService/SetOverride": Own.MEMBER,
    "/gridpact.v1.ParticipantService/ClearOverride": Own.MEMBER,
    "/gridpact.v1.ParticipantService/ListOverrides": Own.MEMBER,
    "/gridpact.v1.ParticipantService/SubmitOrder": Own.SIGNER,
    "/gridpact.v1.ParticipantService/ListOwnTrades": Own.PART,
    "/gridpact.v1.ParticipantService/GetTradeProof": Own.MEMBER,
    "/gridpact.v1.ParticipantService/GrantConsent": Own.MEMBER,
    "/gridpact.v1.ParticipantService/RevokeConsent": Own.MEMBER,
    "/gridpact.v1.ParticipantService/ListConsents": Own.MEMBER,
    "/gridpact.v1.MeteringService/ReportPower": Own.GATEWAY,
    "/gridpact.v1.MeteringService/SubmitReadings": Own.SIGNER,
    "/gridpact.v1.MeteringService/ListReadings": Own.MEMBER,
    "/gridpact.v1.MeteringService/ListMeterChanges": Own.PART,
    "/gridpact.v1.MeteringService/ListMeterEvents": Own.PART,
    "/gridpact.v1.ValidatorService/SubmitAttestation": Own.SIGNER,
    "/gridpact.v1.AuditService/ListAccess": Own.PART,
}
"""The matrix, continued: what a method asks for beyond role and grid; without an entry the grid is enough."""

GRIDWIDE = frozenset({Role.DSO, Role.AGGREGATOR, Role.VALIDATOR, Role.OPERATOR, Role.AUDITOR})
"""Roles that may see what concerns a whole grid; everybody else's calls need an entry in `OWN`."""


def unlisted(methods: Iterable[str]) -> list[str]:
    """What is wrong with the matrix for a service with these methods: one line each, none where it is complete."""
    known = set(methods)
    wrong = [f"{method}: no row, nobody may call it" for method in sorted(known - set(ALLOWED))]
    # Health and reflection belong to the transport, and are not always there.
    rows = {method for method in ALLOWED if method.startswith("/gridpact.")}
    wrong += [f"{method}: a row for what does not exist" for method in sorted((rows | set(OWN)) - known)]
    wrong += [
        f"{method}: a row for {', '.join(sorted(role.value for role in roles))}, and no word whose it must be"
        for method, roles in sorted(ALLOWED.items())
        if not roles & GRIDWIDE and method not in OWN
    ]
    return wrong


def may_call(caller: Identity, method: str) -> bool:
    """Whether the caller's role may call the method at all."""
    return caller.role in ALLOWED.get(method, frozenset())


def require_area(caller: Identity, microgrid: str, name: str) -> None:
    """Refuse what lies in another microgrid as if it did not exist."""
    if caller.grid != microgrid:
        raise not_found(name)


def require_own(caller: Identity, own: str, name: str) -> None:
    """Refuse what belongs to another identity as if it did not exist."""
    if caller.id != own:
        raise not_found(name)
