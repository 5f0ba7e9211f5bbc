"""The village's service as a process that is killed and started again, and everybody who calls it meanwhile."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from sqlalchemy import create_engine, text

from controller.pki import Authority
from gridpact.v1 import operator_pb2
from tests.controller.village_callers import Callers
from tests.controller.village_messages import Messages
from tests.crash.zygote import INSTANT
from tests.integration.served import ROOT, environment

CALL_S = 60
GATE_S = 300
UNKNOWN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
"""What a caller is told of a call that may have acted or not."""


@dataclass(slots=True)
class Call:
    """A call, and its answer where there was one, or why nobody knows."""

    caller: str
    method: str
    request: object
    answer: object = None
    unheard: object = None

    @property
    def key(self):
        return self.caller, self.request.request_id


class Village(Callers, Messages):
    """The village's callers, and a service that is killed and started again.

    Parameters
    ----------
    folder : for everything
    url : of the database; None for SQLite in the data folder
    """

    def __init__(self, folder, url):
        super().__init__()
        self.authority = Authority()
        self.data, self.pki = folder / "data", folder / "pki"
        self.url = url or f"sqlite:///{self.data / 'gridpact.sqlite'}"
        server = self.authority.server()
        self.pki.mkdir()
        (self.pki / "ca.pem").write_bytes(self.authority.certificate)
        (self.pki / "server.pem").write_bytes(server.certificate)
        (self.pki / "server.key").write_bytes(server.key)
        (self.pki / "server.key").chmod(0o600)
        self._pid = None
        self.clock = folder / "clock"
        self.set_clock(self.start - 3600)
        self._log = (folder / "log").open("ab")
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote", str(self.clock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env=environment(),
            text=True,
        )

    def set_clock(self, instant):
        file = os.open(self.clock, os.O_WRONLY | os.O_CREAT)
        os.pwrite(file, INSTANT.pack(instant), 0)
        os.close(file)

    def up(self):
        """Start the service; whoever called the one before dials anew."""
        self.hang_up()
        arguments = ["serve", "--data", self.data, "--pki", self.pki, "--listen", "127.0.0.1:0"]
        arguments += ["--set", f"database_url={self.url}", "--set", "tick_s=0.05"]
        self._zygote.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._zygote.stdin.flush()
        said = [self._zygote.stdout.readline(), self._zygote.stdout.readline()]
        listening = next(line for line in said if line.startswith("listening"))
        self._pid = int(next(line for line in said if line != listening))
        self.port = int(listening.rsplit(":", 1)[1])

    def down(self, number=signal.SIGKILL):
        """End it. Callers may still be calling: they hang up when it is up again."""
        os.kill(self._pid, number)
        self._pid = None
        while self._zygote.stdout.readline() != "ended\n":
            pass

    def close(self):
        """End whatever still runs."""
        if self._pid is not None:
            self.down()
        self.hang_up()
        self._zygote.stdin.close()
        self._zygote.wait(60)
        self._zygote.stdout.close()
        self._log.close()

    def stub_of(self, caller):
        return self.participant(caller) if caller in self.members else getattr(self, caller)

    def ask(self, call):
        """Make a call; False where nobody knows whether it acted."""
        try:
            call.answer = getattr(self.stub_of(call.caller), call.method)(call.request, timeout=CALL_S)
        except grpc.RpcError as err:
            if err.code() in UNKNOWN:
                call.unheard = (err.code(), err.details())
                return False
            raise
        return True

    def states(self):
        """The windows' states, read beside the service."""
        engine = create_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            found = list(connection.execute(text("SELECT state FROM windows ORDER BY start")).scalars())
        engine.dispose()
        return found


class Load:
    """Everybody calls at once until the service is gone."""

    def __init__(self, village: Village, chance: random.Random, count: Callable[[], int], now: float) -> None:
        self.calls: list[Call] = []
        self.faults: list[BaseException] = []
        self._village, self._count, self._now = village, count, now
        callers = [*village.members, "operator", "dso"]
        self._threads = [
            threading.Thread(target=self._go_on, args=(c, random.Random(chance.random()))) for c in callers
        ]
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join()
        assert self.faults == []

    def _go_on(self, caller, chance):
        try:
            while (call := self._next(caller, chance)) is not None:
                self.calls.append(call)
                if not self._village.ask(call):
                    return
        except BaseException as err:
            self.faults.append(err)

    def _next(self, caller, chance):
        village, number = self._village, self._count()
        if caller == "operator":
            request = operator_pb2.RegisterKeyRequest(
                parent="microgrids/village",
                key_id=f"key-{number}",
                purpose=operator_pb2.KEY_PURPOSE_READING,
                holder="spare",
                public_key=village.key(f"spare-{number}").public_key().public_bytes_raw(),
                request_id=village.request_id(),
            )
            return Call(caller, "RegisterKey", request)
        if caller == "dso":
            request = village.envelope_request(village.envelope(f"e{number}", (0, 8, -50_000, 60_000)))
            return Call(caller, "CreateEnvelope", request)
        # A window whose gate stays open until the kill.
        coming = [w for w in range(4) if village.start + 1800 * w - GATE_S > self._now]
        order = village.order(caller, chance.choice(coming)) if coming else None
        if order is None:
            return None
        order.load_w[0] = number % 1000 + 1
        order.load_w[1] = number // 1000
        request = village.order_request(caller, 0)
        request.order.CopyFrom(village.signed(caller, f"order-{caller}", order))
        return Call(caller, "SubmitOrder", request)


def check_again(village, calls, kept):
    """After a restart: whoever was answered is answered the same, whoever was not asks again."""
    for call in calls:
        answer = call.answer
        try:
            known = village.ask(call)
        except grpc.RpcError:
            assert answer is None, f"{call.method} was acknowledged, and is refused when it is repeated"
            continue  # the gate has closed in between; it has not acted, else it had been answered
        assert known, f"{call.method} by {call.caller} got no answer: {call.unheard}"
        assert answer is None or call.answer == answer
        kept.append(call)
