"""Batches of settled windows: what validators sign and what the registry holds, one hash for many windows.

A microgrid's headers stand in one row, each carrying the hash of the one before; a batch takes the next of them. The
hash of a batch is its EIP-712 struct hash, so that what is signed and what is held are one value. It carries the hash
of the batch before, which the registry compares with the one that it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from contracts.columns import Hash, Integer
from contracts.errors import EvidenceError
from contracts.hashing import ZERO_HASH, hash_values, hash_values_twice, keccak
from contracts.merkle import MerkleTree

GENESIS_BATCH = ZERO_HASH
"""`previous` of a microgrid's first batch."""

BATCH_TYPE = b"Batch(bytes32 microgrid,uint64 number,bytes32 previous,bytes32 windowsRoot)"
"""EIP-712 type of what validators sign."""

MAX_WINDOWS = 4096
"""As many windows a batch may have."""

_NUMBER = Integer(abi="uint64", least=0, most=2**64 - 1)
_HASH = Hash()


def microgrid_key(microgrid: str) -> bytes:
    """How the registry knows a microgrid: the hash of its resource name, 32 bytes."""
    return keccak(microgrid.encode())


def window_leaf(position: int, header_hash: bytes) -> bytes:
    """Leaf of a header in its batch's tree, 32 bytes.

    Parameters
    ----------
    position : int
        Place of the header among all of the microgrid, from zero.
    header_hash : bytes
        `WindowHeader.hash`, 32 bytes.
    """
    return hash_values_twice(("string", "uint64", "bytes32"), ("gridpact.window.v1", position, header_hash))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The next windows of a microgrid, committed to by one hash.

    Attributes
    ----------
    microgrid : str
        Resource name.
    number : int
        Place of the batch among the microgrid's, from zero.
    previous : bytes
        Hash of the batch before; `GENESIS_BATCH` for the first.
    first : int
        Place of its first header among all of the microgrid; its others follow without a gap.
    headers : tuple of bytes
        Hashes of its headers in order, 1 to `MAX_WINDOWS`.

    Raises
    ------
    EvidenceError
        If a value is out of bounds.
    """

    microgrid: str
    number: int
    previous: bytes
    first: int
    headers: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _NUMBER.check(self.number, "number")
        _NUMBER.check(self.first, "first")
        _HASH.check(self.previous, "previous")
        if not 1 <= len(self.headers) <= MAX_WINDOWS:
            raise EvidenceError(f"1 to {MAX_WINDOWS} headers", got=len(self.headers), field="headers")
        for header in self.headers:
            _HASH.check(header, "headers")
        if (self.number == 0) != (self.previous == GENESIS_BATCH):
            raise EvidenceError("zero for batch 0, and for no other", got=self.previous, field="previous")
        if self.number == 0 and self.first != 0:
            raise EvidenceError("0 for batch 0", got=self.first, field="first")

    @cached_property
    def tree(self) -> MerkleTree:
        """Tree of the headers' leaves."""
        return MerkleTree([window_leaf(self.first + k, header) for k, header in enumerate(self.headers)])

    @property
    def windows_root(self) -> bytes:
        """Root of the tree, 32 bytes."""
        return self.tree.root

    @cached_property
    def hash(self) -> bytes:
        """What validators sign and the registry holds, 32 bytes."""
        return batch_hash(self.microgrid, self.number, self.previous, self.windows_root)

    def proof(self, position: int) -> tuple[bytes, ...]:
        """Siblings on the way from a header, named by its place among the microgrid's, up to the root."""
        return self.tree.proof(position - self.first)


def batch_hash(microgrid: str, number: int, previous: bytes, windows_root: bytes) -> bytes:
    """EIP-712 struct hash of a batch, 32 bytes."""
    return hash_values(
        ("bytes32", "bytes32", "uint64", "bytes32", "bytes32"),
        (keccak(BATCH_TYPE), microgrid_key(microgrid), number, previous, windows_root),
    )


def first_hole(batches: Sequence[Batch]) -> str | None:
    """What is wrong with a microgrid's batches in order from the first; None where they follow each other."""
    number, first, previous = 0, 0, GENESIS_BATCH
    for batch in batches:
        if (batch.number, batch.first, batch.previous) != (number, first, previous):
            got = f"batch {batch.number} from header {batch.first} on after 0x{batch.previous.hex()}"
            return f"got {got}, wanted batch {number} from header {first} on after 0x{previous.hex()}"
        number, first, previous = number + 1, first + len(batch.headers), batch.hash
    return None
