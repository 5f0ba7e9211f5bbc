"""What is on its way to the registry, kept where no crash reaches it: batches of windows, changes of the validators.

The store holds the rows; the worker in `contracts.anchoring` reads them and moves each on. A row is never forgotten:
one that was included and then lost to a reorganisation of the chain waits again, until the chain calls it final.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Protocol, assert_never

from contracts.batch import Batch
from contracts.quorum import Quorum
from contracts.transactions import Address, SignedTransaction, decode_signed

Subject = Batch | Quorum
"""What a row brings to the registry: a batch, or the set of validators that follows the one in force."""


class AnchorState(Enum):
    """How far a row has come."""

    PENDING = "pending"
    """It waits for signatures, for its turn, or for the chain: nothing was signed for the chain."""
    SENT = "sent"
    """A signed transaction is stored, and was sent unless a crash came between."""
    INCLUDED = "included"
    """The contract holds it; a reorganisation of the chain can still undo that."""
    FINAL = "final"
    """No reorganisation of the chain can undo it; each chain has its own rule for when that is so."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A signed transaction of a row. A row may have several: each has a higher fee or another nonce.

    Attributes
    ----------
    raw : bytes
        The signed bytes.
    created : float
        When it was signed, Unix seconds.
    """

    raw: bytes
    created: float

    @cached_property
    def signed(self) -> SignedTransaction:
        """What the signed bytes say: sender, nonce, fees, hash."""
        return decode_signed(self.raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """Where the chain holds a row.

    Attributes
    ----------
    block_number : int
        Of the block that includes its transaction, or in which it was first seen where somebody else's did it.
    block_hash : bytes
        Of that block, 32 bytes: another hash at this number means that the block was lost to a reorganisation.
    transaction_hash : bytes or None
        Of the attempt that did it; None where it was none of ours.
    gas_used : int or None
        Gas of that attempt; None where it was none of ours.
    """

    block_number: int
    block_hash: bytes
    transaction_hash: bytes | None
    gas_used: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """A batch or a change of the validators on its way.

    Attributes
    ----------
    subject : Batch or Quorum
        What the registry shall hold.
    signatures : mapping from address to bytes
        What validators have signed of it, 65 bytes each; there may be too few yet, and some of validators who are none
        any more.
    state : AnchorState
        `PENDING` or `SENT`: how far it has come.
    attempts : tuple of Attempt
        In the order in which they were stored.
    """

    subject: Subject
    signatures: Mapping[Address, bytes]
    state: AnchorState = AnchorState.PENDING
    attempts: tuple[Attempt, ...] = ()

    @property
    def name(self) -> str:
        """How messages name it."""
        return subject_name(self.subject)


def subject_name(subject: Subject) -> str:
    """How messages name a batch or a change of the validators."""
    match subject:
        case Batch():
            return f"batch {subject.number} of {subject.microgrid}"
        case Quorum():
            return f"validators of epoch {subject.epoch}"
        case _:
            assert_never(subject)


class Outbox(Protocol):
    """The rows, kept where a crash does not reach them. Each method is one durable transaction."""

    def lease(self, sender: Address, holder: str, *, now: float, until: float) -> bool:
        """Whether `holder` alone may send from an account until `until`.

        True where nobody's lease of this account runs at `now`, or the holder's own, which is then prolonged; False
        where another's runs. Two services with one database and one key thereby never race for nonces.

        Parameters
        ----------
        sender : Address
            The account.
        holder : str
            Who asks: drawn anew at each start of a service.
        now, until : float
            Unix seconds.
        """

    def waiting(self, count: int) -> Sequence[OutboxRow]:
        """All sent rows, the first `count` pending batches of each microgrid, and the pending changes of validators.

        Changes of the validators come first, in the order of their epochs; then the batches, by microgrid and number.
        """

    def add_attempt(self, subject: Subject, place: int, attempt: Attempt, *, holder: str) -> bool:
        """Store a row's next signed transaction; its state becomes sent. Nothing is sent that was not stored so.

        Parameters
        ----------
        subject : Batch or Quorum
            Whose it is.
        place : int
            How many attempts the row had when it was read.
        attempt : Attempt
            The transaction.
        holder : str
            Who sends.

        Returns
        -------
        bool
            False, and nothing is stored, where the row has another number of attempts by now, is included, or the
            lease of the attempt's sender is not `holder`'s: somebody else is at work.
        """

    def record_included(self, subject: Subject, inclusion: Inclusion) -> None:
        """Store that the contract holds a row; its state becomes included, its windows are anchored."""

    def blocks(self) -> Sequence[tuple[int, bytes]]:
        """Number and hash of each block in which included rows stand that are not final yet, ascending."""

    def record_final(self, block_number: int, block_hash: bytes) -> None:
        """Store that the included rows of a block are final."""

    def record_lost(self, block_number: int, block_hash: bytes) -> None:
        """Store that a block is gone: its included rows are sent again (pending where nothing was ever signed).

        Their windows are settled again instead of anchored.
        """
