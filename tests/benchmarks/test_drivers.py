"""The drivers' benchmark, small: what it measures happens. ``GRIDPACT_CAMPAIGN`` scales the campaign of 10,000."""

import os

import pytest

from tests.benchmarks.drivers import measure

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_all_drivers_are_connected_told_and_none_is_lost():
    drivers = max(20, round(10_000 * SCALE))
    figures = measure(drivers, processes=1, rate=500 * SCALE, seconds=5)
    print(figures)
    assert (figures["welcomed"], figures["connected"]) == (drivers, drivers)
    assert figures["lost"] == {}
    assert figures["unary_failed"] == 0
    assert 0 < figures["push_p50_s"] <= figures["push_p99_s"] <= figures["push_last_s"] < 30
