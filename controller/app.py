"""The composition root: the only place that wires the parts of the service together."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from contracts.anchoring import AnchorProgress
from contracts.errors import AnchorError
from controller import demand_limits
from controller.access_journal import AccessJournal
from controller.admission import Gate
from controller.batching import BatchPolicy
from controller.clamp import Margin, Policy
from controller.clock import BoottimeClock, Clock, SystemClock
from controller.denials import Denials
from controller.errors import ControllerError, StoreError
from controller.following import Follower
from controller.hub import DriverHub
from controller.limits.enforcer import Enforcer
from controller.limits.forecasts import Forecasts
from controller.limits.holding import Tally
from controller.limits.journal import FileJournal, Journal, MemoryJournal, TimedJournal
from controller.limits.limits import Limits
from controller.limits.supervision import Timing
from controller.listening import why_not
from controller.live_figures import LiveFigures
from controller.microgrid import DeviceSetpoint, Window
from controller.override_keeper import OverrideKeeper
from controller.pki import Credentials
from controller.quotas import Quotas
from controller.refusals import unavailable
from controller.registry_identity import RegistryKnown, no_registry
from controller.sealing import SaltSource
from controller.services.allowances import RECEIVED_BYTES
from controller.services.core import Core
from controller.services.edge import RECHECK_S, Edge
from controller.services.register import SERVICES, add_reflection, add_servicers, by_name
from controller.solving import Solver
from controller.status import StatusBoard
from controller.stepping import Told
from controller.store import accesses, batches, calls, clearings, denied, held_back
from controller.store import registry as microgrids
from controller.store.database import Database
from controller.window import WindowEngine

log = logging.getLogger(__name__)

CONTROL_S = 1.0
"""Seconds between two looks at what limits leave to devices; changes of limits are looked at at once."""

MILLI = 1000
FAREWELL_S = 1.0
"""For drivers to be told when to come back, and watchers of health that it stops, before streams are ended."""
FAREWELL_STEP_S = 0.05
COME_BACK_S = 5.0
"""When those whose streams a stop ended are asked to try again."""
PINGS_WITHOUT_CALLS = 1
"""Whether peers may ping while no call of theirs runs: drivers behind quiet links do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What gRPC does with connections and messages.

    Attributes
    ----------
    max_message_bytes : largest message that the transport takes; what each method takes is less
    max_age_s : after which a connection is asked to come back anew, give or take a tenth; None for never
    age_grace_s : that calls on such a connection have to end
    keepalive_s, keepalive_timeout_s : silence after which a peer is asked, and how long its answer is waited for
    min_ping_s, ping_strikes : how often a peer may ping, and how often it may be too early
    """

    max_message_bytes: int = RECEIVED_BYTES
    max_age_s: float | None = None
    age_grace_s: float = 30.0
    keepalive_s: float = 60.0
    keepalive_timeout_s: float = 20.0
    min_ping_s: float = 10.0
    ping_strikes: int = 2

    def options(self) -> list[tuple[str, int]]:
        """The same as gRPC's channel arguments."""
        options = [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.so_reuseport", 0),
            # Else gRPC asks after the delay of a connection whenever something comes in: with many drivers that each
            # say little these pings would be half of the traffic. Windows stay as they begin, at 64 KiB, and grow for
            # a message that needs more.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.keepalive_time_ms", round(self.keepalive_s * MILLI)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive_timeout_s * MILLI)),
            ("grpc.keepalive_permit_without_calls", PINGS_WITHOUT_CALLS),
            ("grpc.http2.min_ping_interval_without_data_ms", round(self.min_ping_s * MILLI)),
            ("grpc.http2.max_ping_strikes", self.ping_strikes),
        ]
        if self.max_age_s is not None:
            # gRPC itself adds up to a tenth either way, so that not all come back at once.
            options += [
                ("grpc.max_connection_age_ms", round(self.max_age_s * MILLI)),
                ("grpc.max_connection_age_grace_ms", round(self.age_grace_s * MILLI)),
            ]
        return options


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a service is set up.

    Attributes
    ----------
    listen : HOST:PORT; port 0 lets the system choose
    certificate : the server's credentials
    authority : PEM of the authority whose clients are let in
    lease_s : how long a setpoint may act without being renewed
    renew_share : share of a lease after which it is renewed
    silence_s : a driver's stream on which nothing is heard for so long ends; None for 2.5 heartbeat intervals
    connections : what gRPC does with connections and messages
    development : answer gRPC reflection
    stop_s : that running calls have to end when the service stops
    denials : a file of identities and certificates that are shut out; None: no file
    limits_journal : file that limits are kept in first; None leaves them to the database
    supervision : how often a DSO has to be heard
    clamp : keep limits on running setpoints, from what is measured; off only where time does not run by itself
    policy, margin : who gives first then, and what is kept free of every limit
    """

    listen: str
    certificate: Credentials
    authority: bytes
    lease_s: int = 60
    renew_share: float = 0.5
    silence_s: float | None = None
    connections: ConnectionLimits = ConnectionLimits()
    development: bool = False
    stop_s: float = 2.0
    denials: Path | None = None
    limits_journal: Path | None = None
    supervision: Timing = field(default_factory=Timing)
    clamp: bool = True
    policy: Policy = Policy.PROPORTIONAL
    margin: Margin = field(default_factory=Margin)


class Anchors(Protocol):
    """Moves the outbox of anchors on."""

    def run_once(self) -> AnchorProgress:
        """How many are done and how many wait.

        Raises
        ------
        AnchorError
            If the chain does not answer, or holds something else.
        """


Renewal = Callable[[], tuple[Credentials, bytes] | None]
"""The server's credentials and the authority where they changed since the last time it was asked; else None."""


class Service:
    """A running controller.

    Attributes
    ----------
    status : what it knows about itself

    Parameters
    ----------
    settings : as its class says
    database, clock, solver, salts : the parts
    anchorer : moves the anchors on; None leaves them pending
    registry : which registry validators sign for
    batching : when settled windows become batches
    wall : the real time, by which certificates run out; ``clock`` may be a virtual day's
    quotas : what each identity may use
    renewal : asked at each new connection for changed credentials; None keeps the settings'
    observers : see every call before anything else does
    on_journaled : told how many seconds a limit took until it was on disk
    on_clamped : told of a microgrid, and for how many of its devices a limit set another cap
    on_step : told of each step that a window took
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        clock: Clock,
        solver: Solver,
        salts: SaltSource,
        anchorer: Anchors | None,
        registry: RegistryKnown = no_registry,
        batching: BatchPolicy | None = None,
        wall: Clock | None = None,
        quotas: Quotas | None = None,
        renewal: Renewal | None = None,
        observers: Sequence[grpc.aio.ServerInterceptor] = (),
        on_journaled: Callable[[float], None] | None = None,
        on_clamped: Callable[[str, int], None] | None = None,
        on_step: Told | None = None,
    ) -> None:
        self._settings = settings
        self._anchorer = anchorer
        self._batching = BatchPolicy() if batching is None else batching
        self._renewal = renewal
        self._observers = observers
        # A clock that is set by hand is steady as long as nobody sets it.
        monotonic = BoottimeClock() if isinstance(clock, SystemClock) else clock
        epoch = database.run(calls.next_epoch)
        journal: Journal = MemoryJournal() if settings.limits_journal is None else FileJournal(settings.limits_journal)
        self._limits = Limits(
            journal if on_journaled is None else TimedJournal(journal, on_journaled),
            database,
            clock=clock,
            monotonic=monotonic,
            timing=settings.supervision,
        )
        self._hub = DriverHub(
            database=database,
            epoch=epoch,
            lease_s=settings.lease_s,
            renew_share=settings.renew_share,
            silence_s=settings.silence_s,
            inherited_s=settings.lease_s if epoch > 1 else 0.0,
            clock=clock,
            monotonic=monotonic,
        )
        self._hub.restore()
        forecasts = Forecasts()
        database.run(forecasts.restore)
        self._tally = Tally()
        self._enforcer: Enforcer | None = None
        if settings.clamp:
            self._enforcer = Enforcer(
                limits=self._limits,
                forecasts=forecasts,
                drivers=self._hub,
                clock=clock,
                monotonic=monotonic,
                policy=settings.policy,
                margin=settings.margin,
                tally=self._tally,
                on_change=on_clamped,
            )
            self._limits.keeper = self._enforcer
            self._hub.caps = self._enforcer.caps
            self._hub.limits_of = self._enforcer.limits_of
            self._hub.limited = self._enforcer.limited
        self._clock = clock
        self._overrides = OverrideKeeper(self._hub)
        self._overrides.restore(database, clock.now())
        self._engine = WindowEngine(
            database=database,
            clock=clock,
            solver=solver,
            salts=salts,
            limits=self._limits.book.limits_for_window,
            on_frozen=forecasts.note,
            on_setpoints=self._offer,
            on_adjusted=self._replace,
            on_step=on_step,
        )
        quotas = Quotas() if quotas is None else quotas
        denials = Denials(settings.denials)
        denials.restore(database.run(denied.all_denied))
        self._database = database
        self._journal = AccessJournal()
        self._edge = Edge(
            Gate(
                wall=SystemClock() if wall is None else wall,
                monotonic=time.monotonic,
                denials=denials,
                quotas=quotas,
            ),
            journal=self._journal,
            clock=clock,
        )
        self._rechecking: asyncio.Task[None] | None = None
        self.status = StatusBoard(
            epoch=epoch,
            started=clock.now(),
            monotonic=time.monotonic,
            parts=LiveFigures(self._hub, self._limits.book, monotonic),
        )
        self._core = Core(
            database=database,
            clock=clock,
            solver=solver,
            hub=self._hub,
            daily=quotas.daily,
            following=Follower(hub=self._hub, keeper=self._overrides, denials=denials, clock=clock),
            limits=self._limits,
            denials=denials,
            status=self.status,
            journal=self._journal,
            registry=registry,
        )
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self._ticking: asyncio.Task[None] | None = None
        self._controlling: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Begin to answer; returns the port.

        Raises
        ------
        ControllerError
            If the address cannot be listened on.
        """
        server = grpc.aio.server(
            interceptors=[*self._observers, self._edge], options=self._settings.connections.options()
        )
        add_servicers(server, self._core)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, by_name(server))
        if self._settings.development:
            add_reflection(server)
        await self._say_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            port = server.add_secure_port(self._settings.listen, self._credentials())
        except RuntimeError as err:
            raise ControllerError(
                f"cannot listen on {self._settings.listen}: {why_not(self._settings.listen)}"
            ) from err
        if port == 0:
            raise ControllerError(f"cannot listen on {self._settings.listen}: {why_not(self._settings.listen)}")
        self.control()  # whoever comes first finds limits in force
        await server.start()
        self._server = server
        self._rechecking = asyncio.create_task(self._recheck())
        await self._say_health(health_pb2.HealthCheckResponse.SERVING)
        self._ticking = asyncio.create_task(self._hub.run())
        self._controlling = asyncio.create_task(self._keep_limits())
        return port

    async def _keep_limits(self) -> None:
        """Look at limits again and again: with the solver, the database and the chain stopped too."""
        while True:
            await asyncio.sleep(CONTROL_S)
            try:
                self.control()
            except Exception:
                log.exception("keeping limits")

    def _replace(self, microgrid: str, part: Window, setpoints: tuple[DeviceSetpoint, ...]) -> None:
        """Let drivers have an adjustment's setpoints in the place of all that was planned for a part of a window."""
        self._hub.withdraw(microgrid, part.start, part.end)
        self._offer(microgrid, part, setpoints)

    def _offer(self, microgrid: str, window: Window, setpoints: tuple[DeviceSetpoint, ...]) -> None:
        """Let drivers have a window's setpoints, under what limits leave to them as of now."""
        self._hub.offer(microgrid, window, setpoints)
        if self._enforcer is not None:
            # Before the streams, which were woken, have their turn.
            self._enforcer.enforce(microgrid)

    def control(self) -> None:
        """Notice who is silent, and what limits now leave to devices; those whose share changed are told at once."""
        self._limits.book.tick()
        self._overrides.tick(self._clock.now())
        if self._enforcer is not None:
            self._enforcer.enforce_all()

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            self.recheck()

    def recheck(self) -> int:
        """End the streams of those whose certificate has run out or who are denied; returns how many."""
        return self._edge.recheck()

    def _credentials(self) -> grpc.ServerCredentials:
        initial = _configuration(self._settings.certificate, self._settings.authority)
        renewal = self._renewal
        if renewal is None:
            own = self._settings.certificate
            return grpc.ssl_server_credentials(
                [(own.key, own.certificate)],
                root_certificates=self._settings.authority,
                require_client_auth=True,
            )

        def changed() -> grpc.ServerCertificateConfiguration | None:
            found = renewal()
            return None if found is None else _configuration(*found)

        # None says that nothing changed; the published types do not know.
        fetcher = cast("Callable[[], grpc.ServerCertificateConfiguration]", changed)
        return grpc.dynamic_ssl_server_credentials(initial, fetcher, require_client_authentication=True)

    async def _say_health(self, status: "health_pb2.HealthCheckResponse.ServingStatus.ValueType") -> None:
        for name in ("", *SERVICES):
            await self._health.set(name, status)

    async def _flush(self) -> None:
        await self._hub.flush()
        await self._flush_held()
        noted = self._journal.take()
        if not noted:
            return
        try:
            await self._database.run_async(accesses.append, noted)
        except StoreError:
            self._journal.give_back(noted)
            raise

    async def _flush_held(self) -> None:
        held = self._tally.take()
        if not held:
            return
        try:
            await self._database.run_async(held_back.add, held)
        except StoreError:
            self._tally.give_back(held)
            raise

    async def flush(self) -> None:
        """Put what drivers said, and who read or was denied what, on disk; let owners' wishes go on with the time."""
        await self._flush()

    async def advance(self) -> int:
        """Let time pass for limits, put what drivers said on disk, and take every step of windows that is due."""
        self.control()
        await self._limits.catch_up()
        await self._follow_demand()
        self._hub.tick()
        await self._flush()
        return await self._engine.advance()

    async def _follow_demand(self) -> None:
        """Let the limits hold what is accepted of demand response; what cannot be now is for the next time."""
        try:
            await demand_limits.follow(self._core.database, self._limits.book, self._core.clock.now())
        except StoreError as err:
            log.warning("demand response: %s", err)

    async def forget_calls(self, *, older_s: float) -> None:
        """Remove the answers to calls that are older: repeating one of those acts anew."""
        before = int(self._clock.now() - older_s)
        if forgotten := await self._core.database.run_async(calls.forget, before):
            log.info("forgot the answers to %d calls", forgotten)

    async def forget_clearings(self, *, older_s: float) -> None:
        """Let go of what solvers answered about windows that ended longer ago and are in a registry."""
        before = int(self._clock.now() - older_s)
        if forgotten := await self._core.database.run_async(clearings.forget, before):
            log.info("let go of what solvers answered about %d windows and adjustments", forgotten)

    async def start_due(self) -> None:
        """Put limits and what drivers said on disk, and begin every step of windows that is due: none waits."""
        await self._limits.catch_up()
        await self._follow_demand()
        try:
            await self._flush()
        except StoreError as err:
            # Windows do not wait for what was said: it is tried again the next time.
            log.warning("telemetry and accesses: %s", err)
        await self._engine.start_due()

    async def finish(self, seconds: float) -> None:
        """Wait for steps of windows that were begun; what takes longer is cut off, and taken at the next start."""
        await self._engine.finish(seconds)

    async def form_batches(self) -> int:
        """Let the headers that are due become batches; returns how many there are more."""
        ids = await self._database.run_async(microgrids.microgrid_ids)
        now = int(self._clock.now())
        formed = [await self._database.run_async(batches.form, id_, self._batching, now=now) for id_ in ids]
        return sum(map(len, formed))

    async def anchor(self) -> AnchorProgress | None:
        """Move the anchors on; a chain that does not answer leaves them for the next time."""
        await self.form_batches()
        if self._anchorer is None:
            return None
        try:
            progress = await asyncio.to_thread(self._anchorer.run_once)
        except AnchorError as err:
            log.warning("anchoring: %s", err)
            self.status.round_ended("chain", err)
            return None
        self.status.round_ended("chain", None)
        return progress

    async def retire(self) -> None:
        """Tell whoever watches the service's health that it is about to stop."""
        await self._health.enter_graceful_shutdown()

    async def stop(self) -> None:
        """Take no new calls, send drivers away until an instant of their own, let running calls end, then stop."""
        await self.retire()
        for task in (self._rechecking, self._ticking, self._controlling):
            if task is not None:
                task.cancel()
        self._rechecking = self._ticking = self._controlling = None
        self._hub.dismiss()
        if self._server is not None:
            stopped = asyncio.create_task(self._server.stop(self._settings.stop_s))
            await self._farewell()
            ended = self._edge.dismiss(unavailable("STOPPING", "the service stops; come back", retry_s=COME_BACK_S))
            if ended:
                log.info("%d streams were told to come back", ended)
            await stopped
            self._server = None
        try:
            await self._flush()
        except StoreError as err:
            log.error("telemetry and denials of the last moments are lost: %s", err)  # noqa: TRY400  # no fault of ours
        await self._limits.close()

    async def _farewell(self) -> None:
        """Wait until nobody is left on a stream, but not for long."""
        patience_s = min(FAREWELL_S, self._settings.stop_s / 2)
        while self._edge.streams and patience_s > 0:
            await asyncio.sleep(FAREWELL_STEP_S)
            patience_s -= FAREWELL_STEP_S


def _configuration(own: Credentials, authority: bytes) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(own.key, own.certificate)], root_certificates=authority)
