"""The service without a network: every handler behind its edge, called with bytes, on a store that forgets.

All that one example does happens in a transaction that is rolled back in the end, so that each begins alike.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from controller.access import Role
from controller.app import Service, Settings
from controller.clock import VirtualClock
from controller.errors import StoreError
from controller.pki import Authority
from controller.quotas import Limits, Quotas
from controller.sealing import seeded_salts
from controller.services.answers import STATUS_KEY
from controller.services.register import add_servicers
from controller.store import schema
from controller.store.database import Database
from tests.controller.stand_ins import ScriptedSolver
from tests.controller.validators import registry

STREAM_S = 0.03
"""As long a stream is listened to after it was told everything."""


class ForgettingDatabase(Database):
    """Runs everything in one outer transaction, each statement in a savepoint of its own."""

    connection: Connection | None = None

    def run(self, statement, *args, **kwargs):
        if self.connection is None:
            return super().run(statement, *args, **kwargs)
        try:
            with self.connection.begin_nested():
                return statement(self.connection, *args, **kwargs)
        except SQLAlchemyError as err:
            raise StoreError(str(err)) from err

    async def run_async(self, statement, *args, **kwargs):
        return self.run(statement, *args, **kwargs)

    async def run_then(self, statement, then):
        result = self.run(statement)
        then(result)
        return result

    async def read_async(self, statement, *args, **kwargs):
        return self.run(statement, *args, **kwargs)

    def begin(self) -> None:
        self.connection = self._engine.connect()
        self.connection.begin()

    def forget(self) -> None:
        assert self.connection is not None
        self.connection.rollback()
        self.connection.close()
        self.connection = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a call ended with: responses, or a refusal's code, message and details."""

    responses: tuple[Any, ...] = ()
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    status: status_pb2.Status | None = None

    def named(self) -> tuple[str, ...]:
        """The fields that a refusal names."""
        found, bad = [], error_details_pb2.BadRequest()
        for detail in [] if self.status is None else self.status.details:
            if detail.Unpack(bad):
                found += [violation.field for violation in bad.field_violations]
        return tuple(found)

    def fault(self) -> str:
        """What is wrong with it as a refusal; empty where nothing is."""
        if self.code is grpc.StatusCode.OK:
            return ""
        if self.code not in REFUSALS:
            return f"{self.code}: {self.message}"
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        details = [] if self.status is None else list(self.status.details)
        if not any(detail.Unpack(info) for detail in details) or not info.reason or info.domain != "gridpact":
            return "no ErrorInfo"
        if self.code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}:
            named = [v for d in details if d.Unpack(bad) for v in bad.field_violations if v.field and v.description]
            if not named:
                return f"no field is named: {self.message}"
        if len(self.message) > MESSAGE or "Traceback" in self.message or 'File "' in self.message:
            return f"message: {self.message[:MESSAGE]}"
        return ""


MESSAGE = 1000
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAUTHENTICATED,
}


class Context:
    """What gRPC tells a servicer of its call, as far as ours ask."""

    def __init__(self, uri: str, certificate: bytes) -> None:
        self._auth = {
            "ssl_tls_version": [b"TLSv1.3"],
            "peer_spiffe_id": [uri.encode()],
            "x509_pem_cert": [certificate],
        }
        self.ended: Answer | None = None
        self.written: list[Any] = []

    def auth_context(self):
        return self._auth

    def peer(self):
        return "ipv4:127.0.0.1:1"

    def invocation_metadata(self):
        return ()

    def time_remaining(self):
        return None

    def cancelled(self):
        return False

    def done(self):
        return self.ended is not None

    def add_done_callback(self, _callback):
        return None

    async def write(self, message):
        self.written.append(message)

    async def abort(self, code, details="", trailing_metadata=()):
        raw = dict(trailing_metadata).get(STATUS_KEY)
        status = None if raw is None else status_pb2.Status.FromString(raw)
        self.ended = Answer(code=code, message=details, status=status)
        raise grpc.aio.AbortError


class Recorder:
    """Stands where servicers expect a server, and keeps their handlers by method."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers) -> None:
        for handler in handlers:
            self.handlers |= handler._method_handlers

    def add_registered_method_handlers(self, service, handlers) -> None:
        """They are among the others already."""


class FuzzedService:
    """A service on a copy of a community's database.

    Parameters
    ----------
    path : of the database
    now : the instant at which everything happens
    """

    def __init__(self, path: Path, now: float) -> None:
        self.database = ForgettingDatabase(f"sqlite:///{path}")
        self._authority = Authority()
        self._certificates: dict[str, bytes] = {}
        self._loop = asyncio.new_event_loop()
        self._clock = VirtualClock(now)
        self._recorder = Recorder()
        self._handlers: dict[str, Any] = {}
        self._digest: bytes | None = None
        self.begin()
        self.forget()

    def begin(self) -> None:
        """Begin an example: a service that has just started, on the store as it was."""
        self.database.begin()
        service = Service(
            Settings(listen="127.0.0.1:0", certificate=self._authority.server(), authority=self._authority.certificate),
            database=self.database,
            clock=self._clock,
            solver=ScriptedSolver(),
            salts=seeded_salts(b"village"),
            anchorer=None,
            registry=registry,
            quotas=Quotas(dict.fromkeys(Role, Limits(calls_burst=1e12, bytes_burst=1e15, messages_burst=1e12))),
        )
        self._edge = service._edge
        recorder = Recorder()
        self._core = service._core
        add_servicers(recorder, self._core)
        self._recorder, self._handlers, self._digest = recorder, {}, None

    def forget(self) -> None:
        """End an example."""
        self.database.forget()

    def close(self) -> None:
        """Let go of the file and the loop."""
        self.database.close()
        self._loop.close()

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods by path."""
        return tuple(sorted(self._recorder.handlers))

    def call(self, path: str, uri: str, raws: Iterable[bytes]) -> Answer:
        """What the method answers; a stream is sent all messages, a unary call the first."""
        return self._loop.run_until_complete(self._call(path, uri, list(raws)))

    def changed_by(self, path: str, uri: str, raws: Iterable[bytes]) -> tuple[Answer, bool]:
        """The same, and whether the store or the limits' journal is another afterwards."""
        before = self._known_digest()
        changes, limits = self._changes(), self._limits()
        answer = self.call(path, uri, raws)
        if self._limits() != limits:
            return answer, True
        if self._changes() == changes:
            return answer, False
        self._digest = None
        return answer, self._known_digest() != before

    async def _call(self, path: str, uri: str, raws: list[bytes]) -> Answer:
        handler = await self._handler(path)
        context = Context(uri, self._certificate(uri))
        try:
            if handler.unary_unary:
                response = await handler.unary_unary(handler.request_deserializer(raws[0]), context)
                handler.response_serializer(response)
                return Answer(responses=(response,))
            if handler.unary_stream:
                responses = handler.unary_stream(handler.request_deserializer(raws[0]), context)
            else:
                responses = handler.stream_stream(_stream(handler, raws), context)
            return Answer(responses=tuple(await _listen(responses, handler)))
        except grpc.aio.AbortError:
            assert context.ended is not None
            return context.ended

    async def _handler(self, path: str) -> Any:
        if path not in self._handlers:

            async def continuation(_details):
                return self._recorder.handlers[path]

            details = type("Details", (), {"method": path})()
            self._handlers[path] = await self._edge.intercept_service(continuation, details)
        return self._handlers[path]

    def _certificate(self, uri: str) -> bytes:
        if uri not in self._certificates:
            self._certificates[uri] = self._authority.client(uri).certificate
        return self._certificates[uri]

    def _limits(self) -> int:
        return len(self._core.limits.book._journal.records())

    def _changes(self) -> int:
        return self.database.connection.connection.dbapi_connection.total_changes

    def _known_digest(self) -> bytes:
        if self._digest is None:
            found = hashlib.sha256()
            for name, table in sorted(schema.metadata.tables.items()):
                if name == "meter_events":
                    continue  # what was refused of readings is noted there
                rows = sorted(repr(tuple(row)) for row in self.database.connection.execute(table.select()))
                found.update(repr((name, rows)).encode())
            self._digest = found.digest()
        return self._digest


async def _stream(handler: Any, raws: list[bytes]) -> AsyncIterator[Any]:
    for raw in raws:
        yield handler.request_deserializer(raw)
        await asyncio.sleep(0)


async def _listen(responses: Any, handler: Any) -> list[Any]:
    """What comes until the stream ends, or has nothing more to say."""
    found: list[Any] = []
    iterator = aiter(responses)
    with suppress(StopAsyncIteration, TimeoutError):
        while True:
            response = await asyncio.wait_for(anext(iterator), STREAM_S)
            handler.response_serializer(response)
            found.append(response)
    await iterator.aclose()
    return found
