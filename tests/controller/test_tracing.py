import builtins

import pytest

from controller.errors import InputError
from controller.tracing import NoTracer, open_tracer, telemetry_tracer

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exported():
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), trace.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield telemetry_tracer(provider), exporter
    provider.shutdown()


def test_a_call_is_a_span_within_its_callers(exported):
    tracer, exporter = exported
    with tracer.call("/gridpact.v1.X/Y", (("traceparent", PARENT), ("x-bin", b"\0"))) as span:
        with tracer.step("search") as inner:
            inner.end("done")
        span.end("NOT_FOUND")
    step, call = exporter.get_finished_spans()
    assert (step.name, call.name) == ("search", "gridpact.v1.X/Y")
    assert step.parent.span_id == call.context.span_id
    assert f"{call.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{call.parent.span_id:016x}" == PARENT.split("-")[2]
    assert call.attributes["rpc.grpc.status"] == "NOT_FOUND"
    assert not call.status.is_ok
    assert step.attributes["outcome"] == "done"


@pytest.mark.parametrize(("code", "fault"), [("OK", False), ("CANCELLED", False), ("UNAVAILABLE", True)])
def test_a_stream_is_a_span_that_ends_when_it_does_and_holds_nothing(exported, code, fault):
    tracer, exporter = exported
    stream = tracer.stream("/gridpact.v1.X/Watch", (("traceparent", PARENT),))
    with tracer.step("search") as inner:
        inner.end("done")
    stream.end(code)
    step, span = exporter.get_finished_spans()
    assert step.parent is None
    assert span.name == "gridpact.v1.X/Watch"
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
    assert span.attributes["rpc.grpc.status"] == code
    assert (span.status.status_code.name == "ERROR") == fault


def test_what_is_over_is_a_span_of_its_length(exported):
    tracer, exporter = exported
    tracer.past("window clear", 1.5, "late", {"window": "w"})
    (span,) = exporter.get_finished_spans()
    assert span.end_time - span.start_time == 1_500_000_000
    assert (span.name, dict(span.attributes)) == ("window clear", {"window": "w", "outcome": "late"})
    assert span.status.status_code.name == "ERROR"


def test_without_a_collector_nobody_hears():
    NoTracer().stream("/a/b", ()).end("OK")
    NoTracer().past("a", 1.0, "done", {})
    with NoTracer().call("/a/b", ()) as span, NoTracer().step("c") as inner:
        span.end("OK")
        inner.end("done")


def test_a_missing_extra_is_said_plainly(monkeypatch):
    known = builtins.__import__

    def without(name, *rest):
        if name.startswith("opentelemetry"):
            raise ImportError(f"No module named {name!r}", name=name)
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"wanted pip install 'gridpact\[tracing\]'"):
        open_tracer("http://127.0.0.1:1/v1/traces", 1.0, "0")
