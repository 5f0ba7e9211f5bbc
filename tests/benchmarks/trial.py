"""One solver on one market in a process of its own: ``python -m tests.benchmarks.trial`` with a ``Job`` on its input.

Prints a JSON object after each attempt that reached an end; the last one counts. The process ends itself by an alarm
when one solve takes longer than its limit, also from within a library that never looks at the clock.
"""

import json
import platform
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from time import perf_counter, process_time
from typing import Any

from tests.benchmarks.families import family
from tests.benchmarks.quadratic import QuadraticProgram, Residual, quadratic_program, residual
from tests.benchmarks.solvers import SOLVERS, Answer, Solve

TIGHTENINGS = (1.0, 0.1, 0.01)
"""Shares of the accuracy that a solver is given as its tolerance, one after the other until its answer keeps to it."""

LONG_S = 30.0
"""What takes longer is timed once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a trial is to do.

    Attributes
    ----------
    family, peers, seed, links_per_peer : as in ``family``
    solver : one of ``SOLVERS``
    accuracy : largest admissible ``Residual.worst``
    timeout : seconds that one solve may take
    repeats : solves of which the fastest counts
    """

    family: str
    peers: int
    seed: int
    links_per_peer: int | None
    solver: str
    accuracy: float
    timeout: float
    repeats: int


def run(job: Job) -> None:
    """Print what each attempt gave.

    Our own solvers are run once on the same market before, untimed: that compiles their kernels.
    """
    market = family(job.family, peers=job.peers, seed=job.seed, links_per_peer=job.links_per_peer)
    program = quadratic_program(market)
    solver = SOLVERS[job.solver]
    before_mb = peak_mb()
    for share in TIGHTENINGS:
        solve = solver.prepare(program, share * job.accuracy)
        if solver.ours:
            _timed(solve, job.timeout)
        (seconds, cpu), answer = _timed(solve, job.timeout)
        for _ in range(job.repeats - 1):
            if seconds > LONG_S:
                break
            seconds, cpu = min((seconds, cpu), _timed(solve, job.timeout)[0])
        found = _found(program, answer, job.accuracy)
        print(
            json.dumps({
                **found,
                "seconds": seconds,
                "cpu_seconds": cpu,
                "tolerance": share * job.accuracy,
                "links": market.links.size,
                "mtus": market.mtus,
                "peak_mb": peak_mb(),
                "peak_before_mb": before_mb,
                "version": _version(solver.distribution),
            }),
            flush=True,
        )  # fmt: skip
        if found["status"] != "inaccurate":
            return


def peak_mb() -> float:
    """Largest resident memory of this process until now, MB."""
    unit = 1024 if platform.system() == "Linux" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _timed(solve: Solve, timeout: float) -> tuple[tuple[float, float], Answer]:
    """Seconds by the wall and of all cores together; much less of the latter tells that others were working too."""
    signal.setitimer(signal.ITIMER_REAL, timeout)
    begin, worked = perf_counter(), process_time()
    answer = solve()
    seconds = perf_counter() - begin, process_time() - worked
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    return seconds, answer


def _found(program: QuadraticProgram, answer: Answer, accuracy: float) -> dict[str, Any]:
    """What an answer is worth, whatever the solver says about it."""
    said = {"said": answer.status, "iterations": answer.iterations}
    if answer.x is None or answer.multiplier is None or answer.x.size == 0:
        return {**said, "status": "unsolved"}
    rest: Residual = residual(program, answer.x, answer.multiplier)
    return {
        **said,
        "status": "solved" if rest.worst <= accuracy else "inaccurate",
        "objective": program.objective(answer.x),
        "residual": rest.worst,
        **{f"{name}_residual": value for name, value in asdict(rest).items()},
    }


def _version(distribution: str | None) -> str:
    return "this repository" if distribution is None else metadata.version(distribution)


if __name__ == "__main__":
    run(Job(**json.load(sys.stdin)))
