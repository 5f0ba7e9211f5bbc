"""The edge of every call: who calls, may they, do they still, and how a refusal is answered."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from controller.access import Identity
from controller.access_journal import AccessJournal
from controller.admission import Gate, Peer, identify
from controller.clock import Clock
from controller.quotas import Bucket
from controller.refusals import Code, Refusal, invalid, too_late
from controller.services import answers
from controller.services.accessing import ENTERED, PERSONAL, access_to, reads_anothers, refused_access
from controller.services.allowances import allowance
from controller.services.answers import answer, translate

RECHECK_S = 30.0
"""How often those who hold a stream are looked at again."""

Context: TypeAlias = answers.Context
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]]


def caller_of(context: Context) -> Identity:
    """The identity in the caller's certificate.

    Raises
    ------
    Refusal
        UNAUTHENTICATED where there is none of ours, or the connection is older than TLS 1.3.
    """
    return identify(context.auth_context())


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it came: the message, or why it is none; and its size in bytes."""

    message: Any
    refusal: Refusal | None
    size: int


@dataclass(slots=True, kw_only=True, eq=False)
class _Stream:
    """An open stream: who holds it, and in which task. ``inside`` while the servicer works or waits."""

    peer: Peer
    task: "asyncio.Task[Any]"
    inside: bool = True
    refusal: Refusal | None = None


class Edge(grpc.aio.ServerInterceptor):
    """Lets callers in, watches those who hold streams, and answers refusals with google.rpc details.

    Parameters
    ----------
    gate : decides who is let in, and who may stay
    journal : takes denials, and readings of personal data
    clock : when they were
    """

    def __init__(self, gate: Gate, *, journal: AccessJournal, clock: Clock) -> None:
        self._gate = gate
        self._journal = journal
        self._clock = clock
        self._streams: set[_Stream] = set()

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The method's handler with all of that around it."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = handler_call_details.method
        reader = _reader(method, handler.request_deserializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._guard_unary(method, handler.unary_unary), reader, handler.response_serializer
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._guard_stream(method, handler.unary_stream), reader, handler.response_serializer
            )
        return grpc.stream_stream_rpc_method_handler(
            self._guard_stream(method, handler.stream_stream), reader, handler.response_serializer
        )

    def recheck(self) -> int:
        """End the streams of those who may stay no longer; returns how many."""
        ended = 0
        for stream in list(self._streams):
            stream.refusal = stream.refusal or self._gate.recheck(stream.peer)
            if stream.refusal is not None:
                stream.task.cancel()
                ended += 1
        return ended

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def dismiss(self, refusal: Refusal) -> int:
        """End all streams with this answer; returns how many there were."""
        streams = list(self._streams)
        for stream in streams:
            stream.refusal = stream.refusal or refusal
            stream.task.cancel()
        return len(streams)

    def _guard_unary(
        self, method: str, behaviour: Callable[[Any, Context], Awaitable[Any]]
    ) -> Callable[[Received, Context], Awaitable[Any]]:
        seconds = allowance(method).seconds

        async def guarded(request: Received, context: Context) -> Any:
            try:
                self._gate.admit(method, context.auth_context(), request.size)
                limit = asyncio.timeout(seconds)
                try:
                    async with limit:
                        response = await behaviour(_readable(request), context)
                        self._note_reading(method, context, request)
                        return response
                except TimeoutError as err:
                    if not limit.expired():
                        raise
                    raise too_late(f"{method}: took longer than {seconds:.0f} s") from err
            except grpc.aio.AbortError:
                raise
            except Exception as err:
                refusal = translate(err, method)
                self._note_refusal(method, context, request, refusal)
                await answer(context, refusal)

        return guarded

    def _note_reading(self, method: str, context: Context, request: Received) -> None:
        if method not in PERSONAL:
            return
        caller = caller_of(context)
        access = access_to(caller, method, request.message, code="OK", now=self._clock.now())
        if reads_anothers(caller, method, access):
            self._journal.note(access)

    def _note_refusal(self, method: str, context: Context, request: Received | None, refusal: Refusal) -> None:
        if refusal.code.name not in ENTERED:
            return
        try:
            caller = caller_of(context)
        except Refusal:
            return  # nobody that we know: there is no journal of its microgrid
        message = None if request is None else request.message
        self._journal.note(refused_access(caller, method, message, code=refusal.code.name, now=self._clock.now()))

    def _guard_stream(
        self, method: str, behaviour: Callable[[Any, Context], AsyncIterator[Any] | Awaitable[None]]
    ) -> Callable[..., AsyncIterator[Any]]:
        async def guarded(request: Any, context: Context) -> AsyncIterator[Any]:
            single = isinstance(request, Received)
            try:
                peer = self._gate.admit(method, context.auth_context(), request.size if single else 0)
                with self._held(peer) as (stream, bucket):
                    try:
                        incoming = _readable(request) if single else self._incoming(request, peer, bucket)
                        responses = behaviour(incoming, context)
                        if isinstance(responses, Awaitable):
                            await responses  # gRPC's health service writes to the context itself
                            return
                        async for response in responses:
                            stream.inside = False
                            yield response
                            stream.inside = True
                    except asyncio.CancelledError:
                        if stream.refusal is None or not stream.inside:
                            raise
                        stream.task.uncancel()
                        raise stream.refusal from None
            except grpc.aio.AbortError:
                raise
            except Exception as err:
                refusal = translate(err, method)
                self._note_refusal(method, context, request if single else None, refusal)
                await answer(context, refusal)

        return guarded

    @contextmanager
    def _held(self, peer: Peer) -> Any:
        """The stream while it is open, and what its messages are counted with."""
        bucket = self._gate.open_stream(peer)
        task = asyncio.current_task()
        assert task is not None, "gRPC runs handlers in tasks"
        stream = _Stream(peer=peer, task=task)
        self._streams.add(stream)
        try:
            yield stream, bucket
        finally:
            self._streams.discard(stream)
            self._gate.close_stream(peer)

    async def _incoming(self, requests: AsyncIterator[Received], peer: Peer, bucket: Bucket) -> AsyncIterator[Any]:
        async for request in requests:
            self._gate.count(peer, bucket, request.size)
            yield _readable(request)


def _reader(method: str, parse: Callable[[bytes], Any] | None) -> Callable[[bytes], Received]:
    """Reads a request so that what cannot be read reaches the servicer's edge, and is refused there with details."""
    most = allowance(method).size

    def read(raw: bytes) -> Received:
        size = len(raw)
        if size > most:
            refusal = Refusal(
                code=Code.RESOURCE_EXHAUSTED,
                reason="MESSAGE_TOO_LARGE",
                message=f"message: got {size} bytes, wanted at most {most}",
                quota=f"{method}/message",
            )
            return Received(message=None, refusal=refusal, size=size)
        try:
            return Received(message=raw if parse is None else parse(raw), refusal=None, size=size)
        except DecodeError:
            wanted = "a message of this method's type"
            return Received(message=None, refusal=invalid("message", got=f"{size} bytes", wanted=wanted), size=size)

    return read


def _readable(request: Received) -> Any:
    if request.refusal is not None:
        raise request.refusal
    return request.message
