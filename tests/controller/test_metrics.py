"""Figures for Prometheus: what happened, what is, and that neither a stranger nor a stopped database ends them."""

import asyncio
import urllib.request
from pathlib import Path

import grpc
import pytest
from prometheus_client import generate_latest

from controller.errors import ControllerError, StoreError
from controller.metrics import Metrics
from controller.services.observing import Observing
from controller.store.figures import Figures, MicrogridFigures
from controller.tracing import NoTracer


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


class Context:
    def __init__(self, code=None):
        self._code = code

    def code(self):
        return self._code

    def invocation_metadata(self):
        return ()


def observed(metrics, handler, method="/gridpact.v1.X/Y"):
    async def found(_):
        return handler

    class Details:
        pass

    details = Details()
    details.method = method
    return asyncio.run(Observing(metrics, NoTracer()).intercept_service(found, details))


@pytest.mark.parametrize(
    ("code", "name"), [(None, "OK"), (0, "OK"), (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"), (7, "PERMISSION_DENIED")]
)
def test_unary_calls_are_counted_by_how_they_end(code, name):
    metrics = Metrics()

    async def behaviour(request, context):
        return request

    handler = observed(metrics, grpc.unary_unary_rpc_method_handler(behaviour))
    assert asyncio.run(handler.unary_unary("asked", Context(code))) == "asked"
    assert value(metrics, "gridpact_calls_total", method="/gridpact.v1.X/Y", code=name) == 1
    assert value(metrics, "gridpact_call_seconds_count", method="/gridpact.v1.X/Y") == 1


def test_streams_are_counted_while_they_are_open_and_when_they_end():
    metrics = Metrics()

    async def behaviour(request, context):
        yield 1
        yield 2

    handler = observed(metrics, grpc.unary_stream_rpc_method_handler(behaviour))

    async def listen():
        stream = handler.unary_stream("asked", Context())
        assert await anext(stream) == 1
        assert value(metrics, "gridpact_streams", method="/gridpact.v1.X/Y") == 1
        assert [item async for item in stream] == [2]
        broken = handler.unary_stream("asked", Context())
        await anext(broken)
        await broken.aclose()

    asyncio.run(listen())
    assert value(metrics, "gridpact_streams", method="/gridpact.v1.X/Y") == 0
    assert value(metrics, "gridpact_calls_total", method="/gridpact.v1.X/Y", code="OK") == 1
    assert value(metrics, "gridpact_calls_total", method="/gridpact.v1.X/Y", code="CANCELLED") == 1


def test_methods_that_do_not_exist_share_one_name():
    metrics = Metrics()
    for method in ("/a/b", "/c/d"):
        assert observed(metrics, None, method) is None
    assert value(metrics, "gridpact_calls_total", method="unknown", code="UNIMPLEMENTED") == 2


def test_rounds_searches_and_the_disk_are_counted():
    metrics = Metrics()
    metrics.round_ended("windows", 0.2, failed=False)
    metrics.round_ended("windows", 0.2, failed=True)
    metrics.search_ended("done", 3.0, 0.001)
    metrics.search_ended("failed", 3.0, None)
    metrics.step_ended("clear", 2.0, "done")
    metrics.step_ended("clear", 2.0, "late")
    metrics.committed(0.003)
    metrics.journaled(0.003)
    metrics.clamped("village", 2)
    assert value(metrics, "gridpact_round_seconds_count", timer="windows") == 2
    assert value(metrics, "gridpact_round_failures_total", timer="windows") == 1
    assert value(metrics, "gridpact_search_seconds_count", outcome="failed") == 1
    assert value(metrics, "gridpact_search_gap") == 0.001
    assert value(metrics, "gridpact_window_step_seconds_count", step="clear") == 2
    assert value(metrics, "gridpact_window_step_failures_total", step="clear", reason="late") == 1
    assert value(metrics, "gridpact_window_step_failures_total", step="clear", reason="done") is None
    assert value(metrics, "gridpact_database_commit_seconds_count") == 1
    assert value(metrics, "gridpact_limits_journal_seconds_count") == 1
    assert value(metrics, "gridpact_clamp_activations_total", microgrid="village") == 2


VILLAGE = MicrogridFigures(
    id="village",
    windows={"OPEN": 3, "SETTLED": 1},
    devices=2,
    decided=None,
    next_start=None,
    anchors_waiting=1,
    losses_wh={"/": 12},
    events_open=2,
)


def test_what_is_is_asked_when_somebody_looks():
    metrics = Metrics()
    metrics.watch(lambda: Figures(microgrids=(VILLAGE,)))
    assert value(metrics, "gridpact_windows", microgrid="village", state="OPEN") == 3
    assert value(metrics, "gridpact_anchors_waiting", microgrid="village") == 1
    assert value(metrics, "gridpact_feeder_loss_wh", microgrid="village", place="/") == 12
    assert value(metrics, "gridpact_meter_events_open", microgrid="village") == 2
    assert value(metrics, "gridpact_database_up") == 1


def test_a_stopped_database_is_a_figure_and_no_fault():
    metrics = Metrics()

    def stopped():
        raise StoreError("gone")

    metrics.watch(stopped)
    assert value(metrics, "gridpact_database_up") == 0
    assert b"gridpact_windows" not in generate_latest(metrics.registry)


def test_it_answers_on_a_port_of_its_own_until_it_is_closed():
    metrics = Metrics()
    port, close = metrics.serve("127.0.0.1", 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            assert b"process_resident_memory_bytes" in page.read()
        with pytest.raises(ControllerError, match=f"metrics.listen 127.0.0.1:{port}: cannot be listened on"):
            Metrics().serve("127.0.0.1", port)
    finally:
        close()
    again, close = metrics.serve("127.0.0.1", port)
    close()
    assert again == port


def test_every_figure_is_in_the_operators_page():
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
    metrics = Metrics()
    metrics.watch(lambda: Figures(microgrids=(VILLAGE,)))
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in metrics.registry.collect()
    }
    assert {name for name in names if name.startswith("gridpact_") and f"`{name}`" not in page} == set()
    assert len(names) > 10
