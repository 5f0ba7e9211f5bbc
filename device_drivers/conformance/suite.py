"""Runs the checks one after the other."""

import time
from collections.abc import AsyncIterator, Callable

from device_drivers.conformance.bench import Bench
from device_drivers.conformance.checks import CHECKS, Check
from device_drivers.conformance.result import NotAsked, NotShown, Result, Verdict
from device_drivers.errors import DriverError


async def run(bench: Bench, now: Callable[[], float] = time.monotonic) -> AsyncIterator[Result]:
    """Each check's result as it is known; the bench's troubles are over at the end.

    Parameters
    ----------
    bench : Bench
        What is checked.
    now : callable
        Seconds of a clock that is never set back.
    """
    try:
        for name, check in CHECKS:
            started = now()
            verdict, detail = await _outcome(bench, check)
            yield Result(check=name, verdict=verdict, detail=detail, took_s=now() - started)
    finally:
        if bench.troubles is not None:
            await bench.troubles.aclose()


async def _outcome(bench: Bench, check: Check) -> tuple[Verdict, str]:
    try:
        return Verdict.PASSED, await check(bench)
    except NotAsked as err:
        return Verdict.SKIPPED, str(err)
    except NotShown as err:
        return Verdict.FAILED, str(err)
    except DriverError as err:
        return Verdict.FAILED, f"got {type(err).__name__}: {err}, wanted it done"
    except Exception as err:  # others' code: whatever it raises, the other checks go on
        return Verdict.FAILED, f"got {type(err).__name__}: {err}, wanted a DeviceError or none"
