"""What all servicers share: the parts of the service, idempotent calls, signed payloads."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from google.protobuf.message import Message
from sqlalchemy import Connection

from controller.access import Identity, require_area, require_own
from controller.access_journal import AccessJournal
from controller.clock import Clock
from controller.denials import Denials
from controller.following import Apply, Follower
from controller.hub import DriverHub
from controller.limits.limits import Limits
from controller.microgrid import Microgrid
from controller.quotas import DAY_S, Daily
from controller.refusals import Code, Refusal, conflict, exhausted, not_found
from controller.registry_identity import RegistryKnown, no_registry
from controller.services.accessing import access_to
from controller.signing import verifies
from controller.solving import Solver
from controller.status import StatusBoard
from controller.store import accesses, calls, market, registry
from controller.store.database import Database
from controller.wire import fields
from gridpact.v1 import types_pb2

FUTURE_S = 120
"""How far a caller's clock may be ahead of ours."""

REGISTERING = frozenset(
    {
        "CreateMicrogrid",
        "UpdateMicrogrid",
        "UpdateTariff",
        "CreateMember",
        "UpdateMember",
        "DeleteMember",
        "RegisterKey",
        "UpdateFlexibility",
        "DeleteDevice",
    }
)
"""Methods that change what limits are taken by: microgrids, members, keys, devices."""

R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The parts of the service that servicers act through."""

    database: Database
    clock: Clock
    solver: Solver
    hub: DriverHub
    following: Follower
    daily: Daily
    denials: Denials
    limits: Limits
    status: StatusBoard
    journal: AccessJournal
    registry: RegistryKnown = no_registry


class Request(Protocol):
    """A message that carries a request id."""

    @property
    def request_id(self) -> str:
        """Chosen by the caller."""

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:  # protobuf's name
        """The message's bytes."""


async def once(
    core: Core,
    caller: Identity,
    method: str,
    request: Request,
    answer: type[R],
    effect: Callable[[Connection], R],
    *,
    follow: Callable[[Connection], Apply] | None = None,
) -> R:
    """The answer of ``effect``, which acts once for a request id, in the transaction that remembers the answer.

    ``follow`` reads in the same transaction what memory shall have of it, also where the call is a repeated one; that
    is applied once it is on disk, whether the caller waits or not.

    Raises
    ------
    Refusal
        ALREADY_EXISTS where the id was used with another content or method.
    """
    fields.request_id(request.request_id)
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()

    def act(connection: Connection) -> tuple[bytes, Apply | None]:
        response = answered(connection)
        return response, None if follow is None else follow(connection)

    def answered(connection: Connection) -> bytes:
        known = calls.recall(connection, str(caller), request.request_id)
        if known is not None:
            if (known.method, known.digest) != (method, digest):
                raise conflict("REQUEST_ID_REUSED", f"request_id {request.request_id!r}: used with another content")
            return bytes(known.response)
        _require_share(connection, core, caller, method)
        response = effect(connection).SerializeToString(deterministic=True)
        calls.remember(
            connection,
            str(caller),
            request.request_id,
            method=method,
            digest=digest,
            response=response,
            created=int(core.clock.now()),
        )
        access = access_to(caller, method, cast("Message", request), code="OK", now=core.clock.now())
        accesses.append(connection, [access])
        return response

    # Limits are taken while the database is stopped: what they need to know is kept at hand.
    registers = method in REGISTERING

    def committed(done: tuple[bytes, Apply | None]) -> None:
        if registers:
            core.limits.directory.touch(caller.grid)
        if done[1] is not None:
            done[1]()

    response, _ = await core.database.run_then(act, committed)
    if registers:
        await core.limits.directory.refresh(caller.grid)
    return answer.FromString(response)


def _require_share(connection: Connection, core: Core, caller: Identity, method: str) -> None:
    """Refuse a call that would make more of what is kept for good than one identity may within 24 hours."""
    most = core.daily.most(method)
    if most is None:
        return
    now = core.clock.now()
    oldest = calls.made_before(connection, str(caller), method, since=int(now) - DAY_S, others=most - 1)
    if oldest is not None:
        wait_s = max(1.0, oldest + DAY_S + 1 - now)
        raise exhausted(
            f"{caller}/{method}/day",
            f"{method}: got more than {most} within 24 hours, wanted a pause of {wait_s:.0f} s",
            retry_s=wait_s,
        )


def open_signed(
    connection: Connection,
    signed: types_pb2.Signed,
    *,
    microgrid: str,
    purpose: str,
    holder: str,
    type_name: str,
    field: str,
) -> bytes:
    """The payload, when a key registered for this purpose and holder signed it.

    Raises
    ------
    Refusal
        PERMISSION_DENIED otherwise.
    """
    # What cannot be a key's id is not looked for: databases refuse some texts.
    key = registry.key(connection, microgrid, signed.key_id) if fields.ID.fullmatch(signed.key_id) else None
    if (
        key is None
        or (key.purpose, key.holder) != (purpose, holder)
        or not verifies(key.public_key, signed.signature, type_name, signed.payload)
    ):
        raise Refusal(
            code=Code.PERMISSION_DENIED,
            reason="BAD_SIGNATURE",
            message=f"{field}.signature: got one that does not verify with key {signed.key_id[:64]!r}, "
            f"wanted a registered {purpose} key of {holder}",
            metadata={"field": f"{field}.signature"},
        )
    return signed.payload


def require_microgrid(connection: Connection, caller: Identity, microgrid: str, name: str) -> Microgrid:
    """The microgrid, when it exists and is the caller's; the same NOT_FOUND for both."""
    require_area(caller, microgrid, name)
    found = registry.microgrid(connection, microgrid)
    if found is None:
        raise not_found(name)
    return found


def require_member(
    connection: Connection, caller: Identity, microgrid: str, member: str, name: str, *, or_left: bool = False
) -> Microgrid:
    """The microgrid, when the caller is this member of it; else the same NOT_FOUND for foreign and missing ones.

    With ``or_left`` it may also have left: its trades and what it owes stay its own, and no other is ever called so.
    """
    require_area(caller, microgrid, name)
    require_own(caller, member, name)
    found = require_microgrid(connection, caller, microgrid, name)
    known = registry.member_ids(connection, microgrid)
    if not or_left:
        known = frozenset(one.id for one in registry.members(connection, microgrid))
    if member not in known:
        raise not_found(name)
    return found


def require_window(connection: Connection, caller: Identity, name: str, field: str) -> market.WindowRow:
    """The window, when it exists in the caller's microgrid."""
    microgrid, _ = fields.window_id(field, name)
    require_area(caller, microgrid, name)
    row = market.window(connection, name)
    if row is None:
        raise not_found(name)
    return row
