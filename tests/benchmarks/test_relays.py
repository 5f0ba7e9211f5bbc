"""The benchmark of one driver process, small: what it measures happens. ``GRIDPACT_CAMPAIGN`` scales 1,000 relays."""

import os

import pytest

from tests.benchmarks.relays import measure

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))


@pytest.mark.campaign
def test_every_relay_is_commanded_and_tells_what_it_measures_each_second():
    relays = max(10, round(1000 * SCALE))
    figures = measure(relays, 10 if SCALE >= 1 else 3)
    print(figures)
    assert figures["verified"] >= relays
    assert figures["telemetry_per_s"] > relays / 2
