"""One request and its answer over a TCP connection of its own."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from device_drivers.errors import DeviceError
from device_drivers.kasa.codec import HEADER_BYTES, body_bytes, decode, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """Where a plug is, and how long it may take.

    Plugs end a connection after a while, or after each answer; a connection for each request also keeps a
    late answer from being taken for the next one.

    Attributes
    ----------
    host : str
        Name or address.
    port : int
        TCP.
    patience_s : float
        s that a request may take in all, connecting included.
    """

    host: str
    port: int
    patience_s: float

    async def exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What the plug answers to a request.

        Raises
        ------
        DeviceError
            If it cannot be reached, takes too long, or does not speak this protocol.
        """
        try:
            async with asyncio.timeout(self.patience_s):
                return await self._exchange(request)
        except TimeoutError as err:
            raise DeviceError(f"kasa: {self} did not answer within {self.patience_s:g} s") from err
        except asyncio.IncompleteReadError as err:
            raise DeviceError(f"kasa: {self} ended the connection after {len(err.partial)} bytes of an answer") from err
        except OSError as err:
            raise DeviceError(f"kasa: {self} cannot be reached: {err}") from err

    async def _exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        answered = False
        try:
            writer.write(encode(request))
            header = await reader.readexactly(HEADER_BYTES)
            answer = decode(await reader.readexactly(body_bytes(header)))
            answered = True
            return answer
        finally:
            if not answered:
                _forget_unsent(writer)
            writer.transport.abort()

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _forget_unsent(writer: asyncio.StreamWriter) -> None:
    """Have the system drop what was not delivered yet: a request given up must not act minutes later."""
    connection = writer.get_extra_info("socket")
    with suppress(OSError):  # the other end may have closed it already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
