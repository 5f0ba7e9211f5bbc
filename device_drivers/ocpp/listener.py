"""Waits for stations on one address, lets in those that are known and show their password, and hands them over."""

import asyncio
import logging
import math
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from device_drivers.clock import Clock
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.ocpp.dialect import Dialect
from device_drivers.ocpp.session import Session
from device_drivers.ocpp.station import Station, Terms

log = logging.getLogger(__name__)

LINGER_S = 120.0
"""s for which stations that nobody drives stay connected: whoever opens one again would have to wait for it else."""

_LONGEST_BYTES = 2**20
_PING_S = 20.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_SILENT = logging.CRITICAL + 1
_QUIET_S = 10.0
"""s between two lines of the log about who was turned away: whoever knocks would fill it. The device says it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where stations are waited for.

    Attributes
    ----------
    host : str
        Name or address of this machine.
    port : int
        TCP.
    certificate, key : Path or None
        PEM files with which this machine shows who it is; None where nothing is encrypted.
    """

    host: str
    port: int
    certificate: Path | None
    key: Path | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Listener:
    """Waits on one address for any number of stations.

    Parameters
    ----------
    place : Place
        Where.
    dialects : mapping of str to Dialect
        What is spoken, by subprotocol.
    clock : Clock
        The driver's.
    linger_s : float
        s for which stations that nobody drives stay connected.
    """

    def __init__(self, place: Place, dialects: Mapping[str, Dialect], clock: Clock, linger_s: float = LINGER_S) -> None:
        self.place = place
        self._dialects = dialects
        self._clock = clock
        self._linger_s = linger_s
        self._stations: dict[str, Station] = {}
        self._drivers: dict[str, int] = {}
        self._server: Server | None = None
        self._starting = asyncio.Lock()
        self._ending: asyncio.TimerHandle | None = None
        self._stranger = ""
        self._warned_at = -math.inf

    async def claim(self, name: str, terms: Terms) -> Station:
        """The station of a name, which is let in from now on.

        Raises
        ------
        InvalidValueError
            If another device of it says other terms, or the certificate cannot be used.
        DeviceError
            If the address cannot be listened on.
        """
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        station = self._stations.get(name)
        if station is not None and station.terms != terms:
            if self._drivers.get(name):
                raise InvalidValueError(
                    f"url: got other options for {name} than another device of it has, wanted the same password, "
                    "version, tags and heartbeat_s"
                )
            station.turn_out()
            station = None
        if station is None:
            station = self._stations[name] = Station(name, terms, self._clock)
            if terms.password is None and self.place.host not in _LOOPBACK:
                log.warning("ocpp: %s: anybody who reaches it may say to be %s: no password is set", self.place, name)
        # Counted before anything is waited for: who dials meanwhile is known.
        self._drivers[name] = self._drivers.get(name, 0) + 1
        try:
            async with self._starting:
                if self._server is None:
                    self._server = await self._listen()
        except BaseException:
            self.release(name)
            raise
        return station

    def release(self, name: str) -> None:
        """One device less drives a station; some time after the last of all nobody is waited for any more."""
        self._drivers[name] -= 1
        if not any(self._drivers.values()) and self._server is not None:
            self._ending = asyncio.get_running_loop().call_later(self._linger_s, self._end)

    def why_absent(self, station: Station) -> str:
        """Why a station is not connected, as far as anybody knows."""
        if station.complaint:
            return f": {station.complaint}"
        return f"; one that calls itself {self._stranger!r} was turned away" if self._stranger else ""

    def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = self._ending = None
        self._stations.clear()
        self._drivers.clear()

    async def _listen(self) -> Server:
        try:
            return await serve(
                self._serve,
                self.place.host,
                self.place.port,
                process_request=self._admit,
                select_subprotocol=self._agree,
                ssl=_context(self.place),
                max_size=_LONGEST_BYTES,
                ping_interval=_PING_S,
                ping_timeout=_PING_S,
                close_timeout=1.0,
                # Whoever knocks would fill the log of the driver.
                logger=logging.Logger("ocpp", _SILENT),
            )
        except OSError as err:
            reason = err.strerror or str(err)
            raise DeviceError(f"ocpp: {self.place} cannot be listened on: {reason}") from err

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """None where a station may come in, else what it is told."""
        name = _name(request)
        station = self._stations.get(name)
        if station is None:
            if name != self._stranger:
                self._stranger = name
                self._warn(f"a station that calls itself {name!r} is not known")
            return connection.respond(HTTPStatus.NOT_FOUND, "This station is not known here.\n")
        said = request.headers.get_all("Authorization")
        if not station.terms.admit(name, said[0] if len(said) == 1 else None):
            self._complain(station, "it came with a wrong password" if said else "it came without a password")
            refusal = connection.respond(HTTPStatus.UNAUTHORIZED, "Wrong name or password.\n")
            refusal.headers["WWW-Authenticate"] = 'Basic realm="OCPP"'
            return refusal
        return None

    def _agree(self, connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        """The version that is spoken; None where there is none."""
        station = None if connection.request is None else self._stations.get(_name(connection.request))
        if station is None:
            return None
        for version in station.terms.versions:
            if version in offered:
                return cast(Subprotocol, version)
        got = ", ".join(str(one)[:40] for one in offered[:5]) or "none"
        self._complain(station, f"it speaks {got}, wanted {' or '.join(station.terms.versions)}")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        station = None if connection.request is None else self._stations.get(_name(connection.request))
        if station is None or connection.subprotocol is None:
            # As the protocol has it: shaken hands, and then no.
            await connection.close(1002, "no version of OCPP that both speak")
            return
        session = Session(connection, station, self._dialects[connection.subprotocol], self._clock)
        station.join(session)
        log.info("ocpp: %s: %s is connected over %s", self.place, station.name, connection.subprotocol)
        try:
            await session.run()
        finally:
            station.leave(session)

    def _complain(self, station: Station, complaint: str) -> None:
        if station.complaint != complaint:
            station.complaint = complaint
            self._warn(f"{station.name} is turned away: {complaint}")

    def _warn(self, text: str) -> None:
        now = self._clock.now()
        often = now - self._warned_at < _QUIET_S
        if not often:
            self._warned_at = now
        log.log(logging.DEBUG if often else logging.WARNING, "ocpp: %s: %s", self.place, text)


def _name(request: Request) -> str:
    """What a station calls itself: the last part of the path that it dials."""
    return unquote(urlsplit(request.path).path.rsplit("/", 1)[-1])[:200]


def _context(place: Place) -> ssl.SSLContext | None:
    if place.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(place.certificate, place.key)
    except (OSError, ssl.SSLError) as err:
        raise InvalidValueError(f"option certificate: {place.certificate} with its key cannot be used: {err}") from err
    return context
