"""The one channel of a driver process, made anew when its certificate changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from device_drivers.client import CHANNEL_OPTIONS
from device_drivers.errors import InvalidValueError
from gridpact.v1 import driver_pb2_grpc

if TYPE_CHECKING:
    from grpc.aio import Channel

log = logging.getLogger(__name__)

MORE_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
"""A controller that is cut off without a word is noticed by a ping, besides by heartbeats that nobody answers."""


class Uplink:
    """The channel to the controller.

    Parameters
    ----------
    target : str
        HOST:PORT.
    folder : Path
        Of the files.
    identity : str
        Whose files.
    read : callable
        Gives authority, certificate and key from folder and identity.

    Raises
    ------
    InvalidValueError
        If the files are not there.
    """

    def __init__(
        self, target: str, folder: Path, identity: str, read: Callable[[Path, str], tuple[bytes, bytes, bytes]]
    ) -> None:
        self._target = target
        self._folder = folder
        self._identity = identity
        self._read = read
        self._files = read(folder, identity)
        self._looked_at = self._stamp()
        self._channel: Channel | None = None
        self._stub: driver_pb2_grpc.DriverServiceAsyncStub | None = None
        self._older: list[Channel] = []

    def stub(self) -> driver_pb2_grpc.DriverServiceAsyncStub:
        """The stub to open a stream with; of a new channel where the certificate changed since."""
        stamp = self._stamp()
        if stamp != self._looked_at:
            self._looked_at = stamp
            try:
                files = self._read(self._folder, self._identity)
            except InvalidValueError as err:
                log.error("credentials: the last ones stay: %s", err)  # noqa: TRY400  # a person's file
            else:
                if files != self._files:
                    self._files = files
                    log.info("credentials: read anew from %s", self._folder)
                    # Streams that are open go on over the channel that they have.
                    if self._channel is not None:
                        self._older.append(self._channel)
                    self._stub = None
        if self._stub is None:
            authority, certificate, key = self._files
            credentials = grpc.ssl_channel_credentials(
                root_certificates=authority, private_key=key, certificate_chain=certificate
            )
            options = [*CHANNEL_OPTIONS, *MORE_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
            self._channel = grpc.aio.secure_channel(self._target, credentials, options=options)
            self._stub = driver_pb2_grpc.DriverServiceStub(self._channel)
        return self._stub

    async def close(self) -> None:
        """Close what is open."""
        channels = [*self._older, *([] if self._channel is None else [self._channel])]
        await asyncio.gather(*(channel.close() for channel in channels))

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        marks = []
        for name in ("ca.pem", f"{self._identity}.pem", f"{self._identity}.key"):
            try:
                found = (self._folder / name).stat()
            except OSError:
                marks.append((0, 0))
            else:
                marks.append((found.st_mtime_ns, found.st_ino))
        return tuple(marks)
