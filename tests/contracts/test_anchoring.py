from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.anchoring import Anchorer, AnchorProgress
from contracts.chain import EmbeddedChain, Genesis
from contracts.errors import AnchorConflictError, AnchorError, ChainUnavailableError, WrongChainError
from contracts.operator_registry import Deployment, deploy
from contracts.outbox import AnchorState
from contracts.transactions import FeePolicy, Signer, Transaction, decode_signed


class CrashError(Exception):
    """Stands for the end of the process."""


class CrashingChain:
    """An embedded chain whose sending ends the process, before or after the chain has the transaction."""

    def __init__(self, chain: EmbeddedChain, *, after: bool) -> None:
        self._chain = chain
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def send_raw(self, raw: bytes) -> bytes:
        if self._after:
            self._chain.send_raw(raw)
        raise CrashError


class ForgetfulChain:
    """A chain that takes transactions, refuses repetitions, and includes nothing until told."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain
        self.pool: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def send_raw(self, raw: bytes) -> bytes:
        if raw in self.pool:
            raise ChainUnavailableError("already known")
        self.pool.append(raw)
        return decode_signed(raw).hash

    def include_all(self) -> None:
        while self.pool:
            self._chain.send_raw(self.pool.pop(0))


def test_each_row_is_included_once(chain: EmbeddedChain, deployment: Deployment, signer: Signer, outbox: Any) -> None:
    anchorer = Anchorer(chain, deployment.registry, signer, outbox)
    assert anchorer.run_once() == AnchorProgress(included=3, waiting=0)
    assert anchorer.run_once() == AnchorProgress(included=0, waiting=0)
    assert chain.nonce(signer.address) == 1 + len(outbox.rows)
    for row in outbox.rows:
        assert row.state is AnchorState.INCLUDED
        assert deployment.registry.stored(chain, row.key) == row.header_hash
        assert 45_000 < row.gas_used < 47_000


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_while_sending_loses_and_doubles_nothing(
    chain: EmbeddedChain, deployment: Deployment, signer: Signer, outbox: Any, after: bool
) -> None:
    with pytest.raises(CrashError):
        Anchorer(CrashingChain(chain, after=after), deployment.registry, signer, outbox).run_once()
    signed = outbox.rows[0].raw_transaction
    assert signed is not None
    assert Anchorer(chain, deployment.registry, signer, outbox).run_once().included == 3
    assert outbox.rows[0].raw_transaction == signed
    assert outbox.rows[0].gas_used is not None
    assert chain.nonce(signer.address) == 4


def test_a_crash_before_signing_is_stored_signs_the_same_again(
    chain: EmbeddedChain, deployment: Deployment, signer: Signer, outbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "record_signed", crash)
        with pytest.raises(CrashError):
            Anchorer(chain, deployment.registry, signer, outbox).run_once()
    assert chain.nonce(signer.address) == 1
    assert Anchorer(chain, deployment.registry, signer, outbox).run_once().included == 3


def test_rows_wait_until_the_chain_includes_them(
    chain: EmbeddedChain, deployment: Deployment, signer: Signer, outbox: Any
) -> None:
    slow = ForgetfulChain(chain)
    anchorer = Anchorer(slow, deployment.registry, signer, outbox)
    assert anchorer.run_once() == AnchorProgress(included=0, waiting=3)
    again = anchorer.run_once()
    assert (again.waiting, len(again.refusals)) == (3, 3)
    assert len(slow.pool) == 3
    slow.include_all()
    assert anchorer.run_once().included == 3


def test_a_hash_that_is_there_already_needs_no_transaction(
    chain: EmbeddedChain, deployment: Deployment, signer: Signer, outbox: Any
) -> None:
    anchorer = Anchorer(chain, deployment.registry, signer, outbox)
    before = list(outbox.rows)
    anchorer.run_once()
    outbox.rows[:] = before
    assert anchorer.run_once().included == 3
    assert chain.nonce(signer.address) == 4
    assert outbox.rows[0].gas_used is None


def test_another_value_on_the_chain_is_named_and_stops_no_other_row(
    chain: EmbeddedChain, deployment: Deployment, signer: Signer, outbox: Any
) -> None:
    row = outbox.rows[0]
    transaction = deployment.registry.anchor_transaction(row.key, b"\x0f" * 32, nonce=1, fees=FeePolicy())
    chain.send_raw(signer.sign(transaction))
    with pytest.raises(AnchorConflictError, match=f"{row.window} run 0: got 0x0f0f"):
        Anchorer(chain, deployment.registry, signer, outbox).run_once()
    states = [row.state for row in outbox.rows]
    assert states == [AnchorState.PENDING, AnchorState.INCLUDED, AnchorState.INCLUDED]


def test_a_transaction_that_had_no_effect_is_named(
    chain: EmbeddedChain, deployment: Deployment, stranger: Signer, outbox: Any
) -> None:
    with pytest.raises(AnchorConflictError, match="used up to no effect"):
        Anchorer(chain, deployment.registry, stranger, outbox).run_once()


def test_a_chain_with_another_number_is_refused_and_no_row_is_touched(
    genesis: Genesis, deployment: Deployment, signer: Signer, outbox: Any
) -> None:
    other = EmbeddedChain(replace(genesis, chain_id=1))
    deploy(other, signer)
    before = list(outbox.rows)
    with pytest.raises(WrongChainError, match="got chain 1, wanted 31337"):
        Anchorer(other, deployment.registry, signer, outbox).run_once()
    assert outbox.rows == before


def test_a_chain_without_the_contract_is_refused(
    genesis: Genesis, deployment: Deployment, signer: Signer, outbox: Any
) -> None:
    with pytest.raises(WrongChainError, match="code hash"):
        Anchorer(EmbeddedChain(genesis), deployment.registry, signer, outbox).run_once()


def test_a_stored_transaction_for_another_chain_is_not_sent(
    chain: EmbeddedChain, deployment: Deployment, signer: Signer, outbox: Any
) -> None:
    row = outbox.rows[0]
    transaction = deployment.registry.anchor_transaction(row.key, row.header_hash, nonce=1, fees=FeePolicy())
    raw = signer.sign(replace(transaction, chain_id=999))
    outbox.record_signed(row, raw, decode_signed(raw).hash)
    with pytest.raises(WrongChainError, match="transaction for chain 999"):
        Anchorer(chain, deployment.registry, signer, outbox).run_once()


def test_a_stored_transaction_that_writes_something_else_is_not_sent(
    chain: EmbeddedChain, deployment: Deployment, signer: Signer, outbox: Any
) -> None:
    row = outbox.rows[0]
    transaction = Transaction(chain_id=31337, nonce=1, to=signer.address, data=b"", gas=21_000, fees=FeePolicy())
    outbox.record_signed(row, signer.sign(transaction), b"")
    with pytest.raises(WrongChainError, match="wanted the row's own"):
        Anchorer(chain, deployment.registry, signer, outbox).run_once()


def test_a_chain_that_does_not_answer_leaves_the_rows_for_later(
    chain: EmbeddedChain, deployment: Deployment, signer: Signer, outbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise ChainUnavailableError("timeout")

    with monkeypatch.context() as patch:
        patch.setattr(chain, "call", fail)
        with pytest.raises(AnchorError, match="timeout"):
            Anchorer(chain, deployment.registry, signer, outbox).run_once()
    assert Anchorer(chain, deployment.registry, signer, outbox).run_once().included == 3
