"""Controllers that answer a driver by a script, served over the loopback interface."""

import asyncio
from contextlib import asynccontextmanager

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from device_drivers.client import CHANNEL_OPTIONS
from gridpact.v1 import driver_pb2, driver_pb2_grpc

DEVICE = "microgrids/m/members/a/devices/relay"


def welcome(epoch=1):
    return driver_pb2.ConnectResponse(welcome=driver_pb2.Welcome(epoch=epoch))


WELCOME = welcome()


def idle(counter):
    return driver_pb2.ConnectResponse(idle=driver_pb2.Idle(heartbeat_counter=counter))


class ScriptedController(driver_pb2_grpc.DriverServiceServicer):
    """Answers heartbeats by a script, idle once it is through; an answer of None ends the stream."""

    def __init__(self, *script, greeting=WELCOME):
        self.script = list(script)
        self.greeting = greeting
        self.heard = []
        self.streams_ended = 0

    async def Connect(self, request_iterator, context):  # noqa: N802
        async for request in request_iterator:
            self.heard.append(request)
            kind = request.WhichOneof("message")
            if kind == "descriptor":
                yield self.greeting
            elif kind == "heartbeat":
                answer = self.script.pop(0) if self.script else idle
                response = answer(request.heartbeat.counter) if answer is not None else None
                if response is None:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
                yield response
        self.streams_ended += 1

    def of(self, kind):
        return [getattr(one, kind) for one in self.heard if one.WhichOneof("message") == kind]


class PushingController(ScriptedController):
    """Answers idle, and says the script unasked, one entry after each heartbeat."""

    async def Connect(self, request_iterator, context):  # noqa: N802
        async for request in request_iterator:
            self.heard.append(request)
            if request.WhichOneof("message") == "descriptor":
                yield self.greeting
            if request.WhichOneof("message") == "heartbeat":
                yield idle(request.heartbeat.counter)
                if self.script:
                    yield self.script.pop(0)(request.heartbeat.counter)


class CrowdedController(ScriptedController):
    """Refuses as many streams as there are entries in the script, each until that many seconds later."""

    async def Connect(self, request_iterator, context):  # noqa: N802
        if self.script:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(round(self.script.pop(0) * 1000))
            detail = any_pb2.Any()
            detail.Pack(retry)
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            status = status_pb2.Status(code=code.value[0], message="too many", details=[detail])
            await context.abort(code, "too many", (("grpc-status-details-bin", status.SerializeToString()),))
        async for answer in super().Connect(request_iterator, context):
            yield answer


class SilentController(ScriptedController):
    """Welcomes, and hears heartbeats without a word."""

    async def Connect(self, request_iterator, context):  # noqa: N802
        self.asked = asyncio.Event()
        async for request in request_iterator:
            if request.WhichOneof("message") == "descriptor":
                yield self.greeting
            if request.WhichOneof("message") == "heartbeat":
                self.asked.set()


@asynccontextmanager
async def served(controller):
    """The controller's server and a channel to it, over the loopback interface."""
    server = grpc.aio.server()
    driver_pb2_grpc.add_DriverServiceServicer_to_server(controller, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
            yield server, channel
    finally:
        await server.stop(None)
