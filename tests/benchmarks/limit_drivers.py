"""Many drivers in one process, each with a connection, a certificate and a stream of its own.

``python -m tests.benchmarks.limit_drivers TARGET PKI FIRST END``: says on its output, a JSON array a line, when a
driver was let in (``["welcome"]``), and of each command the device's number, the instant of its arrival on the
machine's monotonic clock, what of its power is left, and the limit that is the reason.
"""

import json
import sys
import time
from pathlib import Path

from controller.pki_files import read_client
from controller.wire import fields
from gridpact.v1 import driver_pb2
from tests.benchmarks.limit_community import device_id, device_name, power_w
from tests.benchmarks.wire import WireDriver, WireLoop

REPORTED = driver_pb2.COMMAND_STATE_VERIFIED


def say(*line: object) -> None:
    """A line for the benchmark."""
    print(json.dumps(line), flush=True)


class Device(WireDriver):
    """A device that does what it is told.

    Parameters
    ----------
    loop : that it is part of
    number : of the device
    """

    def __init__(self, loop: WireLoop, number: int) -> None:
        descriptor = driver_pb2.Descriptor(device=device_name(number), accepts_pushes=True)
        descriptor.bounds.lower_w, descriptor.bounds.upper_w = 0, power_w(number)
        descriptor.failsafe.power_w = 0
        super().__init__(loop, device_id(number), descriptor, self.measure)
        self._number = number
        self._power_w = 0

    def measure(self) -> driver_pb2.Telemetry:
        """What it takes."""
        return driver_pb2.Telemetry(measure_time=fields.timestamp(int(time.time())), power_w=self._power_w)

    def follow(self, command: driver_pb2.Command) -> None:
        """Do it, and say so."""
        arrived = time.monotonic()
        now = time.time()
        self._power_w = 0
        for setpoint in command.setpoints:
            if setpoint.interval.start_time.seconds <= now < setpoint.interval.end_time.seconds:
                closed_w = power_w(self._number) * setpoint.relay_closed
                self._power_w = closed_w if setpoint.WhichOneof("target") == "relay_closed" else setpoint.power_w
        say(self._number, arrived, self._power_w, command.curtailed_by)
        report = driver_pb2.CommandReport(command_id=command.command_id, state=REPORTED)
        report.observe_time.FromSeconds(int(now))
        self.say(
            driver_pb2.ConnectRequest(report=report),
            driver_pb2.ConnectRequest(telemetry=self.measure()),
        )


class Street(WireLoop):
    """The devices of a process."""

    def welcomed(self, driver: WireDriver) -> None:
        """Say it."""
        say("welcome")

    def commanded(self, driver: WireDriver, command: driver_pb2.Command) -> None:
        """Let the device follow."""
        driver.follow(command)

    def lost(self, driver: WireDriver, reason: str) -> None:
        """Say it."""
        print(f"{driver.device}: {reason}", file=sys.stderr, flush=True)


def main() -> None:
    """Serve the devices ``FIRST`` to ``END``, the last not included."""
    target, pki, first, end = sys.argv[1:]
    numbers = range(int(first), int(end))
    files = {number: read_client(Path(pki), f"driver-{number}") for number in numbers}
    authority = (Path(pki) / "ca.pem").read_bytes()
    street = Street(target, authority, {device_id(number): files[number].own for number in numbers})
    street.dial(*(Device(street, number) for number in numbers))
    street.run()


if __name__ == "__main__":
    main()
