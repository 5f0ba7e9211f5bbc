"""Calls that change limits: they go to the limits' journal, and work while the database is stopped."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from google.protobuf.message import Message

from controller.access import Identity, require_area
from controller.errors import StoreError
from controller.limits.book import Answered
from controller.limits.directory import Registered
from controller.refusals import Code, Refusal, conflict, not_found, unavailable
from controller.services.accessing import access_to
from controller.services.core import Core, Request
from controller.signing import verifies
from controller.wire import fields
from gridpact.v1 import types_pb2

RETRY_S = 1.0
"""When to call again where the journal takes nothing."""

R = TypeVar("R", bound=Message)


async def once_in_book(
    core: Core,
    caller: Identity,
    method: str,
    request: Request,
    answer: type[R],
    effect: Callable[[Callable[[R], Answered]], Awaitable[R]],
) -> R:
    """The answer of ``effect``, which acts once for a request id.

    ``effect`` is given what makes the record of its answer, to be journaled in one piece with what it changes.

    Raises
    ------
    Refusal
        ALREADY_EXISTS where the id was used with another content or method; UNAVAILABLE where nothing can be journaled.
    """
    fields.request_id(request.request_id)
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()

    async def act() -> R:
        known = core.limits.book.recall(str(caller), request.request_id)
        if known is not None:
            if (known.method, known.digest) != (method, digest):
                raise conflict("REQUEST_ID_REUSED", f"request_id {request.request_id!r}: used with another content")
            return answer.FromString(known.response)

        def answered(response: R) -> Answered:
            return Answered(
                identity=str(caller),
                request_id=request.request_id,
                method=method,
                digest=digest,
                response=response.SerializeToString(deterministic=True),
            )

        try:
            response = await effect(answered)
        except StoreError as err:
            raise unavailable("LIMITS_JOURNAL", str(err), retry_s=RETRY_S) from err
        # The database may be stopped: the limits' own journal has the change, this one gets it with the next flush.
        core.journal.note(access_to(caller, method, cast("Message", request), code="OK", now=core.clock.now()))
        return response

    async def act_alone() -> R:
        try:
            return await act()
        finally:
            core.limits.calls.release()

    # Who goes away while others have their turn has changed nothing. What was begun is ended before anybody else's
    # turn, also where the caller no longer waits: else a repeated call would find neither its answer nor its limit.
    await core.limits.calls.acquire()
    response = await asyncio.shield(asyncio.ensure_future(act_alone()))
    await core.limits.caught_up()
    return response


def registered(core: Core, caller: Identity, microgrid: str, name: str) -> Registered:
    """What is registered of the caller's microgrid; the same NOT_FOUND for a foreign one and for none."""
    require_area(caller, microgrid, name)
    found = core.limits.directory.get(microgrid)
    if found is None:
        raise not_found(name)
    return found


def open_signed_by_dso(
    known: Registered, signed: types_pb2.Signed, *, holder: str, type_name: str, field: str
) -> bytes:
    """The payload, when a key registered for this DSO's envelopes signed it.

    Raises
    ------
    Refusal
        PERMISSION_DENIED otherwise.
    """
    key = known.keys.get(signed.key_id)
    if key is None or key.holder != holder or not verifies(key.public_key, signed.signature, type_name, signed.payload):
        raise Refusal(
            code=Code.PERMISSION_DENIED,
            reason="BAD_SIGNATURE",
            message=f"{field}.signature: got one that does not verify with key {signed.key_id[:64]!r}, "
            f"wanted a registered ENVELOPE key of {holder}",
            metadata={"field": f"{field}.signature"},
        )
    return signed.payload
