"""How long a limit takes from the DSO's call to the drivers, with the solver hanging and the database stopped.

``python -m tests.benchmarks.limits [--drivers N] [--rounds R] [--json]``. A service process as ``gridpact serve`` makes
it, its solver busy for ever with the next window (on a processor of its own), every transaction of its database
hanging; N drivers in other processes, each with its own connection over mutual TLS, its own certificate and stream. In
each round the DSO limits the connection point to nothing; what counts is from the begin of that call to the arrival of
a command in a driver's process under which its device is off. Then the limit is cancelled, and the next round waits for
devices to be back. All processes share this machine and its monotonic clock.
"""

import argparse
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import grpc

from controller.pki import Authority
from controller.signing import sign
from controller.wire import fields
from gridpact.v1 import dso_pb2, dso_pb2_grpc, types_pb2
from tests.benchmarks import limit_community as community

ROOT = Path(__file__).parents[2]
PER_PROCESS = 1_000
PATIENCE_S = 120.0
"""Seconds for anything but what is measured, which is given up after ``LOST_S``."""
LOST_S = 30.0
LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One limit.

    Attributes
    ----------
    acknowledged_ms : from the call to its answer
    arrivals_ms : from the call to the command that turns a device off, one for each that was on, ascending
    lost : devices that were on and were not turned off in time
    """

    acknowledged_ms: float
    arrivals_ms: tuple[float, ...]
    lost: int

    def quantile_ms(self, share: float) -> float:
        """What so large a share of the arrivals keeps to."""
        rank = max(1, ceil(share * len(self.arrivals_ms)))
        return self.arrivals_ms[rank - 1] if self.arrivals_ms else float("inf")


class Process:
    """A process of ours whose lines are read as they come."""

    def __init__(self, log: Path, module: str, *arguments: object, lines: "queue.Queue[str]") -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GRIDPACT_")}
        with log.open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)],
                env=kept | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "proto")))},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()

    def _read(self, lines: "queue.Queue[str]") -> None:
        for line in self.process.stdout:
            lines.put(line)

    def kill(self) -> None:
        """End it, and what it has started."""
        os.killpg(self.process.pid, 9)
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()


class Drivers:
    """What the drivers said so far.

    Attributes
    ----------
    welcomed : how many were let in
    left_w : by device, what its newest command leaves it
    """

    def __init__(self, lines: "queue.Queue[str]") -> None:
        self._lines = lines
        self.welcomed = 0
        self.left_w: dict[int, int] = {}

    def follow(self, until: Callable[[], bool], patience_s: float, *, every: Callable[..., None] | None = None) -> bool:
        """Read until something is so; False if it is not in time."""
        end = time.monotonic() + patience_s
        while not until():
            try:
                line = json.loads(self._lines.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                return False
            if line == ["welcome"]:
                self.welcomed += 1
                continue
            number, arrived, power_w, _ = line
            if every is not None:
                every(number, arrived, power_w)
            self.left_w[number] = power_w
        return True

    def on(self) -> set[int]:
        """The devices that run."""
        return {number for number, power_w in self.left_w.items() if power_w}


def measure(drivers: int, rounds: int, *, say: Callable[[str], object]) -> list[Round]:
    """The rounds of a benchmark.

    Raises
    ------
    RuntimeError
        If it did not come to where something can be measured.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data, pki = folder / "data", folder / "pki"
        data.mkdir()
        microgrid = community.calendar(time.time())
        community.found(data / "gridpact.sqlite", microgrid, drivers)
        _credentials(pki, drivers)
        log = folder / "log"
        stack.push(lambda kind, *_: None if kind is None else say(log.read_text()[-4000:]))
        service_lines: queue.Queue[str] = queue.Queue()
        service = Process(log, "limit_service", data, pki, lines=service_lines)
        stack.callback(service.kill)
        target = LISTENING.match(_await(service_lines, LISTENING.match))[1]
        _await(service_lines, lambda line: line.startswith("solver: asked"))
        driver_lines: queue.Queue[str] = queue.Queue()
        for first in range(0, drivers, PER_PROCESS):
            end = min(first + PER_PROCESS, drivers)
            process = Process(log, "limit_drivers", target, pki, first, end, lines=driver_lines)
            stack.callback(process.kill)
        heard = Drivers(driver_lines)
        began = time.monotonic()
        if not heard.follow(lambda: len(heard.on()) == drivers, PATIENCE_S):
            raise RuntimeError(f"got {heard.welcomed} drivers in, {len(heard.on())} on; wanted {drivers}")
        say(f"{drivers} drivers connected, their devices on, in {time.monotonic() - began:.1f} s; the solver hangs")
        (data / "stopped").touch()
        say("the database is stopped")
        with _dso(target, pki) as stub:
            found = []
            for number in range(rounds):
                if number and not heard.follow(lambda: len(heard.on()) == drivers, PATIENCE_S):
                    say(f"after {PATIENCE_S:g} s {len(heard.on())} devices are back")
                found.append(_round(stub, heard, microgrid, number))
            return found


def _round(stub: dso_pb2_grpc.DsoServiceStub, heard: Drivers, microgrid: Any, number: int) -> Round:
    waiting = heard.on()
    arrivals: list[float] = []
    request = _request(microgrid, number)

    def arrived(device: int, instant: float, power_w: int) -> None:
        if device in waiting and not power_w and instant >= called:
            waiting.remove(device)
            arrivals.append(1e3 * (instant - called))

    called = time.monotonic()
    name = stub.CreateEnvelope(request, timeout=LOST_S).envelope.envelope.name
    acknowledged = time.monotonic()
    heard.follow(lambda: not waiting, LOST_S, every=arrived)
    stub.CancelEnvelope(dso_pb2.CancelEnvelopeRequest(name=name, request_id=f"cancel-{number}"), timeout=LOST_S)
    return Round(acknowledged_ms=1e3 * (acknowledged - called), arrivals_ms=tuple(sorted(arrivals)), lost=len(waiting))


def _request(microgrid: Any, number: int) -> dso_pb2.CreateEnvelopeRequest:
    period = dso_pb2.EnvelopePeriod(
        interval=fields.interval_message(microgrid.start, microgrid.end), bounds=types_pb2.PowerBounds(upper_w=0)
    )
    envelope = dso_pb2.Envelope(
        name=f"{microgrid.name}/envelopes/limit-{number}", target=microgrid.name, periods=[period], reason="benchmark"
    )
    payload = envelope.SerializeToString(deterministic=True)
    signature = sign(community.key(), envelope.DESCRIPTOR.full_name, payload)
    signed = types_pb2.Signed(payload=payload, signature=signature, key_id=community.KEY_ID)
    return dso_pb2.CreateEnvelopeRequest(parent=microgrid.name, envelope=signed, request_id=f"limit-{number}")


@contextmanager
def _dso(target: str, pki: Path) -> Iterator[dso_pb2_grpc.DsoServiceStub]:
    credentials = grpc.ssl_channel_credentials(
        *((pki / name).read_bytes() for name in ("ca.pem", "dso.key", "dso.pem"))
    )
    with grpc.secure_channel(target, credentials) as channel:
        grpc.channel_ready_future(channel).result(PATIENCE_S)
        yield dso_pb2_grpc.DsoServiceStub(channel)


def _credentials(pki: Path, drivers: int) -> None:
    pki.mkdir()
    authority = Authority()
    issued = {"server": authority.server(), "dso": authority.client(f"spiffe://{community.GRID}/dso/{community.DSO}")}
    for number in range(drivers):
        uri = f"spiffe://{community.GRID}/driver/{community.device_id(number)}"
        issued[f"driver-{number}"] = authority.client(uri)
    (pki / "ca.pem").write_bytes(authority.certificate)
    for name, credentials in issued.items():
        (pki / f"{name}.pem").write_bytes(credentials.certificate)
        (pki / f"{name}.key").write_bytes(credentials.key)
        (pki / f"{name}.key").chmod(0o600)


def _await(lines: "queue.Queue[str]", wanted: Callable[[str], object]) -> str:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            line = lines.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty as err:
            raise RuntimeError("the service: got nothing, wanted it to listen and to ask its solver") from err
        if wanted(line):
            return line


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where every device was turned off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drivers", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="a JSON object a round instead of a table")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(INTERRUPTED))  # a plain end would leave the processes behind
    rounds = measure(options.drivers, options.rounds, say=lambda text: print(text, file=sys.stderr, flush=True))
    for number, found in enumerate(rounds):
        if options.json:
            print(json.dumps(asdict(found)))
            continue
        shares = "  ".join(f"{name} {found.quantile_ms(share):6.0f} ms" for name, share in SHARES.items())
        print(f"round {number}: acknowledged {found.acknowledged_ms:5.0f} ms  {shares}  lost {found.lost}")
    return int(any(found.lost or not found.arrivals_ms for found in rounds))


INTERRUPTED = 143
SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}

if __name__ == "__main__":
    sys.exit(main())
