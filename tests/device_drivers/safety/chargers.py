"""Chargers behind S2 resource managers, in one process of these managers' own environment.

Usage: chargers.py FOLDER PLACES; says for each the port of the loopback that its manager dials. Each notes in
FOLDER/edges when it begins and ends to take power.
"""

import asyncio
import socket
import sys
from pathlib import Path

from tests.device_drivers.edges import Edges
from tests.device_drivers.s2.manager import Charger, serve

LOOK_S = 0.01


async def main(folder, places):
    edges, chargers, tasks = Edges(folder / "edges"), [], []
    for _ in range(places):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        chargers.append(Charger())
        tasks.append(asyncio.create_task(serve(chargers[-1], "pebc", port)))
        print(port, flush=True)
    while not any(task.done() for task in tasks):
        for place, charger in enumerate(chargers):
            edges.note(f"s2-pebc {place}", charger.power_w() > 0)
        await asyncio.sleep(LOOK_S)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
