"""What is held while a DSO has no control outlives the process, wherever it ends."""

import asyncio

import pytest

from controller.clock import VirtualClock
from controller.errors import StoreError
from controller.limits.book import LimitsBook
from controller.limits.journal import FileJournal, MemoryJournal
from controller.limits.values import Envelope, Source
from controller.microgrid import Bounds
from tests.controller.village import START

GRID = "microgrids/village"
HOUR = 3600


def envelope(id_, upper, *, hours=1, lower=None):
    return Envelope(
        microgrid="village",
        id=id_,
        source=Source(holder="wires"),
        target=GRID,
        periods=(Bounds(start=START, end=START + hours * HOUR, lower_w=lower, upper_w=upper),),
    )


def book_of(journal, instant):
    clock = VirtualClock(instant)
    return clock, LimitsBook(journal, clock=clock, monotonic=clock)


def band(book, instant):
    found = book.effective("village", GRID, instant)
    return found.lower_w, found.upper_w


async def lose_control(book, clock):
    """The DSO takes control, limits for an hour, and falls silent in it."""
    await book.hear("village", "wires", confirm=True, clocks_agree=True)
    await book.add(envelope("day", 900, lower=-300))
    clock.set(clock.now() + 120)
    book.tick()
    await book.settle()


async def story(journal):
    clock, book = book_of(journal, START)
    await lose_control(book, clock)
    await book.add(envelope("later", 700, hours=2))
    clock.set(START + 3 * HOUR)
    assert band(book, clock.now()) == (-300, 900)
    await book.hear("village", "wires", confirm=True, clocks_agree=True)
    await book.settle()
    assert band(book, clock.now()) == (None, None)
    book.close()


AFTER = {
    # the last record on disk: what holds three hours later, by the service's start and 120 s of silence after it
    "supervised": (None, None),
    "day": (None, None),
    "held": (-300, 900),
    "later": (-300, 900),
    "released": (None, None),
}


def test_a_process_that_ends_after_any_record_holds_what_it_says(tmp_path):
    path = tmp_path / "limits.journal"
    asyncio.run(story(FileJournal(path)))
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == len(AFTER)
    for number, expected in enumerate(AFTER.values(), 1):
        path.write_bytes(b"".join(lines[:number]))
        clock, book = book_of(FileJournal(path), START + 3 * HOUR)
        assert band(book, clock.now()) == expected, "INIT"
        clock.set(clock.now() + 120)
        book.tick()
        assert [known.control.value for known in book.supervision("village").values()] == ["FAILSAFE"]
        assert band(book, clock.now()) == expected, "FAILSAFE"
        book.close()


def test_torn_within_its_record_it_held_in_the_envelope_s_time(tmp_path):
    path = tmp_path / "limits.journal"
    asyncio.run(story(FileJournal(path)))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:-5])
    clock, book = book_of(FileJournal(path), START + 200)
    clock.set(START + 320)
    book.tick()
    assert band(book, START + 3 * HOUR) == (-300, 900)
    book.close()


class Broken(MemoryJournal):
    """Takes nothing while it is broken."""

    broken = False

    def append(self, record):
        if self.broken:
            raise StoreError("disk full")
        super().append(record)


def test_a_journal_that_takes_nothing_delays_no_failsafe_and_gets_it_first(caplog):
    async def run():
        journal = Broken()
        clock, book = book_of(journal, START)
        await book.hear("village", "wires", confirm=True, clocks_agree=True)
        await book.add(envelope("day", 900))
        journal.broken = True
        clock.set(START + 120)
        book.tick()
        assert band(book, START + 3 * HOUR) == (None, 900)
        await book._settling
        assert "not on disk yet: disk full" in caplog.text
        with pytest.raises(StoreError, match="disk full"):
            await book.add(envelope("more", 500))
        assert book.envelope("village", "more") is None
        journal.broken = False
        await book.add(envelope("more", 500))
        assert [record["kind"] for record in journal.records()] == ["supervised", "envelope", "held", "envelope"]
        book.close()

    asyncio.run(run())


def test_what_time_alone_brings_is_journaled_without_another_change():
    async def run():
        journal = MemoryJournal()
        clock, book = book_of(journal, START)
        await book.hear("village", "wires", confirm=True, clocks_agree=True)
        await book.add(envelope("day", 900))
        clock.set(START + 120)
        book.tick()
        await book._settling
        assert journal.records()[-1] == {
            "kind": "held",
            "microgrid": "village",
            "holder": "wires",
            "bands": [{"target": GRID, "source": "", "lower_w": None, "upper_w": 900}],
        }
        book.close()

    asyncio.run(run())


def test_a_dso_without_limits_has_nothing_held():
    async def run():
        journal = MemoryJournal()
        clock, book = book_of(journal, START)
        await book.hear("village", "wires", confirm=True, clocks_agree=True)
        clock.set(START + 120)
        book.tick()
        await book.hear("village", "wires", confirm=True, clocks_agree=True)
        await book.settle()
        assert [record["kind"] for record in journal.records()] == ["supervised"]
        book.close()

    asyncio.run(run())
