"""Rebuilds from a store what its headers and batches commit to, and names each difference.

Nothing that a row says is taken from it where it follows from other rows: leaves are hashed anew, trees built anew,
totals added anew, headers and batches linked anew.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Table, func, select

from contracts.batch import GENESIS_BATCH, Batch
from contracts.checks import check_books, check_complete, check_first_header, check_headers
from contracts.errors import ContractsError, EvidenceError
from contracts.evidence import StatedBooks, StatedHeader, StatedRecord
from contracts.hashing import to_hex
from contracts.header import WindowHeader
from contracts.leaves import Leaf, PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.report import Check
from controller.closing import inputs_of
from controller.store import market, schema
from controller.store.market import WindowRow

SETTLED = frozenset({"SETTLED", "ANCHORED"})

L = TypeVar("L", bound=Leaf)


def audit_books(connection: Connection, microgrid: str) -> Iterator[Check]:
    """What a microgrid's settled windows are found to be, in the order in which one rests on the other.

    Parameters
    ----------
    microgrid : its id
    """
    headers, failures = _headers(connection, microgrid)
    yield Check(name=f"chain of {len(headers):,} headers", failures=tuple(failures))
    by_window: dict[str, list[StatedHeader]] = defaultdict(list)
    for stated in headers:
        by_window[stated.header.window].append(stated)
    records: list[str] = []
    inputs: list[str] = []
    count = 0
    names = connection.execute(
        select(schema.windows.c.name).where(schema.windows.c.microgrid == microgrid).order_by(schema.windows.c.start)
    ).scalars()
    for name in names.all():
        own = tuple(by_window.pop(name, ()))
        books, unread = _books(connection, name, own)
        count += len(books.records())
        records += unread or [
            *check_complete(books).failures,
            *check_books(books).failures,
            *_foreign(connection, name, own),
        ]
        row = market.window(connection, name)
        if row is not None:
            inputs += _window(connection, row, own)
    records += [f"{own[0].place}: window {name}: there is no such window" for name, own in by_window.items()]
    yield Check(name=f"roots and totals of {count:,} records", failures=tuple(records))
    yield Check(name="inputs and states of windows", failures=tuple(inputs))
    count, failures = _batches(connection, microgrid, [stated.header.hash for stated in headers])
    yield Check(name=f"chain of {count:,} batches", failures=tuple(failures))


def _headers(connection: Connection, microgrid: str) -> tuple[tuple[StatedHeader, ...], list[str]]:
    """The headers that can be read, and what is wrong with any."""
    table = schema.headers
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid).order_by(table.c.number)).all()
    failures = list(_gaps("header", (row.number for row in rows)))
    stated: list[StatedHeader] = []
    for row in rows:
        place = f"header {row.number}"
        try:
            header = WindowHeader.from_json(json.loads(row.header))
        except (EvidenceError, ValueError) as err:
            failures.append(f"{place}: cannot be read: {err}")
            continue
        said = {"window": row.window, "run": row.run, "microgrid": f"microgrids/{row.microgrid}"}
        failures += [
            f"{place}: {name}: the row has {got!r}, its header {getattr(header, name)!r}"
            for name, got in said.items()
            if got != getattr(header, name)
        ]
        stated.append(StatedHeader(header=header, hash=bytes(row.hash), place=place))
    if stated:
        for check in (check_first_header(stated), check_headers(stated)):
            failures += check.failures
    return tuple(stated), failures


def _gaps(what: str, numbers: Iterable[int]) -> Iterator[str]:
    """Where a row of numbers from zero on misses some."""
    wanted = 0
    for number in numbers:
        if number != wanted:
            last = f" to {number - 1}" if number > wanted + 1 else ""
            yield f"{what} {wanted}{last}: missing, {what} {number} is there"
        wanted = number + 1


def _books(connection: Connection, window: str, headers: tuple[StatedHeader, ...]) -> tuple[StatedBooks, list[str]]:
    """A window's records of all runs as their rows say, and which rows cannot be any."""
    failures: list[str] = []

    def read(table: Table, make: Callable[[Row[Any]], L]) -> tuple[StatedRecord[L], ...]:
        found: list[StatedRecord[L]] = []
        rows = connection.execute(select(table).where(table.c.window == window).order_by(table.c.ix))
        for row in rows:
            place = f"table {table.name}"
            try:
                record = make(row)
            except ContractsError as err:
                failures.append(f"{place}: row {row.ix} of window {window}: {err}")
                continue
            found.append(StatedRecord(record=record, leaf=record.hash, proof=(), place=place))
        return tuple(found)

    books = StatedBooks(
        headers=headers,
        # What is cleared and not settled yet no header commits to.
        trades=read(schema.trades, _trade) if headers else (),
        readings=read(schema.readings, _reading),
        postings=read(schema.postings, _posting),
    )
    if not headers:
        failures += [f"{stated.name}: no header commits to it" for stated in books.records()]
    return books, failures


def _trade(row: Row[Any]) -> TradeLeaf:
    return TradeLeaf(
        window=row.window,
        index=row.ix,
        seller=row.seller,
        buyer=row.buyer,
        mtu_start=row.mtu_start,
        energy_wh=row.energy_wh,
        price_micro_per_kwh=row.price_micro_per_kwh,
        salt=row.salt,
    )


def _reading(row: Row[Any]) -> ReadingLeaf:
    return ReadingLeaf(
        window=row.window,
        index=row.ix,
        meter=row.meter,
        instant=row.instant,
        import_wh=row.import_wh,
        export_wh=row.export_wh,
        quality=row.quality,
        salt=row.salt,
    )


def _posting(row: Row[Any]) -> PostingLeaf:
    return PostingLeaf(
        window=row.window,
        index=row.ix,
        account=row.account,
        kind=row.kind,
        reference=row.reference,
        amount_micro=row.amount_micro,
        salt=row.salt,
    )


def _foreign(connection: Connection, window: str, headers: Sequence[StatedHeader]) -> Iterator[str]:
    """Which records say that they are of another run than the one that counts them."""
    for table, name in ((schema.readings, "readings_count"), (schema.postings, "postings_count")):
        rows = connection.execute(
            select(table.c.run, func.count().label("rows")).where(table.c.window == window).group_by(table.c.run)
        )
        got = {row.run: row.rows for row in rows}
        wanted = {stated.header.run: getattr(stated.header, name) for stated in headers}
        for run in sorted(got.keys() | wanted.keys()):
            if got.get(run, 0) != wanted.get(run, 0):
                yield (
                    f"table {table.name}: {got.get(run, 0)} rows of run {run} of window {window}, "
                    f"wanted {wanted.get(run, 0)} as its header counts"
                )


def _window(connection: Connection, row: WindowRow, headers: Sequence[StatedHeader]) -> Iterator[str]:
    """What is wrong with a window beside its records."""
    if bool(headers) != (row.state in SETTLED):
        got = "a header" if headers else "none"
        yield f"window {row.name}: is {row.state} and has {got}"
    if not headers:
        return
    digest = hashlib.sha256(inputs_of(connection, row).encode()).digest()
    for stated in headers:
        header, run = stated.header, f"run {stated.header.run}"
        if header.inputs_digest != digest:
            got = f"got {to_hex(header.inputs_digest)}, the inputs that are kept give {to_hex(digest)}"
            yield f"window {row.name}, {run}: inputs_digest: {got}"
        if (header.window_start, header.window_end) != (row.start, row.end):
            got = f"{header.window_start} to {header.window_end}"
            yield f"window {row.name}, {run}: got {got}, wanted {row.start} to {row.end}"


def _batches(connection: Connection, microgrid: str, hashes: Sequence[bytes]) -> tuple[int, list[str]]:
    """How many batches there are, and what is wrong with any: each takes the next headers without a gap."""
    table, outbox = schema.batches, schema.outbox
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid).order_by(table.c.number)).all()
    failures = list(_gaps("batch", (row.number for row in rows)))
    sent = set(
        connection.execute(
            select(outbox.c.number).where(outbox.c.kind == "BATCH", outbox.c.microgrid == microgrid)
        ).scalars()
    )
    first, previous = 0, GENESIS_BATCH
    for row in rows:
        place, count = f"batch {row.number}", int(row._mapping["count"])
        said: Mapping[str, Any] = {"first": row.first, "previous": bytes(row.previous)}
        wanted: dict[str, Any] = {"first": first, "previous": previous}
        try:
            batch = Batch(
                microgrid=f"microgrids/{microgrid}",
                number=row.number,
                previous=bytes(row.previous),
                first=row.first,
                headers=tuple(hashes[row.first : row.first + count]),
            )
        except EvidenceError as err:
            failures.append(f"{place}: {err}")
        else:
            said = {**said, "count": count, "windows_root": bytes(row.windows_root), "hash": bytes(row.hash)}
            wanted |= {"count": len(batch.headers), "windows_root": batch.windows_root, "hash": batch.hash}
        for name, value in wanted.items():
            if said[name] != value:
                failures.append(f"{place}: {name}: got {_shown(said[name])}, wanted {_shown(value)}")
        if row.number not in sent:
            failures.append(f"{place}: nothing in the outbox: it would never be anchored")
        first, previous = row.first + count, bytes(row.hash)
    known = {row.number for row in rows}
    failures += [f"outbox: batch {number}: there is no such batch" for number in sorted(sent - known)]
    return len(rows), failures


def _shown(value: object) -> str:
    return to_hex(value) if isinstance(value, bytes) else str(value)
