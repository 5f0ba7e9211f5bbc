"""Simulated drivers of the benchmark: many streams in one process, each over a TLS connection of its own.

They know the API alone. They beat, tell telemetry and report as the welcome asks, accept pushes, and obey RetryInfo.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from controller.pki import Credentials
from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import driver_pb2_grpc, operator_pb2, operator_pb2_grpc
from tests.benchmarks.drivers_server import GRID

DIALS_AT_ONCE = 64
"""Handshakes under way in a process: the machines of ten thousand drivers are not one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The drivers of one process.

    Attributes
    ----------
    target, authority : of the service
    devices : id and credentials of each
    """

    target: str
    authority: bytes
    devices: tuple[tuple[str, Credentials], ...]


@dataclass(slots=True, kw_only=True)
class Noted:
    """What happened: when each device was welcomed, when it was told each value, how often it had to come back."""

    welcomed: dict[str, float] = field(default_factory=dict)
    told: dict[int, dict[str, float]] = field(default_factory=dict)
    sent_away: int = 0
    lost: dict[str, int] = field(default_factory=dict)


def channel_to(target: str, authority: bytes, own: Credentials) -> grpc.aio.Channel:
    """A connection of its own."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=authority, private_key=own.key, certificate_chain=own.certificate
    )
    return grpc.aio.secure_channel(target, credentials, options=[("grpc.use_local_subchannel_pool", 1)])


def drive(pipe: Connection, crew: Crew) -> None:
    """Connect all at the word ``go``; answer ``noted`` with what happened so far; end at ``stop``."""
    asyncio.run(_drive(pipe, crew))


async def _drive(pipe: Connection, crew: Crew) -> None:
    loop = asyncio.get_running_loop()
    noted = Noted()
    gate = asyncio.Semaphore(DIALS_AT_ONCE)
    tasks: list[asyncio.Task[None]] = []
    while (word := await loop.run_in_executor(None, pipe.recv)) != "stop":
        match word:
            case "go":
                tasks = [asyncio.create_task(_live(crew, device, own, noted, gate)) for device, own in crew.devices]
            case "ready":
                pipe.send(True)
            case "count":
                pipe.send(len(noted.welcomed))
            case "noted":
                pipe.send(noted)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _live(crew: Crew, device: str, own: Credentials, noted: Noted, gate: asyncio.Semaphore) -> None:
    """One driver: connect, serve, connect again."""
    channel = channel_to(crew.target, crew.authority, own)
    member, _, name = device.partition("/")
    descriptor = pb.Descriptor(device=f"microgrids/{GRID}/members/{member}/devices/{name}", accepts_pushes=True)
    descriptor.failsafe.power_w = 0
    failures = 0
    async with channel:
        while True:
            try:
                async with gate:
                    await channel.channel_ready()
                    call = driver_pb2_grpc.DriverServiceStub(channel).Connect()
                    await call.write(pb.ConnectRequest(descriptor=descriptor))
                    first = await call.read()
                if not isinstance(first, pb.ConnectResponse):
                    raise await _reason(call)
                noted.welcomed.setdefault(device, time.monotonic())
                failures = 0
                await _serve(call, device, first.welcome, noted)
            except grpc.aio.AioRpcError as err:
                failures += 1
                after_s = _retry_s(err)
                if after_s is None:
                    noted.lost[err.code().name] = noted.lost.get(err.code().name, 0) + 1
                    after_s = random.uniform(0.5, 1.0) * min(60.0, 2.0**failures)
                else:
                    noted.sent_away += 1
                await asyncio.sleep(after_s + random.uniform(0.0, 0.5))


async def _serve(call, device: str, welcome: pb.Welcome, noted: Noted) -> None:
    lock = asyncio.Lock()
    beating = asyncio.create_task(_beat(call, lock, welcome))
    try:
        while True:
            answer = await call.read()
            if not isinstance(answer, pb.ConnectResponse):
                raise await _reason(call)
            if answer.WhichOneof("message") != "command":
                continue
            arrived = time.monotonic()
            command = answer.command
            if command.setpoints:
                noted.told.setdefault(command.setpoints[0].power_w, {}).setdefault(device, arrived)
            report = pb.CommandReport(
                command_id=command.command_id,
                state=pb.COMMAND_STATE_VERIFIED,
                observe_time=Timestamp(seconds=int(time.time())),
                passed=[pb.COMMAND_STATE_RECEIVED, pb.COMMAND_STATE_ACCEPTED, pb.COMMAND_STATE_APPLIED],
            )
            async with lock:
                await call.write(pb.ConnectRequest(report=report))
    finally:
        beating.cancel()


async def _beat(call, lock: asyncio.Lock, welcome: pb.Welcome) -> None:
    counter = 0
    pause_s = welcome.heartbeat_phase.ToMilliseconds() / 1000
    while True:
        counter += 1
        telemetry = pb.Telemetry(measure_time=Timestamp(seconds=int(time.time())), power_w=100, stored_wh=2000)
        async with lock:
            await call.write(pb.ConnectRequest(telemetry=telemetry))
            await call.write(pb.ConnectRequest(heartbeat=pb.Heartbeat(counter=counter)))
        await asyncio.sleep(pause_s)
        pause_s = welcome.heartbeat_interval.ToMilliseconds() / 1000


async def _reason(call) -> grpc.aio.AioRpcError:
    """Why a stream has ended."""
    return grpc.aio.AioRpcError(
        await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
    )


def _retry_s(err: grpc.aio.AioRpcError) -> float | None:
    status = rpc_status.from_call(err)
    for detail in () if status is None else status.details:
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            return retry.retry_delay.ToMilliseconds() / 1000
    return None


def call(pipe: Connection, target: str, authority: bytes, callers: tuple[Credentials, ...]) -> None:
    """Unary calls at a rate for some seconds, both from the pipe; sends latencies in s, None for a call that failed."""
    asyncio.run(_call(pipe, target, authority, callers))


async def _call(pipe: Connection, target: str, authority: bytes, callers: tuple[Credentials, ...]) -> None:
    loop = asyncio.get_running_loop()
    channels = [channel_to(target, authority, own) for own in callers]
    stubs = [operator_pb2_grpc.OperatorServiceStub(channel) for channel in channels]
    request = operator_pb2.GetMicrogridRequest(name=f"microgrids/{GRID}")

    async def one(number: int, due: float) -> float | None:
        """From the instant at which the call was due, so that a slow caller hides nothing."""
        try:
            await stubs[number % len(stubs)].GetMicrogrid(request, timeout=10)
        except grpc.aio.AioRpcError:
            return None
        return time.monotonic() - due

    for stub in stubs:
        await stub.GetMicrogrid(request, timeout=10)
    while (word := await loop.run_in_executor(None, pipe.recv)) != "stop":
        rate, seconds = word
        began = time.monotonic()
        tasks = []
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(one(number, due)))
        pipe.send(await asyncio.gather(*tasks))
    for channel in channels:
        await channel.close()
