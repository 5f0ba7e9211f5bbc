"""Every protocol's driver against its peer. All are checked at once: most of the time is waited for timers to end."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace

import pytest

from device_drivers.address import DeviceUrl
from device_drivers.conformance.bench import open_bench
from device_drivers.conformance.checks import CHECKS
from device_drivers.conformance.result import Verdict
from device_drivers.conformance.suite import run
from device_drivers.errors import DriverError
from device_drivers.schemes import driver_for
from tests.device_drivers.kasa.conftest import plug as start_kasa
from tests.device_drivers.modbus.conftest import DEVICES, start_server
from tests.device_drivers.mqtt.conftest import FOLDER, Mosquitto, start_plug, start_switch
from tests.device_drivers.ocpp.conftest import free_port, start_station
from tests.device_drivers.s2.conftest import start_manager
from tests.device_drivers.shelly.conftest import start_plug as start_shelly

NO_TIMER = ("refresh, expire",)
NO_NETWORK = ("restart driver", "lose link", "slow", "garbage", "half frames", "lose power")
AGAIN = 3
BEGIN_S = 0.5
"""s between one and the next: all would open their devices, and cut them off, at the same time."""
SKIPPED = {
    "simulated": NO_NETWORK,
    "kasa": (),
    "modbus sunspec 704": (),
    "modbus relay": (),
    "modbus relay rtu": (),
    "modbus sunspec 123": NO_TIMER,
    "mqtt tasmota": (),
    "shelly": (),
    "ocpp 1.6": (),
    "ocpp 2.0.1": (),
    "mqtt template": NO_TIMER,
    "s2 ombc": NO_TIMER,
    "s2 frbc": NO_TIMER,
    "s2 pebc": (),
    "s2 ppbc": NO_TIMER,
}
"""Checks that do not apply, by device."""


def place(name, stack, folder):
    """URL of a device, and what takes its power; it runs until the stack is closed."""

    def running(peer):
        stack.callback(peer.stop)
        return peer

    protocol, _, device = name.partition(" ")
    match protocol:
        case "simulated":
            return "simulated://relay?", None
        case "kasa":
            peer, rest = start_kasa("hs110"), "?"
        case "shelly":
            peer, rest = start_shelly(folder), "?"
        case "s2":
            peer, rest = start_manager(device), f"/{device}?"
        case "modbus":
            device, rtu, _ = device.partition(" rtu")
            peer, rest = start_server("rtu" if rtu else "socket"), f"/{DEVICES[device]}&"
            rest += "framing=rtu&" if rtu else ""
        case "ocpp":
            port = free_port()
            peer = running(start_station(folder, port, version=device))
            return f"ocpp://127.0.0.1:{port}/CP1?timeout_s=0.8", peer.power_cycle
        case _:
            return mqtt(device, running, folder / device)
    running(peer)
    return f"{protocol}://127.0.0.1:{peer.port}{rest}timeout_s=0.8", peer.power_cycle


def mqtt(device, running, folder):
    """The same of a device behind a broker of its own."""
    folder.mkdir()
    broker = running(Mosquitto(folder))
    url = f"mqtt://plug:secret@127.0.0.1:{broker.port}"
    if device == "tasmota":
        return f"{url}/plug?timeout_s=0.8", running(start_plug(broker, folder)).power_cycle
    return f"{url}/switch?map={FOLDER / 'switch.toml'}&timeout_s=0.8", running(start_switch(broker)).power_cycle


async def results_of(url, power_cycle):
    bench = await open_bench(DeviceUrl.parse(url), limit_s=2.0, settle_s=3.0, power_cycle=power_cycle)
    return [result async for result in run(replace(bench, late_s=0.25))]


async def all_results(places):
    """Of all at once; those that failed are asked again alone, as a busy machine may have been late for them."""
    begun = (results_or_error(where, after_s=BEGIN_S * number) for number, where in enumerate(places.values()))
    found = dict(zip(places, await asyncio.gather(*begun), strict=True))
    for name, where in places.items():
        for _ in range(AGAIN):
            if not has_failed(found[name]):
                break
            found[name] = await results_or_error(where)
    return found


def has_failed(results):
    return isinstance(results, DriverError) or any(result.verdict is Verdict.FAILED for result in results)


async def results_or_error(one, after_s=0.0):
    await asyncio.sleep(after_s)
    try:
        return await results_of(*one)
    except DriverError as err:
        return err


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the suite says of each device; why it could not be asked where its peer is missing."""
    found = {}
    with ExitStack() as stack:
        places = {}
        for name in SKIPPED:
            driver_for(name.partition(" ")[0])  # what it imports would hold the others up
            try:
                places[name] = place(name, stack, tmp_path_factory.mktemp("peer"))
            except pytest.skip.Exception as why:
                found[name] = str(why)
        found |= asyncio.run(all_results(places))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", SKIPPED)
def test_a_driver_passes_the_conformance_suite_against_its_peer(results, name):
    if isinstance(results[name], str):
        pytest.skip(results[name])
    if isinstance(results[name], DriverError):
        raise results[name]
    assert [str(result) for result in results[name] if result.verdict is Verdict.FAILED] == []
    assert [result.check for result in results[name]] == [check for check, _ in CHECKS]
    skipped = [result.check for result in results[name] if result.verdict is Verdict.SKIPPED]
    assert skipped == list(SKIPPED[name])
