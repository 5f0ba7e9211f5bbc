"""``gridpact driver`` against ``gridpact serve``, each a process of its own, by real clocks."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import pytest

from controller.cli import main
from gridpact.v1 import operator_pb2, operator_pb2_grpc, participant_pb2, participant_pb2_grpc
from tests.integration.served import DEADLINE_S, environment, served

GRID = "microgrids/village"
BOILER = f"{GRID}/members/home-1/devices/boiler"
CONFIG = """
controller = "{target}"
pki = "{folder}/pki"
state = "{folder}/state"
telemetry_s = 0.2

[[devices]]
name = "{device}"
url = "simulated://relay?rated_w=2000"
bounds = {{ lower_w = 0, upper_w = 2000 }}
failsafe = {{ relay_closed = false }}
poll_s = 0.1
"""


def register(service):
    """A microgrid with one boiler, switched on by its owner."""
    start = int(time.time()) // 3600 * 3600 + 7200
    operator = operator_pb2_grpc.OperatorServiceStub(service.channel("operator"))
    microgrid = operator_pb2.Microgrid(name=GRID, time_zone="UTC", currency="EUR")
    tariff = microgrid.tariff.add(import_price_micro_per_kwh=300_000)
    for interval in (microgrid.horizon, tariff.interval):
        interval.start_time.seconds, interval.end_time.seconds = start, start + 4 * 3600
    microgrid.market_time_unit.seconds, microgrid.window.seconds = 900, 3600
    microgrid.gate_closure_lead.seconds = 300
    operator.CreateMicrogrid(operator_pb2.CreateMicrogridRequest(microgrid=microgrid, request_id="1"))
    member = operator_pb2.Member(name=f"{GRID}/members/home-1", section="street")
    operator.CreateMember(operator_pb2.CreateMemberRequest(parent=GRID, member=member, request_id="2"))
    participant = participant_pb2_grpc.ParticipantServiceStub(service.channel("participant"))
    boiler = participant_pb2.Flexibility(device=BOILER)
    boiler.operation_mode.rated_power_w = 2000
    boiler.operation_mode.required_duration.seconds = 900
    boiler.operation_mode.allowed.start_time.seconds = start - 2 * 3600
    boiler.operation_mode.allowed.end_time.seconds = start + 4 * 3600
    participant.UpdateFlexibility(participant_pb2.UpdateFlexibilityRequest(flexibility=boiler, request_id="3"))
    now = participant_pb2.OVERRIDE_MODE_RUN_NOW
    wanted = participant_pb2.SetOverrideRequest(device=BOILER, mode=now, request_id="4")
    participant.SetOverride(wanted)


@contextmanager
def driving(folder, target):
    """A driver that runs within; gives its log."""
    path, log = folder / "driver.toml", folder / "driver.log"
    path.write_text(CONFIG.format(folder=folder, target=target, device=BOILER))
    command = [sys.executable, "-m", "controller.cli", "driver", "--config", str(path)]
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment(), stdout=file, stderr=file)
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def states(data):
    """What is on disk of what the driver said."""
    with closing(sqlite3.connect(f"file:{data / 'gridpact.sqlite'}?mode=ro", uri=True)) as database:
        return {state for (state,) in database.execute("select state from reports where device = 'home-1/boiler'")}


@pytest.mark.slow
def test_a_driver_process_has_a_device_do_what_its_owner_wants(tmp_path):
    assert main(["pki", "init", str(tmp_path / "pki"), "--grid", "village"]) == 0
    with served(tmp_path / "data", tmp_path / "pki") as service:
        register(service)
        with driving(tmp_path, service.target) as log:
            ends = time.monotonic() + DEADLINE_S
            while "VERIFIED" not in states(service.data):
                assert time.monotonic() < ends, log.read_text()
                time.sleep(0.05)  # what another process does is not told to this one
        assert "lost" not in log.read_text()
        assert "Traceback" not in log.read_text() + service.log.read_text()
