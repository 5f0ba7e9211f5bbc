"""The edge of every call: who calls, may they, and how a refusal is answered."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from controller.access import Identity, identity, may_call
from controller.refusals import Code, Refusal, denied

log = logging.getLogger(__name__)

DOMAIN = "gridpact"
STATUS_KEY = "grpc-status-details-bin"
TLS_VERSION = b"TLSv1.3"

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]]


def caller_of(context: Context) -> Identity:
    """The identity in the caller's certificate.

    Raises
    ------
    Refusal
        UNAUTHENTICATED where there is none of ours, or the connection is older than TLS 1.3.
    """
    auth = context.auth_context()
    if TLS_VERSION not in auth.get("ssl_tls_version", ()):
        raise _unauthenticated("got an older TLS, wanted TLS 1.3")
    uris = [name.decode(errors="replace") for name in auth.get("peer_spiffe_id", ())]
    found = identity(uris[0]) if len(uris) == 1 else None
    if found is None:
        raise _unauthenticated(f"got certificate URIs {uris}, wanted one spiffe://GRID/ROLE/ID")
    return found


def _unauthenticated(message: str) -> Refusal:
    return Refusal(code=Code.UNAUTHENTICATED, reason="UNAUTHENTICATED", message=message)


class Edge(grpc.aio.ServerInterceptor):
    """Refuses callers whose role may not call a method, and answers refusals with google.rpc details."""

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The method's handler with both around it."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = handler_call_details.method
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                _guard_unary(method, handler.unary_unary),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                _guard_stream(method, handler.unary_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.stream_stream_rpc_method_handler(
            _guard_stream(method, handler.stream_stream),
            handler.request_deserializer,
            handler.response_serializer,
        )


def _guard_unary(method: str, behaviour: Callable[[Any, Context], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def guarded(request: Any, context: Context) -> Any:
        try:
            _admit(method, context)
            return await behaviour(request, context)
        except Refusal as refusal:
            await _answer(context, refusal)
        except grpc.aio.AbortError:
            raise
        except Exception:
            await _answer_fault(context, method)

    return guarded


def _guard_stream(
    method: str, behaviour: Callable[[Any, Context], AsyncIterator[Any] | Awaitable[None]]
) -> Callable[..., AsyncIterator[Any]]:
    async def guarded(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            _admit(method, context)
            responses = behaviour(request, context)
            if isinstance(responses, Awaitable):
                await responses  # gRPC's health service writes to the context itself
                return
            async for response in responses:
                yield response
        except Refusal as refusal:
            await _answer(context, refusal)
        except grpc.aio.AbortError:
            raise
        except Exception:
            await _answer_fault(context, method)

    return guarded


def _admit(method: str, context: Context) -> None:
    caller = caller_of(context)
    if not may_call(caller, method):
        raise denied(f"{method}: a {caller.role.value} may not call this")


async def _answer(context: Context, refusal: Refusal) -> None:
    status = to_status(refusal)
    code = next(c for c in grpc.StatusCode if c.value[0] == refusal.code.value)
    await context.abort(code, refusal.message, ((STATUS_KEY, status.SerializeToString()),))


async def _answer_fault(context: Context, method: str) -> None:
    """A fault of ours: the log has it, the caller learns that it happened and nothing else."""
    log.exception("%s failed", method)
    await _answer(
        context,
        Refusal(code=Code.INTERNAL, reason="INTERNAL", message="internal error; see the service's log"),
    )


def to_status(refusal: Refusal) -> status_pb2.Status:
    """A refusal as google.rpc.Status with ErrorInfo, and BadRequest where fields are wrong."""
    details: list[Any] = [
        error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata=dict(refusal.metadata))
    ]
    if refusal.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
                    for v in refusal.violations
                ]
            )
        )
    packed = []
    for detail in details:
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        packed.append(wrapped)
    return status_pb2.Status(code=refusal.code.value, message=refusal.message, details=packed)
