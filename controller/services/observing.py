"""Counts and traces every call from outside, refused ones too."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Any, Protocol

import grpc

from controller.services.edge import Context, Continuation
from controller.tracing import Tracer

UNKNOWN = "UNKNOWN"


class CallCounter(Protocol):
    """Is told of calls as they begin and end."""

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        """A unary call ended."""

    def stream_began(self, method: str) -> None:
        """A stream was opened."""

    def stream_ended(self, method: str, code: str) -> None:
        """A stream ended."""


class Observing(grpc.aio.ServerInterceptor):
    """Tells a counter and a tracer of every call; stands before all other interceptors.

    Parameters
    ----------
    counter, tracer : who is told
    """

    def __init__(self, counter: CallCounter, tracer: Tracer) -> None:
        self._counter = counter
        self._tracer = tracer

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The method's handler with a watch around it."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            # Methods that do not exist share one name, or strangers could make as many figures as they like.
            self._counter.call_ended("unknown", grpc.StatusCode.UNIMPLEMENTED.name, 0.0)
            return handler
        method = handler_call_details.method
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream), handler.request_deserializer, handler.response_serializer
            )
        return grpc.stream_stream_rpc_method_handler(
            self._stream(method, handler.stream_stream), handler.request_deserializer, handler.response_serializer
        )

    def _unary(self, method: str, behaviour: Callable[[Any, Context], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def watched(request: Any, context: Context) -> Any:
            began = perf_counter()
            with self._tracer.call(method, context.invocation_metadata() or ()) as span:
                try:
                    return await behaviour(request, context)
                finally:
                    code = _code(context)
                    span.end(code)
                    self._counter.call_ended(method, code, perf_counter() - began)

        return watched

    def _stream(
        self, method: str, behaviour: Callable[[Any, Context], AsyncIterator[Any]]
    ) -> Callable[..., AsyncIterator[Any]]:
        # A stream lasts for hours and changes tasks: nothing that happens within is a part of its span.
        async def watched(request: Any, context: Context) -> AsyncIterator[Any]:
            self._counter.stream_began(method)
            span = self._tracer.stream(method, context.invocation_metadata() or ())
            cancelled = False
            try:
                async for response in behaviour(request, context):
                    yield response
            except (asyncio.CancelledError, GeneratorExit):
                cancelled = True
                raise
            finally:
                code = "CANCELLED" if cancelled else _code(context)
                span.end(code)
                self._counter.stream_ended(method, code)

        return watched


def _code(context: Context) -> str:
    """The name of the status that a call ended with."""
    code = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return next((known.name for known in grpc.StatusCode if known.value[0] == (code or 0)), UNKNOWN)
