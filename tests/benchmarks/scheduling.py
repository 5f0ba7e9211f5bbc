"""Times the scheduling of sampled communities, with what its answers are proven to be worth.

``python -m tests.benchmarks.scheduling --homes 100 --monolith`` prints a JSON line for each community: what our
scheduling found and, on request, what the whole mixed-integer model in HiGHS found in ten times as long. Every trial
runs in a process of its own, one at a time. ``--report`` makes ``docs/benchmarks.md`` and its pictures from such lines.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

from optimization.scheduling import ScheduleOptions
from tests.benchmarks.clearing import EVIDENCE as CLEARING
from tests.benchmarks.clearing import ROOT, machine, told, written
from tests.benchmarks.clearing import SCHEDULING as EVIDENCE
from tests.benchmarks.scheduling_trial import WARMING_HOMES, WARMING_MTUS, Line, SchedulingJob

MONOLITH_FACTOR = 10.0
"""How many times as long as ours the whole model's search may take."""

PREPARATION_S = 900.0
"""What sampling a community, writing it in pyomo, pricing its schedule and checking it may take beside the search."""

WARMING = SchedulingJob(
    solver="decomposition",
    homes=WARMING_HOMES,
    mtus=WARMING_MTUS,
    seed=1,
    links="neighbours",
    tolls=1.0,
    limit_s=10.0,
    wanted_gap=0.01,
    timeout=PREPARATION_S,
)
"""What is done first and not told."""


def tried(job: SchedulingJob) -> Line:
    """The line of one trial; a ``status`` beside those of ``run`` is ``timeout``, ``memory`` (killed) or ``failed``."""
    about: Line = {"kind": "scheduling", **asdict(job), "load": os.getloadavg()[0]}
    child, answers = told("scheduling_trial", asdict(job))
    about["load_after"] = os.getloadavg()[0]
    match child.returncode:
        case 0 if answers:
            return {**about, **answers[-1]}
        case code if code == -signal.SIGALRM:
            return {**about, "status": "timeout"}
        case code if code == -signal.SIGKILL:
            return {**about, "status": "memory"}
        case code:
            return {**about, "status": "failed", "said": f"exit {code}: {' '.join(child.stderr.splitlines()[-1:])}"}


def monolith_of(job: SchedulingJob, ours: Line, most: float) -> SchedulingJob:
    """The same community for HiGHS, with ``MONOLITH_FACTOR`` times as long, at most some seconds."""
    limit_s = min(MONOLITH_FACTOR * ours["seconds"], most)
    return replace(
        job, solver="monolith", wanted_gap=ScheduleOptions().gap, limit_s=limit_s, timeout=limit_s + PREPARATION_S
    )


def jobs(options: argparse.Namespace) -> Iterator[SchedulingJob]:
    """One job for each community."""
    for homes, seed, links, tolls in product(options.homes, options.seed, options.links, options.tolls):
        if links == "none" and tolls != options.tolls[0]:
            continue
        yield SchedulingJob(
            solver="decomposition",
            homes=homes,
            mtus=options.mtus,
            seed=seed,
            links=links,
            tolls=1.0 if links == "none" else tolls,
            limit_s=options.deadline,
            wanted_gap=options.gap,
            timeout=options.timeout,
        )


def setting(arguments: Sequence[str]) -> Line:
    """On what the run takes place, and by which command."""
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "optimization", "controller/plan"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    command = " ".join(["python -m tests.benchmarks.scheduling", *arguments])
    return {**machine(), "command": command, "modified": bool(changed.stdout.strip())}


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scheduling", description=__doc__.split("\n")[0])
    parser.add_argument("--homes", type=int, nargs="+", default=[100])
    parser.add_argument("--mtus", type=int, default=96)
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--links", nargs="+", choices=["none", "neighbours", "all"], default=["neighbours"])
    parser.add_argument("--tolls", type=float, nargs="+", default=[1.0], help="factors on what links cost")
    parser.add_argument("--deadline", type=float, help="seconds for ours; default: as many as its steps take")
    parser.add_argument("--gap", type=float, default=ScheduleOptions().gap, help="relative gap that is enough")
    parser.add_argument("--monolith", action="store_true", help="give HiGHS the whole model for ten times as long")
    parser.add_argument("--monolith-most", type=float, default=600.0, help="seconds that HiGHS gets at most")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds after which a trial of ours is ended")
    parser.add_argument("--jsonl", type=Path, help="append the lines to this file too")
    parser.add_argument(
        "--report",
        action="store_true",
        help=f"only rebuild docs/benchmarks.md, with --jsonl ({EVIDENCE.name})",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when each community got a schedule that keeps all rules, else 1."""
    options = parsed(arguments)
    if options.report:
        from tests.benchmarks.report import write_report

        write_report(CLEARING, ROOT / "docs", scheduling=options.jsonl or EVIDENCE)
        return 0

    def put(line: Line) -> None:
        print(written(line), flush=True)
        if options.jsonl:
            with options.jsonl.open("a", encoding="utf-8") as file:
                file.write(written(line) + "\n")

    put(setting(sys.argv[1:] if arguments is None else arguments))
    # Compiling takes memory; kernels that an earlier process left on disk take none.
    tried(WARMING)
    fine = True
    for job in jobs(options):
        ours = tried(job)
        put(ours)
        fine &= ours["status"] == "scheduled"
        if options.monolith and ours["status"] == "scheduled":
            put(tried(monolith_of(job, ours, options.monolith_most)))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
