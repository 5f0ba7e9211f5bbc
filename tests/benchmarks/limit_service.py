"""The service as ``gridpact serve`` puts it together, but for a solver that hangs and a database that can be stopped.

``python -m tests.benchmarks.limit_service DATA PKI``: while the file ``stopped`` is in DATA, every transaction hangs.
The solver takes each problem to a process of its own that never answers, and keeps a processor busy with that.
"""

import sys
import time
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine, event

from controller import serving
from controller.config import load_config
from controller.logs import configure
from controller.solving import DecompositionSolver

LOOK_S = 0.02


def stopped_by(flag: Path) -> None:
    """Let every transaction of this process wait for as long as a file is there."""

    def hang(_: object) -> None:
        while flag.exists():
            time.sleep(LOOK_S)

    event.listen(Engine, "begin", hang)


def spin(*_: object, **__: object) -> None:
    """Never end."""
    while True:
        pass


class HangingSolver(DecompositionSolver):
    """Says that it was asked, and never answers."""

    async def solve_within(self, community, seconds):
        print("solver: asked", flush=True)
        return await self.pool.run(spin, community, seconds)


def main() -> None:
    """Serve until killed."""
    import asyncio

    data, pki = sys.argv[1:]
    serving.DecompositionSolver = HangingSolver
    stopped_by(Path(data) / "stopped")
    config = load_config(None, {"data": data, "pki": pki, "listen": "127.0.0.1:0"})
    configure("warning", "text", sys.stderr)
    with ExitStack() as stack:
        asyncio.run(serving.serve(config, serving.open_parts(config, stack)))


if __name__ == "__main__":
    main()
