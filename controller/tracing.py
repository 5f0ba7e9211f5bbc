"""Spans of calls and of steps, for OpenTelemetry where it is wanted and installed, else for nobody."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import time_ns
from typing import Protocol

from controller.errors import InputError

SERVICE = "gridpact"
NANO = 1_000_000_000
FINE = frozenset({"OK", "done"})
LEFT = "CANCELLED"
"""How a stream ends that its caller leaves: as most do, and no fault."""
Metadata = Iterable[tuple[str, str | bytes]]


class Span(Protocol):
    """Something that takes time and ends in some way."""

    def end(self, outcome: str) -> None:
        """Say how it ended."""


class Tracer(Protocol):
    """Makes spans."""

    def call(self, method: str, metadata: Metadata) -> AbstractContextManager[Span]:
        """The span of a call, within the caller's own where its metadata name one."""

    def step(self, name: str) -> AbstractContextManager[Span]:
        """The span of something that the service does by itself."""

    def stream(self, method: str, metadata: Metadata) -> Span:
        """The span of a stream, from now until it is told how that ended."""

    def past(self, name: str, seconds: float, outcome: str, attributes: Mapping[str, str]) -> None:
        """The span of something that ends now and took so long."""


class _Nothing:
    def end(self, outcome: str) -> None:
        del outcome


class NoTracer:
    """Makes spans of which nobody hears."""

    def __init__(self) -> None:
        self._nothing: AbstractContextManager[Span] = nullcontext(_Nothing())

    def call(self, method: str, metadata: Metadata) -> AbstractContextManager[Span]:
        """A span of nothing."""
        del method, metadata
        return self._nothing

    def step(self, name: str) -> AbstractContextManager[Span]:
        """A span of nothing."""
        del name
        return self._nothing

    def stream(self, method: str, metadata: Metadata) -> Span:
        """A span of nothing."""
        del method, metadata
        return _Nothing()

    def past(self, name: str, seconds: float, outcome: str, attributes: Mapping[str, str]) -> None:
        """Nobody hears of it."""
        del name, seconds, outcome, attributes


def open_tracer(endpoint: str, share: float, version: str) -> tuple[Tracer, Callable[[], None]]:
    """A tracer that sends to an OTLP collector, and what sends the rest and ends it.

    Parameters
    ----------
    endpoint : URL of the collector's traces
    share : of the calls that begin here that are traced; calls that are part of a caller's trace follow the caller
    version : of the service

    Raises
    ------
    InputError
        If the extra ``tracing`` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    except ImportError as err:
        raise InputError(
            f"tracing.endpoint: got one without the extra that it needs ({err.name}), wanted pip install "
            "'gridpact[tracing]'"
        ) from err
    provider = TracerProvider(
        resource=Resource.create({"service.name": SERVICE, "service.version": version}),
        sampler=ParentBasedTraceIdRatio(share),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return telemetry_tracer(provider), provider.shutdown


def telemetry_tracer(provider: "object") -> Tracer:
    """A tracer over an OpenTelemetry provider."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if not isinstance(provider, trace.TracerProvider):
        raise TypeError(f"provider: got {type(provider).__name__}, wanted an OpenTelemetry TracerProvider")
    tracer = provider.get_tracer(SERVICE)
    propagator = TraceContextTextMapPropagator()

    class TelemetrySpan:
        def __init__(self, span: trace.Span, attribute: str) -> None:
            self._span, self._attribute = span, attribute

        def end(self, outcome: str) -> None:
            self._span.set_attribute(self._attribute, outcome)
            if outcome not in FINE:
                self._span.set_status(trace.StatusCode.ERROR)

    class TelemetryStream(TelemetrySpan):
        def end(self, outcome: str) -> None:
            if outcome == LEFT:
                self._span.set_attribute(self._attribute, outcome)
            else:
                super().end(outcome)
            self._span.end()

    class TelemetryTracer:
        @contextmanager
        def call(self, method: str, metadata: Metadata) -> Iterator[Span]:
            carrier = {key: value for key, value in metadata if isinstance(value, str)}
            parent = propagator.extract(carrier)
            attributes = {"rpc.system": "grpc", "rpc.method": method}
            with tracer.start_as_current_span(
                method.removeprefix("/"), context=parent, kind=trace.SpanKind.SERVER, attributes=attributes
            ) as span:
                yield TelemetrySpan(span, "rpc.grpc.status")

        @contextmanager
        def step(self, name: str) -> Iterator[Span]:
            with tracer.start_as_current_span(name) as span:
                yield TelemetrySpan(span, "outcome")

        def stream(self, method: str, metadata: Metadata) -> Span:
            carrier = {key: value for key, value in metadata if isinstance(value, str)}
            span = tracer.start_span(
                method.removeprefix("/"),
                context=propagator.extract(carrier),
                kind=trace.SpanKind.SERVER,
                attributes={"rpc.system": "grpc", "rpc.method": method},
            )
            return TelemetryStream(span, "rpc.grpc.status")

        def past(self, name: str, seconds: float, outcome: str, attributes: Mapping[str, str]) -> None:
            now = time_ns()
            span = tracer.start_span(name, start_time=now - int(seconds * NANO), attributes=dict(attributes))
            TelemetrySpan(span, "outcome").end(outcome)
            span.end(now)

    return TelemetryTracer()
