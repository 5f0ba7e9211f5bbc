"""One round of sending: what waits is signed, stored and sent, in an order that the chain can include.

Everything is decided from the chain's state at one block and from what is stored. A node's answer to a sending decides
nothing: what it includes shows in the next round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import assert_never

from contracts.artefact import explain_refusal, load_artefact
from contracts.batch import Batch, microgrid_key
from contracts.chain import Block, Chain, ChainState
from contracts.errors import (
    AnchorConflictError,
    AnchorError,
    CallRevertedError,
    ChainRefusedError,
    OutOfFundsError,
    SignerUnavailableError,
    WrongChainError,
)
from contracts.fees import FeeRules
from contracts.hashing import to_hex
from contracts.nonces import Nonces
from contracts.outbox import Attempt, Outbox, OutboxRow, Subject
from contracts.quorum import Quorum, SignatureRefusedError, recover
from contracts.registry import CONTRACT, Registry, parse_anchor_data, parse_rotate_data
from contracts.transactions import FeePolicy, Signer, Transaction

MOST_REVERTED = 8
"""So many transactions of one row may be reverted; then it is a case for people, not for more gas."""


class Wait(Enum):
    """Why a row stays where it is, where time or others will move it on."""

    SIGNATURES = "signatures"
    """Fewer of the validators in force have signed than it takes."""
    FEES = "fees"
    """The chain's price is above what the sender may pay."""
    NODE = "node"
    """The node did not take the transaction; one that has it already refuses it too."""
    TURN = "turn"
    """Something before it has to be included first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A row that stays where it is.

    Attributes
    ----------
    reason : Wait
        Why.
    text : str
        The row, and what was got and wanted.
    """

    reason: Wait
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How the worker sends.

    Attributes
    ----------
    fees : FeeRules
        What a transaction may cost.
    bump_after_s : float
        A transaction that is the account's next and was not included for so long is replaced by one with higher fees.
    at_once : int
        Most rows with transactions on their way.
    lease_s : float
        How long the account is this worker's after a cycle began; another service takes over after that.
    patience_s : float
        For how long a node may answer from an older block than was seen before, until that counts as the chain itself.
    """

    fees: FeeRules = field(default_factory=FeeRules)
    bump_after_s: float = 60.0
    at_once: int = 16
    lease_s: float = 120.0
    patience_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The chain at one block, and the rows that it does not hold.

    Attributes
    ----------
    head : Block
        The block.
    state : ChainState
        What held after it.
    quorum : Quorum
        The validators in force.
    rows : sequence of OutboxRow
        In the order of `Outbox.waiting`.
    included : int
        Rows that it was found to hold.
    """

    head: Block
    state: ChainState
    quorum: Quorum
    rows: Sequence[OutboxRow]
    included: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What a cycle has to say.

    Attributes
    ----------
    waits : list of Waiting
        What time or others will move on.
    alarms : list of AnchorError
        What somebody has to see to.
    held_up : set of str
        Lanes in which nothing new is sent: a batch needs the one before it.
    stopped : set of str
        Lanes in which nothing is sent at all: it would be refused.
    """

    waits: list[Waiting] = field(default_factory=list)
    alarms: list[AnchorError] = field(default_factory=list)
    held_up: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)

    def wait(self, row: OutboxRow, reason: Wait, text: str) -> None:
        """Say why a row waits, which holds up those behind it."""
        self.waits.append(Waiting(reason=reason, text=f"{row.name}: {text}"))
        self.held_up.add(lane(row.subject))

    def alarm(self, row: OutboxRow, text: str) -> None:
        """Say what is wrong with a row, which stops those behind it."""
        self.alarms.append(AnchorConflictError(f"{row.name}: {text}"))
        self.stopped.add(lane(row.subject))


def lane(subject: Subject) -> str:
    """Within what rows follow each other: a microgrid's batches, or the changes of the validators."""
    match subject:
        case Batch():
            return subject.microgrid
        case Quorum():
            return "validators"
        case _:
            assert_never(subject)


class Round:
    """One round.

    Parameters
    ----------
    chain : Chain
        Where to send.
    registry : Registry
        What to call.
    signer : Signer
        Who pays.
    outbox : Outbox
        Where each transaction is stored before it is sent.
    sending : Sending
        How.
    holder : str
        Whose lease it is.
    """

    def __init__(
        self, chain: Chain, registry: Registry, signer: Signer, outbox: Outbox, sending: Sending, holder: str
    ) -> None:
        self._chain = chain
        self._registry = registry
        self._signer = signer
        self._outbox = outbox
        self._sending = sending
        self._holder = holder

    def send(self, view: View, findings: Findings, now: float) -> bool:
        """Whether the account is still this worker's, after everything that can be sent was sent.

        Parameters
        ----------
        view : View
            What is there.
        findings : Findings
            What is known of the rows; what is found is added.
        now : float
            Unix seconds.

        Raises
        ------
        ChainUnavailableError
            If the chain stopped answering.
        """
        first = view.state.nonce(self._signer.address)
        live = [self._live(row, first) for row in view.rows]
        nonces = Nonces(first, (nonce for own in live for nonce in own))
        purse = _Purse(view.state.balance(self._signer.address), live)
        on_way = sum(1 for own in live if own)
        begun: set[str] = set()
        rotating = False
        for row, own in zip(view.rows, live, strict=True):
            if (track := lane(row.subject)) in findings.stopped:
                continue
            ahead = track not in begun
            begun.add(track)
            rotating |= bool(own) and isinstance(row.subject, Quorum)
            nonce = nonces.wanted(list(own))
            if track in findings.held_up or (nonce is None and not self._stuck(own, first, now)):
                self._send_again(row, own, findings)
                continue
            if not own and (on_way >= self._sending.at_once or rotating or (row.attempts and not ahead)):
                findings.wait(row, Wait.TURN, "others go first")
                continue
            before = own[first] if nonce is None else None
            transaction = self._transaction(row, view, first if nonce is None else nonce, before, findings)
            if transaction is None or (ahead and not self._passes(row, transaction, view.state, findings)):
                self._send_again(row, own, findings)
                continue
            attempt = self._signed(row, transaction, now, purse, findings)
            if attempt is None:
                self._send_again(row, own, findings)
                continue
            if not self._outbox.add_attempt(row.subject, len(row.attempts), attempt, holder=self._holder):
                return False
            on_way += not own
            rotating |= isinstance(row.subject, Quorum)
            if nonce is not None:
                nonces.take(nonce)
            self._send_again(row, own | {transaction.nonce: attempt}, findings)
        return True

    def _live(self, row: OutboxRow, first: int) -> dict[int, Attempt]:
        """The newest attempt at each nonce that can still be included."""
        return {
            attempt.signed.transaction.nonce: attempt
            for attempt in row.attempts
            if attempt.signed.transaction.nonce >= first and attempt.signed.sender == self._signer.address
        }

    def _stuck(self, own: dict[int, Attempt], first: int, now: float) -> bool:
        """Whether a row holds up all of the account, and has done so for long."""
        return first in own and now - own[first].created >= self._sending.bump_after_s

    def _send_again(self, row: OutboxRow, own: dict[int, Attempt], findings: Findings) -> None:
        """Hand all that is on its way to the node: it may have lost it, or never got it."""
        for attempt in own.values():
            if not self._brings(attempt.signed.transaction, row.subject):
                findings.alarm(row, f"got the stored transaction {to_hex(attempt.signed.hash)}, wanted the row's own")
                return
        for _, attempt in sorted(own.items()):
            try:
                self._chain.send_raw(attempt.raw)
            except WrongChainError as err:
                findings.alarm(row, str(err))
            except ChainRefusedError as err:
                findings.waits.append(Waiting(reason=Wait.NODE, text=f"{row.name}: {err}"))

    def _brings(self, transaction: Transaction, subject: Subject) -> bool:
        """Whether a transaction does for the registry what a row is for; its signatures may be others."""
        if transaction.to != self._registry.address:
            return False
        match subject:
            case Batch():
                call = parse_anchor_data(transaction.data)
                return call is not None and (call.microgrid, call.number, call.previous, call.windows_root) == (
                    microgrid_key(subject.microgrid),
                    subject.number,
                    subject.previous,
                    subject.windows_root,
                )
            case Quorum():
                new = parse_rotate_data(transaction.data)
                return new is not None and (new.validators, new.threshold) == (subject.validators, subject.threshold)
            case _:
                assert_never(subject)

    def _transaction(
        self, row: OutboxRow, view: View, nonce: int, before: Attempt | None, findings: Findings
    ) -> Transaction | None:
        """The row's next transaction, not yet signed; None, with a finding that says why, where it has to wait."""
        if isinstance(row.subject, Quorum) and row.subject.epoch != view.quorum.epoch + 1:
            findings.wait(row, Wait.TURN, f"got epoch {view.quorum.epoch}, wanted the one before")
            return None
        packed = self._packed(row, view.quorum, findings)
        if packed is None:
            return None
        rules, base_fee = self._sending.fees, view.head.base_fee
        paid = None if before is None else before.signed.transaction.fees
        fees = rules.first(base_fee) if paid is None else rules.replacement(paid, base_fee)
        if fees is None:
            stuck = "" if paid is None else f", its transaction pays {paid.max_fee_per_gas}"
            findings.wait(row, Wait.FEES, f"got a base fee of {base_fee} wei{stuck}, wanted room under {rules.cap}")
            return None
        return self._call(row.subject, packed, nonce, fees)

    def _call(self, subject: Subject, packed: bytes, nonce: int, fees: FeePolicy) -> Transaction:
        match subject:
            case Batch():
                return self._registry.anchor_transaction(subject, packed, nonce=nonce, fees=fees)
            case Quorum():
                return self._registry.rotate_transaction(subject, packed, nonce=nonce, fees=fees)
            case _:
                assert_never(subject)

    def _packed(self, row: OutboxRow, quorum: Quorum, findings: Findings) -> bytes | None:
        """Signatures of the validators in force over a row; None where there are too few."""
        digest = self._registry.domain.digest(
            row.subject.hash if isinstance(row.subject, Batch) else row.subject.rotation_hash
        )
        good = {}
        for address in quorum.validators:
            if address in row.signatures and _is_of(address, digest, row.signatures[address]):
                good[address] = row.signatures[address]
            if len(good) == quorum.threshold:
                break
        if len(good) < quorum.threshold:
            wanted = f"{quorum.threshold} of the validators of epoch {quorum.epoch}"
            findings.wait(row, Wait.SIGNATURES, f"got {len(good)} signatures, wanted {wanted}")
        return quorum.pack(good)

    def _passes(self, row: OutboxRow, transaction: Transaction, state: ChainState, findings: Findings) -> bool:
        """Whether the registry would take it now. What it refuses is not sent: it would cost gas to no effect."""
        try:
            state.call(self._registry.address, transaction.data)
        except CallRevertedError as err:
            reason = explain_refusal(load_artefact(CONTRACT), err.data)
            findings.alarm(row, f"the registry refuses it: {reason or err}")
            return False
        reverted = 0
        for attempt in row.attempts:
            receipt = self._chain.receipt(attempt.signed.hash)
            reverted += receipt is not None and not receipt.succeeded
        if reverted >= MOST_REVERTED:
            findings.alarm(row, f"got {reverted} transactions that were reverted, wanted one that is not")
        return reverted < MOST_REVERTED

    def _signed(
        self, row: OutboxRow, transaction: Transaction, now: float, purse: _Purse, findings: Findings
    ) -> Attempt | None:
        """The signed transaction; None, with an alarm, where it cannot be paid for or signed."""
        if not purse.takes(transaction):
            text = f"account {self._signer.address}: got {purse.balance} wei, wanted {purse.wanted} for {row.name}"
            findings.alarms.append(OutOfFundsError(text))
            findings.held_up.add(lane(row.subject))
            return None
        try:
            attempt = Attempt(raw=self._signer.sign(transaction), created=now)
            right = (attempt.signed.sender, attempt.signed.transaction) == (self._signer.address, transaction)
            problem = "" if right else "signer: got another transaction or sender back, wanted what was asked"
        except (SignerUnavailableError, WrongChainError) as err:
            problem = str(err)
        if problem:
            findings.alarms.append(SignerUnavailableError(f"{row.name}: {problem}"))
            findings.held_up.add(lane(row.subject))
        return None if problem else attempt


class _Purse:
    """What an account has, and what its transactions may cost at most: nodes want all of it there."""

    def __init__(self, balance: int, live: Sequence[dict[int, Attempt]]) -> None:
        self.balance = balance
        self.wanted = 0
        self._costs: defaultdict[int, int] = defaultdict(int)
        for own in live:
            for attempt in own.values():
                self._put(attempt.signed.transaction)

    def takes(self, transaction: Transaction) -> bool:
        """Whether it can be paid for beside all others; counted from now on if so."""
        before = self._costs[transaction.nonce]
        self._put(transaction)
        if self.wanted <= self.balance:
            return True
        self._costs[transaction.nonce] = before
        return False

    def _put(self, transaction: Transaction) -> None:
        cost = transaction.gas * transaction.fees.max_fee_per_gas
        self._costs[transaction.nonce] = max(cost, self._costs[transaction.nonce])
        self.wanted = sum(self._costs.values())


def _is_of(address: str, digest: bytes, signature: bytes) -> bool:
    try:
        return recover(digest, signature) == address
    except SignatureRefusedError:
        return False
