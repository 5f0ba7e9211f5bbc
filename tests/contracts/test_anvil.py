"""The exported transactions, sent to a node that shares no code with the embedded chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.chain import Receipt
from contracts.evidence import read_directory
from contracts.json_rpc import JsonRpc
from contracts.leaves import TradeLeaf
from contracts.proof_file import prove, write_proof
from contracts.rpc_chain import RpcChain
from contracts.transactions import LocalSigner
from contracts.verify import verify_directory, verify_path
from tests.contracts.anvil_node import anvil_or_skip, eventually, running
from tests.contracts.memory_outbox import MemoryOutbox, make_worker
from tests.contracts.validators import keys

pytestmark = pytest.mark.slow

MICROGRID = "microgrids/rural1"


@pytest.fixture
def rpc(settled: Any) -> Iterator[str]:
    """URL of a fresh anvil with the evidence's chain number, its sender funded."""
    with running(anvil_or_skip(), settled.chain.genesis) as url:
        yield url


def send_all(rpc: str, settled: Any) -> list[int]:
    """Gas of each of the evidence's transactions."""
    chain = RpcChain(rpc)
    receipts = [include(chain, entry.raw) for entry in settled.chain.transactions]
    assert all(receipt.succeeded for receipt in receipts)
    return [receipt.gas_used for receipt in receipts]


def include(chain: RpcChain, raw: bytes) -> Receipt:
    transaction_hash = chain.send_raw(raw)
    return eventually(lambda: chain.receipt(transaction_hash))


def test_replayed_transactions_verify_there(rpc: str, directory: Path, settled: Any, tmp_path: Path) -> None:
    gas = send_all(rpc, settled)
    assert gas[0] == settled.deployment.gas_used
    report = verify_directory(directory, rpc=rpc)
    assert report.failures == ()
    assert "provided that you know 0x" in list(report.lines())[-1]
    assert verify_directory(directory, root=settled.root, rpc=rpc).caveat == ""
    proof = tmp_path / "proof.json"
    window = settled.headers[0].window
    registry = settled.deployment.registry
    write_proof(proof, prove(read_directory(directory), registry, TradeLeaf, window=window, index=1))
    assert verify_path(proof, rpc=rpc).failures == ()


def test_an_altered_header_is_not_what_the_chain_holds(
    rpc: str, directory: Path, settled: Any, lines: Callable[[str], Any]
) -> None:
    send_all(rpc, settled)
    values = lines("headers.jsonl").read()
    values[1]["inputs_digest"] = "0x" + "00" * 32
    lines("headers.jsonl").write(values)
    failures = "\n".join(verify_directory(directory, rpc=rpc).failures)
    assert "batch 0: the contract holds 0x" in failures


def test_a_chain_without_the_contract_fails(rpc: str, directory: Path) -> None:
    failures = verify_directory(directory, rpc=rpc).failures
    assert any("code hash" in failure for failure in failures)


def test_the_worker_anchors_there_and_repeats_do_no_harm(rpc: str, settled: Any) -> None:
    chain = RpcChain(rpc, finality_depth=0)
    include(chain, settled.deployment.raw_transaction)
    registry, signer = settled.deployment.registry, LocalSigner(b"\x01" * 32)
    for _ in range(2):
        outbox = MemoryOutbox(signed.batch for signed in settled.batches)
        outbox.sign(registry.domain, keys(range(5)))
        worker = make_worker(chain, registry, signer, outbox)
        eventually(lambda worker=worker: None if worker.run_once().waiting else True)  # type: ignore[misc]
        assert outbox.states() == ["final"] * 2
        assert chain.nonce(signer.address) == 3


@pytest.mark.parametrize("depth", [1, 64])
def test_what_a_reorganisation_takes_back_is_sent_again_and_final_in_the_end(
    rpc: str, settled: Any, depth: int
) -> None:
    node, chain = JsonRpc(rpc, timeout_s=10), RpcChain(rpc, finality_depth=depth)
    include(chain, settled.deployment.raw_transaction)
    node.ask("anvil_mine", [hex(depth)])
    registry, signer = settled.deployment.registry, LocalSigner(b"\x01" * 32)
    outbox = MemoryOutbox([settled.batches[0].batch])
    outbox.sign(registry.domain, keys(range(3)))
    worker = make_worker(chain, registry, signer, outbox)
    eventually(lambda: None if worker.run_once().waiting else True)
    (row,) = outbox.rows.values()
    before = row.inclusion
    assert before is not None
    node.ask("anvil_reorg", [depth, []])
    assert registry.held(chain, MICROGRID, 0) == bytes(32)
    eventually(lambda: True if worker.run_once().waiting == 0 and row.inclusion != before else None)
    assert row.inclusion is not None
    assert registry.held(chain, MICROGRID, 0) == settled.batches[0].batch.hash
    assert len({attempt.signed.transaction.nonce for attempt in row.attempts}) == 1
    assert outbox.states() == ["included"]
    node.ask("anvil_mine", [hex(depth)])
    worker.run_once()
    assert outbox.states() == ["final"]
