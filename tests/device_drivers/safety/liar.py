"""A controller that has been taken over: whatever it says reaches the driver as the API's messages."""

import asyncio
from dataclasses import dataclass, field

import grpc
from google.protobuf.duration_pb2 import Duration

from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import types_pb2


class Stream:
    """A driver's call without a network; what the liar pushes waits until the driver reads."""

    def __init__(self, liar):
        self.liar = liar
        self.device = ""
        self.coming = asyncio.Queue()

    async def write(self, request):
        self.liar.hear(self, request)

    async def read(self):
        return await self.coming.get()

    async def code(self):
        return grpc.StatusCode.UNAVAILABLE

    async def details(self):
        return "cut"

    async def trailing_metadata(self):
        return ()

    def cancel(self):
        if self.liar.streams.get(self.device) is self:
            del self.liar.streams[self.device]


@dataclass(frozen=True)
class Wish:
    """What a device is told with each of its heartbeats; sequences count up by themselves.

    Attributes
    ----------
    fill : callable
        Sets the target of a setpoint.
    """

    fill: object
    ttl_s: int = 60
    claims: dict = field(default_factory=dict)


class Liar:
    """Welcomes everybody; then it does what a test has it do.

    Attributes
    ----------
    streams : dict
        By device the open one.
    heard_at : dict
        By device the last heartbeat: its counter and when it was heard.
    wishes : dict
        By device what it is told with each heartbeat, for ever.
    said : list
        Every command that was said.
    said_at : dict
        By device when one was said last.
    """

    def __init__(self, clock):
        self.clock = clock
        self.streams = {}
        self.heard_at = {}
        self.wishes = {}
        self.said = []
        self.said_at = {}
        self.epoch, self.sequence = 1, 0
        self.reports = []

    # As the uplink of a driver.

    def stub(self):
        return self

    def Connect(self):  # noqa: N802
        return Stream(self)

    async def close(self):
        self.streams.clear()

    # What it hears and says.

    def hear(self, stream, request):
        match request.WhichOneof("message"):
            case "descriptor":
                stream.device = request.descriptor.device
                self.streams[stream.device] = stream
                welcome = pb.Welcome(epoch=self.epoch, heartbeat_interval=Duration(seconds=5))
                stream.coming.put_nowait(pb.ConnectResponse(welcome=welcome))
            case "heartbeat":
                counter = request.heartbeat.counter
                self.heard_at[stream.device] = counter, self.clock.now()
                wish = self.wishes.get(stream.device)
                if wish is None:
                    stream.coming.put_nowait(pb.ConnectResponse(idle=pb.Idle(heartbeat_counter=counter)))
                else:
                    self.say(stream.device, self.command(stream.device, wish))
            case "report":
                self.reports.append(request.report)

    def command(self, device, wish, *, epoch=0, sequence=None, counter=None):
        """A command of the next sequence, in answer to the last heartbeat, unless told otherwise."""
        self.sequence += 1
        lease = types_pb2.Lease(
            epoch=self.epoch + epoch,
            sequence=self.sequence if sequence is None else sequence,
            heartbeat_counter=self.heard_at.get(device, (0, 0.0))[0] if counter is None else counter,
            ttl=Duration(seconds=wish.ttl_s),
        )
        command = pb.Command(command_id=f"c{len(self.said)}", lease=lease, **wish.claims)
        setpoint = command.setpoints.add()
        now = int(self.clock.utc().timestamp())
        setpoint.interval.start_time.seconds, setpoint.interval.end_time.seconds = now - 60, now + 30_000
        wish.fill(setpoint)
        return command

    def say(self, device, command):
        self.said.append((device, command))
        self.said_at[device] = self.clock.now()
        self._push(device, pb.ConnectResponse(command=command))

    def pass_on(self, *signed):
        """Limits, on every stream."""
        for device in tuple(self.streams):
            self._push(device, pb.ConnectResponse(group_limits=pb.GroupLimits(limits=signed)))

    def cut(self):
        """End every stream."""
        for stream in tuple(self.streams.values()):
            stream.coming.put_nowait(grpc.aio.EOF)

    def _push(self, device, response):
        if device in self.streams:
            # As a network does: what was said is not changed any more.
            self.streams[device].coming.put_nowait(pb.ConnectResponse.FromString(response.SerializeToString()))
