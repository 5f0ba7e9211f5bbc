"""Checks of the proof of a single record: alone, and against a chain that the verifier trusts."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.backfill import backfill
from contracts.batch import GENESIS_BATCH, microgrid_key, window_leaf
from contracts.batch_evidence import signature_problems
from contracts.books import committed_count
from contracts.chain import Chain
from contracts.errors import WrongChainError
from contracts.hashing import ZERO_HASH, to_hex
from contracts.merkle import verify_proof
from contracts.proof_file import SingleProof
from contracts.quorum import Quorum
from contracts.registry import Anchored, parse_event
from contracts.report import Check


def check_index(proof: SingleProof) -> Check:
    """The record is one of those that its header counts."""
    record, header = proof.stated.record, proof.headers[0].header
    count = committed_count(header, type(record))
    # The indices of a correction go on from those of the runs before it, of which the proof says nothing.
    counted = count > 0 if header.run else record.index < count
    failures = () if counted else (f"{record.name}: the header counts only {count}",)
    return Check(name="the record is one of those that the header counts", failures=failures)


def check_batch(proof: SingleProof) -> Check:
    """The record's header leads to its batch's root, and those who are said to have signed the batch did."""
    place = proof.batch
    failures = []
    if not verify_proof(window_leaf(place.position, proof.headers[0].header.hash), place.path, place.windows_root):
        failures.append(
            f"batch {place.number}: path does not lead from header {place.position} to {to_hex(place.windows_root)}"
        )
    if (place.number == 0) != (place.previous == GENESIS_BATCH):
        failures.append(f"batch {place.number}: previous: got {to_hex(place.previous)}, wanted zero for batch 0 alone")
    problems = signature_problems(place.signatures, place.hash_in(proof.microgrid), proof.registry.domain, None)
    failures += [f"batch {place.number}: {problem}" for problem in problems]
    return Check(name=f"batch {place.number}, signed by {len(place.signatures)}", failures=tuple(failures))


def check_proof_root(proof: SingleProof, root: bytes) -> Check:
    """The hash that the verifier got elsewhere is that of the last header, or of the batch."""
    last, batch = proof.headers[-1].header.hash, proof.batch.hash_in(proof.microgrid)
    failures = (
        () if root in {last, batch} else (f"got root {to_hex(last)} and batch {to_hex(batch)}, wanted {to_hex(root)}",)
    )
    return Check(name=f"root {to_hex(root)}", failures=failures)


def check_on_chain(chain: Chain, proof: SingleProof, where: str) -> Check:
    """A chain's contract holds the batch, and the named transaction and enough validators brought it there.

    Raises
    ------
    ChainUnavailableError
        If the chain does not answer: nothing is known then.
    """
    return Check(name=f"contract {proof.registry.address} at {where}", failures=tuple(_chain_failures(chain, proof)))


def _chain_failures(chain: Chain, proof: SingleProof) -> Iterator[str]:
    registry, place = proof.registry, proof.batch
    try:
        registry.check(chain)
    except WrongChainError as err:
        yield str(err)
        return
    wanted = place.hash_in(proof.microgrid)
    if (held := registry.held(chain, proof.microgrid, place.number)) != wanted:
        got = "nothing" if held == ZERO_HASH else to_hex(held)
        yield f"batch {place.number}: the contract holds {got}, wanted {to_hex(wanted)}"
        return
    if place.transaction is not None and not _brought(chain, proof, place.transaction, wanted):
        yield f"batch {place.number}: transaction {to_hex(place.transaction)} did not anchor it there"
    if not any(_suffices(proof, wanted, quorum) for quorum in _quorums(chain, proof)):
        yield f"batch {place.number}: got {len(place.signatures)} signatures, of too few of the contract's validators"


def _brought(chain: Chain, proof: SingleProof, transaction: bytes, batch: bytes) -> bool:
    receipt = chain.receipt(transaction)
    if receipt is None or not receipt.succeeded:
        return False
    wanted = Anchored(microgrid=microgrid_key(proof.microgrid), number=proof.batch.number, hash=batch)
    logs = chain.logs(proof.registry.address, receipt.block_number, receipt.block_number)
    return any(log.transaction_hash == transaction and parse_event(log) == wanted for log in logs)


def _quorums(chain: Chain, proof: SingleProof) -> Iterator[Quorum]:
    """The validators in force, then all that there ever were: they may have changed since the batch was signed."""
    yield proof.registry.quorum(chain)
    for log in backfill(chain, proof.registry.address, 0, chain.head().number):
        if isinstance(said := parse_event(log), Quorum):
            yield said


def _suffices(proof: SingleProof, batch: bytes, quorum: Quorum) -> bool:
    return not signature_problems(proof.batch.signatures, batch, proof.registry.domain, quorum)
