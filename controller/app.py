"""The composition root: the only place that wires the parts of the service together."""

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from contracts.anchoring import Anchorer, AnchorProgress
from contracts.errors import AnchorError
from controller.admission import Gate
from controller.clock import Clock, SystemClock
from controller.denials import Denials
from controller.errors import ControllerError
from controller.hub import DriverHub
from controller.pki import Credentials
from controller.quotas import Quotas
from controller.sealing import SaltSource
from controller.services.allowances import RECEIVED_BYTES
from controller.services.core import Core
from controller.services.edge import RECHECK_S, Edge
from controller.services.register import add_servicers
from controller.solving import Solver
from controller.store import calls, denied
from controller.store.database import Database
from controller.window import WindowEngine

log = logging.getLogger(__name__)

GRACE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a service is set up.

    Attributes
    ----------
    listen : HOST:PORT; port 0 lets the system choose
    certificate : the server's credentials
    authority : PEM of the authority whose clients are let in
    lease_s : how long a setpoint may act without being renewed
    denials : a file of identities and certificates that are shut out; None: no file
    """

    listen: str
    certificate: Credentials
    authority: bytes
    lease_s: int = 120
    denials: Path | None = None


class Service:
    """A running controller.

    Parameters
    ----------
    settings : as its class says
    database, clock, solver, salts : the parts
    anchorer : makes one from the database's outbox; None leaves anchors pending
    wall : the real time, by which certificates run out; ``clock`` may be a virtual day's
    quotas : what each identity may use
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        clock: Clock,
        solver: Solver,
        salts: SaltSource,
        anchorer: Anchorer | None,
        wall: Clock | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self._settings = settings
        self._anchorer = anchorer
        self._hub = DriverHub(database=database, epoch=database.run(calls.next_epoch), lease_s=settings.lease_s)
        self._hub.restore()
        self._engine = WindowEngine(
            database=database, clock=clock, solver=solver, salts=salts, on_setpoints=self._hub.offer
        )
        denials = Denials(settings.denials)
        denials.restore(database.run(denied.all_denied))
        self._edge = Edge(
            Gate(
                wall=SystemClock() if wall is None else wall,
                monotonic=time.monotonic,
                denials=denials,
                quotas=Quotas() if quotas is None else quotas,
            )
        )
        self._rechecking: asyncio.Task[None] | None = None
        self._core = Core(database=database, clock=clock, solver=solver, hub=self._hub, denials=denials)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Begin to answer; returns the port.

        Raises
        ------
        ControllerError
            If the address cannot be listened on.
        """
        server = grpc.aio.server(
            interceptors=[self._edge],
            options=[
                ("grpc.max_receive_message_length", RECEIVED_BYTES),
                ("grpc.so_reuseport", 0),
            ],
        )
        add_servicers(server, self._core)
        checker = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checker, server)
        await checker.set("", health_pb2.HealthCheckResponse.SERVING)
        certificate = self._settings.certificate
        credentials = grpc.ssl_server_credentials(
            [(certificate.key, certificate.certificate)],
            root_certificates=self._settings.authority,
            require_client_auth=True,
        )
        try:
            port = server.add_secure_port(self._settings.listen, credentials)
        except RuntimeError as err:
            raise ControllerError(f"cannot listen on {self._settings.listen}: is the port in use?") from err
        if port == 0:
            raise ControllerError(f"cannot listen on {self._settings.listen}: is the port in use?")
        await server.start()
        self._server = server
        self._rechecking = asyncio.create_task(self._recheck())
        return port

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            self.recheck()

    def recheck(self) -> int:
        """End the streams of those whose certificate has run out or who are denied; returns how many."""
        return self._edge.recheck()

    async def advance(self) -> int:
        """Put what drivers said on disk, and take every step of windows that is due."""
        await self._hub.flush()
        return await self._engine.advance()

    async def anchor(self) -> AnchorProgress | None:
        """Move the anchors on; a chain that does not answer leaves them for the next time."""
        if self._anchorer is None:
            return None
        try:
            return await asyncio.to_thread(self._anchorer.run_once)
        except AnchorError as err:
            log.warning("anchoring: %s", err)
            return None

    async def stop(self) -> None:
        """Let running calls end, then stop."""
        if self._rechecking is not None:
            self._rechecking.cancel()
            self._rechecking = None
        if self._server is not None:
            await self._server.stop(GRACE_S)
            self._server = None
        await self._hub.flush()
