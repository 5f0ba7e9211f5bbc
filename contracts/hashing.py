"""Hashes and their spelling: keccak-256 over bytes and over ABI-encoded values."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eth_abi.abi import encode
from eth_hash.auto import keccak

__all__ = ["ZERO_HASH", "hash_values", "hash_values_twice", "keccak", "parse_hash", "parse_hex", "to_hex"]

ZERO_HASH = bytes(32)
"""Stands for "nothing": the root of an empty tree, the predecessor of the first header."""

_HEX = re.compile(r"0x(?:[0-9a-f]{2})*", re.ASCII)


def hash_values(types: Sequence[str], values: Sequence[object]) -> bytes:
    """Keccak-256 of the ABI encoding of `values`, as Solidity's ``keccak256(abi.encode(...))``."""
    return keccak(encode(types, values))


def hash_values_twice(types: Sequence[str], values: Sequence[object]) -> bytes:
    """Leaf hash of OpenZeppelin's StandardMerkleTree.

    The second hash keeps leaves apart from inner nodes, whose preimage is 64 bytes: no inner node can
    be shown as a leaf.
    """
    return keccak(hash_values(types, values))


def to_hex(data: bytes) -> str:
    """Lower-case hexadecimal with a leading ``0x``: the one spelling that evidence uses."""
    return "0x" + data.hex()


def parse_hex(text: str) -> bytes | None:
    """Bytes that `to_hex` spells as `text`, or None when it spells none so."""
    return bytes.fromhex(text[2:]) if _HEX.fullmatch(text) else None


def parse_hash(text: str) -> bytes | None:
    """The 32 bytes that `text` spells, or None when it does not spell 32 bytes."""
    data = parse_hex(text)
    return data if data is not None and len(data) == 32 else None
