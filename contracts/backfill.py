"""What a contract said since a block, asked in ranges that the node grants."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.chain import Chain, Log
from contracts.errors import ChainRefusedError, ChainUnavailableError
from contracts.transactions import Address

MOST_BLOCKS = 10_000
"""Blocks that are asked for at once; many providers grant no more."""


def backfill(chain: Chain, address: Address, first: int, last: int, *, most: int = MOST_BLOCKS) -> Iterator[Log]:
    """What a contract said in the blocks from `first` to `last`, in order, each once.

    A range that the node refuses is halved, and grows again with what it grants. Doing it again from a block that is
    final gives the same logs: each is known by its transaction and its place.

    Parameters
    ----------
    chain : Chain
        Whom to ask.
    address : Address
        The contract.
    first, last : int
        Blocks, both included.
    most : int
        Blocks that are asked for at once, at most.

    Raises
    ------
    ChainRefusedError
        If the node refuses even a single block.
    ChainUnavailableError
        If it does not answer, or answers with logs of other blocks.
    """
    span = most
    seen: set[tuple[bytes, int]] = set()
    while first <= last:
        end = min(first + span - 1, last)
        try:
            found = chain.logs(address, first, end)
        except ChainRefusedError:
            if end == first:
                raise
            span = max(1, (end - first + 1) // 2)
            continue
        for log in sorted(found, key=lambda log: (log.block_number, log.index)):
            if not first <= log.block_number <= end:
                raise ChainUnavailableError(f"got a log of block {log.block_number}, wanted blocks {first} to {end}")
            if (key := (log.transaction_hash, log.index)) not in seen:
                seen.add(key)
                yield log
        first, span = end + 1, min(most, 2 * span)
