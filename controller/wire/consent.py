"""Consents: messages to values and back."""

import re

from controller.access import Role
from controller.consent import Consent, Scope
from controller.refusals import invalid, not_found
from controller.wire import fields
from gridpact.v1 import participant_pb2 as pb

GRANTEE = re.compile(r"([a-z]+)/[a-z0-9/-]{1,127}")
NUMBER = re.compile(r"c([1-9]\d{0,8})")
SCOPES = {pb.ConsentScope.Value(f"CONSENT_SCOPE_{scope.value}"): scope for scope in Scope}


def read_consent(message: pb.Consent, *, member: str, now: float) -> tuple[str, Scope, int]:
    """Grantee, scope and end of a consent that a member grants at an instant.

    Raises
    ------
    Refusal
        INVALID_ARGUMENT, OUT_OF_RANGE
    """
    match = GRANTEE.fullmatch(message.grantee)
    if match is None or match[1] not in {role.value for role in Role}:
        roles = ", ".join(role.value for role in Role)
        raise invalid("consent.grantee", got=message.grantee, wanted=f"ROLE/ID, ROLE one of {roles}")
    if message.grantee == f"{Role.PARTICIPANT.value}/{member}":
        raise invalid("consent.grantee", got=message.grantee, wanted="somebody else")
    if message.scope not in SCOPES:
        raise invalid("consent.scope", got=str(message.scope), wanted=", ".join(scope.value for scope in Scope))
    if message.name:
        raise invalid("consent.name", got=message.name, wanted="none: the service chooses it")
    return message.grantee, SCOPES[message.scope], fields.future("consent.expire_time", message.expire_time, now=now)


def consent_name(name: str) -> tuple[str, str, int]:
    """Microgrid id, member id and number of a consent's resource name; NOT_FOUND where it can be no consent's."""
    microgrid, member, consent = fields.resource("name", name, "microgrids", "members", "consents")
    match = NUMBER.fullmatch(consent)
    if match is None:
        raise not_found(name)
    return microgrid, member, int(match[1])


def consent_message(microgrid: str, consent: Consent, *, now: float) -> pb.Consent:
    """The message of a consent as it stands at an instant."""
    return pb.Consent(
        name=f"microgrids/{microgrid}/members/{consent.member}/consents/c{consent.number}",
        grantee=consent.grantee,
        scope=pb.ConsentScope.Value(f"CONSENT_SCOPE_{consent.scope.value}"),
        expire_time=fields.timestamp(consent.expires),
        state=pb.ConsentState.Value(f"CONSENT_STATE_{consent.state(now).value}"),
        create_time=fields.timestamp(consent.granted),
        revoke_time=None if consent.revoked is None else fields.timestamp(consent.revoked),
    )
