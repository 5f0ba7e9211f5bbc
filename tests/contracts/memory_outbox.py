"""An outbox that a crash of the worker does not reach, and workers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from contracts.anchoring import Anchorer
from contracts.batch import Batch
from contracts.chain import Chain, EmbeddedChain
from contracts.outbox import AnchorState, Attempt, Inclusion, Outbox, OutboxRow, Subject, subject_name
from contracts.quorum import Domain, Quorum, sign
from contracts.registry import Registry
from contracts.transactions import Address, Signer

OPEN = {AnchorState.PENDING, AnchorState.SENT}


@dataclass(kw_only=True)
class Row:
    """A row as it is kept."""

    subject: Subject
    signatures: dict[Address, bytes] = field(default_factory=dict)
    state: AnchorState = AnchorState.PENDING
    attempts: list[Attempt] = field(default_factory=list)
    inclusion: Inclusion | None = None

    def read(self) -> OutboxRow:
        return OutboxRow(
            subject=self.subject,
            signatures=dict(self.signatures),
            state=self.state,
            attempts=tuple(self.attempts),
        )


class MemoryOutbox:
    """Implements `contracts.outbox.Outbox`.

    Parameters
    ----------
    watch : callable, optional
        Called before and after each change: whatever it raises ends the process there.
    """

    def __init__(self, subjects: Iterable[Subject] = (), watch: Callable[[], None] = lambda: None) -> None:
        self.rows: dict[str, Row] = {}
        self.leases: dict[Address, tuple[str, float]] = {}
        self.watch = watch
        for subject in subjects:
            self.add(subject)

    def add(self, subject: Subject) -> None:
        self.rows[subject_name(subject)] = Row(subject=subject)

    def sign(self, domain: Domain, keys: Mapping[Address, bytes]) -> None:
        """Let validators sign every row."""
        for row in self.rows.values():
            struct_hash = row.subject.hash if isinstance(row.subject, Batch) else row.subject.rotation_hash
            digest = domain.digest(struct_hash)
            row.signatures |= {address: sign(key, digest) for address, key in keys.items()}

    def states(self) -> list[str]:
        return [row.state.value for row in self.rows.values()]

    def lease(self, sender: Address, holder: str, *, now: float, until: float) -> bool:
        self.watch()
        known = self.leases.get(sender)
        if known is not None and known[0] != holder and known[1] > now:
            return False
        self.leases[sender] = (holder, until)
        self.watch()
        return True

    def waiting(self, count: int) -> Sequence[OutboxRow]:
        self.watch()
        found = [row for row in self.rows.values() if row.state in OPEN]
        quorums = [row for row in found if isinstance(row.subject, Quorum)]
        pending: dict[str, int] = {}
        batches = []
        for row in sorted((row for row in found if isinstance(row.subject, Batch)), key=_place):
            assert isinstance(row.subject, Batch)
            if row.state is AnchorState.PENDING:
                pending[row.subject.microgrid] = pending.get(row.subject.microgrid, 0) + 1
                if pending[row.subject.microgrid] > count:
                    continue
            batches.append(row)
        return [row.read() for row in [*quorums, *batches]]

    def add_attempt(self, subject: Subject, place: int, attempt: Attempt, *, holder: str) -> bool:
        self.watch()
        row = self.rows[subject_name(subject)]
        held_by = self.leases.get(attempt.signed.sender, ("", 0.0))[0]
        if row.state not in OPEN or len(row.attempts) != place or held_by != holder:
            return False
        row.attempts.append(attempt)
        row.state = AnchorState.SENT
        self.watch()
        return True

    def record_included(self, subject: Subject, inclusion: Inclusion) -> None:
        self.watch()
        row = self.rows[subject_name(subject)]
        if row.state is not AnchorState.FINAL:
            row.state, row.inclusion = AnchorState.INCLUDED, inclusion
        self.watch()

    def blocks(self) -> Sequence[tuple[int, bytes]]:
        self.watch()
        return sorted({_block(row.inclusion) for row in self.rows.values() if row.state is AnchorState.INCLUDED})

    def record_final(self, block_number: int, block_hash: bytes) -> None:
        self.watch()
        for row in self._of(block_number, block_hash):
            row.state = AnchorState.FINAL
        self.watch()

    def record_lost(self, block_number: int, block_hash: bytes) -> None:
        self.watch()
        for row in self._of(block_number, block_hash):
            row.state, row.inclusion = AnchorState.SENT if row.attempts else AnchorState.PENDING, None
        self.watch()

    def _of(self, number: int, known: bytes) -> list[Row]:
        included = [row for row in self.rows.values() if row.state is AnchorState.INCLUDED]
        return [row for row in included if _block(row.inclusion) == (number, known)]


def _block(inclusion: Inclusion | None) -> tuple[int, bytes]:
    assert inclusion is not None
    return inclusion.block_number, inclusion.block_hash


def _place(row: Row) -> tuple[str, int]:
    assert isinstance(row.subject, Batch)
    return row.subject.microgrid, row.subject.number


def make_worker(
    chain: Chain, registry: Registry, signer: Signer, outbox: Outbox, *, now: float = 0.0, **parts: Any
) -> Anchorer:
    """A worker on a chain whose genesis it trusts."""
    genesis = chain.block_hash(0)
    assert genesis is not None
    clock = parts.pop("clock", lambda: now)
    holder = parts.pop("holder", "me")
    return Anchorer(
        chain, registry, genesis_hash=genesis, signer=signer, outbox=outbox, clock=clock, holder=holder, **parts
    )


@contextmanager
def restored(chain: EmbeddedChain) -> Iterator[None]:
    """Afterwards the chain is as it was before."""
    snapshot, receipts, logs = chain._backend.take_snapshot(), dict(chain._receipts), list(chain._logs)
    try:
        yield
    finally:
        chain._backend.revert_to_snapshot(snapshot)
        chain._receipts, chain._logs = receipts, logs
