"""Simulated drivers of the benchmark, many in one process, each over a TLS connection of its own; and unary callers.

They know the API alone. They beat, tell telemetry and report as the welcome asks, accept pushes, and obey RetryInfo.
"""

import asyncio
import os
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from controller.pauses import shorten_pauses
from controller.pki import Credentials
from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import operator_pb2, operator_pb2_grpc
from tests.benchmarks.drivers_server import GRID
from tests.benchmarks.wire import AWAY, WireDriver, WireLoop, follow_pipe

NICE = 10
"""Drivers have machines of their own: here they give way to the service, which makes them look slower, never faster."""


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


class Herd(WireLoop):
    """The drivers of a crew, and what happens to them."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew.target, crew.authority, dict(crew.devices))
        self.noted = Noted()
        self._drivers = [WireDriver(self, device, _descriptor(device), _telemetry) for device, _ in crew.devices]

    def answer(self, word: object) -> object:
        """What the benchmark asks."""
        match word:
            case "go":
                self.dial(*self._drivers)
            case "ready":
                return True
            case "count":
                return len(self.noted.welcomed)
            case "noted":
                return self.noted
        return None

    def welcomed(self, driver: WireDriver) -> None:
        """Note when."""
        self.noted.welcomed.setdefault(driver.device, time.monotonic())

    def commanded(self, driver: WireDriver, command: pb.Command) -> None:
        """Note when, and report that it is done."""
        if command.setpoints:
            told = self.noted.told.setdefault(command.setpoints[0].power_w, {})
            told.setdefault(driver.device, time.monotonic())
        report = pb.CommandReport(
            command_id=command.command_id,
            state=pb.COMMAND_STATE_VERIFIED,
            observe_time=Timestamp(seconds=int(time.time())),
            passed=[pb.COMMAND_STATE_RECEIVED, pb.COMMAND_STATE_ACCEPTED, pb.COMMAND_STATE_APPLIED],
        )
        driver.say(pb.ConnectRequest(report=report))

    def lost(self, driver: WireDriver, reason: str) -> None:
        """Note why."""
        if reason == AWAY:
            self.noted.sent_away += 1
        else:
            self.noted.lost[reason] = self.noted.lost.get(reason, 0) + 1


def _descriptor(device: str) -> pb.Descriptor:
    member, _, name = device.partition("/")
    descriptor = pb.Descriptor(device=f"microgrids/{GRID}/members/{member}/devices/{name}", accepts_pushes=True)
    descriptor.failsafe.power_w = 0
    return descriptor


def _telemetry() -> pb.Telemetry:
    return pb.Telemetry(measure_time=Timestamp(seconds=int(time.time())), power_w=100, stored_wh=2000)


def drive(pipe: Connection, crew: Crew) -> None:
    """Connect all at the word ``go``; answer ``noted`` with what happened so far; end at ``stop``."""
    os.nice(NICE)
    herd = Herd(crew)
    shorten_pauses()
    follow_pipe(herd, pipe, herd.answer)
    herd.run()


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
    shorten_pauses()  # the caller's own would count as the service's
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
