"""What the edge does for every method: time, denials, quotas, sizes, deadlines, faults."""

import asyncio
import logging
import re
import socket
import ssl
import threading
import time
from contextlib import closing

import grpc
import pytest

from controller.access import Role
from controller.clock import VirtualClock
from controller.errors import StoreUnavailableError
from controller.quotas import Limits, Quotas
from controller.services import allowances
from controller.services.allowances import Allowance
from gridpact.v1 import driver_pb2, operator_pb2, operator_pb2_grpc

NAME = "microgrids/village"
GET = operator_pb2.GetMicrogridRequest(name=NAME)
PV = driver_pb2.ConnectRequest(descriptor=driver_pb2.Descriptor(device=f"{NAME}/members/ada/devices/pv"))
AUDITOR = "spiffe://village/auditor/aud"


class Held:
    """A driver's stream that is open until it is ended by the other side."""

    def __init__(self, site, device="ada/pv"):
        self._done = threading.Event()
        self._said = [PV]
        self._more = threading.Event()
        self.answers = site.driver(device).Connect(self._requests(), timeout=30)

    def _requests(self):
        while not self._done.wait(0.005):
            while self._said:
                yield self._said.pop(0)

    def say(self, message):
        self._said.append(message)

    def error(self):
        """What the stream ends with."""
        with pytest.raises(grpc.RpcError) as caught:
            for _ in self.answers:
                pass
        self._done.set()
        return caught.value


@pytest.fixture
def open_stream():
    """Opens streams that are closed in the end."""
    streams = []

    def open_stream(site):
        stream = Held(site)
        streams.append(stream)
        assert next(stream.answers).HasField("welcome")
        return stream

    yield open_stream
    for stream in streams:
        stream.answers.cancel()
        stream._done.set()


def operator(site, uri=AUDITOR):
    return operator_pb2_grpc.OperatorServiceStub(site.channel(uri))


def recheck(site):
    async def run():
        return site.service.recheck()

    return site.loop.run(run())


class TestCertificateThatRunsOut:
    """TLS looks at a certificate's dates in the handshake alone; an open connection would go on for months."""

    @pytest.fixture
    def site(self, make_site):
        wall = VirtualClock(time.time())
        site = make_site("village", wall=wall)
        site.wall = wall
        return site

    def test_it_may_call_no_more_over_the_connection_that_is_open(self, site, refusal_of):
        stub = operator(site)
        stub.GetMicrogrid(GET)
        site.wall.set(time.time() + 8 * 86_400)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetMicrogrid(GET)
        answer = refusal_of(caught.value)
        assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CERTIFICATE_EXPIRED")

    def test_its_streams_are_ended_at_the_next_look(self, site, open_stream, refusal_of):
        stream = open_stream(site)
        assert recheck(site) == 0
        site.wall.set(time.time() + 8 * 86_400)
        assert recheck(site) == 1
        assert refusal_of(stream.error()).reason == "CERTIFICATE_EXPIRED"
        assert recheck(site) == 0


class TestDeniedIdentity:
    def deny(self, site, subject=AUDITOR, **changes):
        values = {"parent": NAME, "subject": subject, "reason": "stolen", "request_id": site.request_id()}
        return operator_pb2.DenyIdentityRequest(**values | changes)

    def allow(self, site, subject):
        return operator_pb2.AllowIdentityRequest(parent=NAME, subject=subject, request_id=site.request_id())

    def test_it_is_shut_out_from_the_next_call_until_it_is_allowed_again(self, site, refusal_of):
        operator(site).GetMicrogrid(GET)
        site.operator.DenyIdentity(self.deny(site))
        with pytest.raises(grpc.RpcError) as caught:
            operator(site).GetMicrogrid(GET)
        answer = refusal_of(caught.value)
        assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_DENIED")
        site.operator.AllowIdentity(self.allow(site, AUDITOR))
        operator(site).GetMicrogrid(GET)

    def test_it_is_shut_out_after_a_restart_too(self, site):
        site.operator.DenyIdentity(self.deny(site))
        site.restart()
        with pytest.raises(grpc.RpcError, match="denied by the operator"):
            operator(site).GetMicrogrid(GET)

    def test_its_streams_are_ended_at_the_next_look(self, site, open_stream, refusal_of):
        stream = open_stream(site)
        site.operator.DenyIdentity(self.deny(site, "spiffe://village/driver/ada/pv"))
        assert recheck(site) == 1
        assert refusal_of(stream.error()).reason == "IDENTITY_DENIED"

    def test_denials_are_listed_in_order(self, site):
        for subject in ("spiffe://village/meter/gateway", "serial:0xFF"):
            site.operator.DenyIdentity(self.deny(site, subject))
        found = operator(site).ListDenials(operator_pb2.ListDenialsRequest(parent=NAME)).denials
        assert [(d.subject, d.reason) for d in found] == [
            ("serial:ff", "stolen"),
            ("spiffe://village/meter/gateway", "stolen"),
        ]

    @pytest.mark.parametrize(
        ("changes", "code", "fields"),
        [
            ({"subject": ""}, grpc.StatusCode.INVALID_ARGUMENT, ("subject",)),
            ({"subject": "spiffe://village/king/x"}, grpc.StatusCode.INVALID_ARGUMENT, ("subject",)),
            ({"subject": "spiffe://village/operator/op"}, grpc.StatusCode.INVALID_ARGUMENT, ("subject",)),
            ({"subject": "spiffe://hamlet/auditor/aud"}, grpc.StatusCode.NOT_FOUND, ()),
            ({"reason": "x" * 501}, grpc.StatusCode.OUT_OF_RANGE, ("reason",)),
            ({"reason": "\x1b[2J"}, grpc.StatusCode.INVALID_ARGUMENT, ("reason",)),
            ({"parent": "village"}, grpc.StatusCode.INVALID_ARGUMENT, ("parent",)),
        ],
    )
    def test_a_wrong_denial_is_refused(self, site, changes, code, fields):
        answer = site.refused(site.operator.DenyIdentity, self.deny(site, **changes))
        assert (answer.code, answer.fields) == (code, fields)

    def test_who_is_not_denied_cannot_be_allowed(self, site):
        answer = site.refused(site.operator.AllowIdentity, self.allow(site, AUDITOR))
        assert answer.code is grpc.StatusCode.NOT_FOUND


class TestQuotas:
    def test_too_many_calls_are_told_when_to_come_back(self, make_site, refusal_of):
        site = make_site("village", quotas=Quotas(dict.fromkeys(Role, Limits(calls_per_s=0.01, calls_burst=2))))
        stub = operator(site)
        stub.GetMicrogrid(GET)
        stub.GetMicrogrid(GET)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetMicrogrid(GET)
        answer = refusal_of(caught.value)
        assert (answer.code, answer.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
        assert answer.quotas == (f"{AUDITOR}/calls",)
        assert 90 < answer.retry_s <= 100
        operator(site, "spiffe://village/auditor/other").GetMicrogrid(GET)

    def test_a_flood_on_a_stream_ends_it(self, make_site, open_stream, refusal_of):
        site = make_site("village", quotas=Quotas(dict.fromkeys(Role, Limits(messages_per_s=0.01, messages_burst=5))))
        stream = open_stream(site)
        for counter in range(1, 6):
            stream.say(driver_pb2.ConnectRequest(heartbeat=driver_pb2.Heartbeat(counter=counter)))
        assert refusal_of(stream.error()).quotas == ("spiffe://village/driver/ada/pv/messages",)

    def test_a_stream_that_ended_makes_room_for_another(self, make_site, open_stream, refusal_of):
        site = make_site("village", quotas=Quotas(dict.fromkeys(Role, Limits(streams=1))))
        first = open_stream(site)
        assert refusal_of(Held(site).error()).quotas == ("spiffe://village/driver/ada/pv/streams",)
        first.answers.cancel()
        for _ in range(100):
            second = Held(site)
            try:
                assert next(second.answers).HasField("welcome")
            except grpc.RpcError:
                continue
            finally:
                second.answers.cancel()
                second._done.set()
            return
        pytest.fail("the stream's place was never given back")


class TestMessages:
    @pytest.mark.parametrize("size", [65_537, 10**7, 10 * 2**20])
    def test_one_that_is_too_large_is_refused_with_details(self, site, refusal_of, size):
        with pytest.raises(grpc.RpcError) as caught:
            operator(site).GetMicrogrid(operator_pb2.GetMicrogridRequest(name="x" * size))
        answer = refusal_of(caught.value)
        assert (answer.code, answer.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")

    def test_one_that_the_transport_refuses_leaves_the_service_up(self, site):
        with pytest.raises(grpc.RpcError) as caught:
            operator(site).GetMicrogrid(operator_pb2.GetMicrogridRequest(name="x" * 20 * 2**20))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        operator(site).GetMicrogrid(GET)

    @pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x0b" * 200])
    def test_one_that_is_none_is_invalid(self, site, refusal_of, raw):
        call = site.channel(AUDITOR).unary_unary("/gridpact.v1.OperatorService/GetMicrogrid")
        with pytest.raises(grpc.RpcError) as caught:
            call(raw, timeout=20)
        answer = refusal_of(caught.value)
        assert (answer.code, answer.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("message",))

    def test_on_a_stream_too(self, site, refusal_of):
        call = site.channel("spiffe://village/driver/ada/pv").stream_stream("/gridpact.v1.DriverService/Connect")
        with pytest.raises(grpc.RpcError) as caught:
            next(call(iter([b"\xff"]), timeout=20))
        assert refusal_of(caught.value).fields == ("message",)
        with pytest.raises(grpc.RpcError) as caught:
            next(call(iter([b"\x00" * 70_000]), timeout=20))
        assert refusal_of(caught.value).reason == "MESSAGE_TOO_LARGE"

    def test_who_may_not_call_is_told_that_first(self, site, refusal_of):
        call = site.channel(AUDITOR).unary_unary("/gridpact.v1.DsoService/CreateEnvelope")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff", timeout=20)
        assert refusal_of(caught.value).code is grpc.StatusCode.PERMISSION_DENIED


class TestFaults:
    @pytest.fixture
    def failing(self, site, monkeypatch):
        """Lets the store raise."""

        def fail(err):
            def raised(*_args, **_values):
                raise err

            for way in ("run", "run_async", "read", "read_async"):
                monkeypatch.setattr(site.database, way, raised)

        return fail

    def ask(self, site, refusal_of):
        with pytest.raises(grpc.RpcError) as caught:
            operator(site).ListMembers(operator_pb2.ListMembersRequest(parent=NAME))
        return refusal_of(caught.value)

    def test_what_is_in_memory_is_answered_while_the_store_is_not_there(self, site, failing):
        failing(StoreUnavailableError("database: gone"))
        assert operator(site).GetMicrogrid(GET).microgrid.name == NAME

    def test_of_ours_the_caller_learns_an_incident_and_nothing_else(self, site, failing, refusal_of, caplog):
        failing(RuntimeError("the password is 1234"))
        with caplog.at_level(logging.ERROR):
            answer = self.ask(site, refusal_of)
        assert answer.code is grpc.StatusCode.INTERNAL
        incident = re.fullmatch(r"internal error; the service's log has it as incident ([0-9a-f]{12})", answer.message)
        assert f"incident {incident[1]}" in caplog.text
        assert "1234" in caplog.text

    def test_a_store_that_does_not_answer_is_unavailable(self, site, failing, refusal_of):
        failing(StoreUnavailableError("database sqlite:///secret/place: disk I/O error"))
        answer = self.ask(site, refusal_of)
        assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert answer.retry_s > 0
        assert "secret" not in answer.message

    def test_a_call_that_takes_too_long_is_given_up(self, make_site, monkeypatch, refusal_of):
        monkeypatch.setattr(allowances, "_USUAL", Allowance(seconds=0.05))
        site = make_site("village")

        async def wait(*_args):
            await asyncio.sleep(30)

        monkeypatch.setattr(site.database, "run_async", wait)
        monkeypatch.setattr(site.database, "read_async", wait)
        answer = self.ask(site, refusal_of)
        assert (answer.code, answer.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


class Downgrade:
    """Carries a plain connection over TLS 1.2, with a client certificate: what an old client would speak."""

    def __init__(self, site, uri):
        theirs = site.authority.client(uri)
        self._prepare(site, theirs)
        self._target = site.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.version = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _prepare(self, site, theirs):
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.maximum_version = ssl.TLSVersion.TLSv1_2
        self._tls.load_verify_locations(cadata=site.authority.certificate.decode())
        self._tls.set_alpn_protocols(["h2"])
        self._theirs = theirs

    def load(self, folder):
        path = folder / "client.pem"
        path.write_bytes(self._theirs.certificate + self._theirs.key)
        self._tls.load_cert_chain(path)

    def _serve(self):
        plain, _ = self._listener.accept()
        secure = self._tls.wrap_socket(
            socket.create_connection(("127.0.0.1", self._target)), server_hostname="localhost"
        )
        self.version = secure.version()
        secure.settimeout(0.01)
        plain.settimeout(0.01)
        with plain, secure:
            while True:
                for source, sink in ((plain, secure), (secure, plain)):
                    try:
                        data = source.recv(65_536)
                    except TimeoutError:
                        continue
                    except OSError:
                        return
                    if not data:
                        return
                    sink.sendall(data)

    def close(self):
        self._listener.close()


def test_a_client_that_speaks_tls_1_2_is_refused(site, tmp_path, refusal_of):
    with closing(Downgrade(site, AUDITOR)) as old:
        old.load(tmp_path)
        with grpc.insecure_channel(f"127.0.0.1:{old.port}") as channel, pytest.raises(grpc.RpcError) as caught:
            operator_pb2_grpc.OperatorServiceStub(channel).GetMicrogrid(GET, timeout=20)
        assert old.version == "TLSv1.2"
    answer = refusal_of(caught.value)
    assert answer.code is grpc.StatusCode.UNAUTHENTICATED
    assert "TLS 1.3" in answer.message


def test_a_call_waits_for_no_method_but_its_own(site):
    """gRPC waits for each registered method anew with every call; methods that are looked up by name cost nothing."""
    operator(site).GetMicrogrid(GET)
    tasks = site.loop.call(asyncio.all_tasks)
    waiting = [repr(task) for task in tasks]
    assert not [name for name in waiting if "_request_registered_call" in name]
