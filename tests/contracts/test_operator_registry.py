from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.chain import EmbeddedChain, Genesis
from contracts.errors import ChainUnavailableError, EvidenceError, WrongChainError
from contracts.hashing import ZERO_HASH, keccak
from contracts.operator_registry import Deployment, Registry, deploy
from contracts.rpc_chain import RpcChain
from contracts.transactions import FeePolicy, LocalSigner, Signer, Transaction, decode_signed

KEY, HASH, OTHER = b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32
OPERATOR = LocalSigner(b"\x01" * 32)
RAW = OPERATOR.sign(
    Registry(chain_id=31337, address=OPERATOR.address, operator=OPERATOR.address).anchor_transaction(
        KEY, HASH, nonce=1, fees=FeePolicy()
    )
)


def anchor(chain: EmbeddedChain, registry: Registry, signer: Signer, header_hash: bytes) -> bool:
    nonce = chain.nonce(signer.address)
    raw = signer.sign(registry.anchor_transaction(KEY, header_hash, nonce=nonce, fees=FeePolicy()))
    receipt = chain.receipt(chain.send_raw(raw))
    assert receipt is not None
    return receipt.succeeded


def test_an_anchored_hash_is_stored(chain: EmbeddedChain, deployment: Deployment, signer: Signer) -> None:
    registry = deployment.registry
    assert registry.stored(chain, KEY) == ZERO_HASH
    assert anchor(chain, registry, signer, HASH)
    assert registry.stored(chain, KEY) == HASH


def test_the_same_hash_again_is_a_no_op(chain: EmbeddedChain, deployment: Deployment, signer: Signer) -> None:
    assert anchor(chain, deployment.registry, signer, HASH)
    assert anchor(chain, deployment.registry, signer, HASH)
    assert deployment.registry.stored(chain, KEY) == HASH


def test_another_hash_is_refused(chain: EmbeddedChain, deployment: Deployment, signer: Signer) -> None:
    assert anchor(chain, deployment.registry, signer, HASH)
    assert not anchor(chain, deployment.registry, signer, OTHER)
    assert deployment.registry.stored(chain, KEY) == HASH


def test_a_stranger_cannot_anchor(chain: EmbeddedChain, deployment: Deployment, stranger: Signer) -> None:
    assert not anchor(chain, deployment.registry, stranger, HASH)
    assert deployment.registry.stored(chain, KEY) == ZERO_HASH


def test_the_zero_hash_is_refused(chain: EmbeddedChain, deployment: Deployment, signer: Signer) -> None:
    assert not anchor(chain, deployment.registry, signer, ZERO_HASH)


def test_one_anchor_costs_at_most_two_percent_above_the_floor(
    chain: EmbeddedChain, deployment: Deployment, signer: Signer
) -> None:
    # 21,000 transaction + 22,100 new slot + 1,381 log; call data costs 16 per byte that is not zero.
    registry = deployment.registry
    raw = signer.sign(registry.anchor_transaction(keccak(KEY), keccak(HASH), nonce=1, fees=FeePolicy()))
    data = decode_signed(raw).transaction.data
    floor = 21_000 + 22_100 + 1_381 + sum(16 if byte else 4 for byte in data)
    receipt = chain.receipt(chain.send_raw(raw))
    assert receipt is not None
    assert floor < receipt.gas_used < 1.02 * floor


def test_deployed_code_is_the_artefact_with_its_operator(chain: EmbeddedChain, deployment: Deployment) -> None:
    assert keccak(chain.code(deployment.registry.address)) == deployment.registry.code_hash
    deployment.registry.check(chain)


def test_code_of_another_operator_is_refused(chain: EmbeddedChain, deployment: Deployment, stranger: Signer) -> None:
    registry = deployment.registry
    other = Registry(chain_id=registry.chain_id, address=registry.address, operator=stranger.address)
    with pytest.raises(WrongChainError, match="code hash"):
        other.check(chain)


def test_another_chain_is_refused(chain: EmbeddedChain, deployment: Deployment) -> None:
    registry = deployment.registry
    other = Registry(chain_id=1, address=registry.address, operator=registry.operator)
    with pytest.raises(WrongChainError, match="got chain 31337, wanted 1"):
        other.check(chain)


def test_a_transaction_for_another_chain_is_refused(chain: EmbeddedChain, signer: Signer) -> None:
    transaction = Transaction(chain_id=999, nonce=0, to=signer.address, data=b"", gas=21_000, fees=FeePolicy())
    with pytest.raises(WrongChainError, match="transaction for chain 999: got chain 31337"):
        chain.send_raw(signer.sign(transaction))


def test_two_runs_sign_the_same_bytes(genesis: Genesis, signer: LocalSigner) -> None:
    first = deploy(EmbeddedChain(genesis), signer)
    second = deploy(EmbeddedChain(genesis), signer)
    assert first == second


def test_a_replayed_chain_has_the_same_state(
    genesis: Genesis, chain: EmbeddedChain, deployment: Deployment, signer: Signer
) -> None:
    raw = signer.sign(deployment.registry.anchor_transaction(KEY, HASH, nonce=1, fees=FeePolicy()))
    chain.send_raw(raw)
    replayed = EmbeddedChain(genesis, [deployment.raw_transaction, raw])
    assert deployment.registry.stored(replayed, KEY) == HASH


def test_a_gap_in_nonces_is_refused(chain: EmbeddedChain, deployment: Deployment, signer: Signer) -> None:
    raw = signer.sign(deployment.registry.anchor_transaction(KEY, HASH, nonce=7, fees=FeePolicy()))
    with pytest.raises(ChainUnavailableError, match="nonce"):
        chain.send_raw(raw)


def test_signed_bytes_say_what_was_signed(signer: Signer) -> None:
    transaction = Transaction(chain_id=5, nonce=3, to=signer.address, data=b"\x01\x02", gas=50_000, fees=FeePolicy())
    signed = decode_signed(signer.sign(transaction))
    assert (signed.transaction, signed.sender) == (transaction, signer.address)


@pytest.mark.parametrize("raw", [b"", b"\x02", b"\x02\xc0", b"\xf8\x00", b"\x02" + b"\xff" * 40])
def test_bytes_that_are_no_transaction_are_refused(chain: EmbeddedChain, raw: bytes) -> None:
    with pytest.raises(WrongChainError):
        chain.send_raw(raw)


@settings(max_examples=50)
@given(st.integers(0, 179), st.integers(1, 255))
def test_altered_bytes_are_refused_or_signed_by_another(place: int, change: int) -> None:
    raw = bytearray(RAW)
    raw[place % len(raw)] ^= change
    with contextlib.suppress(WrongChainError):
        assert decode_signed(bytes(raw)).sender != OPERATOR.address


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_with_one_error(data: bytes) -> None:
    with pytest.raises(WrongChainError):
        decode_signed(b"\x02" + data)


def test_a_node_that_is_down_is_an_anchor_error() -> None:
    with pytest.raises(ChainUnavailableError, match=r"127\.0\.0\.1:9"):
        RpcChain("http://127.0.0.1:9", timeout_s=1).chain_id()


def test_genesis_survives_json(genesis: Genesis) -> None:
    assert Genesis.from_json(genesis.to_json()) == genesis


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("chain_id", 0), ("timestamp", True), ("gas_limit", -1), ("balances", []), ("balances", {"0x12": 1})],
)
def test_a_malformed_genesis_is_refused(genesis: Genesis, name: str, wrong: object) -> None:
    with pytest.raises(EvidenceError, match=name):
        Genesis.from_json({**genesis.to_json(), name: wrong})
