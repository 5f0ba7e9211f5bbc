"""One driver process with many simulated relays: the share of a core that it takes. Prints figures, asserts none.

``python -m tests.benchmarks.relays [RELAYS] [SECONDS]``: a controller that answers heartbeats and renews a setpoint
every 30 s runs in a process of its own; the driver reads each relay and tells what it measures once a second, over
mutual TLS.
"""

import asyncio
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration

from controller.pauses import shorten_pauses
from controller.pki_files import init
from device_drivers.config import load_config
from device_drivers.driving import Driving, read_credentials
from device_drivers.uplink import Uplink
from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import driver_pb2_grpc, types_pb2

LEASE_S = 60
RENEWED_S = 30


class Controller(driver_pb2_grpc.DriverServiceServicer):
    """Welcomes everybody, commands each relay, and counts what it is told."""

    def __init__(self):
        self.telemetry = 0
        self.verified = 0

    async def Connect(self, request_iterator, context):  # noqa: N802
        told_at, sequence = 0.0, 0
        async for request in request_iterator:
            match request.WhichOneof("message"):
                case "descriptor":
                    welcome = pb.Welcome(
                        epoch=1,
                        heartbeat_interval=Duration(seconds=20),
                        heartbeat_phase=Duration(nanos=hash(request.descriptor.device) % 10**9, seconds=1),
                        telemetry_interval=Duration(seconds=1),
                    )
                    yield pb.ConnectResponse(welcome=welcome)
                case "telemetry":
                    self.telemetry += 1
                case "report":
                    self.verified += request.report.state == pb.COMMAND_STATE_VERIFIED
                case "heartbeat":
                    counter, now = request.heartbeat.counter, time.time()
                    if now < told_at + RENEWED_S:
                        yield pb.ConnectResponse(idle=pb.Idle(heartbeat_counter=counter))
                        continue
                    told_at, sequence = now, sequence + 1
                    command = pb.Command(
                        command_id=str(sequence),
                        lease=types_pb2.Lease(epoch=1, sequence=sequence, heartbeat_counter=counter),
                        setpoints=[pb.Setpoint(relay_closed=True)],
                    )
                    command.lease.ttl.seconds = LEASE_S
                    command.setpoints[0].interval.start_time.seconds = int(now) - 60
                    command.setpoints[0].interval.end_time.seconds = int(now) + 3600
                    yield pb.ConnectResponse(command=command)


def serve(pipe: Connection, pki: str) -> None:
    """Serve until told to stop; says its port first and what it counted last."""
    asyncio.run(_serve(pipe, Path(pki)))


async def _serve(pipe: Connection, pki: Path) -> None:
    controller = Controller()
    server = grpc.aio.server()
    driver_pb2_grpc.add_DriverServiceServicer_to_server(controller, server)
    pair = ((pki / "server.key").read_bytes(), (pki / "server.pem").read_bytes())
    credentials = grpc.ssl_server_credentials([pair], (pki / "ca.pem").read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    pipe.send(port)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, pipe.recv) == "count":
        pipe.send((controller.telemetry, controller.verified))
    await server.stop(None)


def measure(relays: int, seconds: float) -> dict[str, float]:
    """What a driver of so many relays takes and does while so many s pass, once all are connected."""
    with tempfile.TemporaryDirectory() as folder:
        pki = Path(folder) / "pki"
        init(pki, grid="village", days=1, hosts=())
        pipe, other = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(other, str(pki)))
        process.start()
        try:
            return asyncio.run(_measure(pipe, pki, pipe.recv(), relays, seconds))
        finally:
            pipe.send("stop")
            process.join()


async def _measure(pipe: Connection, pki: Path, port: int, relays: int, seconds: float) -> dict[str, float]:
    devices = [
        {
            "name": f"microgrids/village/members/home-{k}/devices/boiler",
            "url": "simulated://relay?rated_w=2000",
            "bounds": {"lower_w": 0, "upper_w": 2000},
            "failsafe": {"relay_closed": False},
        }
        for k in range(relays)
    ]
    settings = {"controller": f"127.0.0.1:{port}", "pki": pki, "state": pki.parent / "state", "devices": devices}
    config = load_config(None, settings)
    driving = Driving(config, Uplink(config.controller, pki, config.identity, read_credentials))
    stopping = asyncio.Event()
    running = asyncio.create_task(driving.run(stopping))
    while sum(link.connected for link in driving.links.values()) < relays:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.5)
    await asyncio.sleep(3)
    shorten_pauses()
    before, told, start = _cpu_s(), _counted(pipe)[0], time.monotonic()
    await asyncio.sleep(seconds)
    took, spent = time.monotonic() - start, _cpu_s() - before
    telemetry, verified = _counted(pipe)
    stopping.set()
    await running
    return {
        "relays": relays,
        "seconds": round(took, 1),
        "share_of_a_core": round(spent / took, 3),
        "telemetry_per_s": round((telemetry - told) / took, 1),
        "verified": verified,
        "memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _counted(pipe: Connection) -> tuple[int, int]:
    pipe.send("count")
    found: tuple[int, int] = pipe.recv()
    return found


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    print(json.dumps(measure(*(int(argument) for argument in sys.argv[1:3] or ("1000", "30")))))
