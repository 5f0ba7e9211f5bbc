"""What a contract said, from a node that grants a few blocks at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from contracts.backfill import backfill
from contracts.chain import Log
from contracts.errors import ChainRefusedError, ChainUnavailableError
from contracts.transactions import Address

ADDRESS = Address("0x" + "ab" * 20)


def log(block: int, index: int = 0) -> Log:
    return Log(
        topics=(),
        data=b"",
        block_number=block,
        block_hash=block.to_bytes(32),
        transaction_hash=block.to_bytes(32),
        index=index,
    )


@dataclass
class Node:
    """Refuses more than `granted` blocks, or more than `most` logs."""

    said: list[Log]
    granted: int = 1_000_000
    most: int = 1_000_000
    asked: list[tuple[int, int]] = field(default_factory=list)

    def logs(self, address: Address, first: int, last: int) -> tuple[Log, ...]:
        assert address == ADDRESS
        self.asked.append((first, last))
        found = tuple(log for log in self.said if first <= log.block_number <= last)
        if last - first >= self.granted or len(found) > self.most:
            raise ChainRefusedError("query returned more than it may")
        return found[::-1]


SAID = [log(block, index) for block in (0, 3, 4, 5, 100, 101, 1999) for index in (0, 1)]


@pytest.mark.parametrize("granted", [1, 2, 7, 500, 5000])
@pytest.mark.parametrize("most", [2, 5, 99])
def test_each_log_is_found_once_and_in_order(granted: int, most: int) -> None:
    node = Node(SAID, granted, most)
    assert list(backfill(node, ADDRESS, 0, 2000, most=1000)) == SAID  # type: ignore[arg-type]
    granted_ranges = [pair for pair in node.asked if pair[1] - pair[0] < granted]
    assert max(last - first for first, last in node.asked) < 1000
    assert len(granted_ranges) <= 4 * 2000 // min(granted, 1000) + 64


def test_it_begins_and_ends_where_it_is_told() -> None:
    node = Node(SAID)
    assert [found.block_number for found in backfill(node, ADDRESS, 4, 100)] == [4, 4, 5, 5, 100, 100]  # type: ignore[arg-type]
    assert list(backfill(node, ADDRESS, 9, 8)) == []  # type: ignore[arg-type]


def test_a_log_that_is_told_twice_counts_once() -> None:
    assert list(backfill(Node([*SAID, *SAID]), ADDRESS, 0, 2000)) == SAID  # type: ignore[arg-type]


def test_a_node_that_refuses_a_single_block_is_named() -> None:
    with pytest.raises(ChainRefusedError, match="more than it may"):
        list(backfill(Node(SAID, most=1), ADDRESS, 0, 10))  # type: ignore[arg-type]


def test_logs_of_other_blocks_are_refused() -> None:
    class Odd(Node):
        def logs(self, address: Address, first: int, last: int) -> tuple[Log, ...]:
            return (log(last + 1),)

    with pytest.raises(ChainUnavailableError, match="got a log of block 11, wanted blocks 0 to 10"):
        list(backfill(Odd([]), ADDRESS, 0, 10))  # type: ignore[arg-type]
