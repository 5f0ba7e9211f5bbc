"""The statements for batches of headers, and for what validators signed under them."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from contracts.batch import Batch
from contracts.outbox import AnchorState
from contracts.transactions import Address
from controller.batching import BatchPolicy, following
from controller.store import schema

BATCH = "BATCH"
"""A batch's rows in the outbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBatch:
    """A batch as it is kept.

    Attributes
    ----------
    batch : the batch
    created : Unix seconds
    state : how far it has come
    signatures : by validator's address
    """

    batch: Batch
    created: int
    state: AnchorState
    signatures: Mapping[Address, bytes]


def form(connection: Connection, microgrid: str, policy: BatchPolicy, *, now: int) -> tuple[Batch, ...]:
    """The batches that are due, made in this transaction; doing it again makes none.

    Parameters
    ----------
    microgrid : its id
    policy : when headers become a batch
    now : Unix seconds
    """
    last = newest(connection, microgrid)
    waiting = _hashes(connection, microgrid, 0 if last is None else last.first + len(last.headers))
    since = _waiting_since(connection, microgrid)
    if waiting and since is None:
        since = now
        connection.execute(schema.batching.insert().values(microgrid=microgrid, since=now))
    waited_s = 0 if since is None else now - since
    made = following(f"microgrids/{microgrid}", last, waiting, policy.sizes(len(waiting), waited_s=waited_s))
    for batch in made:
        connection.execute(
            schema.batches.insert().values(
                microgrid=microgrid,
                number=batch.number,
                first=batch.first,
                count=len(batch.headers),
                previous=batch.previous,
                windows_root=batch.windows_root,
                hash=batch.hash,
                created=now,
            )
        )
        connection.execute(
            schema.outbox.insert().values(
                kind=BATCH, microgrid=microgrid, number=batch.number, state=AnchorState.PENDING.name
            )
        )
    if made:
        # Whoever is left over came after those: it has not waited for long.
        connection.execute(schema.batching.delete().where(schema.batching.c.microgrid == microgrid))
        if sum(len(batch.headers) for batch in made) < len(waiting):
            connection.execute(schema.batching.insert().values(microgrid=microgrid, since=now))
    return made


def newest(connection: Connection, microgrid: str) -> Batch | None:
    """A microgrid's last batch; None before the first."""
    table = schema.batches
    number = connection.execute(
        select(table.c.number).where(table.c.microgrid == microgrid).order_by(table.c.number.desc()).limit(1)
    ).scalar()
    kept = None if number is None else batch(connection, microgrid, int(number))
    return None if kept is None else kept.batch


def batch(connection: Connection, microgrid: str, number: int) -> KeptBatch | None:
    """A microgrid's batch of that number; None where there is none."""
    found = batches(connection, microgrid, after=number - 1, count=1)
    return found[0] if found and found[0].batch.number == number else None


def batches(
    connection: Connection, microgrid: str, *, after: int, count: int, unsigned_by: Address | None = None
) -> list[KeptBatch]:
    """The first of a microgrid's batches behind a number, in order; or of those that a validator has not signed."""
    table, signed_by = schema.batches, schema.batch_signatures
    signed_too = select(signed_by.c.number).where(
        signed_by.c.microgrid == microgrid, signed_by.c.validator == (unsigned_by or "")
    )
    rows = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid, table.c.number > after, table.c.number.not_in(signed_too))
        .order_by(table.c.number)
        .limit(count)
    ).all()
    if not rows:
        return []
    first = min(row.first for row in rows)
    last = rows[-1].first + rows[-1]._mapping["count"]
    hashes = _hashes(connection, microgrid, first, last - first)
    outbox = schema.outbox
    states = connection.execute(
        select(outbox.c.number, outbox.c.state).where(
            outbox.c.kind == BATCH,
            outbox.c.microgrid == microgrid,
            outbox.c.number.between(rows[0].number, rows[-1].number),
        )
    )
    state = {row.number: AnchorState[row.state] for row in states}
    signed = _signatures(connection, microgrid, rows[0].number, rows[-1].number)
    return [
        KeptBatch(
            batch=Batch(
                microgrid=f"microgrids/{microgrid}",
                number=row.number,
                previous=row.previous,
                first=row.first,
                headers=hashes[row.first - first : row.first - first + row._mapping["count"]],
            ),
            created=row.created,
            state=state[row.number],
            signatures=signed.get(row.number, {}),
        )
        for row in rows
    ]


def place_of(connection: Connection, microgrid: str, position: int) -> int | None:
    """The number of the batch that a header is in, by its position; None where it is in none yet."""
    table = schema.batches
    found = connection.execute(
        select(table.c.number)
        .where(table.c.microgrid == microgrid, table.c.first <= position, table.c.first + table.c["count"] > position)
        .limit(1)
    ).scalar()
    return None if found is None else int(found)


def transaction_of(connection: Connection, microgrid: str, number: int) -> bytes | None:
    """The hash of the transaction of the service's that brought a batch to its registry; None where none did."""
    table = schema.outbox
    found = connection.execute(
        select(table.c.transaction_hash).where(
            table.c.kind == BATCH, table.c.microgrid == microgrid, table.c.number == number
        )
    ).scalar()
    return None if found is None else bytes(found)


def sign(
    connection: Connection,
    microgrid: str,
    number: int,
    validator: Address,
    signature: bytes,
    *,
    submitted_by: str,
    now: int,
) -> None:
    """Keep a validator's signature under a batch; one that is there already stays."""
    table = schema.batch_signatures
    known = connection.execute(
        select(table.c.validator).where(
            table.c.microgrid == microgrid, table.c.number == number, table.c.validator == validator
        )
    ).first()
    if known is None:
        connection.execute(
            table.insert().values(
                microgrid=microgrid,
                number=number,
                validator=validator,
                signature=signature,
                submitted_by=submitted_by,
                created=now,
            )
        )


def _signatures(connection: Connection, microgrid: str, first: int, last: int) -> dict[int, dict[Address, bytes]]:
    table = schema.batch_signatures
    found: dict[int, dict[Address, bytes]] = {}
    rows = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid, table.c.number >= first, table.c.number <= last)
        .order_by(table.c.number, table.c.validator)
    )
    for row in rows:
        found.setdefault(row.number, {})[Address(row.validator)] = bytes(row.signature)
    return found


def _waiting_since(connection: Connection, microgrid: str) -> int | None:
    table = schema.batching
    found = connection.execute(select(table.c.since).where(table.c.microgrid == microgrid)).scalar()
    return None if found is None else int(found)


def _hashes(connection: Connection, microgrid: str, first: int, count: int | None = None) -> tuple[bytes, ...]:
    """The hashes of a microgrid's headers from a position on, in their order."""
    table = schema.headers
    query = select(table.c.hash).where(table.c.microgrid == microgrid, table.c.number >= first).order_by(table.c.number)
    if count is not None:
        query = query.limit(count)
    return tuple(bytes(found) for found in connection.execute(query).scalars())
