"""The exported transactions, sent to a node that shares no code with the embedded chain."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from contracts.chain import Receipt
from contracts.errors import ChainUnavailableError
from contracts.evidence import read_directory
from contracts.json_rpc import JsonRpc
from contracts.leaves import TradeLeaf
from contracts.proof_file import prove, write_proof
from contracts.rpc_chain import RpcChain
from contracts.transactions import LocalSigner
from contracts.verify import verify_directory, verify_path
from tests.contracts.memory_outbox import MemoryOutbox, make_worker
from tests.contracts.validators import keys

T = TypeVar("T")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def anvil_binary() -> str:
    binary = os.environ.get("GRIDPACT_ANVIL") or shutil.which("anvil")
    if binary is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no anvil on PATH nor in GRIDPACT_ANVIL, and in CI it must run")
        pytest.skip("no anvil on PATH nor in GRIDPACT_ANVIL (npm package @foundry-rs/anvil has it)")
    return binary


@pytest.fixture
def rpc(anvil_binary: str, settled: Any) -> Iterator[str]:
    """URL of a fresh anvil with the evidence's chain number, its sender funded."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    genesis = settled.chain.genesis
    command = [anvil_binary, "--host", "127.0.0.1", "--port", str(port), "--silent"]
    command += ["--chain-id", str(genesis.chain_id), "--accounts", "0", "--timestamp", str(genesis.timestamp)]
    with subprocess.Popen(command) as node:
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: chain_id_or_none(url))
            for address, wei in genesis.balances.items():
                set_balance(url, address, wei)
            yield url
        finally:
            node.terminate()


def eventually(ask: Callable[[], T | None]) -> T:
    """The first answer that is not None, within half a minute."""
    deadline = time.monotonic() + 30
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.05)
    return answer


def chain_id_or_none(url: str) -> int | None:
    try:
        return RpcChain(url, timeout_s=1).chain_id()
    except ChainUnavailableError:
        return None


def set_balance(url: str, address: str, wei: int) -> None:
    JsonRpc(url, timeout_s=10).ask("anvil_setBalance", [address, hex(wei)])


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
