"""Times our clearing engines beside general solvers on random markets, at equal accuracy and in one run.

``python -m tests.benchmarks.clearing --family bipartite --peers 100 300 1000`` prints a JSON line for each solver and
size. Every solver works in a process of its own, one at a time, with a limit to its time; its answer's distance from
optimal is recomputed from the problem alone. ``--report`` makes ``docs/benchmarks.md`` and its picture from such lines.
"""

import argparse
import json
import math
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from tests.benchmarks.families import FAMILIES
from tests.benchmarks.solvers import SOLVERS
from tests.benchmarks.trial import Job

ROOT = Path(__file__).parents[2]
EVIDENCE = ROOT / "docs" / "evidence" / "clearing.jsonl"
SCHEDULING = EVIDENCE.with_name("scheduling.jsonl")

PREPARATION_S = 600.0
"""What drawing a market and bringing it into a solver's form may take beside its solves."""

SOLVES = 20
"""No trial solves more often, all tightenings and repetitions together."""

Line = dict[str, Any]


def told(
    module: str, job: Mapping[str, Any], *, timeout: float | None = None
) -> tuple[subprocess.CompletedProcess[str], list[Line]]:
    """A trial in a process of its own: how it ended, and the lines that it answered."""
    child = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{module}"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=timeout,
    )
    return child, [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]


def tried(job: Job) -> Line:
    """The line of one trial.

    ``status`` is ``solved``, ``inaccurate`` (an answer that misses the accuracy at every tolerance given),
    ``unsolved`` (no answer), ``timeout``, ``not installed``, or ``failed``.
    """
    about: Line = {"kind": "clearing", **asdict(job)}
    try:
        child, answers = told("trial", asdict(job), timeout=PREPARATION_S + SOLVES * job.timeout)
    except subprocess.TimeoutExpired:
        return {**about, "status": "timeout"}
    found: Line = answers[-1] if answers else {}
    if child.returncode == 0 and found:
        return {**about, **found}
    if child.returncode == -signal.SIGALRM:
        # an attempt that missed the accuracy before is told, but it is no answer
        return {**about, **found, "status": "timeout"}
    error = child.stderr.strip().splitlines()[-1:]
    if error and error[0].startswith("ModuleNotFoundError"):
        return {**about, "status": "not installed", "said": error[0]}
    return {**about, **found, "status": "failed", "said": f"exit {child.returncode}: {' '.join(error)}"}


def with_ratios(lines: Sequence[Line]) -> list[Line]:
    """The lines of one market, each with its time as a multiple of dispatch's where both solved it."""
    ours = next((line for line in lines if line["solver"] == "dispatch" and line["status"] == "solved"), None)
    if ours is None:
        return list(lines)
    return [
        {**line, "ratio": line["seconds"] / ours["seconds"]} if line["status"] == "solved" else line for line in lines
    ]


def machine() -> Line:
    """On what the run took place."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = named[0] if named else model
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return {
        "kind": "machine",
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
        "load": os.getloadavg()[0],
    }


def bandwidths() -> list[Line]:
    """The lines of ``tests.benchmarks.bandwidth``.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; its own words are on standard error.
    """
    child = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bandwidth"], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
    )
    return [json.loads(line) for line in child.stdout.splitlines()]


def written(line: Line) -> str:
    """A line as strict JSON: what is not finite becomes null."""
    return json.dumps({k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()})


def jobs(options: argparse.Namespace, family: str, peers: int) -> Iterable[Job]:
    """One job for each solver on the market of a size."""
    for solver in options.solvers:
        yield Job(
            family=family,
            peers=peers,
            seed=options.seed,
            links_per_peer=options.links_per_peer,
            solver=solver,
            accuracy=options.accuracy,
            timeout=options.timeout,
            repeats=options.repeats,
        )


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.clearing", description=__doc__.split("\n")[0])
    parser.add_argument("--family", nargs="+", choices=list(FAMILIES), default=["bipartite"])
    parser.add_argument("--peers", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--links-per-peer", type=int, help="default: the family's")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--solvers", nargs="+", choices=list(SOLVERS), default=list(SOLVERS))
    parser.add_argument("--accuracy", type=float, default=1e-6, help="largest relative residual of an answer")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one solve")
    parser.add_argument("--repeats", type=int, default=3, help="solves of which the fastest counts")
    parser.add_argument("--bandwidth", action="store_true", help="measure memory bandwidth and ADMM's rounds too")
    parser.add_argument("--jsonl", type=Path, help="append the lines to this file too")
    parser.add_argument(
        "--report", action="store_true", help=f"only rebuild docs/benchmarks.md from --jsonl ({EVIDENCE.name})"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when every trial ended in an answer of the accuracy or in its time limit, else 1."""
    options = parsed(arguments)
    if options.report:
        from tests.benchmarks.report import write_report

        write_report(options.jsonl or EVIDENCE, ROOT / "docs", scheduling=SCHEDULING if SCHEDULING.exists() else None)
        return 0

    def put(line: Line) -> None:
        print(written(line), flush=True)
        if options.jsonl:
            with options.jsonl.open("a", encoding="utf-8") as file:
                file.write(written(line) + "\n")

    put(machine())
    if options.bandwidth:
        for line in bandwidths():
            put(line)
    fine = True
    for name, peers in product(options.family, options.peers):
        lines: list[Line] = []
        for job in jobs(options, name, peers):
            lines.append(tried(job))
            print(f"{job.family} {peers} {job.solver}: {lines[-1]['status']}", file=sys.stderr, flush=True)
        for line in with_ratios(lines):
            put(line)
        fine &= all(line["status"] in {"solved", "timeout", "not installed"} for line in lines)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
