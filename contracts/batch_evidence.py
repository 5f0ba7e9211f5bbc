"""Batches as evidence states them, with what validators signed under them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from contracts.batch import MAX_WINDOWS, Batch, batch_hash
from contracts.chain_evidence import read_address, read_hash, read_number
from contracts.errors import EvidenceError
from contracts.hashing import parse_hex, to_hex
from contracts.quorum import SIGNATURE_BYTES, Domain, Quorum, SignatureRefusedError, recover
from contracts.records import read_object
from contracts.transactions import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBatch:
    """A batch, and what validators signed under it.

    Attributes
    ----------
    batch : Batch
        The batch.
    signatures : mapping from address to bytes
        By validator, 65 bytes each.
    """

    batch: Batch
    signatures: Mapping[Address, bytes]

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them; which headers it has follows from its place."""
        return {
            "number": self.batch.number,
            "first": self.batch.first,
            "count": len(self.batch.headers),
            "previous": to_hex(self.batch.previous),
            "windows_root": to_hex(self.batch.windows_root),
            "hash": to_hex(self.batch.hash),
            "signatures": signatures_to_json(self.signatures),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedBatch:
    """A batch as evidence states it: everything in it may be wrong.

    Attributes
    ----------
    number : int
        Place among the microgrid's batches.
    first, count : int
        Which of the microgrid's headers it has.
    previous, windows_root, hash : bytes
        Hash of the batch before, root of its windows, its own hash; 32 bytes each.
    signatures : mapping from address to bytes
        By validator.
    place : str
        File and line, for messages.
    """

    number: int
    first: int
    count: int
    previous: bytes
    windows_root: bytes
    hash: bytes
    signatures: Mapping[Address, bytes]
    place: str

    @classmethod
    def from_json(cls, value: object, place: str) -> Self:
        """The batch that a line spells."""
        names = ("number", "first", "count", "previous", "windows_root", "hash", "signatures")
        fields = read_object(value, names)
        count = read_number(fields["count"], "count")
        if not 1 <= count <= MAX_WINDOWS:
            raise EvidenceError(f"an integer from 1 to {MAX_WINDOWS}", got=count, field="count")
        return cls(
            number=read_number(fields["number"], "number"),
            first=read_number(fields["first"], "first"),
            count=count,
            previous=read_hash(fields["previous"], "previous"),
            windows_root=read_hash(fields["windows_root"], "windows_root"),
            hash=read_hash(fields["hash"], "hash"),
            signatures=signatures_from_json(fields["signatures"]),
            place=place,
        )

    @property
    def name(self) -> str:
        """How messages name it: where it is and what it is."""
        return f"{self.place}: batch {self.number}"

    def hash_in(self, microgrid: str) -> bytes:
        """The hash that its fields give among the batches of a microgrid."""
        return batch_hash(microgrid, self.number, self.previous, self.windows_root)


def signature_problems(
    signatures: Mapping[Address, bytes], struct_hash: bytes, domain: Domain, quorum: Quorum | None
) -> tuple[str, ...]:
    """What is wrong with signatures under a struct hash.

    Parameters
    ----------
    signatures : mapping from address to bytes
        By who is said to have signed.
    struct_hash : bytes
        Of a batch or a change of the validators.
    domain : Domain
        For which registry.
    quorum : Quorum or None
        Who may sign, and how many of them must; None asks only whether each signature is its signer's.
    """
    problems = []
    good: set[Address] = set()
    digest = domain.digest(struct_hash)
    for address, signature in signatures.items():
        try:
            signer = recover(digest, signature)
        except SignatureRefusedError as err:
            problems.append(f"signature of {address}: {err}")
            continue
        if signer == address:
            good.add(address)
        else:
            problems.append(f"signature of {address}: got one of {signer} or over something else")
    if quorum is not None and (count := len(good.intersection(quorum.validators))) < quorum.threshold:
        wanted = f"{quorum.threshold} of the {len(quorum.validators)} of epoch {quorum.epoch}"
        problems.append(f"got signatures of {count} validators, wanted {wanted}")
    return tuple(problems)


def signatures_to_json(signatures: Mapping[Address, bytes]) -> dict[str, str]:
    """Signatures by their signers as JSON spells them."""
    return {address: to_hex(signatures[address]) for address in sorted(signatures)}


def signatures_from_json(value: object) -> dict[Address, bytes]:
    """The signatures that a JSON object spells."""
    if not isinstance(value, dict):
        raise EvidenceError("a JSON object of signatures by their signers", got=value, field="signatures")
    found = {}
    for address, text in value.items():
        signature = parse_hex(text) if isinstance(text, str) else None
        if signature is None or len(signature) != SIGNATURE_BYTES:
            wanted = f"0x and {2 * SIGNATURE_BYTES} lower-case hexadecimal digits"
            raise EvidenceError(wanted, got=text, field=f"signatures.{address}")
        found[read_address(address, "signatures")] = signature
    return found
