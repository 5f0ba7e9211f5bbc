"""What members allow others: to whom, for what, until when; and whether it counts.

Nothing is ever changed: a consent and its revocation are two records. Of the consents of a member to one identity for
one scope the newest alone counts, so that revoking it leaves no older one in force.
"""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from controller.access import Identity


class Scope(Enum):
    """What a consent is for."""

    METER_DATA = "METER_DATA"
    TRADES = "TRADES"
    DISPATCH = "DISPATCH"


class ConsentState(Enum):
    """Whether a consent counts."""

    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"
    SUPERSEDED = "SUPERSEDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a member allowed somebody.

    Attributes
    ----------
    member, number : whose, and the how manieth of this member's, from 1
    grantee : ``{role}/{id}`` in the same microgrid
    scope : what for
    granted, expires : Unix seconds; it counts in ``[granted, expires)``
    revoked : when it was taken back; None where it was not
    newest : whether no later one to the same grantee and scope was granted
    """

    member: str
    number: int
    grantee: str
    scope: Scope
    granted: int
    expires: int
    revoked: int | None = None
    newest: bool = True

    def state(self, now: float) -> ConsentState:
        """Whether it counts at an instant."""
        if self.revoked is not None:
            return ConsentState.REVOKED
        if not self.newest:
            return ConsentState.SUPERSEDED
        return ConsentState.ACTIVE if now < self.expires else ConsentState.EXPIRED

    def counts(self, now: float) -> bool:
        """Whether it allows anything at an instant."""
        state = self.state(now)
        match state:
            case ConsentState.ACTIVE:
                return True
            case ConsentState.EXPIRED | ConsentState.REVOKED | ConsentState.SUPERSEDED:
                return False
            case _:
                assert_never(state)


def grantee_of(caller: Identity) -> str:
    """A caller as consents name it."""
    return f"{caller.role.value}/{caller.id}"
