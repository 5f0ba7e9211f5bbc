"""What a caller did wrong, as a status with details; raised anywhere below a service, answered by its edge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from controller.errors import ControllerError

SHOWN = 80
"""How much of a wrong value a message repeats."""


class Code(Enum):
    """The canonical codes that we use; values are those of google.rpc.Code."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A field of the request and what is wrong with it."""

    field: str
    description: str


@dataclass(kw_only=True, eq=False)
class Refusal(ControllerError):  # noqa: N818  # it is an answer
    """A call that changes nothing and is answered with this.

    Attributes
    ----------
    code : canonical code
    reason : UPPER_SNAKE_CASE, for programs
    message : for people
    violations : wrong fields, for INVALID_ARGUMENT and OUT_OF_RANGE
    metadata : more for programs
    retry_s : when to try again, seconds from now; None where that would change nothing
    quota : which quota is used up; empty where it is none
    """

    code: Code
    reason: str
    message: str
    violations: tuple[Violation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_s: float | None = None
    quota: str = ""

    def __str__(self) -> str:
        return self.message


def invalid(field: str, *, got: str, wanted: str) -> Refusal:
    """A field's value is malformed."""
    return _field(Code.INVALID_ARGUMENT, "INVALID_FIELD", field, got, wanted)


def out_of_range(field: str, *, got: str, wanted: str) -> Refusal:
    """A field's value is well formed and too large or too small."""
    return _field(Code.OUT_OF_RANGE, "OUT_OF_RANGE", field, got, wanted)


def not_found(name: str) -> Refusal:
    """What is named does not exist, or is foreign: the caller cannot tell which."""
    return Refusal(code=Code.NOT_FOUND, reason="NOT_FOUND", message=f"{_short(name)}: not found")


def conflict(reason: str, message: str) -> Refusal:
    """Something of that name, or a request of that id with other content, is there already."""
    return Refusal(code=Code.ALREADY_EXISTS, reason=reason, message=message)


def not_now(reason: str, message: str) -> Refusal:
    """The state of what is named does not allow it."""
    return Refusal(code=Code.FAILED_PRECONDITION, reason=reason, message=message)


def changed(message: str) -> Refusal:
    """What the caller means to change is no longer what the caller knows."""
    return Refusal(code=Code.ABORTED, reason="ETAG_MISMATCH", message=message)


def denied(message: str) -> Refusal:
    """The caller's role does not allow it."""
    return Refusal(code=Code.PERMISSION_DENIED, reason="PERMISSION_DENIED", message=message)


def unauthenticated(reason: str, message: str) -> Refusal:
    """Nobody that we know calls, or somebody who is known no longer."""
    return Refusal(code=Code.UNAUTHENTICATED, reason=reason, message=message)


def exhausted(quota: str, message: str, *, retry_s: float | None = None) -> Refusal:
    """The caller asks for more than its share."""
    return Refusal(code=Code.RESOURCE_EXHAUSTED, reason="QUOTA_EXCEEDED", message=message, retry_s=retry_s, quota=quota)


def unavailable(reason: str, message: str, *, retry_s: float) -> Refusal:
    """A part of the service does not answer at the moment."""
    return Refusal(code=Code.UNAVAILABLE, reason=reason, message=message, retry_s=retry_s)


def too_late(message: str) -> Refusal:
    """The call took longer than it may; whether it had an effect, its repetition with the same id tells."""
    return Refusal(code=Code.DEADLINE_EXCEEDED, reason="DEADLINE_EXCEEDED", message=message)


def _field(code: Code, reason: str, field: str, got: str, wanted: str) -> Refusal:
    description = f"got {_short(got)}, wanted {wanted}"
    return Refusal(
        code=code,
        reason=reason,
        message=f"{field}: {description}",
        violations=(Violation(field=field, description=description),),
    )


def _short(value: str) -> str:
    return repr(value if len(value) <= SHOWN else value[:SHOWN] + "…")
