"""Signed transactions, and what a chain in this process makes of them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.chain import EmbeddedChain, Genesis
from contracts.errors import ChainUnavailableError, EvidenceError, WrongChainError
from contracts.rpc_chain import RpcChain
from contracts.transactions import FeePolicy, LocalSigner, Signer, Transaction, decode_signed

SIGNER = LocalSigner(b"\x01" * 32)
RAW = SIGNER.sign(Transaction(chain_id=31337, nonce=1, to=SIGNER.address, data=bytes(68), gas=60_000, fees=FeePolicy()))


def test_a_transaction_for_another_chain_is_refused(chain: EmbeddedChain, signer: Signer) -> None:
    transaction = Transaction(chain_id=999, nonce=0, to=signer.address, data=b"", gas=21_000, fees=FeePolicy())
    with pytest.raises(WrongChainError, match="transaction for chain 999: got chain 31337"):
        chain.send_raw(signer.sign(transaction))


def test_a_gap_in_nonces_is_refused(chain: EmbeddedChain, signer: Signer) -> None:
    transaction = Transaction(chain_id=31337, nonce=7, to=signer.address, data=b"", gas=21_000, fees=FeePolicy())
    with pytest.raises(ChainUnavailableError, match="nonce"):
        chain.send_raw(signer.sign(transaction))


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
        assert decode_signed(bytes(raw)).sender != SIGNER.address


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
