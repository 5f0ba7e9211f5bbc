"""Time to safe: from the last heartbeat that was answered to each device's failsafe, as the device itself says.

All faults are made at one instant, each to a driver, a controller and devices of its own: one device of every kind at
each place, and one place for each fault. What can live beside each other shares a process.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from random import Random

import pytest

from controller.pki_files import init
from device_drivers.config import load_config
from device_drivers.conformance.link import FaultyLink, Trouble
from device_drivers.driving import Driving, read_credentials
from device_drivers.uplink import Uplink
from tests.device_drivers.edges import read_edges
from tests.device_drivers.kasa.conftest import PLUG
from tests.device_drivers.modbus.conftest import FOLDER as MODBUS
from tests.device_drivers.mqtt.conftest import FOLDER as MQTT
from tests.device_drivers.mqtt.conftest import Mosquitto
from tests.device_drivers.ocpp.conftest import free_port
from tests.device_drivers.peer import ROOT, node_modules
from tests.device_drivers.s2.conftest import own_python

HERE = Path(__file__).parent
LEASE_S = 4
PROMISE_S = LEASE_S + 1
STARTED_S = 60.0
"""s that everything may take to be on, on a machine that has much else to do."""


class Fault(Enum):
    DRIVER_KILLED = "driver killed (`kill -9`)"
    DRIVER_STOPPED = "driver stopped (SIGSTOP)"
    CONTROLLER_KILLED = "controller killed"
    CONTROLLER_STOPPED = "controller hung (SIGSTOP)"
    CONTROLLER_CUT = "network to the controller cut"
    DEVICE_CUT = "network to the device cut"


FAULTS = tuple(Fault)
TIMERS = ("kasa", "modbus-relay", "modbus-sunspec", "mqtt-tasmota", "ocpp-16", "ocpp-201", "s2-pebc", "shelly")
"""Kinds of devices with a timer of their own."""
STATIONS = ("ocpp-16", "ocpp-201")
DIALLING = (*STATIONS, "s2-pebc")
"""Those that dial the driver, instead of the other way round."""
KINDS = (*TIMERS, "mqtt-template")
OUT_OF_REACH = {Fault.DRIVER_KILLED, Fault.DRIVER_STOPPED, Fault.DEVICE_CUT}
"""Faults after which nobody tells the device anything."""


@dataclass(frozen=True)
class Seen:
    """What became of a device: s from the heartbeat to its failsafe, None where it stays as it is."""

    took_s: float | None
    on_until_fault: bool


class Process:
    """A process that says ports, one on a line."""

    def __init__(self, *command, ports=1, environment=None):
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"} | (environment or {}),
        )
        self.ports = [int(self.process.stdout.readline()) for _ in range(ports)]

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@dataclass
class Site:
    """What is there, and where: by fault the controller's port, by kind and place the devices' URLs."""

    controllers: dict
    urls: dict
    kinds: tuple


def build(folder, stack):
    """Start devices, brokers and controllers; they run until the stack is closed."""

    def running(process):
        stack.callback(process.stop)
        return process

    init(folder / "pki", grid="village", days=1, hosts=())
    broker = running(Mosquitto(folder))
    places = len(FAULTS)
    module = [sys.executable, "-m", "tests.device_drivers.safety.devices"]
    dialled = [free_port() for _ in range(2 * places)]
    devices = running(Process(*module, folder, broker.port, places, *dialled, ports=places + 1))
    modbus, *shellies = devices.ports
    missing = set()
    try:
        python = own_python()
    except pytest.skip.Exception:
        missing.add("s2-pebc")
    else:
        command = [python, "-m", "tests.device_drivers.safety.chargers", folder, places]
        chargers = running(Process(*command, ports=places)).ports
    try:
        node, modules = node_modules("tplink-smarthome-simulator")
    except pytest.skip.Exception:
        missing.add("kasa")
    else:
        edges = {"EDGES": str(folder / "edges")}
        kasas = running(Process(node, PLUG, modules, "hs110", *[0] * places, ports=places, environment=edges)).ports
    kinds, urls = tuple(kind for kind in KINDS if kind not in missing), {}
    for place in range(places):
        urls["modbus-relay", place] = ("modbus", modbus, f"/{2 * place + 1}?map={MODBUS / 'relay.toml'}")
        urls["modbus-sunspec", place] = ("modbus", modbus, f"/{2 * place + 2}?map=sunspec")
        urls["shelly", place] = ("shelly", shellies[place], "?")
        urls["mqtt-tasmota", place] = ("mqtt", broker.port, f"/plug-{place}?")
        for kind, version, port in zip(STATIONS, ("1.6", "2.0.1"), dialled[2 * place :], strict=False):
            urls[kind, place] = ("ocpp", port, f"/CP1?rated_w=2000&version={version}")
        urls["mqtt-template", place] = ("mqtt", broker.port, f"/switch-{place}?map={MQTT / 'switch.toml'}")
        if "s2-pebc" in kinds:
            urls["s2-pebc", place] = ("s2", chargers[place], "/pebc?")
        if "kasa" in kinds:
            urls["kasa", place] = ("kasa", kasas[place], "?")
    module = [sys.executable, "-m", "tests.device_drivers.safety.controller"]
    alone = (Fault.CONTROLLER_KILLED, Fault.CONTROLLER_STOPPED)
    processes = {
        fault: running(Process(*module, folder / "pki", folder / "notes", LEASE_S)) for fault in (None, *alone)
    }
    controllers = {fault: processes.get(fault, processes[None]) for fault in FAULTS}
    return Site(controllers=controllers, urls=urls, kinds=kinds)


def settings(folder, site, place, controller_port, ports):
    """A driver's configuration, as its file has it."""
    fault = FAULTS[place]
    lines = [
        f'controller = "127.0.0.1:{controller_port}"',
        f'pki = "{folder / "pki"}"',
        f'state = "{folder / fault.name}"',
        "heartbeat_s = 1",
    ]
    for kind in site.kinds:
        scheme, _, rest = site.urls[kind, place]
        secret = "plug:secret@" if scheme == "mqtt" else ""
        upper_w = {"modbus-sunspec": 0, "s2-pebc": 11_000}.get(kind, 2000)
        failsafe = {"modbus-sunspec": "production_limit_w = 0", "s2-pebc": "power_w = 0"}
        lines += [
            "[[devices]]",
            f'name = "microgrids/village/members/place-{place}/devices/{kind}"',
            f'url = "{scheme}://{secret}127.0.0.1:{ports[kind]}{rest}"',
            f"bounds = {{ lower_w = {-5000 if kind == 'modbus-sunspec' else 0}, upper_w = {upper_w} }}",
            f"failsafe = {{ {failsafe.get(kind, 'relay_closed = false')} }}",
        ]
    path = folder / f"{fault.name}.toml"
    path.write_text("\n".join(lines))
    return path


async def measure(folder):
    """By kind and fault what became of each device; kinds whose peer is missing are left out."""
    with ExitStack() as stack:
        site = build(folder, stack)
        async with AsyncExitStack() as links:
            return await _measure(folder, site, stack, links)


async def _measure(folder, site, stack, links):
    randomness = Random(1)

    async def link(port):
        """Between a driver and what listens on a port; the driver's port, and what can be troubled."""
        found = FaultyLink("127.0.0.1", port, randomness=randomness, delay_s=1.0)
        links.push_async_callback(found.aclose)
        return await found.start(), found

    async def dialled_link(port):
        """The same where the driver listens, and is dialled on that port."""
        own = free_port()
        found = FaultyLink(
            "127.0.0.1", own, randomness=randomness, delay_s=1.0, at=("127.0.0.1", port), device_dials=True
        )
        links.push_async_callback(found.aclose)
        await found.start()
        return own, found

    processes, troubled = {}, []
    for place, fault in enumerate(FAULTS):
        controller = site.controllers[fault].ports[0]
        ports = {kind: site.urls[kind, place][1] for kind in site.kinds}
        if fault is Fault.CONTROLLER_CUT:
            controller, between = await link(controller)
            troubled.append(between)
        if fault is Fault.DEVICE_CUT:
            dialled = {ports[kind] for kind in DIALLING if kind in ports}
            between = {port: await (dialled_link if port in dialled else link)(port) for port in set(ports.values())}
            troubled += [found for _, found in between.values()]
            ports = {kind: between[port][0] for kind, port in ports.items()}
        path = settings(folder, site, place, controller, ports)
        if fault in {Fault.DRIVER_KILLED, Fault.DRIVER_STOPPED}:
            command = [sys.executable, "-m", "controller.cli", "driver", "--config", path]
            processes[fault] = Process(*command, ports=0)
            stack.callback(processes[fault].stop)
        else:
            processes[fault] = site.controllers[fault]
            config = load_config(path)
            driving = Driving(config, Uplink(config.controller, config.pki, config.identity, read_credentials))
            running = asyncio.create_task(driving.run(asyncio.Event()))
            links.push_async_callback(_cancelled, running)
    names = [f"{kind} {place}" for kind in site.kinds for place in range(len(FAULTS))]
    await _until_all_on(folder, names)
    fault_at = time.monotonic()
    for fault, number in (
        (Fault.DRIVER_KILLED, signal.SIGKILL),
        (Fault.DRIVER_STOPPED, signal.SIGSTOP),
        (Fault.CONTROLLER_KILLED, signal.SIGKILL),
        (Fault.CONTROLLER_STOPPED, signal.SIGSTOP),
    ):
        processes[fault].process.send_signal(number)
    for trouble in troubled:
        await trouble.set(Trouble.SILENT)
    made_at = time.monotonic()
    await asyncio.sleep(PROMISE_S + 1)
    return _judged(folder, site.kinds, fault_at, made_at)


async def _cancelled(task):
    task.cancel()
    await asyncio.wait({task})


async def _until_all_on(folder, names):
    """Every device is on, and was renewed since."""
    deadline = time.monotonic() + STARTED_S
    while True:
        edges, notes = read_edges(folder / "edges"), read_notes(folder / "notes")
        late = [
            name
            for name in names
            if not edges.get(name) or not edges[name][-1][1] or sum(at > edges[name][-1][0] for at in notes[name]) < 2
        ]
        if not late:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"got {late} off {STARTED_S:g} s after the start, wanted all on")
        await asyncio.sleep(0.1)


def read_notes(path):
    """By device when the heartbeats were heard that were answered with a command."""
    found = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        note = json.loads(line)
        *_, member, _, kind = note["device"].split("/")
        found.setdefault(f"{kind} {member.removeprefix('place-')}", []).append(note["at"])
    return found


def _judged(folder, kinds, fault_at, made_at):
    edges, notes = read_edges(folder / "edges"), read_notes(folder / "notes")
    found = {}
    for place, fault in enumerate(FAULTS):
        for kind in kinds:
            name = f"{kind} {place}"
            # What was heard later reached no device, or came of a fault that took a while to make.
            until = fault_at if fault is Fault.DEVICE_CUT else made_at
            heard_at = max(at for at in notes[name] if at <= until)
            before = [on for at, on in edges[name] if at <= fault_at]
            after = [(at, on) for at, on in edges[name] if at > fault_at]
            off_at = None if not after or after[-1][1] else after[-1][0]
            took_s = None if off_at is None else off_at - heard_at
            found[kind, fault] = Seen(took_s=took_s, on_until_fault=bool(before) and before[-1])
    return found


def table(found):
    """The figures as docs/protocols.md has them."""
    lines = ["| | " + " | ".join(fault.value for fault in FAULTS) + " |", "|---" * (len(FAULTS) + 1) + "|"]
    for kind in KINDS:
        if (kind, FAULTS[0]) in found:
            cells = (found[kind, fault].took_s for fault in FAULTS)
            lines.append(f"| `{kind}` | " + " | ".join("stays" if s is None else f"{s:.2f} s" for s in cells) + " |")
    return "\n".join(lines)
