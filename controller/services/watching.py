"""Streams of what happens: the state of now, then each change, with tokens to go on from after a break.

A stream holds nothing back for its reader: it asks the store for what came after the last thing that was taken, so who
reads slowly finds of each subject its latest state only, and nothing piles up here.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Connection

from controller.access import Identity
from controller.services.feed import EventFeed
from controller.services.paging import digest_of, open_sealed, seal
from controller.store import events
from controller.store.database import Database
from gridpact.v1 import dispatch_pb2 as pb

HEARTBEAT_S = 30.0

R = TypeVar("R", pb.WatchPlansResponse, pb.WatchClearingsResponse)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects(Generic[R]):
    """What is watched.

    Attributes
    ----------
    kind : of the events
    answer : the type of the stream's messages
    state : reads the messages of the state of now
    change : reads the message of a subject to which something happened; None where the caller may not know
    """

    kind: str
    answer: type[R]
    state: Callable[[Connection], Sequence[R]]
    change: Callable[[Connection, str], R | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher(Generic[R]):
    """One stream.

    Attributes
    ----------
    database, feed : where things happen
    caller, microgrid : who watches what
    subjects : of which kind
    now : tells the service's time
    heartbeat_s : a message comes at least so often
    """

    database: Database
    feed: EventFeed
    caller: Identity
    microgrid: str
    subjects: Subjects[R]
    now: Callable[[], float]
    heartbeat_s: float = HEARTBEAT_S

    async def stream(self, request: pb.WatchPlansRequest | pb.WatchClearingsRequest) -> AsyncIterator[R]:
        """The messages, without end.

        Raises
        ------
        Refusal
            If the resume token is of another stream.
        """
        asked = type(request)(parent=request.parent)
        question = digest_of(self.caller, asked)
        taken: int | None = None
        if request.resume_token:
            (number,) = open_sealed("resume_token", request.resume_token, question, (int,))
            taken = int(number)
        while True:
            found, reached, more = await self.database.read_async(self._read, question, taken)
            for message in found:
                yield message
            taken = reached
            if not more and not await self.feed.after(self.microgrid, reached, wait_s=self.heartbeat_s):
                beat = self.subjects.answer(resume_token=seal(question, (reached,)))
                beat.heartbeat.time.seconds = int(self.now())
                yield beat

    def _read(self, connection: Connection, question: bytes, taken: int | None) -> tuple[list[R], int, bool]:
        """What there is to send, up to which number, and whether there may be more."""
        if taken is None or not events.covers(connection, self.microgrid, taken):
            return self._state(connection, question, gap=taken is not None)
        newest = events.newest(connection, self.microgrid)
        found = events.since(connection, self.microgrid, self.subjects.kind, taken, audience=str(self.caller))
        messages: list[R] = []
        for event in found:
            message = self.subjects.change(connection, event.subject)
            taken = event.sequence
            if message is not None:
                message.resume_token = seal(question, (taken,))
                messages.append(message)
        # A full batch may have left some behind; else all up to the newest event is taken, of other kinds too.
        more = len(found) == events.BATCH
        return messages, taken if more else newest, more

    def _state(self, connection: Connection, question: bytes, *, gap: bool) -> tuple[list[R], int, bool]:
        newest = events.newest(connection, self.microgrid)
        messages: list[R] = []
        if gap:
            missed = self.subjects.answer()
            missed.gap.reason = "what came after the token is no longer kept: list anew what is older than what follows"
            messages.append(missed)
        messages += self.subjects.state(connection)
        complete = self.subjects.answer(resume_token=seal(question, (newest,)))
        complete.snapshot_complete.SetInParent()
        messages.append(complete)
        return messages, newest, False
