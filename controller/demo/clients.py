"""The callers of the demonstration day. Each has its own certificate, key and connection, and knows the API alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.hashing import keccak
from controller.access import Role
from controller.demo.recompute import header_of
from controller.demo.scenario import Participant, Scenario
from controller.microgrid import MeterReading
from controller.pki import Authority
from controller.signing import sign
from controller.wire import fields
from controller.wire.community import microgrid_message
from controller.wire.flexibility_message import flexibility_message
from gridpact.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    dispatch_pb2,
    dispatch_pb2_grpc,
    dso_pb2,
    dso_pb2_grpc,
    metering_pb2,
    metering_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    participant_pb2,
    participant_pb2_grpc,
    types_pb2,
    validator_pb2,
    validator_pb2_grpc,
)

TIMEOUT_S = 600.0
PAGE = 1000
MANDATE_S = 7 * 86_400
"""The aggregator's mandate outlasts the day by a week."""


OWN_POOL = ("grpc.use_local_subchannel_pool", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialer:
    """Opens connections as any identity of the demonstration.

    Attributes
    ----------
    authority : issues the certificates
    target : HOST:PORT of the service
    grid : the microgrid's id
    seed : of the signing keys, so that a day repeats exactly
    """

    authority: Authority
    target: str
    grid: str
    seed: int

    def channel(self, role: Role, id_: str) -> grpc.aio.Channel:
        """A connection of its own under mutual TLS."""
        # Without a pool of its own, gRPC would share connections among equal channels.
        return grpc.aio.secure_channel(self.target, self._credentials(role, id_), options=[OWN_POOL])

    def blocking_channel(self, role: Role, id_: str, options: Sequence[tuple[str, int]] = ()) -> grpc.Channel:
        """The same for a client in a thread of its own."""
        return grpc.secure_channel(self.target, self._credentials(role, id_), options=[OWN_POOL, *options])

    def _credentials(self, role: Role, id_: str) -> grpc.ChannelCredentials:
        identity = self.authority.client(f"spiffe://{self.grid}/{role.value}/{id_}")
        return grpc.ssl_channel_credentials(
            root_certificates=self.authority.certificate,
            private_key=identity.key,
            certificate_chain=identity.certificate,
        )

    def key(self, holder: str) -> Ed25519PrivateKey:
        """The signing key of a holder."""
        secret = hashlib.sha256(f"gridpact demo {self.seed} {self.grid} {holder}".encode()).digest()
        return Ed25519PrivateKey.from_private_bytes(secret)


def signed(key: Ed25519PrivateKey, key_id: str, message: Any) -> types_pb2.Signed:
    """A message in its signed envelope."""
    payload = message.SerializeToString(deterministic=True)
    return types_pb2.Signed(payload=payload, signature=sign(key, message.DESCRIPTOR.full_name, payload), key_id=key_id)


class OperatorClient:
    """Sets the community up."""

    def __init__(self, dialer: Dialer, scenario: Scenario) -> None:
        self._dialer = dialer
        self._scenario = scenario
        self.channel = dialer.channel(Role.OPERATOR, "operator")
        self._stub = operator_pb2_grpc.OperatorServiceStub(self.channel)
        self._name = scenario.microgrid.name

    async def set_up(self) -> None:
        """Create the microgrid, its members, and the keys of all who sign."""
        await self._stub.CreateMicrogrid(
            operator_pb2.CreateMicrogridRequest(
                microgrid=microgrid_message(self._scenario.microgrid), request_id="microgrid"
            ),
            timeout=TIMEOUT_S,
        )
        for participant in self._scenario.participants:
            member = participant.member
            await self._stub.CreateMember(
                operator_pb2.CreateMemberRequest(
                    parent=self._name,
                    member=operator_pb2.Member(name=f"{self._name}/members/{member.id}", section=member.section),
                    request_id=f"member-{member.id}",
                ),
                timeout=TIMEOUT_S,
            )
            await self._register(f"order-{member.id}", operator_pb2.KEY_PURPOSE_ORDER, member.id)
        await self._register("envelope-dso", operator_pb2.KEY_PURPOSE_ENVELOPE, "dso")
        await self._register("reading-gateway", operator_pb2.KEY_PURPOSE_READING, "gateway")
        await self._register("attestation-validator", operator_pb2.KEY_PURPOSE_ATTESTATION, "validator")

    async def _register(self, key_id: str, purpose: operator_pb2.KeyPurpose.ValueType, holder: str) -> None:
        public = self._dialer.key(holder).public_key()
        await self._stub.RegisterKey(
            operator_pb2.RegisterKeyRequest(
                parent=self._name,
                key_id=key_id,
                purpose=purpose,
                holder=holder,
                public_key=public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw),
                request_id=f"key-{key_id}",
            ),
            timeout=TIMEOUT_S,
        )


class DsoClient:
    """Sets limits."""

    def __init__(self, dialer: Dialer, microgrid: str) -> None:
        self._key = dialer.key("dso")
        self.channel = dialer.channel(Role.DSO, "dso")
        self._stub = dso_pb2_grpc.DsoServiceStub(self.channel)
        self._name = microgrid

    async def limit(self, id_: str, *, start: int, end: int, lower_w: int, upper_w: int, reason: str) -> None:
        """Bound the connection point's power in ``[start, end)``."""
        envelope = dso_pb2.Envelope(
            name=f"{self._name}/envelopes/{id_}",
            target=self._name,
            periods=[
                dso_pb2.EnvelopePeriod(
                    interval=fields.interval_message(start, end),
                    bounds=types_pb2.PowerBounds(lower_w=lower_w, upper_w=upper_w),
                )
            ],
            reason=reason,
        )
        await self._stub.CreateEnvelope(
            dso_pb2.CreateEnvelopeRequest(
                parent=self._name, envelope=signed(self._key, "envelope-dso", envelope), request_id=id_
            ),
            timeout=TIMEOUT_S,
        )

    async def planned_load(self) -> tuple[int, tuple[int, ...]]:
        """Start and mean W of each MTU of the newest plan for the connection point."""
        answer = await self._stub.GetPlannedLoad(dso_pb2.GetPlannedLoadRequest(parent=self._name), timeout=TIMEOUT_S)
        return answer.start_time.seconds, tuple(answer.net_power_w)


class AggregatorClient:
    """Asks for plans and follows clearings."""

    def __init__(self, dialer: Dialer, microgrid: str) -> None:
        self.channel = dialer.channel(Role.AGGREGATOR, "aggregator")
        self._stub = dispatch_pb2_grpc.DispatchServiceStub(self.channel)
        self._name = microgrid

    async def request_plan(self, request_id: str) -> dispatch_pb2.Plan:
        """A plan from what is known now."""
        answer = await self._stub.RequestPlan(
            dispatch_pb2.RequestPlanRequest(parent=self._name, request_id=request_id), timeout=TIMEOUT_S
        )
        return answer.plan

    async def clearing(self, window: str) -> dispatch_pb2.Clearing:
        """What became of a window."""
        answer = await self._stub.GetClearing(dispatch_pb2.GetClearingRequest(window=window), timeout=TIMEOUT_S)
        return answer.clearing


class ParticipantClient:
    """A household: says what it has, orders, looks at its trades."""

    def __init__(self, dialer: Dialer, scenario: Scenario, participant: Participant) -> None:
        self.participant = participant
        self._scenario = scenario
        self._name = scenario.microgrid.name
        self._id = participant.member.id
        self._key = dialer.key(self._id)
        self.channel = dialer.channel(Role.PARTICIPANT, self._id)
        self._stub = participant_pb2_grpc.ParticipantServiceStub(self.channel)

    async def register_devices(self) -> None:
        """Tell the service what the devices can do."""
        for device in self.participant.devices:
            await self._stub.UpdateFlexibility(
                participant_pb2.UpdateFlexibilityRequest(
                    flexibility=flexibility_message(self._scenario.microgrid.id, device),
                    request_id=f"device-{device.id.replace('/', '-')}",
                ),
                timeout=TIMEOUT_S,
            )

    async def give_mandate(self) -> None:
        """Let the aggregator see the household's trades and plan its devices."""
        scopes = {"trades": participant_pb2.CONSENT_SCOPE_TRADES, "dispatch": participant_pb2.CONSENT_SCOPE_DISPATCH}
        for name, scope in scopes.items():
            await self._stub.GrantConsent(
                participant_pb2.GrantConsentRequest(
                    parent=f"{self._name}/members/{self._id}",
                    consent=participant_pb2.Consent(
                        grantee="aggregator/aggregator",
                        scope=scope,
                        expire_time=fields.timestamp(self._scenario.microgrid.end + MANDATE_S),
                    ),
                    request_id=f"mandate-{name}",
                ),
                timeout=TIMEOUT_S,
            )

    async def order(self, window: str, mtu: int) -> None:
        """Order for the window that starts with the MTU of that number."""
        own = self.participant
        order = participant_pb2.Order(
            window=window,
            member=f"{self._name}/members/{self._id}",
            load_w=own.load_w[mtu:],
            production=[
                participant_pb2.ProductionForecast(
                    device=fields.device_name(self._scenario.microgrid.id, device), available_w=series[mtu:]
                )
                for device, series in sorted(own.available_w.items())
            ],
            partners=[
                participant_pb2.Partner(member=f"{self._name}/members/{other}", preference_micro_per_kwh=preference)
                for other, preference in sorted(own.partners.items())
            ],
        )
        await self._stub.SubmitOrder(
            participant_pb2.SubmitOrderRequest(
                order=signed(self._key, f"order-{self._id}", order), request_id=f"order-{mtu}"
            ),
            timeout=TIMEOUT_S,
        )

    async def trades(self, window: str) -> Sequence[dispatch_pb2.Trade]:
        """The household's own trades of a window."""
        answer = await self._stub.ListOwnTrades(
            participant_pb2.ListOwnTradesRequest(parent=window, page_size=PAGE), timeout=TIMEOUT_S
        )
        return answer.trades

    async def proof(self, trade: str) -> audit_pb2.Proof:
        """The proof of one of its trades."""
        answer = await self._stub.GetTradeProof(participant_pb2.GetTradeProofRequest(name=trade), timeout=TIMEOUT_S)
        return answer.proof


class GatewayClient:
    """Reports what the meters say."""

    def __init__(self, dialer: Dialer, microgrid: str) -> None:
        self._key = dialer.key("gateway")
        self.channel = dialer.channel(Role.METER, "gateway")
        self._stub = metering_pb2_grpc.MeteringServiceStub(self.channel)
        self._name = microgrid
        self._sequence = 0

    async def submit(self, readings: Sequence[MeterReading]) -> None:
        """Report one reading of each meter."""
        self._sequence += 1
        batch = metering_pb2.ReadingBatch(
            parent=self._name,
            sequence=self._sequence,
            readings=[
                metering_pb2.Reading(
                    member=f"{self._name}/members/{reading.member}",
                    instant=fields.timestamp(reading.instant),
                    import_wh=reading.import_wh,
                    export_wh=reading.export_wh,
                    quality=metering_pb2.READING_QUALITY_MEASURED,
                )
                for reading in readings
            ],
        )
        await self._stub.SubmitReadings(
            metering_pb2.SubmitReadingsRequest(
                readings=signed(self._key, "reading-gateway", batch), request_id=f"batch-{self._sequence}"
            ),
            timeout=TIMEOUT_S,
        )


class ValidatorClient:
    """Recomputes a settled window's header from its records before it signs it."""

    def __init__(self, dialer: Dialer) -> None:
        self._key = dialer.key("validator")
        self.channel = dialer.channel(Role.VALIDATOR, "validator")
        self._stub = validator_pb2_grpc.ValidatorServiceStub(self.channel)

    async def attest(self, window: str) -> bytes:
        """The hash that was attested.

        Raises
        ------
        ValueError
            If the records do not give the header's hash.
        """
        answer = await self._stub.GetWindowRecords(
            validator_pb2.GetWindowRecordsRequest(window=window), timeout=TIMEOUT_S
        )
        header = header_of(answer)
        if header.hash != answer.header.hash:
            raise ValueError(f"{window}: got header 0x{answer.header.hash.hex()}, recomputed 0x{header.hash.hex()}")
        attestation = validator_pb2.Attestation(window=window, run=header.run, header_hash=header.hash)
        await self._stub.SubmitAttestation(
            validator_pb2.SubmitAttestationRequest(
                attestation=signed(self._key, "attestation-validator", attestation),
                request_id=f"attest-{keccak(window.encode()).hex()[:16]}",
            ),
            timeout=TIMEOUT_S,
        )
        return header.hash


class AuditorClient:
    """Reads the chain of headers."""

    def __init__(self, dialer: Dialer, microgrid: str) -> None:
        self.channel = dialer.channel(Role.AUDITOR, "auditor")
        self._stub = audit_pb2_grpc.AuditServiceStub(self.channel)
        self._name = microgrid

    async def headers(self) -> list[audit_pb2.Header]:
        """All headers in the order of their chain."""
        answer = await self._stub.ListHeaders(
            audit_pb2.ListHeadersRequest(parent=self._name, page_size=PAGE), timeout=TIMEOUT_S
        )
        return list(answer.headers)
