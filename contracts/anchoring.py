"""Writing header hashes to the registry: an outbox row is done when the contract holds its hash.

The controller adds a row in the database transaction that settles a window, so that a window is never
settled without an anchor to come, and control never waits for a chain. The worker here reads the rows and
moves each on: a signed transaction is stored before it is sent, and what the contract holds decides what is
done, whatever a node answered. A crash between any two steps is repaired by doing the steps again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from contracts.chain import Chain, check_chain_id
from contracts.errors import AnchorConflictError, AnchorError, ChainUnavailableError, WrongChainError
from contracts.hashing import ZERO_HASH, keccak, to_hex
from contracts.registry import Registry
from contracts.transactions import FeePolicy, Signer, decode_signed


class AnchorState(Enum):
    """How far a row has come."""

    PENDING = "pending"
    """Nothing was signed."""
    SENT = "sent"
    """A signed transaction is stored, and was sent unless a crash came between."""
    INCLUDED = "included"
    """The contract holds the hash."""
    FINAL = "final"
    """No reorganisation of the chain can undo it; each chain has its own rule for when that is so."""


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
        Rows that were sent and that no block includes yet.
    """

    included: int
    waiting: int


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
        """How many rows are done and how many wait, after moving each row as far as the chain allows.

        Raises
        ------
        WrongChainError
            If the chain or the contract is not the registry's; no row was touched.
        ChainUnavailableError
            If the chain stopped answering; the rows stay for the next cycle.
        AnchorConflictError
            If the contract holds another hash for a row; all other rows were moved on first.
        """
        rows = self._outbox.unfinished()
        if not rows:
            return AnchorProgress(included=0, waiting=0)
        self._registry.check(self._chain)
        nonce = self._next_nonce(rows)
        included, conflicts = 0, []
        for row in rows:
            try:
                nonce += 0 if self._settled(row) or row.raw_transaction is not None else self._sign(row, nonce)
            except AnchorConflictError as err:
                conflicts.append(str(err))
        return AnchorProgress(included=included, waiting=len(rows) - included)
