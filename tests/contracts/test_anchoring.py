"""The worker on an embedded chain that other tests cut off, delay, and ask to forget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from contracts.anchoring import AnchorProgress
from contracts.batch import Batch
from contracts.chain import Block, EmbeddedChain, Genesis
from contracts.errors import (
    AnchorConflictError,
    AnchorError,
    ChainRefusedError,
    ChainUnavailableError,
    OutOfFundsError,
    SignerUnavailableError,
    StaleHeadError,
    WrongChainError,
)
from contracts.fees import GWEI, FeeRules
from contracts.outbox import Attempt
from contracts.registry import Deployment, anchor_gas, deploy
from contracts.sending import Sending, Wait
from contracts.transactions import FeePolicy, LocalSigner, Signer, Transaction, decode_signed
from tests.contracts.memory_outbox import MemoryOutbox, make_worker, restored
from tests.contracts.validators import keys, make_batches, packed, quorum_of

SIGNERS = keys(range(3))


class CrashError(Exception):
    """Stands for the end of the process."""


class WrappedChain:
    """A chain of which a test changes what it needs."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)


class CrashingChain(WrappedChain):
    """Its sending ends the process, before or after the chain has the transaction."""

    def __init__(self, chain: EmbeddedChain, *, after: bool) -> None:
        super().__init__(chain)
        self._after = after

    def send_raw(self, raw: bytes) -> bytes:
        if self._after:
            self._chain.send_raw(raw)
        raise CrashError


class SlowChain(WrappedChain):
    """It takes transactions, refuses repetitions, and includes nothing until told."""

    def __init__(self, chain: EmbeddedChain) -> None:
        super().__init__(chain)
        self.pool: list[bytes] = []
        self.base_fee: int | None = None

    def head(self) -> Block:
        head = self._chain.head()
        return head if self.base_fee is None else replace(head, base_fee=self.base_fee)

    def send_raw(self, raw: bytes) -> bytes:
        if raw in self.pool:
            raise ChainRefusedError("already known")
        self.pool.append(raw)
        return decode_signed(raw).hash

    def include_all(self) -> None:
        while self.pool:
            self._chain.send_raw(self.pool.pop(0))


@pytest.fixture
def batches() -> list[Batch]:
    return make_batches(2, 1, 3)


@pytest.fixture
def outbox(batches: list[Batch], deployment: Deployment) -> MemoryOutbox:
    """Three batches, signed."""
    outbox = MemoryOutbox(batches)
    outbox.sign(deployment.registry.domain, SIGNERS)
    return outbox


Made = Callable[..., Any]


@pytest.fixture
def worker(chain: EmbeddedChain, deployment: Deployment, signer: Signer, outbox: MemoryOutbox) -> Made:
    """Makes workers on the chain, or on another."""

    def make(on: Any = chain, **parts: Any) -> Any:
        return make_worker(on, deployment.registry, parts.pop("signer", signer), outbox, **parts)

    return make


def test_each_batch_is_anchored_once_and_in_order(
    chain: EmbeddedChain,
    deployment: Deployment,
    signer: Signer,
    outbox: MemoryOutbox,
    batches: list[Batch],
    worker: Made,
) -> None:
    assert worker().run_once() == AnchorProgress(included=3)
    assert worker().run_once() == AnchorProgress()
    assert chain.nonce(signer.address) == 1 + 3
    assert outbox.states() == ["final"] * 3
    for batch, row in zip(batches, outbox.rows.values(), strict=True):
        assert deployment.registry.held(chain, batch.microgrid, batch.number) == batch.hash
        assert row.inclusion is not None
        assert row.inclusion.gas_used is not None
        assert row.inclusion.gas_used < anchor_gas(3)
        assert row.inclusion.transaction_hash == row.attempts[0].signed.hash


def test_two_microgrids_do_not_wait_for_each_other(deployment: Deployment, outbox: MemoryOutbox, worker: Made) -> None:
    for batch in make_batches(1, 1, microgrid="microgrids/town"):
        outbox.add(batch)
    outbox.sign(deployment.registry.domain, keys(range(5)))
    outbox.rows["batch 0 of microgrids/town"].signatures.clear()
    progress = worker().run_once()
    assert (progress.included, progress.pending) == (3, 2)
    assert [(wait.reason, wait.text) for wait in progress.waits] == [
        (
            Wait.SIGNATURES,
            "batch 0 of microgrids/town: got 0 signatures, wanted 3 of the validators of epoch 0",
        )
    ]


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_while_sending_loses_and_doubles_nothing(
    chain: EmbeddedChain, signer: Signer, outbox: MemoryOutbox, worker: Made, after: bool
) -> None:
    with pytest.raises(CrashError):
        worker(CrashingChain(chain, after=after)).run_once()
    (row, *others) = outbox.rows.values()
    assert [len(row.attempts), *(len(other.attempts) for other in others)] == [1, 0, 0]
    assert worker(holder="me").run_once().included == 3
    assert [len(each.attempts) for each in outbox.rows.values()] == [1, 1, 1]
    assert chain.nonce(signer.address) == 4


def test_a_crash_between_any_two_steps_loses_and_doubles_nothing(
    chain: EmbeddedChain, deployment: Deployment, signer: Signer, batches: list[Batch]
) -> None:
    steps, whole = 0, False
    while not whole:
        with restored(chain):
            outbox = MemoryOutbox(batches[:2], crash_after(steps := steps + 1))
            outbox.sign(deployment.registry.domain, SIGNERS)
            try:
                make_worker(chain, deployment.registry, signer, outbox, holder="before").run_once()
                whole = True
            except CrashError:
                pass
            outbox.watch = lambda: None
            patient = Sending(bump_after_s=1e6)
            make_worker(
                chain, deployment.registry, signer, outbox, holder="after", now=121.0, sending=patient
            ).run_once()
            assert outbox.states() == ["final"] * 2
            assert [len(row.attempts) for row in outbox.rows.values()] == [1, 1]
            assert chain.nonce(signer.address) == 3
    assert steps > 20


def crash_after(steps: int) -> Callable[[], None]:
    """What ends the process when it is called for the n-th time."""
    left = steps

    def watch() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise CrashError

    return watch


def test_rows_wait_until_the_chain_includes_them(chain: EmbeddedChain, outbox: MemoryOutbox, worker: Made) -> None:
    slow = SlowChain(chain)
    anchorer = worker(slow)
    assert anchorer.run_once() == AnchorProgress(sent=3)
    again = anchorer.run_once()
    assert (again.sent, [wait.reason for wait in again.waits]) == (3, [Wait.NODE] * 3)
    assert len(slow.pool) == 3
    slow.include_all()
    assert anchorer.run_once().included == 3
    assert [len(row.attempts) for row in outbox.rows.values()] == [1, 1, 1]


def test_what_is_stuck_is_replaced_with_higher_fees_up_to_the_cap(
    chain: EmbeddedChain, outbox: MemoryOutbox, worker: Made
) -> None:
    slow = SlowChain(chain)
    slow.base_fee = GWEI
    times = [0.0, 59.0, 60.0, 119.0, 120.0, 600.0, 1200.0, 1800.0, 2400.0, 3000.0]
    sending = Sending(fees=FeeRules(cap=5 * GWEI, tip=GWEI), bump_after_s=60)
    anchorer = worker(slow, clock=lambda: times[0], sending=sending)
    while len(times) > 1:
        anchorer.run_once()
        times.pop(0)
    first, second, third = outbox.rows.values()
    fees = [attempt.signed.transaction.fees for attempt in first.attempts]
    assert {attempt.signed.transaction.nonce for attempt in first.attempts} == {1}
    assert len(second.attempts) == len(third.attempts) == 1
    for before, after in pairwise(fees):
        assert after.max_fee_per_gas * 8 >= before.max_fee_per_gas * 9
        assert after.max_priority_fee_per_gas * 8 >= before.max_priority_fee_per_gas * 9
    assert len(fees) > 3
    assert fees[-1].max_fee_per_gas <= 5 * GWEI < fees[-1].max_fee_per_gas * 9 // 8
    said = [wait for wait in anchorer.run_once().waits if wait.reason is Wait.FEES]
    assert f"its transaction pays {fees[-1].max_fee_per_gas}, wanted room under {5 * GWEI}" in said[0].text


def test_above_the_cap_nothing_is_signed(chain: EmbeddedChain, outbox: MemoryOutbox, worker: Made) -> None:
    slow = SlowChain(chain)
    slow.base_fee = 200 * GWEI
    progress = worker(slow).run_once()
    assert (progress.pending, outbox.states()) == (3, ["pending"] * 3)
    assert [wait.reason for wait in progress.waits] == [Wait.FEES]
    slow.base_fee = GWEI
    assert worker(slow).run_once().sent == 3


def test_a_gap_in_the_nonces_is_filled(chain: EmbeddedChain, outbox: MemoryOutbox, worker: Made) -> None:
    slow = SlowChain(chain)
    worker(slow).run_once()
    first = next(iter(outbox.rows.values()))
    first.attempts.clear()
    slow.pool.pop(0)
    worker(slow).run_once()
    assert sorted(decode_signed(raw).transaction.nonce for raw in slow.pool) == [1, 2, 3]
    slow.pool.sort(key=lambda raw: decode_signed(raw).transaction.nonce)
    slow.include_all()
    assert worker().run_once().included == 3


def test_a_batch_that_is_there_already_needs_no_transaction(
    chain: EmbeddedChain,
    deployment: Deployment,
    signer: Signer,
    stranger: Signer,
    outbox: MemoryOutbox,
    batches: list[Batch],
    worker: Made,
) -> None:
    signatures = packed(deployment.registry.domain, batches[0].hash)
    chain.send_raw(
        stranger.sign(deployment.registry.anchor_transaction(batches[0], signatures, nonce=0, fees=FeePolicy()))
    )
    assert worker().run_once().included == 3
    assert chain.nonce(signer.address) == 3
    inclusion = next(iter(outbox.rows.values())).inclusion
    assert inclusion is not None
    assert (inclusion.gas_used, inclusion.transaction_hash) == (None, None)


def test_another_hash_on_the_chain_is_named_and_stops_no_other_microgrid(
    chain: EmbeddedChain, deployment: Deployment, stranger: Signer, outbox: MemoryOutbox, worker: Made
) -> None:
    registry = deployment.registry
    other = replace(make_batches(1)[0], headers=(b"\x0f" * 32,))
    signed = packed(registry.domain, other.hash)
    chain.send_raw(stranger.sign(registry.anchor_transaction(other, signed, nonce=0, fees=FeePolicy())))
    outbox.add(make_batches(1, microgrid="microgrids/town")[0])
    outbox.sign(registry.domain, keys(range(3)))
    named = f"batch 0 of microgrids/village: the contract holds 0x{other.hash.hex()}"
    with pytest.raises(AnchorConflictError, match=named):
        worker().run_once()
    assert outbox.states() == ["pending", "pending", "pending", "final"]


class TestValidators:
    """Who may sign changes while batches wait."""

    def test_the_next_validators_sign_what_comes_after_them(
        self, chain: EmbeddedChain, deployment: Deployment, outbox: MemoryOutbox, batches: list[Batch], worker: Made
    ) -> None:
        outbox.add(quorum_of(range(3, 8), epoch=1))
        outbox.sign(deployment.registry.domain, keys(range(5)))
        progress = worker().run_once()
        # The change goes first, and what the old ones signed alone does not count any more.
        assert (progress.included, progress.pending) == (1, 3)
        assert deployment.registry.quorum(chain).epoch == 1
        progress = worker().run_once()
        assert "got 2 signatures, wanted 3 of the validators of epoch 1" in progress.waits[0].text
        outbox.sign(deployment.registry.domain, keys(range(3, 8)))
        assert worker().run_once().included == 3

    def test_a_change_that_too_few_signed_waits(
        self, deployment: Deployment, outbox: MemoryOutbox, worker: Made
    ) -> None:
        outbox.add(quorum_of(range(3, 8), epoch=1))
        row = outbox.rows["validators of epoch 1"]
        outbox.sign(deployment.registry.domain, keys((0, 1)))
        progress = worker().run_once()
        assert (progress.included, row.state.value) == (3, "pending")

    def test_a_change_of_an_epoch_that_others_took_is_named(
        self, chain: EmbeddedChain, deployment: Deployment, stranger: Signer, outbox: MemoryOutbox, worker: Made
    ) -> None:
        registry, other = deployment.registry, quorum_of(range(2, 7), epoch=1)
        signed = packed(registry.domain, other.rotation_hash)
        chain.send_raw(stranger.sign(registry.rotate_transaction(other, signed, nonce=0, fees=FeePolicy())))
        outbox.add(quorum_of(range(3, 8), epoch=1))
        outbox.sign(registry.domain, keys(range(8)))
        with pytest.raises(AnchorConflictError, match="validators of epoch 1: the contract has had others"):
            worker().run_once()

    def test_signatures_that_do_not_count_are_not_sent(
        self, deployment: Deployment, outbox: MemoryOutbox, worker: Made
    ) -> None:
        outbox.sign(deployment.registry.domain, keys(range(5)))
        row = next(iter(outbox.rows.values()))
        first, second, third, *_ = quorum_of().validators
        row.signatures |= {first: row.signatures[second], second: b"\x00" * 65}
        good = row.signatures.pop(third)
        progress = worker().run_once()
        assert "batch 0 of microgrids/village: got 2 signatures, wanted 3" in progress.waits[0].text
        row.signatures[third] = good
        assert worker().run_once().included == 3


def test_a_chain_with_another_number_is_refused_and_no_row_is_touched(
    genesis: Genesis, signer: Signer, outbox: MemoryOutbox, worker: Made
) -> None:
    other = EmbeddedChain(replace(genesis, chain_id=1))
    deploy(other, signer, quorum_of())
    with pytest.raises(WrongChainError, match="got chain 1, wanted 31337"):
        worker(other).run_once()
    assert outbox.states() == ["pending"] * 3


def test_a_chain_without_the_contract_is_refused(genesis: Genesis, worker: Made) -> None:
    with pytest.raises(WrongChainError, match="code hash"):
        worker(EmbeddedChain(genesis)).run_once()


def test_a_chain_with_another_beginning_is_refused(
    genesis: Genesis, chain: EmbeddedChain, signer: Signer, outbox: MemoryOutbox, worker: Made
) -> None:
    anchorer = worker()
    other = EmbeddedChain(replace(genesis, timestamp=genesis.timestamp + 1))
    deploy(other, signer, quorum_of())
    anchorer._chain = other
    with pytest.raises(WrongChainError, match="genesis block: got 0x"):
        anchorer.run_once()
    assert outbox.states() == ["pending"] * 3


@pytest.mark.parametrize("wrong", [{"chain_id": 999}, {"to": None}, {"data": b""}])
def test_a_stored_transaction_that_does_something_else_is_not_sent(
    chain: EmbeddedChain,
    deployment: Deployment,
    signer: Signer,
    outbox: MemoryOutbox,
    batches: list[Batch],
    worker: Made,
    wrong: dict[str, Any],
) -> None:
    signatures = packed(deployment.registry.domain, batches[0].hash)
    transaction = deployment.registry.anchor_transaction(batches[0], signatures, nonce=1, fees=FeePolicy())
    row = next(iter(outbox.rows.values()))
    row.attempts = [Attempt(raw=signer.sign(replace(transaction, **wrong)), created=0.0)]
    with pytest.raises(AnchorConflictError, match=r"batch 0 of microgrids/village: .*transaction"):
        worker().run_once()
    assert chain.nonce(signer.address) == 1


class TestNode:
    """A node that fails in every way there is: a named state, and nothing is lost."""

    def test_one_that_does_not_answer(
        self, chain: EmbeddedChain, worker: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> bytes:
            raise ChainUnavailableError("timeout")

        for method in ("chain_id", "head", "block_hash", "call", "nonce", "balance", "send_raw", "receipt"):
            with monkeypatch.context() as patch:
                anchorer = worker()
                patch.setattr(chain, method, fail)
                with pytest.raises(AnchorError, match="timeout"):
                    anchorer.run_once()
        assert worker().run_once().included + chain.head().number >= 3
        assert worker().run_once().waiting == 0

    def test_one_that_times_out_after_it_took_the_transaction(
        self, chain: EmbeddedChain, signer: Signer, outbox: MemoryOutbox, worker: Made
    ) -> None:
        class Deaf(WrappedChain):
            def send_raw(self, raw: bytes) -> bytes:
                self._chain.send_raw(raw)
                raise ChainUnavailableError("timeout")

        for _ in range(3):
            with pytest.raises(ChainUnavailableError, match="timeout"):
                worker(Deaf(chain)).run_once()
        assert worker().run_once().waiting == 0
        assert [len(row.attempts) for row in outbox.rows.values()] == [1, 1, 1]
        assert chain.nonce(signer.address) == 4

    def test_one_that_answers_from_the_past(self, chain: EmbeddedChain, outbox: MemoryOutbox, worker: Made) -> None:
        now = 0.0
        slow = SlowChain(chain)
        anchorer = worker(slow, clock=lambda: now)
        slow.final_number = lambda: 0  # type: ignore[attr-defined]
        slow.head = lambda: Block(number=9, hash=b"\x09" * 32, base_fee=1)  # type: ignore[method-assign]
        slow.at = lambda number: chain  # type: ignore[attr-defined]
        slow.block_hash = lambda number: b"\x09" * 32 if number == 9 else chain.block_hash(number)  # type: ignore[attr-defined]
        assert anchorer.run_once().sent == 3
        del slow.head, slow.at, slow.block_hash
        with pytest.raises(StaleHeadError, match="got block 1 as the newest, wanted 9 or later"):
            anchorer.run_once()
        now = 299.0
        with pytest.raises(StaleHeadError):
            anchorer.run_once()
        # A chain that was cut back for good is the chain.
        now = 300.0
        assert anchorer.run_once().sent == 3

    def test_one_whose_chain_changed_while_it_was_asked(self, chain: EmbeddedChain, worker: Made) -> None:
        class Restless(WrappedChain):
            def head(self) -> Block:
                return replace(self._chain.head(), hash=b"\x01" * 32)

        with pytest.raises(ChainUnavailableError, match="got another block 1 meanwhile"):
            worker(Restless(chain)).run_once()

    def test_one_that_cannot_say_what_is_final(self, chain: EmbeddedChain, outbox: MemoryOutbox, worker: Made) -> None:
        class Young(WrappedChain):
            def final_number(self) -> int:
                raise ChainRefusedError("no block 'finalized'")

        with pytest.raises(ChainUnavailableError, match="finalized"):
            worker(Young(chain)).run_once()
        assert outbox.states() == ["included"] * 3
        assert worker().run_once() == AnchorProgress()
        assert outbox.states() == ["final"] * 3


class TestReorganisation:
    """A chain whose newest blocks may still vanish."""

    class Shaky(WrappedChain):
        def final_number(self) -> int:
            return self._chain.head().number - 2

    def test_what_vanished_is_sent_again_and_is_final_in_the_end(
        self, chain: EmbeddedChain, signer: Signer, outbox: MemoryOutbox, worker: Made
    ) -> None:
        before = chain._backend.take_snapshot()
        shaky = self.Shaky(chain)
        anchorer = worker(shaky)
        assert anchorer.run_once().included == 3
        assert outbox.states() == ["final", "included", "included"]
        outbox.rows["batch 0 of microgrids/village"].state = type(next(iter(outbox.rows.values())).state)("included")
        chain._backend.revert_to_snapshot(before)
        chain._receipts.clear()
        for _ in range(4):
            chain._backend.mine_blocks(1)
        progress = anchorer.run_once()
        assert progress.included == 3
        assert chain.nonce(signer.address) == 4
        assert outbox.states() == ["final", "included", "included"]
        chain._backend.mine_blocks(2)
        anchorer.run_once()
        assert outbox.states() == ["final"] * 3
        assert [len(row.attempts) for row in outbox.rows.values()] == [1, 1, 1]


class TestAccount:
    def test_an_empty_one_is_named_and_what_was_paid_for_goes_on(
        self, chain: EmbeddedChain, genesis: Genesis, deployment: Deployment, outbox: MemoryOutbox, worker: Made
    ) -> None:
        poor = LocalSigner(b"\x05" * 32)
        with pytest.raises(OutOfFundsError, match=f"account {poor.address}: got 0 wei, wanted [0-9]+ for batch 0"):
            worker(signer=poor).run_once()
        assert outbox.states() == ["pending"] * 3

    def test_funds_for_one_transaction_send_one(
        self, chain: EmbeddedChain, signer: Signer, outbox: MemoryOutbox, worker: Made
    ) -> None:
        class Poor(SlowChain):
            def at(self, number: int) -> Any:
                return self

            def balance(self, address: str) -> int:
                return anchor_gas(3) * 3 * GWEI

        poor = Poor(chain)
        poor.base_fee = GWEI
        with pytest.raises(OutOfFundsError, match="for batch 1 of microgrids/village"):
            worker(poor).run_once()
        assert outbox.states() == ["sent", "pending", "pending"]
        assert len(poor.pool) == 1

    def test_a_signer_that_does_not_sign_is_named(
        self, outbox: MemoryOutbox, signer: LocalSigner, worker: Made
    ) -> None:
        class Down:
            address = signer.address

            def sign(self, transaction: Transaction) -> bytes:
                raise SignerUnavailableError("signer: connection refused")

        class Odd(Down):
            def sign(self, transaction: Transaction) -> bytes:
                return signer.sign(replace(transaction, nonce=transaction.nonce + 1))

        for down, said in ((Down(), "connection refused"), (Odd(), "got another transaction or sender back")):
            with pytest.raises(SignerUnavailableError, match=said):
                worker(signer=down).run_once()
        assert outbox.states() == ["pending"] * 3
        assert worker().run_once().included == 3

    def test_two_services_with_one_key_never_race(
        self, chain: EmbeddedChain, signer: Signer, outbox: MemoryOutbox, worker: Made
    ) -> None:
        now = 0.0
        slow = SlowChain(chain)
        one, other = (worker(slow, clock=lambda: now, holder=holder) for holder in ("one", "other"))
        assert one.run_once().sent == 3
        assert other.run_once() == AnchorProgress(standby=True)
        now = 121.0
        slow.include_all()
        assert other.run_once().included == 3
        assert chain.nonce(signer.address) == 4

    def test_who_lost_the_lease_stores_and_sends_nothing(
        self, chain: EmbeddedChain, signer: LocalSigner, outbox: MemoryOutbox, worker: Made
    ) -> None:
        class Slow:
            address = signer.address

            def sign(self, transaction: Transaction) -> bytes:
                outbox.leases[signer.address] = ("other", 1e9)
                return signer.sign(transaction)

        progress = worker(signer=Slow()).run_once()
        assert progress.standby
        assert outbox.states() == ["pending"] * 3
        assert chain.nonce(signer.address) == 1
