"""A service put together from its configuration, and its life from listening to the last step."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from contracts.fees import GWEI, FeeRules
from contracts.quorum import Quorum
from contracts.rpc_chain import RpcChain
from contracts.sending import Sending
from contracts.transactions import Address
from controller import anchoring
from controller.access import Role
from controller.anchoring import ChainAnchors
from controller.app import ConnectionLimits, Service, Settings
from controller.batching import BatchPolicy
from controller.clamp import Margin, Policy
from controller.clock import Clock, SystemClock
from controller.config import Anchoring, Connections, ServeConfig, listen_address
from controller.credentials import ReloadedCredentials
from controller.data_folder import DataFolder
from controller.limits.supervision import Timing
from controller.measured_solver import MeasuredSolver
from controller.metrics import Metrics
from controller.pauses import ALL_S, collect_all, shorten_pauses
from controller.quotas import Daily, Limits, Quotas
from controller.registry_identity import no_registry
from controller.sealing import seeded_salts
from controller.services.observing import Observing
from controller.signers import open_signer
from controller.solving import DecompositionSolver
from controller.status import gridpact_version
from controller.stepping import StepTaken, Told
from controller.store.database import Database
from controller.store.figures import figures
from controller.timer import Timer
from controller.tracing import NoTracer, Tracer, open_tracer
from controller.warming import kernels_missing, warm_up

log = logging.getLogger(__name__)

FLUSH_S = 1.0
"""Between two writings of what drivers said."""
DAY_S = 86_400
FORGETTING_S = 3600.0
"""Between two removals of answers that are too old."""
STOPPING = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What `serve` runs.

    Attributes
    ----------
    service : answers and takes steps
    metrics, tracer : hear of what happens
    """

    service: Service
    metrics: Metrics
    tracer: Tracer


def open_parts(config: ServeConfig, stack: ExitStack) -> Parts:
    """A service that has everything it needs and does not answer yet.

    Parameters
    ----------
    config : what is wanted
    stack : closes what was opened, in reverse

    Raises
    ------
    ControllerError
        If something is missing, malformed or in use; nothing is left open once the stack is closed.
    """
    credentials = ReloadedCredentials(config.pki)
    for warning in credentials.first.warnings:
        log.warning("%s", warning)
    folder = stack.enter_context(DataFolder(config.data))
    secret = folder.secret()
    tracer = _tracer(config, stack)
    metrics = Metrics()
    clock = SystemClock()
    database = Database(config.database, on_commit=metrics.committed)
    stack.callback(database.close)
    metrics.watch(lambda: database.read(figures))
    memory_mib = config.solver.memory_mib
    solver = DecompositionSolver(
        deadline_s=config.solver.deadline_s,
        gap=config.solver.gap,
        workers=config.solver.workers,
        memory_bytes=None if memory_mib is None else memory_mib * 1024 * 1024,
    )
    stack.callback(solver.close)
    anchors = _anchors(config, secret, database, clock)
    service = Service(
        Settings(
            listen=config.listen,
            certificate=credentials.first.own,
            authority=credentials.first.authority,
            lease_s=config.lease.duration_s,
            renew_share=config.lease.renew_share,
            connections=_limits(config.connections),
            development=config.development,
            stop_s=config.stop_s,
            denials=config.denylist,
            policy=Policy(config.clamp.policy.upper()),
            margin=Margin(fixed_w=config.clamp.margin_w, share_ppm=config.clamp.margin_share_ppm),
            limits_journal=config.data / "limits.journal",
            supervision=Timing(
                heartbeat_s=config.supervision.heartbeat_s,
                lost_s=config.supervision.lost_s,
                recover_s=config.supervision.recover_s,
            ),
        ),
        database=database,
        clock=clock,
        solver=MeasuredSolver(solver, metrics.search_ended, tracer),
        salts=seeded_salts(secret),
        anchorer=anchors,
        registry=no_registry if anchors is None else anchors.known,
        batching=BatchPolicy(windows=config.anchoring.batch_windows, minutes=config.anchoring.batch_minutes),
        quotas=_quotas(config),
        renewal=credentials,
        observers=[Observing(metrics, tracer)],
        on_journaled=metrics.journaled,
        on_clamped=metrics.clamped,
        on_step=_stepped(metrics, tracer),
    )
    _serve_metrics(config, metrics, stack)
    return Parts(service=service, metrics=metrics, tracer=tracer)


def _stepped(metrics: Metrics, tracer: Tracer) -> Told:
    def told(step: StepTaken) -> None:
        metrics.step_ended(step.step, step.seconds, step.outcome)
        tracer.past(f"window {step.step}", step.seconds, step.outcome, {"window": step.window})

    return told


def _tracer(config: ServeConfig, stack: ExitStack) -> Tracer:
    if config.tracing.endpoint is None:
        return NoTracer()
    tracer, close = open_tracer(config.tracing.endpoint, config.tracing.share, gridpact_version())
    stack.callback(close)
    return tracer


def _serve_metrics(config: ServeConfig, metrics: Metrics, stack: ExitStack) -> None:
    if config.metrics.listen is None:
        return
    host, port = listen_address(config.metrics.listen)
    port, close = metrics.serve(host, port)
    stack.callback(close)
    log.info("metrics on http://%s:%d/metrics", config.metrics.listen.rpartition(":")[0], port)


def _limits(connections: Connections) -> ConnectionLimits:
    return ConnectionLimits(
        max_message_bytes=connections.max_message_bytes,
        max_age_s=connections.max_age_s,
        age_grace_s=connections.age_grace_s,
        keepalive_s=connections.keepalive_s,
        keepalive_timeout_s=connections.keepalive_timeout_s,
        min_ping_s=connections.min_ping_s,
        ping_strikes=connections.ping_strikes,
    )


def _quotas(config: ServeConfig) -> Quotas:
    stated = config.quotas.model_dump()
    driver_streams = stated.pop("driver_streams")
    daily = Daily(orders=stated.pop("orders_per_day"), overrides=stated.pop("overrides_per_day"))
    return Quotas(
        {role: Limits(**stated | ({"streams": driver_streams} if role is Role.DRIVER else {})) for role in Role},
        daily=daily,
    )


def _anchors(config: ServeConfig, secret: bytes, database: Database, clock: Clock) -> ChainAnchors | None:
    settings = config.anchoring
    match settings.mode:
        case "embedded":
            return anchoring.embedded(config.data, secret, database, clock=clock, quorum=_quorum(settings))
        case "rpc" if settings.url is not None:
            return anchoring.behind(
                RpcChain(settings.url.get_secret_value(), finality_depth=settings.finality_depth),
                open_signer(settings),
                config.data,
                database,
                clock=clock,
                secret=secret,
                quorum=_quorum(settings),
                sending=_sending(settings),
            )
        case _:
            return None


def _quorum(settings: Anchoring) -> Quorum | None:
    """The validators that a registry is deployed with; None for the service alone."""
    if not settings.validators:
        return None
    threshold = len(settings.validators) // 2 + 1 if settings.threshold is None else settings.threshold
    return Quorum(epoch=0, threshold=threshold, validators=tuple(map(Address, settings.validators)))


def _sending(settings: Anchoring) -> Sending:
    cap = round(settings.max_fee_gwei * GWEI)
    return Sending(fees=FeeRules(cap=cap, tip=min(cap, GWEI)), bump_after_s=settings.bump_after_s)


async def serve(config: ServeConfig, parts: Parts) -> None:
    """Answer and take due steps until SIGTERM or SIGINT, then end in order; a second signal ends the process at once.

    Raises
    ------
    ControllerError
        If the address cannot be listened on.
    """
    stop = asyncio.Event()
    _on_signals(stop.set)
    service = parts.service
    port = await service.start()
    shorten_pauses()
    print(f"listening on {config.listen.rpartition(':')[0]}:{port}", flush=True)

    def told(timer: str, seconds: float, error: Exception | None) -> None:
        parts.metrics.round_ended(timer, seconds, failed=error is not None)
        service.status.round_ended(timer, error)

    async def forget() -> None:
        await service.forget_calls(older_s=config.keep_answers_days * DAY_S)
        await service.forget_clearings(older_s=config.anchoring.keep_clearings_days * DAY_S)

    timers = [
        Timer("windows", service.start_due, period_s=config.tick_s, on_round=told),
        Timer("telemetry", service.flush, period_s=FLUSH_S, on_round=told),
        Timer("anchoring", service.anchor, period_s=config.anchoring.period_s, on_round=told),
        Timer("forgetting", forget, period_s=FORGETTING_S, on_round=told),
        Timer("garbage", collect_all, period_s=ALL_S, on_round=told),
    ]
    tasks = [asyncio.create_task(timer.run(stop)) for timer in timers]
    warming = asyncio.create_task(warm_up()) if kernels_missing() else None
    await stop.wait()
    if warming is not None:
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
    log.info("stopping: no new calls; running ones have %g s", config.stop_s)
    _, late = (await asyncio.gather(service.stop(), asyncio.wait(tasks, timeout=config.stop_s)))[1]
    for task in late:
        log.warning("a step was cut off; it is taken at the next start")
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    await service.finish(config.stop_s)


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    asked = False

    def answer(number: int) -> None:
        nonlocal asked
        if asked:
            # Everything acknowledged is on disk: nothing is lost.
            os._exit(128 + number)
        asked = True
        stop()

    for number in STOPPING:
        loop.add_signal_handler(number, answer, number)
