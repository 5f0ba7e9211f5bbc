"""For participants: whom they let read their data and plan their devices."""

from sqlalchemy import Connection

from controller.refusals import not_found, not_now
from controller.services.core import Core, once, require_member
from controller.services.edge import Context, caller_of
from controller.services.paging import read_page
from controller.store import consents
from controller.wire import fields
from controller.wire.consent import consent_message, consent_name, read_consent
from gridpact.v1 import participant_pb2 as pb

CONSENTS = 10_000
"""As many a member may ever grant: each is kept for good."""


class ConsentMethods:
    """The methods of gridpact.v1.ParticipantService about consents."""

    _core: Core

    async def GrantConsent(self, request: pb.GrantConsentRequest, context: Context) -> pb.GrantConsentResponse:
        """Let somebody read what is the caller's, or plan its devices."""
        caller = caller_of(context)
        id_, member = fields.resource("parent", request.parent, "microgrids", "members")

        def effect(connection: Connection) -> pb.GrantConsentResponse:
            require_member(connection, caller, id_, member, request.parent)
            now = self._core.clock.now()
            grantee, scope, expires = read_consent(request.consent, member=member, now=now)
            if len(consents.of_member(connection, id_, member)) >= CONSENTS:
                raise not_now("TOO_MANY_CONSENTS", f"{request.parent}: has granted {CONSENTS} already")
            kept = consents.add(
                connection, id_, member, grantee=grantee, scope=scope, granted=int(now), expires=expires
            )
            return pb.GrantConsentResponse(consent=consent_message(id_, kept, now=now))

        return await once(self._core, caller, "GrantConsent", request, pb.GrantConsentResponse, effect)

    async def RevokeConsent(self, request: pb.RevokeConsentRequest, context: Context) -> pb.RevokeConsentResponse:
        """Take a consent back, at once."""
        caller = caller_of(context)
        id_, member, number = consent_name(request.name)

        def effect(connection: Connection) -> pb.RevokeConsentResponse:
            require_member(connection, caller, id_, member, request.name)
            now = self._core.clock.now()
            known = {consent.number: consent for consent in consents.of_member(connection, id_, member)}
            if number not in known:
                raise not_found(request.name)
            if not known[number].counts(now):
                state = known[number].state(now).value
                raise not_now("NOT_ACTIVE", f"{request.name}: got one that is {state}, wanted ACTIVE")
            consents.revoke(connection, id_, member, number, int(now))
            kept = next(c for c in consents.of_member(connection, id_, member) if c.number == number)
            return pb.RevokeConsentResponse(consent=consent_message(id_, kept, now=now))

        return await once(self._core, caller, "RevokeConsent", request, pb.RevokeConsentResponse, effect)

    async def ListConsents(self, request: pb.ListConsentsRequest, context: Context) -> pb.ListConsentsResponse:
        """All that the caller ever consented to."""
        caller = caller_of(context)
        id_, member = fields.resource("parent", request.parent, "microgrids", "members")
        page = read_page(caller, request, request.page_size, request.page_token, (int,))

        def read(connection: Connection) -> pb.ListConsentsResponse:
            require_member(connection, caller, id_, member, request.parent)
            found, token = page.of(consents.of_member(connection, id_, member), lambda consent: (consent.number,))
            now = self._core.clock.now()
            return pb.ListConsentsResponse(
                consents=[consent_message(id_, consent, now=now) for consent in found], next_page_token=token
            )

        return await self._core.database.read_async(read)
