"""Every signed payload: who signed what for which purpose, and what its bytes are."""

import pytest
from grpc import StatusCode

from gridpact.v1 import dso_pb2, metering_pb2, operator_pb2, participant_pb2, validator_pb2

NAME = "microgrids/village"
MALFORMED = (b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x00" * 40)
"""No field, a field that is cut off, text that is no UTF-8, field number zero."""


class Kind:
    """How one of the four kinds of payload is sent."""

    def __init__(self, site, name):
        self.site = site
        self.name = name
        participants = site.participant("ada")
        self.holder, self.key_id, self.type_name, self.call, self.wrap = {
            "order": ("ada", "order-ada", "gridpact.v1.Order", participants.SubmitOrder, self.order),
            "envelope": ("wires", "envelope-wires", "gridpact.v1.Envelope", site.dso.CreateEnvelope, self.envelope),
            "readings": (
                "gateway",
                "reading-gateway",
                "gridpact.v1.ReadingBatch",
                site.gateway.SubmitReadings,
                self.readings,
            ),
            "attestation": (
                "val",
                "attestation-val",
                "gridpact.v1.Attestation",
                site.validator.SubmitAttestation,
                self.attestation,
            ),
        }[name]

    def message(self):
        site = self.site
        match self.name:
            case "order":
                return site.order("ada", 2)
            case "envelope":
                return site.envelope("limit")
            case "readings":
                return site.batch(site.start + 2700)
            case _:
                header = next(row for row in site.rows("headers") if row["window"] == site.window(0))
                return validator_pb2.Attestation(window=site.window(0), run=0, header_hash=header["hash"])

    def order(self, signed):
        return participant_pb2.SubmitOrderRequest(order=signed, request_id=self.site.request_id())

    def envelope(self, signed):
        return dso_pb2.CreateEnvelopeRequest(parent=NAME, envelope=signed, request_id=self.site.request_id())

    def readings(self, signed):
        return metering_pb2.SubmitReadingsRequest(readings=signed, request_id=self.site.request_id())

    def attestation(self, signed):
        return validator_pb2.SubmitAttestationRequest(attestation=signed, request_id=self.site.request_id())

    def signed(self, message=None):
        return self.site.signed(self.holder, self.key_id, self.message() if message is None else message)

    def refused(self, signed):
        return self.site.refused(self.call, self.wrap(signed))


@pytest.fixture(params=["order", "envelope", "readings", "attestation"])
def kind(settled, request):
    """One kind of payload, at a time at which each is right."""
    settled.clock.set(settled.start + 2700)
    return Kind(settled, request.param)


def test_what_its_author_signed_is_taken(kind):
    kind.call(kind.wrap(kind.signed()))


def test_a_flipped_bit_of_the_payload_is_noticed(kind):
    signed = kind.signed()
    for place in range(0, 8 * len(signed.payload), 101):
        payload = bytearray(signed.payload)
        payload[place // 8] ^= 1 << place % 8
        changed = type(signed)(payload=bytes(payload), signature=signed.signature, key_id=signed.key_id)
        assert kind.refused(changed).reason == "BAD_SIGNATURE"


def test_a_flipped_bit_of_the_signature_is_noticed(kind):
    signed = kind.signed()
    for place in (0, 255, 256, 511):
        signature = bytearray(signed.signature)
        signature[place // 8] ^= 1 << place % 8
        changed = type(signed)(payload=signed.payload, signature=bytes(signature), key_id=signed.key_id)
        answer = kind.refused(changed)
        assert (answer.code, answer.reason) == (StatusCode.PERMISSION_DENIED, "BAD_SIGNATURE")


def test_what_is_no_signature_is_refused(kind):
    signed = kind.signed()
    for signature in (b"", bytes(63), bytes(64), bytes(65)):
        signed.signature = signature
        assert kind.refused(signed).reason == "BAD_SIGNATURE"


def test_an_unknown_key_is_refused(kind):
    signed = kind.signed()
    for key_id in ("", "none", "x" * 10_000):
        signed.key_id = key_id
        answer = kind.refused(signed)
        assert answer.reason == "BAD_SIGNATURE"
        assert len(answer.message) < 400


def test_another_private_key_does_not_sign_for_a_registered_one(kind):
    signed = kind.site.signed("mallory", kind.key_id, kind.message())
    assert kind.refused(signed).reason == "BAD_SIGNATURE"


def test_a_key_of_another_holder_or_purpose_is_refused(kind):
    others = {"order-bob", "order-ada", "envelope-wires", "reading-gateway", "attestation-val"} - {kind.key_id}
    for other in sorted(others):
        signed = kind.site.signed(other.partition("-")[2], other, kind.message())
        assert kind.refused(signed).reason == "BAD_SIGNATURE"


def test_a_key_of_the_holders_for_another_purpose_is_refused(kind):
    """The very same private key, registered for something else."""
    purposes = {"order": "READING", "envelope": "ORDER", "readings": "ENVELOPE", "attestation": "ORDER"}
    kind.site.operator.RegisterKey(
        operator_pb2.RegisterKeyRequest(
            parent=NAME,
            key_id="second",
            purpose=operator_pb2.KeyPurpose.Value(f"KEY_PURPOSE_{purposes[kind.name]}"),
            holder=kind.holder,
            public_key=kind.site.key(kind.holder).public_key().public_bytes_raw(),
            request_id="second",
        )
    )
    assert kind.refused(kind.site.signed(kind.holder, "second", kind.message())).reason == "BAD_SIGNATURE"


def test_a_signature_over_another_type_of_message_is_refused(kind):
    payload = kind.message().SerializeToString(deterministic=True)
    for type_name in ("gridpact.v1.Order", "gridpact.v1.Envelope", "gridpact.v1.ReadingBatch", "", "Order"):
        if type_name != kind.type_name:
            signed = kind.site.signed_bytes(kind.holder, kind.key_id, type_name, payload)
            assert kind.refused(signed).reason == "BAD_SIGNATURE"


def test_nothing_signed_is_refused(kind):
    assert kind.refused(None).reason == "BAD_SIGNATURE"


@pytest.mark.parametrize("payload", MALFORMED, ids=["no field", "cut off", "no UTF-8", "field zero"])
def test_bytes_that_are_no_message_are_an_invalid_argument(kind, payload):
    signed = kind.site.signed_bytes(kind.holder, kind.key_id, kind.type_name, payload)
    answer = kind.refused(signed)
    assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, (f"{kind.name}.payload",))


def test_an_empty_payload_is_refused_whatever_it_lacks(kind):
    signed = kind.site.signed_bytes(kind.holder, kind.key_id, kind.type_name, b"")
    assert kind.refused(signed).code in {StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND}
