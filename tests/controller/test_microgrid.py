from dataclasses import replace
from datetime import UTC, datetime

import pytest

from controller.microgrid import Microgrid

GRID = Microgrid(
    id="village",
    time_zone="Europe/Berlin",
    mtu_minutes=15,
    window_minutes=60,
    lead_minutes=5,
    start=0,
    end=0,
    network_charge_micro_per_kwh=0,
    currency="EUR",
    tariff=(),
)


def instant(*moment):
    return int(datetime(*moment, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("start", "end", "midnights"),
    [
        ((2026, 3, 2, 5), (2026, 3, 3, 5), [(2026, 3, 2, 23)]),
        # The night to summer time has an hour less, so that the next midnight comes after 23 hours.
        ((2026, 3, 28, 12), (2026, 3, 30, 12), [(2026, 3, 28, 23), (2026, 3, 29, 22)]),
        ((2026, 10, 24, 12), (2026, 10, 26, 12), [(2026, 10, 24, 22), (2026, 10, 25, 23)]),
        ((2026, 3, 2, 23), (2026, 3, 3, 22), []),
        ((2026, 3, 2, 23), (2026, 3, 3, 23), []),
    ],
    ids=["a day", "to summer time", "to winter time", "from midnight on", "until midnight"],
)
def test_days_begin_at_midnight_of_the_time_zone(start, end, midnights):
    grid = replace(GRID, start=instant(*start), end=instant(*end))
    assert grid.midnights() == tuple(instant(*moment) for moment in midnights)
