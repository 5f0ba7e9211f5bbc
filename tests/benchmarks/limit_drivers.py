"""Many drivers in one process, each with a connection, a certificate and a stream of its own.

``python -m tests.benchmarks.limit_drivers TARGET PKI FIRST END``: says on its output, a JSON array a line, when a
driver was let in (``["welcome"]``), and of each command the device's number, the instant of its arrival on the
machine's monotonic clock, what of its power is left, and the limit that is the reason.
"""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import grpc

from controller.pki_files import read_client
from controller.wire import fields
from gridpact.v1 import driver_pb2, driver_pb2_grpc
from tests.benchmarks.limit_community import device_id, device_name, power_w

REPORTED = driver_pb2.COMMAND_STATE_VERIFIED


def say(*line: object) -> None:
    """A line for the benchmark."""
    print(json.dumps(line), flush=True)


class Driver:
    """One device's stream.

    Parameters
    ----------
    target, pki : where the service listens, and the folder of credentials
    number : of the device
    """

    def __init__(self, target: str, pki: Path, number: int) -> None:
        self._number = number
        self._counter = 0
        self._power_w = 0
        self._writing = asyncio.Lock()
        files = read_client(pki, f"driver-{number}")
        credentials = grpc.ssl_channel_credentials(files.authority, files.own.key, files.own.certificate)
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.secure_channel(target, credentials, options=options)

    async def run(self) -> None:
        """Serve the device for ever, coming back where the stream ends."""
        while True:
            ended = "ended"
            try:
                await self._serve()
            except grpc.aio.AioRpcError as err:
                ended = f"{err.code().name} {err.details()}"
            except asyncio.InvalidStateError as err:  # written to while it ended
                ended = str(err)
            print(f"{device_id(self._number)}: {ended}", file=sys.stderr, flush=True)
            await asyncio.sleep(2.0)

    async def _serve(self) -> None:
        call = driver_pb2_grpc.DriverServiceStub(self._channel).Connect()
        descriptor = driver_pb2.Descriptor(device=device_name(self._number), accepts_pushes=True)
        descriptor.bounds.lower_w, descriptor.bounds.upper_w = 0, power_w(self._number)
        descriptor.failsafe.power_w = 0
        await call.write(driver_pb2.ConnectRequest(descriptor=descriptor))
        answer = await call.read()
        if not isinstance(answer, driver_pb2.ConnectResponse):
            await call.code()
            return
        welcome = answer.welcome
        say("welcome")
        beating = asyncio.create_task(self._beat(call, welcome))
        try:
            while isinstance(answer := await call.read(), driver_pb2.ConnectResponse):
                if answer.WhichOneof("message") == "command":
                    await self._follow(call, answer.command)
            if await call.code() is not grpc.StatusCode.OK:
                print(f"{device_id(self._number)}: {await call.code()} {await call.details()}", file=sys.stderr)
        finally:
            beating.cancel()

    async def _beat(self, call, welcome: driver_pb2.Welcome) -> None:
        pause_s = welcome.heartbeat_phase.ToTimedelta().total_seconds()
        while True:
            self._counter += 1
            await self._measure(call)
            await self._write(call, heartbeat=driver_pb2.Heartbeat(counter=self._counter))
            await asyncio.sleep(pause_s)
            pause_s = welcome.heartbeat_interval.ToTimedelta().total_seconds()

    async def _write(self, call, **message: object) -> None:
        async with self._writing:  # gRPC ends a stream that two write to at once
            await call.write(driver_pb2.ConnectRequest(**message))

    async def _measure(self, call) -> None:
        telemetry = driver_pb2.Telemetry(measure_time=fields.timestamp(int(time.time())), power_w=self._power_w)
        await self._write(call, telemetry=telemetry)

    async def _follow(self, call, command: driver_pb2.Command) -> None:
        arrived = time.monotonic()
        now = datetime.now(UTC)
        self._power_w = 0
        for setpoint in command.setpoints:
            start, end = (
                moment.ToDatetime(UTC) for moment in (setpoint.interval.start_time, setpoint.interval.end_time)
            )
            if start <= now < end:
                closed_w = power_w(self._number) * setpoint.relay_closed
                self._power_w = closed_w if setpoint.WhichOneof("target") == "relay_closed" else setpoint.power_w
        say(self._number, arrived, self._power_w, command.curtailed_by)
        report = driver_pb2.CommandReport(command_id=command.command_id, state=REPORTED)
        report.observe_time.FromSeconds(int(time.time()))
        await self._write(call, report=report)
        await self._measure(call)


async def main() -> None:
    """Serve the devices ``FIRST`` to ``END``, the last not included."""
    target, pki, first, end = sys.argv[1:]
    await asyncio.gather(*(Driver(target, Path(pki), number).run() for number in range(int(first), int(end))))


if __name__ == "__main__":
    asyncio.run(main())
