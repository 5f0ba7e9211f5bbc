"""Controllers of one device, which a script plays over the API itself on the loopback."""

import asyncio
from contextlib import suppress

import grpc
from google.protobuf.duration_pb2 import Duration

from device_drivers.client import CHANNEL_OPTIONS
from device_drivers.clock import BoottimeClock
from device_drivers.conformance.result import NotShown
from device_drivers.setpoint import Power, ProductionLimit, RelayState, Target
from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import driver_pb2_grpc, types_pb2

LEASE_S = 60
"""Long enough that none ends by itself while it is looked at."""
GRACE_S = 1.0
"""s that streams have to hear that a controller has ended."""
DONE = frozenset[int]({pb.COMMAND_STATE_VERIFIED, pb.COMMAND_STATE_APPLIED})
REJECTED = frozenset[int]({pb.COMMAND_STATE_REJECTED})


class Controller:
    """A controller of one device: it answers heartbeats, and says what it is told to say.

    Parameters
    ----------
    epoch : int
        Of its incarnation.
    """

    def __init__(self, *, epoch: int) -> None:
        self.epoch = epoch
        self.met = asyncio.Event()
        self._counter = 0
        self._said = 0
        self._context: grpc.aio.ServicerContext[pb.ConnectRequest, pb.ConnectResponse] | None = None
        self._reports: dict[str, list[pb.CommandReport]] = {}
        self._reported = asyncio.Event()

    async def serve(self, context: "grpc.aio.ServicerContext[pb.ConnectRequest, pb.ConnectResponse]") -> None:
        """Serve a stream to its end."""
        while True:
            request = await context.read()
            if not isinstance(request, pb.ConnectRequest):
                return
            match request.WhichOneof("message"):
                case "descriptor":
                    self._context = context
                    welcome = pb.Welcome(epoch=self.epoch, heartbeat_interval=Duration(seconds=1))
                    await context.write(pb.ConnectResponse(welcome=welcome))
                case "heartbeat":
                    self._counter = request.heartbeat.counter
                    await context.write(pb.ConnectResponse(idle=pb.Idle(heartbeat_counter=self._counter)))
                    self.met.set()
                case "report":
                    self._reports.setdefault(request.report.command_id, []).append(request.report)
                    self._reported.set()

    async def send_away(self) -> None:
        """Tell the driver to come back, to whoever is there then."""
        self.met.clear()
        if self._context is not None:
            # A stream that has ended meanwhile needs no word.
            with suppress(grpc.RpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
                await self._context.write(pb.ConnectResponse(come_back=pb.ComeBack(after=Duration())))

    async def say(self, target: Target, *, epoch: int, sequence: int) -> str:
        """Say a setpoint, in answer to the last heartbeat; returns the command's id."""
        if self._context is None:
            raise NotShown("got no stream of the driver, wanted one")
        self._said += 1
        lease = types_pb2.Lease(
            epoch=epoch, sequence=sequence, heartbeat_counter=self._counter, ttl=Duration(seconds=LEASE_S)
        )
        command = pb.Command(command_id=f"{self.epoch}/{epoch}/{sequence}/{self._said}", lease=lease)
        setpoint = command.setpoints.add()
        now = int(BoottimeClock().utc().timestamp())
        setpoint.interval.start_time.seconds, setpoint.interval.end_time.seconds = now - 60, now + 10 * LEASE_S
        match target:
            case RelayState(closed=closed):
                setpoint.relay_closed = closed
            case Power(power_w=power_w):
                setpoint.power_w = power_w
            case ProductionLimit(limit_w=limit_w):
                setpoint.production_limit_w = limit_w
        await self._context.write(pb.ConnectResponse(command=command))
        return command.command_id

    async def heard(self, command_id: str, wanted: frozenset[int]) -> pb.CommandReport:
        """The first report on a command that is of these states."""
        while True:
            for report in self._reports.get(command_id, ()):
                if report.state in wanted:
                    return report
            self._reported.clear()
            await self._reported.wait()

    def last(self, command_id: str) -> str:
        """What was reported last, for people."""
        reports = self._reports.get(command_id)
        return "no report" if not reports else f"{pb.CommandState.Name(reports[-1].state)} {reports[-1].reason}".strip()


class Address(driver_pb2_grpc.DriverServiceServicer):
    """A port of the loopback, and whoever has it now.

    Attributes
    ----------
    controller : Controller or None
        Serves whoever connects.
    """

    def __init__(self) -> None:
        self.controller: Controller | None = None
        self._port = 0
        self._server: grpc.aio.Server | None = None
        self._ended = asyncio.Event()

    @property
    def listens(self) -> bool:
        """Whether it does."""
        return self._server is not None

    async def listen(self) -> None:
        """Listen, at the same port as before."""
        self._ended = asyncio.Event()
        self._server = grpc.aio.server()
        driver_pb2_grpc.add_DriverServiceServicer_to_server(self, self._server)
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        await self._server.start()

    async def end(self) -> None:
        """Stop listening; streams end as when the service is gone."""
        if self._server is not None:
            self._ended.set()
            await self._server.stop(GRACE_S)
            self._server = None

    def connect(self) -> "tuple[grpc.aio.Channel, driver_pb2_grpc.DriverServiceAsyncStub]":
        """A channel to it, to be closed, and its stub."""
        options = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self._port}", options=options)
        return channel, driver_pb2_grpc.DriverServiceStub(channel)

    async def Connect(  # type: ignore[override]  # noqa: N802  # as the API names it
        self, request_iterator: object, context: "grpc.aio.ServicerContext[pb.ConnectRequest, pb.ConnectResponse]"
    ) -> None:
        """Have whoever is here serve the stream."""
        del request_iterator  # read by way of the context, so that both sides speak when they want
        if self.controller is None:
            return
        serving = asyncio.create_task(self.controller.serve(context))
        ending = asyncio.create_task(self._ended.wait())
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, ending):
            task.cancel()
        await asyncio.gather(serving, ending, return_exceptions=True)
        if self._ended.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the controller has ended")
