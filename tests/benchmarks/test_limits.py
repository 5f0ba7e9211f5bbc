"""A limit reaches every driver while the solver hangs and the database is stopped; how fast is not asserted.

By hand with 1,000 drivers, ``pytest -m campaign``; ``GRIDPACT_CAMPAIGN`` scales that: 0.01 connects ten.
"""

import os

import pytest

from tests.benchmarks.limits import Round, measure

SCALE = float(os.environ.get("GRIDPACT_CAMPAIGN", "1"))


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_a_limit_turns_off_every_device_with_solver_and_database_stopped() -> None:
    drivers = max(10, round(1_000 * SCALE))
    for found in measure(drivers, 1 if SCALE < 1 else 2, say=print):  # the second waits a minute for the way back
        assert found.lost == 0
        assert len(found.arrivals_ms) == drivers


def test_a_quantile_is_the_time_that_so_many_arrivals_keep_to() -> None:
    found = Round(acknowledged_ms=1.0, arrivals_ms=tuple(range(1, 201)), lost=0)
    assert [found.quantile_ms(share) for share in (0.5, 0.99, 1.0)] == [100, 198, 200]


def test_without_arrivals_no_time_is_kept_to() -> None:
    assert Round(acknowledged_ms=1.0, arrivals_ms=(), lost=3).quantile_ms(0.99) == float("inf")
