"""Validators' signatures by EIP-712: over a batch, and over the next set of validators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contracts.errors import ContractsError
from contracts.hashing import hash_values, keccak
from contracts.transactions import Address

DOMAIN_NAME = "GridpactRegistry"
DOMAIN_VERSION = "1"
ROTATION_TYPE = b"Rotation(uint64 epoch,uint64 threshold,bytes32 validators)"
"""EIP-712 type of a change of the validators; `validators` is the hash of their addresses as 32-byte words in a row."""

MAX_VALIDATORS = 32
SIGNATURE_BYTES = 65
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


class SignatureRefusedError(ContractsError):
    """A signature is none, or not of whom it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """For which contract a signature counts.

    Attributes
    ----------
    chain_id : int
        Of its chain.
    contract : Address
        Where it stands.
    name, version : str
        Which contract it is; the registry, unless told otherwise.
    """

    chain_id: int
    contract: Address
    name: str = DOMAIN_NAME
    version: str = DOMAIN_VERSION

    @property
    def separator(self) -> bytes:
        """EIP-712 domain separator, 32 bytes."""
        return hash_values(
            ("bytes32", "bytes32", "bytes32", "uint256", "address"),
            (
                keccak(_DOMAIN_TYPE),
                keccak(self.name.encode()),
                keccak(self.version.encode()),
                self.chain_id,
                self.contract,
            ),
        )

    def digest(self, struct_hash: bytes) -> bytes:
        """What is signed for a struct hash, 32 bytes."""
        return keccak(b"\x19\x01" + self.separator + struct_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """Who may sign, and how many of them must.

    Attributes
    ----------
    epoch : int
        How often the set was changed.
    threshold : int
        How many signatures it takes, 1 to the number of validators.
    validators : tuple of Address
        In ascending order, each once, at most `MAX_VALIDATORS`, none zero.
    """

    epoch: int
    threshold: int
    validators: tuple[Address, ...]

    def __post_init__(self) -> None:
        ascending = list(self.validators) == sorted(set(self.validators))
        if not 1 <= len(self.validators) <= MAX_VALIDATORS or not ascending or int(self.validators[0], 16) == 0:
            wanted = f"1 to {MAX_VALIDATORS} addresses in ascending order, each once, none zero"
            raise ContractsError(f"validators: got {', '.join(self.validators) or 'none'}, wanted {wanted}")
        if not 1 <= self.threshold <= len(self.validators):
            raise ContractsError(f"threshold: got {self.threshold}, wanted 1 to {len(self.validators)}")

    @property
    def rotation_hash(self) -> bytes:
        """Struct hash that the validators of the epoch before sign for this set, 32 bytes."""
        words = b"".join(bytes.fromhex(address[2:]).rjust(32, b"\0") for address in self.validators)
        return hash_values(
            ("bytes32", "uint64", "uint64", "bytes32"),
            (keccak(ROTATION_TYPE), self.epoch, self.threshold, keccak(words)),
        )

    def pack(self, signatures: Mapping[Address, bytes]) -> bytes | None:
        """As many signatures as it takes, in ascending order of their signers; None where there are too few.

        Parameters
        ----------
        signatures : mapping from validator to its signature
            Those of strangers are left out.
        """
        signers = [address for address in self.validators if address in signatures][: self.threshold]
        return None if len(signers) < self.threshold else b"".join(signatures[signer] for signer in signers)

    def check(self, digest: bytes, packed: bytes) -> tuple[Address, ...]:
        """The signers of packed signatures, as the registry counts them.

        Raises
        ------
        SignatureRefusedError
            If there are fewer than it takes, one twice or out of order, one of a stranger, or one malformed.
        """
        count, rest = divmod(len(packed), SIGNATURE_BYTES)
        if rest or count < self.threshold:
            wanted = f"{self.threshold} or more of {SIGNATURE_BYTES} bytes each"
            raise SignatureRefusedError(f"signatures: got {len(packed)} bytes, wanted {wanted}")
        signers = [recover(digest, each) for each in split(packed)]
        _check_order(signers)
        for signer in signers:
            if signer not in self.validators:
                raise SignatureRefusedError(f"signature: got signer {signer}, wanted one of {len(self.validators)}")
        return tuple(signers)


def split(packed: bytes) -> Sequence[bytes]:
    """The signatures that `Quorum.pack` put together."""
    return [packed[k : k + SIGNATURE_BYTES] for k in range(0, len(packed), SIGNATURE_BYTES)]


def sign(private_key: bytes, digest: bytes) -> bytes:
    """A signature: r, s and v in 65 bytes, s in the lower half, v 27 or 28; the same inputs give the same bytes."""
    from eth_keys.datatypes import PrivateKey

    signature = PrivateKey(private_key).sign_msg_hash(digest)
    return int(signature.r).to_bytes(32) + int(signature.s).to_bytes(32) + bytes([27 + signature.v])


def recover(digest: bytes, signature: bytes) -> Address:
    """Who signed a digest.

    Raises
    ------
    SignatureRefusedError
        If it is not 65 bytes, has s in the upper half or v other than 27 and 28, or belongs to nobody.
    """
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    if len(signature) != SIGNATURE_BYTES:
        raise SignatureRefusedError(f"signature: got {len(signature)} bytes, wanted {SIGNATURE_BYTES}")
    r, s, v = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64]), signature[64]
    if s > _HALF_ORDER:
        raise SignatureRefusedError("signature: got s in the upper half, wanted the lower: only one of the two counts")
    if v not in {27, 28}:
        raise SignatureRefusedError(f"signature: got v {v}, wanted 27 or 28")
    try:
        key = Signature(vrs=(v - 27, r, s)).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError) as err:
        raise SignatureRefusedError("signature: got one that belongs to nobody, wanted a validator's") from err
    return Address("0x" + key.to_canonical_address().hex())


def _check_order(signers: Iterable[Address]) -> None:
    last = ""
    for signer in signers:
        if signer == last:
            raise SignatureRefusedError(f"signatures: got two of {signer}, wanted one of each")
        if signer < last:
            raise SignatureRefusedError(f"signatures: got {signer} after {last}, wanted ascending order")
        last = signer
