"""A village of three members, its microgrid controller on the loopback interface, and everyone who calls it.

The service is the real one: gRPC under mutual TLS, SQLite in a temporary folder, a virtual clock. Its loop runs in a
thread of its own, so that tests call it like any client does, without being coroutines themselves.
"""

import asyncio
import hashlib
import pickle
import secrets
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from contracts.anchoring import Anchorer
from contracts.chain import EmbeddedChain, Genesis
from contracts.registry import deploy
from contracts.transactions import LocalSigner
from controller.app import Service, Settings
from controller.clock import VirtualClock
from controller.microgrid import Microgrid, TariffPeriod
from controller.pki import Authority
from controller.sealing import seeded_salts
from controller.signing import sign
from controller.store import market, schema
from controller.store.database import Database
from controller.store.evidence import StoredOutbox
from controller.wire import fields
from controller.wire.community import microgrid_message
from gridpact.v1 import (
    audit_pb2_grpc,
    dispatch_pb2_grpc,
    driver_pb2_grpc,
    dso_pb2,
    dso_pb2_grpc,
    metering_pb2,
    metering_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    participant_pb2,
    participant_pb2_grpc,
    types_pb2,
    validator_pb2_grpc,
)
from optimization.clearing import Outcome
from optimization.community import Community
from optimization.reference.dispatch import dispatch

MTU_S = 900
START = int(datetime(2026, 3, 2, 6, tzinfo=UTC).timestamp())
SECTIONS = {"ada": "east", "bob": "east", "eve": "west"}
# Watts that make no whole Wh in a quarter of an hour, so that every rounding has something to do.
LOADS_W = {"ada": 301, "bob": 503, "eve": 707}
SUN_W = (0, 1500, 3001, 4003, 4003, 3001, 1500, 700)
NET_WH = {
    "ada": (75, -280, -400, -633, -901, -377, -160, -99),
    "bob": (126, 501, 500, 376, 127, 125, 126, 124),
    "eve": (177, 180, -20, 340, 176, 177, 178, 90),
}
"""What the meters really saw in each MTU."""


class Crash(Exception):  # noqa: N818  # no error, an end
    """The machine stops."""


class FragileDatabase(Database):
    """Lets the machine stop after a commit: armed with n, after the n-th from then on."""

    commits_left: int | None = None

    def run(self, statement, *args, **kwargs):
        changed = False

        def watched(connection):
            nonlocal changed
            raw = connection.connection.dbapi_connection
            before = raw.total_changes
            result = statement(connection, *args, **kwargs)
            changed = raw.total_changes != before
            return result

        result = super().run(watched)
        if changed and self.commits_left is not None:
            self.commits_left -= 1
            if self.commits_left <= 0:
                self.commits_left = None
                raise Crash
        return result


class ScriptedSolver:
    """Answers by its script first, one entry for each problem, then as the reference does.

    An entry is an exception to raise, or what makes the answer of a community. Equal problems are solved once.
    """

    answers: dict[bytes, Outcome] = {}  # noqa: RUF012  # of all tests

    def __init__(self) -> None:
        self.script: deque[Exception | Callable[[Community], Outcome]] = deque()
        self.asked = 0

    async def solve(self, community: Community) -> Outcome:
        self.asked += 1
        if self.script:
            entry = self.script.popleft()
            if isinstance(entry, Exception):
                raise entry
            return entry(community)
        return self.reference(community)

    def reference(self, community: Community) -> Outcome:
        key = pickle.dumps(community)
        if key not in self.answers:
            self.answers[key] = dispatch(community)
        return self.answers[key]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """What a refused caller is told."""

    code: grpc.StatusCode
    message: str
    reason: str
    fields: tuple[str, ...]
    descriptions: tuple[str, ...]


def refusal(err: grpc.RpcError) -> Refused:
    """The canonical code and the google.rpc details of a refused call."""
    status = rpc_status.from_call(err)
    assert status is not None, f"no details: {err}"
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        assert detail.Unpack(info) or detail.Unpack(bad)
    assert info.domain == "gridpact"
    assert status.message == err.details()
    return Refused(
        code=err.code(),
        message=err.details(),
        reason=info.reason,
        fields=tuple(v.field for v in bad.field_violations),
        descriptions=tuple(v.description for v in bad.field_violations),
    )


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service", daemon=True)
        self._thread.start()

    def run(self, coroutine):
        """What a coroutine returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Site:
    """A running service with its clock, its store and its callers.

    Parameters
    ----------
    path : of the database
    anchored : makes the anchorer for a database; None leaves anchors pending
    """

    start, mtu_s = START, MTU_S
    members = tuple(SECTIONS)

    def __init__(self, path: Path, loop: Loop, authority: Authority, *, anchored=None) -> None:
        self.path = path
        self.loop = loop
        self.authority = authority
        self.clock = VirtualClock(START - 3600)
        self.solver = ScriptedSolver()
        self._anchored = anchored
        self._channels: dict[tuple[str, ...], grpc.Channel] = {}
        self.open()

    # The service's life.

    def open(self) -> None:
        """Start the service on the database, as after a crash or a planned restart."""
        self.database = FragileDatabase(f"sqlite:///{self.path}")
        self.service = Service(
            Settings(listen="127.0.0.1:0", certificate=self.authority.server(), authority=self.authority.certificate),
            database=self.database,
            clock=self.clock,
            solver=self.solver,
            salts=seeded_salts(b"village"),
            anchorer=self._anchored(self.database) if self._anchored else None,
        )
        self.port = self.loop.run(self.service.start())

    def close(self) -> None:
        """Stop it."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        for name in ("operator", "dso", "aggregator", "gateway", "validator", "auditor"):
            self.__dict__.pop(name, None)
        self.loop.run(self.service.stop())
        self.database.close()

    def crash(self) -> None:
        """End it without a word to anybody, as a loss of power does."""
        self.loop.run(self.service._server.stop(None))
        self.service._server = None
        self.service._hub._reports.clear()
        self.service._hub._states.clear()
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

    # Its callers.

    def channel(self, *uris: str, authority: Authority | None = None) -> grpc.Channel:
        """A connection with a certificate that carries these URIs; without a certificate where there is none."""
        key = (*uris, "" if authority is None else str(id(authority)))
        if key not in self._channels:
            identity = (authority or self.authority).client(uris[0]) if uris else None
            credentials = grpc.ssl_channel_credentials(
                root_certificates=self.authority.certificate,
                private_key=identity.key if identity else None,
                certificate_chain=identity.certificate if identity else None,
            )
            self._channels[key] = self.dial(credentials)
        return self._channels[key]

    def dial(self, credentials: grpc.ChannelCredentials) -> grpc.Channel:
        """A connection with credentials of one's own making."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options=options)

    def stub(self, kind, name: str, grid: str = "village"):
        """A service's stub in the hands of ``{role}/{id}``."""
        return kind(self.channel(f"spiffe://{grid}/{name}"))

    @cached_property
    def operator(self):
        return self.stub(operator_pb2_grpc.OperatorServiceStub, "operator/op")

    @cached_property
    def dso(self):
        return self.stub(dso_pb2_grpc.DsoServiceStub, "dso/wires")

    @cached_property
    def aggregator(self):
        return self.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/agg")

    @cached_property
    def gateway(self):
        return self.stub(metering_pb2_grpc.MeteringServiceStub, "meter/gateway")

    @cached_property
    def validator(self):
        return self.stub(validator_pb2_grpc.ValidatorServiceStub, "validator/val")

    @cached_property
    def auditor(self):
        return self.stub(audit_pb2_grpc.AuditServiceStub, "auditor/aud")

    def participant(self, member: str, grid: str = "village"):
        return self.stub(participant_pb2_grpc.ParticipantServiceStub, f"participant/{member}", grid)

    def driver(self, device: str, grid: str = "village"):
        return self.stub(driver_pb2_grpc.DriverServiceStub, f"driver/{device}", grid)

    def refused(self, call, request) -> Refused:
        """What a call is refused with; it left no trace in the store."""
        before = self.rows()
        with pytest.raises(grpc.RpcError) as caught:
            call(request)
        assert self.rows() == before
        return refusal(caught.value)

    @staticmethod
    def request_id() -> str:
        """One that was not used before."""
        return secrets.token_hex(8)

    # What they say.

    def window(self, number: int = 0, grid: str = "village") -> str:
        """The resource name of one of the four half-hour windows."""
        return f"microgrids/{grid}/windows/{datetime.fromtimestamp(START + 1800 * number, UTC):%Y%m%dT%H%M%SZ}"

    @staticmethod
    def key(holder: str) -> Ed25519PrivateKey:
        """The signing key of a holder."""
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(holder.encode()).digest())

    def signed(self, holder: str, key_id: str, message) -> types_pb2.Signed:
        """A message as its author signs it."""
        payload = message.SerializeToString(deterministic=True)
        return self.signed_bytes(holder, key_id, message.DESCRIPTOR.full_name, payload)

    def signed_bytes(self, holder: str, key_id: str, type_name: str, payload: bytes) -> types_pb2.Signed:
        """Any bytes as the author of such a message signs them."""
        signature = sign(self.key(holder), type_name, payload)
        return types_pb2.Signed(payload=payload, signature=signature, key_id=key_id)

    def order(self, member: str, number: int = 0, grid: str = "village", **changes) -> participant_pb2.Order:
        """A member's order for a window; sunshine for ada, and everyone is everyone's partner."""
        mtus = 8 - 2 * number
        values = {
            "window": self.window(number, grid),
            "member": f"microgrids/{grid}/members/{member}",
            "load_w": [LOADS_W[member]] * mtus,
            "production": [
                participant_pb2.ProductionForecast(
                    device=fields.device_name(grid, "ada/pv"), available_w=SUN_W[2 * number :]
                )
            ]
            if member == "ada"
            else [],
            "partners": [
                participant_pb2.Partner(member=f"microgrids/{grid}/members/{other}", preference_micro_per_kwh=1000 * k)
                for k, other in enumerate(sorted(set(SECTIONS) - {member}), start=1)
            ],
        }
        return participant_pb2.Order(**values | changes)

    def order_request(self, member: str, number: int = 0, **changes) -> participant_pb2.SubmitOrderRequest:
        """A signed order in a request."""
        order = self.order(member, number, **changes)
        return participant_pb2.SubmitOrderRequest(
            order=self.signed(member, f"order-{member}", order), request_id=self.request_id()
        )

    def envelope(self, id_: str, *periods: tuple[int, int, int | None, int | None], **changes) -> dso_pb2.Envelope:
        """An envelope on the connection point; periods are from MTU, to MTU, lower W, upper W."""
        values = {
            "name": f"microgrids/village/envelopes/{id_}",
            "target": "microgrids/village",
            "periods": [
                dso_pb2.EnvelopePeriod(
                    interval=fields.interval_message(START + MTU_S * first, START + MTU_S * end),
                    bounds=types_pb2.PowerBounds(lower_w=lower, upper_w=upper),
                )
                for first, end, lower, upper in periods or [(0, 8, -5000, 6000)]
            ],
            "reason": "works on the line",
        }
        return dso_pb2.Envelope(**values | changes)

    def envelope_request(self, envelope: dso_pb2.Envelope, **changes) -> dso_pb2.CreateEnvelopeRequest:
        """A signed envelope in a request."""
        values = {
            "parent": "microgrids/village",
            "envelope": self.signed("wires", "envelope-wires", envelope),
            "request_id": self.request_id(),
        }
        return dso_pb2.CreateEnvelopeRequest(**values | changes)

    def batch(self, instant: int, *, members=None, sequence: int | None = None) -> metering_pb2.ReadingBatch:
        """What the gateway reports of an MTU's end."""
        mtu = (instant - START) // MTU_S
        return metering_pb2.ReadingBatch(
            parent="microgrids/village",
            sequence=10 * mtu + 1 if sequence is None else sequence,
            readings=[
                metering_pb2.Reading(
                    member=f"microgrids/village/members/{member}",
                    instant=fields.timestamp(instant),
                    import_wh=1000 + sum(max(net, 0) for net in NET_WH[member][:mtu]),
                    export_wh=500 + sum(max(-net, 0) for net in NET_WH[member][:mtu]),
                    quality=metering_pb2.READING_QUALITY_MEASURED,
                )
                for member in (self.members if members is None else members)
            ],
        )

    def batch_request(self, batch: metering_pb2.ReadingBatch) -> metering_pb2.SubmitReadingsRequest:
        """A signed batch in a request."""
        return metering_pb2.SubmitReadingsRequest(
            readings=self.signed("gateway", "reading-gateway", batch), request_id=self.request_id()
        )

    # What happens.

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

    def _reported(self) -> set[int]:
        return {row["instant"] for row in self.rows("meter_readings")}

    # What is on disk.

    def rows(self, *tables: str):
        """The rows of a table, or of all tables by name."""

        def read(connection):
            return {
                name: [dict(row._mapping) for row in connection.execute(table.select())]
                for name, table in schema.metadata.tables.items()
                if name in tables or not tables
            }

        found = self.database.run(read)
        return found[tables[0]] if len(tables) == 1 else found

    def states(self) -> list[str]:
        """The state of each window."""
        return [row.state for row in self.database.run(market.windows, "village")]

    def row(self, number: int) -> market.WindowRow:
        """A window as it is kept."""
        return self.database.run(market.window, self.window(number))


def calendar(grid: str) -> Microgrid:
    """Four windows of half an hour in quarter-hours; the second hour is dear."""
    dear = START + 3600
    return Microgrid(
        id=grid,
        time_zone="Europe/Berlin",
        mtu_minutes=15,
        window_minutes=30,
        lead_minutes=5,
        start=START,
        end=START + 7200,
        network_charge_micro_per_kwh=5000,
        currency="EUR",
        tariff=(
            TariffPeriod(start=START, end=dear, import_price_micro_per_kwh=60_000, export_price_micro_per_kwh=39_000),
            TariffPeriod(
                start=dear, end=START + 7200, import_price_micro_per_kwh=95_001, export_price_micro_per_kwh=39_003
            ),
        ),
    )


def flexibilities(grid: str) -> list[participant_pb2.Flexibility]:
    """ada's plant, bob's boiler, eve's battery."""
    return [
        participant_pb2.Flexibility(
            device=fields.device_name(grid, "ada/pv"),
            power_envelope=participant_pb2.PowerEnvelopeBasedControl(rated_power_w=4000),
        ),
        participant_pb2.Flexibility(
            device=fields.device_name(grid, "bob/boiler"),
            operation_mode=participant_pb2.OperationModeBasedControl(
                rated_power_w=1501,
                allowed=fields.interval_message(START, START + 7200),
                required_duration=Duration(seconds=2700),
            ),
        ),
        participant_pb2.Flexibility(
            device=fields.device_name(grid, "eve/battery"),
            fill_rate=participant_pb2.FillRateBasedControl(
                max_charge_w=2000,
                max_discharge_w=1800,
                capacity_wh=3001,
                stored_wh=1000,
                final_wh=1200,
                charge_efficiency_ppm=950_000,
                discharge_efficiency_ppm=930_000,
                cycle_cost_micro_per_kwh=1000,
            ),
        ),
    ]


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
    signers += [("ENVELOPE", "wires"), ("READING", "gateway"), ("ATTESTATION", "val")]
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
        site.participant(member, grid).SubmitOrder(
            participant_pb2.SubmitOrderRequest(
                order=site.signed(member, f"order-{member}", site.order(member, grid=grid)), request_id="first-order"
            )
        )


@pytest.fixture(scope="session")
def refusal_of() -> Callable[[grpc.RpcError], Refused]:
    """Reads what a refused caller is told."""
    return refusal


@pytest.fixture(scope="session")
def make_anchored() -> Callable[[], Callable[[Database], Anchorer]]:
    """Makes chains, each as what makes an anchorer for a database."""

    def make() -> Callable[[Database], Anchorer]:
        signer = LocalSigner(b"\x07" * 32)
        genesis = Genesis(chain_id=7, timestamp=START, gas_limit=30_000_000, balances={signer.address: 10**18})
        chain = EmbeddedChain(genesis)
        registry = deploy(chain, signer).registry
        return lambda database: Anchorer(chain, registry, signer, StoredOutbox(database))

    return make


@pytest.fixture(scope="session")
def crash() -> type[Crash]:
    """What is raised where the machine stops."""
    return Crash


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    """The services' loop."""
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Issues everyone's certificates."""
    return Authority()


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory, loop: Loop, authority: Authority) -> Path:
    """The database of the village before its first gate closes."""
    path = tmp_path_factory.mktemp("founded") / "gridpact.sqlite"
    site = Site(path, loop, authority)
    found(site, "village")
    site.close()
    return path


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory, loop: Loop, authority: Authority, founded: Path) -> Path:
    """The database of the village half an hour later: a window is settled, the next is delivering."""
    path = Path(shutil.copy(founded, tmp_path_factory.mktemp("lived")))
    site = Site(path, loop, authority)
    site.live(until=START + 1800)
    assert site.states() == ["SETTLED", "DELIVERING", "OPEN", "OPEN"]
    site.close()
    return path


@pytest.fixture
def make_site(
    tmp_path: Path, loop: Loop, authority: Authority, founded: Path, lived: Path
) -> Iterator[Callable[..., Site]]:
    """Starts services, each on a database of its own with these communities.

    ``village`` and ``hamlet`` are equal; ``lived`` is the village half an hour after the horizon's start.
    """
    sites: list[Site] = []

    def make(*communities: str, anchored=None) -> Site:
        path = tmp_path / f"{len(sites)}.sqlite"
        if "village" in communities:
            shutil.copy(founded, path)
        if "lived" in communities:
            shutil.copy(lived, path)
        sites.append(Site(path, loop, authority, anchored=anchored))
        if "lived" in communities:
            sites[-1].clock.set(START + 1800)
        if "hamlet" in communities:
            found(sites[-1], "hamlet")
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """The village's service, half an hour before its first gate closes."""
    return make_site("village")


@pytest.fixture
def settled(make_site: Callable[..., Site]) -> Site:
    """The village's service half an hour after the horizon's start: a window is settled, the next is delivering."""
    return make_site("lived")
