import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_drivers.connection import Timer
from device_drivers.errors import InvalidValueError


@given(
    st.floats(0, 10**6),
    st.sampled_from([0.1, 1.0, 10.0, 60.0]),
    st.floats(0, 100),
    st.floats(100, 10**5),
)
def test_a_timer_is_never_armed_beyond_what_was_asked(seconds, resolution_s, shortest_s, longest_s):
    timer = Timer(shortest_s=shortest_s, longest_s=longest_s, resolution_s=resolution_s)
    armed_s = timer.armed_s(seconds)
    if armed_s is not None:
        assert shortest_s <= armed_s <= min(seconds, longest_s) + 1e-9 * resolution_s
        assert armed_s > min(seconds, longest_s) - resolution_s - 1e-6
        assert math.isclose(armed_s / resolution_s, round(armed_s / resolution_s))


def test_a_time_too_short_for_the_timer_is_none():
    timer = Timer(shortest_s=5, longest_s=60, resolution_s=1)
    assert [timer.armed_s(s) for s in (0, 4.9, 5.0, 59.9, 100)] == [None, None, 5, 59, 60]
    assert Timer(shortest_s=0, longest_s=60, resolution_s=1).armed_s(0.9) is None


@pytest.mark.parametrize("wrong", [{"resolution_s": 0}, {"shortest_s": 61}, {"longest_s": math.nan}])
def test_a_timer_that_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidValueError, match="timer: got"):
        Timer(**({"shortest_s": 1, "longest_s": 60, "resolution_s": 1} | wrong))
