"""A TCP connection between a driver and its device that can be cut, held up and spoilt."""

import asyncio
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from enum import Enum
from random import Random
from typing import Any

_PIECE_BYTES = 65_536


class Trouble(Enum):
    """What can happen to the way between a driver and its device."""

    CUT = "cut"
    """Connections end and new ones are refused."""
    SILENT = "silent"
    """Nothing gets through in either direction, and nobody is told."""
    GARBAGE = "garbage"
    """The device is asked, and random bytes come back."""
    HALF = "half"
    """The device is asked, half of its answer comes back, and then the end."""
    SLOW = "slow"
    """The device is asked, and its answers come back late."""


class FaultyLink:
    """Stands between a driver and a device, on a port of its own of the loopback unless told otherwise.

    Parameters
    ----------
    host : str
        Where it connects to.
    port : int
        The TCP port there.
    randomness : Random
        Makes garbage.
    delay_s : float
        s that slow answers take.
    at : (str, int)
        Host and TCP port on which it listens; port 0 is any that is free.
    device_dials : bool
        Whether it is the device that connects to the driver, and what it says comes the other way.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        randomness: Random,
        delay_s: float,
        at: tuple[str, int] = ("127.0.0.1", 0),
        device_dials: bool = False,
    ) -> None:
        self._far_end = (host, port)
        self._randomness = randomness
        self._delay_s = delay_s
        self._device_dials = device_dials
        self._trouble: Trouble | None = None
        self._changed = asyncio.Event()
        self._listener: socket.socket | None = None
        self._host, self._port = at
        self._accepting: asyncio.Task[None] | None = None
        self._pairs: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens; 0 before it does."""
        return self._port

    async def start(self) -> int:
        """Listen; returns the port."""
        self._listen()
        return self._port

    async def set(self, trouble: Trouble | None) -> None:
        """Have this trouble from now on; None has none."""
        self._trouble = trouble
        self._changed.set()
        self._changed = asyncio.Event()
        if trouble is Trouble.CUT:
            await self._stop_listening()
            await self._end_pairs()
        elif self._listener is None:
            self._listen()

    async def aclose(self) -> None:
        """End everything."""
        await self._stop_listening()
        await self._end_pairs()

    def _listen(self) -> None:
        listener = socket.socket(_family(self._host))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self._host, self._port))
        listener.listen()
        listener.setblocking(False)
        self._listener, self._port = listener, listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept(listener))

    async def _stop_listening(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
            self._accepting = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _end_pairs(self) -> None:
        ending = set(self._pairs)
        for pair in ending:
            pair.cancel()
        if ending:
            await asyncio.wait(ending)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(listener)
            pair = asyncio.create_task(self._serve(near))
            self._pairs.add(pair)
            pair.add_done_callback(self._pairs.discard)

    async def _serve(self, near: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        far = socket.socket(_family(self._far_end[0]))
        directions: set[asyncio.Task[None]] = set()
        try:
            near.setblocking(False)
            far.setblocking(False)
            with suppress(OSError):
                await loop.sock_connect(far, self._far_end)
                directions = {
                    asyncio.create_task(self._carry(near, far, answers=self._device_dials)),
                    asyncio.create_task(self._carry(far, near, answers=not self._device_dials)),
                }
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for end in (near, far):
                # Cut: what was not delivered is gone.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise
        finally:
            for direction in directions:
                direction.cancel()
            if directions:
                await asyncio.wait(directions)
            near.close()
            far.close()

    async def _carry(self, source: socket.socket, sink: socket.socket, *, answers: bool) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while True:
                # Held back unread, as a network does that lost its way: who gives up takes it back.
                while self._trouble is Trouble.SILENT:
                    await self._changed.wait()
                    if source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        return
                changed = self._changed
                piece = await self._unless(changed, loop.sock_recv(source, _PIECE_BYTES))
                if piece is None:
                    continue
                if not piece:
                    return
                if answers:
                    piece = await self._spoil(piece)
                await loop.sock_sendall(sink, piece)
                if answers and self._trouble is Trouble.HALF:
                    return

    async def _unless(self, changed: asyncio.Event, receiving: Coroutine[Any, Any, bytes]) -> bytes | None:
        """What is received, or None once the trouble changed."""
        task = asyncio.ensure_future(receiving)
        waiting = asyncio.ensure_future(changed.wait())
        try:
            either: set[asyncio.Future[Any]] = {task, waiting}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            waiting.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # nobody waits for it any more where the connection itself is ended

    async def _spoil(self, piece: bytes) -> bytes:
        match self._trouble:
            case Trouble.GARBAGE:
                return self._randomness.randbytes(len(piece))
            case Trouble.HALF:
                return piece[: len(piece) // 2]
            case Trouble.SLOW:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), self._delay_s)
        return piece


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
