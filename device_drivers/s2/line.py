"""How there comes to be a session with a manager: they connect to us, or we to them."""

import asyncio
import hmac
import http
import logging
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection as WebSocket
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import InvalidHandshake, InvalidURI
from websockets.http11 import Request, Response

from device_drivers.errors import DeviceError
from device_drivers.s2.session import Session
from device_drivers.setpoint import Target

log = logging.getLogger(__name__)

LINGER_S = 60.0
"""s for which a port is listened on though no device there is served: one that was lost is soon served again."""

_LONGEST_MESSAGE = 1_048_576
_CLOSING_S = 0.5
_SILENT = logging.CRITICAL + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where managers connect to, or where one is.

    Attributes
    ----------
    host : str
        Name or address.
    port : int
        TCP.
    path : str
        Of the URL, with its first slash.
    token : str or None
        What a manager has to show as bearer token, or is shown; None where anybody will do.
    secured_by : tuple of str
        What the encryption rests on, as files; empty where nothing is encrypted.
    tls : ssl.SSLContext or None
        Made of these; two of the same files count as equal.
    """

    host: str
    port: int
    path: str
    token: str | None = field(default=None, repr=False)
    secured_by: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = field(default=None, compare=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ws' if self.tls is None else 'wss'}://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a manager was told last, and said yes to.

    Attributes
    ----------
    target : Target
        What.
    until : float or None
        s of a clock that is never set back at which the failsafe takes its place; None where it lasts.
    session : Session
        In which.
    """

    target: Target
    until: float | None
    session: Session


class Line(ABC):
    """The way to one manager, shared by those who serve its device.

    Parameters
    ----------
    place : Place
        Where.
    begin : callable
        Makes a session of a connection.

    Attributes
    ----------
    users : int
        How many serve the device over it.
    told : Told or None
        What the manager was told last; None where that is not known.
    """

    def __init__(self, place: Place, begin: Callable[[WebSocket, str], Session]) -> None:
        self.place = place
        self.users = 0
        self.told: Told | None = None
        self._begin = begin
        self._session: Session | None = None

    @abstractmethod
    async def session(self) -> Session:
        """A session that has not ended; waits for one.

        Raises
        ------
        DeviceError
            If there can be none now.
        """

    def missing(self) -> str:
        """What is waited for."""
        session = self._session
        if session is None:
            return "the resource manager to connect"
        if session.ended is not None:
            return f"the resource manager to connect again, which had ended: {session.ended}"
        refused = "" if session.refused is None else f"; it was refused {session.refused}"
        return (session.missing() or "an answer of the resource manager") + refused

    async def aclose(self) -> None:
        """End the session."""
        session, self._session, self.told = self._session, None, None
        if session is not None:
            await session.aclose()


class _Dial(connect):
    """A connection to the address that was named, whatever that answers: the token is for it alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow none."""
        return exc


class DialledLine(Line):
    """The manager listens, and is connected to when that is needed."""

    def __init__(self, place: Place, begin: Callable[[WebSocket, str], Session]) -> None:
        super().__init__(place, begin)
        self._dialling = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None

    async def session(self) -> Session:
        """The session, begun anew where it has ended."""
        async with self._dialling:
            if self._session is None or self._session.ended is not None:
                websocket = await self._dial()
                self._session = self._begin(websocket, str(self.place))
                self._running = asyncio.create_task(self._session.run())
            return self._session

    async def _dial(self) -> WebSocket:
        token = self.place.token
        try:
            return await _Dial(
                str(self.place),
                ssl=self.place.tls,
                additional_headers=None if token is None else {"Authorization": f"Bearer {token}"},
                proxy=None,
                compression=None,
                max_size=_LONGEST_MESSAGE,
                close_timeout=_CLOSING_S,
                open_timeout=None,  # whoever asks sets the limit
            )
        except (OSError, InvalidHandshake, InvalidURI, EOFError) as err:
            raise DeviceError(f"s2: {self.place}: {err}") from err


class HeardLine(Line):
    """The manager connects to us; a newer connection takes the place of an older one."""

    def __init__(self, place: Place, begin: Callable[[WebSocket, str], Session]) -> None:
        super().__init__(place, begin)
        self._came = asyncio.Event()
        self._turned_away: str | None = None

    def missing(self) -> str:
        """What is waited for, and who came instead."""
        return super().missing() + ("" if self._turned_away is None else f"; {self._turned_away}")

    def turn_away(self, why: str) -> None:
        """Somebody came who is not let in."""
        if self._turned_away is None:
            log.warning("s2: %s: %s, and is turned away", self.place, why)
        self._turned_away = why

    async def session(self) -> Session:
        """The session of the manager that is connected."""
        while self._session is None or self._session.ended is not None:
            self._came.clear()
            await self._came.wait()
        return self._session

    async def serve(self, websocket: WebSocket) -> None:
        """Hear a manager that has connected, to the end."""
        self._turned_away = None
        if self._session is not None:
            self._session.drop("another connection came in its place")
        session = self._session = self._begin(websocket, f"the resource manager at {self.place.path}")
        self._came.set()
        await session.run()


class Listener:
    """A port on which managers connect, each by a path of its own.

    Parameters
    ----------
    place : Place
        Of any of them: host, port and TLS are of all.
    patience_s : float
        s that a connection may take to say what it wants.
    gone : callable
        Is called when it listens no more.

    Attributes
    ----------
    place : Place
        As it was made with.
    """

    def __init__(self, place: Place, patience_s: float, gone: Callable[[], None]) -> None:
        self.place = place
        self._patience_s = patience_s
        self._gone = gone
        self._lines: dict[str, HeardLine] = {}
        self._server: Server | None = None
        self._lingering: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        DeviceError
            If the port cannot be listened on.
        """
        try:
            self._server = await serve(
                self._serve,
                self.place.host,
                self.place.port,
                ssl=self.place.tls,
                process_request=self._admit,
                compression=None,
                max_size=_LONGEST_MESSAGE,
                open_timeout=self._patience_s,
                close_timeout=_CLOSING_S,
                # Whoever knocks would fill the log of the driver.
                logger=logging.Logger("s2", _SILENT),
            )
        except (OSError, socket.gaierror) as err:
            raise DeviceError(f"s2: {self.place.host}:{self.place.port} cannot be listened on: {err}") from err

    def line(self, path: str) -> HeardLine | None:
        """The line of a path; None where there is none."""
        return self._lines.get(path)

    def add(self, line: HeardLine) -> None:
        """Have managers come by this line's path."""
        self._lines[line.place.path] = line
        self.look()

    def look(self) -> None:
        """Stop listening after a while, unless somebody uses a line then."""
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if not any(line.users for line in self._lines.values()):
            self._lingering = asyncio.get_running_loop().call_later(LINGER_S, self._stop)

    def _stop(self) -> None:
        self._lingering = None
        if any(line.users for line in self._lines.values()):
            return  # of a device that was opened meanwhile
        if self._server is not None:
            self._server.close()
        self._gone()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        line = self._asked(request)
        if line is None:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "No device has this path.\n")
        if line.place.token is not None:
            wanted = f"Bearer {line.place.token}"
            found = request.headers.get_all("Authorization")
            if len(found) != 1 or not hmac.compare_digest(_octets(found[0]), _octets(wanted)):
                line.turn_away("one came without the token")
                return connection.respond(http.HTTPStatus.UNAUTHORIZED, "Wanted the bearer token of the device.\n")
        return None

    async def _serve(self, websocket: ServerConnection) -> None:
        request = websocket.request
        line = None if request is None else self._asked(request)
        if line is not None:
            await line.serve(websocket)

    def _asked(self, request: Request) -> HeardLine | None:
        try:
            return self._lines.get(unquote(urlsplit(request.path).path))
        except ValueError:  # as of "//["
            return None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
