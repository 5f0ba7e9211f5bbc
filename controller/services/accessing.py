"""What the access journal keeps of a request: the resource that it names, and whose data that is."""

from google.protobuf.message import Message

from controller.access import Identity, Role
from controller.access_journal import EVERYBODY, Access, access_of
from controller.wire import fields

SHOWN = 200
DEPTH = 3

PERSONAL: dict[str, str] = {
    "/gridpact.v1.DispatchService/ListTrades": EVERYBODY,
    "/gridpact.v1.MeteringService/ListReadings": "",
    "/gridpact.v1.ParticipantService/GetInvoice": "",
    "/gridpact.v1.ParticipantService/GetSchedule": "",
    "/gridpact.v1.ValidatorService/GetWindowRecords": EVERYBODY,
    "/gridpact.v1.ValidatorService/GetWindowEvidence": EVERYBODY,
    "/gridpact.v1.AuditService/GetProof": EVERYBODY,
}
"""Methods that read personal data, and whose; empty where the request names the member."""

ENTERED = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED", "NOT_FOUND", "RESOURCE_EXHAUSTED"})
"""Refusals that are entered: knocking at what is not one's own."""


def resource_of(message: Message, depth: int = 0) -> str:
    """The first resource name in a request; empty where there is none."""
    for _, value in message.ListFields():
        if isinstance(value, str) and value.startswith("microgrids/"):
            return fields.told(value, most=SHOWN)  # as far as a database can hold it
        if isinstance(value, Message) and depth < DEPTH:
            found = resource_of(value, depth + 1)
            if found:
                return found
    return ""


def access_to(caller: Identity, method: str, message: Message, *, code: str, now: float) -> Access:
    """The access of a call; ``method`` with its service's path or without."""
    resource = resource_of(message)
    return access_of(
        caller,
        method.rpartition("/")[2],
        resource=resource,
        subject=_subject(caller, method, resource),
        code=code,
        request=message.SerializeToString(deterministic=True),
        now=now,
    )


def refused_access(caller: Identity, method: str, message: Message | None, *, code: str, now: float) -> Access:
    """The access of a call that was refused; of one whose message could not be read nothing is known."""
    if message is not None:
        return access_to(caller, method, message, code=code, now=now)
    short = method.rpartition("/")[2]
    return access_of(caller, short, resource="", subject="", code=code, request=b"", now=now)


def reads_anothers(caller: Identity, method: str, access: Access) -> bool:
    """Whether a call read personal data that is not the caller's own."""
    return method in PERSONAL and not (caller.role is Role.PARTICIPANT and caller.id == access.subject)


def _subject(caller: Identity, method: str, resource: str) -> str:
    if PERSONAL.get(method):
        return PERSONAL[method]
    parts = resource.split("/")
    if parts[2:3] == ["members"]:
        return parts[3] if len(parts) > 3 else ""  # microgrids/{}/members/{}
    return caller.id if caller.role is Role.PARTICIPANT else ""
