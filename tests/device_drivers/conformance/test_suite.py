"""The suite passes what is right, and each of its checks finds what it is there for."""

import asyncio

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.conformance.bench import Bench, open_bench
from device_drivers.conformance.checks import CHECKS
from device_drivers.conformance.controlled import follows_one_of_two, survives_its_controller
from device_drivers.conformance.link import Trouble
from device_drivers.conformance.result import NotShown, Verdict
from device_drivers.conformance.suite import run
from device_drivers.lease import Granted, LeaseFence
from device_drivers.setpoint import RelayState
from tests.device_drivers.conformance.faulty_driver import FaultyDriver

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)

FOUND_BY = {
    "says yes and does nothing": "set, read back",
    "reads nothing": "set, read back",
    "takes any target": "refuse",
    "takes any lease": "refuse",
    "takes any option": "refuse options",
    "switches when opened": "restart driver",
    "never renews": "refresh, expire",
    "sets no timer": "refresh, expire",
    "sets its timer too long": "refresh, expire",
    "keeps the timer to itself": "refresh, expire",
    "guesses": "garbage",
    "says yes to nobody": "silence",
    "raises what nobody knows": "half frames",
    "stays shut": "slow",
    "repeats what was given up": "lose link",
    "remembers": "lose power",
    "closes with a raise": "close",
}


def bench_of(driver):
    return Bench(
        driver=driver,
        address=DeviceUrl.parse("faulty://relay"),
        options={},
        failsafe=OPEN,
        other=CLOSED,
        troubles=driver,
        possible=frozenset(Trouble),
        power_cycle=driver.power_cycle,
        limit_s=0.3,
        settle_s=0.1,
        round_trip_s=0.03,
        late_s=0.05,
    )


async def results_of(bench):
    return {result.check: result async for result in run(bench)}


async def all_results():
    benches = {fault: bench_of(FaultyDriver(fault)) for fault in ("", *FOUND_BY)}
    found = await asyncio.gather(*(results_of(bench) for bench in benches.values()))
    return dict(zip(benches, found, strict=True))


@pytest.fixture(scope="module")
def results():
    """Of a driver that is right, and of each that is wrong in one way, all checked at once."""
    return asyncio.run(all_results())


@pytest.mark.slow
def test_a_driver_that_is_right_passes_every_check(results):
    assert list(results[""]) == [name for name, _ in CHECKS]
    assert {result.verdict for result in results[""].values()} == {Verdict.PASSED}, results[""]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FOUND_BY)
def test_a_driver_that_is_wrong_fails_the_check_for_it(results, fault):
    result = results[fault][FOUND_BY[fault]]
    assert result.verdict is Verdict.FAILED
    assert "wanted" in result.detail


@pytest.mark.slow
def test_a_runtime_that_follows_an_old_controller_fails_both_checks_for_it(monkeypatch):
    def accept(fence, command, now):
        return Granted(expires_at=now + command.ttl_s)

    monkeypatch.setattr(LeaseFence, "accept", accept)

    async def outcomes():
        bench = bench_of(FaultyDriver(""))
        return await asyncio.gather(*(_error(check(bench)) for check in (survives_its_controller, follows_one_of_two)))

    async def _error(call):
        try:
            return await call
        except NotShown as err:
            return str(err)

    for seen in asyncio.run(outcomes()):
        assert "wanted a command of the old epoch 1 rejected" in seen


@pytest.mark.slow
def test_what_does_not_apply_is_skipped_with_its_reason():
    async def check():
        address = DeviceUrl.parse("simulated://battery?timer=no")
        return await results_of(await open_bench(address, limit_s=0.1, settle_s=0.1))

    found = asyncio.run(check())
    skipped = {name for name, result in found.items() if result.verdict is Verdict.SKIPPED}
    assert skipped == {"restart driver", "refresh, expire", "lose link", "slow", "garbage", "half frames", "lose power"}
    assert all(found[name].detail for name in skipped)
    assert not [result for result in found.values() if result.verdict is Verdict.FAILED]
