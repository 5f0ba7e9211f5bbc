"""Checks of the headers against a chain: the evidence's own, replayed, or one behind a URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contracts.chain import Chain, EmbeddedChain
from contracts.chain_evidence import ChainEvidence, ChainTransaction, Purpose
from contracts.errors import AnchorError, WrongChainError
from contracts.evidence import StatedHeader
from contracts.hashing import ZERO_HASH, to_hex
from contracts.header import WindowHeader
from contracts.operator_registry import Registry, operator_of_deployment, parse_anchor_data
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


def read_transactions(chain: ChainEvidence, headers: Sequence[StatedHeader]) -> ReadTransactions:
    """Whether each transaction is what the evidence calls it, before any is run.

    The first deploys the committed contract for its own signer; each other is signed by that operator, for
    this chain, and anchors the header of its window; each header has its anchor.
    """
    registry, failures = _read_deployment(chain)
    if registry is not None:
        by_window = {stated.header.window: stated.header for stated in headers}
        anchored = set()
        for number, entry in enumerate(chain.transactions[1:], start=2):
            header = None if entry.window is None else by_window.get(entry.window)
            problem = _anchor_problem(entry, registry, header)
            if problem is None:
                anchored.add(entry.window)
            else:
                failures.append(f"chain.json transaction {number}: {entry.name}: {problem}")
        failures += [
            f"chain.json: header of window {stated.header.window}: its anchor is missing"
            for stated in headers
            if stated.header.window not in anchored
        ]
    check = Check(name=f"signatures and contents of {len(chain.transactions)} transactions", failures=tuple(failures))
    return ReadTransactions(registry=registry, check=check)


def _read_deployment(chain: ChainEvidence) -> tuple[Registry | None, list[str]]:
    name = "chain.json transaction 1: deploy"
    if not chain.transactions or chain.transactions[0].purpose is not Purpose.DEPLOY:
        return None, [f"{name}: the deployment is missing"]
    try:
        signed = decode_signed(chain.transactions[0].raw)
    except WrongChainError as err:
        return None, [f"{name}: {err}"]
    operator = operator_of_deployment(signed.transaction)
    if operator is None or operator != signed.sender:
        return None, [f"{name}: it does not deploy the committed contract for its own signer"]
    registry = Registry(
        chain_id=chain.genesis.chain_id,
        address=created_address(signed.sender, signed.transaction.nonce),
        operator=operator,
    )
    failures = []
    if signed.transaction.chain_id != registry.chain_id:
        failures.append(f"{name}: got chain {signed.transaction.chain_id}, wanted {registry.chain_id}")
    if chain.contract != registry.address:
        failures.append(f"chain.json contract: got {chain.contract}, wanted {registry.address}")
    if chain.code_hash != registry.code_hash:
        failures.append(f"chain.json code_hash: got {to_hex(chain.code_hash)}, wanted {to_hex(registry.code_hash)}")
    return registry, failures


def _anchor_problem(entry: ChainTransaction, registry: Registry, header: WindowHeader | None) -> str | None:
    if header is None:
        return "the window has no header"
    try:
        signed = decode_signed(entry.raw)
    except WrongChainError as err:
        return str(err)
    if signed.transaction.chain_id != registry.chain_id:
        return f"got chain {signed.transaction.chain_id}, wanted {registry.chain_id}"
    if signed.sender != registry.operator:
        return f"got signer {signed.sender}, wanted the operator {registry.operator}"
    return _call_problem(signed, registry, header)


def _call_problem(signed: SignedTransaction, registry: Registry, header: WindowHeader) -> str | None:
    written = parse_anchor_data(signed.transaction.data)
    if signed.transaction.to != registry.address or written is None:
        return f"got a transaction to {signed.transaction.to} that anchors nothing in {registry.address}"
    key, header_hash = written
    if key != header.anchor_key:
        return f"got key {to_hex(key)}, wanted {to_hex(header.anchor_key)}"
    if header_hash != header.hash:
        return f"got header hash {to_hex(header_hash)}, wanted {to_hex(header.hash)}"
    return None


def check_replay(chain: ChainEvidence, registry: Registry, headers: Sequence[StatedHeader]) -> Check:
    """The signed transactions, run from the genesis, leave each header's hash in the contract."""
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
    return Check(name=name, failures=tuple(anchor_failures(embedded, registry, headers)))


def check_anchored(chain: Chain, registry: Registry, headers: Sequence[StatedHeader], where: str) -> Check:
    """A chain's contract holds each header's hash.

    Raises
    ------
    ChainUnavailableError
        If the chain does not answer: nothing is known then.
    """
    return Check(
        name=f"contract {registry.address} of operator {registry.operator} at {where}",
        failures=tuple(anchor_failures(chain, registry, headers)),
    )


def anchor_failures(chain: Chain, registry: Registry, headers: Sequence[StatedHeader]) -> Iterator[str]:
    """What is wrong with the contract, or with what it holds for each header."""
    try:
        registry.check(chain)
    except WrongChainError as err:
        yield str(err)
        return
    for stated in headers:
        held, wanted = registry.stored(chain, stated.header.anchor_key), stated.header.hash
        if held != wanted:
            got = "nothing" if held == ZERO_HASH else to_hex(held)
            yield (
                f"{stated.place}: header of window {stated.header.window}: "
                f"the contract holds {got}, wanted {to_hex(wanted)}"
            )
