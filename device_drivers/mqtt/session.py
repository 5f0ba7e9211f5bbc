"""A connection to a broker, given up whenever an answer stays away, so that nothing of it acts later."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from aiomqtt import Client, MqttError

from device_drivers.errors import DeviceError

_T = TypeVar("_T")

_RESET_ON_CLOSE = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
"""What was not delivered when the connection is closed is dropped: a command given up must not act minutes later."""

_LONGEST_TEXT = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where a broker is, and who says so.

    Attributes
    ----------
    host : str
        Name or address.
    port : int
        TCP.
    username, password : str or None
        None where the broker asks for none.
    authority : Path or None
        File of the authority that the broker's certificate comes from; None where `tls` is off, or the system's count.
    tls : bool
        Whether the connection is encrypted.
    patience_s : float
        s that connecting, or an answer, may take.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    authority: Path | None = None
    tls: bool = False
    patience_s: float = 3.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A message that came.

    Attributes
    ----------
    topic : str
        Where it was published.
    text : str
        Its payload.
    retained : bool
        Whether the broker kept it: it may be older than anything.
    """

    topic: str
    text: str
    retained: bool


class Session:
    """Publishes, and hears what is published, over a connection that is made when it is needed.

    Parameters
    ----------
    broker : Broker
        Where it is.
    topics : sequence of str
        What is subscribed to.
    hear : callable
        Is told of each message as it comes.
    """

    def __init__(self, broker: Broker, topics: Sequence[str], hear: Callable[[Heard], None]) -> None:
        self._broker = broker
        self._topics = topics
        self._hear = hear
        self._running: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Client] | None = None
        self._ending = asyncio.Event()
        self._waiting: set[asyncio.Future[None]] = set()

    async def ask(self, topic: str, payload: str, answer: Callable[[], _T | None]) -> _T:
        """Publish, and wait until what was heard since makes an answer.

        Parameters
        ----------
        topic, payload : str
            What is published.
        answer : callable
            Is asked after each message that comes; None where that is not the answer yet. May raise `DeviceError`.

        Raises
        ------
        DeviceError
            If the broker cannot be reached, refuses the driver, or no answer comes in time.
        """
        answered = False
        try:
            async with asyncio.timeout(self._broker.patience_s):
                client = await self._connected()
                # Nothing is sent twice: a second command may come when the first was taken back already.
                await client.publish(topic, payload, qos=0)
                while (found := answer()) is None:
                    await self._next()
                answered = True
                return found
        except TimeoutError as err:
            raise DeviceError(f"mqtt: no answer to {topic} within {self._broker.patience_s:g} s") from err
        except MqttError as err:
            raise DeviceError(f"mqtt: {self._broker}: {err}") from err
        finally:
            if not answered:
                self.drop()

    def drop(self) -> None:
        """End the connection; the next call makes another."""
        self._ending.set()
        self._running = self._ready = None

    async def aclose(self) -> None:
        """End the connection, and wait for its end as long as an answer may take."""
        running = self._running
        self.drop()
        if running is not None:
            await asyncio.wait({running}, timeout=self._broker.patience_s)

    async def _connected(self) -> Client:
        if self._ready is None or self._running is None or self._running.done():
            self.drop()
            self._ending = asyncio.Event()
            self._ready = asyncio.get_running_loop().create_future()
            # Not cancelled ever: the library connects in a thread, and would leave its connection behind.
            self._running = asyncio.create_task(self._serve(self._ready, self._ending))
        return await asyncio.shield(self._ready)

    async def _next(self) -> None:
        """Wait for a message; a `DeviceError` if the connection ends instead."""
        coming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(coming)
        try:
            await coming
        finally:
            self._waiting.discard(coming)

    async def _serve(self, ready: "asyncio.Future[Client]", ending: asyncio.Event) -> None:
        error = DeviceError(f"mqtt: {self._broker} ended the connection")
        try:
            async with self._client() as client:
                for topic in self._topics:
                    await client.subscribe(topic, qos=1)
                if not ready.done():
                    ready.set_result(client)
                await self._listen(client, ending)
        except (MqttError, OSError, ValueError) as err:
            error = DeviceError(f"mqtt: {self._broker}: {err}")
        if not ready.done():
            ready.set_exception(error)
            ready.exception()  # looked at: nobody may wait for it any more
        if not ending.is_set():
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_exception(error)

    async def _listen(self, client: Client, ending: asyncio.Event) -> None:
        listening = asyncio.create_task(self._hear_all(client))
        ended = asyncio.create_task(ending.wait())
        try:
            await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
        finally:
            for task in (listening, ended):
                task.cancel()
            with suppress(asyncio.CancelledError, MqttError):
                await listening

    async def _hear_all(self, client: Client) -> None:
        async for message in client.messages:
            payload = message.payload
            if not isinstance(payload, bytes) or len(payload) > _LONGEST_TEXT:
                continue
            text = payload.decode("utf-8", errors="replace")
            self._hear(Heard(topic=str(message.topic), text=text, retained=bool(message.retain)))
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_result(None)

    def _client(self) -> Client:
        broker = self._broker
        context = None
        if broker.tls:
            context = ssl.create_default_context(cafile=None if broker.authority is None else str(broker.authority))
        client = Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            timeout=broker.patience_s,
            tls_context=context,
            socket_options=(_RESET_ON_CLOSE,),
        )
        # The library keeps how a connection ended for who asks, and complains where nobody does.
        ended = getattr(client, "_disconnected", None)
        if isinstance(ended, asyncio.Future):
            ended.add_done_callback(_looked_at)
        return client


def _looked_at(ended: "asyncio.Future[None]") -> None:
    if not ended.cancelled():
        ended.exception()
