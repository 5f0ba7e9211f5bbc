"""Merkle trees as OpenZeppelin's StandardMerkleTree builds them, so that its Solidity verifies our proofs.

With n leaves the tree is an array of 2n - 1 nodes. Node 0 is the root; the children of node i are nodes 2i
+ 1 and 2i + 2. The leaves, sorted by hash, fill the array from its end. An inner node is the hash of its
two children, the smaller first, so that a proof needs no left and right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contracts.errors import ContractsError
from contracts.hashing import ZERO_HASH, keccak


class MerkleError(ContractsError):
    """Leaves make no tree: one is not 32 bytes, or two are the same."""


def hash_pair(one: bytes, other: bytes) -> bytes:
    """Hash of an inner node over its two children, in either order."""
    return keccak(one + other if one < other else other + one)


def verify_proof(leaf: bytes, proof: Iterable[bytes], root: bytes) -> bool:
    """Whether `proof` leads from `leaf` up to `root`.

    Parameters
    ----------
    leaf, root : bytes
        32 bytes each.
    proof : iterable of bytes
        The siblings on the way up, 32 bytes each.
    """
    node = leaf
    for sibling in proof:
        node = hash_pair(node, sibling)
    return node == root


class MerkleTree:
    """A tree over leaf hashes.

    Parameters
    ----------
    leaf_hashes : sequence of bytes
        32 bytes each, in any order, no two the same; may be empty.

    Raises
    ------
    MerkleError
        If a leaf is not 32 bytes long or appears twice.
    """

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        for index, leaf in enumerate(leaf_hashes):
            if len(leaf) != 32:
                raise MerkleError(f"leaf {index}: got {len(leaf)} bytes, wanted 32")
        count = len(leaf_hashes)
        if len(set(leaf_hashes)) != count:
            raise MerkleError(f"got {count - len(set(leaf_hashes))} repeated leaves of {count}, wanted none")
        last = 2 * count - 2
        ascending = sorted(range(count), key=leaf_hashes.__getitem__)
        nodes = [ZERO_HASH] * (last + 1) if count else [ZERO_HASH]
        places = [0] * count
        for rank, index in enumerate(ascending):
            places[index] = last - rank
            nodes[last - rank] = leaf_hashes[index]
        for node in range(count - 2, -1, -1):
            nodes[node] = hash_pair(nodes[2 * node + 1], nodes[2 * node + 2])
        self._nodes = tuple(nodes)
        self._places = tuple(places)

    @property
    def root(self) -> bytes:
        """Root of the tree; 32 zero bytes when it has no leaves."""
        return self._nodes[0]

    def proof(self, index: int) -> tuple[bytes, ...]:
        """Siblings on the way up from the leaf that was given as number `index`."""
        node = self._places[index]
        siblings = []
        while node:
            siblings.append(self._nodes[node + 1 if node % 2 else node - 1])
            node = (node - 1) // 2
        return tuple(siblings)
