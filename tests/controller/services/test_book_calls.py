"""Calls that change limits, whose callers go away while the journal stalls."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from controller.access import Identity, Role
from controller.access_journal import AccessJournal
from controller.clock import VirtualClock
from controller.limits.book import LimitsBook
from controller.limits.journal import MemoryJournal
from controller.limits.values import Envelope, Signature, Source
from controller.microgrid import Bounds
from controller.refusals import out_of_range
from controller.services.book_calls import once_in_book
from gridpact.v1 import dso_pb2 as pb

WIRES = Identity(role=Role.DSO, grid="village", id="wires")


class StallingJournal(MemoryJournal):
    """Takes its first record only when it is let."""

    def __init__(self):
        super().__init__()
        self.stalls, self.go_on = threading.Event(), threading.Event()

    def append(self, record):
        self.stalls.set()
        assert self.go_on.wait(timeout=10)
        super().append(record)


async def caught_up():
    pass


@pytest.fixture
def core():
    clock = VirtualClock(0)
    stalling = StallingJournal()
    book = LimitsBook(stalling, clock=clock, monotonic=clock)
    limits = SimpleNamespace(book=book, calls=asyncio.Lock(), caught_up=caught_up)
    yield SimpleNamespace(limits=limits, journal=AccessJournal(), clock=clock, stalling=stalling)
    book.close()


def create(core, id_, counter, upper_w):
    book = core.limits.book
    request = pb.CreateEnvelopeRequest(parent="microgrids/village", request_id=id_)

    async def effect(answered):
        if counter <= book.counter("village", "key"):
            raise out_of_range("envelope.counter", got=str(counter), wanted="more")
        response = pb.CreateEnvelopeResponse(envelope=pb.EnvelopeRecord(envelope=pb.Envelope(name=id_)))
        envelope = Envelope(
            microgrid="village",
            id=id_,
            source=Source(holder="wires"),
            target="microgrids/village",
            periods=(Bounds(start=0, end=900, lower_w=None, upper_w=upper_w),),
            counter=counter,
            signed=Signature(key_id="key"),
        )
        await book.add(envelope, answered(response))
        return response

    call = once_in_book(core, WIRES, "CreateEnvelope", request, pb.CreateEnvelopeResponse, effect)
    return asyncio.ensure_future(call)


async def stall(core, *calls):
    """Have the calls wait for the journal, until their callers go away."""
    assert await asyncio.to_thread(core.stalling.stalls.wait, 10)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert all(call.cancelled() for call in calls)


def journaled(core):
    return [record["envelope"]["id"] for record in core.limits.book.records()]


def test_calls_that_are_repeated_while_the_journal_stalls_keep_their_order(core):
    async def scenario():
        await stall(core, create(core, "loose", 1, 10_000), create(core, "tight", 2, 0))
        repeated = [create(core, "loose", 1, 10_000), create(core, "tight", 2, 0)]
        await asyncio.sleep(0)
        core.stalling.go_on.set()
        answers = await asyncio.gather(*repeated)
        assert [answer.envelope.envelope.name for answer in answers] == ["loose", "tight"]

    asyncio.run(scenario())
    assert journaled(core) == ["loose", "tight"]
    assert core.limits.book.effective("village", "microgrids/village").upper_w == 0


def test_a_change_whose_caller_went_away_is_in_the_access_journal(core):
    async def scenario():
        await stall(core, create(core, "tight", 1, 0))
        core.stalling.go_on.set()
        async with core.limits.calls:
            pass

    asyncio.run(scenario())
    assert journaled(core) == ["tight"]
    (access,) = core.journal.take()
    assert (access.method, access.code, access.count) == ("CreateEnvelope", "OK", 1)
