"""Moves the outbox on: brings batches and changes of the validators to the registry, each to effect once.

The controller commits what is to be anchored with its books, so that control never waits for a chain. The worker here
takes it from there. A signed transaction is stored before it is sent; what the contract holds decides what is done,
whatever a node answered; and the contract takes each batch once. A crash between any two steps is repaired by doing
the steps again, and a reorganisation of the chain by sending again what it took back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from contracts.batch import Batch
from contracts.chain import Block, Chain, ChainState
from contracts.errors import (
    AnchorConflictError,
    AnchorError,
    ChainUnavailableError,
    OutOfFundsError,
    SignerUnavailableError,
    StaleHeadError,
    WrongChainError,
)
from contracts.hashing import ZERO_HASH, to_hex
from contracts.outbox import Inclusion, Outbox, OutboxRow, Subject
from contracts.quorum import Quorum
from contracts.registry import Registry
from contracts.sending import Findings, Round, Sending, View, Waiting, lane
from contracts.transactions import Signer

_GRAVEST = (AnchorConflictError, WrongChainError, OutOfFundsError, SignerUnavailableError, ChainUnavailableError)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorProgress:
    """What one cycle did.

    Attributes
    ----------
    included : int
        Rows that the contract holds since this cycle.
    pending, sent : int
        Rows that wait, without and with a transaction on its way, of those that were looked at.
    standby : bool
        True where another service sends from the account: nothing was sent.
    waits : tuple of Waiting
        Why rows wait, as far as it is known.
    """

    included: int = 0
    pending: int = 0
    sent: int = 0
    standby: bool = False
    waits: tuple[Waiting, ...] = ()

    @property
    def waiting(self) -> int:
        """Rows that the contract does not hold yet."""
        return self.pending + self.sent


class Anchorer:
    """Moves the rows of an outbox to one registry.

    Parameters
    ----------
    chain : Chain
        Where the registry stands.
    registry : Registry
        The contract.
    genesis_hash : bytes
        Of the chain's first block: two chains may have one number.
    signer : Signer
        Who pays for the transactions. The registry takes them from anybody: what counts is the validators' signatures.
    outbox : Outbox
        The rows.
    clock : callable
        Unix seconds.
    holder : str
        Names this worker to others with the same outbox and account; drawn anew at each start.
    sending : Sending
        How it sends.
    """

    def __init__(
        self,
        chain: Chain,
        registry: Registry,
        *,
        genesis_hash: bytes,
        signer: Signer,
        outbox: Outbox,
        clock: Callable[[], float],
        holder: str,
        sending: Sending | None = None,
    ) -> None:
        self._chain = chain
        self._registry = registry
        self._genesis_hash = genesis_hash
        self._signer = signer
        self._outbox = outbox
        self._clock = clock
        self._holder = holder
        self._sending = Sending() if sending is None else sending
        self._highest = 0
        self._behind_since: float | None = None

    def run_once(self) -> AnchorProgress:
        """What is done and what waits, after moving each row as far as the chain allows.

        Raises
        ------
        WrongChainError
            If the chain or the contract is not the registry's; no row was touched.
        ChainUnavailableError
            If the chain stopped answering, or answers from the past; the rows stay for the next cycle.
        AnchorConflictError
            If the contract holds something else for a row, or refuses it. All others were moved on first.
        OutOfFundsError, SignerUnavailableError
            If nothing more can be paid for or signed. What was signed already was sent first.
        """
        if not self._outbox.waiting(1) and not self._outbox.blocks():
            return AnchorProgress()
        now = self._clock()
        if not self._outbox.lease(self._signer.address, self._holder, now=now, until=now + self._sending.lease_s):
            return AnchorProgress(standby=True)
        self._check_chain()
        findings = Findings()
        view = self._observe(findings, now)
        included, standby = view.included, False
        if view.rows:
            sender = Round(self._chain, self._registry, self._signer, self._outbox, self._sending, self._holder)
            standby = not sender.send(view, findings, now)
            view = self._observe(Findings(), now)
            included += view.included
        self._finalise(findings)
        if findings.alarms:
            raise _joined(findings.alarms)
        sent = sum(1 for row in view.rows if row.attempts)
        return AnchorProgress(
            included=included,
            pending=len(view.rows) - sent,
            sent=sent,
            standby=standby,
            waits=tuple(findings.waits),
        )

    def _check_chain(self) -> None:
        self._registry.check(self._chain)
        if (genesis := self._chain.block_hash(0)) != self._genesis_hash:
            got = "none" if genesis is None else to_hex(genesis)
            raise WrongChainError(f"genesis block: got {got}, wanted {to_hex(self._genesis_hash)}")

    def _observe(self, findings: Findings, now: float) -> View:
        """The chain at its newest block; rows that it holds, or holds no more, are recorded so."""
        head = self._chain.head()
        blocks = self._outbox.blocks()
        self._check_age(head, max((number for number, _ in blocks), default=0), now)
        state = self._chain.at(head.number)
        quorum = self._registry.quorum(state)
        lost = [(number, known) for number, known in blocks if self._chain.block_hash(number) != known]
        self._check_steady(head)
        for number, known in lost:
            self._outbox.record_lost(number, known)
        found: list[tuple[Subject, Inclusion]] = []
        rows = []
        absent: set[str] = set()
        for row in self._outbox.waiting(self._sending.at_once):
            if lane(row.subject) not in absent | findings.stopped and self._holds(state, quorum, row, findings):
                found.append((row.subject, self._inclusion(row, head)))
            else:
                # A batch is only ever held after the one before it: those behind need not be asked for.
                absent.add(lane(row.subject))
                rows.append(row)
        self._check_steady(head)
        for subject, inclusion in found:
            self._outbox.record_included(subject, inclusion)
        return View(head=head, state=state, quorum=quorum, rows=rows, included=len(found))

    def _check_age(self, head: Block, recorded: int, now: float) -> None:
        """Refuse a node that lags behind what was seen; a chain that was cut back for good is taken in the end."""
        seen = max(self._highest, recorded)
        if head.number < seen:
            since = self._behind_since = now if self._behind_since is None else self._behind_since
            if now - since < self._sending.patience_s:
                raise StaleHeadError(f"got block {head.number} as the newest, wanted {seen} or later, which was seen")
        self._highest, self._behind_since = head.number, None

    def _check_steady(self, head: Block) -> None:
        if self._chain.block_hash(head.number) != head.hash:
            raise ChainUnavailableError(f"got another block {head.number} meanwhile, wanted {to_hex(head.hash)}")

    def _holds(self, state: ChainState, quorum: Quorum, row: OutboxRow, findings: Findings) -> bool:
        """Whether the contract holds a row; that it holds something else in its place is an alarm."""
        match row.subject:
            case Batch():
                held = self._registry.held(state, row.subject.microgrid, row.subject.number)
                if held not in {row.subject.hash, ZERO_HASH}:
                    findings.alarm(row, f"the contract holds {to_hex(held)}, wanted {to_hex(row.subject.hash)}")
                return held == row.subject.hash
            case Quorum():
                if quorum.epoch < row.subject.epoch:
                    return False
                if quorum == row.subject or (quorum.epoch > row.subject.epoch and self._succeeded(row)):
                    return True
                findings.alarm(row, f"the contract has had others of epoch {row.subject.epoch}")
                return False
            case _:
                assert_never(row.subject)

    def _succeeded(self, row: OutboxRow) -> bool:
        receipts = (self._chain.receipt(attempt.signed.hash) for attempt in row.attempts)
        return any(receipt is not None and receipt.succeeded for receipt in receipts)

    def _inclusion(self, row: OutboxRow, head: Block) -> Inclusion:
        """Where the chain holds a row: in the first block with an attempt of its own, else in the one looked at."""
        own = []
        for attempt in row.attempts:
            receipt = self._chain.receipt(attempt.signed.hash)
            if receipt is not None and receipt.succeeded and receipt.block_number <= head.number:
                own.append((receipt.block_number, attempt.signed.transaction.nonce, attempt, receipt))
        if not own:
            return Inclusion(block_number=head.number, block_hash=head.hash, transaction_hash=None, gas_used=None)
        _, _, attempt, receipt = min(own, key=lambda one: one[:2])
        return Inclusion(
            block_number=receipt.block_number,
            block_hash=receipt.block_hash,
            transaction_hash=attempt.signed.hash,
            gas_used=receipt.gas_used,
        )

    def _finalise(self, findings: Findings) -> None:
        """Record what no reorganisation can undo any more."""
        blocks = self._outbox.blocks()
        if not blocks:
            return
        try:
            final = self._chain.final_number()
            done = [block for block in blocks if block[0] <= final and self._chain.block_hash(block[0]) == block[1]]
        except ChainUnavailableError as err:
            findings.alarms.append(err)
            return
        for number, known in done:
            self._outbox.record_final(number, known)


def _joined(alarms: Sequence[AnchorError]) -> AnchorError:
    """All alarms as one, of the gravest's kind."""
    texts = "; ".join(dict.fromkeys(map(str, alarms)))
    for kind in _GRAVEST:
        if any(isinstance(alarm, kind) for alarm in alarms):
            return kind(texts)
    return AnchorError(texts)
