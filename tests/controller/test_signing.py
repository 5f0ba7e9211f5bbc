from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from controller.signing import sign, verifies

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()


@given(st.binary(max_size=200), st.sampled_from(["gridpact.v1.Order", "gridpact.v1.Envelope"]))
def test_what_was_signed_verifies(payload, type_name):
    assert verifies(PUBLIC, sign(KEY, type_name, payload), type_name, payload)


@given(st.binary(min_size=1, max_size=50), st.integers(0, 10**6))
def test_no_bit_may_change(payload, place):
    signature = sign(KEY, "gridpact.v1.Order", payload)
    for original in (payload, signature):
        changed = bytearray(original)
        changed[place % (8 * len(changed)) // 8] ^= 1 << place % 8
        one, other = (bytes(changed), signature) if original is payload else (payload, bytes(changed))
        assert not verifies(PUBLIC, other, "gridpact.v1.Order", one)


def test_the_type_is_signed_too():
    signature = sign(KEY, "gridpact.v1.Order", b"x")
    assert not verifies(PUBLIC, signature, "gridpact.v1.Envelope", b"x")


def test_type_and_payload_cannot_be_shifted_against_each_other():
    assert sign(KEY, "gridpact.v1.Order", b"x") != sign(KEY, "gridpact.v1.Orde", b"rx")
    assert not verifies(PUBLIC, sign(KEY, "gridpact.v1.Order", b"x"), "gridpact.v1.Orde", b"r\0x")


@given(st.binary(max_size=40), st.binary(max_size=70))
def test_no_made_up_key_or_signature_verifies_or_fails_otherwise(public_key, signature):
    assert not verifies(public_key, signature, "gridpact.v1.Order", b"x")
    assert not verifies(PUBLIC, signature, "gridpact.v1.Order", b"x")
