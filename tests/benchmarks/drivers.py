"""Many drivers on one service: how soon they are connected, how soon all are told, what that takes of it.

    python -m tests.benchmarks.drivers --drivers 10000

One process serves, others drive, another calls; all over mutual TLS on the loopback interface, each driver over a
connection of its own. ``--json`` prints the figures alone.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from controller.pki import Authority
from tests.benchmarks.drivers_clients import Crew, Noted, call, drive
from tests.benchmarks.drivers_server import GRID, Started, device_of, serve

CALLERS = 4
PUSHES = 3
SETTLE_S = 5.0
LATEST_S = 300.0
"""What has not happened by then is not waited for."""


class Worker:
    """A process and the pipe to it."""

    def __init__(self, target: Any, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self.process.start()

    def ask(self, word: Any) -> Any:
        """The answer to a word."""
        self.pipe.send(word)
        return self.pipe.recv()

    def stop(self) -> None:
        """Let it end."""
        self.pipe.send("stop")
        self.process.join(30)
        self.process.kill()


def measure(drivers: int, *, processes: int, rate: float, seconds: float) -> dict[str, Any]:
    """The figures of one run."""
    authority = Authority()
    with tempfile.TemporaryDirectory() as folder:
        started = Started(
            folder=Path(folder), certificate=authority.server(), authority=authority.certificate, drivers=drivers
        )
        server = Worker(serve, started)
        target = f"127.0.0.1:{server.pipe.recv()}"
        idle_mib, _ = server.ask("rss")
        ids = [device_of(number) for number in range(drivers)]
        own = [(id_, authority.client(f"spiffe://{GRID}/driver/{id_}")) for id_ in ids]
        crews = [
            Worker(drive, Crew(target=target, authority=authority.certificate, devices=tuple(own[k::processes])))
            for k in range(processes)
        ]
        callers = tuple(authority.client(f"spiffe://{GRID}/operator/op{k}") for k in range(CALLERS))
        caller = Worker(call, target, authority.certificate, callers)
        try:
            figures = {"drivers": drivers, "idle_mib": round(idle_mib)}
            figures |= _connect(crews, drivers)
            time.sleep(SETTLE_S)
            figures["connected"] = server.ask("connected")
            figures |= _steady(server)
            figures |= _push(server, crews, drivers)
            time.sleep(SETTLE_S)
            figures |= _unary(caller, rate, seconds)
            _, most_mib = server.ask("rss")
            noted = [crew.ask("noted") for crew in crews]
            figures |= {"rss_mib": round(most_mib), "sent_away": sum(one.sent_away for one in noted)}
            figures["lost"] = {code: n for one in noted for code, n in one.lost.items()}
        finally:
            for worker in (caller, *crews, server):
                worker.stop()
    return figures


def _connect(crews: list[Worker], drivers: int) -> dict[str, Any]:
    for crew in crews:
        crew.ask("ready")
    began = time.monotonic()
    for crew in crews:
        crew.pipe.send("go")
    while sum(crew.ask("count") for crew in crews) < drivers and time.monotonic() - began < LATEST_S:
        time.sleep(0.5)
    took = [at - began for crew in crews for at in crew.ask("noted").welcomed.values()]
    return {"connect_s": round(max(took, default=LATEST_S), 2), "welcomed": len(took)}


def _steady(server: Worker) -> dict[str, Any]:
    """The share of one core that heartbeats, telemetry and renewals take."""
    before, began = server.ask("cpu"), time.monotonic()
    time.sleep(SETTLE_S)
    return {"steady_core": round((server.ask("cpu") - before) / (time.monotonic() - began), 3)}


def _push(server: Worker, crews: list[Worker], drivers: int) -> dict[str, Any]:
    """Of several pushes to all drivers the one with the worst tail."""
    worst: list[float] = []
    for value in range(1, PUSHES + 1):
        began = server.ask(("push", value))
        limit = time.monotonic() + 30
        while True:
            time.sleep(1.0)
            noted: list[Noted] = [crew.ask("noted") for crew in crews]
            took = sorted(at - began for one in noted for at in one.told.get(value, {}).values())
            if len(took) >= drivers or time.monotonic() > limit:
                break
        took += [LATEST_S] * (drivers - len(took))
        worst = max(worst, took, key=lambda times: _quantile(times, 0.99) if times else 0.0)
    return {
        "push_p50_s": round(statistics.median(worst), 3),
        "push_p99_s": round(_quantile(worst, 0.99), 3),
        "push_last_s": round(worst[-1], 3),
    }


def _unary(caller: Worker, rate: float, seconds: float) -> dict[str, Any]:
    latencies = caller.ask((rate, seconds))
    good = sorted(latency for latency in latencies if latency is not None) or [LATEST_S]
    return {
        "unary_per_s": rate,
        "unary_failed": sum(latency is None for latency in latencies),
        "unary_p50_ms": round(1000 * _quantile(good, 0.5), 1),
        "unary_p99_ms": round(1000 * _quantile(good, 0.99), 1),
    }


def _quantile(ascending: list[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def main(arguments: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.drivers", description=__doc__)
    parser.add_argument("--drivers", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="that drive")
    parser.add_argument("--rate", type=float, default=500, help="unary calls a second")
    parser.add_argument("--seconds", type=float, default=10, help="of unary calls")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    figures = measure(options.drivers, processes=options.processes, rate=options.rate, seconds=options.seconds)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:>14}  {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
