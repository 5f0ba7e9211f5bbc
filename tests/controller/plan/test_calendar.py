"""Clock times and days of a time zone become MTUs."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from controller.plan.calendar import CLOCK, Calendar


def calendar(
    start: str = "2026-03-18T15:00", mtus: int = 96, minutes: int = 15, zone: str = "Europe/Berlin"
) -> Calendar:
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return Calendar(start=begin, mtus=mtus, mtu_minutes=15, zone=ZoneInfo(zone))


def window(when: Calendar, first: str, end: str) -> tuple[int, int]:
    opens, closes = when.window(first, end)
    return when.first_mtu(opens), when.end_mtu(closes)


def test_a_day_begins_at_local_midnight() -> None:
    assert calendar().horizon().day_starts == (32,)
    assert calendar(zone="Asia/Kolkata").horizon().day_starts == (14,)


@pytest.mark.parametrize(("start", "quarters"), [("2026-03-28T23:00", 92), ("2026-10-24T22:00", 100)])
def test_days_on_which_clocks_change_have_92_or_100_quarter_hours(start: str, quarters: int) -> None:
    assert calendar(start, mtus=150).horizon().day_starts == (quarters,)


@pytest.mark.parametrize(
    ("first", "end", "mtus"),
    [
        ("18:00", "20:00", (8, 16)),
        ("22:00", "07:00", (24, 60)),
        ("14:00", "18:00", (0, 8)),
        ("08:00", "12:00", (64, 80)),
        ("08:00+1", "12:00+1", (64, 80)),
        ("12:00", "08:00+1", (0, 64)),
        ("20:00+0", "06:00", (16, 56)),
        ("22:00-1", "18:00+0", (0, 8)),
        ("14:00+1", "20:00+1", (88, 96)),
        ("23:00", "24:00", (28, 32)),
        ("18:05", "19:55", (9, 15)),
    ],
)
def test_a_window_of_clock_times_is_cut_to_whole_mtus_of_the_horizon(
    first: str, end: str, mtus: tuple[int, int]
) -> None:
    assert CLOCK.fullmatch(first)
    assert CLOCK.fullmatch(end)
    assert window(calendar(), first, end) == mtus


def test_a_window_that_began_before_midnight_is_still_open_after_it() -> None:
    assert window(calendar("2026-03-18T01:00"), "22:00", "07:00") == (0, 20)


def test_a_window_over_the_change_of_clocks_has_its_real_length() -> None:
    assert window(calendar("2026-03-28T20:00"), "22:00", "07:00") == (4, 36)
    assert window(calendar("2026-10-24T20:00"), "22:00", "07:00") == (0, 40)


@pytest.mark.parametrize(
    ("first", "end", "hours"),
    [
        ("22:00", "02:30", (22, 26)),
        ("02:30+1", "06:00+1", (26, 29)),
        ("02:00+1", "03:00+1", (26, 26)),
        ("02:10+1", "02:50+1", (26, 26)),
        ("02:10+1", "02:50", (26, 26)),
        ("02:30", "02:10+1", (2.5, 26)),
        ("01:30+1", "03:00+1", (25.5, 26)),
        ("02:30+0", "02:30", (2.5, 26)),
        ("02:30", "02:30+2", (26, 49.5)),
    ],
)
def test_times_that_clocks_skip_are_the_instant_at_which_they_jump(
    first: str, end: str, hours: tuple[float, float]
) -> None:
    # Counted from the midnight before 28 March 2026; the clocks go from 2 to 3 a day later.
    midnight = datetime(2026, 3, 27, 23, tzinfo=UTC)
    found = calendar("2026-03-28T12:00").window(first, end)
    assert tuple((instant - midnight) / timedelta(hours=1) for instant in found) == hours


@pytest.mark.parametrize(
    ("first", "end", "hours"),
    [
        ("22:00", "02:30", (22, 26.5)),
        ("02:30+1", "06:00+1", (26.5, 31)),
        ("02:00+1", "03:00+1", (26, 28)),
        ("07:00", "07:00+1", (7, 32)),
        ("07:00+0", "07:00", (7, 32)),
    ],
)
def test_of_times_that_come_twice_the_first_is_meant(first: str, end: str, hours: tuple[float, float]) -> None:
    # Counted from the midnight before 24 October 2026; the clocks go back from 3 to 2 a day later.
    midnight = datetime(2026, 10, 23, 22, tzinfo=UTC)
    found = calendar("2026-10-24T12:00").window(first, end)
    assert tuple((instant - midnight) / timedelta(hours=1) for instant in found) == hours


def test_a_time_alone_may_be_one_that_clocks_skip_or_repeat() -> None:
    jump = datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert calendar("2026-03-28T20:00").time_after_start("02:30") == jump
    assert calendar("2026-03-28T20:00").time_after_start("02:30+1") == jump
    assert calendar("2026-10-24T20:00").time_after_start("02:30") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    # A whole day that a zone skipped: the thirtieth never came to Samoa.
    samoa = calendar("2011-12-29T20:00", zone="Pacific/Apia")
    assert samoa.instant("12:00", 1) == datetime(2011, 12, 30, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["7:30", "24:30", "07:60", "07:30+", "07:30+12", "noon", "07:30Z", "24:00:00"])
def test_other_texts_are_no_clock_times(text: str) -> None:
    assert not CLOCK.fullmatch(text)


def test_labels_name_the_day_where_it_is_another() -> None:
    assert [calendar().label(mtu) for mtu in (0, 31, 32, 96)] == ["16:00", "23:45", "Thu 00:00", "Thu 16:00"]
