"""What parties saw, against each other and against the chain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.chain import EmbeddedChain, Genesis
from contracts.errors import EvidenceError
from contracts.evidence import HEADERS_FILE, StatedHeader
from contracts.hashing import to_hex
from contracts.registry import deploy
from contracts.strict_json import write_lines
from contracts.transactions import LocalSigner
from contracts.witness import check_held, check_seen, compare, held_batches, read_seen
from tests.contracts.validators import MICROGRID, Account, make_batches, packed, quorum_of


@pytest.fixture
def seen(settled) -> tuple[StatedHeader, ...]:
    return tuple(
        StatedHeader(header=header, hash=header.hash, place=f"line {k}") for k, header in enumerate(settled.headers)
    )


def other(seen, position):
    """The same headers, of which one is another, and so are all that follow."""
    forged = list(seen)
    for k in range(position, len(seen)):
        header = seen[k].header
        header = replace(header, turnover_micro=header.turnover_micro + 1) if k == position else header
        header = replace(header, previous=forged[k - 1].header.hash) if k else header
        forged[k] = StatedHeader(header=header, hash=header.hash, place=seen[k].place)
    return tuple(forged)


def test_who_saw_less_saw_the_same(seen):
    assert compare({"ann": seen, "bob": seen[:1], "carl": seen[:2], "dora": ()}).failures == ()


@pytest.mark.parametrize("position", range(3))
def test_the_first_header_in_which_two_differ_is_named(seen, position):
    forged = other(seen, position)
    assert check_seen(forged).failures == ()
    found = compare({"ann": seen, "bob": forged, "carl": seen[:position]})
    (failure,) = found.failures
    assert failure.startswith(f"header {position}: bob saw {to_hex(forged[position].hash)}")
    assert f"ann {to_hex(seen[position].hash)}" in failure


def test_headers_are_read_from_a_file_and_from_evidence(directory, settled, tmp_path):
    of_directory = read_seen(directory)
    assert [stated.header for stated in of_directory] == list(settled.headers)
    assert read_seen(directory / HEADERS_FILE) == of_directory
    assert check_seen(of_directory).failures == ()


def test_a_line_that_is_no_header_is_named(tmp_path):
    write_lines(tmp_path / "seen.jsonl", [{"hash": "0x00"}])
    with pytest.raises(EvidenceError, match=r"seen\.jsonl line 1"):
        read_seen(tmp_path / "seen.jsonl")
    with pytest.raises(EvidenceError, match="got 'nothing', wanted this file"):
        read_seen(Path(tmp_path / "none.jsonl"))


def test_a_chain_that_does_not_begin_at_its_start_is_no_chain(seen):
    assert "headers are missing before it" in check_seen(seen[1:]).failures[0]


@pytest.fixture
def anchored(stranger: LocalSigner):
    """A registry with batches of one, three, three and two headers."""
    genesis = Genesis(chain_id=31337, timestamp=1476849600, gas_limit=30_000_000, balances={stranger.address: 10**18})
    chain = EmbeddedChain(genesis)
    registry = deploy(chain, stranger, quorum_of()).registry
    batches = make_batches(1, 3, 3, 2)
    for batch in batches:
        assert Account(chain, stranger).send(registry.anchor_transaction, batch, packed(registry.domain, batch.hash))
    return held_batches(chain, registry, MICROGRID), [header for batch in batches for header in batch.headers]


def test_a_witness_finds_the_headers_of_each_batch(anchored):
    held, hashes = anchored
    assert len(held) == 4
    assert check_held(MICROGRID, [], hashes).headers == 0
    for waiting in (0, 1, 5):
        found = check_held(MICROGRID, held, hashes + [b"\x05" * 32] * waiting)
        assert (found.batches, found.headers, found.check.failures) == (4, 9, ())


def test_a_batch_of_other_headers_is_named(anchored):
    held, hashes = anchored
    for position, batch in ((0, 0), (1, 1), (3, 1), (6, 2), (8, 3)):
        found = check_held(MICROGRID, held, [*hashes[:position], b"\x05" * 32, *hashes[position + 1 :]])
        assert found.batches == batch
        assert found.check.failures[0].startswith(f"batch {batch}: the contract holds {to_hex(held[batch])}")
    assert check_held("microgrids/hamlet", held, hashes).batches == 0
    assert "from header 7 on gives: 1 of them were seen" in check_held(MICROGRID, held, hashes[:8]).check.failures[0]
