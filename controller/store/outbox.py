"""The outbox of batches and of sets of validators in a database: what the anchoring worker moves on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from sqlalchemy import ColumnElement, Connection, func, select, update

from contracts.batch import Batch
from contracts.outbox import AnchorState, Attempt, Inclusion, OutboxRow, Subject
from contracts.quorum import Quorum
from contracts.transactions import Address
from controller.store import batches, market, quorums, schema
from controller.store.database import Database

MICRO = 1_000_000
OPEN = (AnchorState.PENDING.name, AnchorState.SENT.name)

Key = tuple[str, str, int]
"""Kind, microgrid and number of a row."""


class StoredOutbox:
    """Implements ``contracts.outbox.Outbox``; each method is one durable transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lease(self, sender: Address, holder: str, *, now: float, until: float) -> bool:
        """Whether ``holder`` alone may send from an account until then."""
        return self._database.run(_lease, sender, holder, round(now * MICRO), round(until * MICRO))

    def waiting(self, count: int) -> Sequence[OutboxRow]:
        """All sent rows, the first pending batches of each microgrid, and the pending changes of validators."""
        return self._database.read(waiting, count)

    def add_attempt(self, subject: Subject, place: int, attempt: Attempt, *, holder: str) -> bool:
        """Store a row's next signed transaction; False, and nothing is stored, where somebody else is at work."""
        return self._database.run(_add_attempt, _key(subject), place, attempt, holder)

    def record_included(self, subject: Subject, inclusion: Inclusion) -> None:
        """Store that the contract holds a row; its windows are anchored with it."""
        self._database.run(_include, subject, inclusion)

    def blocks(self) -> Sequence[tuple[int, bytes]]:
        """Number and hash of each block in which included rows stand that are not final yet, ascending."""
        return self._database.read(_blocks)

    def record_final(self, block_number: int, block_hash: bytes) -> None:
        """Store that the included rows of a block are final."""
        self._database.run(_finish, block_number, block_hash)

    def record_lost(self, block_number: int, block_hash: bytes) -> None:
        """Store that a block is gone: its included rows wait again, their windows are settled again."""
        self._database.run(_lose, block_number, block_hash)


def waiting(connection: Connection, count: int) -> list[OutboxRow]:
    """The rows that ``Outbox.waiting`` gives."""
    found: list[OutboxRow] = []
    for quorum, state in quorums.proposed(connection):
        if state.name in OPEN:
            key = (quorums.QUORUM, quorums.NO_MICROGRID, quorum.epoch)
            signed = quorums.signatures(connection, quorum.epoch)
            found.append(OutboxRow(subject=quorum, signatures=signed, state=state, attempts=attempts(connection, key)))
    table = schema.outbox
    rows = connection.execute(
        select(table.c.microgrid, table.c.number, table.c.state)
        .where(table.c.kind == batches.BATCH, table.c.state.in_(OPEN))
        .order_by(table.c.microgrid, table.c.number)
    )
    pending: dict[str, int] = {}
    for row in rows.all():
        if row.state == AnchorState.PENDING.name:
            pending[row.microgrid] = pending.get(row.microgrid, 0) + 1
            if pending[row.microgrid] > count:
                continue
        kept = batches.batch(connection, row.microgrid, row.number)
        if kept is not None:
            key = (batches.BATCH, row.microgrid, row.number)
            found.append(
                OutboxRow(
                    subject=kept.batch,
                    signatures=kept.signatures,
                    state=AnchorState[row.state],
                    attempts=attempts(connection, key),
                )
            )
    return found


def attempts(connection: Connection, key: Key) -> tuple[Attempt, ...]:
    """The signed transactions of a row, in the order in which they were stored."""
    table = schema.outbox_attempts
    rows = connection.execute(select(table).where(*_is(table.c, key)).order_by(table.c.place))
    return tuple(Attempt(raw=bytes(row.raw), created=row.created_us / MICRO) for row in rows)


def all_attempts(connection: Connection) -> list[bytes]:
    """Every signed transaction that was ever stored."""
    return [bytes(raw) for raw in connection.execute(select(schema.outbox_attempts.c.raw)).scalars()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A row whose transaction the chain includes.

    Attributes
    ----------
    kind : `BATCH` or `QUORUM`
    number : of the batch, or the epoch
    attempt : the transaction
    gas_used : gas
    """

    kind: str
    number: int
    attempt: Attempt
    gas_used: int


def included(connection: Connection, microgrid: str) -> list[Sent]:
    """What own transactions brought to the chain of a microgrid's batches and of changes of validators, in order."""
    table = schema.outbox
    rows = connection.execute(
        select(table).where(
            table.c.microgrid.in_([microgrid, quorums.NO_MICROGRID]), table.c.transaction_hash.is_not(None)
        )
    )
    found = [
        Sent(kind=row.kind, number=row.number, attempt=attempt, gas_used=row.gas_used)
        for row in rows.all()
        for attempt in attempts(connection, (row.kind, row.microgrid, row.number))
        if attempt.signed.hash == row.transaction_hash
    ]
    return sorted(found, key=lambda sent: sent.attempt.signed.transaction.nonce)


def _key(subject: Subject) -> Key:
    match subject:
        case Batch():
            return batches.BATCH, subject.microgrid.removeprefix("microgrids/"), subject.number
        case Quorum():
            return quorums.QUORUM, quorums.NO_MICROGRID, subject.epoch
        case _:
            assert_never(subject)


def _is(columns: Any, key: Key) -> tuple[ColumnElement[bool], ...]:
    kind, microgrid, number = key
    return columns.kind == kind, columns.microgrid == microgrid, columns.number == number


def _lease(connection: Connection, sender: Address, holder: str, now_us: int, until_us: int) -> bool:
    table = schema.leases
    known = connection.execute(select(table).where(table.c.sender == sender)).first()
    if known is None:
        connection.execute(table.insert().values(sender=sender, holder=holder, until_us=until_us))
        return True
    if known.holder != holder and known.until_us > now_us:
        return False
    if (known.holder, known.until_us) != (holder, until_us):
        connection.execute(update(table).where(table.c.sender == sender).values(holder=holder, until_us=until_us))
    return True


def _add_attempt(connection: Connection, key: Key, place: int, attempt: Attempt, holder: str) -> bool:
    leases, rows, stored = schema.leases, schema.outbox, schema.outbox_attempts
    held_by = connection.execute(select(leases.c.holder).where(leases.c.sender == attempt.signed.sender)).scalar()
    state = connection.execute(select(rows.c.state).where(*_is(rows.c, key))).scalar()
    known = connection.execute(select(func.count()).select_from(stored).where(*_is(stored.c, key))).scalar_one()
    if held_by != holder or state not in OPEN or known != place:
        return False
    kind, microgrid, number = key
    connection.execute(
        stored.insert().values(
            kind=kind,
            microgrid=microgrid,
            number=number,
            place=place,
            raw=attempt.raw,
            created_us=round(attempt.created * MICRO),
        )
    )
    connection.execute(update(rows).where(*_is(rows.c, key)).values(state=AnchorState.SENT.name))
    return True


def _include(connection: Connection, subject: Subject, inclusion: Inclusion) -> None:
    table, key = schema.outbox, _key(subject)
    connection.execute(
        update(table)
        .where(*_is(table.c, key), table.c.state != AnchorState.FINAL.name)
        .values(
            state=AnchorState.INCLUDED.name,
            block_number=inclusion.block_number,
            block_hash=inclusion.block_hash,
            transaction_hash=inclusion.transaction_hash,
            gas_used=inclusion.gas_used,
        )
    )
    _turn_windows(connection, key, was="SETTLED", state="ANCHORED")


def _turn_windows(connection: Connection, key: Key, *, was: str, state: str) -> None:
    """Take the windows on whose first settlement is in a batch."""
    if key[0] != batches.BATCH:
        return
    headers, made = schema.headers, schema.batches
    own = (
        select(headers.c.window)
        .join(made, (made.c.microgrid == headers.c.microgrid) & (made.c.first <= headers.c.number))
        .where(
            made.c.microgrid == key[1],
            made.c.number == key[2],
            headers.c.number < made.c.first + made.c["count"],
            headers.c.run == 0,
        )
        .order_by(headers.c.number)
    )
    for window in connection.execute(own).scalars().all():
        market.set_window(connection, window, was=was, state=state)


def _blocks(connection: Connection) -> list[tuple[int, bytes]]:
    table = schema.outbox
    rows = connection.execute(
        select(table.c.block_number, table.c.block_hash)
        .where(table.c.state == AnchorState.INCLUDED.name)
        .distinct()
        .order_by(table.c.block_number, table.c.block_hash)
    )
    return [(row.block_number, bytes(row.block_hash)) for row in rows]


def _of_block(block_number: int, block_hash: bytes) -> tuple[ColumnElement[bool], ...]:
    table = schema.outbox
    return (
        table.c.state == AnchorState.INCLUDED.name,
        table.c.block_number == block_number,
        table.c.block_hash == block_hash,
    )


def _finish(connection: Connection, block_number: int, block_hash: bytes) -> None:
    table = schema.outbox
    connection.execute(update(table).where(*_of_block(block_number, block_hash)).values(state=AnchorState.FINAL.name))


def _lose(connection: Connection, block_number: int, block_hash: bytes) -> None:
    table = schema.outbox
    rows = connection.execute(
        select(table.c.kind, table.c.microgrid, table.c.number).where(*_of_block(block_number, block_hash))
    )
    for row in rows.all():
        key = (row.kind, row.microgrid, row.number)
        state = AnchorState.SENT if attempts(connection, key) else AnchorState.PENDING
        connection.execute(
            update(table)
            .where(*_is(table.c, key))
            .values(state=state.name, block_number=None, block_hash=None, transaction_hash=None, gas_used=None)
        )
        _turn_windows(connection, key, was="ANCHORED", state="SETTLED")
