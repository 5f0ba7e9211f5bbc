import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_drivers.ocpp.metering import EXPORT, IMPORT, Sampled, in_watts, instant, power_of


def sampled(value, measurand=IMPORT, phase=None):
    return Sampled(measurand=measurand, phase=phase, value=value)


@pytest.mark.parametrize(
    ("values", "power_w"),
    [
        ([sampled(7000.0)], 7000),
        ([sampled(2000.0, phase="L1"), sampled(2100.0, phase="L2"), sampled(2200.0, phase="L3")], 6300),
        ([sampled(2000.0, phase="L1-N"), sampled(3.0, phase="N")], 2000),
        ([sampled(5000.0), sampled(2000.0, phase="L1")], 5000),
        ([sampled(5000.0), sampled(1.0, "Energy.Active.Import.Register"), sampled(6000.0)], 6000),
        ([sampled(0.0), sampled(1500.0, EXPORT)], -1500),
    ],
)
def test_power_is_what_all_phases_take_together(values, power_w):
    assert power_of(values) == (power_w, "")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "nothing"),
        (
            [sampled(1.0, "Energy.Active.Import.Register"), sampled(2.0, "Voltage")],
            "Energy.Active.Import.Register, Vol",
        ),
        ([sampled(math.nan)], "nan"),
        ([sampled(2000.0, phase="L1"), sampled(math.nan, phase="L2")], "nan"),
        ([sampled(1e12)], "W"),
        ([sampled(230.0, phase="L1-L2")], IMPORT),
    ],
)
def test_values_without_a_power_are_no_power_and_are_told(values, said):
    power_w, told = power_of(values)
    assert power_w is None
    assert said in told


@pytest.mark.parametrize(
    ("value", "unit", "multiplier", "watts"),
    [
        ("7.25", "kW", 0, 7250),
        (7.25, "kW", 0, 7250),
        ("-50", "W", 0, -50),
        ("7", None, 0, 7),
        (72.5, "W", 2, 7250),
        (7, "kW", -3, 7),
    ],
)
def test_values_are_brought_to_watts(value, unit, multiplier, watts):
    assert in_watts(value, unit, multiplier) == pytest.approx(watts)


@pytest.mark.parametrize(
    ("value", "unit", "multiplier"),
    [("7", "A", 0), ("7", "VA", 0), ("much", "W", 0), (True, "W", 0), ("1_000", "W", 0), (1, "W", 99), (None, "W", 0)],
)
def test_what_is_no_number_of_watts_is_none(value, unit, multiplier):
    assert math.isnan(in_watts(value, unit, multiplier))


@given(st.text(max_size=40))
def test_any_time_that_is_said_can_be_read_or_is_none(text):
    told = instant(text)
    assert told is None or told.tzinfo is UTC


def test_a_time_without_a_zone_is_utc():
    assert (
        instant("2026-11-22T07:00:00") == instant("2026-11-22T08:00:00+01:00") == datetime(2026, 11, 22, 7, tzinfo=UTC)
    )
