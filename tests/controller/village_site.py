"""The village's microgrid controller on the loopback interface.

The service is the real one: gRPC under mutual TLS, SQLite in a temporary folder, a virtual clock. Its loop runs in a
thread of its own, so that tests call it like any client does, without being coroutines themselves.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from controller.app import Service, Settings
from controller.clock import VirtualClock
from controller.fleet import Declared
from controller.hub import LeasedCommand
from controller.pki import Authority
from controller.sealing import seeded_salts
from controller.store import market, schema
from controller.wire import fields
from controller.wire.community import microgrid_message
from gridpact.v1 import operator_pb2, operator_pb2_grpc, participant_pb2
from tests.controller.refused_calls import Refused, refusal
from tests.controller.stand_ins import FragileDatabase, ScriptedSolver
from tests.controller.village import MTU_S, SECTIONS, START, calendar, flexibilities
from tests.controller.village_callers import Callers
from tests.controller.village_messages import Messages

LEASE_S = 3600


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service", daemon=True)
        self._thread.start()

    def run(self, coroutine):
        """What a coroutine returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def call(self, function):
        """What a function returns that is called in the loop."""

        async def called():
            return function()

        return self.run(called())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Site(Callers, Messages):
    """A running service with its clock, its store and its callers.

    Parameters
    ----------
    path : of the database; or its URL
    anchored : makes the anchorer for a database; None leaves anchors pending
    parts : further arguments of the service
    """

    def __init__(self, path: Path | str, loop: Loop, authority: Authority, *, anchored=None, **parts) -> None:
        super().__init__()
        self.path = path
        self.loop = loop
        self.authority = authority
        self.clock = VirtualClock(START - 3600)
        self.solver = ScriptedSolver()
        self._anchored = anchored
        self._parts = parts
        self.open()
        self.service._hub._inherited_until = self.clock.now()  # who founded the village told no driver anything

    # The service's life.

    def open(self) -> None:
        """Start the service on the database, as after a crash or a planned restart."""
        self.database = FragileDatabase(self.path if isinstance(self.path, str) else f"sqlite:///{self.path}")
        self.service = Service(
            Settings(
                listen="127.0.0.1:0",
                certificate=self.authority.server(),
                authority=self.authority.certificate,
                # The clock leaps from MTU to MTU: streams live through that.
                lease_s=LEASE_S,
                limits_journal=None if isinstance(self.path, str) else self.path.with_suffix(".limits"),
            ),
            database=self.database,
            clock=self.clock,
            solver=self.solver,
            salts=seeded_salts(b"village"),
            anchorer=self._anchored(self.database) if self._anchored else None,
            **self._parts,
        )
        self.port = self.loop.run(self.service.start())

    def close(self) -> None:
        """Stop it."""
        self.hang_up()
        self.loop.run(self.service.stop())
        self.database.close()

    def crash(self) -> None:
        """End it without a word to anybody, as a loss of power does."""
        self.loop.run(self.service._server.stop(None))
        self.service._server = None
        self.service._hub._said.lose()
        self.close()

    def restart(self) -> None:
        """Stop and start it."""
        self.close()
        self.open()

    def advance(self, instant: int | None = None) -> int:
        """Let it take the steps that are due, at an instant or now."""
        if instant is not None:
            self.clock.set(instant)
        return self.loop.run(self.service.advance())

    def anchor(self):
        """Let it move its anchors on."""
        return self.loop.run(self.service.anchor())

    # What happens.

    def refused(self, call, request) -> Refused:
        """What a call is refused with; it left no trace in the store."""
        before = self.rows()
        with pytest.raises(grpc.RpcError) as caught:
            call(request)
        assert self.rows() == before
        return refusal(caught.value)

    def live(self, *, until: int, advance: Callable[[int], object] | None = None, missing=frozenset()) -> None:
        """Let gates close, meters report and windows move on, from the clock's instant to another, both included.

        Of ``missing``, pairs of a member and an MTU's number, there is no reading.
        """
        advance = advance or self.advance
        gates = {START + 1800 * number - 300 for number in range(4)}
        ticks = {START + MTU_S * mtu for mtu in range(9)}
        for instant in sorted(gates | ticks):
            if not self.clock.now() <= instant <= until:
                continue
            self.clock.set(instant)
            if instant in ticks and instant not in self._reported():
                mtu = (instant - START) // MTU_S
                members = [member for member in self.members if (member, mtu) not in missing]
                self.gateway.SubmitReadings(self.batch_request(self.batch(instant, members=members)))
            advance(instant)

    def told(self, device: str) -> list[int] | None:
        """The values of what a driver of the device is told now; None where nothing is meant."""
        hub = self.service._hub
        stream = hub.join("village", device, declared=Declared(), pushes=False)
        hub.heartbeat(stream, 1)
        self.loop.call(self.service.control)
        answer = hub.answer(stream)
        hub.leave(stream)
        setpoints = answer.setpoints if isinstance(answer, LeasedCommand) else ()
        return [setpoint.target.value for setpoint in setpoints] or None

    def _reported(self) -> set[int]:
        return {row["instant"] for row in self.rows("meter_readings")}

    # What is on disk.

    def rows(self, *tables: str):
        """The rows of a table, or of all tables by name but for the journal of who asked, and of refused readings."""

        def read(connection):
            return {
                name: [dict(row._mapping) for row in connection.execute(table.select())]
                for name, table in schema.metadata.tables.items()
                if name in tables or (not tables and name not in {"accesses", "meter_events"})
            }

        found = self.database.run(read)
        return found[tables[0]] if len(tables) == 1 else found

    def states(self) -> list[str]:
        """The state of each window."""
        return [row.state for row in self.database.run(market.windows, "village")]

    def row(self, number: int) -> market.WindowRow:
        """A window as it is kept."""
        return self.database.run(market.window, self.window(number))

    def of_window(self, table: str, number: int):
        """The rows of a table that belong to a window."""
        return [row for row in self.rows(table) if row["window"] == self.window(number)]

    def postings(self, number: int) -> list[tuple[str, str, int]]:
        """What a window's settlement posted: account, kind, micro-currency."""
        return [(row["account"], row["kind"], row["amount_micro"]) for row in self.of_window("postings", number)]


def found(site: Site, grid: str) -> None:
    """Everything that a community needs before its first gate closes, over the API."""
    operator = site.stub(operator_pb2_grpc.OperatorServiceStub, "operator/op", grid)
    name = f"microgrids/{grid}"
    operator.CreateMicrogrid(
        operator_pb2.CreateMicrogridRequest(microgrid=microgrid_message(calendar(grid)), request_id="found")
    )
    for member, section in SECTIONS.items():
        operator.CreateMember(
            operator_pb2.CreateMemberRequest(
                parent=name,
                member=operator_pb2.Member(name=f"{name}/members/{member}", section=section),
                request_id=f"member-{member}",
            )
        )
    signers = [("ORDER", member) for member in SECTIONS]
    signers += [("OFFER", "agg"), ("ENVELOPE", "wires"), ("READING", "gateway"), ("ATTESTATION", "val")]
    for purpose, holder in signers:
        key_id = f"{purpose.lower()}-{holder}"
        operator.RegisterKey(
            operator_pb2.RegisterKeyRequest(
                parent=name,
                key_id=key_id,
                purpose=operator_pb2.KeyPurpose.Value(f"KEY_PURPOSE_{purpose}"),
                holder=holder,
                public_key=site.key(holder).public_key().public_bytes_raw(),
                request_id=key_id,
            )
        )
    for flexibility in flexibilities(grid):
        member = flexibility.device.split("/")[3]
        site.participant(member, grid).UpdateFlexibility(
            participant_pb2.UpdateFlexibilityRequest(flexibility=flexibility, request_id="device")
        )
    for member in SECTIONS:
        mandate(site, member, grid)
        site.participant(member, grid).SubmitOrder(
            participant_pb2.SubmitOrderRequest(
                order=site.signed(member, f"order-{member}", site.order(member, grid=grid)), request_id="first-order"
            )
        )


def mandate(site: Site, member: str, grid: str = "village", grantee: str = "aggregator/agg") -> None:
    """Let an aggregator see a member's trades and plan its devices to the end of the horizon."""
    for scope in (participant_pb2.CONSENT_SCOPE_TRADES, participant_pb2.CONSENT_SCOPE_DISPATCH):
        site.participant(member, grid).GrantConsent(
            participant_pb2.GrantConsentRequest(
                parent=f"microgrids/{grid}/members/{member}",
                consent=participant_pb2.Consent(
                    grantee=grantee, scope=scope, expire_time=fields.timestamp(calendar(grid).end + 86_400)
                ),
                request_id=f"mandate-{grantee.replace('/', '-')}-{scope}",
            )
        )
