"""A controller that has every device on and renews its lease with each heartbeat; it notes each that it answers so.

Usage: controller.py PKI NOTES LEASE_S; says its port. NOTES gets a line for each command: the device, and s of the
machine's monotonic clock at which the heartbeat that it answers was heard, which is no earlier than it was sent.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration

from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import driver_pb2_grpc, types_pb2


class Renewing(driver_pb2_grpc.DriverServiceServicer):
    def __init__(self, notes, lease_s):
        self.notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.lease_s = lease_s

    async def Connect(self, request_iterator, context):  # noqa: N802
        device, sequence = "", 0
        async for request in request_iterator:
            heard_at = time.monotonic()
            if request.HasField("descriptor"):
                device = request.descriptor.device
                yield pb.ConnectResponse(welcome=pb.Welcome(epoch=1, heartbeat_interval=Duration(seconds=1)))
            if request.HasField("heartbeat"):
                sequence += 1
                note = json.dumps({"device": device, "at": heard_at})
                os.write(self.notes, note.encode() + b"\n")
                yield pb.ConnectResponse(command=self.command(device, sequence, request.heartbeat.counter))

    def command(self, device, sequence, counter):
        lease = types_pb2.Lease(
            epoch=1, sequence=sequence, heartbeat_counter=counter, ttl=Duration(seconds=self.lease_s)
        )
        command = pb.Command(command_id=str(sequence), lease=lease)
        setpoint = command.setpoints.add()
        setpoint.interval.start_time.seconds = int(time.time()) - 60
        setpoint.interval.end_time.seconds = int(time.time()) + 3600
        if device.endswith("modbus-sunspec"):
            setpoint.production_limit_w = 1000
        elif device.endswith("s2-pebc"):
            setpoint.power_w = 4000
        else:
            setpoint.relay_closed = True
        return command


async def main(pki, notes, lease_s):
    server = grpc.aio.server()
    driver_pb2_grpc.add_DriverServiceServicer_to_server(Renewing(notes, lease_s), server)
    pair = ((pki / "server.key").read_bytes(), (pki / "server.pem").read_bytes())
    credentials = grpc.ssl_server_credentials([pair], (pki / "ca.pem").read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
