"""Peers in processes of their own, which can be killed and started anew on the same port."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Peer:
    """A process that says its port on the first line of its output; it takes the port as its last argument.

    Parameters
    ----------
    command : sequence of str
        Without the port.
    """

    def __init__(self, *command: str) -> None:
        self._command = command
        self.port = 0
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([*self._command, str(self.port)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            self.stop()
            pytest.fail(f"peer: got {line!r} of {self._command}, wanted its port")
        self.port = int(line)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    async def power_cycle(self) -> None:
        """As a device that loses its power: nothing is said, nothing is kept."""
        await asyncio.to_thread(self.stop)
        await asyncio.to_thread(self.start)


def needs(found: str | Path | None, what: str) -> str:
    """A program or folder that a test needs; without it the test is skipped, but not in CI."""
    if found is None or not Path(found).exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"no {what}, and in CI it must run")
        pytest.skip(f"no {what}")
    return str(found)


def node_modules(package: str) -> tuple[str, str]:
    """Node and the folder of packages in which one is; see `needs`."""
    node = needs(shutil.which("node"), "node on PATH")
    modules = Path(os.environ.get("GRIDPACT_NODE_MODULES", ROOT / ".ci" / "tools" / "node_modules"))
    needs(modules / package, f"npm package {package} in {modules}; npm install --prefix .ci/tools brings it")
    return node, str(modules)
