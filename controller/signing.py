"""Ed25519 signatures over typed payloads."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def sign(key: Ed25519PrivateKey, type_name: str, payload: bytes) -> bytes:
    """The signature of a payload as a message of ``type_name``, such as ``gridpact.v1.Order``.

    The type's name is signed too, so that no signature can be taken for one over another kind of message.
    """
    return key.sign(_signed(type_name, payload))


def verifies(public_key: bytes, signature: bytes, type_name: str, payload: bytes) -> bool:
    """Whether the signature is of that key over that payload as that type."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _signed(type_name, payload))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed(type_name: str, payload: bytes) -> bytes:
    return type_name.encode() + b"\0" + payload
