"""Checks of the batches against a chain: the evidence's own, replayed, or one behind a URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from contracts.batch import Batch
from contracts.batch_evidence import StatedBatch, signature_problems
from contracts.chain import Chain, EmbeddedChain
from contracts.chain_evidence import ChainEvidence, ChainTransaction, Purpose
from contracts.errors import AnchorError, ContractsError, WrongChainError
from contracts.hashing import ZERO_HASH, keccak, to_hex
from contracts.quorum import Quorum, SignatureRefusedError
from contracts.registry import (
    Registry,
    anchor_data,
    parse_anchor_data,
    parse_rotate_data,
    quorum_of_deployment,
)
from contracts.report import Check
from contracts.transactions import SignedTransaction, created_address, decode_signed


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTransactions:
    """What the evidence's signed transactions turned out to be.

    Attributes
    ----------
    registry : Registry or None
        The contract that the deployment creates; None when there is no valid deployment.
    check : Check
        What is wrong with them.
    """

    registry: Registry | None
    check: Check


def read_transactions(
    chain: ChainEvidence, batches: Sequence[StatedBatch], wanted: Sequence[Batch | None]
) -> ReadTransactions:
    """Whether each transaction is what the evidence calls it, before any is run.

    The first deploys the committed contract with its validators; each other, signed for this chain, anchors its batch
    or appoints the next validators, under enough signatures of those in force; each batch has its anchor, and
    signatures that suffice.

    Parameters
    ----------
    chain : ChainEvidence
        The transactions.
    batches : sequence of StatedBatch
        The batches as evidence states them.
    wanted : sequence of Batch or None
        The batches as the headers give them; None where they give none, which is reported elsewhere.
    """
    registry, quorum, failures = _read_deployment(chain)
    if registry is not None and quorum is not None:
        reader = _Reader(registry, quorum, {batch.number: batch for batch in wanted if batch is not None})
        for number, entry in enumerate(chain.transactions[1:], start=2):
            failures += [f"chain.json transaction {number}: {entry.name}: {problem}" for problem in reader.read(entry)]
        for stated, batch in zip(batches, wanted, strict=True):
            failures += _anchoring_failures(stated, batch, registry, reader.anchored.get(stated.number))
    check = Check(name=f"signatures and contents of {len(chain.transactions)} transactions", failures=tuple(failures))
    return ReadTransactions(registry=registry, check=check)


def _anchoring_failures(
    stated: StatedBatch, batch: Batch | None, registry: Registry, quorum: Quorum | None
) -> Iterator[str]:
    if quorum is None:
        yield f"chain.json: {stated.name}: its anchor is missing"
    if batch is not None:
        for problem in signature_problems(stated.signatures, batch.hash, registry.domain, quorum):
            yield f"{stated.name}: {problem}"


def _read_deployment(chain: ChainEvidence) -> tuple[Registry | None, Quorum | None, list[str]]:
    name = "chain.json transaction 1: deploy"
    if not chain.transactions or chain.transactions[0].purpose is not Purpose.DEPLOY:
        return None, None, [f"{name}: the deployment is missing"]
    try:
        signed = decode_signed(chain.transactions[0].raw)
    except WrongChainError as err:
        return None, None, [f"{name}: {err}"]
    quorum = quorum_of_deployment(signed.transaction)
    if quorum is None:
        return None, None, [f"{name}: it does not deploy the committed contract"]
    registry = Registry(
        chain_id=chain.genesis.chain_id, address=created_address(signed.sender, signed.transaction.nonce)
    )
    failures = []
    if signed.transaction.chain_id != registry.chain_id:
        failures.append(f"{name}: got chain {signed.transaction.chain_id}, wanted {registry.chain_id}")
    if chain.contract != registry.address:
        wanted = f"{registry.address}, which chain.json transaction 1 deploys"
        failures.append(f"chain.json contract: got {chain.contract}, wanted {wanted}")
    if chain.code_hash != registry.code_hash:
        failures.append(f"chain.json code_hash: got {to_hex(chain.code_hash)}, wanted {to_hex(registry.code_hash)}")
    return registry, quorum, failures


class _Reader:
    """Reads one transaction after the other, and knows who may sign at each."""

    def __init__(self, registry: Registry, quorum: Quorum, batches: dict[int, Batch]) -> None:
        self._registry = registry
        self._quorum = quorum
        self._batches = batches
        self.anchored: dict[int, Quorum] = {}
        """The validators in force when a batch was anchored, by its number."""

    def read(self, entry: ChainTransaction) -> Iterator[str]:
        """What is wrong with a transaction."""
        try:
            signed = decode_signed(entry.raw)
        except WrongChainError as err:
            yield str(err)
            return
        if signed.transaction.chain_id != self._registry.chain_id:
            yield f"got chain {signed.transaction.chain_id}, wanted {self._registry.chain_id}"
            return
        if signed.transaction.to != self._registry.address:
            yield f"got a transaction to {signed.transaction.to}, wanted one to {self._registry.address}"
            return
        match entry.purpose:
            case Purpose.DEPLOY:
                yield "the registry is deployed already"
            case Purpose.ANCHOR:
                yield from self._anchor(entry, signed)
            case Purpose.ROTATE:
                yield from self._rotate(entry, signed)
            case _:
                assert_never(entry.purpose)

    def _anchor(self, entry: ChainTransaction, signed: SignedTransaction) -> Iterator[str]:
        call = parse_anchor_data(signed.transaction.data)
        if call is None:
            yield "got a transaction that anchors nothing"
            return
        if entry.number != call.number:
            yield f"got one that anchors batch {call.number}"
            return
        batch = self._batches.get(call.number)
        if batch is None:
            yield "there is no such batch"
            return
        if signed.transaction.data != anchor_data(batch, call.signatures):
            yield f"got root {to_hex(call.windows_root)} after {to_hex(call.previous)}, wanted what the headers give"
            return
        yield from self._signed(batch.hash, call.signatures)
        self.anchored.setdefault(batch.number, self._quorum)

    def _rotate(self, entry: ChainTransaction, signed: SignedTransaction) -> Iterator[str]:
        call = parse_rotate_data(signed.transaction.data)
        if call is None:
            yield "got a transaction that appoints nobody"
            return
        try:
            quorum = Quorum(epoch=self._quorum.epoch + 1, threshold=call.threshold, validators=call.validators)
        except ContractsError as err:
            yield str(err)
            return
        if entry.number != quorum.epoch:
            yield f"got validators of epoch {quorum.epoch}"
        yield from self._signed(quorum.rotation_hash, call.signatures)
        self._quorum = quorum

    def _signed(self, struct_hash: bytes, packed: bytes) -> Iterator[str]:
        try:
            self._quorum.check(self._registry.domain.digest(struct_hash), packed)
        except SignatureRefusedError as err:
            yield str(err)


def check_replay(chain: ChainEvidence, registry: Registry, batches: Sequence[Batch | None]) -> Check:
    """The signed transactions, run from the genesis, leave each batch's hash in the contract."""
    name = f"replay of {len(chain.transactions)} transactions"
    embedded = EmbeddedChain(chain.genesis)
    for number, entry in enumerate(chain.transactions, start=1):
        try:
            receipt = embedded.receipt(embedded.send_raw(entry.raw))
        except AnchorError as err:
            failure = f"chain.json transaction {number}: {entry.name}: {err}"
            return Check(name=name, failures=(failure,))
        if receipt is None or not receipt.succeeded:
            failure = f"chain.json transaction {number}: {entry.name}: reverted"
            return Check(name=name, failures=(failure,))
    return Check(name=name, failures=tuple(anchor_failures(embedded, registry, batches)))


def check_anchored(
    chain: Chain, registry: Registry, evidence: ChainEvidence, batches: Sequence[Batch | None], where: str
) -> Check:
    """A chain's contract holds each batch's hash, and the chain includes the evidence's transactions.

    Raises
    ------
    ChainUnavailableError
        If the chain does not answer: nothing is known then.
    """
    failures = list(anchor_failures(chain, registry, batches))
    for number, entry in enumerate(evidence.transactions, start=1):
        receipt = chain.receipt(keccak(entry.raw))
        if receipt is None or not receipt.succeeded:
            failures.append(f"chain.json transaction {number}: {entry.name}: the chain does not include it to effect")
    return Check(name=f"contract {registry.address} at {where}", failures=tuple(failures))


def anchor_failures(chain: Chain, registry: Registry, batches: Sequence[Batch | None]) -> Iterator[str]:
    """What is wrong with the contract, or with what it holds for each batch."""
    try:
        registry.check(chain)
    except WrongChainError as err:
        yield str(err)
        return
    for batch in batches:
        if batch is None:
            continue
        if (held := registry.held(chain, batch.microgrid, batch.number)) != batch.hash:
            got = "nothing" if held == ZERO_HASH else to_hex(held)
            yield f"batch {batch.number}: the contract holds {got}, wanted {to_hex(batch.hash)}"
