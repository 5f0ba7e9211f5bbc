from datetime import UTC, datetime, timedelta, timezone

import pytest

from device_drivers.errors import DriverError, InvalidValueError
from device_drivers.setpoint import Bounds, Power, ProductionLimit, Setpoint

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_errors_have_one_root():
    assert issubclass(InvalidValueError, DriverError)


def test_production_limit_is_not_negative():
    assert ProductionLimit(limit_w=0).limit_w == 0
    with pytest.raises(InvalidValueError, match="got -1 W"):
        ProductionLimit(limit_w=-1)


@pytest.mark.parametrize("start", [NOON.replace(tzinfo=None), NOON.astimezone(timezone(HOUR))])
def test_setpoint_wants_utc(start):
    with pytest.raises(InvalidValueError, match="wanted UTC"):
        Setpoint(start=start, end=NOON + HOUR, target=Power(power_w=1))


@pytest.mark.parametrize("length", [timedelta(0), -HOUR])
def test_setpoint_wants_its_start_before_its_end(length):
    with pytest.raises(InvalidValueError, match="wanted the end later"):
        Setpoint(start=NOON, end=NOON + length, target=Power(power_w=1))


def test_command_takes_setpoints_that_touch_or_leave_gaps(make_command):
    first = Setpoint(start=NOON, end=NOON + HOUR, target=Power(power_w=1))
    second = Setpoint(start=NOON + HOUR, end=NOON + 2 * HOUR, target=Power(power_w=2))
    fourth = Setpoint(start=NOON + 3 * HOUR, end=NOON + 4 * HOUR, target=Power(power_w=4))

    assert make_command(setpoints=(first, second, fourth)).setpoints == (first, second, fourth)


def test_command_refuses_setpoints_that_overlap_or_go_back(make_command):
    long = Setpoint(start=NOON, end=NOON + 2 * HOUR, target=Power(power_w=1))
    later = Setpoint(start=NOON + HOUR, end=NOON + 3 * HOUR, target=Power(power_w=2))

    for setpoints in ((long, later), (later, long)):
        with pytest.raises(InvalidValueError, match="without overlap"):
            make_command(setpoints=setpoints)


@pytest.mark.parametrize("ttl_s", [float("nan"), float("inf")])
def test_command_wants_a_finite_lease(make_command, ttl_s):
    with pytest.raises(InvalidValueError, match="finite"):
        make_command(ttl_s=ttl_s)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        (Bounds(lower_w=-2, upper_w=3), (-2, 0, 3), (-3, 4)),
        (Bounds(lower_w=None, upper_w=0), (-(10**9), 0), (1,)),
        (Bounds(lower_w=0, upper_w=None), (0, 10**9), (-1,)),
        (Bounds(lower_w=None, upper_w=None), (-(10**18), 10**18), ()),
    ],
)
def test_bound_of_zero_binds_and_an_absent_one_does_not(bounds, inside, outside):
    assert all(bounds.contains(power_w) for power_w in inside)
    assert not any(bounds.contains(power_w) for power_w in outside)


def test_bounds_do_not_cross():
    with pytest.raises(InvalidValueError, match="lower no higher"):
        Bounds(lower_w=1, upper_w=0)
