"""The access journal: who did what, when, with which outcome; each entry carries the hash of the one before.

A change is entered in the transaction that makes it. Denials and readings of personal data are noted in memory, entered
together with the next flush, and equal ones of a flush are one entry with a count, so that nobody can fill the disk by
knocking. What is asked is entered as a digest, never as a payload.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from controller.access import Identity

START = bytes(32)
"""What the first entry of a microgrid carries in the place of a hash."""
WAITING = 10_000
"""As many different accesses wait for a flush; what comes beyond that is counted in one entry."""
EVERYBODY = "*"
"""The subject of an access to the data of all members."""
LOST = "LOST"
"""The code of the entry that counts what did not find room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One access, or some equal ones.

    Attributes
    ----------
    microgrid : the caller's
    instant : Unix seconds, of the first
    identity : the caller's URI
    method : of the API
    resource : what was named in the request; empty where nothing was
    subject : whose data it is: a member's id, ``*`` for all members, empty for nobody's
    code : canonical code of the outcome, as OK or PERMISSION_DENIED
    digest : SHA-256 of the request; of the first
    count : how many
    """

    microgrid: str
    instant: int
    identity: str
    method: str
    resource: str
    subject: str
    code: str
    digest: bytes
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An access in its place: ``number`` from 1 on, the hash of the entry before, and its own."""

    number: int
    access: Access
    previous: bytes
    hash: bytes


def link(access: Access, last: Entry | None) -> Entry:
    """The entry of an access after the last one; None begins a microgrid's journal."""
    number, previous = (1, START) if last is None else (last.number + 1, last.hash)
    return Entry(number=number, access=access, previous=previous, hash=hash_of(number, access, previous))


def hash_of(number: int, access: Access, previous: bytes) -> bytes:
    """SHA-256 over an entry's fields as JSON, keys sorted, bytes in hexadecimal digits."""
    record = {
        "number": number,
        "previous": previous.hex(),
        "microgrid": access.microgrid,
        "instant": access.instant,
        "identity": access.identity,
        "method": access.method,
        "resource": access.resource,
        "subject": access.subject,
        "code": access.code,
        "digest": access.digest.hex(),
        "count": access.count,
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).digest()


def verify(entries: Iterable[Entry], *, head: tuple[int, bytes] | None = None) -> str:
    """What is wrong with a microgrid's journal at its first broken link; empty where every link holds.

    Parameters
    ----------
    entries : all of them, in order of their numbers
    head : number and hash of an entry that the caller saw earlier; tells of a journal that was cut or written anew
    """
    last: Entry | None = None
    seen = head is None
    for entry in entries:
        wanted = 1 if last is None else last.number + 1
        if entry.number != wanted:
            return f"entry {wanted}: missing, entry {entry.number} follows"
        if entry.previous != (START if last is None else last.hash):
            return f"entry {entry.number}: does not carry the hash of the entry before"
        if entry.hash != hash_of(entry.number, entry.access, entry.previous):
            return f"entry {entry.number}: its hash is not that of what it says"
        if head is not None and entry.number == head[0]:
            if entry.hash != head[1]:
                return f"entry {entry.number}: another than was seen earlier"
            seen = True
        last = entry
    return "" if seen or head is None else f"entry {head[0]}: missing at the end, and was seen earlier"


class AccessJournal:
    """What waits to be entered: denials, readings of personal data, changes whose own records are kept elsewhere."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, ...], Access] = {}
        self._lost: dict[str, Access] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, access: Access) -> None:
        """Let an access be entered with the next flush."""
        key = (access.microgrid, access.identity, access.method, access.resource, access.subject, access.code)
        known = self._waiting.get(key)
        if known is not None:
            self._waiting[key] = replace(known, count=known.count + access.count)
        elif len(self._waiting) < WAITING:
            self._waiting[key] = access
        else:
            known = self._lost.get(access.microgrid)
            lost = replace(access, identity="", method="", resource="", subject=EVERYBODY, code=LOST, digest=b"")
            self._lost[access.microgrid] = lost if known is None else replace(known, count=known.count + access.count)

    def take(self) -> list[Access]:
        """All that waits; it waits no longer."""
        taken = [*self._waiting.values(), *self._lost.values()]
        self._waiting, self._lost = {}, {}
        return taken

    def give_back(self, accesses: Iterable[Access]) -> None:
        """Let what could not be entered wait for the next flush."""
        for access in accesses:
            self.note(access)


def access_of(
    caller: Identity, method: str, *, resource: str, subject: str, code: str, request: bytes, now: float
) -> Access:
    """An access as it is entered."""
    return Access(
        microgrid=caller.grid,
        instant=int(now),
        identity=str(caller),
        method=method,
        resource=resource,
        subject=subject,
        code=code,
        digest=hashlib.sha256(request).digest(),
    )
