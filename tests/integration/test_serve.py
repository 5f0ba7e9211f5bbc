"""``gridpact serve`` as a process: what it says, how it ends, what a start after that finds."""

import logging
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from contextlib import closing

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controller.cli import main
from controller.pki_files import init
from controller.wire.community import microgrid_message
from gridpact.v1 import dispatch_pb2, dispatch_pb2_grpc, operator_pb2, operator_pb2_grpc
from tests.controller.village import calendar
from tests.integration.served import DEADLINE_S, environment, gridpact, served

pytestmark = pytest.mark.slow

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    init(folder, grid="village", days=2, hosts=())
    return folder


def found(service):
    operator = operator_pb2_grpc.OperatorServiceStub(service.channel("operator"))
    request = operator_pb2.CreateMicrogridRequest(microgrid=microgrid_message(calendar("village")), request_id="found")
    return operator.CreateMicrogrid(request, timeout=DEADLINE_S)


def epoch(path):
    with closing(sqlite3.connect(path / "gridpact.sqlite")) as connection:
        return connection.execute("SELECT epoch FROM controllers").fetchone()[0]


def test_it_serves_until_it_is_told_to_stop_and_goes_on_after_a_kill(tmp_path, pki):
    data = tmp_path / "data"
    with served(data, pki) as service:
        created = found(service)
        health = health_pb2_grpc.HealthStub(service.channel("auditor"))
        for name in ("", "gridpact.v1.DsoService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=DEADLINE_S).status == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="gridpact.v1.NoService"), timeout=DEADLINE_S)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        second = gridpact("serve", "--data", data, "--pki", pki, "--listen", "127.0.0.1:0")
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr == (
            f"gridpact serve: data {data}: got a folder that process {service.process.pid} is working in, "
            "wanted a free one\n"
        )
        assert service.kill() == -signal.SIGKILL
    assert epoch(data) == 1
    with served(data, pki) as service:
        assert found(service) == created
        assert epoch(data) == 2
        watch = health_pb2_grpc.HealthStub(service.channel("dso")).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        clearings = dispatch_pb2_grpc.DispatchServiceStub(service.channel("aggregator")).WatchClearings(
            dispatch_pb2.WatchClearingsRequest(parent="microgrids/village"), timeout=DEADLINE_S
        )
        assert next(clearings).resume_token
        service.process.send_signal(signal.SIGTERM)
        assert next(watch).status == NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            list(clearings)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "the service stops; come back"
        with pytest.raises(grpc.RpcError):
            found(service)
        service.hang_up()
        assert service.process.wait(DEADLINE_S) == 0
        assert "Traceback" not in service.log.read_text()
    assert not list(data.glob("*-wal"))


def test_a_second_signal_ends_it_at_once(tmp_path, pki):
    with served(tmp_path / "data", pki, "--set", "stop_s=600") as service:
        watch = health_pb2_grpc.HealthStub(service.channel("dso")).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        service.process.send_signal(signal.SIGINT)
        assert next(watch).status == NOT_SERVING
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(DEADLINE_S) == 128 + signal.SIGTERM


def test_reflection_is_answered_in_development_alone(tmp_path, pki):
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    def services(service):
        stub = reflection_pb2_grpc.ServerReflectionStub(service.channel("operator"))
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=DEADLINE_S)
        return {found.name for found in answer.list_services_response.service}

    with served(tmp_path / "data", pki) as service, pytest.raises(grpc.RpcError) as caught:
        services(service)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with served(tmp_path / "data", pki, "--development") as service:
        assert {"gridpact.v1.OperatorService", "grpc.health.v1.Health"} <= services(service)


def test_new_credentials_are_shown_without_a_restart(tmp_path, pki):
    own = tmp_path / "pki"
    init(own, grid="village", days=2, hosts=())

    def shown(port):
        context = ssl.create_default_context(cafile=str(own / "ca.pem"))
        context.load_cert_chain(own / "dso.pem", own / "dso.key")
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", port), DEADLINE_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            return ssl.DER_cert_to_PEM_cert(secured.getpeercert(binary_form=True))

    with served(tmp_path / "data", own) as service:
        assert shown(service.port).split() == (own / "server.pem").read_text().split()
        assert gridpact("pki", "issue", own, "server", "--host", "grid.example", "--replace").returncode == 0
        assert shown(service.port).split() == (own / "server.pem").read_text().split()
        assert found(service).microgrid.name == "microgrids/village"


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path, pki):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = gridpact("serve", "--data", tmp_path / "data", "--pki", pki, "--listen", address)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"gridpact serve: cannot listen on {address}: the port is in use\n"


@pytest.fixture
def refused(capfd):
    """The one line with which a start is refused, here in the test's own process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def refused(*arguments):
        code = main(["serve", *map(str, arguments)])
        written = capfd.readouterr()
        assert (code, written.out) == (2, "")
        assert written.err.startswith("gridpact serve: ")
        assert written.err.count("\n") == 1
        return written.err.removeprefix("gridpact serve: ").rstrip()

    yield refused
    root.handlers[:] = handlers
    root.setLevel(level)


def test_what_hinders_a_start_is_one_line(tmp_path, pki, refused, monkeypatch):
    data = tmp_path / "data"
    said = refused("--data", data, "--pki", tmp_path)
    assert said.startswith(f"{tmp_path / 'server.pem'}: cannot be read: No such file or directory")
    data.mkdir(mode=0o700)
    (data / "gridpact.sqlite").write_bytes(b"no database" * 1000)
    assert "cannot be opened: file is not a database" in refused("--data", data, "--pki", pki)
    monkeypatch.setenv("GRIDPACT_DATABASE_URL", "postgresql+psycopg://gridpact:hunter2@127.0.0.1:1/none")
    said = refused("--data", data, "--pki", pki)
    assert said.startswith("database 127.0.0.1:1/none: cannot be opened: ")
    assert "hunter2" not in said


def test_an_interrupt_while_it_starts_leaves_quietly(tmp_path, pki):
    options = ["--data", str(tmp_path / "d"), "--pki", str(pki), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "controller.cli", "serve", *options],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "d" / "serve.lock").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode in (0, 130)
    assert "Traceback" not in said
