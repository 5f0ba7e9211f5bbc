"""What holds for all tests: campaigns run only when they are asked for, PostgreSQL where there is one."""

import gc
import logging
import os
from collections.abc import Iterator

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the processors: threads that spin while they wait would take them from each other. Before numba is
    # imported anywhere; tests of several threads set their own.
    for name in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import Postgres, binaries

# No test asserts a time, on whatever machine it runs.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave campaigns out unless ``-m`` names them."""
    if "campaign" in config.option.markexpr:
        return
    campaigns = [item for item in items if item.get_closest_marker("campaign")]
    if campaigns:
        config.hook.pytest_deselected(items=campaigns)
        items[:] = [item for item in items if item not in campaigns]


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over what stays to the end: modules and thousands of tests."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Who gives files to processes."""
    from tests.spread import make_scheduler

    return make_scheduler(config, log)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands that a test calls set up logging for a process of their own, with a stream that ends with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
    root.handlers.extend(handler for handler in handlers if handler not in root.handlers)
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; where none is installed, tests with it are skipped, but not in CI."""
    programs = binaries()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL: got no initdb, wanted Debian's package postgresql")
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    server = Postgres(programs)
    yield server
    server.close()
