import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_drivers.errors import DeviceError
from device_drivers.ocpp.profile import Scale, Unit, composite_from

WATTS = Scale(unit=Unit.WATTS, phases=3, voltage_v=230.0)
AMPERES = Scale(unit=Unit.AMPERES, phases=3, voltage_v=230.0)
ONE = Scale(unit=Unit.AMPERES, phases=1, voltage_v=230.0)


@pytest.mark.parametrize(
    ("scale", "watts", "limit"),
    [(WATTS, 7001, 7001.0), (AMPERES, 11_040, 16.0), (AMPERES, 11_039, 15.9), (ONE, 3680, 16.0)],
)
def test_watts_become_a_limit_of_the_station(scale, watts, limit):
    assert scale.limit(watts) == limit


@given(st.sampled_from([WATTS, AMPERES, ONE]), st.integers(0, 10**6))
def test_a_limit_never_lets_through_more_than_it_was_made_of(scale, watts):
    assert scale.watts(scale.limit(watts)) <= watts + 1e-3
    assert scale.watts(scale.limit(watts)) > watts - scale.watts(0.1) - 1e-3


def test_a_limit_said_in_another_unit_or_on_other_phases_is_brought_over():
    assert AMPERES.of(Unit.WATTS, 6900.0, None) == pytest.approx(10.0)
    assert WATTS.of(Unit.AMPERES, 10.0, None) == pytest.approx(6900)
    assert WATTS.of(Unit.AMPERES, 10.0, 1) == pytest.approx(2300)
    assert AMPERES.of(Unit.AMPERES, 15.0, 1) == pytest.approx(5.0)


def schedule(*periods, **changes):
    told = [{"startPeriod": start, "limit": limit} for start, limit in periods]
    return {"chargingRateUnit": "W", "chargingSchedulePeriod": told, **changes}


def test_a_composite_schedule_says_what_holds_when():
    composite = composite_from(schedule((0, 7000), (30, 0.0), duration=60), 90.0)
    assert [composite.at(seconds).limit for seconds in (-1, 0, 29.9, 30, 1000)] == [7000, 7000, 7000, 0, 0]
    assert composite.lasts_s == 60
    assert composite_from(schedule((0, 1)), 90.0).lasts_s == 90


@pytest.mark.parametrize(
    ("told", "named"),
    [
        (None, "wanted one in W or A"),
        ({"chargingRateUnit": "hp"}, "wanted one in W or A"),
        (schedule(), "periods from"),
        (schedule((5, 1)), "periods from"),
        (schedule((0, 1), (9, 1), (8, 1)), "periods from"),
        (schedule((0, -1)), "limit '-1'"),
        (schedule((0, float("nan"))), "limit 'nan'"),
        (schedule((0, True)), "limit 'True'"),
        (schedule((0, "7")), "limit '7'"),
        (schedule((0, 1), duration=-5), "duration '-5'"),
        ({"chargingRateUnit": "A", "chargingSchedulePeriod": {}}, "wanted a list"),
        ({"chargingRateUnit": "A", "chargingSchedulePeriod": [7]}, "wanted an object"),
        (
            {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 1, "numberPhases": 9}]},
            "phases",
        ),
        (
            {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 1, "numberPhases": []}]},
            "phases",
        ),
        ({"chargingRateUnit": [], "chargingSchedulePeriod": []}, "wanted one in W or A"),
    ],
)
def test_a_composite_schedule_that_makes_no_sense_is_an_error_of_the_device(told, named):
    with pytest.raises(DeviceError, match=named):
        composite_from(told, 60.0)
