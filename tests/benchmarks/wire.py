"""A driver's stream at the cost of its bytes: just enough HTTP/2 over TLS for gRPC's one bidirectional call.

A thousand of gRPC's own clients in one process take more of a machine than the service that they are to measure. These
take a tenth of that: one loop over sockets, frames as RFC 9113 has them, header blocks without state (RFC 7541), and
the API's messages.
"""

import heapq
import selectors
import socket
import ssl
import struct
import tempfile
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path

from google.rpc import error_details_pb2

from controller.pki import Credentials
from gridpact.v1 import driver_pb2 as pb

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
WIDEST = 2**31 - 1
INITIAL_WINDOW_SIZE, TRUE_BINARY = 4, 0xFE03
"""Settings: the windows of streams; and gRPC's own, that status details come as they are, not in base64."""
RETRY = b"google.rpc.RetryInfo"
AWAY = "sent away"
"""The reason for which a stream is lost that the service refused until later."""
DIALS_AT_ONCE = 64
"""Handshakes under way in a process: the machines of ten thousand drivers are not one machine."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header that is not to be remembered; both shorter than 127 bytes."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


OPENING = b"".join(
    (
        PREFACE,
        frame(SETTINGS, 0, 0, struct.pack(">HIHI", INITIAL_WINDOW_SIZE, WIDEST, TRUE_BINARY, 1)),
        frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WIDEST - 65_535)),
    )
)
REQUEST = b"".join(
    (
        b"\x83\x87",  # :method POST, :scheme https: entries of the static table
        _literal(b":path", b"/gridpact.v1.DriverService/Connect"),
        _literal(b":authority", b"localhost"),
        _literal(b"content-type", b"application/grpc"),
        _literal(b"te", b"trailers"),
    )
)


class WireDriver:
    """One driver: its connection, and one stream after another.

    Parameters
    ----------
    loop : that it is part of
    device : id
    descriptor : of its device
    telemetry : what it says when asked, with every heartbeat
    """

    def __init__(
        self, loop: "WireLoop", device: str, descriptor: pb.Descriptor, telemetry: Callable[[], pb.Telemetry]
    ) -> None:
        self.device = device
        self._loop = loop
        self._descriptor = descriptor
        self._telemetry = telemetry
        self._socket: ssl.SSLSocket | None = None
        self._shaken = False
        self._received = bytearray()
        self._message = bytearray()
        self._stream = -1
        self._open = 0
        self._counter = 0
        self._interval_s = 0.0
        self._coming_back = False
        self.failures = 0

    def dial(self, context: ssl.SSLContext, address: tuple[str, int]) -> None:
        """Begin to connect."""
        raw = socket.create_connection(address)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setblocking(False)
        self._socket = context.wrap_socket(raw, server_hostname="localhost", do_handshake_on_connect=False)
        self._shaken, self._stream = False, -1
        self._received.clear()
        self._loop.selector.register(self._socket, selectors.EVENT_READ, self.ready)
        self.ready()

    def ready(self) -> None:
        """Go on: there may be something to read."""
        try:
            if not self._shaken:
                self._socket.do_handshake()
                self._shaken = True
                self._loop.shaken()
                self._socket.send(OPENING)
                self.call()
            while True:
                some = self._socket.recv(65_536)
                if not some:
                    raise ConnectionResetError("the service closed the connection")
                self._received += some
                self._frames()
                if not self._socket.pending():
                    return
        except ssl.SSLWantReadError:
            return
        except OSError as err:
            self._lost(type(err).__name__, None)

    def call(self) -> None:
        """Open a stream, and say what the device is."""
        self._stream += 2
        self._open = self._stream
        self._counter = 0
        self._message.clear()
        opening = frame(HEADERS, END_HEADERS, self._stream, REQUEST)
        self._socket.send(opening + self._framed(pb.ConnectRequest(descriptor=self._descriptor)))

    def say(self, *messages: pb.ConnectRequest) -> None:
        """Send messages."""
        try:
            self._socket.send(b"".join([self._framed(message) for message in messages]))
        except OSError as err:  # a full buffer too: a driver's machine would not be so slow
            self._lost(type(err).__name__, None)

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._loop.selector.unregister(self._socket)
            self._socket.close()
            self._socket = None
        self._open = 0

    def _framed(self, message: pb.ConnectRequest) -> bytes:
        body = message.SerializeToString()
        return frame(DATA, 0, self._stream, struct.pack(">BI", 0, len(body)) + body)

    def _frames(self) -> None:
        received = self._received
        while len(received) >= 9:
            length = int.from_bytes(received[:3], "big")
            if len(received) < 9 + length:
                return
            kind, flags, stream = struct.unpack_from(">BBI", received, 3)
            payload = bytes(received[9 : 9 + length])
            del received[: 9 + length]
            if kind == DATA:
                self._data(payload)
            elif kind == PING and not flags & ACK:
                self._socket.send(frame(PING, ACK, 0, payload))
            elif kind == SETTINGS and not flags & ACK:
                self._socket.send(frame(SETTINGS, ACK, 0, b""))
            elif kind == HEADERS and flags & END_STREAM and stream == self._open:
                self._refused(_retry_s(payload))
            elif kind in (RST_STREAM, GOAWAY):
                raise ConnectionAbortedError(f"frame {kind}")

    def _data(self, payload: bytes) -> None:
        message = self._message
        message += payload
        while len(message) >= 5:
            length = int.from_bytes(message[1:5], "big")
            if len(message) < 5 + length:
                return
            answer = pb.ConnectResponse.FromString(bytes(message[5 : 5 + length]))
            del message[: 5 + length]
            kind = answer.WhichOneof("message")
            if kind == "command":
                self._loop.commanded(self, answer.command)
            elif kind == "welcome":
                self.failures = 0
                self._interval_s = answer.welcome.heartbeat_interval.ToMilliseconds() / 1000
                self._loop.welcomed(self)
                self._beat(self._stream, answer.welcome.heartbeat_phase.ToMilliseconds() / 1000)

    def _beat(self, stream: int, pause_s: float) -> None:
        if stream != self._open:
            return  # of a stream that has ended
        self._counter += 1
        beat = pb.ConnectRequest(heartbeat=pb.Heartbeat(counter=self._counter))
        self.say(pb.ConnectRequest(telemetry=self._telemetry()), beat)
        self._loop.later(pause_s, lambda: self._beat(stream, self._interval_s))

    def _lost(self, reason: str, retry_s: float | None) -> None:
        """Come back after a while, on the same connection where there still is one."""
        if retry_s is None:
            if not self._shaken:
                self._loop.shaken()
            self.close()
            self.failures += 1
            retry_s = min(60.0, 2.0**self.failures)
        self._open = 0
        if not self._coming_back:
            self._coming_back = True
            self._loop.lost(self, reason)
            self._loop.later(retry_s, self._come_back)

    def _refused(self, retry_s: float | None) -> None:
        self._lost("ended" if retry_s is None else AWAY, retry_s)

    def _come_back(self) -> None:
        self._coming_back = False
        if self._socket is None:
            self._loop.dial(self)
        else:
            self.call()


def _retry_s(block: bytes) -> float | None:
    """RetryInfo's delay in a block of trailers whose status details are there as they are."""
    at = block.find(RETRY)
    if at < 0:
        return None
    at += len(RETRY)  # then field 2 of google.protobuf.Any: a tag, a length below 128, the message
    value = block[at + 2 : at + 2 + block[at + 1]]
    return error_details_pb2.RetryInfo.FromString(value).retry_delay.ToMilliseconds() / 1000


class WireLoop:
    """Many drivers on one thread.

    Parameters
    ----------
    target : HOST:PORT of the service
    authority : PEM of whom it is certified by
    own : credentials by device
    """

    def __init__(self, target: str, authority: bytes, own: dict[str, Credentials]) -> None:
        host, _, port = target.rpartition(":")
        self._address = host, int(port)
        self._own = own
        self._context = ssl.create_default_context(cadata=authority.decode())
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.set_alpn_protocols(["h2"])
        self._folder = tempfile.TemporaryDirectory()
        self.selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._waiting: deque[WireDriver] = deque()
        self._dialing = 0
        self._stopped = False

    def welcomed(self, driver: WireDriver) -> None:
        """A driver was let in."""

    def commanded(self, driver: WireDriver, command: pb.Command) -> None:
        """A driver got a command."""

    def lost(self, driver: WireDriver, reason: str) -> None:
        """A driver's stream has ended; it comes back by itself."""

    def dial(self, *drivers: WireDriver) -> None:
        """Let drivers connect, a few at a time."""
        self._waiting.extend(drivers)
        self._dial_next()

    def shaken(self) -> None:
        """A handshake is over."""
        self._dialing -= 1
        self.later(0.0, self._dial_next)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call back after a while."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), action))

    def stop(self) -> None:
        """Let `run` end."""
        self._stopped = True

    def run(self) -> None:
        """Serve until stopped."""
        while not self._stopped:
            wait_s = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, _ in self.selector.select(wait_s):
                key.data()
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
        self.selector.close()
        self._folder.cleanup()

    def _dial_next(self) -> None:
        while self._waiting and self._dialing < DIALS_AT_ONCE:
            driver = self._waiting.popleft()
            self._dialing += 1
            self._load(self._own[driver.device])
            driver.dial(self._context, self._address)

    def _load(self, own: Credentials) -> None:
        """The next connection shows these; Python takes them from a file alone."""
        path = Path(self._folder.name) / "own.pem"
        path.touch(mode=0o600)
        path.write_bytes(own.certificate + own.key)
        self._context.load_cert_chain(path)


def follow_pipe(loop: WireLoop, pipe, answer: Callable[[object], object]) -> None:
    """Let a loop answer what comes through a pipe; None answers nothing, ``stop`` ends the loop."""

    def ready() -> None:
        word = pipe.recv()
        if word == "stop":
            loop.stop()
        elif (found := answer(word)) is not None:
            pipe.send(found)

    loop.selector.register(pipe, selectors.EVENT_READ, ready)
