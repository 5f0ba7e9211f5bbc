"""Whatever happens to clocks, heartbeats and the process: nothing ends in no limit but a DSO's own word."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controller.limits.book import LimitsBook
from controller.limits.journal import MemoryJournal
from controller.limits.supervision import Control
from controller.limits.values import Default, Envelope, Source
from controller.microgrid import Bounds

GRID = "microgrids/village"
START = 1_700_000_000
DAY_S = 86_400


class Settable:
    """A clock that stands where it is set."""

    def __init__(self, instant):
        self.instant = instant

    def now(self):
        return self.instant


class Times:
    """A wall clock that anybody sets, and a steady one."""

    def __init__(self):
        self.wall, self.steady = Settable(float(START)), Settable(1000.0)

    def pass_(self, seconds):
        self.wall.instant += seconds
        self.steady.instant += seconds

    def book(self, journal):
        return LimitsBook(journal, clock=self.wall, monotonic=self.steady)


def envelope(id_, upper, *, start=START, seconds=600, primacy=0):
    return Envelope(
        microgrid="village",
        id=id_,
        source=Source(holder="wires"),
        target=GRID,
        periods=(Bounds(start=int(start), end=int(start) + seconds, lower_w=None, upper_w=upper),),
        primacy=primacy,
        created=int(start),
    )


def default(upper):
    return Default(microgrid="village", source=Source(holder="wires"), target=GRID, lower_w=None, upper_w=upper)


class Story(RuleBasedStateMachine):
    """A DSO, its limits, and what may go wrong; ``floor`` is what held when control was lost last."""

    @initialize(default_w=st.none() | st.integers(0, 9))
    def begin(self, default_w):
        self.times, self.journal = Times(), MemoryJournal()
        self.book = self.times.book(self.journal)
        self.default_w, self.floor, self.count = default_w, None, 0
        if default_w is not None:
            asyncio.run(self.book.set_default(default(default_w)))
        asyncio.run(self.book.hear("village", "wires", confirm=True, clocks_agree=True))

    def control(self):
        return self.book.controls("village")["wires"]

    def upper(self):
        return self.book.effective("village", GRID).upper_w

    def follow(self, event):
        """Let something happen; where control is lost by it, what held before is what has to hold on."""
        before, was = self.upper(), self.control()
        event()
        if self.control() is Control.CONTROLLED:
            self.floor = None
        elif self.control() is Control.FAILSAFE and was is not Control.FAILSAFE:
            self.floor = before

    @rule(upper=st.integers(0, 9), primacy=st.integers(0, 1), ahead=st.sampled_from([-300, 0, 300]))
    def limit(self, upper, primacy, ahead):
        self.count += 1
        start = self.times.wall.instant + ahead
        one = envelope(f"e{self.count}", upper, primacy=primacy, start=start)
        self.follow(lambda: asyncio.run(self.book.add(one)))

    @rule(back=st.integers(0, 3))
    def cancel(self, back):
        if self.count > back:
            self.follow(lambda: asyncio.run(self.book.cancel("village", f"e{self.count - back}")))

    @rule(confirm=st.booleans(), agree=st.booleans())
    def heartbeat(self, confirm, agree):
        self.follow(lambda: asyncio.run(self.book.hear("village", "wires", confirm=confirm, clocks_agree=agree)))

    @rule(seconds=st.sampled_from([1, 59, 119, 120, 3600]))
    def time_passes(self, seconds):
        self.times.pass_(seconds)
        self.follow(self.book.tick)

    @rule(leap=st.sampled_from([-DAY_S, -400 * DAY_S, -3, 3, DAY_S, 400 * DAY_S]))
    def somebody_sets_the_clock(self, leap):
        def leaps():
            self.times.wall.instant += leap
            self.book.tick()

        self.follow(leaps)
        assert self.control() is Control.FAILSAFE

    @rule()
    def the_service_restarts(self):
        asyncio.run(self.book.settle())
        self.book.close()
        self.book = self.times.book(self.journal)
        assert self.control() is Control.INIT

    @invariant()
    def there_is_a_limit(self):
        found = self.upper()
        if self.default_w is not None:
            assert found is not None
            assert self.control() is Control.CONTROLLED or found <= self.default_w
        elif self.floor is not None:
            assert found is not None, "what held when control was lost"
            assert found <= self.floor

    def teardown(self):
        if hasattr(self, "book"):
            self.book.close()


Story.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestStory = Story.TestCase


@pytest.fixture
def limited():
    times, journal = Times(), MemoryJournal()
    book = times.book(journal)
    asyncio.run(book.hear("village", "wires", confirm=True, clocks_agree=True))
    asyncio.run(book.add(envelope("day", 7)))
    yield times, book
    book.close()


@pytest.mark.parametrize("leap", [-DAY_S, DAY_S])
def test_a_leap_of_a_day_holds_what_held_before_it(limited, leap):
    times, book = limited
    times.wall.instant += leap
    book.tick()
    assert book.controls("village") == {"wires": Control.FAILSAFE}
    assert book.effective("village", GRID).upper_w == 7
    times.pass_(60)
    book.tick()
    times.wall.instant -= leap
    book.tick()
    assert book.effective("village", GRID).upper_w == 7


def test_a_limit_of_the_past_that_comes_late_loosens_nothing(limited):
    times, book = limited
    times.pass_(300)
    asyncio.run(book.add(envelope("late", 9, start=START - 7200)))
    asyncio.run(book.add(envelope("early", 9, start=START + 7200)))
    assert book.effective("village", GRID).upper_w == 7


def test_a_restatement_without_heartbeats_takes_no_control(limited):
    times, book = limited
    times.pass_(120)
    book.tick()
    asyncio.run(book.add(envelope("more", 9, start=times.wall.now())))
    assert book.controls("village") == {"wires": Control.FAILSAFE}
    assert book.effective("village", GRID).upper_w == 7
