import pytest

from device_drivers.device import Reading, obeys
from device_drivers.setpoint import Power


@pytest.mark.parametrize(
    ("limit_w", "power_w", "does"),
    [
        (None, 4000, True),
        (None, 3700, False),
        (None, None, None),
        (4000, 3700, True),
        (4000, 0, True),
        (4000, 4400, True),
        (4000, 5000, False),
        (4000, None, True),
        (11_000, 3700, False),
    ],
)
def test_a_device_that_keeps_a_limit_obeys_by_it_and_may_take_less(limit_w, power_w, does):
    reading = Reading(power_w=power_w, relay_closed=None, closed_s=0, stored_wh=None, limit_w=limit_w)
    assert obeys(reading, Power(power_w=4000)) is does


def test_a_limit_of_nothing_leaves_room_for_what_the_electronics_take():
    def takes(power_w):
        return obeys(
            Reading(power_w=power_w, relay_closed=None, closed_s=0, stored_wh=None, limit_w=0), Power(power_w=0)
        )

    assert takes(20) is True
    assert takes(1400) is False


@pytest.mark.parametrize(
    ("told_w", "power_w", "does"),
    [
        (2000, 1941, True),
        (2000, 1939, False),
        (-3000, -2911, True),
        (-3000, -3091, False),
        (0, 15, True),
        (0, 16, False),
    ],
)
def test_a_power_that_a_device_regulates_may_miss_by_little(told_w, power_w, does):
    reading = Reading(power_w=power_w, relay_closed=None, closed_s=0, stored_wh=None)
    assert obeys(reading, Power(power_w=told_w)) is does
