"""Windows when the clock jumps, the machine stops, or days have 23 and 25 hours: each state, each event."""

from collections import Counter
from datetime import UTC, datetime
from itertools import product

import pytest

from controller.microgrid import WindowState
from controller.snapshot import Snapshot
from tests.controller.stand_ins import FAULT
from tests.controller.street import DAY_S, LOADS_W, Street, minutes

WAIT = {"settlement_wait": minutes(3)}
KEPT = ("trades", "positions", "setpoints", "readings", "postings", "headers", "windows")


def reach(street, state, crash):
    """Let the first window come to a state."""
    site = street.site
    match state:
        case "OPEN":
            site.advance(street.start - 301)
        case "CLOSED":
            site.advance(street.start - 301)
            site.database.commits_left = 1
            with pytest.raises(crash):
                site.advance(street.start - 300)
            site.database.commits_left = None
        case "CLEARED":
            site.advance(street.start - 300)
        case "FAILED":
            site.solver.script.append(FAULT)
            site.advance(street.start - 300)
        case "DELIVERING":
            site.advance(street.start)
        case "METERED":
            street.live(until=street.start + street.window_s)
        case _:
            street.live(until=street.start + street.window_s)
            site.advance(street.start + street.window_s + 180)
    assert street.states()[0] == state


def set_clock(site, instant):
    """Let the clock say anything, as a machine's may."""
    site.clock._now = instant


AFTER = {
    # What a window is after: nothing, a restart, a day forward, a day back.
    "OPEN": ("OPEN", "OPEN", "FAILED", "OPEN"),
    "CLOSED": ("CLEARED", "CLEARED", "FAILED", "CLEARED"),
    "CLEARED": ("CLEARED", "CLEARED", "DELIVERING", "CLEARED"),
    "DELIVERING": ("DELIVERING", "DELIVERING", "DELIVERING", "DELIVERING"),
    "FAILED": ("FAILED", "FAILED", "FAILED", "FAILED"),
    "METERED": ("METERED", "METERED", "SETTLED", "METERED"),
    "SETTLED": ("SETTLED", "SETTLED", "SETTLED", "SETTLED"),
}
"""Of each state; those that are waiting for meters go on waiting, as nobody reads any here."""


def test_every_state_is_in_the_table():
    assert set(AFTER) | {"ANCHORED"} == {state.value for state in WindowState}


@pytest.mark.parametrize(("state", "event"), list(product(AFTER, range(4))))
def test_each_state_meets_each_event(make_site, crash, state, event):
    # Windows of four hours, so that a jump misses few.
    street = Street(make_site(), mtu=60, window=240, timing=WAIT).found()
    reach(street, state, crash)
    before = street.site.rows(*KEPT)
    if event == 1:
        street.site.crash()
        street.site.open()
    if event in {2, 3}:
        set_clock(street.site, street.site.clock.now() + (DAY_S if event == 2 else -DAY_S))
    street.site.advance()
    assert street.states()[0] == AFTER[state][event]
    if AFTER[state][event] == state and event != 2:
        assert street.site.rows(*KEPT) == before
    # Nothing is left undecided: once it is time, each window has ended or waits for meters alone.
    set_clock(street.site, street.start + 2 * DAY_S)
    street.site.advance()
    assert street.states()[0] in {"SETTLED", "DELIVERING", "FAILED"}
    assert street.site.advance() == 0


class TestJumps:
    @pytest.fixture
    def street(self, make_site):
        hours = {"planning_horizon": minutes(240), "order_ahead": minutes(240)}
        return Street(make_site(), mtu=60, window=60, priced_s=3 * DAY_S, **hours).found()

    def test_windows_that_a_jump_of_a_day_missed_fail_and_are_settled(self, street):
        site = street.site
        for member in LOADS_W:
            street.order(member)
        street.live(until=street.start + 3600)
        site.advance(street.start + 3600 + DAY_S)
        missed = [row for row in street.rows() if 2 <= (row.start - street.start) // 3600 < 25]
        # The second one was decided in time; the one that begins now is, too, as it has not begun.
        assert Counter(row.failure for row in missed) == {"its start had passed before it was cleared": 23}
        assert {row.source for row in missed} == {"FAILSAFE"}
        assert street.row(25).source == "CLEARING"
        street.report(*range(street.start + 7200, street.start + 3600 + DAY_S + 1, 3600))
        site.advance()
        assert set(street.states()[:25]) == {"SETTLED"}
        assert sum(row["amount_micro"] for row in site.rows("postings")) == 0

    def test_a_jump_back_opens_and_closes_nothing_and_time_goes_on_where_it_was(self, street):
        street.live(until=street.start + 3600)
        before = street.site.rows(*KEPT)
        set_clock(street.site, street.start + 3600 - DAY_S)
        assert street.site.advance() == 0
        assert street.site.rows(*KEPT) == before
        street.site.clock.set(street.start + 3600)
        street.live(until=street.start + 7200)
        assert street.states()[:3] == ["SETTLED", "SETTLED", "DELIVERING"]

    def test_a_window_whose_end_is_ahead_still_has_the_tail_of_the_last_plan(self, street):
        for member in LOADS_W:
            street.order(member)
        street.live(until=street.start)
        street.site.advance(street.start + 3601)
        row = street.row(1)
        assert (row.state, row.failure) == ("FAILED", "its start had passed before it was cleared")


@pytest.mark.slow
def test_a_crash_after_every_single_commit_changes_nothing(make_site, crash):
    calm, hit = (Street(make_site(), timing=WAIT).found() for _ in range(2))
    for street in (calm, hit):
        for member in LOADS_W:
            street.order(member)
    instants = [calm.start + 1800 * number + second for number in range(3) for second in (-300, 0, 180)]
    crashes = 0
    for instant in instants:
        for street in (calm, hit):
            street.site.clock.set(instant)
            if instant >= street.start and (instant - street.start) % 1800 == 0:
                first = max(street.start, instant - 900)
                street.report(*range(first, instant + 1, 900))
        calm.site.advance()
        while True:
            hit.site.database.commits_left = 1
            try:
                hit.site.advance()
            except crash:
                crashes += 1
                hit.site.crash()
                hit.site.open()
            else:
                hit.site.database.commits_left = None
                break
    # Closed, cleared and begun; metered and settled but for the last; and each that was opened meanwhile.
    assert crashes >= 3 * 3 + 2 * 2
    assert {table: hit.site.rows(table) for table in KEPT} == {table: calm.site.rows(table) for table in KEPT}


NIGHTS = {
    # The night of 2026-03-29 in Berlin has 23 hours of a day, that of 2026-11-01 in New York 25; Lord Howe's has 24.5.
    "berlin": ("Europe/Berlin", 15, datetime(2026, 3, 28, 23, tzinfo=UTC), 92),
    "york": ("America/New_York", 30, datetime(2026, 11, 1, 4, tzinfo=UTC), 50),
    "howe": ("Australia/Lord_Howe", 30, datetime(2026, 4, 4, 13, tzinfo=UTC), 49),
}


@pytest.mark.parametrize("grid", NIGHTS)
def test_a_day_has_as_many_mtus_as_its_clock_says(make_site, grid):
    zone, mtu, midnight, mtus = NIGHTS[grid]
    site = make_site()
    start = int(midnight.timestamp())
    set_clock(site, start - 3600)
    changes = {"time_zone": zone, "planning_horizon": minutes(26 * 60), "order_ahead": minutes(60)}
    street = Street(site, grid, mtu=mtu, start=start, **changes).found()
    site.advance(start - 300)
    view = Snapshot.from_json(street.row(0).snapshot).microgrid
    assert [(instant - start) // (60 * mtu) for instant in view.midnights()] == [mtus]


@pytest.mark.slow
def test_three_microgrids_of_other_zones_and_mtus_live_beside_each_other_through_a_night(make_site):
    site = make_site()
    start = int(datetime(2026, 3, 28, 23, tzinfo=UTC).timestamp())
    set_clock(site, start - 3600)
    hours = {"planning_horizon": minutes(120), "order_ahead": minutes(120)}
    streets = [
        Street(site, grid, mtu=mtu, window=60, start=start, time_zone=zone, **hours).found()
        for grid, zone, mtu in [
            ("berlin", "Europe/Berlin", 15),
            ("delhi", "Asia/Kolkata", 30),
            ("kathmandu", "Asia/Kathmandu", 60),
        ]
    ]
    for street in streets:
        street.order("home", 0, [400] * (3600 // street.mtu_s))
    end = start + 6 * 3600
    reported = {street.grid: street.start - street.mtu_s for street in streets}
    for instant in sorted({*range(start - 300, end, 3600), *range(start, end + 1, 900)}):
        site.clock.set(instant)
        for street in streets:
            if instant >= start and (instant - start) % street.mtu_s == 0 and instant > reported[street.grid]:
                street.report(instant)
                reported[street.grid] = instant
        site.advance()
    for street in streets:
        assert street.states()[:6] == ["SETTLED"] * 6
        assert {row.source for row in street.rows()[:6]} == {"CLEARING"}
    assert {row["window"].split("/")[1] for row in site.rows("headers")} == {"berlin", "delhi", "kathmandu"}
