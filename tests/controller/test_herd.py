import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.herd import GRACE_S, KEPT_S, Herd


def test_who_comes_alone_is_let_in():
    herd = Herd(10)
    assert [herd.admit("a", now) for now in (0, 5, 5)] == [0, 0, 0]


def test_ten_thousand_at_once_are_in_within_a_minute_and_nobody_is_sent_away_twice():
    herd = Herd(250)
    waits = {f"d{k}": herd.admit(f"d{k}", 100.0) for k in range(10_000)}
    assert sum(wait == 0 for wait in waits.values()) == 250
    returns = sorted((wait, name) for name, wait in waits.items() if wait)
    assert returns[-1][0] < 60
    assert all(herd.admit(name, 100.0 + wait) == 0 for wait, name in returns)
    assert len(herd) == 0


def test_no_second_sees_more_than_the_rate():
    herd = Herd(20)
    waits = [herd.admit(f"d{k}", 0.0) for k in range(200)]
    instants = [wait for wait in waits if wait]
    for second in range(1, 9):
        assert sum(second <= instant < second + 1 for instant in instants) <= 21


def test_who_comes_too_early_is_told_the_same_instant():
    herd = Herd(1)
    waits = [herd.admit(name, 0.0) for name in "abc"]
    assert waits == [0.0, 1.0, 2.0]
    assert herd.admit("c", 0.5) == 1.5
    assert herd.admit("c", 1.5) == 0.0  # near enough
    assert herd.admit("b", 1.5) == 0.0


def test_a_slot_is_not_kept_for_ever():
    herd = Herd(1)
    for name in "abc":
        herd.admit(name, 0.0)
    assert len(herd) == 2
    assert herd.admit("d", 2.0 + KEPT_S) == 0.0
    assert len(herd) == 0


def test_those_sent_away_together_come_back_one_after_the_other():
    herd = Herd(4)
    assert herd.dismiss(["a", "b", "c"], 10.0) == {"a": GRACE_S, "b": GRACE_S + 0.25, "c": GRACE_S + 0.5}


@given(
    rate=st.floats(0.5, 100),
    arrivals=st.lists(st.tuples(st.integers(0, 30), st.floats(0, 5)), max_size=60),
)
def test_who_obeys_is_let_in_the_second_time(rate, arrivals):
    herd, now = Herd(rate), 0.0
    for name, pause in arrivals:
        now += pause
        wait = herd.admit(str(name), now)
        if wait:
            now += wait
            assert herd.admit(str(name), now) == pytest.approx(0.0)
