from random import Random

import pytest

from device_drivers.backoff import LONGEST_S, delay_s


@pytest.mark.parametrize(("attempt", "whole_s"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (10**6, 60)])
def test_wait_doubles_up_to_the_longest_and_is_cut_by_at_most_a_half(attempt, whole_s):
    randomness = Random(7)
    delays = [delay_s(attempt, randomness) for _ in range(200)]

    assert whole_s / 2 <= min(delays) < max(delays) <= whole_s <= LONGEST_S


def test_same_randomness_gives_the_same_waits():
    assert delay_s(3, Random(1)) == delay_s(3, Random(1)) != delay_s(3, Random(2))
