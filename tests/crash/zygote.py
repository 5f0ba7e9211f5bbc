"""Starts ``gridpact serve`` in no time: this process has imported everything, and forks one for each start.

Each line on standard input is a JSON list of arguments; what the service prints comes out as its own process prints
it, beside a line with its id. Two parts are the tests': the clock, which is a file that the tests write, so that hours
pass in seconds and go on after a kill; and the solver, which answers within the process.
"""

import json
import os
import struct
import sys
from pathlib import Path

# Everything that a service imports, before the first fork.
import optimization.reference.dispatch  # noqa: F401
from controller import cli, serving
from optimization.clearing import Outcome
from optimization.community import Community
from tests.controller.stand_ins import ScriptedSolver

INSTANT = struct.Struct("<d")


class FileClock:
    """The time that is in a file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)

    def now(self) -> float:
        """Unix seconds."""
        return INSTANT.unpack(os.pread(self._file, INSTANT.size, 0))[0]


class Solver(ScriptedSolver):
    """Within the process; it has nothing to close."""

    def __init__(self, **_options: object) -> None:
        super().__init__()

    async def solve_within(self, community: Community, seconds: float) -> Outcome:
        """The answer, however long it takes: these communities are small."""
        del seconds
        return await self.solve(community)

    def close(self) -> None:
        """Nothing to do."""


def main(clock: Path) -> None:
    """Fork a service for each line."""
    serving.SystemClock = lambda: FileClock(clock)
    serving.DecompositionSolver = Solver
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(cli.main(json.loads(line)))
        print(child, flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
