"""Writing header hashes to the registry: an outbox row is done when the contract holds its hash.

The controller adds a row in the database transaction that settles a window, so that a window is never
settled without an anchor to come, and control never waits for a chain. The worker here reads the rows and
moves each on: a signed transaction is stored before it is sent, and what the contract holds decides what is
done, whatever a node answered. A crash between any two steps is repaired by doing the steps again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from contracts.chain import Chain, check_chain_id
from contracts.errors import AnchorConflictError, ChainUnavailableError, WrongChainError
from contracts.hashing import ZERO_HASH, to_hex
from contracts.operator_registry import Registry, parse_anchor_data
from contracts.outbox import AnchorState
from contracts.transactions import FeePolicy, SignedTransaction, Signer, decode_signed


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorRow:
    """A header hash on its way to the contract.

    Attributes
    ----------
    window : str
        Resource name of the dispatch window.
    run : int
        Which settlement of the window.
    key : bytes
        `contracts.header.anchor_key` of the run, 32 bytes.
    header_hash : bytes
        What the contract shall hold, 32 bytes.
    state : AnchorState
        How far it has come.
    raw_transaction : bytes or None
        The signed transaction; None while nothing was signed.
    transaction_hash : bytes or None
        Its hash; None while nothing was signed.
    gas_used : int or None
        Gas; None until it is included, and where another transaction wrote the hash.
    """

    window: str
    run: int
    key: bytes
    header_hash: bytes
    state: AnchorState = AnchorState.PENDING
    raw_transaction: bytes | None = None
    transaction_hash: bytes | None = None
    gas_used: int | None = None


class AnchorOutbox(Protocol):
    """The rows, kept where a crash does not reach them. Each method is one durable transaction."""

    def unfinished(self) -> Sequence[AnchorRow]:
        """Rows that are pending or sent, in the order in which they were added."""

    def record_signed(self, row: AnchorRow, raw_transaction: bytes, transaction_hash: bytes) -> None:
        """Store a row's signed transaction; its state becomes sent."""

    def record_included(self, row: AnchorRow, gas_used: int | None) -> None:
        """Store that the contract holds a row's hash; its state becomes included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorProgress:
    """What one cycle did.

    Attributes
    ----------
    included : int
        Rows whose hash the contract holds now.
    waiting : int
        Rows that were sent and whose hash the contract does not hold yet.
    refusals : tuple of str
        What the chain said where it did not take a transaction. A node that has the transaction already
        refuses it too, so this alone is no fault.
    """

    included: int
    waiting: int
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Included:
    """The contract holds the row's hash."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The row's transaction is on its way."""

    refusal: str | None


@dataclass(frozen=True, slots=True)
class _Conflict:
    """The row can never be included."""

    message: str


_Outcome = _Included | _Waiting | _Conflict


class Anchorer:
    """The worker that moves the outbox's rows on. At most one may run for a signer's key.

    Parameters
    ----------
    chain : Chain
        Where the registry stands.
    registry : Registry
        The contract; the signer is its operator.
    signer : Signer
        The operator's key.
    outbox : AnchorOutbox
        The rows.
    fees : FeePolicy, optional
        What a transaction may cost.
    """

    def __init__(
        self,
        chain: Chain,
        registry: Registry,
        signer: Signer,
        outbox: AnchorOutbox,
        *,
        fees: FeePolicy | None = None,
    ) -> None:
        self._chain = chain
        self._registry = registry
        self._signer = signer
        self._outbox = outbox
        self._fees = FeePolicy() if fees is None else fees

    def run_once(self) -> AnchorProgress:
        """How many rows are done and how many wait, after moving each as far as the chain allows.

        Raises
        ------
        WrongChainError
            If the chain or the contract is not the registry's; no row was touched.
        ChainUnavailableError
            If the chain stopped answering; the rows stay for the next cycle.
        AnchorConflictError
            If the contract holds another hash for a row, or a row's transaction was used up without effect.
            All other rows were moved on first.
        """
        rows = self._outbox.unfinished()
        if not rows:
            return AnchorProgress(included=0, waiting=0)
        self._registry.check(self._chain)
        nonces = count(self._next_nonce(rows))
        outcomes = [self._advance(row, nonces) for row in rows]
        conflicts = [outcome.message for outcome in outcomes if isinstance(outcome, _Conflict)]
        if conflicts:
            raise AnchorConflictError(f"contract {self._registry.address}: {'; '.join(conflicts)}")
        waiting = [outcome for outcome in outcomes if isinstance(outcome, _Waiting)]
        return AnchorProgress(
            included=len(outcomes) - len(waiting),
            waiting=len(waiting),
            refusals=tuple(outcome.refusal for outcome in waiting if outcome.refusal is not None),
        )

    def _advance(self, row: AnchorRow, nonces: Iterator[int]) -> _Outcome:
        """How far a row comes now; what the contract holds decides, never what a node answers."""
        signed = None if row.raw_transaction is None else decode_signed(row.raw_transaction)
        held = self._registry.stored(self._chain, row.key)
        refusal, used_up = None, False
        if held == ZERO_HASH:
            if signed is None:
                signed = self._sign(row, next(nonces))
            refusal = self._send(row, signed)
            # Asked before the contract is: a transaction included in between is not taken for lost.
            used_up = self._chain.nonce(signed.sender) > signed.transaction.nonce
            held = self._registry.stored(self._chain, row.key)
        if held == row.header_hash:
            self._outbox.record_included(row, self._gas_used(signed))
            return _Included()
        if held != ZERO_HASH:
            return _Conflict(f"{_name(row)}: got {to_hex(held)}, wanted {to_hex(row.header_hash)}")
        if used_up:
            return _Conflict(f"{_name(row)}: its transaction was used up to no effect")
        return _Waiting(refusal)

    def _next_nonce(self, rows: Iterable[AnchorRow]) -> int:
        """First nonce that neither the chain nor a stored transaction has used."""
        stored = [
            decode_signed(row.raw_transaction).transaction.nonce for row in rows if row.raw_transaction is not None
        ]
        return max([self._chain.nonce(self._signer.address), *(nonce + 1 for nonce in stored)])

    def _sign(self, row: AnchorRow, nonce: int) -> SignedTransaction:
        raw = self._signer.sign(
            self._registry.anchor_transaction(row.key, row.header_hash, nonce=nonce, fees=self._fees)
        )
        signed = decode_signed(raw)
        self._outbox.record_signed(row, raw, signed.hash)
        return signed

    def _send(self, row: AnchorRow, signed: SignedTransaction) -> str | None:
        """What the chain said if it did not take the row's transaction."""
        check_chain_id(self._chain, signed)
        to, written = signed.transaction.to, parse_anchor_data(signed.transaction.data)
        if (to, written) != (self._registry.address, (row.key, row.header_hash)):
            raise WrongChainError(f"{_name(row)}: got a stored transaction to {to}, wanted the row's own")
        try:
            self._chain.send_raw(signed.raw)
        except ChainUnavailableError as err:
            return f"{_name(row)}: {err}"
        return None

    def _gas_used(self, signed: SignedTransaction | None) -> int | None:
        receipt = None if signed is None else self._chain.receipt(signed.hash)
        return receipt.gas_used if receipt is not None and receipt.succeeded else None


def _name(row: AnchorRow) -> str:
    return f"window {row.window} run {row.run}"
