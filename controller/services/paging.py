"""Pages by key: a token says after which row to go on, so that rows that are added meanwhile shift nothing.

A token is good for the question and the caller that it was given to: it carries a digest over both, and another
question's, or a changed one, is refused. It is no secret and grants nothing: each page asks anew what the caller may
see.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message

from controller.access import Identity
from controller.refusals import invalid
from controller.wire import fields

DIGEST_BYTES = 16
TOKEN_CHARACTERS = 512

T = TypeVar("T")
Key = tuple[int | str, ...]
Kind = type[int] | type[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which rows a caller asks for.

    Attributes
    ----------
    size : as many at most
    after : key of the last row that the caller has; None for the first page
    question : digest of what was asked, and by whom
    """

    size: int
    after: Key | None
    question: bytes

    def of(self, rows: Iterable[T], key: Callable[[T], Key]) -> tuple[Sequence[T], str]:
        """The page out of all rows, in the order of their keys, and the token of the next."""
        left = sorted((row for row in rows if self.after is None or key(row) > self.after), key=key)
        return self.cut(left[: self.size + 1], key)

    def cut(self, rows: Sequence[T], key: Callable[[T], Key]) -> tuple[Sequence[T], str]:
        """The page of rows that were read one beyond its size, and the token of the next: empty on the last."""
        if len(rows) <= self.size:
            return rows, ""
        page = rows[: self.size]
        return page, seal(self.question, key(page[-1]))


def read_page(caller: Identity, request: Message, size: int, token: str, kinds: Sequence[Kind]) -> Page:
    """The page of ``page_size`` and ``page_token`` that a request asks for; ``kinds`` are the types of a key's parts.

    Raises
    ------
    Refusal
        If the size is out of range, or the token is of another question.
    """
    asked = type(request)()
    asked.CopyFrom(request)
    asked.ClearField("page_size")
    asked.ClearField("page_token")
    question = digest_of(caller, asked)
    return Page(
        size=fields.number("page_size", size, upper=1000) or 100,
        after=open_sealed("page_token", token, question, kinds) if token else None,
        question=question,
    )


def digest_of(caller: Identity, asked: Message) -> bytes:
    """What binds a token to a question and to who asks it."""
    named = f"{caller}\0{asked.DESCRIPTOR.full_name}\0".encode()
    return hashlib.sha256(named + asked.SerializeToString(deterministic=True)).digest()


def seal(question: bytes, key: Key) -> str:
    """The token of a place in the answer to a question."""
    body = json.dumps(key, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(question, body) + body).decode().rstrip("=")


def open_sealed(field: str, token: str, question: bytes, kinds: Sequence[Kind]) -> Key:
    """The place that a token names.

    Raises
    ------
    Refusal
        INVALID_ARGUMENT where it is no token, a changed one or another question's.
    """
    refused = invalid(field, got=token, wanted="a token from an earlier answer to the same question")
    if len(token) > TOKEN_CHARACTERS or not token.isascii():
        raise refused
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except binascii.Error as err:
        raise refused from err
    body = raw[DIGEST_BYTES:]
    if raw[:DIGEST_BYTES] != _digest(question, body):
        raise refused
    try:
        key = json.loads(body)
    except ValueError as err:
        raise refused from err
    # The digest is no secret: whoever knows how it is made can make one of anything.
    if not isinstance(key, list) or [type(part) for part in key] != list(kinds):
        raise refused
    if not all(part.isprintable() if isinstance(part, str) else abs(part) < 2**62 for part in key):
        raise refused
    return tuple(key)


def _digest(question: bytes, body: bytes) -> bytes:
    return hashlib.sha256(question + body).digest()[:DIGEST_BYTES]
