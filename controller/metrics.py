"""Figures for Prometheus, on a port of this machine alone.

What happens is counted as it happens; what is (windows by state, anchors that wait) is asked of the database when
somebody looks.
"""

from collections.abc import Callable, Iterable
from threading import Thread
from typing import Protocol
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.errors import ControllerError, StoreError
from controller.stepping import DONE
from controller.store.figures import Figures

CALL_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 300.0)
DISK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
SEARCH_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class Stopper(Protocol):
    """A server that can be stopped."""

    def __call__(self) -> None:
        """Stop it."""


class Metrics:
    """All figures of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._calls = Counter(
            "gridpact_calls", "Calls that ended, streams too.", ("method", "code"), registry=self.registry
        )
        self._call_s = Histogram(
            "gridpact_call_seconds",
            "From a unary call's arrival to its answer.",
            ("method",),
            buckets=CALL_S,
            registry=self.registry,
        )
        self._streams = Gauge("gridpact_streams", "Streams that are open.", ("method",), registry=self.registry)
        self._rounds = Histogram(
            "gridpact_round_seconds",
            "One round of a timer: windows, telemetry, anchoring.",
            ("timer",),
            buckets=SEARCH_S,
            registry=self.registry,
        )
        self._failures = Counter(
            "gridpact_round_failures", "Rounds that ended in an exception.", ("timer",), registry=self.registry
        )
        self._search_s = Histogram(
            "gridpact_search_seconds",
            "One search for a clearing or plan, by how it ended.",
            ("outcome",),
            buckets=SEARCH_S,
            registry=self.registry,
        )
        self._search_gap = Gauge(
            "gridpact_search_gap", "Relative gap of the newest clearing or plan.", registry=self.registry
        )
        self._commit_s = Histogram(
            "gridpact_database_commit_seconds",
            "One transaction of the database, from its begin to its being on disk.",
            buckets=DISK_S,
            registry=self.registry,
        )
        self._journal_s = Histogram(
            "gridpact_limits_journal_seconds",
            "Writing a limit to its journal until it is on disk.",
            buckets=DISK_S,
            registry=self.registry,
        )
        self._clamped = Counter(
            "gridpact_clamp_activations",
            "Times that a limit set a new cap on what a device may do.",
            ("microgrid",),
            registry=self.registry,
        )

        self._steps = Histogram(
            "gridpact_window_step_seconds",
            "One step of a dispatch window that was taken: close, clear, deliver, meter, settle.",
            ("step",),
            buckets=CALL_S,
            registry=self.registry,
        )
        self._step_failures = Counter(
            "gridpact_window_step_failures",
            "Steps that broke, by exception, and clearings whose fallback acts: late, timeout, undecided.",
            ("step", "reason"),
            registry=self.registry,
        )

    def call_ended(self, method: str, code: str, seconds: float) -> None:
        """Count a unary call."""
        self._calls.labels(method, code).inc()
        self._call_s.labels(method).observe(seconds)

    def stream_began(self, method: str) -> None:
        """Count an open stream."""
        self._streams.labels(method).inc()

    def stream_ended(self, method: str, code: str) -> None:
        """Count a stream that is open no longer."""
        self._streams.labels(method).dec()
        self._calls.labels(method, code).inc()

    def round_ended(self, timer: str, seconds: float, *, failed: bool) -> None:
        """Count a round of a timer."""
        self._rounds.labels(timer).observe(seconds)
        if failed:
            self._failures.labels(timer).inc()

    def step_ended(self, step: str, seconds: float, outcome: str) -> None:
        """Count a step of a window."""
        self._steps.labels(step).observe(seconds)
        if outcome != DONE:
            self._step_failures.labels(step, outcome).inc()

    def search_ended(self, outcome: str, seconds: float, gap: float | None) -> None:
        """Count a search; ``gap`` where it found something."""
        self._search_s.labels(outcome).observe(seconds)
        if gap is not None:
            self._search_gap.set(gap)

    def committed(self, seconds: float) -> None:
        """Count a transaction of the database."""
        self._commit_s.observe(seconds)

    def journaled(self, seconds: float) -> None:
        """Count a limit that is on disk."""
        self._journal_s.observe(seconds)

    def clamped(self, microgrid: str, devices: int) -> None:
        """Count devices on which a limit set a new cap."""
        self._clamped.labels(microgrid).inc(devices)

    def watch(self, figures: Callable[[], Figures]) -> None:
        """Ask for these whenever somebody looks."""
        self.registry.register(_Asked(figures))

    def serve(self, host: str, port: int) -> tuple[int, Stopper]:
        """Answer on a port; returns it, and what ends that.

        Raises
        ------
        ControllerError
            If the address cannot be listened on.
        """
        try:
            server, thread = start_http_server(port, addr=host, registry=self.registry)
        except OSError as err:
            raise ControllerError(f"metrics.listen {host}:{port}: cannot be listened on: {err.strerror}") from err
        return server.server_port, lambda: _end(server, thread)


def _end(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()


class _Asked(Collector):
    """What the database knows."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: registering asks nobody."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The figures of this moment; that the database does not answer is one of them."""
        up = GaugeMetricFamily("gridpact_database_up", "Whether the database answers.")
        try:
            found = self._figures()
        except StoreError:
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        windows = GaugeMetricFamily("gridpact_windows", "Dispatch windows by state.", labels=("microgrid", "state"))
        anchors = GaugeMetricFamily("gridpact_anchors_waiting", "Anchors not on the chain yet.", labels=("microgrid",))
        losses = GaugeMetricFamily(
            "gridpact_feeder_loss_wh",
            "What feeders took beyond their members' meters in the newest window that was added up.",
            labels=("microgrid", "place"),
        )
        events = GaugeMetricFamily(
            "gridpact_meter_events_open", "Meter events that wait for the operator's decision.", labels=("microgrid",)
        )
        for microgrid in found.microgrids:
            for state, count in sorted(microgrid.windows.items()):
                windows.add_metric((microgrid.id, state), count)
            anchors.add_metric((microgrid.id,), microgrid.anchors_waiting)
            events.add_metric((microgrid.id,), microgrid.events_open)
            for place, loss_wh in sorted(microgrid.losses_wh.items()):
                losses.add_metric((microgrid.id, place), loss_wh)
        yield windows
        yield anchors
        yield losses
        yield events
