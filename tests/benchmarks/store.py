"""How many calls a second are on disk: one caller after the other, and many who share commits.

``python -m tests.benchmarks.store [--seconds S] [--url URL]`` prints calls a second with 1, 16 and 64 callers, and
their ratio to one caller's, in one run on one disk.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from controller.store import calls
from controller.store.database import Database

CALLERS = (1, 16, 64)
ANSWER_BYTES = 500


async def rate(database: Database, callers: int, seconds: float) -> float:
    """Acknowledged calls a second."""
    ends = time.perf_counter() + seconds
    done = [0] * callers

    async def call(caller: int) -> None:
        while time.perf_counter() < ends:
            await database.run_async(
                calls.remember,
                f"{callers}-{caller}",
                str(done[caller]),
                method="benchmark",
                digest=bytes(32),
                response=bytes(ANSWER_BYTES),
                created=0,
            )
            done[caller] += 1

    begun = time.perf_counter()
    await asyncio.gather(*(call(caller) for caller in range(callers)))
    return sum(done) / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each number of callers")
    parser.add_argument("--url", help="an empty PostgreSQL database; SQLite in a temporary folder if left out")
    parser.add_argument("--folder", type=Path, help="where that is; the system's own temporary folder if left out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        database = Database(arguments.url or f"sqlite:///{folder}/gridpact.sqlite")
        rates = {callers: asyncio.run(rate(database, callers, arguments.seconds)) for callers in CALLERS}
        for callers, found in rates.items():
            print(f"{callers:>3} callers  {found:>8.0f} calls/s  {found / rates[1]:>6.1f} x", flush=True)
        database.close()


if __name__ == "__main__":
    main()
