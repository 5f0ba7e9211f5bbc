"""A service as a person starts it: a process of its own, stopped by signals."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from controller.pki_files import read_client

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60
LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)\n")


def environment() -> dict[str, str]:
    """What a process needs to find the packages, and no settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRIDPACT_")}
    return kept | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "proto")))}


def gridpact(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "controller.cli", *map(str, arguments)],
        env=environment() | options.pop("env", {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        **options,
    )


class Served:
    """A running ``gridpact serve``.

    Parameters
    ----------
    data, pki : its folders
    arguments : more options
    """

    def __init__(self, data: Path, pki: Path, *arguments: str) -> None:
        self.data, self.pki = data, pki
        self.log = data.parent / f"{data.name}.log"
        options = ["--data", str(data), "--pki", str(pki), "--listen", "127.0.0.1:0", *arguments]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "controller.cli", "serve", *options],
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        line = self.process.stdout.readline()
        match = LISTENING.fullmatch(line)
        assert match, f"{line!r}: {self.log.read_text()}"
        self.port = int(match[1])
        self.target = f"127.0.0.1:{self.port}"
        self._channels: list[grpc.Channel] = []

    def channel(self, name: str) -> grpc.Channel:
        """A connection as one of the folder's identities."""
        files = read_client(self.pki, name)
        credentials = grpc.ssl_channel_credentials(
            root_certificates=files.authority,
            private_key=files.own.key,
            certificate_chain=files.own.certificate,
        )
        channel = grpc.secure_channel(self.target, credentials, options=[("grpc.use_local_subchannel_pool", 1)])
        self._channels.append(channel)
        return channel

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End it; returns the exit code."""
        self.hang_up()
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE_S)
        self.process.stdout.close()
        return code

    def stop(self) -> int:
        """Ask it to stop; returns the exit code."""
        return self.kill(signal.SIGTERM)

    def hang_up(self) -> None:
        """Close all connections."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()


@contextmanager
def served(data: Path, pki: Path, *arguments: str) -> Iterator[Served]:
    """A service that runs within."""
    running = Served(data, pki, *arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.kill()
